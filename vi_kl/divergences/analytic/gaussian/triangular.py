"""Triangular matrices: the operations that the closed forms for Gaussians and Wisharts are built on.

There are no gathers, and no slices of what is differentiated: JAX lowers the former and transposes the latter outside
the float64 scope (see share_of_maximum).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vi_kl.divergences.bregman import itakura_saito


def transposed(matrix):
    return jnp.swapaxes(matrix, -1, -2)


def diagonal_matrix(values):
    return values[..., None] * jnp.eye(values.shape[-1], dtype=values.dtype)


@jax.custom_jvp
def diagonal(matrix):
    """Return the diagonal, by a slice with a stride, which touches nothing else."""
    size = matrix.shape[-1]
    return matrix.reshape(*matrix.shape[:-2], size * size)[..., :: size + 1]


@diagonal.defjvp
def diagonal_jvp(primals, tangents):
    """Return the diagonal and its tangent, without a slice, whose transpose pads with the caller's precision."""
    (matrix,), (tangent,) = primals, tangents
    return diagonal(matrix), (tangent * jnp.eye(matrix.shape[-1], dtype=matrix.dtype)).sum(-1)


def first_entry(array, axes):
    """Return the first entry along these last axes, which are kept.

    It is picked by a sum, for the reason given above.
    """
    first = np.zeros([array.shape[axis] for axis in axes])
    first.flat[0] = 1
    return (array * first).sum(axes, keepdims=True)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def solve_triangular(tril, right, transpose):
    return lax.linalg.triangular_solve(tril, right, left_side=True, lower=True, transpose_a=transpose)


@solve_triangular.defjvp
def solve_triangular_jvp(transpose, primals, tangents):
    """Return the solution and its tangent by one solve for both tangents, and so one for both cotangents.

    JAX's own rule has one for each, which differ in nothing, cost twice as much, and run at the same time: with as many
    of them as threads, XLA's CPU backend (jax 0.10) waits for ever over large batches.
    """
    (tril, _), (tril_dot, right_dot) = primals, tangents
    solution = solve_triangular(*primals, transpose)
    tril_dot = jnp.tril(tril_dot)
    change = right_dot - (transposed(tril_dot) if transpose else tril_dot) @ solution
    return solution, solve_triangular(tril, change, transpose)


def solve_lower(tril, right, *, transpose=False):
    """Return L^-1 B, or L^-T B, for lower triangular L."""
    return solve_triangular(tril, right, transpose)


def sum_of_squares(matrix):
    return (matrix * matrix).sum((-2, -1))


def factor_divergence(tril_p, tril_q):
    """Return KL between centred Gaussians: that of the factors' diagonals, plus half of ||L_q^-1 (L_p - L_q)||^2."""
    diagonals = diagonal_divergence(tril_p, tril_q)
    rest = 0.5 * sum_of_squares(solve_lower(tril_q, tril_p - tril_q))
    return jnp.where(diagonals == jnp.inf, jnp.inf, diagonals + rest)  # beyond the floating range rest may be NaN


def diagonal_divergence(tril_p, tril_q):
    return itakura_saito(diagonal(tril_p), diagonal(tril_q)).sum(-1)


def cholesky_kl(loc_p, tril_p, loc_q, tril_q):
    """Return the divergence between the Cholesky diagonals, plus half of ||L_q^-1 (L_p - L_q)||^2 and ||z||^2."""
    shift = jnp.broadcast_to((loc_p - loc_q)[..., None], tril_q[..., :1].shape)  # one mean may serve every entry
    scaled = solve_lower(tril_q, jnp.concatenate([jnp.tril(tril_p - tril_q), shift], axis=-1))
    diagonals = diagonal_divergence(tril_p, tril_q)
    return jnp.where(diagonals == jnp.inf, jnp.inf, diagonals + 0.5 * sum_of_squares(scaled))


def tril_of_square_root(root):
    """Return the Cholesky factor of A A^T, by QR: the rounding error grows with A's condition, not with its square."""
    upper = jnp.linalg.qr(transposed(root), mode="r")
    return transposed(upper * jnp.sign(diagonal(upper))[..., None])
