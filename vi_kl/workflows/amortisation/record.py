"""Amortisation: what an encoder loses against the posterior of each row, in figures and in words."""

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from vi_kl.core.estimate import Estimate
from vi_kl.core.languages import speaking
from vi_kl.core.records import WORKING, Readable, plain, store
from vi_kl.core.written_numbers import significant
from vi_kl.diagnostics.evidence_bounds import Limits
from vi_kl.workflows.amortisation.words import say

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
        language: the language of its words, "en" or "zh" (see `in_language`).
    """

    name: str
    method: str
    elbo: Estimate
    num_rows: int
    rows: tuple[RowGap, ...]
    elbo_of_rows: np.ndarray = dataclasses.field(metadata=WORKING, compare=False)
    language: str = dataclasses.field(default="en", metadata=WORKING)
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
        with speaking(self.language):
            store(self, verdict=verdict_of(self), cannot_see=blind_spot(self))

    def in_language(self, language: str) -> "Amortisation":
        """Return a copy whose words are in a language: "en", or "zh" for Chinese. Names of methods are English in both.

        Raises:
            ValueError: another language.
        """
        return dataclasses.replace(self, language=language)

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
        number, looked_at = f"{self.num_rows:,}", len(self.rows)
        draws = f"{(self.elbo.num_draws or 0) // self.num_rows:,}"
        title = "Amortisation of {name} on {number} rows, {looked_at} of them one by one"
        elbo = "  ELBO of all rows   {elbo} nats (Monte Carlo, {draws} draws of q for each of {number} rows)"
        with speaking(self.language):
            family, lost = map(self._mean_in_words, (self.approximation_gap, self.amortisation_gap))
            lines = [
                say(title, name=self.name, number=number, looked_at=looked_at),
                say(elbo, elbo=self.elbo.written, draws=draws, number=number),
                say("  approximation gap  {gap}, a row", gap=family),
                say("  amortisation gap   {gap}, a row", gap=lost),
                self._table(),
                self.verdict,
                say("It cannot see: {words}", words=self.cannot_see),
            ]
        return "\n".join(lines)

    def _mean_in_words(self, gap: Estimate | None) -> str:
        if gap is None:
            return say("unknown")
        return say("{gap} nats (mean of {looked_at} rows)", gap=gap.written, looked_at=len(self.rows))

    def _table(self) -> str:
        """Return the table of the rows as it is printed, in the language of the context."""
        import pandas as pd

        table = self.to_dataframe().rename(columns=say).rename_axis(say("row"))
        with pd.option_context("display.unicode.east_asian_width", True):
            return table.to_string(float_format=lambda x: f"{x:.3g}")


def mean_of(gaps: list[Estimate]) -> Estimate:
    """Return the mean over rows; its error is that of so few rows, and of each of them."""
    values = np.array([gap.value for gap in gaps])
    own = np.sqrt(np.sum([gap.standard_error**2 for gap in gaps])) / len(gaps)
    spread = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return Estimate(values.mean(), math.hypot(own, spread), f"mean of {len(gaps)} rows")


def verdict_of(found: Amortisation) -> str:
    """Say what an encoder loses, to what, and what would mend it, in the language of the context."""
    lost, family = found.amortisation_gap, found.approximation_gap
    figures = {"lost": significant(max(lost.value, 0.0)), "method": found.method}
    if family is None:
        return say(
            "The encoder's q of a row is {lost} nats worse than the best one by {method} (amortisation gap); how far "
            "the best one is from the posterior is unknown for some rows.",
            **figures,
        )
    words = say(
        "The encoder's q of a row is {lost} nats worse than the best one by {method} (amortisation gap), which is "
        "itself {family} nats from the posterior (approximation gap).",
        **figures,
        family=significant(max(family.value, 0.0)),
    )
    if max(lost.value, family.value) < SMALL:
        return words + say(" Neither is worth a remedy.")
    if lost.value > family.value:
        return words + say(" A larger encoder, more steps, or a smaller step size at their end may bring it nearer.")
    return words + say(" A richer distribution in the guide (a full covariance, a flow) may bring it nearer.")


def blind_spot(found: Amortisation) -> str:
    """Say what could be wrong without showing in these figures, in the language of the context."""
    missed = sum(not gap.converged for gap in found.rows)
    words = say(
        "The gaps of the other {number} rows; a mode of a row's posterior that neither q visits; and how uncertain the "
        "model's parameters are, at whose values all this is.",
        number=f"{found.num_rows - len(found.rows):,}",
    )
    if missed:
        words += say(
            " The search for the best q did not converge for {missed} row(s): their amortisation gap is larger.",
            missed=missed,
        )
    return words
