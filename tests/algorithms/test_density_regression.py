"""Regression on log densities and gradients: what it costs, and how near it comes, against known evidences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammaln

import vi_kl
from vi_kl.algorithms import DensityRegression
from vi_kl.families import Skewed
from vi_kl.families.frame import Frame
from vi_kl.targets import Target

LOG_EVIDENCE = np.log(2 * np.pi * 2.0 * 0.5)


def bent(z):
    """A banana of known evidence: a normal coordinate, and another that follows its square."""
    return -0.5 * z[0] ** 2 / 4 - 0.5 * ((z[1] - z[0] ** 2 / 4) / 0.5) ** 2


def kl(fit, log_evidence):
    """KL(q||posterior) from the known evidence, and its standard error."""
    z, log_q = fit.approximation.sample_and_log_prob(jax.random.key(7), 8192)
    log_ratio = np.asarray(fit.target.log_density(z)) - log_q
    return log_evidence - log_ratio.mean(), log_ratio.std() / np.sqrt(len(log_ratio))


@pytest.mark.exhaustive
def test_a_banana_takes_a_few_thousand_gradients(key):
    target = Target.from_log_density(bent, 2)
    normal = vi_kl.fit(target, "full_rank", key=key)
    fit = DensityRegression().fit(key, target, start=normal)
    found, error = kl(fit, LOG_EVIDENCE)
    assert found < 0.02 + 4 * error
    assert found < 0.1 * kl(normal, LOG_EVIDENCE)[0]
    assert fit.cost.gradient_evaluations <= DensityRegression().most_gradients
    assert fit.status.converged


def log_gamma(z):
    """The log of a gamma variable of shape 2, in one dimension."""
    return jnp.sum(2.0 * z - jnp.exp(z))


@pytest.mark.landing
def test_it_fits_other_families_and_says_how_near_they_are(key):
    target = Target.from_log_density(log_gamma, 1)
    fit = DensityRegression(Skewed()).fit(key, target, start=Frame.of([0.4], [[0.75]]))
    found, error = kl(fit, gammaln(2.0))
    assert found < 0.01 + 4 * error
    assert fit.status.converged


def test_points_without_a_density_count_for_nothing(key):
    target = Target.from_log_density(lambda z: jnp.where(z[0] < -2.5, -jnp.inf, -0.5 * jnp.sum(z**2)), 2)
    fit = DensityRegression().fit(key, target, start=Frame.around(np.zeros(2), 1.0))
    z = fit.approximation.sample_and_log_prob(key, 1000)[0]
    assert np.isfinite(z).all()
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=0.15)


def test_numbers_of_draws_are_even():
    with pytest.raises(ValueError, match="num_draws must be even"):
        DensityRegression(num_draws=7)


def test_a_flow_far_below_what_there_is_is_given_up(key):
    """No flow comes near an ELBO above the evidence."""
    target = Target.from_log_density(bent, 2)
    algorithm = DensityRegression(num_draws=8, more_draws=8, elbo_to_beat=LOG_EVIDENCE + 2.0)
    fit = algorithm.fit(key, target)
    assert len(fit.history.loss) == 1
    assert not fit.status.converged
    assert "Given up after" in fit.status.message


@pytest.mark.parametrize("max_rounds", [1, 2, 4])
def test_the_most_gradients_are_those_that_a_fit_without_end_takes(max_rounds):
    algorithm = DensityRegression(num_draws=16, more_draws=8, max_rounds=max_rounds, max_steps=2, tolerance=1e-9)
    fit = algorithm.fit(
        0,
        Target.from_log_density(lambda z: -0.5 * z[0] ** 2 - jnp.cosh(z[1]), 2),
        start=Frame.of(np.zeros(2), np.eye(2)),
    )
    assert fit.cost.gradient_evaluations == algorithm.most_gradients
    assert algorithm.most_gradients == {1: 24, 2: 16 + 16 + 8, 4: 2 * (16 + 2 * 8) + 8}[max_rounds]
