"""Closed forms for Wishart and InverseWishart matrices, and for their Cholesky factors.

A Wishart matrix and its factor determine each other, and so do a matrix and its inverse: one divergence serves all
four, and only their entropies differ. It generalises Gamma's to d dimensions, with nu/2 as concentration.
"""

import math

import jax.numpy as jnp
import numpyro.distributions as dist

from vi_kl.divergences.analytic.gaussian.log_det import congruent, divergence_of_difference, symmetric, tril_of
from vi_kl.divergences.analytic.gaussian.triangular import diagonal, solve_lower
from vi_kl.divergences.analytic.positive import unit_gamma_entropy
from vi_kl.divergences.bregman import SERIES_RADIUS, binet, digamma, itakura_saito, log_ratio, phi
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.given_parameters import given_matrix
from vi_kl.divergences.registry import closed_form, closed_form_entropy

VANISHING = -300.0  # the log of a quotient whose squares may leave the floating range


@closed_form(dist.Wishart, dist.Wishart)
@closed_form(dist.WishartCholesky, dist.WishartCholesky)
def wishart(p, q):
    return wishart_kl(*parameters(p), *parameters(q), given_p=given_as(p), given_q=given_as(q))


@closed_form(dist.InverseWishart, dist.InverseWishart)
@closed_form(dist.InverseWishartCholesky, dist.InverseWishartCholesky)
def inverse_wishart(p, q):
    return inverse_wishart_kl(*parameters(p), *parameters(q), given_p=given_as(p), given_q=given_as(q))


@closed_form_entropy(dist.Wishart)
def wishart_entropy(p):
    return wishart_entropy_of(*parameters(p), given=given_as(p), cholesky=False)


@closed_form_entropy(dist.WishartCholesky)
def wishart_cholesky_entropy(p):
    return wishart_entropy_of(*parameters(p), given=given_as(p), cholesky=True)


@closed_form_entropy(dist.InverseWishart)
def inverse_wishart_entropy(p):
    return inverse_wishart_entropy_of(*parameters(p), given=given_as(p), cholesky=False)


@closed_form_entropy(dist.InverseWishartCholesky)
def inverse_wishart_cholesky_entropy(p):
    return inverse_wishart_entropy_of(*parameters(p), given=given_as(p), cholesky=True)


def parameters(p):
    return p.concentration, given_matrix(of_factor(p))[0]


def given_as(p) -> str:
    """Return which matrix p was given: the scale matrix is "covariance" here, and the rate matrix "precision"."""
    return given_matrix(of_factor(p))[1]


def of_factor(p):
    """Return the distribution of the Cholesky factor, which holds the parameters."""
    return p if isinstance(p, dist.WishartCholesky | dist.InverseWishartCholesky) else p.base_dist


@computed_in_float64(0, 2, 0, 2)
def wishart_kl(freedom_p, matrix_p, freedom_q, matrix_q, *, given_p, given_q):
    means = mean_divergence(0.5 * freedom_p, matrix_p, 0.5 * freedom_q, matrix_q, given_p, given_q)
    return means + freedom_divergence(0.5 * freedom_q, 0.5 * freedom_p, matrix_p.shape[-1])


@computed_in_float64(0, 2, 0, 2)
def inverse_wishart_kl(freedom_p, matrix_p, freedom_q, matrix_q, *, given_p, given_q):
    """Return KL between the inverses, which are Wishart with the inverse scale matrices."""
    means = mean_divergence(0.5 * freedom_p, matrix_q, 0.5 * freedom_q, matrix_p, given_q, given_p)
    return means + freedom_divergence(0.5 * freedom_q, 0.5 * freedom_p, matrix_p.shape[-1])


def mean_divergence(a, matrix_p, b, matrix_q, given_p, given_q):
    """Return b times the log-det divergence of the means a P from b Q."""
    if given_p == given_q == "covariance":
        return b * 2 * divergence_of_scaled(a, matrix_p, b, matrix_q)
    if given_p == given_q == "precision":  # the divergence of Q^-1 / b from P^-1 / a, or of their products with a b
        return b * 2 * divergence_of_scaled(a, matrix_q, b, matrix_p)
    return mean_divergence_of_factors(a, tril_of(matrix_p, given_p), b, tril_of(matrix_q, given_q))


def divergence_of_scaled(a, p, b, q):
    """Return half the log-det divergence of a P from b Q, from their difference where it is small."""
    a, b = a[..., None, None], b[..., None, None]
    change = symmetric(a * (p - q) + (a - b) * q) / b
    tril_p, tril_q = jnp.linalg.cholesky(p), jnp.linalg.cholesky(q)
    return divergence_of_difference(congruent(tril_q, change), jnp.sqrt(a / b) * tril_p, tril_q)


def mean_divergence_of_factors(a, tril_p, b, tril_q):
    """Return b times the log-det divergence of the means, from Cholesky factors."""
    a, b = a[..., None], b[..., None]
    diagonal_p, diagonal_q = diagonal(tril_p), diagonal(tril_q)
    change = a * (diagonal_p - diagonal_q) * (diagonal_p + diagonal_q) + (a - b) * diagonal_q * diagonal_q
    diagonals = itakura_saito(a * diagonal_p * diagonal_p, b * diagonal_q * diagonal_q, change)
    log_quotient = log_ratio(a, b) + 2 * log_ratio(diagonal_p, diagonal_q)
    diagonals = jnp.where(log_quotient < VANISHING, -1 - log_quotient, diagonals)
    below = jnp.tril(solve_lower(tril_q, jnp.tril(tril_p - tril_q)), -1)
    total = (b * diagonals + a * (below * below).sum(-1)).sum(-1)
    return jnp.where((diagonals == jnp.inf).any(-1), jnp.inf, total)


def freedom_divergence(b, a, size):
    """Return the Bregman divergence of the multivariate log Gamma function, minus d b itakura_saito(a, b).

    Let b_j = b - j/2, and G be the generalised KL divergence. Then it is

        sum_j G(b_j, a_j) - G(b, a) + itakura_saito(b_j, a_j)/2 + D_mu(b_j, a_j),    j = 0, ..., d - 1

    where each difference of G's, the integral of itakura_saito(b - s, a - s) over 0 < s < j/2, is positive.
    """
    steps = 0.5 * jnp.arange(size, dtype=a.dtype)
    a, b = a[..., None], b[..., None]
    change = b - a
    shifted = b - steps, a - steps, change
    terms = shifted_generalized_kl(b, a, change, steps) + 0.5 * itakura_saito(*shifted) + binet(*shifted)
    return terms.sum(-1)


def shifted_generalized_kl(x, y, change, step):
    """Return G(x - s, y - s) - G(x, y) without the large parts that the two have in common.

    It is (x - s) log(1 + u) - s log(x / y) with u = s (x - y) / (x (y - s)), whose linear parts are subtracted
    from each other before anything is rounded where x and y are close.
    """
    u = step * change / (x * (y - step))
    near = (abs(change) < SERIES_RADIUS * x) & (abs(u) < SERIES_RADIUS)
    small_u, small_d = jnp.where(near, u, 0.0), jnp.where(near, change / x, 0.0)
    close = small_u * change - (x - step) * phi(small_u) - step * phi(-small_d)
    growth = jnp.where(near, 1.0, y * (x - step) / (x * (y - step)))
    far = (x - step) * jnp.log(growth) - step * log_ratio(x, y, change)
    return jnp.where(near, close, far)


@computed_in_float64(0, 2)
def wishart_entropy_of(freedom, matrix, *, given, cholesky):
    """Return the entropy of L A, where A is Bartlett's.

    A has chi variables on its diagonal and standard normals below it.
    """
    tril = tril_of(matrix, given)
    rows = jnp.arange(1, tril.shape[-1] + 1, dtype=tril.dtype)
    halves = 0.5 * (freedom[..., None] - rows + 1)
    entropy = bartlett_entropy(halves) + (rows * jnp.log(diagonal(tril))).sum(-1)
    if cholesky:
        return entropy
    return entropy + log_volume_of_square(jnp.log(diagonal(tril)) + mean_log_chi(halves))


@computed_in_float64(0, 2)
def inverse_wishart_entropy_of(freedom, matrix, *, given, cholesky):
    """Return the entropy of the inverse of a Wishart matrix W with scale (L L^T)^-1.

    Inverting multiplies volumes by |W|^-(d+1).
    """
    tril = tril_of(matrix, given)
    size = tril.shape[-1]
    rows = jnp.arange(1, size + 1, dtype=tril.dtype)
    log_diagonal = jnp.log(diagonal(tril))
    halves = 0.5 * (freedom[..., None] - rows + 1)
    entropy = bartlett_entropy(halves) + log_volume_of_square(mean_log_chi(halves))  # the entropy of W for L = I
    entropy = entropy - 2 * (size + 1) * mean_log_chi(halves).sum(-1) + (size + 1) * log_diagonal.sum(-1)
    if not cholesky:
        return entropy
    return entropy - log_volume_of_square(log_diagonal - mean_log_chi(halves[..., ::-1]))


def mean_log_chi(halves):
    """Return E log of a chi variable, from half its degrees of freedom."""
    return 0.5 * (math.log(2) + digamma(halves))


def bartlett_entropy(halves):
    """Return the entropy of independent chi variables on a diagonal and standard normals below it."""
    size = halves.shape[-1]
    chi = unit_gamma_entropy(halves) - mean_log_chi(halves)
    return chi.sum(-1) + 0.25 * size * (size - 1) * math.log(2 * math.pi * math.e)


def log_volume_of_square(log_diagonal):
    """Return the log of the Jacobian 2^d prod_i L_ii^(d - i + 1) of L -> L L^T, i = 1, ..., d."""
    size = log_diagonal.shape[-1]
    powers = jnp.arange(size, 0, -1, dtype=log_diagonal.dtype)
    return size * math.log(2) + (powers * log_diagonal).sum(-1)
