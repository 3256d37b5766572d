"""Closed forms for LowRankMultivariateNormal, whose covariance is W W^T + diag(d)."""

import math

import jax.numpy as jnp
import numpyro.distributions as dist

from vi_kl.divergences.analytic.gaussian.log_det import divergence_of_difference
from vi_kl.divergences.analytic.gaussian.triangular import (
    diagonal,
    diagonal_matrix,
    solve_lower,
    sum_of_squares,
    transposed,
    tril_of_square_root,
)
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import closed_form, closed_form_entropy


@closed_form(dist.LowRankMultivariateNormal, dist.LowRankMultivariateNormal)
def low_rank(p, q):
    return low_rank_kl(*low_rank_parameters(p), *low_rank_parameters(q))


@closed_form_entropy(dist.LowRankMultivariateNormal)
def low_rank_entropy(p):
    return low_rank_entropy_of(*low_rank_parameters(p)[1:])


def low_rank_parameters(p):
    return p.loc, p.cov_factor, p.cov_diag


def loc_and_tril_of_low_rank(loc, factor, variances):
    return loc, tril_of_square_root(square_root(factor, variances))


def square_root(factor, variances):
    """Return [W, sqrt(d)], whose product with its transpose is the covariance."""
    return jnp.concatenate([factor, diagonal_matrix(jnp.sqrt(variances))], axis=-1)


@computed_in_float64(1, 2, 1, 1, 2, 1)
def low_rank_kl(loc_p, factor_p, variances_p, loc_q, factor_q, variances_q):
    """Return half of ||z||^2 plus the log-det divergence of M = L_q^-1 (P - Q) L_q^-T.

    M is

        Y Z_p^T + Z_q Y^T + K diag((d_p - d_q) / d_q) K^T,    Y = L_q^-1 (W_p - W_q),  Z = L_q^-1 W,
                                                              K = L_q^-1 diag(sqrt(d_q)),

    a product of differences of the parameters with factors that cannot be large.
    """
    factor_p, factor_q = of_equal_rank(factor_p, factor_q)
    tril_p, tril_q = (tril_of_square_root(square_root(*x)) for x in ((factor_p, variances_p), (factor_q, variances_q)))
    shift = jnp.broadcast_to((loc_p - loc_q)[..., None], tril_q[..., :1].shape)
    blocks = shift, factor_p - factor_q, factor_q, diagonal_matrix(jnp.sqrt(variances_q))
    z, y, z_q, k = (solve_lower(tril_q, block) for block in blocks)
    growth = (variances_p - variances_q) / variances_q
    difference = y @ transposed(z_q + y) + z_q @ transposed(y) + (k * growth[..., None, :]) @ transposed(k)
    return divergence_of_difference(difference, tril_p, tril_q) + 0.5 * sum_of_squares(z)


def of_equal_rank(left, right):
    """Return both factors with as many columns as the wider one; columns of zeros add nothing to the covariance."""
    rank = max(left.shape[-1], right.shape[-1])
    missing = [jnp.zeros((*x.shape[:-1], rank - x.shape[-1]), dtype=x.dtype) for x in (left, right)]
    return [jnp.concatenate(pair, axis=-1) for pair in zip((left, right), missing, strict=True)]


@computed_in_float64(2, 1)
def low_rank_entropy_of(factor, variances):
    tril = tril_of_square_root(square_root(factor, variances))
    return (jnp.log(diagonal(tril)) + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)
