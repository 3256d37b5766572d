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
    """A table of column titles and rows of already formatted cells.

    Attributes:
        columns: the titles.
        rows: the cells.
        meanings: what each column says, in words for a reader who sees it for the first time.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    meanings: tuple[str, ...]

    def __post_init__(self):
        if len(self.meanings) != len(self.columns) or not all(self.meanings):
            raise ValueError(f"Give each of the columns {', '.join(self.columns)} its meaning.")

    def choose(self, places: Sequence[int]) -> "Table":
        """Return the table with these of its columns, for where there is little room."""
        columns, meanings = (tuple(each[i] for i in places) for each in (self.columns, self.meanings))
        return Table(columns, tuple(tuple(row[i] for i in places) for row in self.rows), meanings)


@dataclasses.dataclass(frozen=True)
class Column:
    """A column about approximations.

    Attributes:
        title: its heading, in which "{unit}" stands for the unit.
        meaning: what it says, in words for a reader who sees it for the first time; "{unit}" stands for the unit.
        cell: the text for one (fit, certificate, unit, how far its ELBO is behind the highest).
    """

    title: str
    meaning: str
    cell: Callable[..., str]


COLUMNS = {
    "name": Column(
        "q",
        "The approximation. An asterisk says that its fit did not converge.",
        lambda fit, c, unit, behind: readable(c.name) + ("" if fit.status.converged else "*"),
    ),
    "elbo": Column(
        "ELBO [{unit}]",
        "The evidence lower bound, in {unit}: the log evidence less KL(q||p). Higher is better.",
        lambda fit, c, unit, behind: evidence(c.elbo, unit),
    ),
    "behind": Column(
        "behind",
        "How much lower its ELBO is than the highest, in {unit}: so much farther it is from the posterior. All are "
        "drawn with the same random numbers, so that the difference is known better than either. A tilde: it cannot be "
        "told apart from the first, with 95% confidence in all such pairs together.",
        lambda fit, c, unit, behind: number(behind, unit),
    ),
    "code_length": Column(
        "−ELBO [{unit}]",
        "The {unit} that it costs to send the data with q. Lower is better.",
        lambda fit, c, unit, behind: f"{0.0 - c.elbo.to(unit).value:,.3f}",
    ),
    "reverse_kl": Column(
        "KL(q||p)",
        "The distance from q to the posterior p that variational inference minimises, in {unit}, by the most precise "
        "way there is. 0 where q is the posterior.",
        lambda fit, c, unit, behind: number(c.reverse_kl, unit),
    ),
    "at_least": Column(
        "KL(q||p) ≥",
        "The least that KL(q||p) can be, in {unit}, with 95% confidence, whatever the tails.",
        lambda fit, c, unit, behind: significant(c.limits.to(unit).lower, zeros=False),
    ),
    "gap": Column(
        "evidence gap",
        "The log evidence less the ELBO, in {unit}: the first of two ways to compute KL(q||p).",
        lambda fit, c, unit, behind: number(c.gap, unit),
    ),
    "integrated": Column(
        "KL integral",
        "log q − log p, integrated over q, in {unit}: the second way to compute KL(q||p).",
        lambda fit, c, unit, behind: number(c.integrated, unit),
    ),
    "agree": Column(
        "ways agree",
        "Whether the two ways to compute KL(q||p) give the same within four standard errors; a dash where one of them "
        "could not be taken.",
        lambda fit, c, unit, behind: {True: "yes", False: "NO", None: "-"}[c.ways_agree],
    ),
    "label": Column(
        "label",
        "How far KL(q||p) can be trusted: exact, with hardly an error; certified, with an interval that holds; "
        "estimated, as far as draws of q, wider ones and searches for modes see; unknown, bounded from below at most.",
        lambda fit, c, unit, behind: c.label,
    ),
    "forward_kl": Column(
        "KL(p||q)",
        "The other direction, in {unit}: it is large where q leaves out a part of the posterior p, or hardly reaches "
        "it.",
        lambda fit, c, unit, behind: number(c.forward_kl, unit),
    ),
    "k_hat": Column(
        "k-hat",
        "How heavy the tail of the importance weights p/q is: below 0.5 draws of q can be reweighted to the posterior, "
        'above 0.7 they cannot. "flat" where all weights are equal. It does not see parts that q never visits.',
        lambda fit, c, unit, behind: c.k_hat_text,
    ),
    "mean_error": Column(
        "mean error [sd]",
        "The largest error of a mean under q, in standard deviations of the posterior.",
        lambda fit, c, unit, behind: short(c.worst_mean_error),
    ),
    "sd_ratio": Column(
        "sd ratio",
        "The standard deviation under q divided by that of the posterior, where it is farthest from 1.",
        lambda fit, c, unit, behind: short(c.worst_sd_ratio),
    ),
    "gradients": Column(
        "gradients",
        "How many gradients of the log density the fit took.",
        lambda fit, c, unit, behind: f"{fit.cost.gradient_evaluations:,}",
    ),
    "seconds": Column(
        "s",
        "Seconds that the fit took, compilation included.",
        lambda fit, c, unit, behind: f"{fit.cost.seconds:.1f}",
    ),
}
TIED = " ~"  # behind the differences that are none for sure
COST_COLUMNS = {
    "fit of": "The approximation.",
    "gradients": COLUMNS["gradients"].meaning,
    "densities": "How many evaluations of the log density without its gradient the fit took.",
    "compiling [s]": "Seconds of tracing and compiling the fit's programs.",
    "running [s]": "All other seconds of the fit. Fits that run side by side slow each other down.",
    "to check: gradients": "How many gradients of the log density the certificate took.",
    "to check: densities": "How many evaluations of the log density without its gradient the certificate took.",
    "memory [MiB]": "The most memory of the device that was in use until the end of the fit.",
}
ALL_THAT_MATTERS = (
    "name", "elbo", "behind", "reverse_kl", "at_least", "label", "forward_kl", "k_hat", "mean_error", "sd_ratio",
    "gradients", "seconds",
)  # fmt: skip
EIGHTY_CHARACTERS = ("name", "elbo", "reverse_kl", "label", "k_hat", "seconds")


def comparison_table(
    comparison: Comparison, unit: str = "nats", columns: Sequence[str] = ALL_THAT_MATTERS, *, ranked: bool = False
) -> Table:
    """Return one row per approximation, in the comparison's order or in that of the ELBOs.

    Args:
        comparison: what `compare` returned.
        unit: "nats" or "bits", of every divergence and evidence.
        columns: names of COLUMNS. An asterisk after the name of q marks a fit that did not converge.
        ranked: whether the one with the highest ELBO comes first; those without one come last.

    Raises:
        ValueError: a name that is not one of COLUMNS.
    """
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise ValueError(f"No column {unknown[0]!r}: choose from {', '.join(COLUMNS)}.")
    pairs = list(zip(comparison.fits, comparison.certificates, strict=True))
    if ranked:
        pairs = sorted(pairs, key=lambda pair: -pair[1].elbo.to("nats").value)
    chosen, ranking = [COLUMNS[name] for name in columns], comparison.ranking
    tied = {name: TIED * (name in ranking.tied[1:]) for name in comparison.names}
    rows = tuple(
        tuple(
            column.cell(fit, c, unit, ranking.gap_of(c.name)) + tied[c.name] * (column is COLUMNS["behind"])
            for column in chosen
        )
        for fit, c in pairs
    )
    titles, meanings = [each.title for each in chosen], [each.meaning for each in chosen]
    return Table(written(titles, unit), rows, written(meanings, unit))


def cost_table(comparison: Comparison) -> Table:
    """Return what each fit and its certificate cost, a row for each, in the comparison's order."""
    rows = tuple(
        (
            readable(name),
            f"{cost.gradient_evaluations:,}",
            f"{cost.density_evaluations:,}",
            f"{cost.compile_seconds:.1f}",
            f"{cost.run_seconds:.1f}",
            f"{c.gradient_evaluations:,}",
            f"{c.density_evaluations:,}",
            "-" if cost.peak_memory is None else f"{cost.peak_memory / 2**20:,.0f}",
        )
        for name, cost, c in zip(comparison.names, comparison.costs, comparison.certificates, strict=True)
    )
    counted = any(cost.peak_memory is not None for cost in comparison.costs)
    places = range(len(COST_COLUMNS) - (not counted))
    return Table(tuple(COST_COLUMNS), rows, tuple(COST_COLUMNS.values())).choose(places)


def written(texts: Sequence[str], unit: str) -> tuple[str, ...]:
    """Return texts with the unit in its places."""
    return tuple(text.format(unit=unit) for text in texts)


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
    for fit, c in zip(comparison.fits, comparison.certificates, strict=True):
        if not fit.status.converged:
            words.append(f"* {readable(c.name)}: {fit.status}")
    left_out = [f"{readable(name)}: left out. {why}" for name, why in comparison.failures.items()]
    return [*words, *left_out, *comparison.notes]


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
