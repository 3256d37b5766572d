"""The tests of uniformity, symmetry and spread: exact probabilities, by enumeration, reflection and simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import beta, binom, kstest

from vi_kl.workflows.calibration.uniformity import (
    band_counts,
    evaluation_points,
    holm,
    probability_inside,
    probability_walk_stays,
    simultaneous_band,
    spread_p_value,
    spread_statistic,
    symmetry_p_value,
    uniformity_p_value,
)


def simulated(n, size, seed=1):
    return np.random.default_rng(seed).uniform(size=(size, n))


@pytest.mark.parametrize("tail", [0.02, 0.1, 0.3, 0.6])
def test_probability_inside_a_band_by_enumerating_all_cells(tail):
    """Each of 5 values falls into each of 5 cells alike: 3125 outcomes."""
    low, high = band_counts(5, tail)
    outcomes = np.array(list(itertools.product(range(5), repeat=5)))
    counts = (outcomes[:, :, None] <= np.arange(4)).sum(axis=1)
    inside = ((counts >= low) & (counts <= high)).all(axis=1).mean()
    assert probability_inside(5, tail) == pytest.approx(inside, abs=1e-13)


def test_band_limits_are_binomial_quantiles():
    points, counts = evaluation_points(200), band_counts(200, 0.05)
    low, high = binom.interval(0.95, 200, points)
    np.testing.assert_array_less(np.abs(counts[0] - low), 1.5)  # a count of exactly the tail may fall either way
    np.testing.assert_array_less(np.abs(counts[1] - high), 1.5)


@pytest.mark.parametrize("n", [20, 200])
def test_the_band_holds_its_share_of_uniform_ecdfs(n):
    points, low, high = simultaneous_band(n)
    u = np.sort(simulated(n, 8000), axis=1)
    ecdfs = np.stack([np.searchsorted(row, points, side="right") for row in u]) / n
    inside = ((ecdfs >= low) & (ecdfs <= high)).all(axis=1).mean()
    exact = probability_inside_of(n, low, high)
    assert 0.95 <= exact < 0.96
    assert inside == pytest.approx(exact, abs=4 * math.sqrt(0.05 * 0.95 / 8000))


def probability_inside_of(n, low, high):
    """By the chain of binomial counts from point to point: another way than the code's."""
    points = evaluation_points(n)
    reach = np.zeros(n + 1)
    reach[0] = 1.0
    before = 0.0
    for point, least, most in zip(points, low, high, strict=True):
        step = (point - before) / (1 - before)
        moved = np.zeros(n + 1)
        for r in np.flatnonzero(reach):
            moved[r:] += reach[r] * binom.pmf(np.arange(n - r + 1), n - r, step)
        counts = np.arange(n + 1) / n
        reach = np.where((counts >= least - 1e-12) & (counts <= most + 1e-12), moved, 0.0)
        before = point
    return reach.sum()


@pytest.mark.parametrize("p_value", [uniformity_p_value, symmetry_p_value, spread_p_value])
def test_p_values_of_uniform_values_are_uniform(p_value):
    """Discrete ones are below alpha less often than alpha, though not by much."""
    p = np.array([p_value(u) for u in simulated(200, 2000)])
    for alpha in (0.01, 0.05, 0.25):
        error = math.sqrt(alpha * (1 - alpha) / len(p))
        assert 0.7 * alpha - 4 * error < (p <= alpha).mean() < alpha + 4 * error


@pytest.mark.parametrize(("steps", "bound"), [(6, 2), (31, 7), (200, 25), (200, 1)])
def test_a_walk_within_bounds_by_reflection(steps, bound):
    """P(max |S| < b) = sum over j of (-1)^j P((2j - 1) b < S_n < (2j + 1) b)."""

    def between(low, high):
        ends = 2 * np.arange(steps + 1) - steps
        return binom.pmf(np.arange(steps + 1), steps, 0.5)[(ends > low) & (ends < high)].sum()

    reach = steps // bound + 2
    exact = sum((-1) ** (j % 2) * between((2 * j - 1) * bound, (2 * j + 1) * bound) for j in range(-reach, reach + 1))
    assert probability_walk_stays(steps, bound) == pytest.approx(exact, abs=1e-12)


def test_symmetry_is_blind_to_spread_and_sees_a_shift():
    """A symmetric U shape, far from uniform, is symmetric; a shifted one is not."""
    u = beta(0.3, 0.3).ppf((np.arange(200) + 0.5) / 200)
    assert symmetry_p_value(np.random.default_rng(0).permutation(u)) > 0.5
    assert uniformity_p_value(u) < 1e-6
    assert symmetry_p_value(beta(1.6, 1).ppf((np.arange(200) + 0.5) / 200)) < 1e-4


def test_the_uniformity_test_sees_the_ends_where_kolmogorov_and_smirnov_do_not():
    """A tenth of the values lies beyond the central 99%, the others are even."""
    n = 200
    u = np.concatenate([np.full(10, 0.003), np.full(10, 0.997), np.linspace(0.005, 0.995, n - 20)])
    assert kstest(u, "uniform").pvalue > 0.4
    assert uniformity_p_value(u) < 0.01


@pytest.mark.parametrize(("shape", "sign"), [(0.6, 1), (1.0, 0), (1.8, -1)])
def test_spread_by_the_moments_of_a_beta(shape, sign):
    """(2u - 1)^2 of Beta(a, a) has mean 1 / (2a + 1); that of uniform values has 1/3 and variance 4/45."""
    n = 20_000
    u = beta(shape, shape).ppf((np.arange(n) + 0.5) / n)
    expected = (1 / (2 * shape + 1) - 1 / 3) / math.sqrt(4 / 45 / n)
    assert spread_statistic(u) == pytest.approx(expected, rel=1e-3, abs=0.02)
    assert (spread_p_value(u) < 1e-6) == (sign != 0)


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03, 0.02])), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([[0.5], [0.9]])), [[1.0], [1.0]])
