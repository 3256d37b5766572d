"""Closed forms on vectors: any two Gaussians, from their means and Cholesky factors.

    MultivariateNormal         its parameters are mean and factor, or the covariance or precision that it was given
    LowRankMultivariateNormal  against itself: low_rank.py
    Independent(Normal)        however nested or expanded; against itself: structure.py
    CirculantNormal            against itself and Independent(Normal): circulant.py
    GaussianRandomWalk         against itself: process.py
    CAR                        against itself: autoregression.py

A pair of two classes shares no parameter that could nearly agree to the last digit, so the rounding of the factors
does not count; pairs that have a form of their own are those that can.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.analytic.gaussian.autoregression import autoregression_parameters, loc_and_tril_of_autoregression
from vi_kl.divergences.analytic.gaussian.circulant import (
    circulant_from_independent_kl,
    circulant_parameters,
    independent_from_circulant_kl,
    loc_and_tril_of_circulant,
)
from vi_kl.divergences.analytic.gaussian.log_det import matrix_divergence, tril_of, whitened
from vi_kl.divergences.analytic.gaussian.low_rank import loc_and_tril_of_low_rank, low_rank_parameters
from vi_kl.divergences.analytic.gaussian.triangular import cholesky_kl, diagonal, diagonal_matrix, sum_of_squares
from vi_kl.divergences.float64 import broadcast, computed_in_float64
from vi_kl.divergences.given_parameters import given_matrix
from vi_kl.divergences.registry import closed_form, closed_form_entropy, no_closed_form


class Gaussian(NamedTuple):
    """A conversion of a class of Gaussian vectors to a mean and a Cholesky factor."""

    parameters: Callable  # the arrays that define a distribution
    event_dims: tuple[int, ...]  # the event dimensions of each of these arrays
    loc_and_tril: Callable  # the mean and factor of those arrays, in float64, and given their form


def multivariate_normal_parameters(p):
    return p.loc, given_matrix(p)[0]


def given_as(p) -> str:
    """Return which matrix a MultivariateNormal was given; "" for the classes that have one parametrisation."""
    return given_matrix(p)[1] if isinstance(p, dist.MultivariateNormal) else ""


def loc_and_tril_of_matrix(loc, matrix, given):
    return loc, tril_of(matrix, given)


def random_walk_parameters(p):
    return (for_each_entry(p.scale, p.num_steps),)


def for_each_entry(value, size):
    """Return one parameter as a vector of equal entries; what is not a JAX array keeps its own digits."""
    xp = jnp if isinstance(value, jax.Array) else np
    return xp.broadcast_to(xp.expand_dims(value, -1), (*np.shape(value), size))


def loc_and_scale(independent):
    """Return the mean and the standard deviations of an Independent(Normal), one per entry of an event."""
    base, shape = independent, independent.event_shape
    while isinstance(base, dist.Independent | dist.ExpandedDistribution):
        if isinstance(base, dist.ExpandedDistribution):  # only then is the declared shape more than the parameters'
            shape = jnp.broadcast_shapes(shape, base.batch_shape + base.event_shape)
        base = base.base_dist
    shape = jnp.broadcast_shapes(shape, jnp.shape(base.loc), jnp.shape(base.scale))
    return tuple(broadcast(x, shape) for x in (base.loc, base.scale))


def loc_and_tril_of_random_walk(scale):
    size = scale.shape[-1]
    return jnp.zeros_like(scale), scale[..., None] * jnp.tril(jnp.ones((size, size), dtype=scale.dtype))


def is_gaussian(p):
    """Return whether p is Gaussian: False for an Independent of something else."""
    base = p
    while isinstance(base, dist.Independent | dist.ExpandedDistribution):
        base = base.base_dist
    return base is p or isinstance(base, dist.Normal)


GAUSSIANS = {
    dist.MultivariateNormal: Gaussian(multivariate_normal_parameters, (1, 2), loc_and_tril_of_matrix),
    dist.LowRankMultivariateNormal: Gaussian(low_rank_parameters, (1, 2, 1), loc_and_tril_of_low_rank),
    dist.Independent: Gaussian(loc_and_scale, (1, 1), lambda loc, scale: (loc, diagonal_matrix(scale))),
    dist.CirculantNormal: Gaussian(circulant_parameters, (1, 1), loc_and_tril_of_circulant),
    dist.GaussianRandomWalk: Gaussian(
        random_walk_parameters,
        (1,),
        loc_and_tril_of_random_walk,
    ),
    dist.CAR: Gaussian(autoregression_parameters, (1, 0, 0, 2), loc_and_tril_of_autoregression),
}


def register_by_factors(p_class, q_class):
    of_p, of_q = GAUSSIANS[p_class], GAUSSIANS[q_class]
    count = len(of_p.event_dims)

    @computed_in_float64(*of_p.event_dims, *of_q.event_dims)
    def divergence(*arrays, given_p, given_q):
        left = of_p.loc_and_tril(*arrays[:count], *filter(None, [given_p]))
        return cholesky_kl(*left, *of_q.loc_and_tril(*arrays[count:], *filter(None, [given_q])))

    @closed_form(p_class, q_class)
    def by_factors(p, q):
        if not (is_gaussian(p) and is_gaussian(q)):
            raise no_closed_form(p, q)
        given = {"given_p": given_as(p), "given_q": given_as(q)}
        return divergence(*of_p.parameters(p), *of_q.parameters(q), **given)


HAVE_THEIR_OWN = {(kind, kind) for kind in GAUSSIANS} | {
    (dist.CirculantNormal, dist.Independent),
    (dist.Independent, dist.CirculantNormal),
}
for pair in itertools.product(GAUSSIANS, repeat=2):
    if pair not in HAVE_THEIR_OWN:
        register_by_factors(*pair)


@closed_form(dist.MultivariateNormal, dist.MultivariateNormal)
def multivariate_normal(p, q):
    given = {"given_p": given_as(p), "given_q": given_as(q)}
    return multivariate_normal_kl(*multivariate_normal_parameters(p), *multivariate_normal_parameters(q), **given)


@computed_in_float64(1, 2, 1, 2)
def multivariate_normal_kl(loc_p, matrix_p, loc_q, matrix_q, *, given_p, given_q):
    if given_p == given_q == "tril":
        return cholesky_kl(loc_p, matrix_p, loc_q, matrix_q)
    shift = whitened(loc_p - loc_q, matrix_q, given_q)
    return matrix_divergence(matrix_p, matrix_q, given_p, given_q) + 0.5 * sum_of_squares(shift)


@closed_form(dist.CirculantNormal, dist.Independent)
def circulant_from_independent(p, q):
    if not is_gaussian(q):
        raise no_closed_form(p, q)
    return circulant_from_independent_kl(*circulant_parameters(p), *loc_and_scale(q))


@closed_form(dist.Independent, dist.CirculantNormal)
def independent_from_circulant(p, q):
    if not is_gaussian(p):
        raise no_closed_form(p, q)
    return independent_from_circulant_kl(*loc_and_scale(p), *circulant_parameters(q))


@closed_form_entropy(dist.MultivariateNormal)
def multivariate_normal_entropy(p):
    return multivariate_normal_entropy_of(*multivariate_normal_parameters(p), given=given_as(p))


@computed_in_float64(1, 2)
def multivariate_normal_entropy_of(loc, matrix, *, given):
    tril = tril_of(matrix, given)
    return (jnp.log(diagonal(tril)) + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)
