"""Modes: found where coordinates are badly scaled and correlated, and not claimed where there is none."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import enable_x64

from vi_kl.targets import Target
from vi_kl.targets.modes import decrement, find_mode, hessian, is_negative_definite


def regression(x, y):
    """Unscaled predictor and response, priors as good as flat."""
    beta = numpyro.sample("beta", dist.Normal(0, 1e7).expand([2]).to_event(1))
    sigma = numpyro.sample("sigma", dist.LogNormal(0, 100))
    numpyro.sample("y", dist.Normal(beta[0] + beta[1] * x, sigma), obs=y)


def test_a_regression_in_its_own_units(key):
    """Earnings on height: intercept -60,000, residual 20,000. The mode is the least-squares fit."""
    rng = np.random.default_rng(1)
    x = rng.normal(67, 4, 200)
    y = -60_000 + 1_200 * x + 20_000 * rng.normal(size=200)
    target = Target.from_numpyro(regression, x, y)
    with enable_x64(True):
        mode = find_mode(target, target.initial_position(key))
    assert mode.is_proper
    assert mode.distance < 1e-6
    design = np.stack([np.ones_like(x), x], axis=1)
    solution, residual = np.linalg.lstsq(design, y)[:2]
    sd = np.sqrt(residual[0] / 200 * np.diag(np.linalg.inv(design.T @ design)))
    assert (np.abs(mode.z[:2] - solution) < 1e-2 * sd).all()
    assert np.exp(2 * mode.z[2]) == pytest.approx(residual[0] / 200, rel=1e-3)
    assert mode.evaluations < 600


def test_the_hessian_is_exact_whatever_the_scales():
    scale = np.array([1e-4, 1.0, 1e5])
    correlation = np.array([[1, 0.9, 0.1], [0.9, 1, -0.2], [0.1, -0.2, 1]])
    exact = -np.linalg.inv(correlation) / np.outer(scale, scale)

    def gradients(z):
        return z @ exact

    units = np.outer(scale, scale)
    np.testing.assert_allclose(hessian(gradients, 0.3 * scale) * units, exact * units, rtol=1e-7)


def test_curvature_is_judged_in_each_coordinates_own_units():
    assert is_negative_definite(-np.diag([1e-12, 1.0, 1e12]))
    assert not is_negative_definite(-np.array([[1.0, 1.0], [1.0, 1.0]]))
    assert not is_negative_definite(np.diag([-1.0, np.nan]))
    assert decrement(-np.diag([4.0, 1.0]), np.array([2.0, 0.0])) == pytest.approx(1.0)
    assert decrement(np.diag([-1.0, 0.0]), np.array([1.0, 0.0])) == np.inf


def test_a_density_without_a_top_has_no_proper_mode(key):
    """Like a hierarchical model's at zero group variance."""

    def funnel(z):
        return -2 * z[0] - 0.5 * jnp.sum(z[1:] ** 2) * jnp.exp(-z[0]) - 0.5 * jnp.sum(jnp.exp(0.1 * z))

    target = Target.from_log_density(funnel, 3)
    with enable_x64(True):
        mode = find_mode(target, target.initial_position(key))
    assert not (mode.is_proper and mode.distance < 1e-3)


def test_a_climb_keeps_its_path(key):
    from vi_kl.targets.modes import Climb

    target = Target.from_log_density(lambda z: -jnp.sum(jnp.cosh(z)), 2)
    with enable_x64(True):
        climb = Climb(target, np.array([2.0, -1.0]))
    assert len(climb.path) > 2
    values = [value for _, _, value in climb.path]
    assert values == sorted(values)
    for z, gradient, value in climb.path:
        np.testing.assert_allclose(gradient, -np.sinh(z), rtol=1e-9)
        assert value == pytest.approx(-np.cosh(z).sum())
