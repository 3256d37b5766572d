"""Amortisation: what an encoder loses against the posterior of each row, in figures and in words."""

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from vi_kl.core.estimate import Estimate
from vi_kl.core.records import WORKING, Readable, plain, store
from vi_kl.core.written_numbers import significant
from vi_kl.diagnostics.evidence_bounds import Limits

if TYPE_CHECKING:
    import pandas as pd

SMALL = 0.05  # nats a row, below which a gap is not worth a remedy


@dataclasses.dataclass(frozen=True)
class RowGap:
    """A record of one row: the encoder's q beside the best q of its own.

    Attributes:
        row: its number.
        log_evidence: the log evidence of the row, by importance weights; None where they are too uneven.
        evidence_limits: its limits, with 95% confidence.
        best: the ELBO of the row's own best q.
        encoded: the ELBO of the encoder's q.
        approximation_gap: KL of the best q to the row's posterior: what no q of its family can mend. None if unknown.
        amortisation_gap: what the encoder's q loses against the best one.
        k_hat: Pareto's k-hat of the best q's importance weights.
        converged: whether the search for the best q converged.
    """

    row: int
    log_evidence: Estimate | None
    evidence_limits: Limits
    best: Estimate
    encoded: Estimate
    approximation_gap: Estimate | None
    amortisation_gap: Estimate
    k_hat: float
    converged: bool


@dataclasses.dataclass(frozen=True, repr=False)
class Amortisation(Readable):
    """A record of what an encoder loses, over all rows and for some of them one by one.

    Attributes:
        name: the encoder's name.
        method: the method by which the best q of each row was found.
        elbo: the encoder's ELBO over all rows.
        num_rows: the number of all rows.
        rows: the rows that were looked at one by one.
        approximation_gap: the mean of their approximation gaps, with the standard error that so few rows leave; None if
            one of them is unknown.
        amortisation_gap: the mean of their amortisation gaps.
        verdict: what the figures mean, in words.
        cannot_see: which faults could be there without showing in these figures.
        elbo_of_rows: the ELBO of each row, (num_rows,).
    """

    name: str
    method: str
    elbo: Estimate
    num_rows: int
    rows: tuple[RowGap, ...]
    elbo_of_rows: np.ndarray = dataclasses.field(metadata=WORKING, compare=False)
    approximation_gap: Estimate | None = dataclasses.field(init=False)
    amortisation_gap: Estimate = dataclasses.field(init=False)
    verdict: str = dataclasses.field(init=False)
    cannot_see: str = dataclasses.field(init=False)

    def __post_init__(self):
        known = [gap.approximation_gap for gap in self.rows]
        store(
            self,
            approximation_gap=None if None in known else mean_of([gap for gap in known if gap is not None]),
            amortisation_gap=mean_of([gap.amortisation_gap for gap in self.rows]),
        )
        store(self, verdict=verdict_of(self), cannot_see=blind_spot(self))

    def to_dataframe(self) -> "pd.DataFrame":
        """Return a table with one line per row that was looked at; all figures are in nats."""
        import pandas as pd  # half a second that fitting need not wait for

        def value(estimate: Estimate | None) -> float:
            return math.nan if estimate is None else estimate.value

        lines = [
            {
                "row": gap.row,
                "log evidence": value(gap.log_evidence),
                "best ELBO": gap.best.value,
                "encoder's ELBO": gap.encoded.value,
                "approximation gap": value(gap.approximation_gap),
                "amortisation gap": gap.amortisation_gap.value,
                "± se": gap.amortisation_gap.standard_error,
                "k-hat": gap.k_hat,
            }
            for gap in self.rows
        ]
        return pd.DataFrame(lines).set_index("row")

    def to_dict(self) -> dict:
        """Return the record as plain numbers and strings, for JSON; what is infinite or unknown is None."""
        return plain(self)

    @property
    def headline(self) -> str:
        """The encoder, and the verdict."""
        return f"{self.name} on {self.num_rows:,} rows. {self.verdict}"

    def __str__(self):
        table = self.to_dataframe().to_string(float_format=lambda x: f"{x:.3g}")
        unknown = "unknown" if self.approximation_gap is None else self.approximation_gap
        return "\n".join(
            [
                f"Amortisation of {self.name} on {self.num_rows:,} rows, {len(self.rows)} of them one by one",
                f"  ELBO of all rows   {self.elbo}",
                f"  approximation gap  {unknown}, a row",
                f"  amortisation gap   {self.amortisation_gap}, a row",
                table,
                self.verdict,
                f"It cannot see: {self.cannot_see}",
            ]
        )


def mean_of(gaps: list[Estimate]) -> Estimate:
    """Return the mean over rows; its error is that of so few rows, and of each of them."""
    values = np.array([gap.value for gap in gaps])
    own = np.sqrt(np.sum([gap.standard_error**2 for gap in gaps])) / len(gaps)
    spread = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return Estimate(values.mean(), math.hypot(own, spread), f"mean of {len(gaps)} rows")


def verdict_of(found: Amortisation) -> str:
    """Say what an encoder loses, to what, and what would mend it."""
    lost = found.amortisation_gap
    words = (
        f"The encoder's q of a row is {significant(max(lost.value, 0.0))} nats worse than the best one by "
        f"{found.method} (amortisation gap)"
    )
    if found.approximation_gap is None:
        return f"{words}; how far the best one is from the posterior is unknown for some rows."
    family = found.approximation_gap
    words += f", which is itself {significant(max(family.value, 0.0))} nats from the posterior (approximation gap)."
    if max(lost.value, family.value) < SMALL:
        return f"{words} Neither is worth a remedy."
    if lost.value > family.value:
        return f"{words} A larger encoder, more steps, or a smaller step size at their end may bring it nearer."
    return f"{words} A richer distribution in the guide (a full covariance, a flow) may bring it nearer."


def blind_spot(found: Amortisation) -> str:
    """Say what could be wrong without showing in these figures."""
    missed = sum(not gap.converged for gap in found.rows)
    words = (
        f"The gaps of the other {found.num_rows - len(found.rows):,} rows; a mode of a row's posterior that neither q "
        f"visits; and how uncertain the model's parameters are, at whose values all this is."
    )
    if missed:
        words += f" The search for the best q did not converge for {missed} row(s): their amortisation gap is larger."
    return words
