"""ModelComparison: the evidence of several models of the same data, and how each predicts what is left out."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vi_kl.algorithms.algorithm import Fit
from vi_kl.core.estimate import Estimate
from vi_kl.core.records import WORKING, Readable, plain, store
from vi_kl.core.written_numbers import significant
from vi_kl.diagnostics.certificate import Certificate
from vi_kl.diagnostics.evidence_bounds import Limits

if TYPE_CHECKING:
    import pandas as pd

# Kass & Raftery's grades of evidence, by the log of the Bayes factor in nats
GRADES = ((1.0, "not worth more than a bare mention"), (3.0, "positive"), (5.0, "strong"))
CLEAR = 2.0  # standard errors of a difference of expected log predictive densities, beyond which it is told


@dataclasses.dataclass(frozen=True, repr=False)
class ModelComparison(Readable):
    """Models of the same data, compared by their evidence and by leave-one-out prediction.

    Attributes:
        names: the models, in the order given.
        fits: the approximation of each posterior.
        certificates: what is known of each approximation, the log evidence with it.
        loo: the expected log pointwise predictive density of each, in nats, with its standard error; None where it is
            not known.
        loo_behind: how far each is behind the best of them in that, by paired differences; None likewise.
        sensitive: the quantities of each that depend on its prior, with ArviZ's diagnosis by power-scaling.
        without_evidence: {model: why its evidence says nothing}.
        notes: what else must not be missed, a sentence each.
        log_evidences: the log evidence of each; None where it is unknown or means nothing.
        best: the model of the highest known log evidence; "" if none is known.
        recommendation: what the figures say, in words.
    """

    names: tuple[str, ...]
    fits: tuple[Fit, ...] = dataclasses.field(metadata=WORKING)
    certificates: tuple[Certificate, ...]
    loo: tuple[Estimate | None, ...]
    loo_behind: tuple[Estimate | None, ...]
    sensitive: tuple[tuple[str, ...], ...]
    without_evidence: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    log_evidences: tuple[Estimate | None, ...] = dataclasses.field(init=False)
    best: str = dataclasses.field(init=False)
    recommendation: str = dataclasses.field(init=False)

    def __post_init__(self):
        known = tuple(
            None if name in self.without_evidence or c.log_evidence is None else c.log_evidence.to("nats")
            for name, c in zip(self.names, self.certificates, strict=True)
        )
        values = {name: found.value for name, found in zip(self.names, known, strict=True) if found is not None}
        store(self, log_evidences=known, best=max(values, key=lambda name: values[name], default=""))
        store(self, recommendation=in_words(self))

    def log_bayes_factor(self, name: str, other: str) -> Estimate | Limits:
        """Return the log of the Bayes factor of one model over another, in nats.

        Returns:
            An Estimate; or, where one of the evidences is known by its limits alone, Limits.

        Raises:
            KeyError: there is no such model.
            ValueError: the evidence of one of them means nothing.
        """
        places = [self.place(name), self.place(other)]
        for one in (name, other):
            if one in self.without_evidence:
                raise ValueError(f"The evidence of '{one}' means nothing: {self.without_evidence[one]}")
        found = [self.log_evidences[place] for place in places]
        if found[0] is not None and found[1] is not None:
            return found[0].minus(found[1], f"log evidence of {name} less that of {other}")
        limits = [self.certificates[place].evidence_limits.to("nats") for place in places]
        return limits[0].minus(limits[1])

    def place(self, name: str) -> int:
        """Return which of the models has this name."""
        if name not in self.names:
            raise KeyError(f"There is no model {name!r}: choose one of {', '.join(self.names)}.")
        return self.names.index(name)

    def to_dataframe(self) -> "pd.DataFrame":
        """Return a table in nats with one row per model, the one of the highest evidence first."""
        import pandas as pd

        rows = []
        for i, name in enumerate(self.names):
            evidence, limits = self.log_evidences[i], self.certificates[i].evidence_limits.to("nats")
            factor = self.log_bayes_factor(self.best, name) if evidence is not None else None
            rows.append(
                (name, *numbers(evidence), limits.lower, limits.upper, *numbers(factor), *numbers(self.loo[i]),
                 *numbers(self.loo_behind[i]), ", ".join(self.sensitive[i]))
            )  # fmt: skip
        table = pd.DataFrame(rows, columns=COLUMNS).set_index("model")
        return table.sort_values("log evidence", ascending=False)

    def to_dict(self) -> dict:
        """Return the figures as plain numbers and strings, for JSON, without fits."""
        return plain(self)

    @property
    def headline(self) -> str:
        """How many models, and the best."""
        return f"{len(self.names)} models; {'the evidence is highest of ' + self.best if self.best else 'no evidence'}"

    def __str__(self):
        table = self.to_dataframe().to_string(float_format=lambda x: significant(x, 4, zeros=False))
        without = (f"{name}: no evidence. {why}" for name, why in self.without_evidence.items())
        return "\n".join([table, *without, *self.notes, self.recommendation])


COLUMNS = (
    "model", "log evidence", "± se", "at least", "at most", "behind the best", "± se of that", "elpd by LOO",
    "± se of it", "elpd behind", "± se of the difference", "depends on the prior",
)  # fmt: skip


def numbers(estimate: Estimate | Limits | None) -> tuple[float, float]:
    """Return the value and its standard error; NaN for what is unknown."""
    if not isinstance(estimate, Estimate):
        return float("nan"), float("nan")
    return estimate.value, estimate.standard_error


def grade(nats: float) -> str:
    """Return the word for a log Bayes factor."""
    return next((word for limit, word in GRADES if nats < limit), "very strong")


def in_words(found: ModelComparison) -> str:
    """Say what the figures say about the models."""
    words = [evidence_in_words(found), loo_in_words(found)]
    for name, quantities in zip(found.names, found.sensitive, strict=True):
        if quantities:
            words.append(f"In {name}, {', '.join(quantities)}: its evidence moves with that prior.")
    return " ".join(filter(None, words))


def evidence_in_words(found: ModelComparison) -> str:
    """Say which model the evidence favours, over the next, and by how much."""
    ranked = sorted(
        (name for name, evidence in zip(found.names, found.log_evidences, strict=True) if evidence is not None),
        key=lambda name: -numbers(found.log_evidences[found.place(name)])[0],
    )
    if len(ranked) < 2:
        return "The evidence of fewer than two models is known, so it compares none."
    factor = found.log_bayes_factor(*ranked[:2])
    assert isinstance(factor, Estimate), "both evidences are known"
    if factor.value < 2 * factor.standard_error:
        return f"The evidence cannot tell {ranked[0]} from {ranked[1]} (log Bayes factor {factor.written} nats)."
    return (
        f"The evidence for {ranked[0]} over {ranked[1]} is {grade(factor.value)}: the log Bayes factor is "
        f"{factor.written} nats."
    )


def loo_in_words(found: ModelComparison) -> str:
    """Say which model predicts a left-out observation best."""
    ranked = sorted(
        ((name, gap) for name, gap in zip(found.names, found.loo_behind, strict=True) if gap is not None),
        key=lambda pair: pair[1].value,
    )
    if len(ranked) < 2:
        return ""
    (first, _), (second, gap) = ranked[:2]
    if gap.value > CLEAR * gap.standard_error:
        return f"{first} predicts left-out observations better than {second}, by {gap.written} nats in all."
    return f"Leave-one-out prediction cannot tell {first} from {second} ({gap.written} nats)."
