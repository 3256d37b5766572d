"""Comparison: what fits of one target cost, how each ended, and how far each is from the posterior."""

import dataclasses
import html
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax

from vi_kl.algorithms.algorithm import Cost, Fit, Status
from vi_kl.core.annotations import KeyLike
from vi_kl.core.estimate import Estimate
from vi_kl.core.random_keys import as_key
from vi_kl.core.records import WORKING, Readable, plain, rendered_by, store
from vi_kl.core.suggestions import names_its_arguments
from vi_kl.core.written_numbers import contradicts_zero, divergence_with_error, significant
from vi_kl.diagnostics.certificate import Certificate
from vi_kl.diagnostics.gap import Gap, explain_gap
from vi_kl.targets.target import Target
from vi_kl.workflows.members import unlike
from vi_kl.workflows.ranking import Ranking
from vi_kl.workflows.recommendation import recommend

if TYPE_CHECKING:
    import pandas as pd
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT_OUT = "left out"
NOT_RANKED = Ranking((), (), 0)


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison(Readable):
    """Fits of one target with their certificates, in the order asked for.

    A record, but for the target and the fits, which are there to be drawn from and plotted.

    Attributes:
        target: what was approximated.
        fits: one per method that could be fitted.
        certificates: one per fit.
        failures: {method name: why it could not be fitted, or checked}.
        key: the key that everything random came from, as an integer where one stands for it; None where it is not
            known.
        ranking: the approximations by their ELBOs, and which cannot be told apart.
        notes: what else must not be missed, a sentence each.
        asked: the names of all methods that were asked for, in this order, those of the failures among them.
        methods: the methods as they stand in the call that makes the comparison; "" where it is not known.
        statuses: how each fit ended.
        costs: what each fit cost.
        recommendation: which approximation to take, why, and at what price; or what to do where none is near enough.
    """

    target: Target = dataclasses.field(metadata=WORKING)
    fits: tuple[Fit, ...] = dataclasses.field(metadata=WORKING)
    certificates: tuple[Certificate, ...]
    failures: dict[str, str] = dataclasses.field(default_factory=dict)
    key: str | None = None
    ranking: Ranking = NOT_RANKED
    notes: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    methods: str = dataclasses.field(default="", metadata=WORKING)
    statuses: tuple[Status, ...] = dataclasses.field(init=False, repr=False)
    costs: tuple[Cost, ...] = dataclasses.field(init=False, repr=False)
    recommendation: str = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        names: list[str] = []
        for c in self.certificates:
            names.append(unlike(c.name, names))
        named = (
            c if c.name == name else dataclasses.replace(c, name=name)
            for c, name in zip(self.certificates, names, strict=True)
        )
        store(self, certificates=tuple(named))
        store(
            self,
            statuses=tuple(fit.status for fit in self.fits),
            costs=tuple(fit.cost for fit in self.fits),
            recommendation=recommend(self.fits, self.certificates, self.failures, self.ranking),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the approximations, in the order asked for."""
        return tuple(c.name for c in self.certificates)

    def __getitem__(self, name: str) -> Fit:
        """Return the fit of this name."""
        for fit, c in zip(self.fits, self.certificates, strict=True):
            if c.name == name:
                return fit
        why = f" It was left out: {self.failures[name]}" if name in self.failures else ""
        raise KeyError(f"There is no approximation {name!r}: choose one of {', '.join(self.names)}.{why}")

    def to_dataframe(self, unit: str = "nats") -> "pd.DataFrame":
        """Return a table with one row per approximation, the one with the highest ELBO first.

        Those that could not be fitted or checked come last, with the reason in the column "left out" and no numbers.
        """
        import pandas as pd

        table = self.dataframe(unit, float).assign(**{LEFT_OUT: ""})
        failed = pd.DataFrame({LEFT_OUT: self.failures.values()}, list(self.failures)).reindex(columns=table.columns)
        return pd.concat([table, failed]).rename_axis("approximation") if self.failures else table

    def dataframe(self, unit: str, divergence: Callable[[Estimate], float | str]) -> "pd.DataFrame":
        """Return the table with divergences as a function of their estimates shows them."""
        import pandas as pd  # half a second that fitting need not wait for

        pairs = zip(self.fits, self.certificates, strict=True)
        rows = [row(fit, c, self.ranking.gap_of(c.name), unit, divergence) for fit, c in pairs]
        table = pd.DataFrame(rows, columns=columns(unit)).set_index("approximation")
        return table.sort_values(f"ELBO [{unit}]", ascending=False)

    def to_dict(self) -> dict:
        """Return certificates, statuses, costs and failures as plain numbers and strings, for JSON, without fits."""
        return plain(self)

    def to_arviz(self, key: KeyLike, n: int | None = None, **options: Any) -> "dict[str, xarray.DataTree]":
        """Return {name: DataTree} of each fit, and of the reference posterior, called "reference", if there is one.

        ArviZ's functions that compare models or plot several take such a dict.

        Args:
            key: a JAX random key, or an integer.
            n: the number of draws of each; by default 1,000, or fewer where predictions would fill the memory.
            **options: further arguments of `Fit.to_arviz`, except `certificate`: each tree has its own in words.
        """
        key = as_key(key)
        trees: dict[str, Any] = {}
        for i, (fit, certificate) in enumerate(zip(self.fits, self.certificates, strict=True)):
            trees[certificate.name] = fit.to_arviz(jax.random.fold_in(key, i), n, certificate=certificate, **options)
        known = self.target.reference
        if known is not None and known.target is not None:
            trees["reference"] = known.to_arviz(jax.random.fold_in(key, len(self.fits)), n, **options)
        return trees

    @names_its_arguments
    def to_html(
        self, path: str | os.PathLike, *, key: KeyLike = 0, unit: Literal["nats", "bits"] = "nats", title: str = ""
    ) -> Path:
        """Write one self-contained page: the recommendation, parameters, figures, certificates in words, and costs.

        It needs no network, and says by which call, keys and versions it was made.

        Args:
            path: the file to write, such as "report.html".
            key: a JAX random key, or an integer, for the draws in the figures.
            unit: "nats" or "bits", of everything shown.
            title: the page's title; by default it names the model.

        Returns:
            The path of the page.

        Raises:
            OSError: the file cannot be written; this is found out before anything is drawn.
        """
        return rendered_by("write_comparison_page")(self, path, key=key, unit=unit, title=title)

    def plot_forest(self, ax: "Axes | None" = None, unit: Literal["nats", "bits"] = "nats") -> "Axes":
        """Draw KL(q||posterior) and KL(posterior||q) of each approximation, with their intervals, on a log scale."""
        return rendered_by("plot_forest_of")(self, ax, unit)

    def plot_costs(self, ax: "Axes | None" = None, unit: Literal["nats", "bits"] = "nats") -> "Axes":
        """Draw KL(q||posterior) of each approximation against the gradients that it took, both on log scales."""
        return rendered_by("plot_costs_of")(self, ax, unit)

    def plot_traces(self, ax: "Axes | None" = None, unit: Literal["nats", "bits"] = "nats") -> "Axes":
        """Draw how each ELBO rose to the log evidence, by iteration; where that is not known, -ELBO itself."""
        return rendered_by("plot_traces_of")(self, ax, unit)

    def explain_gaps(self, key: KeyLike) -> tuple[Gap, ...]:
        """Return where the KL of each approximation comes from; see `vi_kl.explain_gap`, which searches for each anew.

        Points, which are infinitely far from the posterior, are left out.
        """
        key = as_key(key)
        pairs = [(fit, c.name) for fit, c in zip(self.fits, self.certificates, strict=True) if not c.is_point]
        gaps = (
            explain_gap(fit, self.target.reference, key=jax.random.fold_in(key, i)) for i, (fit, _) in enumerate(pairs)
        )
        return tuple(dataclasses.replace(gap, name=name) for gap, (_, name) in zip(gaps, pairs, strict=True))

    def plot_gaps(self, key: KeyLike = 0, unit: Literal["nats", "bits"] = "nats") -> "Figure":
        """Draw where the KL of each approximation comes from, as `explain_gaps` finds it."""
        return rendered_by("plot_gaps_of")(self.explain_gaps(key), unit)

    def plot_marginals(self, key: KeyLike = 0) -> "Figure":
        """Draw every approximation over the posterior, site by site; of vectors, means and sds."""
        return rendered_by("plot_marginals_of")(self, key)

    def plot_pairs(self, key: KeyLike = 0) -> "Figure":
        """Draw the first four numbers two at a time: the region of 90% of each q over the posterior's."""
        return rendered_by("plot_pairs_of")(self, key)

    def plot_weights(self, ax: "Axes | None" = None, key: KeyLike = 0) -> "Axes":
        """Draw the importance weights p/q of each q, the largest at the left, with k-hat, on log scales."""
        return rendered_by("plot_weights_of")(self, ax, key)

    @property
    def headline(self) -> str:
        """The target, the approximations from the highest ELBO down, and how many were left out."""
        ordered = sorted(self.certificates, key=lambda c: -c.elbo.value if c.elbo else float("inf"))
        left_out = f"; {len(self.failures)} left out" if self.failures else ""
        return f"{self.target.density}, {', '.join(c.name for c in ordered) or 'no approximation'}{left_out}"

    def __str__(self):
        text = self.dataframe("nats", as_written).to_string(float_format=lambda x: significant(x, 4, zeros=False))
        return "\n".join([text, *self.words()])

    def _repr_html_(self):
        table = self.dataframe("nats", as_written).to_html(float_format=lambda x: significant(x, 4, zeros=False))
        return "".join([table, *(f"<p>{html.escape(words)}</p>" for words in self.words())])

    def words(self) -> list[str]:
        """Return what is said below the table, a paragraph each."""
        left_out = [f"{name}: left out. {why}" for name, why in self.failures.items()]
        return [*left_out, *self.notes, self.recommendation]


def columns(unit: str) -> list[str]:
    """Return the names of the columns, of which some carry the unit."""
    return [
        "approximation",
        f"ELBO [{unit}]",
        f"behind [{unit}]",
        f"KL(q||p) [{unit}]",
        "± se",
        f"KL(q||p) ≥ [{unit}]",
        f"KL(p||q) [{unit}]",
        "label",
        "k-hat",
        "mean error [sd]",
        "sd ratio",
        "converged",
        "gradients",
        "seconds",
    ]


def as_written(divergence: Estimate) -> float | str:
    """Return a divergence as people read it: 0 where its error explains that it is negative."""
    if not divergence.value < 0:
        return divergence.value
    if contradicts_zero(divergence.value, divergence.standard_error):
        return divergence_with_error(divergence.value, 0.0, most=4)
    return 0.0


def row(
    fit: Fit, c: Certificate, behind: Estimate | None, unit: str, divergence: Callable[[Estimate], float | str]
) -> tuple:
    """Return the entries of one approximation in these columns."""

    def value(estimate, write=float):
        return float("nan") if estimate is None else write(estimate.to(unit))

    return (
        c.name,
        value(c.elbo),
        value(behind),
        value(c.reverse_kl, divergence),
        float("nan") if c.reverse_kl is None else c.reverse_kl.to(unit).standard_error,
        c.limits.to(unit).lower,
        value(c.forward_kl, divergence),
        c.label,
        c.k_hat,
        c.worst_mean_error,
        c.worst_sd_ratio,
        fit.status.converged,
        fit.cost.gradient_evaluations,
        fit.cost.seconds,
    )
