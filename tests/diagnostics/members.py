"""Members of families at given parameters, and targets with a known answer, for the tests of diagnostics."""

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.families import Approximation, FullRank, MeanField
from vi_kl.families.gaussian import full_rank_params
from vi_kl.targets import Target


def member(family, target, **params) -> Approximation:
    with jax.enable_x64(True):
        return Approximation(family, {name: jnp.asarray(x, dtype=float) for name, x in params.items()}, target)


def normal_on_line(target: Target, loc: float, scale: float) -> Approximation:
    return member(MeanField(), target, loc=[loc], log_scale=[np.log(scale)])


def full_rank(target: Target, mean, covariance) -> Approximation:
    with jax.enable_x64(True):
        return member(FullRank(), target, **full_rank_params(np.asarray(mean), np.linalg.cholesky(covariance)))


def log_gamma(z):
    """z = log of a Gamma(3, 1), with log evidence 7 + log Gamma(3): skewed to the left."""
    return 7.0 + 3 * z[0] - jnp.exp(z[0])


def two_modes(z):
    """N(0, 1) and N(20, 1) in equal parts, unnormalised: the log evidence is log 2 + log sqrt(2 pi)."""
    return jnp.logaddexp(-0.5 * z[0] ** 2, -0.5 * (z[0] - 20) ** 2)


TWO_MODES_EVIDENCE = np.log(2) + 0.5 * np.log(2 * np.pi)
