"""Draws as functions of uniform numbers, so that quasi-random numbers can take the place of random ones.

Each rule gives how many uniform numbers one draw takes, and the draw that they make. The numbers have shape
(n, *batch, count), where the batch axes broadcast against the distribution's, and the draws have shape
(n, *batch, *event).
"""

import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy import special

from vi_kl.divergences.estimators.quadrature import NotApplicable
from vi_kl.divergences.registry import describe

RULES: dict[type, tuple[Callable, Callable]] = {}


def num_uniforms(distribution) -> int:
    """Return how many uniform numbers one draw takes.

    Raises:
        NotApplicable: no map from uniform numbers to draws of this distribution is known.
    """
    return rule(distribution)[0](distribution)


def from_uniforms(distribution, uniforms) -> np.ndarray:
    """Return the draws that uniform numbers, strictly between 0 and 1, make; errors are those of `num_uniforms`."""
    return np.asarray(rule(distribution)[1](distribution, uniforms))


def rule(distribution) -> tuple[Callable, Callable]:
    for parent in type(distribution).__mro__:
        if parent in RULES:
            return RULES[parent]
    if distribution.event_shape == () and not distribution.is_discrete and has_icdf(distribution):
        return (lambda _: 1), (lambda d, u: d.icdf(u[..., 0]))
    raise NotApplicable(f"no map from uniform numbers to draws of {describe(distribution)} is known.")


def has_icdf(distribution) -> bool:
    try:
        distribution.icdf(jnp.full(distribution.batch_shape, 0.5))
    except NotImplementedError:
        return False
    return True


def transports(*classes, count=lambda distribution: 1):
    """Register the decorated function of (distribution, uniforms) for these classes."""

    def register(function):
        RULES.update({c: (count, function) for c in classes})
        return function

    return register


def count_of_base(distribution) -> int:
    return num_uniforms(distribution.base_dist)


# scipy's inverse distribution functions hold in the far tails too
@transports(dist.Gamma)
def gamma(p, uniforms):
    return special.gammaincinv(p.concentration, uniforms[..., 0]) / p.rate


@transports(dist.Beta)
def beta(p, uniforms):
    return special.betaincinv(p.concentration1, p.concentration0, uniforms[..., 0])


@transports(dist.StudentT)
def student_t(p, uniforms):
    return p.loc + p.scale * special.stdtrit(p.df, uniforms[..., 0])


@transports(dist.MultivariateNormal, count=lambda p: p.event_shape[0])
def multivariate_normal(p, uniforms):
    return p.loc + times(p.scale_tril, special.ndtri(uniforms))


@transports(dist.LowRankMultivariateNormal, count=lambda p: p.event_shape[0] + p.cov_factor.shape[-1])
def low_rank_normal(p, uniforms):
    rank = p.cov_factor.shape[-1]
    normals = special.ndtri(uniforms)
    return p.loc + times(p.cov_factor, normals[..., :rank]) + jnp.sqrt(p.cov_diag) * normals[..., rank:]


@transports(dist.MultivariateStudentT, count=lambda p: p.event_shape[0] + 1)
def multivariate_student_t(p, uniforms):
    chi_squared = 2 * special.gammaincinv(p.df / 2, uniforms[..., 0])
    stretch = np.sqrt(p.df / chi_squared)[..., None]
    return p.loc + times(p.scale_tril, stretch * special.ndtri(uniforms[..., 1:]))


@transports(dist.Dirichlet, count=lambda p: p.event_shape[0])
def dirichlet(p, uniforms):
    gammas = special.gammaincinv(p.concentration, uniforms)
    return gammas / gammas.sum(-1, keepdims=True)


@transports(dist.ExpandedDistribution, count=count_of_base)
def expanded(p, uniforms):
    uniforms = np.broadcast_to(uniforms, (len(uniforms), *p.batch_shape, uniforms.shape[-1]))
    return from_uniforms(p.base_dist, uniforms)


def count_of_independent(p) -> int:
    return math.prod(independent_shape(p)) * num_uniforms(p.base_dist)


def independent_shape(p):
    return p.base_dist.batch_shape[len(p.batch_shape) :]


@transports(dist.Independent, count=count_of_independent)
def independent(p, uniforms):
    """Return independent draws, with other numbers for each of the variables."""
    return from_uniforms(p.base_dist, uniforms.reshape(*uniforms.shape[:-1], *independent_shape(p), -1))


@transports(dist.TransformedDistribution, count=count_of_base)
def transformed(p, uniforms):
    return functools.reduce(lambda x, transform: transform(x), p.transforms, from_uniforms(p.base_dist, uniforms))


@transports(dist.MixtureSameFamily, count=lambda p: 1 + num_uniforms(p.component_distribution))
def mixture(p, uniforms):
    """Return draws of a mixture.

    The first number chooses the component; the others make a draw of each component, one of which is taken.
    """
    ends = np.cumsum(p.mixing_distribution.probs, axis=-1)[..., :-1]
    chosen = (uniforms[..., :1] >= ends).sum(-1)
    draws = from_uniforms(p.component_distribution, uniforms[..., None, 1:])
    axis = draws.ndim - 1 - len(p.event_shape)
    index = chosen.reshape(chosen.shape + (1,) * (1 + len(p.event_shape)))
    return np.take_along_axis(draws, index, axis).squeeze(axis)


def times(matrix, vectors):
    return np.einsum("...ij,...j->...i", matrix, vectors)
