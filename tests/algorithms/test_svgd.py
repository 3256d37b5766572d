"""SVGD: NumPyro's own force, moments that a linear kernel gets exactly, two modes, and no density."""

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.einstein import SVGD as NumPyroSVGD
from numpyro.contrib.einstein import LinearKernel, RBFKernel
from oracles import hard_gaussian, log_gamma, two_bumps
from programs import exponential_rate
from scipy.special import digamma, polygamma

from vi_kl.algorithms import SVGD, FitError, fit
from vi_kl.algorithms.svgd import directions
from vi_kl.diagnostics import check
from vi_kl.families import NoDensity
from vi_kl.families.frame import Frame
from vi_kl.targets import Target


def particles_of(found):
    return np.asarray(found.approximation.params["particles"], dtype=float)


@pytest.mark.usefixtures("compiled_quickly")
@pytest.mark.landing
def test_particles_are_sent_where_numpyro_sends_them():
    def model():
        numpyro.sample("z", dist.Normal(0.0, 2.0).expand([3]).to_event(1))

    with jax.enable_x64(True):
        svgd = NumPyroSVGD(model, numpyro.optim.SGD(1.0), RBFKernel(), num_stein_particles=8)
        before = jax.jit(svgd.init)(jax.random.key(1))
        after, _ = jax.jit(svgd.update)(before)
        u, moved = (np.asarray(svgd.get_params(state)["z_auto_loc"]) for state in (before, after))
        moves, _ = directions(u, -u / 4, RBFKernel())
    assert np.abs(moved - u).max() > 0.01
    np.testing.assert_allclose(moves, moved - u, rtol=1e-6, atol=1e-9)


def test_a_linear_kernel_gets_the_moments_of_a_gaussian(key):
    """Liu & Wang (2018): at its fixed points the mean and covariance are exact, however few the particles are."""
    target, mean, precision = hard_gaussian(3, condition=100.0)
    found = SVGD(kernel=LinearKernel(), tolerance=1e-6).fit(key, target)
    z = particles_of(found)
    assert found.status.converged
    np.testing.assert_allclose(z.mean(axis=0), mean, rtol=1e-4)
    np.testing.assert_allclose(np.cov(z, rowvar=False, bias=True) @ precision, np.eye(3), atol=1e-4)


def test_a_skewed_target(key):
    """The log of a gamma variable has mean digamma(a) - log(b) and variance trigamma(a)."""
    z = particles_of(fit(log_gamma(1.0, 3.0), "svgd", key=key))
    mean, sd = digamma(1.0) - np.log(3.0), np.sqrt(polygamma(1, 1.0))
    assert z.mean() == pytest.approx(mean, abs=0.1 * sd)
    assert z.std() == pytest.approx(sd, rel=0.15)
    assert ((z - z.mean()) ** 3).mean() < 0  # the left tail is the long one


def test_two_modes_from_a_start_between_them(key):
    z = particles_of(SVGD().fit(key, two_bumps(), start=Frame.around(np.zeros(2), 3.0)))
    right = (z[:, 0] > 0).mean()
    assert 0.1 < right < 0.9
    np.testing.assert_allclose(z[z[:, 0] > 0].mean(axis=0), 4, atol=0.3)
    np.testing.assert_allclose(z[z[:, 0] < 0].mean(axis=0), -4, atol=0.3)


def test_it_can_be_drawn_and_has_no_density(key):
    q = SVGD(num_particles=20).fit(key, Target.from_numpyro(exponential_rate, np.array([0.4, 1.3, 0.9]))).approximation
    rates = q.particles["rate"]
    assert rates.shape == (20,)
    assert (rates > 0).all()
    drawn = q.sample(key, 500)["rate"]
    assert drawn.shape == (500,)
    assert set(drawn) <= set(rates)
    for ask in (lambda: q.log_prob(np.zeros(1)), lambda: q.sample_and_log_prob(key, 5), lambda: q.distribution):
        with pytest.raises(NoDensity, match="no density"):
            ask()
    with pytest.raises(NoDensity, match="nothing to check"):
        check(q, key=key)


def test_same_key_same_particles_and_a_truthful_status(key):
    first, second = (SVGD(max_steps=3, tolerance=1e-6).fit(key, two_bumps()) for _ in range(2))
    np.testing.assert_array_equal(particles_of(first), particles_of(second))
    assert not first.status.converged
    assert "max_steps" in str(first.status)
    assert first.cost.gradient_evaluations == second.cost.gradient_evaluations >= 3 * 64


def test_refusals(key):
    with pytest.raises(ValueError, match="2 particles"):
        SVGD(num_particles=1)
    with pytest.raises(ValueError, match="mode 'norm'"):
        SVGD(kernel=RBFKernel(mode="vector"))
    bounded = Target.from_log_density(lambda z: jax.numpy.where(z[0] < 0.0, z[0], jax.numpy.nan), 1)
    with pytest.raises(FitError, match="not finite"):
        SVGD().fit(key, bounded, start=Frame.around(np.zeros(1), 1.0))
