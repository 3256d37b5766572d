"""The classics: their densities and log evidences against SciPy, and whether reference runs of them can be trusted."""

import jax
import numpy as np
import pytest
from scipy import integrate, stats

from vi_kl.models.textbook import (
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


def test_every_target_is_ready():
    assert {name: make().dim for name, make in TARGETS.items()} == {
        "eight_schools_centred": 10,
        "eight_schools_noncentred": 10,
        "logistic_regression": 4,
    }
