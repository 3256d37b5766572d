"""The frame: the normal that it is, and the names under which files hold it."""

import jax
import numpy as np
import pytest
from scipy import stats

from vi_kl.core import serialization
from vi_kl.families.frame import Frame

SDS = np.array([0.01, 1.0, 30.0])
TRIL = SDS[:, None] * np.array([[1.0, 0.0, 0.0], [0.5, 0.8, 0.0], [-0.3, 0.2, 0.6]])
LOC = np.array([3.0, -1.0, 0.0])
FRAMES = {"matrix": (Frame.of(LOC, TRIL), TRIL), "sds": (Frame.of(LOC, SDS), np.diag(SDS))}


@pytest.mark.parametrize("kind", FRAMES)
def test_it_is_the_normal_that_it_says(kind):
    frame, matrix = FRAMES[kind]
    exact = stats.multivariate_normal(LOC, matrix @ matrix.T)
    u = np.random.default_rng(0).normal(size=(4, 3))
    z = np.stack([frame.point(one) for one in u])
    np.testing.assert_allclose(z, LOC + u @ matrix.T, rtol=1e-12)
    np.testing.assert_allclose(frame.normal.log_prob(z), exact.logpdf(z), rtol=1e-10)
    np.testing.assert_allclose(frame.conditional_sd, 1 / np.sqrt(np.diag(np.linalg.inv(exact.cov))), rtol=1e-9)
    np.testing.assert_allclose(frame.matrix(np.eye(3)), matrix, rtol=1e-12)
    wider = frame.scaled(2.0)
    np.testing.assert_allclose(wider.normal.covariance, 4 * exact.cov, rtol=1e-12)
    np.testing.assert_allclose(wider.conditional_sd, wider.normal.conditional_sd, rtol=1e-12)


@pytest.mark.parametrize("kind", FRAMES)
def test_files_hold_it_under_the_names_of_its_arrays(kind):
    """Checkpoints name the class, its module and these three: under other names, earlier files could not be read."""
    frame, arrays = FRAMES[kind][0], {}
    words = serialization.encode(frame, "frame", arrays)
    assert words["class"] == "Frame"
    assert words["module"] == "vi_kl.families.frame"
    assert list(words["fields"]) == ["loc", "scale_tril", "conditional_sd"]
    again = serialization.decode(words, arrays, {})
    assert type(again) is Frame
    for before, after in zip(jax.tree.leaves(frame), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(before, after)
