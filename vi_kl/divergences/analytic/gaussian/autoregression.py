"""Closed forms for CAR, the conditional autoregression: a Gaussian that is given by its precision.

The precision is tau (D - rho W), W the adjacency matrix and D its row sums. KL between Gaussians with precisions
P and Q is that between their inverses, so it is the same divergence with the arguments exchanged.
"""

import math

import jax.numpy as jnp
import numpyro.distributions as dist

from vi_kl.divergences.analytic.gaussian.log_det import congruent, divergence_of_difference, tril_of_inverse
from vi_kl.divergences.analytic.gaussian.triangular import diagonal, diagonal_matrix, sum_of_squares
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import closed_form, closed_form_entropy


@closed_form(dist.CAR, dist.CAR)
def autoregression(p, q):
    return autoregression_kl(*autoregression_parameters(p), *autoregression_parameters(q))


@closed_form_entropy(dist.CAR)
def autoregression_entropy(p):
    return autoregression_entropy_of(*autoregression_parameters(p)[1:])


def autoregression_parameters(p):
    """Return mean, correlation, conditional precision and adjacency, dense (a SciPy sparse matrix becomes an array)."""
    adjacency = p.adj_matrix.toarray() if p.is_sparse else p.adj_matrix
    return p.loc, p.correlation, p.conditional_precision, adjacency


def structure(correlation, adjacency):
    """Return D - rho W."""
    return diagonal_matrix(adjacency.sum(-1)) - correlation[..., None, None] * adjacency


def precision(correlation, conditional_precision, adjacency):
    return conditional_precision[..., None, None] * structure(correlation, adjacency)


def loc_and_tril_of_autoregression(loc, correlation, conditional_precision, adjacency):
    return loc, tril_of_inverse(precision(correlation, conditional_precision, adjacency))


@computed_in_float64(1, 0, 0, 2, 1, 0, 0, 2)
def autoregression_kl(loc_p, rho_p, tau_p, adjacency_p, loc_q, rho_q, tau_q, adjacency_q):
    precision_p, precision_q = precision(rho_p, tau_p, adjacency_p), precision(rho_q, tau_q, adjacency_q)
    tril_p, tril_q = jnp.linalg.cholesky(precision_p), jnp.linalg.cholesky(precision_q)
    # Q - P from the differences of the parameters, which the rounded matrices no longer show
    change = structure(rho_p, adjacency_q - adjacency_p) - (rho_q - rho_p)[..., None, None] * adjacency_q
    change = tau_p[..., None, None] * change + (tau_q - tau_p)[..., None, None] * structure(rho_q, adjacency_q)
    shift = jnp.swapaxes(tril_q, -1, -2) @ jnp.broadcast_to((loc_p - loc_q)[..., None], tril_q[..., :1].shape)
    return divergence_of_difference(congruent(tril_p, change), tril_q, tril_p) + 0.5 * sum_of_squares(shift)


@computed_in_float64(0, 0, 2)
def autoregression_entropy_of(rho, tau, adjacency):
    tril = jnp.linalg.cholesky(precision(rho, tau, adjacency))
    return (0.5 * math.log(2 * math.pi * math.e) - jnp.log(diagonal(tril))).sum(-1)
