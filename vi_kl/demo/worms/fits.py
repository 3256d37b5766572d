"""The fits of the second half of the story: the same divergence, between an approximation and a posterior."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np

from vi_kl.core.annotations import Progress
from vi_kl.demo.worms import models as worms
from vi_kl.report.draws import draw_sites_of
from vi_kl.targets import Target
from vi_kl.workflows.compare import Comparison, compare


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """One model of the worms: its target, and the approximations to try on it."""

    name: str
    title: str
    make: Callable[[], Target]
    methods: Sequence


MODELS = (
    ModelSpec("binomial", "Binomial", worms.binomial, (worms.beta_guide, "mean_field", "laplace")),
    ModelSpec("block", "Two blocks", worms.block, (worms.beta_guide, "mean_field", "laplace")),
    ModelSpec(
        "categorical",
        "Free histogram",
        worms.categorical,
        (worms.dirichlet_guide, "mean_field", "full_rank", "laplace"),
    ),
    ModelSpec("beta_binomial", "Beta-binomial", worms.beta_binomial, ("mean_field", "full_rank", "laplace")),
    ModelSpec(
        "two_kinds",
        "Two kinds of worms",
        worms.two_kinds,
        ("mean_field", "full_rank", "flow", "laplace", "moment_matching"),
    ),
)
QUICK = ("binomial", "two_kinds")
QUICK_METHODS = ("mean_field", "full_rank", "laplace", "moment_matching")


@dataclasses.dataclass(frozen=True)
class ModelResult:
    """The result of one model: the fits and certificates, and draws for its figures."""

    spec: ModelSpec
    comparison: Comparison
    exact: dict[str, np.ndarray]
    draws: dict[str, dict[str, np.ndarray]]

    @property
    def log_evidence(self):
        """The log evidence of the model's reference posterior."""
        return self.comparison.target.reference.log_evidence


def model_specs(quick: bool) -> list[ModelSpec]:
    """Return all five models, or two with the approximations that compile fast."""
    if not quick:
        return list(MODELS)
    short = [spec for spec in MODELS if spec.name in QUICK]
    return [
        dataclasses.replace(c, methods=tuple(m for m in c.methods if callable(m) or m in QUICK_METHODS)) for c in short
    ]


def fit_model(spec: ModelSpec, key, progress: Progress | None = None) -> ModelResult:
    """Fit and check every approximation of one model."""
    target = spec.make()
    fit_key, draw_key = jax.random.split(key)
    comparison = compare(target, spec.methods, key=fit_key, progress=progress, workers=1)
    draws = draw_sites_of(comparison, draw_key)
    return ModelResult(spec, comparison, draws.exact, draws.approximations)
