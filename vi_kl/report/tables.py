"""Tables of a Comparison, as rows of formatted cells that a terminal and a page both show; and their number formats."""

import dataclasses
import math
from collections.abc import Callable, Sequence

from vi_kl.core.estimate import Estimate
from vi_kl.core.written_numbers import at_place, divergence_with_error, significant, with_error
from vi_kl.diagnostics.certificate import Certificate
from vi_kl.workflows.comparison import Comparison

NOTABLE = 0.1  # nats of KL(q||posterior) from which on the verdict of an approximation stands below the table
DIGITS, SMALL = 5, 1e-3  # the most digits of a divergence in a cell; of one that is small, two
LARGE = 1e6  # a number that is so large has no decimals
EVIDENCE_DECIMALS, FLOAT64_DIGITS = 5, 15  # the most decimals and digits of a log evidence


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of column titles and rows of already formatted cells."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def choose(self, places: Sequence[int]) -> "Table":
        """Return the table with these of its columns, for where there is little room."""
        return Table(tuple(self.columns[i] for i in places), tuple(tuple(row[i] for i in places) for row in self.rows))


@dataclasses.dataclass(frozen=True)
class Column:
    """A column about approximations.

    Attributes:
        title: its heading, in which "{unit}" stands for the unit.
        cell: the text for one (fit, certificate, unit).
    """

    title: str
    cell: Callable[..., str]


COLUMNS = {
    "name": Column("q", lambda fit, c, unit: readable(fit.name) + ("" if fit.status.converged else "*")),
    "elbo": Column("ELBO [{unit}]", lambda fit, c, unit: evidence(c.elbo, unit)),
    "code_length": Column("−ELBO [{unit}]", lambda fit, c, unit: f"{0.0 - c.elbo.to(unit).value:,.3f}"),
    "reverse_kl": Column("KL(q||p)", lambda fit, c, unit: number(c.reverse_kl, unit)),
    "at_least": Column("at least", lambda fit, c, unit: significant(c.limits.to(unit).lower, zeros=False)),
    "gap": Column("KL(q||p): gap", lambda fit, c, unit: number(c.gap, unit)),
    "integrated": Column("integrated", lambda fit, c, unit: number(c.integrated, unit)),
    "agree": Column("agree", lambda fit, c, unit: {True: "yes", False: "NO", None: "-"}[c.ways_agree]),
    "label": Column("label", lambda fit, c, unit: c.label),
    "forward_kl": Column("KL(p||q)", lambda fit, c, unit: number(c.forward_kl, unit)),
    "k_hat": Column("k-hat", lambda fit, c, unit: c.k_hat_text),
    "mean_error": Column("mean error [sd]", lambda fit, c, unit: short(c.worst_mean_error)),
    "sd_ratio": Column("sd ratio", lambda fit, c, unit: short(c.worst_sd_ratio)),
    "gradients": Column("gradients", lambda fit, c, unit: f"{fit.cost.gradient_evaluations:,}"),
    "seconds": Column("s", lambda fit, c, unit: f"{fit.cost.seconds:.1f}"),
}
ALL_THAT_MATTERS = (
    "name", "elbo", "reverse_kl", "at_least", "label", "forward_kl", "k_hat", "mean_error", "sd_ratio", "gradients",
    "seconds",
)  # fmt: skip
EIGHTY_CHARACTERS = ("name", "elbo", "reverse_kl", "label", "k_hat", "seconds")


def comparison_table(comparison: Comparison, unit: str = "nats", columns: Sequence[str] = ALL_THAT_MATTERS) -> Table:
    """Return one row per approximation, in the comparison's order.

    Args:
        comparison: what `compare` returned.
        unit: "nats" or "bits", of every divergence and evidence.
        columns: names of COLUMNS. An asterisk after the name of q marks a fit that did not converge.

    Raises:
        ValueError: a name that is not one of COLUMNS.
    """
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise ValueError(f"No column {unknown[0]!r}: choose from {', '.join(COLUMNS)}.")
    pairs = list(zip(comparison.fits, comparison.certificates, strict=True))
    chosen = [COLUMNS[name] for name in columns]
    rows = tuple(tuple(column.cell(fit, c, unit) for column in chosen) for fit, c in pairs)
    return Table(tuple(column.title.format(unit=unit) for column in chosen), rows)


def notes(comparison: Comparison, omit: Sequence[Certificate] = ()) -> list[str]:
    """Return what a reader of the table should not miss, a paragraph each.

    These are the verdicts on approximations that are far from the posterior, or at an unknown distance; how fits ended
    that did not converge; and why methods were left out.

    Args:
        comparison: what `compare` returned.
        omit: certificates that need no words here, because something else is said about them.
    """
    words = []
    for c in comparison.certificates:
        if worth_a_verdict(c) and not any(c is other for other in omit):
            words.append(f"{readable(c.name)}: {c.verdict}")
    for fit in comparison.fits:
        if not fit.status.converged:
            words.append(f"* {readable(fit.name)}: {fit.status}")
    return words + [f"{readable(name)}: left out. {why}" for name, why in comparison.failures.items()]


def worth_a_verdict(c: Certificate) -> bool:
    """Return whether q is notably far from the posterior, or at an unknown distance."""
    return c.label == "unknown" or c.reverse_kl.to("nats").value > NOTABLE


def number(estimate: Estimate | None, unit: str) -> str:
    """Write a divergence ± its error in the space of a table cell; "-" if there is no estimate."""
    if estimate is None:
        return "-"
    value, error = estimate.to(unit).value, estimate.to(unit).standard_error
    return divergence_with_error(value, error, digits=1, most=2 if abs(value) < SMALL else DIGITS)


def evidence(estimate: Estimate, unit: str) -> str:
    """Write value ± error to the error's own digit, however large, for values that are compared by differences."""
    value, error = estimate.to(unit).value, estimate.to(unit).standard_error
    if not math.isfinite(value):
        return significant(value)
    if error < 0.5 * 10.0**-EVIDENCE_DECIMALS:
        return at_place(value, EVIDENCE_DECIMALS if error else 3)
    return with_error(value, error, digits=1, most=FLOAT64_DIGITS)


def short(value: float) -> str:
    """Write a plain number; "-" for NaN."""
    return "-" if math.isnan(value) else f"{value:.3f}" if abs(value) < LARGE else significant(value)


def readable(name: str) -> str:
    """Return the name of a method as people write it: "full_rank" is "full rank"."""
    return name.replace("_", " ")
