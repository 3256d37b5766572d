"""Detection rates: how often each diagnostic detects each planted failure, on which its statements of blindness rest.

A diagnostic raises an alarm by a rule fixed here. Its needs are recorded: draws of q alone, the evidence, or draws of
the posterior.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import jax

from vi_kl.core.annotations import ProgressLike
from vi_kl.core.executors import LostError, results_elsewhere
from vi_kl.core.progress import reporting
from vi_kl.core.records import Readable, plain
from vi_kl.diagnostics.certificate import Certificate, check
from vi_kl.diagnostics.errors import Errors
from vi_kl.workflows.planted_failures import FAILURES, HEALTHY, PlantedFailure

MATTERS = 0.05  # nats


@dataclasses.dataclass(frozen=True)
class Detector:
    """A diagnostic with the rule by which it raises an alarm.

    Attributes:
        name: the name in tables.
        needs: "q" (draws of q alone), "evidence", or "posterior" (draws of it).
        rule: the rule in words.
        alarm: the rule, as a function of a certificate.
    """

    name: str
    needs: str
    rule: str
    alarm: Callable[[Certificate], bool]


def off(errors: Errors | None) -> bool:
    return errors is not None and errors.notable


def far(estimate) -> bool:
    return estimate is not None and estimate.interval(0.95)[0] > MATTERS


def says(c: Certificate, words: str) -> bool:
    return any(words in sentence for sentence in c.contradictions)


# fmt: off
DETECTORS = (
    Detector("k-hat", "q", "above 0.7",
             lambda c: c.k_hat > 0.7),
    Detector("ESS", "q", "below a fifth of the draws",
             lambda c: c.ess < 0.2),
    Detector("KL by weights", "q", f"95% interval above {MATTERS} nats",
             lambda c: far(c.reverse_kl)),
    Detector("KL limit", "q", f"lower 95% limit above {MATTERS} nats",
             lambda c: c.limits.lower > MATTERS),
    Detector("moments by weights", "q", "off by 0.1 sd or 10% of an sd",
             lambda c: off(c.errors)),
    Detector("climbs", "q", "2% of the mass outside q, or a mode in its reach",
             lambda c: c.missed_share > 0.02 or c.inner_modes > 0),
    Detector("short chains", "q", "a mean, an sd, a quantile or a correlation proved off",
             lambda c: c.short_chains is not None and bool(c.short_chains.of_sites)),
    Detector("density", "q", "proved to exceed what a density can",
             lambda c: says(c, "log q is not")),
    Detector("gap", "evidence", f"95% interval above {MATTERS} nats",
             lambda c: far(c.gap)),
    Detector("ELBO above evidence", "evidence", "by 4 standard errors",
             lambda c: says(c, "The ELBO exceeds")),
    Detector("limit above evidence", "evidence", "the lower limit, by 4 standard errors",
             lambda c: says(c, "The log evidence is at least")),
    Detector("reference checks", "posterior", "R-hat, ESS, divergences, energy, a second evidence",
             lambda c: bool(c.complaints)),
    Detector("forward KL", "posterior", f"95% interval above {MATTERS} nats",
             lambda c: far(c.forward_kl)),
    Detector("sandwich", "posterior", f"both 95% limits of KL above {MATTERS} nats, and finite",
             lambda c: c.limits.lower > MATTERS and math.isfinite(c.limits.upper)),
    Detector("moments", "posterior", "off by 0.1 sd or 10% of an sd",
             lambda c: off(c.errors)),
    Detector("coverage", "posterior", "q's 99.9% region holds less than 99%",
             lambda c: c.coverage is not None and c.coverage < 0.99),
    Detector("transport", "posterior", "a quarter above two posterior samples",
             lambda c: c.distance is not None and c.distance.value > 1.25 * c.distance.floor),
)
# fmt: on


@dataclasses.dataclass(frozen=True, repr=False)
class DetectionTable(Readable):
    """A table of the shares of seeds in which a diagnostic raised an alarm.

    Attributes:
        rates: the shares, {failure: {detector: share}}; the failure "healthy" has the false alarms.
        repetitions: the number of seeds per failure.
        lost: {"failure, seed": why it was not checked}, for those that are left out of the shares.
    """

    rates: dict[str, dict[str, float]]
    repetitions: int
    lost: dict[str, str] = dataclasses.field(default_factory=dict)

    def to_dataframe(self):
        """Return a table with one row per diagnostic and what it needs, and one column per failure."""
        import pandas as pd

        table = pd.DataFrame(self.rates)
        table.insert(0, "needs", [d.needs for d in DETECTORS])
        return table

    @property
    def headline(self) -> str:
        """The numbers of failures and of repetitions, and which failures went unseen."""
        unseen = f"; not seen: {', '.join(self.unseen)}" if self.unseen else ""
        lost = f", but {len(self.lost)} that were lost" if self.lost else ""
        return f"{len(self.rates)} cases, {self.repetitions} times each{lost}{unseen}"

    def __str__(self):
        return self.to_dataframe().to_string(float_format=lambda x: f"{x:.0%}")

    def _repr_html_(self):
        return self.to_dataframe().to_html(float_format=lambda x: f"{x:.0%}")

    def to_dict(self) -> dict:
        """Return the record as plain numbers and strings, for JSON."""
        return plain(self)

    @property
    def unseen(self) -> list[str]:
        """Failures that no diagnostic saw in at least nine of ten seeds."""
        return [name for name, row in self.rates.items() if name != HEALTHY.name and max(row.values()) < 0.9]

    @property
    def false_alarms(self) -> dict[str, float]:
        return {name: rate for name, rate in self.rates[HEALTHY.name].items() if rate > 0}


def detection_table(
    repetitions: int = 20,
    failures: Sequence[PlantedFailure] = (HEALTHY, *FAILURES),
    num_draws: int = 8192,
    progress: ProgressLike = None,
    executor: Executor | None = None,
) -> DetectionTable:
    """Plant each failure `repetitions` times, check it with and without its reference, and count the alarms.

    Args:
        repetitions: the number of seeds.
        failures: what to plant.
        num_draws: draws of q for each check.
        progress: a function that is called as `progress(fraction_done, sentence)`, True, False or None.
        executor: what computes the checks, with the interface of `concurrent.futures.Executor`: each seed of each
            failure is one task, and the answer is the same. One whose worker died is `lost`.
    """
    calls = [(planted, seed, num_draws) for planted in failures for seed in range(repetitions)]
    found: list[dict[str, bool] | LostError] = []
    with reporting(progress, "planted failures") as report:
        if executor is not None:
            found = results_elsewhere(
                executor, alarms, calls, lambda place, done: report(done / len(calls), calls[place][0].name)
            )
        else:
            for planted, seed, _ in calls:
                report(len(found) / len(calls), planted.name)
                found.append(alarms(planted, seed, num_draws))
        report(1.0, "done")
    rows: dict[str, list] = {planted.name: [] for planted in failures}
    lost = {}
    for (planted, seed, _), row in zip(calls, found, strict=True):
        if isinstance(row, LostError):
            lost[f"{planted.name}, {seed}"] = str(row)
        else:
            rows[planted.name].append(row)
    return DetectionTable({name: shares(several) for name, several in rows.items()}, repetitions, lost)


def shares(rows: list[dict[str, bool]]) -> dict[str, float]:
    """Return the share of the checks in which each diagnostic raised an alarm; NaN without any."""
    return {d.name: sum(row[d.name] for row in rows) / len(rows) if rows else math.nan for d in DETECTORS}


def alarms(planted: PlantedFailure, seed: int, num_draws: int = 8192) -> dict[str, bool]:
    """Return which diagnostics detect one planted failure, {diagnostic: whether}."""
    q = planted.plant(seed)
    key = jax.random.key(seed)
    with_reference = check(q, key=key, num_draws=num_draws)
    q.target = q.target.with_reference(None)
    alone = check(q, key=key, num_draws=num_draws, short_chains=True)
    return {d.name: bool(d.alarm(alone if d.needs == "q" else with_reference)) for d in DETECTORS}
