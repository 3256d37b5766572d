"""Closed forms on vectors: MultivariateNormal, and Independent(Normal) as one of them."""

import math

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import lax

from vi_kl.divergences.bregman import itakura_saito
from vi_kl.divergences.registry import closed_form, closed_form_entropy, no_closed_form
from vi_kl.divergences.wide import in_wide_precision


@closed_form(dist.MultivariateNormal, dist.MultivariateNormal)
def multivariate_normal(p, q):
    return multivariate_normal_kl(p.loc, p.scale_tril, q.loc, q.scale_tril)


@closed_form(dist.Independent, dist.MultivariateNormal)
def independent_normal_from_multivariate(p, q):
    return independent_normal_kl(*loc_and_scale(p, p, q), q.loc, q.scale_tril)


@closed_form(dist.MultivariateNormal, dist.Independent)
def multivariate_from_independent_normal(p, q):
    return multivariate_from_independent_kl(p.loc, p.scale_tril, *loc_and_scale(q, p, q))


@closed_form_entropy(dist.MultivariateNormal)
def multivariate_normal_entropy(p):
    return multivariate_normal_entropy_of(p.loc, p.scale_tril)


def loc_and_scale(independent, p, q):
    """The mean and the standard deviations of an Independent(Normal) vector."""
    base = independent.base_dist
    shape = base.batch_shape
    while isinstance(base, dist.ExpandedDistribution):
        base = base.base_dist
    if not isinstance(base, dist.Normal):
        raise no_closed_form(p, q)
    return jnp.broadcast_to(base.loc, shape), jnp.broadcast_to(base.scale, shape)


def diagonal_matrix(values):
    return values[..., None] * jnp.eye(values.shape[-1], dtype=values.dtype)


def diagonal(matrix):
    return (matrix * jnp.eye(matrix.shape[-1], dtype=matrix.dtype)).sum(-1)  # no gather: see share_of_maximum


@in_wide_precision(1, 2, 1, 2)
def multivariate_normal_kl(loc_p, tril_p, loc_q, tril_q):
    return cholesky_kl(loc_p, tril_p, loc_q, tril_q)


@in_wide_precision(1, 1, 1, 2)
def independent_normal_kl(loc_p, scale_p, loc_q, tril_q):
    return cholesky_kl(loc_p, diagonal_matrix(scale_p), loc_q, tril_q)


@in_wide_precision(1, 2, 1, 1)
def multivariate_from_independent_kl(loc_p, tril_p, loc_q, scale_q):
    return cholesky_kl(loc_p, tril_p, loc_q, diagonal_matrix(scale_q))


def cholesky_kl(loc_p, tril_p, loc_q, tril_q):
    """The divergence between the Cholesky diagonals, plus half of ||L_q^-1 (L_p - L_q)||^2 and ||z||^2."""
    tril_p, tril_q = jnp.tril(tril_p), jnp.tril(tril_q)
    differences = jnp.concatenate([tril_p - tril_q, (loc_p - loc_q)[..., None]], axis=-1)
    scaled = lax.linalg.triangular_solve(tril_q, differences, left_side=True, lower=True)
    return itakura_saito(diagonal(tril_p), diagonal(tril_q)).sum(-1) + 0.5 * (scaled * scaled).sum((-2, -1))


@in_wide_precision(1, 2)
def multivariate_normal_entropy_of(loc, tril):
    return (jnp.log(diagonal(tril)) + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)
