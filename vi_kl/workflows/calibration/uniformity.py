"""Tests whether values between 0 and 1 are uniform, symmetric about 1/2, and spread as uniform values are.

They require independent values of a continuous distribution (`ranks.py` makes ranks so by spreading each over its own
step). All three tests are free of assumptions about q, and two of them are exact for any number of values.

References: Säilynoja, Bürkner & Vehtari (2022), "Graphical test for discrete uniformity", for simultaneous bands of
the ECDF; Butler (1969), "A test for symmetry using the sample distribution function"; Yao, Vehtari, Simpson &
Gelman (2018), "Yes, but did it work?", for symmetry as the test of a bias; Holm (1979) for many tests at once.
"""

import functools

import numpy as np
from scipy.special import ndtr
from scipy.stats import binom, poisson

MOST_POINTS = 100  # the most points at which an ECDF is compared


def evaluation_points(n: int) -> np.ndarray:
    """Return where the ECDF of n values is looked at: evenly between 0 and 1."""
    k = min(n, MOST_POINTS)
    return np.arange(1, k) / k


@functools.cache
def tail_table(n: int) -> np.ndarray:
    """Return twice the smaller tail of finding r of n uniform values below each point, shape (points, n + 1)."""
    points, counts = evaluation_points(n)[:, None], np.arange(n + 1)
    return 2 * np.minimum(binom.cdf(counts, n, points), binom.sf(counts - 1, n, points))


def uniformity_p_value(u: np.ndarray) -> float:
    """Return the exact probability that the ECDF of uniform values strays as far, at its worst point, as that of u."""
    n = len(u)
    counts = np.searchsorted(np.sort(u), evaluation_points(n), side="right")
    worst = tail_table(n)[np.arange(len(counts)), counts].min()
    return float(np.clip(1 - probability_inside(n, worst * (1 + 1e-9)), 0.0, 1.0))


@functools.lru_cache(maxsize=4096)
def probability_inside(n: int, tail: float) -> float:
    """Return the probability that the ECDF of n uniform values has a larger two-sided tail than this at every point.

    Uniform values fall into the gaps between points as independent Poisson counts do whose sum happens to be n, so
    the probabilities of the counts so far go from point to point by a convolution, cut off at the band.
    """
    low, high = band_counts(n, tail)
    gap = poisson.pmf(np.arange(n + 1), n / (len(low) + 1))
    gap = gap[: np.flatnonzero(gap > 1e-300)[-1] + 1]
    start, reach = 0, np.ones(1)  # the probabilities of counts start, start + 1, ...
    for least, most in zip([*low, n], [*high, n], strict=True):
        spread = np.convolve(reach, gap)
        first, last = max(least, start), min(most, start + len(spread) - 1)
        if first > last:
            return 0.0
        reach = np.zeros(most - least + 1)
        reach[first - least : last - least + 1] = spread[first - start : last - start + 1]
        start = least
    return float(reach[0] / poisson.pmf(n, n))


def band_counts(n: int, tail: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest counts whose two-sided tail is above `tail`, at each point."""
    inside = tail_table(n) > tail
    return inside.argmax(axis=1), n - inside[:, ::-1].argmax(axis=1)


@functools.cache
def simultaneous_band(n: int, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points, and the limits between which the ECDF of n uniform values lies at all of them at once.

    Returns:
        (points, low, high): with probability `level`, or the least above it that counts allow.
    """
    least, most = 0.0, 1.0
    for _ in range(40):
        middle = (least + most) / 2
        least, most = (middle, most) if probability_inside(n, middle) >= level else (least, middle)
    low, high = band_counts(n, least)
    return evaluation_points(n), low / n, high / n


def symmetry_p_value(u: np.ndarray) -> float:
    """Return the exact probability that values symmetric about 1/2 are as asymmetric as u.

    Asymmetry is the largest distance between the ECDF and that of the mirror images. From the outermost value inwards,
    the difference of the two ECDFs is a walk by the values' sides, and for symmetric values the sides are fair coins.
    """
    outermost_first = np.argsort(-np.abs(u - 0.5))
    walk = np.cumsum(np.sign(u - 0.5)[outermost_first])
    return 1 - probability_walk_stays(len(u), int(np.abs(walk).max()))


@functools.cache
def probability_walk_stays(steps: int, bound: int) -> float:
    """Return the probability that a walk of fair steps of ±1 from 0 stays strictly between -bound and bound."""
    places = np.zeros(2 * bound + 1)
    places[bound] = 1.0
    for _ in range(steps):
        places[1:-1] = (places[:-2] + places[2:]) / 2
        places[[0, -1]] = 0.0
    return float(places.sum())


def spread_statistic(u: np.ndarray) -> float:
    """Return how much farther from 1/2 u lies than uniform values do, in standard errors.

    It is above 0 where q is too narrow.
    """
    squares = (2 * u - 1) ** 2  # their mean is 1/3 and their variance 4/45, if u is uniform
    return float((squares.mean() - 1 / 3) / np.sqrt(4 / 45 / len(u)))


def spread_p_value(u: np.ndarray) -> float:
    """Return a two-sided p value, by the normal approximation to the mean of bounded values."""
    return float(2 * ndtr(-abs(spread_statistic(u))))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjust p values so that one below alpha anywhere happens by chance with probability at most alpha."""
    flat = np.ravel(p_values)
    order = np.argsort(flat)
    adjusted = np.empty_like(flat)
    adjusted[order] = np.minimum(np.maximum.accumulate(flat[order] * np.arange(len(flat), 0, -1)), 1.0)
    return adjusted.reshape(np.shape(p_values))
