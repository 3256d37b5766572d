"""The sinh-arcsinh map against many digits, and the family made of it on skewed posteriors whose answer is known."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.special import gammaln

from vi_kl.algorithms import SVI
from vi_kl.families import FullRank, Skewed
from vi_kl.families.sinh_arcsinh import sinh_arcsinh, sinh_arcsinh_inverse
from vi_kl.targets import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")

CASES = [(0.3, 0.0, 0.0), (-2.0, 0.7, 0.3), (5.0, -1.5, -0.4), (-40.0, 0.2, -1.0), (1e-9, 2.0, 0.5)]


def exact(v, skew, log_tail):
    """Jones & Pewsey's map, moved and scaled to S(0) = 0 and S'(0) = 1, in 40 digits."""
    tail = mpmath.exp(log_tail)
    return (mpmath.sinh(tail * mpmath.asinh(v) + skew) - mpmath.sinh(skew)) / (tail * mpmath.cosh(skew))


@pytest.mark.parametrize(("v", "skew", "log_tail"), CASES)
def test_map_slope_and_inverse(v, skew, log_tail):
    with mpmath.workdps(40), jax.enable_x64(True):
        image, log_slope = map(float, sinh_arcsinh(v, skew, log_tail))
        back, same_slope = map(float, sinh_arcsinh_inverse(image, skew, log_tail))
        expected = float(exact(mpmath.mpf(v), skew, log_tail))
        slope = mpmath.diff(lambda x: exact(x, skew, log_tail), mpmath.mpf(v))
        expected_log_slope = float(mpmath.log(slope))
    np.testing.assert_allclose(image, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(back, v, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose([log_slope, same_slope], expected_log_slope, rtol=1e-9, atol=1e-12)


SHAPES = np.array([0.5, 5.0])
MIX = np.array([[1.0, 0.0], [0.6, 1.0]])


def log_gammas(z):
    """Independent log gamma variables x = MIX z: normalised, skewed, with one tail far lighter than the other."""
    x = MIX @ z
    return jnp.sum(SHAPES * x - jnp.exp(x) - gammaln(SHAPES))


@pytest.mark.exhaustive
def test_a_skewed_posterior_is_fitted_far_better_than_by_a_normal():
    """KL = -ELBO, since the target is normalised. The full-rank normal's is 0.15 for the first shape alone."""
    target = Target.from_log_density(log_gammas, 2)
    kl = {}
    for family in (FullRank(), Skewed()):
        fit = SVI(family, tolerance=3e-3).fit(jax.random.key(2), target)
        z, log_q = fit.approximation.sample_and_log_prob(jax.random.key(3), 8192)
        difference = log_q - target.log_density(z)
        kl[family.name] = difference.mean(), difference.std() / np.sqrt(len(z))
    value, error = kl["skewed"]
    assert value > -4 * error
    assert value < 0.02
    assert kl["full_rank"][0] > 5 * value


@pytest.mark.parametrize(("skew", "log_tail"), [(40.0, 3.0), (-40.0, 2.5), (5.0, 40.0), (-12.0, -60.0)])
def test_maps_that_undo_each_other_keep_draws_apart_whatever_the_parameters(skew, log_tail):
    """One brings values together, the next stretches them: the slopes are those between draws, not of a few values."""
    u = np.linspace(-4.0, 4.0, 2001)
    with jax.enable_x64(True):
        there, slope = sinh_arcsinh(u, skew, log_tail)
        back, slope_back = sinh_arcsinh(there, -skew, -log_tail)
    assert len(np.unique(back)) == len(u)
    between = np.log(np.diff(np.asarray(back))) - np.log(np.diff(u))
    log_slope = np.asarray(slope) + np.asarray(slope_back)
    np.testing.assert_allclose(between, (log_slope[1:] + log_slope[:-1]) / 2, atol=0.02)
