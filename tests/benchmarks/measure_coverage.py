"""How often the intervals of certificates contain the truth, on every model whose truth is exact.

    python tests/benchmarks/measure_coverage.py [repetitions [model ...]]

For each model a normal q somewhat off the posterior (shifted, and narrower, by a fixed amount), checked with other
keys; the KL it is held to comes from quadrature, a closed form, or two million draws of its own. Prints a table.
"""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import in_float64
from vi_kl.demo.worms import models as worms
from vi_kl.diagnostics.evidence import Draws, elbo_of
from vi_kl.diagnostics.evidence_bounds import elbo_limits, evidence_limits
from vi_kl.diagnostics.importance import kl_by_weights
from vi_kl.diagnostics.kl_to_reference import forward_kl, kl_by_base_quadrature, reverse_kl_by_gap
from vi_kl.diagnostics.psis import RELIABLE, pareto_k
from vi_kl.families import Approximation, FullRank
from vi_kl.families.gaussian import full_rank_params
from vi_kl.models import conjugate
from vi_kl.reference import reference_by_quadrature
from vi_kl.targets import Target
from vi_kl.targets.price import CHUNK

REPETITIONS, DRAWS, MANY = 200, 2 * CHUNK, 4_000_000
SHIFT, NARROWER = 0.2, 0.9


def skewed(z):
    """log of a Gumbel density, and a normal whose mean bends with it."""
    return -z[0] - jnp.exp(-z[0]) - 0.5 * (z[1] - 0.5 * z[0] ** 2) ** 2


def two_modes(z):
    return jnp.logaddexp(-0.5 * z[0] ** 2, -0.5 * (z[0] - 6) ** 2)


def models() -> dict[str, Target]:
    quadrature = {
        "skewed": Target.from_log_density(skewed, 2, reference=reference_by_quadrature),
        "two modes": Target.from_log_density(two_modes, 1, reference=reference_by_quadrature),
        "worms: beta_binomial": worms.beta_binomial(),
        "worms: two_kinds": worms.two_kinds(),
    }
    return {name: make() for name, make in conjugate.TARGETS.items()} | quadrature


@in_float64
def somewhat_off(target: Target) -> Approximation:
    """The normal with the posterior's mean and covariance, moved and shrunk."""
    z = target.reference.sample(jax.random.key(0), 100_000)
    tril = np.linalg.cholesky(np.atleast_2d(np.cov(z, rowvar=False)))
    shift = SHIFT / np.sqrt(target.dim) * tril.sum(axis=1)
    return Approximation(FullRank(), full_rank_params(z.mean(axis=0) + shift, NARROWER * tril), target)


@in_float64
def exact_kls(q: Approximation) -> tuple[Estimate, Estimate]:
    """KL in both directions, far more precisely than one check has them."""
    many = Draws(q, jax.random.key(1), MANY)
    reverse = kl_by_base_quadrature(q) if q.target.dim <= 2 else reverse_kl_by_gap(many, q.target)
    return reverse, forward_kl(q, q.target.reference.draws(jax.random.key(2), MANY))[0]


def inside(estimate: Estimate, reference: Estimate) -> bool:
    """Whether the interval holds the truth, the truth's own error counted in."""
    total = np.hypot(estimate.standard_error, reference.standard_error)
    low, high = dataclasses.replace(estimate, standard_error=float(total)).interval(0.95)
    return low <= reference.value <= high


@in_float64
def coverage(target: Target, repetitions: int = REPETITIONS, draws: int = DRAWS) -> dict[str, float]:
    """Shares of the keys in which each interval holds the truth; NaN where it was never claimed."""
    q = somewhat_off(target)
    reverse, forward = exact_kls(q)
    rows = []
    for seed in range(repetitions):
        keys = jax.random.split(jax.random.key(1000 + seed), 2)
        ours, posterior = Draws(q, keys[0], draws), target.reference.draws(keys[1], draws)
        ahead, log_q, log_p = forward_kl(q, posterior)
        limits = evidence_limits(ours.log_ratio, (), posterior, log_q - log_p).minus(elbo_limits(elbo_of(ours)))
        claimed = pareto_k(ours.log_ratio) <= RELIABLE
        rows.append({
            "gap": inside(reverse_kl_by_gap(ours, target), reverse),
            "forward": inside(ahead, forward),
            "weights": inside(kl_by_weights(ours.log_ratio, ""), reverse) if claimed else np.nan,
            "limits": reverse in limits,
        })  # fmt: skip
    table = pd.DataFrame(rows).astype(float)
    return {"dim": target.dim, "KL(q||p)": reverse.value, **table.mean(), "claimed": table["weights"].notna().mean()}


if __name__ == "__main__":
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else REPETITIONS
    results = {}
    for name, target in models().items():
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        results[name] = coverage(target, repetitions)
        print(name, {k: round(float(v), 4) for k, v in results[name].items()}, flush=True)
    print(pd.DataFrame(results).T.round(3).to_string())
