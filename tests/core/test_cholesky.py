"""Factors of covariances whose variances are many orders of magnitude apart, against more digits."""

import mpmath
import numpy as np
import pytest

from vi_kl.core.cholesky import tril_of_covariance, tril_of_precision, tril_of_root
from vi_kl.targets.modes import Mode


def ill_conditioned(seed, dim=6, condition=1e9):
    """A positive definite matrix, of this condition number in units of its own scales, which span 24 decades."""
    generator = np.random.default_rng(seed)
    axes = np.linalg.qr(generator.normal(size=(dim, dim)))[0]
    scaled = (axes * np.geomspace(1, 1 / condition, dim)) @ axes.T
    scale = 10 ** generator.uniform(-12, 12, dim)
    matrix = (scaled + scaled.T) / 2 * np.outer(scale, scale)
    return (matrix + matrix.T) / 2


def exact_inverse(matrix):
    with mpmath.workdps(80):
        return np.array((mpmath.matrix(matrix.tolist()) ** -1).tolist(), dtype=float)


def largest_difference(a, b):
    scale = np.sqrt(np.diag(b))
    return np.abs((a - b) / np.outer(scale, scale)).max()


def test_a_mode_that_is_proper_has_a_factor():
    """Of 50 Hessians each; an error of condition times rounding is what any method has."""
    for seed in range(50):
        precision = ill_conditioned(seed)
        mode = Mode(np.zeros(6), 0.0, -precision, np.zeros(6), 0)
        assert mode.is_proper
        tril = mode.scale_tril
        assert np.isfinite(mode.log_mass)
        assert (np.diag(tril) > 0).all()
        assert np.allclose(tril, np.tril(tril))
        assert largest_difference(tril @ tril.T, exact_inverse(precision)) < 1e-5


def test_covariances_and_roots():
    for seed in range(10):
        covariance = ill_conditioned(seed)
        tril = tril_of_covariance(covariance)
        assert largest_difference(tril @ tril.T, covariance) < 1e-12
        np.testing.assert_allclose(tril_of_root(tril[:, ::-1].copy()), tril, rtol=1e-6, atol=0)


def test_rounding_that_costs_definiteness_is_mended_and_nothing_else():
    singular = np.ones((3, 3))  # three coordinates that are one
    tril = tril_of_covariance(singular)
    assert (np.diag(tril) > 0).all()
    np.testing.assert_allclose(tril @ tril.T, singular, atol=1e-12)
    for bad in (np.diag([1.0, -1.0]), np.diag([1.0, 0.0]), np.diag([1.0, np.nan])):
        for factor in (tril_of_covariance, tril_of_precision):
            with pytest.raises(np.linalg.LinAlgError):
                factor(bad)
