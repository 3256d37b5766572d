"""KL and evidence from weights: intervals that cover, tails that are smoothed, sizes that count."""

import math

import numpy as np
import pytest
from scipy import integrate, stats
from tiers import exhaustive_after

from vi_kl.diagnostics.importance import (
    effective_share,
    kl_by_weights,
    log_evidence_by_weights,
    relative_weights,
    smoothed_weights,
    tell_of_kl,
)
from vi_kl.diagnostics.psis import pareto_k

REPETITIONS, DRAWS = 500, 8192
# p and q by scipy: q close, q with heavier tails, and a skewed p under a skewed q
PAIRS = {
    "close normals": (stats.norm(0, 1), stats.norm(0.05, 1.05)),
    "q of heavy tails": (stats.norm(0, 1), stats.t(5, 0.2, 1.1)),
    "skewed": (stats.gamma(4, scale=0.5), stats.gamma(3, scale=0.7)),
}


@pytest.mark.parametrize("pair", exhaustive_after(1, reversed(PAIRS)))  # the skewed pair by default
def test_intervals_of_kl_and_evidence_cover_at_their_level(pair):
    """p unnormalised by e^3: 95% less three binomial errors over 500 repetitions, or more, but not idly more."""
    p, q = PAIRS[pair]
    kl = integrate.quad(lambda x: q.pdf(x) * (q.logpdf(x) - p.logpdf(x)), *q.ppf([1e-12, 1 - 1e-12]), limit=200)[0]
    rng = np.random.default_rng(5)
    covered = np.zeros(2)
    for _ in range(REPETITIONS):
        x = q.rvs(DRAWS, random_state=rng)
        log_weights = 3.0 + p.logpdf(x) - q.logpdf(x)
        for i, (estimate, reference) in enumerate(
            ((kl_by_weights(log_weights, ""), kl), (log_evidence_by_weights(log_weights, ""), 3.0))
        ):
            low, high = estimate.interval(0.95)
            covered[i] += low <= reference <= high
    assert np.all(covered / REPETITIONS >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / REPETITIONS))
    assert np.all(covered / REPETITIONS <= 0.99)


def test_the_errors_of_a_close_q_cancel():
    """KL is far more precise than the evidence or the ELBO alone: its error is of second order."""
    rng = np.random.default_rng(6)
    p, q = PAIRS["close normals"]
    x = q.rvs(4000, random_state=rng)
    log_weights = p.logpdf(x) - q.logpdf(x)
    alone = log_weights.std() / math.sqrt(4000)
    assert kl_by_weights(log_weights, "").standard_error < 0.2 * alone


def test_a_heavy_tail_that_holds_next_to_nothing_does_not_hide_kl():
    """One weight in a hundred is larger by a Pareto variable of shape 0.85: of a thousandth of it, or of all of it."""
    rng = np.random.default_rng(9)
    tail = np.where(rng.random(4000) < 0.01, rng.random(4000) ** -0.85, 0.0)
    for size, tells in ((1e-3, True), (1.0, False)):
        log_weights = np.log1p(size * tail) + 1e-3 * rng.standard_normal(4000)
        assert tell_of_kl(log_weights, 0.85) == tells
    assert not tell_of_kl(np.log1p(1e-3 * tail), 1.1)


def test_smoothing_tames_the_largest_weights_and_keeps_their_order():
    log_weights = -0.8 * np.log(np.random.default_rng(7).random(4000))
    smoothed = smoothed_weights(log_weights)
    assert smoothed.sum() == pytest.approx(1.0)
    assert np.array_equal(np.argsort(smoothed), np.argsort(log_weights))
    raw = relative_weights(log_weights) / len(log_weights)
    body = np.argsort(log_weights)[:3000]
    np.testing.assert_allclose(smoothed[body] / smoothed[body].sum(), raw[body] / raw[body].sum(), rtol=1e-12)


def test_smoothing_lowers_the_error_of_a_mean():
    """Over repetitions, at k = 0.7: the mean of x under weights Pareto in x, against its known value."""
    rng = np.random.default_rng(8)
    errors = {"raw": [], "smoothed": []}
    for _ in range(300):
        u = rng.random(1000)
        log_weights = -0.7 * np.log(u)
        reference = 0.3 / 1.3  # E[w u] / E[w] = (1 / 1.3) / (1 / 0.3)
        errors["raw"].append(relative_weights(log_weights) @ u / 1000 - reference)
        errors["smoothed"].append(smoothed_weights(log_weights) @ u - reference)
    assert np.mean(np.square(errors["smoothed"])) < np.mean(np.square(errors["raw"]))


def test_smoothed_tails_follow_the_pareto_that_they_come_from():
    """At exact quantiles of a Pareto tail there is nothing to smooth."""
    n = 20_000
    log_weights = -0.6 * np.log((np.arange(n) + 0.5) / n)
    smoothed = smoothed_weights(log_weights)
    raw = relative_weights(log_weights) / n
    tail = np.argsort(log_weights)[-200:-20]
    np.testing.assert_allclose(smoothed[tail] / raw[tail], 1.0, atol=0.05)
    assert pareto_k(log_weights) == pytest.approx(0.6, abs=0.03)


def test_equal_weights_count_fully_and_one_large_one_alone():
    assert effective_share(np.full(50, 0.02)) == pytest.approx(1.0)
    assert effective_share(np.r_[1.0, np.zeros(99)]) == pytest.approx(0.01)
