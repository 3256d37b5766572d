"""Comparison: what fits of one target cost, how each ended, and how far each is from the posterior."""

import dataclasses
import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax

from vi_kl.algorithms.algorithm import Cost, Fit, Status
from vi_kl.core.annotations import KeyLike
from vi_kl.core.estimate import Estimate
from vi_kl.core.random_keys import as_key
from vi_kl.core.records import WORKING, Readable, plain, store
from vi_kl.core.written_numbers import contradicts_zero, divergence_with_error, significant
from vi_kl.diagnostics.certificate import Certificate
from vi_kl.targets.target import Target

if TYPE_CHECKING:
    import pandas as pd
    import xarray


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
        statuses: how each fit ended.
        costs: what each fit cost.
    """

    target: Target = dataclasses.field(metadata=WORKING)
    fits: tuple[Fit, ...] = dataclasses.field(metadata=WORKING)
    certificates: tuple[Certificate, ...]
    failures: dict[str, str] = dataclasses.field(default_factory=dict)
    key: str | None = None
    statuses: tuple[Status, ...] = dataclasses.field(init=False, repr=False)
    costs: tuple[Cost, ...] = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        store(self, statuses=tuple(fit.status for fit in self.fits), costs=tuple(fit.cost for fit in self.fits))

    def to_dataframe(self, unit: str = "nats") -> "pd.DataFrame":
        """Return a table with one row per approximation, the one with the highest ELBO first."""
        return self.dataframe(unit, float)

    def dataframe(self, unit: str, divergence: Callable[[Estimate], float | str]) -> "pd.DataFrame":
        """Return the table with divergences as a function of their estimates shows them."""
        import pandas as pd  # half a second that fitting need not wait for

        rows = [row(fit, c, unit, divergence) for fit, c in zip(self.fits, self.certificates, strict=True)]
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
            name = fit.name if fit.name not in trees else f"{fit.name} ({i + 1})"  # two settings of one method
            trees[name] = fit.to_arviz(jax.random.fold_in(key, i), n, certificate=certificate, **options)
        known = self.target.reference
        if known is not None and known.target is not None:
            trees["reference"] = known.to_arviz(jax.random.fold_in(key, len(self.fits)), n, **options)
        return trees

    @property
    def headline(self) -> str:
        """The target, the approximations from the highest ELBO down, and how many were left out."""
        ordered = sorted(self.certificates, key=lambda c: -c.elbo.value if c.elbo else float("inf"))
        left_out = f"; {len(self.failures)} left out" if self.failures else ""
        return f"{self.target.density}, {', '.join(c.name for c in ordered) or 'no approximation'}{left_out}"

    def __str__(self):
        text = self.dataframe("nats", as_written).to_string(float_format=lambda x: significant(x, 4, zeros=False))
        return "\n".join([text, *(f"{name}: left out. {why}" for name, why in self.failures.items())])

    def _repr_html_(self):
        table = self.dataframe("nats", as_written).to_html(float_format=lambda x: significant(x, 4, zeros=False))
        left_out = (f"{name}: left out. {why}" for name, why in self.failures.items())
        return "".join([table, *(f"<p>{html.escape(words)}</p>" for words in left_out)])


def columns(unit: str) -> list[str]:
    """Return the names of the columns, of which some carry the unit."""
    return [
        "approximation",
        f"ELBO [{unit}]",
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


def row(fit: Fit, c: Certificate, unit: str, divergence: Callable[[Estimate], float | str]) -> tuple:
    """Return the entries of one approximation in these columns."""

    def value(estimate, write=float):
        return float("nan") if estimate is None else write(estimate.to(unit))

    return (
        fit.name,
        value(c.elbo),
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
