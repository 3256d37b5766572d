"""Natural gradients: exact on normals in one step, the known optimum of a skewed target, truthful stopping."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import eight_schools_log_evidence, elbo, hard_gaussian, kl_to_gaussian, log_gamma, moments, two_bumps
from scipy.optimize import approx_fprime

from vi_kl.algorithms import FitError, NaturalGradient, fit
from vi_kl.algorithms.algorithm import CostCounter
from vi_kl.algorithms.natural_steps import elbo_at, step_from
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.precision import in_float64
from vi_kl.core.scales import Root
from vi_kl.families import Flow, MeanField
from vi_kl.families.frame import Frame
from vi_kl.models.textbook import eight_schools_centred
from vi_kl.objectives.noise import enough_draws, matched_noise
from vi_kl.targets import Target
from vi_kl.targets.target import value_and_grad_batch


@pytest.mark.parametrize("dim", [2, pytest.param(50, marks=pytest.mark.exhaustive)])
def test_a_badly_scaled_gaussian_from_a_bad_start(dim, key):
    """From a narrow normal elsewhere: a step may widen it fourfold in variance, so it takes a few."""
    target, mean, precision = hard_gaussian(dim)
    found = NaturalGradient().fit(key, target, start=Frame.around(np.zeros(dim), 0.1))
    assert found.status.converged
    assert kl_to_gaussian(found, mean, precision) < 1e-9
    assert found.cost.gradient_evaluations < 4000


@in_float64
def test_one_step_is_exact_on_a_gaussian():
    """Where the change of the precision is within what a step may do."""
    target, mean, precision = hard_gaussian(3, condition=5.0)
    root = np.linalg.inv(np.linalg.cholesky(precision)).T @ np.diag([1.5, 0.7, 1.0])
    noise = matched_noise(np.random.default_rng(0), 64, 3)
    after = step_from(elbo_at(target, Gaussian(mean + 1.0, Root(root)), noise, CostCounter()), 1.0, None)
    np.testing.assert_allclose(after.loc, mean, rtol=1e-10)
    np.testing.assert_allclose(after.covariance, np.linalg.inv(precision), rtol=1e-9)


def test_mean_field_is_the_known_optimum(key):
    """Precisions are the diagonal of the target's, and the means are its own."""
    target, mean, precision = hard_gaussian(5)
    params = NaturalGradient(MeanField()).fit(key, target).approximation.params
    np.testing.assert_allclose(np.exp(params["log_scale"]), 1 / np.sqrt(np.diag(precision)), rtol=1e-6)
    np.testing.assert_allclose(params["loc"], mean, rtol=1e-6)


@pytest.mark.parametrize("shape", [1.0, 6.0])
def test_the_best_normal_for_a_skewed_target(shape, key):
    """Variance 1/a and mean log(a/b) - 1/(2a), within a few tolerances."""
    config = NaturalGradient(tolerance=0.002, max_draws=16384)
    found = config.fit(key, log_gamma(shape, 3.0))
    loc, covariance = moments(found)
    assert found.status.converged
    assert np.sqrt(covariance[0, 0] * shape) == pytest.approx(1, abs=0.005)
    assert (loc[0] - np.log(shape / 3.0) + 1 / (2 * shape)) * np.sqrt(shape) == pytest.approx(0, abs=0.005)


def test_two_modes_get_one_of_them(key):
    loc, covariance = moments(fit(two_bumps(), "natural_gradient", key=key))
    np.testing.assert_allclose(np.abs(loc), 4, atol=0.01)
    np.testing.assert_allclose(covariance, np.eye(2), atol=0.02)


@pytest.mark.exhaustive
def test_the_best_normal_of_the_eight_schools_centred(key):
    """Stochastic gradients of four seeds and up to 20,000 steps ended 1.28 to 1.54 nats from the evidence."""
    found = NaturalGradient(max_draws=512).fit(key, eight_schools_centred())
    value, error = elbo(found, key)
    assert eight_schools_log_evidence() - value < 1.30 + 4 * error
    assert found.cost.gradient_evaluations < 100_000


def skewed(z, data):
    return -0.5 * jnp.sum((z / data) ** 2) - jnp.sum(jnp.exp(z)) + z[0] * z[1]


@in_float64
def test_steps_follow_the_gradient_of_the_fixed_noise_elbo():
    """The slope and A - I against finite differences of the ELBO along the mean and symmetric changes of the root."""
    target = Target.from_log_density(skewed, 2, data=np.array([1.0, 2.0]))
    noise = matched_noise(np.random.default_rng(3), 64, 2)
    normal = Gaussian(np.array([0.1, -0.4]), Root(np.array([[0.7, 0.1], [-0.2, 0.5]])))

    def objective(v):
        change = np.eye(2) + np.array([[v[2], v[3]], [v[3], v[4]]])
        moved = Gaussian(normal.unwhiten(v[:2]), Root(normal.scale.matmul(change)))
        return value_and_grad_batch(target, moved.unwhiten(noise))[0].mean() + moved.entropy

    seen = elbo_at(target, normal, noise, CostCounter())
    away = np.eye(2) - seen.curvature
    expected = np.array([*seen.slope, away[0, 0], 2 * away[0, 1], away[1, 1]])
    np.testing.assert_allclose(approx_fprime(np.zeros(5), objective, 1e-6), expected, rtol=1e-4, atol=1e-5)
    assert seen.elbo == pytest.approx(objective(np.zeros(5)), rel=1e-12)


@pytest.mark.parametrize(("num_draws", "dim"), [(64, 1), (64, 16), (256, 64)])
def test_noise_has_its_moments_exactly(num_draws, dim):
    noise = matched_noise(np.random.default_rng(0), num_draws, dim)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(noise.T @ noise / num_draws, np.eye(dim), atol=1e-12)
    assert enough_draws(64, 33) == 256


def test_status_is_truthful(key):
    target = log_gamma(0.5, 2.0)
    short = NaturalGradient(max_steps=2, max_draws=256).fit(key, target)
    assert not short.status.converged
    assert "max_steps" in str(short.status)
    noisy = NaturalGradient(tolerance=0.005, max_draws=256).fit(key, target)
    assert not noisy.status.converged
    assert "max_draws" in str(noisy.status)


def test_same_key_same_answer(key):
    first, second = (NaturalGradient().fit(key, log_gamma()) for _ in range(2))
    for a, b in zip(*map(jax.tree.leaves, (first.approximation.params, second.approximation.params)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.float64
    assert first.cost.gradient_evaluations == second.cost.gradient_evaluations > 0
    assert len(first.history.loss) >= 1


def test_refusals(key):
    with pytest.raises(FitError, match="normals only, not for 'iaf'"):
        NaturalGradient(Flow()).fit(key, two_bumps())
    wide = Target.from_log_density(lambda z: -jnp.sum(z**2), 2001)
    with pytest.raises(FitError, match="MeanField"):
        NaturalGradient().fit(key, wide)
    bounded = Target.from_log_density(lambda z: jnp.where(z[0] < 0.0, z[0], jnp.nan), 1)
    with pytest.raises(FitError, match="not finite"):
        dataclasses.replace(NaturalGradient(), max_steps=50).fit(key, bounded, start=Frame.around(np.zeros(1), 1.0))
