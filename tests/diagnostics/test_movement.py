"""What pairs of starts and ends prove: at its level whatever the tails, and no more than is true."""

import numpy as np
import pytest
from scipy import stats
from tiers import exhaustive

from vi_kl.diagnostics.movement import (
    CONFIDENCE,
    Shift,
    compare,
    critical,
    least_kl,
    notable_shifts,
    of_correlations,
    places_of_quantile,
)

N, COLUMNS, REPETITIONS = 256, 8, 100
MARGINALS = {
    "normal": lambda x: x,
    "log-normal": np.exp,
    "no variance": lambda x: np.sign(x) * np.expm1(x**2 / 4),  # |x| is beyond exp(x^2 / 4): an infinite second moment
}


def pairs(rng, n, columns, correlation):
    """Draw pairs that may be turned round: two neighbours in a stationary autoregression of normals."""
    before = rng.standard_normal((n, columns))
    return before, correlation * before + np.sqrt(1 - correlation**2) * rng.standard_normal((n, columns))


def most_alarms(repetitions: int) -> int:
    """Return as many alarms as a level of 5% exceeds with a probability of 1e-3."""
    return int(stats.binom.ppf(0.999, repetitions, 1 - CONFIDENCE))


@pytest.mark.parametrize("correlation", [0.0, exhaustive(0.8)])
@pytest.mark.parametrize(
    "marginal", [pytest.param("normal", marks=pytest.mark.exhaustive), "log-normal", "no variance"]
)
def test_a_right_q_raises_no_more_alarms_than_the_level_whatever_the_tails(marginal, correlation):
    rng, image, alarms = np.random.default_rng(0), MARGINALS[marginal], 0
    for _ in range(REPETITIONS):
        before, after = pairs(rng, N, COLUMNS, correlation)
        own = rng.standard_normal((512, COLUMNS))
        found = compare(image(before), image(after), image(own), COLUMNS)
        alarms += any((bounds.at_least > 0).any() for bounds in found.values())
    assert alarms <= most_alarms(REPETITIONS)


def averages(kind: str, loc: float, scale: float) -> np.ndarray:
    """The mean, sd and quantiles of N(loc, scale), or of its exponential, by scipy."""
    law = stats.norm(loc, scale) if kind == "normal" else stats.lognorm(scale, scale=np.exp(loc))
    return np.array([law.mean(), law.std(), *law.ppf([0.05, 0.5, 0.95])])


@pytest.mark.parametrize("kind", ["normal", "log-normal"])
def test_no_bound_exceeds_the_true_error_more_often_than_it_says(kind):
    """A q of three columns: the first is shifted, the second too narrow, and the posterior alone has a correlation."""
    rng, image, wrong, seen = np.random.default_rng(1), MARGINALS[kind], 0, 0
    loc, scale, r, repetitions = np.array([0.6, 0, 0]), np.array([1, 0.6, 1]), 0.6, 60
    p = averages(kind, 0.0, 1.0)
    q = np.array([averages(kind, *each) for each in zip(loc, scale, strict=True)]).T
    true = dict(zip(("mean", "5% quantile", "median", "95% quantile"), np.abs(q - p[:, None])[[0, 2, 3, 4]] / p[1],
                    strict=True)) | {"sd": np.abs(np.log(q[1] / p[1]))}  # fmt: skip
    correlation = r if kind == "normal" else np.expm1(r) / np.expm1(1)
    for _ in range(repetitions):
        before, own = (image(loc + scale * rng.standard_normal((n, 3))) for n in (1024, 8192))
        z = rng.standard_normal((1024, 3))
        z[:, 2] = r * z[:, 0] + np.sqrt(1 - r**2) * z[:, 2]
        found = compare(before, image(z), own, 3)
        above = any((found[what].at_least > x + 1e-12).any() for what, x in true.items())
        wrong += above or found["correlation"].at_least[0, 2] > correlation
        seen += found["mean"].at_least[0] > 0 and found["correlation"].at_least[0, 2] > 0
    assert wrong <= most_alarms(repetitions)
    assert seen >= 0.9 * repetitions


def test_all_true_errors_are_below_their_upper_bounds():
    rng, missed = np.random.default_rng(2), 0
    for _ in range(REPETITIONS):
        before, after = pairs(rng, N, 2, 0.0)
        found = compare(1.3 * before + 0.2, after, 1.3 * rng.standard_normal((8192, 2)) + 0.2, 2)
        missed += (found["mean"].at_most < 0.2).any() or (found["sd"].at_most < np.log(1.3)).any()
        missed += (found["95% quantile"].at_most < 0.3 * stats.norm.ppf(0.95) + 0.2).any()
    assert missed <= most_alarms(REPETITIONS)


def test_the_sums_over_pairs_are_those_that_a_loop_makes():
    rng = np.random.default_rng(3)
    before, after = rng.gamma(2.0, size=(50, 4)), rng.gamma(3.0, size=(50, 4))
    before[:, 1] += before[:, 0]
    found = of_correlations(before, after, 1.0)
    both = np.concatenate([before, after])
    u, w = (before - both.mean(0)) / both.std(0), (after - both.mean(0)) / both.std(0)
    for i in range(4):
        for j in range(i):
            r = np.corrcoef(both[:, i], both[:, j])[0, 1]
            differences = [
                x[i] * x[j] - r * (x[i] ** 2 + x[j] ** 2) / 2 - (y[i] * y[j] - r * (y[i] ** 2 + y[j] ** 2) / 2)
                for x, y in zip(u, w, strict=True)
            ]
            width, mean = np.sqrt(np.mean(np.square(differences)) / 50), abs(np.mean(differences))
            change = np.corrcoef(before.T)[i, j] - np.corrcoef(after.T)[i, j]
            assert found.estimate[i, j] == pytest.approx(change)
            assert found.at_most[i, j] == pytest.approx(min(abs(change), mean) + width)


def test_wider_sds_alone_are_no_change_of_a_correlation():
    rng = np.random.default_rng(4)
    tril = np.linalg.cholesky(np.array([[1.0, 0.9], [0.9, 1.0]]))
    before, after = (rng.standard_normal((4096, 2)) @ tril.T for _ in range(2))
    found = compare(2 * before, after, 2 * before, 2)
    assert found["correlation"].at_least.max() == 0
    assert found["sd"].at_least.min() > 0.5  # log 2 is 0.69


def test_limits_of_a_quantile_are_those_of_a_binomial():
    n, level = 1000, 0.01
    for probability in (0.05, 0.5, 0.95):
        low, _, high = places_of_quantile(n, probability, level)
        # the order statistic at place i (from 0) is above the quantile if i draws at most are at or below it
        assert stats.binom.cdf(low, n, probability) <= level < stats.binom.cdf(low + 1, n, probability)
        assert stats.binom.sf(high, n, probability) <= level < stats.binom.sf(high - 1, n, probability)
    assert places_of_quantile(20, 0.05, 0.01)[0] == -1  # 20 draws have none below it more often than that
    assert places_of_quantile(20, 0.95, 0.01)[2] == 20


def test_the_bound_of_kl_is_below_kl_and_above_zero():
    rng = np.random.default_rng(5)
    for shift in (0.5, 1.0, 3.0):
        bounds = [
            least_kl(rng.standard_normal((1024, 3)) + shift * np.eye(3)[0], rng.standard_normal((1024, 3)))
            for _ in range(20)
        ]
        assert min(bounds) > 0
        # to the posterior, where the chains have come all the way; Pinsker's inequality is far from tight
        assert max(bounds) < shift**2 / 2 / 2


def test_signs_are_turned_as_seldom_as_is_said():
    """Signs of values of equal size, for which the inequality is nearest to an equality, by exact sums."""
    for n in (4, 16, 64):
        sums = np.arange(-n, n + 1, 2)
        for level in (0.05, 1e-3, 1e-6):
            beyond = np.abs(sums) / np.sqrt(n) > critical(level)
            assert stats.binom.pmf((sums[beyond] + n) / 2, n, 0.5).sum() <= level
    assert critical(1e-6) < stats.norm.isf(1e-6 / 2) + 0.3  # and it costs little


def test_of_each_entry_the_worst_is_told_and_quantiles_only_where_nothing_else_is():
    rng = np.random.default_rng(6)
    before, after = pairs(rng, 4096, 3, 0.0)
    own = np.concatenate([before, rng.standard_normal((10_000, 3))])
    up = np.eye(3)[1]
    found = notable_shifts(compare(before + up, 2 * after, own + up, 3), ["a", "b", "c"])
    assert {(shift.entry, shift.what) for shift in found} == {("a", "sd"), ("b", "sd"), ("c", "sd")}
    assert found == sorted(found, key=lambda shift: -shift.at_least)
    skewed = rng.exponential(size=(20_000, 3)) - 1  # the same mean and sd as a normal's, other quantiles
    found = notable_shifts(compare(skewed[:4096], after, skewed, 3), ["a", "b", "c"])
    assert {shift.what for shift in found} <= {"5% quantile", "median"}
    assert {shift.entry for shift in found} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        (Shift("x", "mean", -0.5, 0.31), "the mean of x is too low by at least 0.31 posterior sds"),
        (Shift("x", "sd", 0.5, np.log(1.4)), "the sd of x is at least 1.4 times the posterior's"),
        (Shift("x", "sd", -0.5, np.log(2)), "the sd of x is at most 0.5 times the posterior's"),
        (Shift("x and y", "correlation", 0.5, 0.3), "the correlation of x and y is too high by at least 0.3"),
        (Shift("x", "median", 0.5, 0.3), "the median of x is too high by at least 0.3 posterior sds"),
    ],
)
def test_errors_are_said_as_bounds(shift, words):
    assert str(shift).replace("0.50 ", "0.5 ").replace("0.30", "0.3") == words
