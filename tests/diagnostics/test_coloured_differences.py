"""Precisions by coloured moves: all entries, in few moves, held to matrices that are known."""

import jax.numpy as jnp
import numpy as np
import pytest

from vi_kl.core.precision import in_float64
from vi_kl.diagnostics.coloured_differences import Moves, hessians, pattern_of, slope_and_precision
from vi_kl.targets import Target


def hierarchy(groups, hyper):
    """Groups in pairs, each coupled with a few coordinates that all share."""
    dim = hyper + 2 * groups
    matrix = np.diag(4.0 + np.arange(dim))
    shared = 0.1 + 0.01 * np.arange(hyper * dim).reshape(hyper, dim)
    matrix[:hyper], matrix[:, :hyper] = shared, shared.T
    matrix[:hyper, :hyper] = 9 * np.eye(hyper) + 0.5
    for i in range(hyper, dim, 2):
        matrix[i, i + 1] = matrix[i + 1, i] = 1.0 + 0.1 * i
    return matrix


def band(dim, width):
    i = np.arange(dim)
    return np.where(abs(i[:, None] - i) <= width, 1.0 / (1 + abs(i[:, None] - i)), 0.0) + 2 * np.eye(dim)


@pytest.mark.parametrize(
    ("precision", "moves"),
    [(hierarchy(10, 2), 4), (hierarchy(40, 1), 3), (band(30, 1), 3), (np.eye(20), 1), (np.ones((6, 6)) + np.eye(6), 6)],
)
@in_float64
def test_few_moves_tell_the_whole_precision(precision, moves):
    """At points of a density that is normal in all but its first coordinate, a scale of all others' precision."""
    m = len(precision)

    def log_density(z, p):
        return -0.5 * jnp.exp(z[0]) * (z[1:] - 1.0) @ p @ (z[1:] - 1.0) - 0.5 * z[0] ** 2

    target = Target.from_log_density(log_density, m + 1, data=precision)
    z = np.random.default_rng(0).normal(size=(7, m + 1))
    others, steps = np.arange(1, m + 1), np.geomspace(1e-4, 1e-3, m + 1)
    whole = hessians(target, z, steps)[:, 1:, 1:]
    found = Moves.of(pattern_of(whole))
    assert len(found) == moves
    slope, seen = slope_and_precision(target, z, others, steps, found)
    exact = np.exp(z[:, 0])[:, None, None] * precision
    np.testing.assert_allclose(seen, exact, rtol=1e-6, atol=1e-6 * exact.max())
    np.testing.assert_allclose(-whole, exact, rtol=1e-6, atol=1e-6 * exact.max())
    np.testing.assert_allclose(slope, -np.einsum("nij,nj->ni", exact, z[:, 1:] - 1), rtol=1e-5, atol=1e-6 * exact.max())


def test_where_curvature_is_not_known_all_are_taken_as_coupled():
    assert pattern_of(np.full((2, 3, 3), np.nan)).all()
