"""Laplace: the mode and the curvature there, and its refusal where there is no mode."""

import numpy as np
import pytest
from programs import exponential_rate

from vi_kl.algorithms import FitError, Laplace
from vi_kl.targets import Target

WAITS = np.array([0.4, 1.3, 0.9])


def test_the_mode_and_curvature_of_a_skewed_target(key):
    """Gamma(6, b) in z = log rate: mode log(6/b), second derivative -6."""
    params = Laplace().fit(key, Target.from_numpyro(exponential_rate, WAITS)).approximation.params
    np.testing.assert_allclose(params["loc"], [np.log(6 / (2 + WAITS.sum()))], rtol=1e-8)
    np.testing.assert_allclose(np.exp(params["log_scale"]), [1 / np.sqrt(6)], rtol=1e-8)


def test_a_flat_direction_is_refused(key):
    def ridge(z):
        return -0.5 * (z[0] - z[1]) ** 2

    with pytest.raises(FitError, match="does not curve down along 'z"):
        Laplace().fit(key, Target.from_log_density(ridge, 2))
