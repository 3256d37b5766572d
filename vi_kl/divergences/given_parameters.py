"""The parameter that a distribution was given, if NumPyro keeps it beside what it derived in the caller's dtype.

MultivariateNormal(covariance_matrix=K) and Wishart(scale_matrix=K) hold K and a Cholesky factor, which in float32
has lost as many digits as K's condition number has. A closed form factors K itself, in float64. A distribution that
went through a compiled function as an argument has only the factor left: NumPyro's classes pass on no more.
"""

import copy

import jax
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import Distribution

from vi_kl.core.precision import as_float64
from vi_kl.divergences.registry import known

# the relation of each attribute to the covariance
MATRICES = {
    "covariance_matrix": "covariance",
    "precision_matrix": "precision",
    "scale_matrix": "covariance",
    "rate_matrix": "precision",
}


def given_matrix(distribution):
    """Return the matrix that was given, and which one it is: "tril", "covariance" or "precision"."""
    names = list(distribution.__dict__)
    given = names[: names.index("scale_tril")]  # what NumPyro computes on demand comes after it
    name = next((name for name in MATRICES if name in given), None)
    return (distribution.scale_tril, "tril") if name is None else (distribution.__dict__[name], MATRICES[name])


def given_step_matrix(process: dist.GaussianStateSpace):
    """Return the matrix and its kind for one step's innovation, which NumPyro repeats for each step."""
    base = process.base_dist
    while not isinstance(base, dist.MultivariateNormal):
        base = base.base_dist
    matrix, given = given_matrix(base)
    return (process.scale_tril, given) if given == "tril" else (matrix[..., 0, :, :], given)


def with_float64_parameters(distribution):
    """Return the distribution with parameters in float64, and factors recomputed from them.

    Call it where 64-bit types are on.
    """
    return jax.tree.map(as_float64, refactored(distribution))


def refactored(value):
    if isinstance(value, list | tuple):
        parts = [refactored(part) for part in value]
        return value if all(a is b for a, b in zip(parts, value, strict=True)) else type(value)(parts)
    if not isinstance(value, Distribution):
        return value
    remade = remake(value)
    parts = {name: refactored(part) for name, part in remade.__dict__.items()}
    changed = {name: part for name, part in parts.items() if part is not remade.__dict__[name]}
    if not changed:
        return remade
    remade = copy.copy(remade)
    remade.__dict__.update(changed)
    return remade


def remake(distribution):
    """Return the distribution with what is derived from held parameters derived in float64."""
    if isinstance(distribution, dist.AsymmetricLaplaceQuantile):
        parameters = map(as_float64, (distribution.loc, distribution.scale, distribution.quantile))
        return type(distribution)(*parameters)
    if isinstance(distribution, dist.OrderedLogistic):
        return type(distribution)(*map(as_float64, (distribution.predictor, distribution.cutpoints)))
    if isinstance(distribution, dist.GaussianStateSpace):
        return with_factor(distribution, *given_step_matrix(distribution))
    if "scale_tril" in distribution.__dict__ and isinstance(
        distribution, dist.MultivariateNormal | dist.WishartCholesky | dist.InverseWishartCholesky
    ):
        return with_factor(distribution, *given_matrix(distribution))
    return distribution


def with_factor(distribution, matrix, given):
    if given == "tril" or not known(matrix):
        return distribution
    remade = copy.copy(distribution)
    remade.scale_tril = factor(np.asarray(matrix, dtype=np.float64), given)
    return remade


def factor(matrix: np.ndarray, given: str) -> np.ndarray:
    """Return the Cholesky factor of the covariance; NaN if the matrix is not positive definite in float64."""
    try:
        if given == "covariance":
            return np.linalg.cholesky(matrix)
        upper = np.linalg.cholesky(matrix[..., ::-1, ::-1])[..., ::-1, ::-1]
        return np.linalg.inv(np.swapaxes(upper, -1, -2))
    except np.linalg.LinAlgError:
        return np.full(matrix.shape, np.nan)
