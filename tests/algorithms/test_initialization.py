"""Where fits begin: every kind of start, and what is wrong with a start said before anything is computed."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import enable_x64
from tiers import exhaustive

import vi_kl
from vi_kl.algorithms import SampleAverageApproximation
from vi_kl.algorithms.algorithm import CostCounter
from vi_kl.algorithms.initialization import initialize
from vi_kl.families.frame import Frame
from vi_kl.targets import Target

TRIL = np.array([[2.0, 0.0], [-3.0, 0.5]])
MEAN = np.array([1.0, -4.0])
PRECISION = np.linalg.inv(TRIL @ TRIL.T)
NORMAL = Target.from_log_density(lambda z: -0.5 * (z - MEAN) @ PRECISION @ (z - MEAN), 2)


def two_modes(z):
    return jnp.logaddexp(-0.5 * jnp.sum((z - 3) ** 2) / 0.01, -0.5 * jnp.sum((z + 3) ** 2))


def start(target, key, **arguments):
    counter = CostCounter()
    with enable_x64(True):
        return initialize(target, key, counter, **arguments), counter


def test_the_frame_of_a_normal_posterior_is_the_posterior(key):
    found, counter = start(NORMAL, key)
    np.testing.assert_allclose(found.frame.loc, MEAN, rtol=1e-8)
    np.testing.assert_allclose(found.frame.scale_tril, TRIL, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.frame.conditional_sd, 1 / np.sqrt(np.diag(PRECISION)), rtol=1e-6)
    np.testing.assert_allclose(found.frame.normal.precision, PRECISION, rtol=1e-6)
    assert counter.gradient_evaluations > 10


def test_of_two_modes_the_one_with_more_mass_is_taken(key):
    """The narrow one is as high, and has a hundredth of the mass."""
    found = {
        round(float(start(Target.from_log_density(two_modes, 2), k)[0].frame.loc[0])) for k in jax.random.split(key, 6)
    }
    assert found == {-3}


def test_starts_by_hand(key):
    fit = vi_kl.fit(NORMAL, "laplace", key=key)
    frame = Frame.of(MEAN, TRIL)
    for given in (fit, fit.approximation, frame):
        found, counter = start(NORMAL, key, start=given)
        np.testing.assert_allclose(found.frame.loc, MEAN, rtol=1e-7)
        np.testing.assert_allclose(found.frame.scale_tril, TRIL, rtol=1e-5, atol=1e-6)
        assert counter.gradient_evaluations == 0


def positive(y):
    rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    numpyro.sample("y", dist.Poisson(rate), obs=y)


def test_a_point_may_be_given_in_the_models_own_space(key):
    target = Target.from_numpyro(positive, np.array([3, 4, 2]))
    found, _ = start(target, key, start={"rate": 2.0})
    np.testing.assert_allclose(found.frame.loc, [np.log(11 / 4)], rtol=1e-6)
    with pytest.raises(ValueError, match="rate"):
        start(target, key, start={"lambda": 2.0})
    with pytest.raises(ValueError, match="shape"):
        start(target, key, start=np.zeros(3))
    with pytest.raises(ValueError, match="log density at start"):
        start(target, key, start=np.array([np.nan]))


@pytest.mark.exhaustive
def test_many_dimensions_get_a_scale_each(key):
    scales = np.geomspace(1e-2, 1e2, 1001)
    target = Target.from_log_density(lambda z: -0.5 * jnp.sum((z / scales) ** 2), 1001)
    found, _ = start(target, key, start=0.1 * scales)
    assert found.frame.scale_tril.shape == (1001,)
    np.testing.assert_allclose(found.frame.scale_tril, scales, rtol=1e-3)


def test_a_frame_of_other_dimensions_is_refused(key):
    other = vi_kl.fit(Target.from_log_density(lambda z: -jnp.sum(z**2), 3), "laplace", key=key)
    with pytest.raises(ValueError, match="3 dimensions, the target has 2"):
        start(NORMAL, key, start=other)


def twice_the_same(z):
    """Of two columns that are one only the sum is known; nothing else holds the difference."""
    return -0.5 * (z[0] + z[1] - 3.0) ** 2 / 0.01 - 0.5 * (z[2] - jnp.exp(0.1 * z[0] + 0.1 * z[1])) ** 2


@pytest.mark.parametrize(
    "method",
    [
        # more draws are tried for as long as nothing settles, and nothing ever does
        pytest.param(SampleAverageApproximation(max_draws=256), id="full_rank on few draws"),
        "mean_field",
        "natural_gradient",
        exhaustive("full_rank"),
        exhaustive(None),
    ],
)
def test_a_flat_direction_is_named_and_not_stumbled_over(method, key):
    fit = vi_kl.fit(Target.from_log_density(twice_the_same, 3), method, key=key)
    if method != "mean_field":  # which has a best member, and many of them
        assert not fit.status.converged
        assert "improper" in str(fit.status)
        assert "'z[0]'" in str(fit.status) or "'z[1]'" in str(fit.status)
