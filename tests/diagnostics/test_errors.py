"""Errors of means, sds, quantiles and correlations against closed forms; transport against its formula; densities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diagnostics.members import full_rank, log_gamma, normal_on_line
from scipy import stats

from vi_kl.diagnostics import check
from vi_kl.diagnostics.density import density_excess
from vi_kl.diagnostics.errors import correlations, summarise, weighted_quantiles
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.planted_failures import healthy, no_jacobian
from vi_kl.diagnostics.wasserstein import wasserstein
from vi_kl.target import Target
from vi_kl.truth import truth_by_quadrature


def skewed_certificate(key):
    target = Target.from_log_density(log_gamma, 1, truth=truth_by_quadrature)
    return check(normal_on_line(target, 0.9, 0.8), key=key)


def test_quantile_errors_on_a_skewed_posterior(key):
    errors = skewed_certificate(key).errors.sites["z"]
    p, q = stats.loggamma(3), stats.norm(0.9, 0.8)
    expected = (q.ppf([0.05, 0.5, 0.95]) - p.ppf([0.05, 0.5, 0.95])) / p.std()
    np.testing.assert_allclose(errors.quantile_errors[:, 0], expected, atol=5 * 2.1 * errors.noise)
    assert errors.worst_quantile == pytest.approx(np.abs(expected).max(), abs=0.1)


def test_importance_weights_correct_what_they_can(key):
    """q a little too wide has light weights: corrected means and sds are the posterior's."""
    c = skewed_certificate(key)
    assert c.k_hat < 0.7
    assert c.errors.worst_sd > 1.2
    assert abs(np.log(c.corrected.worst_sd)) < 6 * c.corrected.sites["z"].noise
    assert c.corrected.worst_mean < 4 * c.corrected.sites["z"].noise
    assert "Importance weights mend that" in c.verdict


def test_correlation_error_in_the_models_space(key):
    covariance = np.array([[1.0, 0.8], [0.8, 1.0]])
    precision = jnp.asarray(np.linalg.inv(covariance))
    target = Target.from_log_density(lambda z, p: -0.5 * z @ p @ z, 2, data=precision, truth=truth_by_quadrature)
    c = check(full_rank(target, np.zeros(2), np.eye(2)), key=key)
    assert c.errors.correlation == pytest.approx(0.8, abs=0.03)
    assert c.errors.worst_sd == pytest.approx(1.0, abs=0.03)


def test_weighted_summaries_are_those_of_repeated_draws():
    rng = np.random.default_rng(0)
    values, times = rng.normal(size=(400, 2)), rng.integers(0, 4, 400)
    repeated, weights = np.repeat(values, times, axis=0), times / times.sum()
    ours = summarise(values, weights)
    np.testing.assert_allclose(ours.mean, repeated.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(ours.sd, repeated.std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(ours.quantiles, np.quantile(repeated, [0.05, 0.5, 0.95], axis=0), atol=0.06)
    np.testing.assert_allclose(
        correlations({"a": values}, weights), np.corrcoef(repeated, rowvar=False), rtol=1e-12
    )  # fmt: skip
    shaped = weighted_quantiles(values.reshape(400, 2, 1), weights)
    np.testing.assert_array_equal(shaped[..., 0], ours.quantiles)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (2.0, 1.0), (0.0, 2.0)])
def test_transport_between_normals(shift, scale):
    """W2 between N(0, 1) and N(a, s^2) is sqrt(a^2 + (1 - s)^2), and between equals it is the floor."""
    rng = np.random.default_rng(1)
    distance = wasserstein(shift + scale * rng.normal(size=(4000, 1)), rng.normal(size=(4000, 1)), rng)
    expected = np.hypot(shift, 1 - scale)
    assert abs(np.sqrt(max(distance.value**2 - distance.floor**2, 0)) - expected) < 0.15
    assert distance.floor < 0.25
    if expected == 0:
        assert distance.value < 2 * distance.floor


def test_a_density_without_its_jacobian_is_found_out(key):
    for seed in range(5):
        wrong, right = no_jacobian(seed), healthy(seed)
        assert density_excess(wrong, Draws(wrong, key, 8192), key) > 0.1
        assert density_excess(right, Draws(right, key, 8192), key) == 0.0
    certificate = check(wrong, key=key)
    assert certificate.label == "unknown"
    assert "log q is not the log density" in certificate.verdict
    assert "contradict" in certificate.verdict


def test_densities_of_skewed_members_raise_no_false_alarm():
    target = Target.from_log_density(log_gamma, 1)
    q = normal_on_line(target, 0.5, 3.0)
    excess = [density_excess(q, Draws(q, key, 2048), key) for key in jax.random.split(jax.random.key(0), 20)]
    assert excess == [0.0] * 20
