"""Closed forms for GaussianCopula, and GaussianCopulaBeta: with equal marginals, those of the Gaussians within.

Equal marginals make the map from the Gaussian's coordinates to the copula's the same for p and q, and a divergence
does not change under a map that both share.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.analytic.gaussian.log_det import matrix_divergence, tril_of
from vi_kl.divergences.analytic.gaussian.triangular import diagonal
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.given_parameters import given_matrix
from vi_kl.divergences.registry import closed_form, closed_form_entropy, evaluate_entropy, only_where

CONDITION = "one is known only where the marginals are equal"


@closed_form(dist.GaussianCopula, dist.GaussianCopula)
def gaussian_copula(p, q):
    equal = are_equal(p.marginal_dist, q.marginal_dist)
    (matrix_p, given_p), (matrix_q, given_q) = (given_matrix(d.base_dist) for d in (p, q))
    divergence = correlation_kl(matrix_p, matrix_q, given_p=given_p, given_q=given_q)
    return only_where(equal, divergence, p, q, CONDITION)


@closed_form_entropy(dist.GaussianCopula)
def gaussian_copula_entropy(p):
    """Return the marginals' entropies minus their total correlation, which is -log det R / 2."""
    marginals = evaluate_entropy(p.marginal_dist)
    marginals = jnp.broadcast_to(marginals, jnp.broadcast_shapes(marginals.shape, p.event_shape))
    matrix, given = given_matrix(p.base_dist)
    return marginals.sum(-1) + half_log_determinant(matrix, given=given)


def are_equal(p, q):
    """Return whether two distributions have the same parameters; while they are traced, an array that will show it."""
    (leaves_p, tree_p), (leaves_q, tree_q) = (jax.tree.flatten(d) for d in (p, q))
    if tree_p != tree_q:
        return False
    equal = True
    for x, y in zip(leaves_p, leaves_q, strict=True):
        if x is not y:
            xp = jnp if isinstance(x, jax.Array) or isinstance(y, jax.Array) else np
            equal = equal & xp.all(xp.equal(x, y))
    return equal


@computed_in_float64(2, 2)
def correlation_kl(matrix_p, matrix_q, *, given_p, given_q):
    return matrix_divergence(matrix_p, matrix_q, given_p, given_q)


@computed_in_float64(2)
def half_log_determinant(matrix, *, given):
    return jnp.log(diagonal(tril_of(matrix, given))).sum(-1)
