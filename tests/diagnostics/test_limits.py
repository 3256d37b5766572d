"""Limits by betting: valid for light and heavy tails, and tight enough to be worth having."""

import numpy as np
import pytest
from scipy import stats

from vi_kl.diagnostics.limits import log_lower_limit

N, REPETITIONS = 500, 400
# log of non-negative values with their log mean: constant, light, skewed, without variance, hardly a mean, mostly zero
CASES = {
    "constant": (lambda rng: np.full(N, 0.3), 0.3),
    "lognormal": (lambda rng: 0.3 * rng.normal(size=N), 0.045),
    "wide lognormal": (lambda rng: 2.0 * rng.normal(size=N), 2.0),
    "no variance": (lambda rng: -0.7 * np.log(rng.random(N)), -np.log(0.3)),
    "hardly a mean": (lambda rng: -0.95 * np.log(rng.random(N)), -np.log(0.05)),
    "mostly zero": (lambda rng: np.where(rng.random(N) < 0.01, 0.0, -np.inf), np.log(0.01)),
}


BY_DEFAULT = ("no variance", "mostly zero")


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[] if c in BY_DEFAULT else pytest.mark.exhaustive) for c in CASES]
)
def test_it_holds_at_its_level_whatever_the_tails(case):
    draw, log_mean = CASES[case]
    rng = np.random.default_rng(1)
    limits = np.array([log_lower_limit(draw(rng), 0.9) for _ in range(REPETITIONS)])
    violations = int((limits > log_mean + 1e-12).sum())
    # as many as a limit that is violated exactly one time in ten would show with probability 1e-3
    assert violations <= stats.binom.ppf(0.999, REPETITIONS, 0.1)


@pytest.mark.exhaustive
def test_a_normal_limit_is_violated_where_this_one_is_not():
    """The case that needs it: rare large values hold most of the mean, so samples without one look precise."""
    rng = np.random.default_rng(2)
    rare = np.log(np.where(rng.random((REPETITIONS, 200)) < 0.005, 100.0, 0.5))
    log_mean = np.log(0.005 * 100 + 0.995 * 0.5)
    values = np.exp(rare)
    central = values.mean(axis=1) + 1.2816 * values.std(axis=1, ddof=1) / np.sqrt(200)
    assert np.mean(central < np.exp(log_mean)) > 0.3  # an upper limit by the central limit theorem: far from 90%
    assert np.mean([log_lower_limit(row, 0.9) <= log_mean for row in rare]) >= 0.9


def test_its_width_is_within_three_times_the_central_limit_theorems():
    rng = np.random.default_rng(3)
    log_values = 0.3 * rng.normal(size=16_384)
    values = np.exp(log_values)
    width = np.log(values.mean()) - log_lower_limit(log_values, 0.95)
    assert 1.6449 < width / (values.std() / values.mean() / np.sqrt(len(values))) < 3 * 1.6449


def test_one_value_among_millions_of_zeros_has_a_limit():
    """Against a mean that is low enough the only bet won makes up for all that are lost."""
    log_values = np.full(300_000, -np.inf)
    log_values[7] = 0.0
    limit = log_lower_limit(log_values)
    assert -np.inf < limit < np.log(1 / 300_000)


def test_it_moves_with_the_scale_and_knows_zero():
    rng = np.random.default_rng(4)
    log_values = rng.normal(size=500)
    assert log_lower_limit(log_values + 1000.0) == pytest.approx(log_lower_limit(log_values) + 1000.0, abs=1e-5)
    assert log_lower_limit(np.full(10, -np.inf)) == -np.inf
    assert log_lower_limit(log_values, 0.99) < log_lower_limit(log_values, 0.9)


@pytest.mark.parametrize(("values", "confidence", "words"), [([np.nan, 0.0], 0.9, "NaN"), ([0.0, 1.0], 1.0, "between")])
def test_nonsense_is_refused(values, confidence, words):
    with pytest.raises(ValueError, match=words):
        log_lower_limit(np.array(values), confidence)
