"""Errors of means, sds, quantiles and correlations against closed forms; transport against its formula; densities."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from diagnostics.members import full_rank, log_gamma, normal_on_line
from scipy import stats

from vi_kl.diagnostics import check
from vi_kl.diagnostics.density import density_excess
from vi_kl.diagnostics.errors import (
    ReferenceSummary,
    SiteErrors,
    Summary,
    correlations,
    errors,
    summarise,
    summary_from_weights,
    summary_of_reference,
    weighted_quantiles,
)
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.wasserstein import wasserstein
from vi_kl.reference import reference_by_quadrature
from vi_kl.targets import Target
from vi_kl.targets.target import constrain_in_chunks
from vi_kl.workflows.planted_failures import healthy, no_jacobian


def skewed_certificate(key):
    target = Target.from_log_density(log_gamma, 1, reference=reference_by_quadrature)
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
    target = Target.from_log_density(
        lambda z, p: -0.5 * z @ p @ z, 2, data=precision, reference=reference_by_quadrature
    )
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


# Entries without a unit, and the rule by which an error is notable -------------------------------------------------


def reference(summaries: dict, noise: float = 0.0) -> ReferenceSummary:
    return ReferenceSummary(summaries, None, dict.fromkeys(summaries, noise), "a formula")


def summary(law) -> Summary:
    return Summary(np.array([law.mean()]), np.array([law.std()]), law.ppf([[0.05], [0.5], [0.95]]))


def constrained(target, z) -> dict:
    with jax.enable_x64(True):
        return constrain_in_chunks(target, z)


def correlation_factor():
    numpyro.sample("factor", dist.LKJCholesky(3, 2.0))


@pytest.mark.exhaustive
def test_entries_that_do_not_vary_have_no_error(key):
    """The first row of a Cholesky factor of a correlation, whose sd by quadrature is rounding and not zero."""
    target = Target.from_numpyro(correlation_factor)
    truth = reference_by_quadrature(target)
    ours = truth.sample(jax.random.key(1), 4000)
    sites = constrained(target, ours)
    posterior = truth.draws(key, 4000)
    weights = np.random.default_rng(0).dirichlet(np.ones(4000))
    by_truth, by_weights = summary_of_reference(target, truth, posterior), summary_from_weights(sites, weights)
    for against in (by_truth, by_weights):
        for found in (errors(sites, against), errors(sites, against, weights)):
            site = found.sites["factor"]
            assert site.mean_error[0, 0] == 0
            assert site.sd_ratio[0, 0] == 1
            assert not site.quantile_errors[:, 0].any()
            assert abs(np.log(found.worst_sd)) < 5 * site.log_sd_noise < 0.3
            assert found.worst_mean < 5 * site.noise < 0.3
            assert found.correlation < 0.15
            assert not found.notable
    factor = np.corrcoef(sites["factor"].reshape(4000, -1)[:, 3:7:3], rowvar=False)[0, 1]
    flat = correlations(sites)
    assert np.isnan(flat[0]).all()
    assert flat[3, 6] == pytest.approx(factor, rel=1e-9)


def test_a_member_without_width_is_off_though_it_does_not_vary():
    """It is the posterior that has to vary for there to be an error; a q that is a point is as wrong as can be."""
    for width in (0.0, 1e-12):
        draws = 3.0 + width * np.random.default_rng(0).normal(size=(1000, 1))
        found = errors({"z": draws}, reference({"z": summary(stats.norm(2.0, 1.0))}))
        assert found.sites["z"].mean_error[0] == pytest.approx(1.0)
        assert found.worst_sd < 1e-9
        assert np.isfinite(np.log(found.worst_sd))
        assert found.worst_sites == ["z"]


@pytest.mark.parametrize("law", [stats.cauchy(1.0, 2.0), stats.invgamma(0.8), stats.invgamma(1.5)])
def test_where_the_posterior_has_no_moments_quantiles_are_compared_in_their_own_range(law):
    rng = np.random.default_rng(2)
    sites = {"heavy": law.rvs((40_000, 1), random_state=rng), "light": rng.normal(0.5, 1.0, size=(40_000, 1))}
    found = errors(sites, reference({"heavy": summary(law), "light": summary(stats.norm(0.0, 1.0))}))
    heavy = found.sites["heavy"]
    assert np.isnan(heavy.mean_error).all()
    assert np.isnan(heavy.sd_ratio).all()
    assert np.isnan([heavy.worst_mean, heavy.worst_sd]).all()
    assert not heavy.is_off
    unit = (law.ppf(0.95) - law.ppf(0.05)) / (2 * stats.norm.ppf(0.95))
    expected = (np.quantile(sites["heavy"][:, 0], [0.05, 0.5, 0.95]) - law.ppf([0.05, 0.5, 0.95])) / unit
    np.testing.assert_allclose(heavy.quantile_errors[:, 0], expected, rtol=1e-9)
    assert heavy.worst_quantile < 0.2
    assert found.without_moments == ["heavy"]
    assert found.worst_mean == pytest.approx(0.5, abs=0.03)
    assert found.worst_sd == pytest.approx(1.0, abs=0.03)
    assert found.worst_quantile == pytest.approx(0.5, abs=0.06)
    assert found.worst_sites == ["light"]
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["sites"]["heavy"]["mean_error"] == [None]
    assert plain["without_moments"] == ["heavy"]


def test_without_any_moments_the_worst_is_nan():
    draws = stats.cauchy.rvs(size=(5000, 1), random_state=0)
    found = errors({"z": draws}, reference({"z": summary(stats.cauchy())}))
    assert np.isnan([found.worst_mean, found.worst_sd]).all()
    assert found.worst_quantile < 0.2
    assert found.worst_sites == []
    assert not found.notable


def test_quadrature_of_a_heavy_tail_claims_no_moments(key):
    """Its finite sums over a Cauchy are no moments."""
    target = Target.from_log_density(lambda z: -jnp.log1p(z[0] ** 2), 1)
    truth = reference_by_quadrature(target)
    ours = constrained(target, truth.sample(jax.random.key(1), 20_000))
    found = errors(ours, summary_of_reference(target, truth, truth.draws(key, 20_000)))
    assert found.without_moments == ["z"]
    assert np.isnan(found.worst_mean)
    assert 0 < found.worst_quantile < 0.3


def test_moments_that_overflow_are_infinitely_far_off():
    draws = np.array([[1.0], [2.0], [np.inf], [3.0]])
    with np.errstate(invalid="ignore"):
        found = errors({"z": draws}, reference({"z": summary(stats.norm(2.0, 1.0))}))
    assert found.worst_mean == found.worst_sd == np.inf
    assert found.notable


@pytest.mark.parametrize("ratio", [0.2, 1.0, 5.0])
def test_the_noise_of_a_mean_is_that_of_the_wider_of_the_two(ratio):
    rng = np.random.default_rng(4)
    posterior = reference({"z": summary(stats.norm(0.0, 1.0))}, noise=0.02)
    means = 0.02 * rng.normal(size=(400, 1))  # the reference's own error, which `errors` cannot see
    found = [errors({"z": m + ratio * rng.normal(size=(100, 1))}, posterior).sites["z"] for m in means]
    assert np.std([site.mean_error[0] for site in found]) == pytest.approx(np.mean([s.noise for s in found]), rel=0.15)
    log_sds = np.std([np.log(site.sd_ratio[0]) for site in found])
    assert 0.6 < log_sds / found[0].log_sd_noise < 1.0


@pytest.mark.parametrize(
    ("mean", "ratio", "own", "others", "off"),
    [
        (0.11, 1.0, 0.0, 0.0, True),
        (0.09, 1.0, 0.0, 0.0, False),
        (0.0, np.exp(0.11), 0.0, 0.0, True),
        (0.0, np.exp(-0.11), 0.0, 0.0, True),
        (0.0, np.exp(-0.09), 0.0, 0.0, False),
        (0.2, 1.0, 0.03, 0.0, True),
        (0.2, 1.0, 0.03, 0.03, False),
        (0.2, 0.95, 0.034, 0.0, True),  # 0.1 + 3 * 0.95 * 0.034 = 0.197
        (0.2, 1.0, 0.034, 0.0, False),
        (-5.0, np.nan, 0.03, np.inf, False),
    ],
)
def test_what_is_off_is_more_than_small_and_more_than_noise(mean, ratio, own, others, off):
    site = SiteErrors(np.array([0.0, mean]), np.array([1.0, ratio]), np.zeros((3, 2)), own, others)
    assert site.is_off == off


@pytest.mark.landing
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
