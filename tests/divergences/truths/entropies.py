"""Differential entropies of vectors, matrices, processes and angles, each by the mean of -log of the textbook density.

The parameters are of few binary digits, so that they are the same numbers in every precision.
"""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
from mpmath import mpf

from truths import matrix, process, vector

TRIL = np.array([[2.0, 0, 0], [-1, 0.5, 0], [0.25, 3, 1.5]])


def gaussian(covariance):
    """log det(2 pi e S) / 2."""
    return mpmath.log(mpmath.det(2 * mpmath.pi * mpmath.e * covariance)) / 2


def zero_sum(scale, size):
    """In the hyperplane: the covariance without its one eigenvalue zero."""
    covariance = mpf(scale) ** 2 * (mpmath.eye(size) - mpmath.ones(size) / size)
    eigenvalues = sorted(mpmath.eigsy(covariance, eigvals_only=True))
    return sum(mpmath.log(2 * mpmath.pi * mpmath.e * x) for x in eigenvalues[1:]) / 2


def wishart(freedom, scale):
    size = scale.rows
    mean_log_det = size * mpmath.log(2) + mpmath.log(mpmath.det(scale)) + matrix.multivariate_digamma(freedom / 2, size)
    log_normaliser = freedom / 2 * (size * mpmath.log(2) + mpmath.log(mpmath.det(scale)))
    log_normaliser += matrix.multivariate_log_gamma(freedom / 2, size)
    return log_normaliser - (freedom - size - 1) / 2 * mean_log_det + freedom * size / 2


def wishart_cholesky(freedom, tril):
    """The factor's density is the matrix's times 2^d prod T_ii^(d - i + 1), and T_ii / L_ii is a chi variable."""
    size = len(tril)
    value = wishart(freedom, matrix.square(tril)) - size * mpmath.log(2)
    for i in range(size):
        mean_log = mpmath.log(mpf(float(tril[i, i]))) + mean_log_chi(freedom - i)
        value -= (size - i) * mean_log
    return value


def mean_log_chi(freedom):
    return (mpmath.log(2) + mpmath.digamma(freedom / 2)) / 2


def inverse_wishart(freedom, scale):
    """From the density's terms log |X| and tr(S X^-1), where X^-1 is Wishart."""
    size = scale.rows
    log_det = mpmath.log(mpmath.det(scale))
    mean_log_det = log_det - size * mpmath.log(2) - matrix.multivariate_digamma(freedom / 2, size)
    log_normaliser = freedom / 2 * (size * mpmath.log(2) - log_det) + matrix.multivariate_log_gamma(freedom / 2, size)
    return log_normaliser + (freedom + size + 1) / 2 * mean_log_det + freedom * size / 2


def inverse_wishart_cholesky(freedom, tril):
    """T_ii / L_ii is the inverse of a chi variable with nu - d + i degrees of freedom, i = 1, ..., d."""
    size = len(tril)
    value = inverse_wishart(freedom, matrix.square(tril)) - size * mpmath.log(2)
    for i in range(size):
        mean_log = mpmath.log(mpf(float(tril[i, i]))) - mean_log_chi(freedom - size + i + 1)
        value -= (size - i) * mean_log
    return value


def lkj(eta, dimension):
    value = matrix.lkj_log_normaliser(eta, dimension)
    return value - (eta - 1) * mpmath.diff(lambda x: matrix.lkj_log_normaliser(x, dimension), eta)


def lkj_cholesky(eta, dimension):
    """The factor's density is prod L_ii^(d - i + 2 eta - 2) / Z, and L_ii^2 a Beta(eta + (d - i)/2, (i - 1)/2)."""
    value = matrix.lkj_log_normaliser(eta, dimension)
    for i in range(2, dimension + 1):
        rest = eta + mpf(dimension - i) / 2
        mean_log = (mpmath.digamma(rest) - mpmath.digamma(rest + mpf(i - 1) / 2)) / 2
        value -= (dimension - i + 2 * eta - 2) * mean_log
    return value


def von_mises(concentration):
    zeroth, first = mpmath.besseli(0, concentration), mpmath.besseli(1, concentration)
    return mpmath.log(2 * mpmath.pi * zeroth) - concentration * first / zeroth


def by_moments(member):
    distribution, _, covariance = member
    return distribution, lambda: gaussian(covariance)


def state_space():
    parts = TRIL[:2, :2] / 4, np.ones(2), TRIL[:2, :2]
    return process.state_space(*parts), lambda: gaussian(process.path_moments(*parts)[1])


def matrix_normal():
    row, column = TRIL[:2, :2], TRIL
    factor = mpmath.matrix(matrix.kronecker(matrix.exact(row), matrix.exact(column)))
    return dist.MatrixNormal(np.zeros((2, 3)), row, column), lambda: gaussian(factor * factor.T)


def copula():
    """Of normal marginals: a multivariate normal."""
    tril = np.array([[1.0, 0], [0.5, 0.75**0.5]])
    marginal = dist.Normal(np.zeros(2), np.array([2.0, 0.5]))
    scaled = mpmath.matrix(matrix.exact(np.array([[2.0], [0.5]]) * tril))
    return dist.GaussianCopula(marginal, correlation_cholesky=tril), lambda: gaussian(scaled * scaled.T)


RING = np.roll(np.eye(4), 1, axis=0) + np.roll(np.eye(4), -1, axis=0)
CASES = {
    dist.LowRankMultivariateNormal: lambda: by_moments(
        vector.low_rank(np.zeros(4), np.arange(8.0).reshape(4, 2) - 3, np.array([0.5, 1, 2, 4]))
    ),
    dist.CirculantNormal: lambda: by_moments(vector.circulant(np.zeros(4), np.array([0.5, 8, 1]))),
    dist.GaussianRandomWalk: lambda: by_moments(vector.random_walk(np.array(1.5))),
    dist.CAR: lambda: by_moments(vector.autoregression(np.zeros(4), 0.75, 2.5, RING)),
    dist.GaussianStateSpace: lambda: state_space(),
    dist.ZeroSumNormal: lambda: (dist.ZeroSumNormal(jnp.asarray(2.5), (4,)), lambda: zero_sum(2.5, 4)),
    dist.MatrixNormal: lambda: matrix_normal(),
    dist.Wishart: lambda: (dist.Wishart(4.5, scale_tril=TRIL), lambda: wishart(mpf(4.5), matrix.square(TRIL))),
    dist.WishartCholesky: lambda: (
        dist.WishartCholesky(1e6, scale_tril=TRIL),
        lambda: wishart_cholesky(mpf(10**6), TRIL),
    ),
    dist.InverseWishart: lambda: (
        dist.InverseWishart(1e6, scale_tril=TRIL),
        lambda: inverse_wishart(mpf(1e6), matrix.square(TRIL)),
    ),
    dist.InverseWishartCholesky: lambda: (
        dist.InverseWishartCholesky(2.25, scale_tril=TRIL),
        lambda: inverse_wishart_cholesky(mpf(2.25), TRIL),
    ),
    dist.LKJ: lambda: (dist.LKJ(4, 0.25), lambda: lkj(mpf(0.25), 4)),
    dist.LKJCholesky: lambda: (dist.LKJCholesky(4, 2.0**20), lambda: lkj_cholesky(mpf(2**20), 4)),
    dist.VonMises: lambda: (dist.VonMises(1.0, 1024.0), lambda: von_mises(mpf(1024))),
    dist.GaussianCopula: lambda: copula(),
}


def in_float64(distribution):
    """With NumPy's parameters, which keep their digits wherever they are used."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, dtype=np.float64), distribution)


def of_class(kind):
    distribution, truth = CASES[kind]()
    return in_float64(distribution), truth


TRUTHS = {kind: functools.partial(of_class, kind) for kind in CASES}
