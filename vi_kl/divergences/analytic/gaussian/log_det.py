"""The divergence between two covariance matrices, from their difference or from their Cholesky factors.

Both are the log-det divergence tr(Q^-1 P) - n - log det(Q^-1 P), D_F of F = -log det (Stein's loss). The difference
serves matrices that nearly agree and whose factors would have to be computed, each with a rounding error of its own;
the factors serve all others, and are exact throughout where they are the parameters.
"""

import jax
import jax.numpy as jnp
from jax import lax

from vi_kl.divergences.analytic.gaussian.triangular import diagonal, factor_divergence, solve_lower, transposed
from vi_kl.divergences.bregman import phi

NEAR = 0.5  # the relative difference up to which the difference keeps more digits than factors do


def log_det_divergence(matrix):
    """Return tr M - log det(I + M) for symmetric M with eigenvalues above -1.

    If C is the Cholesky factor of I + M, it is the sum of phi(c_ii^2 - 1) and of the squares below the diagonal, where
    c_ii^2 - 1 is m_ii minus the squares in its row.
    """
    return log_det_divergence_jax(jnp.asarray(matrix))


@jax.custom_jvp
def log_det_divergence_jax(matrix):
    tril = jnp.linalg.cholesky(jnp.eye(matrix.shape[-1], dtype=matrix.dtype) + matrix)
    below = jnp.tril(tril, -1)
    squares = (below * below).sum(-1)
    return (phi(diagonal(matrix) - squares) + squares).sum(-1)


@log_det_divergence_jax.defjvp
def log_det_divergence_jvp(primals, tangents):
    """Return the value and its tangent, whose slope is M (I + M)^-1."""
    (matrix,), (tangent,) = primals, tangents
    tril = jnp.linalg.cholesky(jnp.eye(matrix.shape[-1], dtype=matrix.dtype) + matrix)
    slope = solve_lower(tril, solve_lower(tril, matrix), transpose=True)
    return log_det_divergence_jax(matrix), (slope * tangent).sum((-2, -1))


def divergence_of_difference(relative_difference, tril_p, tril_q):
    """Return half the log-det divergence, where P and Q differ by an M known more exactly than their factors.

    Args:
        relative_difference: M = L_q^-1 (P - Q) L_q^-T, symmetric.
        tril_p, tril_q: the Cholesky factors, for matrices that do not nearly agree.
    """
    near = (relative_difference * relative_difference).sum((-2, -1)) < NEAR * NEAR
    small = jnp.where(near[..., None, None], relative_difference, 0.0)
    return jnp.where(near, 0.5 * log_det_divergence(small), factor_divergence(tril_p, tril_q))


def congruent(tril, matrix):
    """Return L^-1 S L^-T for symmetric S."""
    return solve_lower(tril, transposed(solve_lower(tril, matrix)))


def identity_like(matrix):
    return jnp.broadcast_to(jnp.eye(matrix.shape[-1], dtype=matrix.dtype), matrix.shape)


def tril_of(matrix, given: str):
    """Return the Cholesky factor of the covariance, from the matrix that was given (given_parameters.py)."""
    if given == "tril":
        return matrix
    return jnp.linalg.cholesky(matrix) if given == "covariance" else tril_of_inverse(symmetric(matrix))


def symmetric(matrix):
    """Return the symmetric part of a matrix, which JAX's Cholesky factorisation uses too."""
    return 0.5 * (matrix + transposed(matrix))


def matrix_divergence(p, q, given_p: str, given_q: str):
    """Return KL between centred Gaussians, from the matrices that they were given.

    The divergence of precisions is that of covariances with the arguments exchanged.
    """
    if given_p == given_q == "covariance":
        tril_p, tril_q = jnp.linalg.cholesky(p), jnp.linalg.cholesky(q)
        return divergence_of_difference(congruent(tril_q, symmetric(p - q)), tril_p, tril_q)
    if given_p == given_q == "precision":
        return matrix_divergence(q, p, "covariance", "covariance")
    return factor_divergence(jnp.tril(tril_of(p, given_p)), jnp.tril(tril_of(q, given_q)))


def whitened(vector, matrix, given: str):
    """Return L^-1 x, or another vector of the same length, the Mahalanobis distance from 0."""
    column = vector[..., None]
    if given == "precision":
        return jnp.swapaxes(jnp.linalg.cholesky(matrix), -1, -2) @ column
    tril = tril_of(matrix, given)
    return solve_lower(tril, jnp.broadcast_to(column, tril[..., :1].shape))


def tril_of_inverse(matrix):
    """Return the lower Cholesky factor of S^-1, by one triangular inverse: S = U U^T with U upper, and L = U^-T."""
    upper = lax.linalg.cholesky(matrix[..., ::-1, ::-1])[..., ::-1, ::-1]
    return solve_lower(transposed(upper), identity_like(matrix))
