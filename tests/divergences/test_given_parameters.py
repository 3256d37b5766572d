"""A covariance that a distribution holds is factored in float64, not taken from NumPyro's float32 factor."""

import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
import pytest

from vi_kl.divergences import entropy, estimate_kl, kl_divergence, renyi

SIZE = 4


def matrix_of_condition(condition, seed=0):
    orthogonal, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(SIZE, SIZE)))
    matrix = (orthogonal * np.geomspace(1, 1 / condition, SIZE)) @ orthogonal.T
    return symmetric(matrix.astype(np.float32))


def symmetric(matrix):
    return np.tril(matrix) + np.tril(matrix, -1).T


def truth(p, q):
    """KL between centred Gaussians with these float32 covariances, from 60 digits."""
    with mpmath.workdps(60):
        p, q = (mpmath.matrix(x.astype(float).tolist()) for x in (p, q))
        quotient = q**-1 * p
        trace = sum(quotient[i, i] for i in range(p.rows))
        return float((trace - p.rows - mpmath.log(mpmath.det(quotient))) / 2)


NEAR = 1.0001
CONDITIONS = (6e4, 1e6)
PAIRS = {c: (matrix_of_condition(c), symmetric(matrix_of_condition(c) * np.float32(NEAR))) for c in CONDITIONS}


def normal(**matrix):
    return dist.MultivariateNormal(jnp.zeros(SIZE), **matrix)


def copula(correlation_matrix):
    return dist.GaussianCopula(dist.Normal(jnp.zeros(SIZE), 1.0), correlation_matrix=correlation_matrix)


def state_space(covariance_matrix):
    return dist.GaussianStateSpace(3, 0.5 * jnp.eye(SIZE), covariance_matrix=covariance_matrix)


FREEDOM = 7.0
MAKERS = {
    "normal by covariance": (lambda m: normal(covariance_matrix=m), False, 1),
    "normal by precision": (lambda m: normal(precision_matrix=m), True, 1),
    "state space": (state_space, False, 3),
    "Wishart by scale": (lambda m: dist.Wishart(FREEDOM, scale_matrix=m), False, FREEDOM),
    "Wishart by rate": (lambda m: dist.Wishart(FREEDOM, rate_matrix=m), True, FREEDOM),
    "Wishart's factor": (lambda m: dist.WishartCholesky(FREEDOM, scale_matrix=m), False, FREEDOM),
    "inverse Wishart": (lambda m: dist.InverseWishart(FREEDOM, scale_matrix=m), True, FREEDOM),
    "inverse Wishart's factor": (lambda m: dist.InverseWishartCholesky(FREEDOM, rate_matrix=m), False, FREEDOM),
}


@pytest.mark.divergences
@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("name", MAKERS)
def test_the_held_matrix_is_what_counts(name, condition):
    make, exchanged, factor = MAKERS[name]
    p, q = (make(jnp.asarray(m)) for m in PAIRS[condition])
    expected = factor * truth(*PAIRS[condition][:: -1 if exchanged else 1])
    assert kl_divergence(p, q) == pytest.approx(expected, rel=3e-7)
    far = make(jnp.eye(SIZE))
    identity = np.eye(SIZE, dtype=np.float32)
    order = (identity, PAIRS[condition][0]) if exchanged else (PAIRS[condition][0], identity)
    assert kl_divergence(p, far) == pytest.approx(factor * truth(*order), rel=1e-6)


def test_one_given_by_its_covariance_and_one_by_its_precision():
    p, q = PAIRS[6e4][0], np.diag(np.array([1, 2, 3, 4], np.float32))
    precision = normal(precision_matrix=jnp.asarray(np.diag(1 / np.diag(q))))
    assert kl_divergence(normal(covariance_matrix=jnp.asarray(p)), precision) == pytest.approx(truth(p, q), rel=1e-6)
    loc = jnp.arange(4.0)
    shifted = dist.MultivariateNormal(loc, precision_matrix=jnp.asarray(p))
    expected = 0.5 * np.arange(4) @ p.astype(float) @ np.arange(4)
    assert kl_divergence(normal(precision_matrix=jnp.asarray(p)), shifted) == pytest.approx(expected, rel=1e-6)


def test_a_correlation_matrix_of_a_copula():
    p = symmetric(np.full((SIZE, SIZE), 0.99999, np.float32) + np.eye(SIZE, dtype=np.float32) * np.float32(1e-5))
    q = symmetric(np.where(np.eye(SIZE) == 1, 1, p * np.float32(0.999999)).astype(np.float32))
    for matrix in (p, q):
        np.fill_diagonal(matrix, 1)
    assert kl_divergence(copula(jnp.asarray(p)), copula(jnp.asarray(q))) == pytest.approx(truth(p, q), rel=1e-6)


@pytest.mark.divergences
def test_entropies_and_other_divergences_and_estimates_use_it_too():
    p, q = (normal(covariance_matrix=jnp.asarray(m)) for m in PAIRS[1e6])
    expected = truth(*PAIRS[1e6])
    assert renyi(p, q, 1.0) == pytest.approx(expected, rel=1e-6)
    assert estimate_kl(p, q).value == pytest.approx(expected, rel=1e-6)
    half_log_det = 0.5 * np.linalg.slogdet(PAIRS[1e6][0].astype(float))[1]
    assert entropy(p) == pytest.approx(half_log_det + SIZE / 2 * np.log(2 * np.pi * np.e), rel=1e-6)


def test_a_covariance_that_was_worked_out_from_the_factor_is_not_taken_for_given():
    tril = np.linalg.cholesky(PAIRS[1e6][0].astype(float)).astype(np.float32)
    p, q = normal(scale_tril=jnp.asarray(tril)), normal(scale_tril=jnp.asarray(tril * np.float32(NEAR)))
    before = kl_divergence(p, q)
    assert p.covariance_matrix.shape == (SIZE, SIZE)  # NumPyro keeps what it worked out
    assert kl_divergence(p, q) == before


@pytest.mark.divergences
def test_the_gradient_is_by_what_was_given():
    """Half of Q^-1 - P^-1, by the covariance of p."""
    p, q = matrix_of_condition(30.0), matrix_of_condition(30.0, seed=1)
    loss = jax.jit(jax.grad(lambda m: kl_divergence(normal(covariance_matrix=m), normal(covariance_matrix=q))))
    expected = 0.5 * (np.linalg.inv(q.astype(float)) - np.linalg.inv(p.astype(float)))
    np.testing.assert_allclose(loss(jnp.asarray(p)), expected, atol=1e-4 * np.abs(expected).max())


def test_categories_by_cutpoints_keep_their_digits():
    predictors, cutpoints = np.float32([0.3, 0.3001]), np.float32([-1, 0.5, 2])
    p, q = (dist.OrderedLogistic(jnp.asarray(x), jnp.asarray(cutpoints)) for x in predictors)
    with mpmath.workdps(40):
        above = [[1, *(1 / (1 + mpmath.exp(float(c) - float(x))) for c in cutpoints), 0] for x in predictors]
        pmfs = [[a - b for a, b in itertools.pairwise(row)] for row in above]
        expected = float(sum(a * mpmath.log(a / b) for a, b in zip(*pmfs, strict=True)))
    assert kl_divergence(p, q) == pytest.approx(expected, rel=1e-6)
    assert entropy(p) == pytest.approx(float(-sum(a * mpmath.log(a) for a in pmfs[0])), rel=1e-6)
    assert kl_divergence(p, dist.DiscreteUniform(0, 3)) == pytest.approx(np.log(4) - float(entropy(p)), rel=1e-5)


def test_a_circulant_covariance_by_its_row():
    row = np.float32([2, 1.98, 1.97, 1.98])  # eigenvalues from .01 to 8
    p, q = (dist.CirculantNormal(jnp.zeros(4), jnp.asarray(r)) for r in (row, row * np.float32(1.001)))
    rows = [np.asarray(d.covariance_row, dtype=float) for d in (p, q)]
    spectrum, other = (np.fft.rfft(r).real for r in rows)
    ratio = spectrum / other
    expected = 0.5 * (np.array([1, 2, 1]) * (ratio - 1 - np.log1p((spectrum - other) / other))).sum()
    assert kl_divergence(p, q) == pytest.approx(expected, rel=1e-6)
