"""Gaussian vectors of every kind, random matrices, processes, the circle and copulas, beyond their truths.

Here: the truths' own formulas against quadrature and simulation, gradients, batches, boundaries and refusals.
"""

import functools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.linalg
import scipy.sparse
import scipy.stats
from mpmath import mpf
from truths import matrix as matrices
from truths import vector
from truths.circle import von_mises
from truths.formulas import gamma

from vi_kl.divergences import NoClosedForm, entropy, kl_divergence
from vi_kl.divergences.analytic.gaussian.log_det import log_det_divergence

RING = np.roll(np.eye(4), 1, axis=0) + np.roll(np.eye(4), -1, axis=0)
TRIL = np.array([[1.5, 0, 0], [0.5, 1, 0], [-0.25, 0.75, 2]])


def correlation_factor(x):
    rest = jnp.sqrt(1 - x * x)
    return jnp.stack([jnp.stack([jnp.ones_like(x), 0 * x], -1), jnp.stack([x, rest], -1)], -2)


# one distribution for each 1 < x < 6, batched like x
MEMBERS = {
    "low_rank": lambda x: dist.LowRankMultivariateNormal(
        x[..., None] * jnp.ones(4),
        x[..., None, None] * jnp.arange(1.0, 9).reshape(4, 2) / 8,
        1 + x[..., None] * jnp.arange(4),
    ),
    "circulant": lambda x: dist.CirculantNormal(
        x[..., None] * jnp.arange(4.0), covariance_rfft=x[..., None] + jnp.arange(3.0)
    ),
    "random_walk": lambda x: dist.GaussianRandomWalk(x, 4),
    "autoregression": lambda x: dist.CAR(x[..., None] * jnp.arange(4.0), 1 / (1 + x), x, RING),
    "state_space": lambda x: dist.GaussianStateSpace(
        3, jnp.array([[0.5, -1], [0.25, 0.75]]), scale_tril=x[..., None, None] * jnp.asarray(TRIL[:2, :2])
    ),
    "zero_sum": lambda x: dist.ZeroSumNormal(x, (3, 2)),
    "matrix_normal": lambda x: dist.MatrixNormal(
        x[..., None, None] * jnp.ones((2, 3)), x[..., None, None] * jnp.asarray(TRIL[:2, :2]), jnp.asarray(TRIL)
    ),
    "wishart": lambda x: dist.Wishart(2 + x, scale_tril=x[..., None, None] * TRIL),
    "wishart_cholesky": lambda x: dist.WishartCholesky(2 + x, scale_tril=x[..., None, None] * TRIL),
    "inverse_wishart": lambda x: dist.InverseWishart(2 + x, scale_tril=x[..., None, None] * TRIL),
    "inverse_wishart_cholesky": lambda x: dist.InverseWishartCholesky(2 + x, scale_tril=x[..., None, None] * TRIL),
    "lkj": lambda x: dist.LKJ(3, x),
    "lkj_cholesky": lambda x: dist.LKJCholesky(3, x),
    "von_mises": lambda x: dist.VonMises(x, 12 * x),
    "copula": lambda x: dist.GaussianCopula(
        dist.Normal(jnp.arange(2.0), 2.0), correlation_cholesky=correlation_factor(x / 8)
    ),
}


SHARE_A_FORM = {"wishart_cholesky", "inverse_wishart_cholesky", "lkj_cholesky"}
FORMS = [name for name in MEMBERS if name not in SHARE_A_FORM]


BY_DEFAULT = ("random_walk", "autoregression", "wishart", "copula")  # a vector, a graph, matrices, and parts


# NumPyro's ZeroSumNormal takes one scale only
@pytest.mark.divergences
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in BY_DEFAULT else pytest.mark.exhaustive)
        for name in FORMS
        if name != "zero_sum"
    ],
)
def test_batches_transformations_and_expansion(name):
    make = MEMBERS[name]
    left, right = jnp.array([1.5, 3.0, 4.0]), jnp.array([3.0, 5.0])
    values = kl_divergence(make(left[:, None]), make(right))
    assert values.shape == (3, 2)
    assert values[1, 0] == 0
    one_by_one = jax.vmap(jax.vmap(lambda a, b: kl_divergence(make(a), make(b)), (None, 0)), (0, None))
    np.testing.assert_allclose(jax.jit(one_by_one)(left, right), values, rtol=1e-6)
    expanded = kl_divergence(make(left[:, None]).expand([4, 3, 1]), make(right))
    np.testing.assert_array_equal(expanded, np.broadcast_to(values, (4, 3, 2)))


FIVE_POINTS = np.array([1, -8, 0, 8, -1]) / 12  # of the rule for a first derivative


def along(function):
    """One program that takes the rows of an array one after the other, each as the function's arguments."""
    return jax.jit(lambda rows: jax.lax.map(lambda row: function(*row), rows))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FORMS)
def test_gradients_against_differences_of_the_values(name):
    """By each argument: the values are exact to 15 digits, and the five-point rule's error is of order step^4."""
    make = MEMBERS[name]
    divergence = jax.value_and_grad(lambda x, y: kl_divergence(make(x), make(y)), argnums=(0, 1))
    step, away = 1e-3, np.array([-2, -1, 0, 1, 2])
    around_p, around_q = (np.array([2.0, 3.0]) + step * np.outer(away, axis) for axis in np.eye(2))
    with jax.enable_x64(True):
        values, slopes = jax.tree.map(np.asarray, along(divergence)(np.concatenate([around_p, around_q])))
    for differences, slope in zip(values.reshape(2, 5) @ FIVE_POINTS / step, slopes, strict=True):
        assert float(slope[2]) == pytest.approx(float(differences), rel=1e-8)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", MEMBERS)
def test_divergence_and_entropy_against_simulation(name):
    """The mean of log p - log q, and of -log p, over draws, with NumPyro's densities: skewed ones among them."""
    make = MEMBERS[name]
    p, q = make(jnp.asarray(2.0)), make(jnp.asarray(3.0))

    @jax.jit
    def log_densities(key):
        draws = p.sample(key, (20_000,))
        return p.log_prob(draws), q.log_prob(draws)

    log_p, log_q = (np.asarray(x, dtype=np.float64) for x in log_densities(jax.random.key(3)))
    for value, terms in ((kl_divergence(p, q), log_p - log_q), (entropy(p), -log_p)):
        assert abs(float(value) - terms.mean()) < 4 * terms.std() / math.sqrt(len(terms))


def low_rank_moments(x):
    factor = mpmath.matrix([[x, 1], [2, x], [-1, 3]])
    return mpmath.zeros(3, 1), factor * factor.T + mpmath.diag([x, 1, x * x])


def autoregression_moments(x):
    return mpmath.zeros(4, 1), mpmath.inverse(x * (2 * mpmath.eye(4) - x / 4 * mpmath.matrix(RING.tolist())))


def low_rank(x):
    factor = jnp.array([[0, 1], [2, 0], [-1, 3.0]]) + x * jnp.eye(3, 2)
    return dist.LowRankMultivariateNormal(jnp.zeros(3), factor, jnp.stack([x, 1 + 0 * x, x * x]))


def low_rank_truth(x, y):
    return vector.gaussian(*low_rank_moments(x), *low_rank_moments(y))


def autoregression(x):
    return dist.CAR(0.0, x / 4, x, RING)


def autoregression_truth(x, y):
    return vector.gaussian(*autoregression_moments(x), *autoregression_moments(y))


def centred_von_mises(x):
    return dist.VonMises(0.0, x)


def centred_von_mises_truth(x, y):
    return von_mises(0, x, 0, y)


@functools.cache
def slopes_of(make):
    """Compiled once for the near-equal and the far pairs."""
    return jax.jit(jax.grad(lambda x, y: kl_divergence(make(x), make(y)), argnums=(0, 1)))


SLOPES = {  # one parameter, its near-equal partner, and the truth of the pair
    "low_rank": (low_rank, low_rank_truth, (1.5, 1.5 + 2**-20)),
    "low_rank, far": (low_rank, low_rank_truth, (1.5, 9.0)),
    "autoregression": (autoregression, autoregression_truth, (3.0, 3.0 + 2**-20)),
    "autoregression, far": (autoregression, autoregression_truth, (3.0, 1.0)),
    "wishart": (
        lambda x: dist.Wishart(x, scale_tril=TRIL),
        lambda x, y: matrices.wishart(x, matrices.square(TRIL), y, matrices.square(TRIL)),
        (1e6, 1e6 + 2**-4),
    ),
    "lkj": (lambda x: dist.LKJ(4, x), lambda x, y: matrices.lkj(x, y, 4), (2**-8, 2**-8 + 2**-30)),
    "von_mises": (centred_von_mises, centred_von_mises_truth, (12.0, 12.0 + 2**-20)),
    "von_mises, large": (centred_von_mises, centred_von_mises_truth, (1e6, 1e6 + 0.5)),
    "von_mises, small and large": (
        lambda x: dist.VonMises(x / 4, x),
        lambda x, y: von_mises(x / 4, x, y / 4, y),
        (2.0, 90.0),
    ),
    "von_mises, turned": (lambda x: dist.VonMises(x, 1e4), lambda x, y: von_mises(x, 10**4, y, 10**4), (1.0, 1.25)),
}


# a program of its own, of what the others show one by one: both parameters moving at once
BOTH_AT_ONCE = "von_mises, small and large"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.exhaustive if name == BOTH_AT_ONCE else []) for name in SLOPES]
)
def test_gradients_of_near_equal_pairs_against_60_digits(name):
    make, truth, point = SLOPES[name]
    with jax.enable_x64(True):
        slopes = slopes_of(make)(*map(jnp.asarray, point))
    for i, slope in enumerate(slopes):
        expected = mpmath.diff(truth, tuple(map(mpf, point)), (1 - i, i))
        assert abs(float(slope) - expected) < 1e-9 * abs(expected)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FORMS)
def test_second_derivatives(name):
    """Reverse over reverse, from float32, against differences of the gradient."""
    make = MEMBERS[name]
    slope = jax.grad(lambda x: kl_divergence(make(x), make(jnp.asarray(2.0))))
    by_differences = float(slope(jnp.asarray(3.01)) - slope(jnp.asarray(2.99))) / 0.02
    assert jax.grad(slope)(jnp.asarray(3.0)) == pytest.approx(by_differences, rel=1e-3)


@pytest.mark.divergences
def test_log_det_divergence_with_equal_eigenvalues():
    """At a multiple of the identity, where the derivatives of the eigenvalues themselves do not exist."""
    with jax.enable_x64(True):
        matrix = 0.5 * jnp.eye(3)
        assert float(log_det_divergence(matrix)) == pytest.approx(3 * (0.5 - math.log(1.5)), rel=1e-14)
        slope = jax.jit(jax.grad(log_det_divergence))(matrix)
        curvature = jax.jit(jax.grad(lambda m: (jax.grad(log_det_divergence)(m) * jnp.eye(3)).sum()))(matrix)
    np.testing.assert_allclose(slope, np.eye(3) / 3, atol=1e-15)  # I - (I + M)^-1
    np.testing.assert_allclose(curvature, np.eye(3) / 1.5**2, atol=1e-14)  # (I + M)^-2
    assert log_det_divergence(jnp.zeros((2, 3, 3))).tolist() == [0, 0]


@pytest.mark.parametrize(("mean", "concentration"), [(0.0, 0.0), (1.0, 50.0), (2.0, 0.3)])
def test_the_truth_of_von_mises_by_quadrature(mean, concentration):
    k, m = mpf(concentration), mpf(3)

    def integrand(angle):
        density = mpmath.exp(k * mpmath.cos(angle - mean)) / (2 * mpmath.pi * mpmath.besseli(0, k))
        other = mpmath.exp(m * mpmath.cos(angle)) / (2 * mpmath.pi * mpmath.besseli(0, m))
        return density * mpmath.log(density / other)

    with mpmath.workdps(20):
        integral = mpmath.quad(integrand, mpmath.linspace(-mpmath.pi, mpmath.pi, 13))
        assert abs(integral - von_mises(mpf(mean), k, mpf(0), m)) < 1e-12


def test_the_normaliser_of_lkj_by_quadrature():
    """Over the correlations of three variables: |R|^2 for eta = 3 is a polynomial, which Gauss's rule integrates."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    x, y, u = np.meshgrid(nodes, nodes, nodes)
    width = np.sqrt((1 - x * x) * (1 - y * y))  # the third correlation is x y + u width
    determinant = width**2 * (1 - u * u)
    volume = np.einsum("ijk,i,j,k->", determinant**2 * width, weights, weights, weights)
    assert float(mpmath.exp(matrices.lkj_log_normaliser(mpf(3), 3))) == pytest.approx(volume, rel=1e-7)


@pytest.mark.divergences
@pytest.mark.parametrize("inverse", [False, True])
def test_the_truth_of_wishart_by_simulation(inverse):
    rng, scales = np.random.default_rng(4), [TRIL @ TRIL.T, np.eye(3)]
    kind = scipy.stats.invwishart if inverse else scipy.stats.wishart
    p, q = kind(6.5, scales[0]), kind(9, scales[1])
    draws = np.moveaxis(p.rvs(20_000, random_state=rng), 0, -1)
    ratios = p.logpdf(draws) - q.logpdf(draws)
    scales = [mpmath.matrix(s.tolist()) for s in scales]
    truth = matrices.wishart(mpf(6.5), scales[0] ** (-1 if inverse else 1), mpf(9), scales[1])
    assert abs(float(truth) - ratios.mean()) < 4 * ratios.std() / math.sqrt(len(ratios))


def test_a_wishart_of_one_dimension_is_a_gamma():
    n, v, m, w = map(mpf, (3, 2, 5, 0.5))
    truth = gamma(n / 2, 1 / (2 * v), m / 2, 1 / (2 * w))
    assert abs(matrices.wishart(n, mpmath.matrix([[v]]), m, mpmath.matrix([[w]])) - truth) < mpf(10) ** -50


def test_a_density_on_the_hyperplane_has_the_projected_covariance():
    """The truths of ZeroSumNormal count degrees of freedom; its draws have the covariance s^2 (I - J/n)."""
    draws = np.asarray(dist.ZeroSumNormal(2.0, (3,)).sample(jax.random.key(0), (40_000,)))
    covariance = 4 * (np.eye(3) - 1 / 3)
    products = draws[:, :, None] * draws[:, None, :]
    assert (abs(products.mean(0) - covariance) < 5 * products.std(0) / 200).all()


def test_locations_of_von_mises_count_up_to_whole_turns():
    p, q = dist.VonMises(0.5, 3.0), dist.VonMises(0.5 + 4 * math.pi, 3.0)
    assert float(kl_divergence(p, q)) < 1e-10
    opposite = kl_divergence(p, dist.VonMises(0.5 - math.pi, 3.0))
    assert float(opposite) == pytest.approx(6 * float(mpmath.besseli(1, 3) / mpmath.besseli(0, 3)), rel=1e-6)


@pytest.mark.divergences
def test_von_mises_without_concentration_is_uniform():
    uniform, p = dist.VonMises(0.0, 0.0, validate_args=False), dist.VonMises(1.0, 2.0)
    truth = 2 * mpmath.besseli(1, 2) / mpmath.besseli(0, 2) - mpmath.log(mpmath.besseli(0, 2))
    assert float(kl_divergence(p, uniform)) == pytest.approx(float(truth), rel=1e-6)
    assert float(kl_divergence(uniform, p)) == pytest.approx(float(mpmath.log(mpmath.besseli(0, 2))), rel=1e-6)
    assert kl_divergence(uniform, uniform) == 0
    assert float(entropy(uniform)) == pytest.approx(math.log(2 * math.pi), rel=1e-6)
    slope = jax.grad(lambda k: kl_divergence(dist.VonMises(0.0, k, validate_args=False), dist.VonMises(0.0, 2.0)))(0.0)
    assert float(slope) == pytest.approx(-1.0, rel=1e-6)  # A'(0) (k_p - k_q)


@pytest.mark.divergences
def test_large_circulants_against_dense_algebra():
    """Above the size up to which the Fourier matrix is formed."""
    size = 600
    spectra = 1 + np.arange(size // 2 + 1.0) ** 2 / size, np.full(size // 2 + 1, 3.0)
    shift = np.sin(np.arange(size) / 7)
    p, q = (
        dist.CirculantNormal(shift, covariance_rfft=jnp.asarray(spectra[1])),
        dist.CirculantNormal(0 * shift, covariance_rfft=jnp.asarray(spectra[0])),
    )
    covariance = scipy.linalg.toeplitz(np.fft.irfft(spectra[0], size))
    quadratic = shift @ np.linalg.solve(covariance, shift)
    trace = 3 * np.trace(np.linalg.inv(covariance))
    truth = 0.5 * (trace - size + np.linalg.slogdet(covariance)[1] - size * math.log(3) + quadratic)
    assert float(kl_divergence(p, q)) == pytest.approx(truth, rel=1e-6)


def test_sparse_and_dense_adjacency_agree():
    dense = dist.CAR(np.arange(4.0), 0.9, 2.0, RING)
    sparse = dist.CAR(np.arange(4.0), 0.9, 2.0, scipy.sparse.csr_matrix(RING), is_sparse=True)
    other = dist.CAR(np.zeros(4), -0.5, 1.0, RING)
    assert kl_divergence(sparse, other) == kl_divergence(dense, other)
    assert kl_divergence(other, sparse) == kl_divergence(other, dense)
    assert kl_divergence(sparse, dense) == 0


@pytest.mark.divergences
def test_one_mean_may_serve_every_entry():
    q = dist.MultivariateNormal(jnp.zeros(3), jnp.eye(3))
    p = dist.MultivariateNormal(2.0, scale_tril=jnp.eye(3))
    assert float(kl_divergence(p, q)) == pytest.approx(6.0)
    assert float(kl_divergence(q, p)) == pytest.approx(6.0)


@pytest.mark.divergences
@pytest.mark.parametrize(
    "p",
    [
        dist.Normal(jnp.zeros(3), 2.0).to_event(1),
        dist.Normal(0.0, 2.0).expand([3]).to_event(1),
        dist.Independent(dist.Independent(dist.Normal(jnp.zeros(3), 2.0), 0), 1),
        dist.Independent(dist.Normal(0.0, jnp.full(1, 2.0)).expand([3]).to_event(0), 1),
    ],
)
def test_independent_normals_of_any_making(p):
    """Three times KL(N(0, 2) || N(0, 1)), the standard normal given as each of the other kinds."""
    truth = 3 * (1.5 - math.log(2))
    for q in (
        dist.MultivariateNormal(jnp.zeros(3), jnp.eye(3)),
        dist.LowRankMultivariateNormal(jnp.zeros(3), jnp.zeros((3, 1)), jnp.ones(3)),
        dist.CirculantNormal(jnp.zeros(3), covariance_rfft=jnp.ones(2)),
    ):
        assert float(kl_divergence(p, q)) == pytest.approx(truth, rel=1e-6)


def test_expanded_parts_of_independent_normals_count_as_batches():
    p = dist.Normal(0.0, 2.0).expand([5, 3]).to_event(1)
    q = dist.LowRankMultivariateNormal(jnp.zeros(3), jnp.zeros((3, 1)), jnp.ones(3))
    assert kl_divergence(p, q).shape == kl_divergence(q, p).shape == (5,)


def test_a_hyperplane_against_the_whole_space_is_infinite():
    zero_sum = dist.ZeroSumNormal(1.0, (4,))
    walk = dist.GaussianRandomWalk(jnp.ones((3, 1)), 4)
    assert kl_divergence(zero_sum, walk).tolist() == kl_divergence(walk, zero_sum).tolist() == [[np.inf]] * 3


@pytest.mark.parametrize("kind", [dist.CAR, dist.CirculantNormal, dist.LowRankMultivariateNormal])
def test_other_independent_vectors_are_refused_both_ways(kind):
    laplace = dist.Laplace(jnp.zeros(4), 1.0).to_event(1)
    arguments = {
        dist.CAR: (0.0, 0.5, 1.0, RING),
        dist.CirculantNormal: (jnp.zeros(4), None, jnp.ones(3)),
        dist.LowRankMultivariateNormal: (jnp.zeros(4), jnp.ones((4, 1)), jnp.ones(4)),
    }
    for pair in ((laplace, kind(*arguments[kind])), (kind(*arguments[kind]), laplace)):
        with pytest.raises(NoClosedForm, match=r"Independent\(Laplace\)"):
            kl_divergence(*pair)


OF_TWO_SIZES = {
    "LKJ": lambda: (dist.LKJ(2, 1.0), dist.LKJ(3, 1.0)),
    "random walk": lambda: (dist.GaussianRandomWalk(1.0, 3), dist.GaussianRandomWalk(1.0, 1)),
    "zero-sum": lambda: (dist.ZeroSumNormal(1.0, (3,)), dist.ZeroSumNormal(1.0, (1,))),
    "Wishart": lambda: (dist.Wishart(4.0, jnp.eye(3)), dist.Wishart(4.0, jnp.eye(1))),
    "matrix normal": lambda: (
        dist.MatrixNormal(jnp.zeros((2, 3)), jnp.eye(2), jnp.eye(3)),
        dist.MatrixNormal(jnp.zeros((1, 1)), jnp.eye(1), jnp.eye(1)),
    ),
}


@pytest.mark.divergences
@pytest.mark.parametrize("name", OF_TWO_SIZES)
def test_sizes_that_differ_are_an_error(name):
    p, q = OF_TWO_SIZES[name]()
    with pytest.raises(ValueError, match="event shape"):
        kl_divergence(p, q)


def test_copulas_of_different_marginals_are_refused():
    def copula(scale, marginal=dist.Normal):
        return dist.GaussianCopula(
            marginal(jnp.zeros(2), scale), correlation_cholesky=correlation_factor(jnp.asarray(0.5))
        )

    with pytest.raises(NoClosedForm, match="marginals are equal"):
        kl_divergence(copula(1.0), copula(2.0))
    with pytest.raises(NoClosedForm, match="marginals are equal"):
        kl_divergence(copula(1.0), copula(1.0, dist.Laplace))
    values = jax.jit(jax.vmap(lambda scale: kl_divergence(copula(scale), copula(1.0))))(jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(values, [0.0, np.nan])


def test_copulas_with_beta_marginals():
    factors = [correlation_factor(jnp.asarray(x)) for x in (0.5, -0.25)]
    p, q = (dist.GaussianCopulaBeta(jnp.array([2.0, 3.0]), 4.0, correlation_cholesky=f) for f in factors)
    gaussians = [dist.MultivariateNormal(jnp.zeros(2), scale_tril=f) for f in factors]
    assert float(kl_divergence(p, q)) == pytest.approx(float(kl_divergence(*gaussians)), rel=1e-6)


@pytest.mark.exhaustive
def test_slopes_of_a_large_batch_are_those_of_its_entries():
    """1,024 normals in 64 dimensions: two solves at once, one for each cotangent, never came back on two cores."""
    generator = np.random.default_rng(3)
    loc = jnp.asarray(generator.normal(size=(2, 1024, 64)), jnp.float32)
    tril = jnp.asarray(np.eye(64) + 0.05 * np.tril(generator.normal(size=(2, 1024, 64, 64))), jnp.float32)

    def total(loc, tril):
        p, q = (dist.MultivariateNormal(loc[i], scale_tril=tril[i]) for i in range(2))
        return kl_divergence(p, q).sum()

    slopes = jax.jit(jax.grad(total, argnums=(0, 1)))
    whole, few = slopes(loc, tril), slopes(loc[:, :4], tril[:, :4])
    for all_of_them, first in zip(whole, few, strict=True):
        np.testing.assert_allclose(all_of_them[:, :4], first, rtol=1e-5, atol=1e-5)
