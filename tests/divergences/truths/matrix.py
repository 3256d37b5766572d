"""Random matrices: normal, Wishart, correlation; by their textbook densities."""

import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
from mpmath import mpf

from truths.case import case, exact
from truths.formulas import multivariate_normal

ROWS, COLUMNS = 2, 3


def kronecker(left, right):
    """The Kronecker product of two matrices as nested lists."""
    return [[x * y for x in row for y in other] for row in left for other in right]


def flattened(rows):
    return [x for row in rows for x in row]


@case(dist.MatrixNormal, dist.MatrixNormal)
def matrix_normal_pair(draw):
    """As a vector, row by row; a scale may move from the rows to the columns without changing the distribution."""
    rows, columns = draw.cholesky_pair(ROWS), draw.cholesky_pair(COLUMNS)
    if draw.rng.random() < 0.3:
        moved = 10 ** draw.rng.uniform(-2, 2)
        rows, columns = (rows[0], draw.rounded(rows[1] * moved)), (columns[0], draw.rounded(columns[1] / moved))
    locs = draw.loc_pair(np.outer(np.diag(rows[1]), np.diag(columns[1])))
    p, q = (dist.MatrixNormal(*map(jnp.asarray, parts)) for parts in zip(locs, rows, columns, strict=True))
    factors = [kronecker(exact(row), exact(column)) for row, column in zip(rows, columns, strict=True)]
    means = [flattened(exact(loc)) for loc in locs]
    return p, q, multivariate_normal(means[0], factors[0], means[1], factors[1])


def matrix_and_independent(draw):
    row, column = draw.cholesky_pair(ROWS)[0], draw.cholesky_pair(COLUMNS)[0]
    nearly_diagonal = draw.rng.random() < 0.5
    scales = 10 ** draw.rng.uniform(-3, 3, (ROWS, COLUMNS))
    if nearly_diagonal:
        step = draw.relative_step()
        row, column = (np.diag(np.diag(x)) + step * np.tril(x, -1) for x in (row, column))
        scales = np.outer(np.diag(row), np.diag(column)) * np.exp(step * draw.rng.normal(size=(ROWS, COLUMNS)))
    row, column, scales = map(draw.rounded, (row, column, scales))
    locs = draw.loc_pair(np.ones((ROWS, COLUMNS)))
    normal = dist.MatrixNormal(*map(jnp.asarray, (locs[0], row, column)))
    independent = dist.Normal(*map(jnp.asarray, (locs[1], scales))).to_event(2)
    means = [flattened(exact(loc)) for loc in locs]
    factors = kronecker(exact(row), exact(column)), exact(np.diag(scales.ravel()))
    return (normal, means[0], factors[0]), (independent, means[1], factors[1])


@case(dist.MatrixNormal, dist.Independent)
def matrix_normal_from_independent(draw):
    (p, *parts_p), (q, *parts_q) = matrix_and_independent(draw)
    return p, q, multivariate_normal(*parts_p, *parts_q)


@case(dist.Independent, dist.MatrixNormal)
def independent_from_matrix_normal(draw):
    (q, *parts_q), (p, *parts_p) = matrix_and_independent(draw)
    return p, q, multivariate_normal(*parts_p, *parts_q)


@case(dist.MatrixNormal, dist.ZeroSumNormal)
def matrix_onto_zero_sums(draw):
    p, q = matrix_and_independent(draw)[0][0], dist.ZeroSumNormal(jnp.asarray(draw.rounded(1.5)), (ROWS, COLUMNS))
    return p, q, mpf("inf")


@case(dist.ZeroSumNormal, dist.MatrixNormal)
def zero_sums_onto_matrix(draw):
    return (*matrix_onto_zero_sums(draw)[1::-1], mpf("inf"))


def multivariate_log_gamma(a, size):
    constant = mpf(size * (size - 1)) / 4 * mpmath.log(mpmath.pi)
    return constant + sum(mpmath.loggamma(a - mpf(j) / 2) for j in range(size))


def multivariate_digamma(a, size):
    return sum(mpmath.digamma(a - mpf(j) / 2) for j in range(size))


def wishart(freedom_p, scale_p, freedom_q, scale_q):
    """E_p of log p - log q, from the density's terms log |X| and tr(V^-1 X) and their expectations."""
    size = scale_p.rows
    ratio = mpmath.inverse(scale_q) * scale_p
    trace, log_det = sum(ratio[i, i] for i in range(size)), mpmath.log(mpmath.det(ratio))
    value = multivariate_log_gamma(freedom_q / 2, size) - multivariate_log_gamma(freedom_p / 2, size)
    value += (freedom_p - freedom_q) / 2 * multivariate_digamma(freedom_p / 2, size)
    return value - freedom_q / 2 * log_det + freedom_p / 2 * (trace - size)


def square(tril):
    tril = mpmath.matrix(exact(tril))
    return tril * tril.T


def scales_and_freedoms(draw):
    """Near-equal, unrelated, or with equal means nu V; from a half to a hundred million degrees of freedom to spare."""
    size = int(draw.rng.choice([1, 3]))
    trils = draw.cholesky_pair(size)
    spare = draw.positive_pair(low=-2, high=8)
    freedoms = [draw.rounded(size - 1 + x) for x in spare]
    if draw.rng.random() < 0.3:
        trils = trils[0], draw.rounded(trils[0] * np.sqrt(float(freedoms[0]) / float(freedoms[1])))
    return freedoms, trils


def register_wishart(kind, inverse):
    @case(kind, kind)
    def wisharts(draw):
        freedoms, trils = scales_and_freedoms(draw)
        p, q = (kind(jnp.asarray(n), scale_tril=jnp.asarray(t)) for n, t in zip(freedoms, trils, strict=True))
        scales = [mpmath.inverse(square(t)) if inverse else square(t) for t in trils]
        n, m = map(exact, freedoms)
        return p, q, wishart(n, scales[0], m, scales[1])


register_wishart(dist.Wishart, inverse=False)
register_wishart(dist.WishartCholesky, inverse=False)
register_wishart(dist.InverseWishart, inverse=True)
register_wishart(dist.InverseWishartCholesky, inverse=True)


def lkj_log_normaliser(eta, dimension):
    """log of the integral of |R|^(eta - 1) over correlation matrices (Joe, 2006)."""
    top = eta + mpf(dimension - 1) / 2
    return sum(
        mpf(k) / 2 * mpmath.log(mpmath.pi) + mpmath.loggamma(top - mpf(k) / 2) - mpmath.loggamma(top)
        for k in range(1, dimension)
    )


def lkj(eta_p, eta_q, dimension):
    """The mean of log |R| is the derivative of the log normaliser."""
    top = eta_p + mpf(dimension - 1) / 2
    mean = sum(mpmath.digamma(top - mpf(k) / 2) - mpmath.digamma(top) for k in range(1, dimension))
    normalisers = lkj_log_normaliser(eta_q, dimension) - lkj_log_normaliser(eta_p, dimension)
    return (eta_p - eta_q) * mean + normalisers


def register_lkj(kind):
    @case(kind, kind)
    def correlations(draw):
        concentrations = draw.positive_pair()
        dimension = int(draw.rng.choice([2, 5]))
        p, q = (kind(dimension, jnp.asarray(x)) for x in concentrations)
        return p, q, lkj(*map(exact, concentrations), dimension)


register_lkj(dist.LKJ)
register_lkj(dist.LKJCholesky)
