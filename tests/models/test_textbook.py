"""The classics: their densities and log evidences against SciPy, and whether reference runs of them can be trusted."""

import jax
import numpy as np
import pytest
from scipy import integrate, stats

from vi_kl.models.textbook import (
    CLASSICS,
    EFFECTS,
    STANDARD_ERRORS,
    TARGETS,
    eight_schools_centred,
    eight_schools_noncentred,
    logistic_regression,
    simulated_logistic_data,
)
from vi_kl.reference import Annealing, UntrustworthyReference
from vi_kl.reference.mcmc.reference_run import reference_run

KEY = jax.random.key(20261123)


def eight_schools_log_evidence() -> float:
    """The schools' effects integrated out by algebra, mu and log tau by SciPy."""

    def density(log_tau, mu):
        tau = np.exp(log_tau)
        log_likelihood = stats.norm.logpdf(EFFECTS, mu, np.hypot(STANDARD_ERRORS, tau)).sum()
        return np.exp(log_likelihood + 31 + stats.norm.logpdf(mu, 0, 5) + stats.halfcauchy.logpdf(tau, 0, 5) + log_tau)

    return np.log(integrate.dblquad(density, -35, 35, -12, 10, epsabs=1e-6)[0]) - 31


def test_eight_schools_densities_against_scipy():
    mu, tau, raw = 3.0, 4.0, np.linspace(-1, 2, 8)
    theta = mu + tau * raw
    prior = stats.norm.logpdf(mu, 0, 5) + stats.halfcauchy.logpdf(tau, 0, 5) + np.log(tau)
    likelihood = stats.norm.logpdf(EFFECTS, theta, STANDARD_ERRORS).sum()
    centred = eight_schools_centred()
    z = centred.unconstrain({"mu": mu, "tau": tau, "theta": theta})
    expected = prior + stats.norm.logpdf(theta, mu, tau).sum() + likelihood
    np.testing.assert_allclose(centred.log_density(z), expected, rtol=1e-12)
    noncentred = eight_schools_noncentred()
    z = noncentred.unconstrain({"mu": mu, "tau": tau, "theta_trans": raw})
    np.testing.assert_allclose(noncentred.log_density(z), prior + stats.norm.logpdf(raw).sum() + likelihood, rtol=1e-12)


@pytest.mark.exhaustive
def test_eight_schools_noncentred_is_trusted_and_agrees_with_quadrature():
    reference = reference_run(eight_schools_noncentred(), key=KEY)
    assert reference.complaints == ()
    exact = eight_schools_log_evidence()
    for estimate in (reference.log_evidence, reference.second_opinion):
        low, high = estimate.interval(0.999)
        assert low < exact < high
    assert reference.log_evidence.standard_error < 0.01


@pytest.mark.exhaustive
def test_eight_schools_centred_is_refused():
    with pytest.raises(UntrustworthyReference, match="non-centred"):
        reference_run(eight_schools_centred(), key=KEY)


@pytest.mark.exhaustive
def test_eight_schools_centred_with_care_still_tells_of_its_funnel():
    settings = {"target_accept_prob": 0.99, "num_warmup": 2000, "num_draws": 10_000}
    reference = reference_run(eight_schools_centred(), key=KEY, on_failure="keep", **settings)
    assert any("E-BFMI" in sentence for sentence in reference.complaints)
    assert abs(reference.log_evidence.value - eight_schools_log_evidence()) < 0.2


@pytest.mark.exhaustive
def test_logistic_regression_in_three_ways():
    target = logistic_regression(rows=60, predictors=2)
    exact = target.reference
    assert exact.log_evidence.standard_error < 1e-6
    run = reference_run(target, key=KEY, num_draws=1000, annealing=Annealing(num_particles=64))
    for estimate in (run.log_evidence, run.second_opinion):
        low, high = estimate.interval(0.999)
        assert low < exact.log_evidence.value < high
    for name, moments in run.moments.items():
        assert (np.abs(moments.mean - exact.moments[name].mean) < 4 * moments.error * exact.moments[name].sd).all()
        np.testing.assert_allclose(moments.sd, exact.moments[name].sd, rtol=0.1)


@pytest.mark.exhaustive
def test_logistic_regression_of_the_default_size_without_a_truth():
    assert logistic_regression().reference is None
    run = reference_run(logistic_regression(), key=KEY)
    assert run.log_evidence.agrees_with(run.second_opinion)


def test_logistic_data_are_fixed_and_their_density_is_scipys():
    x, y = simulated_logistic_data(200, 3)
    again = simulated_logistic_data(200, 3)
    np.testing.assert_array_equal(x, again[0])
    np.testing.assert_array_equal(y, again[1])
    intercept, slopes = 0.3, np.array([1.0, -2.0, 0.5])
    prior = stats.norm.logpdf([intercept, *slopes], 0, 2.5).sum()
    likelihood = stats.bernoulli.logpmf(y, 1 / (1 + np.exp(-intercept - x @ slopes))).sum()
    z = logistic_regression().unconstrain({"intercept": intercept, "slopes": slopes})
    np.testing.assert_allclose(logistic_regression().log_density(z), prior + likelihood, rtol=1e-10)


def test_logistic_regression_refuses_nothing_to_regress_on():
    for name in ("rows", "predictors"):
        with pytest.raises(ValueError, match=name):
            logistic_regression(**{name: 0})


def test_densities_without_data_against_scipy():
    """Neal's funnel and the banana: all sites are real, so that no Jacobian enters."""
    funnel, banana = TARGETS["funnel"](), TARGETS["banana"]()
    v, x = -1.7, np.linspace(-2, 1, 9)
    expected = stats.norm.logpdf(v, 0, 3) + stats.norm.logpdf(x, 0, np.exp(v / 2)).sum()
    np.testing.assert_allclose(funnel.log_density(funnel.unconstrain({"v": v, "x": x})), expected, rtol=1e-12)
    x, y = 7.0, -4.0
    expected = stats.norm.logpdf(x, 0, 10) + stats.norm.logpdf(y, 0.03 * (x**2 - 100), 1)
    np.testing.assert_allclose(banana.log_density(banana.unconstrain({"x": x, "y": y})), expected, rtol=1e-12)


def test_moments_without_data_against_quadrature():
    """The spread of the funnel's x and of the banana's y, by SciPy over what they depend on."""
    funnel, banana = TARGETS["funnel"]().reference, TARGETS["banana"]().reference
    variance = integrate.quad(lambda v: np.exp(v) * stats.norm.pdf(v, 0, 3), -30, 60, epsabs=0, limit=200)[0]
    np.testing.assert_allclose(funnel.moments["x"].sd, np.sqrt(variance), rtol=1e-7)
    second = integrate.quad(lambda x: (1 + (0.03 * (x**2 - 100)) ** 2) * stats.norm.pdf(x, 0, 10), -200, 200)[0]
    np.testing.assert_allclose(banana.moments["y"].sd, np.sqrt(second), rtol=1e-7)


def test_poisson_regression_against_scipy():
    target = TARGETS["poisson_regression"]()
    of_type, of_years, of_period, intercept = np.array([0.3, -0.7, 0.1, 0.4]), np.array([0.7, 0.8, 0.4]), 0.4, -6.4
    kind, built, late, service, incidents = CLASSICS["poisson_regression"].data()
    assert len(incidents) == 34
    assert incidents.sum() == 356
    log_rate = intercept + np.append(0.0, of_type)[kind] + np.append(0.0, of_years)[built] + of_period * late
    expected = stats.poisson.logpmf(incidents, service * np.exp(log_rate)).sum()
    expected += stats.norm.logpdf(intercept, -6, 5) + stats.norm.logpdf([*of_type, *of_years, of_period], 0, 2.5).sum()
    sites = {"intercept": intercept, "of_type": of_type, "of_years": of_years, "of_period": of_period}
    np.testing.assert_allclose(target.log_density(target.unconstrain(sites)), expected, rtol=1e-10)
