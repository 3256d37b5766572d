"""The density on a grid, and bends of noise, against quadrature and SciPy."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from vi_kl.core.bends import bent, slopes_by_bend, unbent
from vi_kl.core.grid_density import GridDensity
from vi_kl.core.precision import in_float64

SHAPE = 6.0  # of the gamma variable whose logarithm is the skewed number below


def skewed() -> GridDensity:
    s = np.linspace(-1.5, 3.5, 401)
    return GridDensity.of_log_density(SHAPE * s - np.exp(s), [-1.5], [3.5])


def correlated() -> tuple[GridDensity, np.ndarray]:
    covariance = np.array([[1.0, 0.6], [0.6, 1.0]])
    axes = np.linspace(-4.5, 4.5, 91), np.linspace(-4.0, 4.0, 81)
    s = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    log_density = stats.multivariate_normal(np.zeros(2), covariance).logpdf(s)
    return GridDensity.of_log_density(log_density + 3.0, [-4.5, -4.0], [4.5, 4.0]), covariance


def test_it_is_normalised_with_its_tails():
    density = GridDensity.of_log_density(-0.5 * np.linspace(-1, 2, 31) ** 2, [-1], [2])
    ends = [-25.0, -1.0, 0.0, 1.0, 2.0, 25.0]  # much is beyond the grid
    pieces = []
    for a, b in itertools.pairwise(ends):
        s, weights = np.polynomial.legendre.leggauss(400)
        values = np.exp(density.log_prob((a + (b - a) * (s + 1) / 2)[:, None]))
        pieces.append((b - a) / 2 * weights @ values)
    assert sum(pieces) == pytest.approx(1.0, abs=1e-4)
    assert pieces[0] > 0.01


def test_a_normal_density_goes_on_falling_beyond_its_grid_as_it_does_at_the_ends():
    """Were it to fall faster there, the weights of a posterior that it is exact for would have a heavy tail."""
    density = GridDensity.of_log_density(-0.5 * np.linspace(-3.6, 3.6, 145) ** 2, [-3.6], [3.6])
    s = np.concatenate([np.linspace(-4.6, -3.6, 11), np.linspace(3.6, 4.6, 11)])[:, None]
    log_weights = stats.norm.logpdf(s[:, 0]) - density.log_prob(s)
    assert log_weights.max() < 0.05
    assert log_weights.min() > -1.0


def test_a_density_is_a_number_however_far_out():
    """Where the last cell ends its density is zero, and rounding must not take it below."""
    density = GridDensity.of_log_density(-0.5 * np.linspace(-1, 2, 301) ** 2, [-101], [-98])
    far, random = np.array([-1e9, -1e3, 1e3, 1e9])[:, None], np.random.default_rng(0)
    for _ in range(50):
        log_density = dataclasses.replace(density, tails=random.uniform(0.1, 1.0, (2, 1))).log_prob(far)
        assert np.isfinite(log_density).all()
        assert log_density.max() < -25


@pytest.mark.parametrize("u", [-2.5, -0.8, 0.3, 1.9])
def test_noise_goes_to_its_quantile_also_within_wide_cells(u):
    nodes = np.array([-1.0, 0.0, 1.0, 2.0])
    density = GridDensity.of_log_density(np.array([-1.0, 0.0, -2.0, -4.0]), [-1], [2])
    s = density.push(np.array([[u]]))[0][0, 0]
    ends = np.array([-30.0, *nodes[nodes < s], s])
    x, weights = np.polynomial.legendre.leggauss(200)
    below = 0.0
    for a, b in itertools.pairwise(ends):
        below += (b - a) / 2 * weights @ np.exp(density.log_prob((a + (b - a) * (x + 1) / 2)[:, None]))
    assert below == pytest.approx(stats.norm.cdf(u), abs=2e-4)


def test_draws_have_the_density_that_is_known():
    u = np.random.default_rng(0).standard_normal((4000, 1))
    s, log_q = skewed().push(u)
    true = stats.loggamma(SHAPE)
    assert stats.kstest(s[:, 0], true.cdf).pvalue > 0.01
    np.testing.assert_allclose(log_q, true.logpdf(s[:, 0]), atol=5e-3)
    assert (np.diff(s[np.argsort(u[:, 0]), 0]) > 0).all()


def test_two_numbers_and_their_correlation():
    density, covariance = correlated()
    s, log_q = density.push(np.random.default_rng(1).standard_normal((20_000, 2)))
    np.testing.assert_allclose(density.log_prob(s), log_q, atol=1e-9)
    ratio = log_q - stats.multivariate_normal(np.zeros(2), covariance).logpdf(s)
    assert abs(ratio.mean()) < 4 * ratio.std() / np.sqrt(len(ratio)) + 1e-4
    np.testing.assert_allclose(np.cov(s.T), covariance, atol=5 * np.sqrt(2 / len(s)))


@in_float64
def test_compiled_it_is_the_same():
    density, _ = correlated()
    u = np.random.default_rng(2).standard_normal((20, 2))
    s, log_q = density.push(u)
    compiled = jax.jit(lambda density, u: density.push(u))(density, u)
    np.testing.assert_allclose(compiled[0], s, atol=1e-9)
    np.testing.assert_allclose(compiled[1], log_q, atol=1e-9)
    np.testing.assert_allclose(jax.jit(lambda density, s: density.log_prob(s))(density, s), log_q, atol=1e-9)


@pytest.mark.parametrize("a", [0.0, 0.3, -0.7])
def test_bent_noise_keeps_mean_and_variance_and_is_unbent(a):
    moments = [quad(lambda u, k=k: stats.norm.pdf(u) * bent(u, np.array(a))[0] ** k, -12, 12)[0] for k in (1, 2, 3)]
    np.testing.assert_allclose(moments[:2], [0.0, 1.0], atol=1e-8)
    assert np.sign(moments[2]) == np.sign(a) or a == 0.0
    u, each = np.linspace(-5, 5, 21), np.full(21, a)
    v, log_slope = bent(u, each)
    np.testing.assert_allclose(unbent(v, each)[0], u, atol=1e-12)
    np.testing.assert_allclose(unbent(v, each)[1], log_slope, atol=1e-12)
    step = 1e-5
    difference = (bent(u + step, each)[0] - bent(u - step, each)[0]) / (2 * step)
    np.testing.assert_allclose(np.exp(log_slope), difference, rtol=1e-8)
    by_image, by_slope = slopes_by_bend(u, each)
    np.testing.assert_allclose(by_image, (bent(u, each + step)[0] - bent(u, each - step)[0]) / (2 * step), atol=1e-7)
    np.testing.assert_allclose(by_slope, (bent(u, each + step)[1] - bent(u, each - step)[1]) / (2 * step), atol=1e-7)
