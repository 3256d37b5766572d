"""Closed forms for MatrixNormal, whose Cholesky factor is the Kronecker product of one of rows and one of columns.

The product is never formed: its triangular solves and squares factorise too. Independent(Normal) of the
same shape is served in both directions.
"""

import math

import jax.numpy as jnp
import numpyro.distributions as dist

from vi_kl.divergences.analytic.gaussian.log_det import identity_like
from vi_kl.divergences.analytic.gaussian.triangular import (
    diagonal,
    first_entry,
    solve_lower,
    sum_of_squares,
    transposed,
)
from vi_kl.divergences.analytic.gaussian.vector import is_gaussian, loc_and_scale
from vi_kl.divergences.bregman import difference_of_products, itakura_saito
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import closed_form, closed_form_entropy, no_closed_form


@closed_form(dist.MatrixNormal, dist.MatrixNormal)
def matrix_normal(p, q):
    return matrix_normal_kl(*matrix_normal_parameters(p), *matrix_normal_parameters(q))


@closed_form(dist.MatrixNormal, dist.Independent)
def matrix_normal_from_independent(p, q):
    if not is_gaussian(q):
        raise no_closed_form(p, q)
    return matrix_normal_from_independent_kl(*matrix_normal_parameters(p), *loc_and_scale(q))


@closed_form(dist.Independent, dist.MatrixNormal)
def independent_from_matrix_normal(p, q):
    if not is_gaussian(p):
        raise no_closed_form(p, q)
    return independent_from_matrix_normal_kl(*loc_and_scale(p), *matrix_normal_parameters(q))


@closed_form_entropy(dist.MatrixNormal)
def matrix_normal_entropy(p):
    return matrix_normal_entropy_of(p.scale_tril_row, p.scale_tril_column)


def matrix_normal_parameters(p):
    return p.loc, p.scale_tril_row, p.scale_tril_column


@computed_in_float64(2, 2, 2, 2, 2, 2)
def matrix_normal_kl(loc_p, row_p, column_p, loc_q, row_q, column_q):
    factors = [diagonal(x) for x in (row_p, column_p, row_q, column_q)]
    rows, columns = quotient_below_diagonal(row_p, row_q), quotient_below_diagonal(column_p, column_q)
    squares = off_diagonal_squares(
        (factors[0] / factors[2], (rows * rows).sum(-1)), (factors[1] / factors[3], (columns * columns).sum(-1))
    )
    shift = whitened(loc_p - loc_q, row_q, column_q)
    products = products_divergence(*factors)
    rest = 0.5 * (squares.sum((-2, -1)) + sum_of_squares(shift))
    return jnp.where(products == jnp.inf, jnp.inf, products + rest)  # beyond the floating range rest may be NaN


@computed_in_float64(2, 2, 2, 2, 2)
def matrix_normal_from_independent_kl(loc_p, row_p, column_p, loc_q, scale_q):
    parts = [(diagonal(x), (below_diagonal(x) ** 2).sum(-1)) for x in (row_p, column_p)]
    row, column = parts[0][0][..., :, None], parts[1][0][..., None, :]
    growth = scale_divergence(row * column, scale_q, difference_of_products(row, column, scale_q, 1.0))
    shift = (loc_p - loc_q) / scale_q
    squares = off_diagonal_squares(*parts) / (scale_q * scale_q) + shift * shift
    return (growth + 0.5 * squares).sum((-2, -1))


@computed_in_float64(2, 2, 2, 2, 2)
def independent_from_matrix_normal_kl(loc_p, scale_p, loc_q, row_q, column_q):
    inverses = [solve_lower(x, identity_like(x)) for x in (row_q, column_q)]
    parts = [(diagonal(x), (below_diagonal(x) ** 2).sum(-2)) for x in inverses]  # of each column, which scale_p scales
    row, column = diagonal(row_q)[..., :, None], diagonal(column_q)[..., None, :]
    growth = scale_divergence(scale_p, row * column, difference_of_products(scale_p, 1.0, row, column))
    shift = whitened(loc_p - loc_q, row_q, column_q)
    squares = off_diagonal_squares(*parts) * (scale_p * scale_p) + shift * shift
    return (growth + 0.5 * squares).sum((-2, -1))


def quotient_below_diagonal(tril_p, tril_q):
    """Return L_q^-1 L_p below its diagonal; a factor common to all of L_p is taken out first, exactly.

    Scales may move between rows and columns without changing the distribution, so L_p and L_q may be nearly
    proportional with nothing near 1 in between.
    """
    first_p, first_q = first_entry(tril_p, (-2, -1)), first_entry(tril_q, (-2, -1))
    return below_diagonal(solve_lower(tril_q, difference_of_products(tril_p, first_q, tril_q, first_p) / first_q))


def below_diagonal(matrix):
    return jnp.tril(matrix, -1)


def off_diagonal_squares(row, column):
    """Return sums of squares of a Kronecker product without its diagonal.

    They are computed from diagonals and off-diagonal sums of squares.
    """
    (row_diagonal, row_rest), (column_diagonal, column_rest) = row, column
    row_diagonal, row_rest = (row_diagonal**2)[..., :, None], row_rest[..., :, None]
    column_diagonal, column_rest = (column_diagonal**2)[..., None, :], column_rest[..., None, :]
    return row_diagonal * column_rest + row_rest * (column_diagonal + column_rest)


def products_divergence(row_p, column_p, row_q, column_q):
    """Return KL between the normals whose scales are all products of a row's and a column's."""
    row_p, row_q = (jnp.expand_dims(x, -1) for x in (row_p, row_q))
    column_p, column_q = (jnp.expand_dims(x, -2) for x in (column_p, column_q))
    difference = difference_of_products(row_p, column_p, row_q, column_q)
    return scale_divergence(row_p * column_p, row_q * column_q, difference).sum((-2, -1))


def scale_divergence(scale_p, scale_q, difference):
    growth = difference / scale_q
    return itakura_saito(scale_p, scale_q, difference) + 0.5 * growth * growth


def whitened(matrix, row, column):
    """Return U^-1 X V^-T."""
    return transposed(solve_lower(column, transposed(solve_lower(row, matrix))))


@computed_in_float64(2, 2)
def matrix_normal_entropy_of(row, column):
    logs = jnp.log(diagonal(row))[..., :, None] + jnp.log(diagonal(column))[..., None, :]
    return (logs + 0.5 * math.log(2 * math.pi * math.e)).sum((-2, -1))
