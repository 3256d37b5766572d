"""Quadrature truth against closed forms: Gaussian, skewed, heavy-tailed and two-mode cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import exponential_rate
from scipy import integrate, stats
from scipy.special import gammaln

from vi_kl.target import Target
from vi_kl.truth import truth_by_quadrature
from vi_kl.truth.quadrature import QuadratureError

COVARIANCE = np.array([[4.0, 1.9, 0.3], [1.9, 1.0, 0.1], [0.3, 0.1, 0.5]])


def gaussian(z):
    return -0.5 * z @ jnp.linalg.solve(jnp.asarray(COVARIANCE[: len(z), : len(z)]), z)


def skewed(z):
    """log of a Gumbel density in the first coordinate, and a normal whose mean bends with it."""
    return -z[0] - jnp.exp(-z[0]) - 0.5 * (z[1] - 0.5 * z[0] ** 2) ** 2


def student(z):
    return -3.0 * jnp.log1p(z[0] ** 2 / 5)


def two_modes(z):
    """0.25 N(-3, 0.5) + 0.75 N(4, 1), unnormalised by a factor 2."""
    parts = (
        jnp.array([0.25, 0.75])
        / jnp.array([0.5, 1.0])
        * jnp.exp(-0.5 * ((z[0] - jnp.array([-3.0, 4.0])) / jnp.array([0.5, 1.0])) ** 2)
    )
    return jnp.log(2 * parts.sum() / jnp.sqrt(2 * jnp.pi))


@pytest.mark.parametrize(
    ("function", "dim", "expected"),
    [
        (gaussian, 1, 0.5 * np.log(2 * np.pi * 4.0)),
        (gaussian, 2, 0.5 * np.linalg.slogdet(2 * np.pi * COVARIANCE[:2, :2])[1]),
        (gaussian, 3, 0.5 * np.linalg.slogdet(2 * np.pi * COVARIANCE)[1]),
        (skewed, 2, 0.5 * np.log(2 * np.pi)),
        (two_modes, 1, np.log(2.0)),
    ],
)
def test_log_evidence_within_its_own_error(function, dim, expected):
    truth = truth_by_quadrature(Target.from_log_density(function, dim))
    assert abs(truth.log_evidence.value - expected) <= max(truth.log_evidence.standard_error, 1e-10)
    assert truth.log_evidence.standard_error < 1e-6


def test_two_modes_have_the_right_moments():
    truth = truth_by_quadrature(Target.from_log_density(two_modes, 1))
    mean = 0.25 * -3 + 0.75 * 4
    sd = np.sqrt(0.25 * (9 + 0.25) + 0.75 * (16 + 1) - mean**2)
    np.testing.assert_allclose(truth.moments["z"].mean, [mean], rtol=1e-6)
    np.testing.assert_allclose(truth.moments["z"].sd, [sd], rtol=1e-6)
    assert "2 modes" in truth.log_evidence.method


def test_a_heavy_tail_is_either_integrated_or_its_error_owned_up_to():
    expected = integrate.quad(lambda x: (1 + x**2 / 5) ** -3.0, -np.inf, np.inf)[0]
    target = Target.from_log_density(student, 1)
    truth = truth_by_quadrature(target, tolerance=1e-2)
    assert abs(truth.log_evidence.value - np.log(expected)) <= truth.log_evidence.standard_error


def test_it_agrees_with_a_conjugate_posterior_from_numpyro():
    y = np.array([0.4, 1.3, 0.9, 0.1])
    truth = truth_by_quadrature(Target.from_numpyro(exponential_rate, y))
    a, b = 3 + len(y), 2 + y.sum()
    expected = 3 * np.log(2) - gammaln(3) + gammaln(a) - a * np.log(b)
    np.testing.assert_allclose(truth.log_evidence.value, expected, atol=1e-8)
    np.testing.assert_allclose(truth.moments["rate"].mean, a / b, rtol=1e-6)
    np.testing.assert_allclose(truth.moments["rate"].sd, np.sqrt(a) / b, rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "dim", "cdf"),
    [
        (skewed, 2, stats.gumbel_r.cdf),
        (two_modes, 1, lambda x: 0.25 * stats.norm.cdf(x, -3, 0.5) + 0.75 * stats.norm.cdf(x, 4, 1)),
    ],
)
def test_draws_follow_the_exact_distribution(function, dim, cdf):
    truth = truth_by_quadrature(Target.from_log_density(function, dim))
    z = truth.sample(jax.random.key(3), 20_000)
    assert z.shape == (20_000, dim)
    assert stats.kstest(z[:, 0], cdf).pvalue > 1e-3
    assert np.array_equal(z, truth.sample(jax.random.key(3), 20_000))


def test_refusals():
    with pytest.raises(QuadratureError, match="3 dimensions"):
        truth_by_quadrature(Target.from_log_density(lambda z: -jnp.sum(z**2), 4))
    with pytest.raises(QuadratureError, match="proper"):
        truth_by_quadrature(Target.from_log_density(lambda z: 0.0 * z[0], 1))
    with pytest.raises(QuadratureError, match="tolerance"):
        truth_by_quadrature(Target.from_log_density(student, 1), tolerance=1e-12)
