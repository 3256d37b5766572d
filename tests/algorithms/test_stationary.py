"""The slope of the ELBO on fresh draws, of normals whose distance from the best is known."""

import numpy as np
import pytest

from vi_kl.algorithms.stationary import slope
from vi_kl.families.frame import Frame
from vi_kl.objectives.noise import opposite_noise

MEAN, SD = np.array([1.0, -2.0, 0.5]), np.array([1e-3, 1.0, 1e3])


def seen(loc, scale, tril=None):
    """The slope at N(loc, scale^2), or with a factor, for a posterior N(MEAN, SD^2) of independent coordinates."""
    noise = opposite_noise(np.random.default_rng(0), 256, 3)
    z = loc + noise * scale
    return slope(z, (MEAN - z) / SD**2, tril)


def test_the_best_member_is_level():
    found = seen(MEAN, SD)
    assert found.largest == found.nats == 0.0


@pytest.mark.parametrize("correlated", [False, True])
def test_what_is_left_is_about_the_divergence(correlated):
    """Of q moved by 0.3 sd along the second coordinate: 0.3^2 / 2 nats, less what three standard errors hide."""
    loc = MEAN + np.array([0.0, 0.3, 0.0]) * SD
    found = seen(loc, SD, Frame.of(loc, np.diag(SD)) if correlated else None)
    assert found.coordinate == 1
    assert 0.2 < found.largest <= 0.3
    assert 0.02 < found.nats <= 0.3**2 / 2


def test_a_stretch_is_seen_too_and_numbers_that_are_none():
    found = seen(MEAN, SD * np.array([1.0, 1.0, 1.5]))
    assert found.coordinate == 2
    assert found.largest > 0.2
    z = np.random.default_rng(0).normal(size=(64, 3))
    assert seen(MEAN, SD)[1] < slope(z, np.full((64, 3), np.nan), None).largest == np.inf
