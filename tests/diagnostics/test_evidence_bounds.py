"""The evidence between limits, KL from weights, and modes that q never visits."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diagnostics.members import TWO_MODES_EVIDENCE, normal_on_line, two_modes
from scipy import integrate, stats

from vi_kl.core.written_numbers import significant
from vi_kl.diagnostics import check
from vi_kl.diagnostics.evidence import mean_estimate
from vi_kl.diagnostics.evidence_bounds import Limits, elbo_limits, evidence_limits, thin
from vi_kl.reference import PosteriorDraws
from vi_kl.targets import Target

REPETITIONS = 300
TWO = Target.from_log_density(two_modes, 1)


def skewed(rng, loc, scale, n):
    """Log weights at n draws of a normal q, and log inverse weights at n draws of the log-gamma."""
    p, q = stats.loggamma(3), stats.norm(loc, scale)
    ours, theirs = q.rvs(n, random_state=rng), np.log(rng.gamma(3, size=n))
    return p.logpdf(ours) - q.logpdf(ours), q.logpdf(theirs) - p.logpdf(theirs), theirs


def reverse_kl(loc, scale):
    p, q = stats.loggamma(3), stats.norm(loc, scale)
    return integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), loc - 8 * scale, loc + 8 * scale)[0]


def binomial_error(share, n):
    return math.sqrt(share * (1 - share) / n)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("loc", "scale"),
    [
        pytest.param(0.9, 0.65, id="close", marks=pytest.mark.exhaustive),
        pytest.param(0.9, 0.25, id="narrow"),
        pytest.param(0.6, 1.3, id="wide"),
    ],
)
def test_both_limits_hold_on_a_skewed_target(loc, scale):
    """Narrow q has heavy weights, wide q heavy inverse ones: the limits hold at their level for both."""
    rng, kl, n = np.random.default_rng(1), reverse_kl(loc, scale), 500
    evidence, divergence = [], []
    for _ in range(REPETITIONS):
        weights, inverse, z = skewed(rng, loc, scale, n)
        limits = evidence_limits(weights, (), PosteriorDraws(z[None, :, None], True), inverse)
        evidence.append(0.0 in limits)
        divergence.append(kl in limits.minus(elbo_limits(mean_estimate(weights, ""))))
    assert np.mean(evidence) >= 0.975 - 3 * binomial_error(0.975, REPETITIONS)
    assert np.mean(divergence) >= 0.95 - 3 * binomial_error(0.95, REPETITIONS)


def test_dependent_draws_are_thinned_before_they_are_bet_on():
    """An autoregressive chain of correlation 0.9 holds one independent draw in nineteen."""
    rng = np.random.default_rng(2)
    steps, chain = rng.normal(size=(2, 4000)), np.zeros((2, 4000))
    for i in range(1, 4000):
        chain[:, i] = 0.9 * chain[:, i - 1] + math.sqrt(1 - 0.81) * steps[:, i]
    thinned = thin(PosteriorDraws(chain[:, :, None], False), chain.ravel())
    assert 8000 / 30 < len(thinned) < 8000 / 12


def test_a_missing_mode_is_found_without_any_truth(key):
    """k-hat sees nothing; climbs from outside q find the other half, and a limit proves what it costs."""
    c = check(normal_on_line(TWO, 0.0, 1.05), key=key)
    kl = math.log(2) + 0.5 * (1.05**2 - 1) - math.log(1.05)
    assert c.k_hat < 0.5
    assert len(c.missed_modes) == 1
    assert c.missed_modes[0].mode.z == pytest.approx([20.0], abs=1e-3)
    assert c.missed_share == pytest.approx(0.5, abs=0.02)
    assert c.to("bits").missed_share == c.missed_share
    assert abs(c.reverse_kl.value - kl) < 4 * c.reverse_kl.standard_error
    assert abs(c.log_evidence.value - TWO_MODES_EVIDENCE) < 4 * c.log_evidence.standard_error
    assert 0.65 < c.limits.lower < kl
    assert "A mode is missing" in c.verdict
    assert f"{significant(c.reverse_kl.value)} nats" in c.verdict
    assert c.label == "estimated"
    assert "order the labels" in c.try_next[0]


@pytest.mark.exhaustive
def test_the_parts_around_modes_add_up_to_the_evidence():
    """Over keys, evidence and KL with a missed mode have errors of the size that they claim."""
    q = normal_on_line(TWO, 0.0, 1.05)
    scores = []
    for seed in range(60):
        e = check(q, key=jax.random.key(seed), num_draws=2048).log_evidence
        scores.append((e.value - TWO_MODES_EVIDENCE) / e.standard_error)
    assert abs(np.mean(scores)) < 4 / math.sqrt(60)
    assert 0.6 < np.std(scores) < 1.5


def test_a_mode_too_small_to_matter_is_not_named(key):
    target = Target.from_log_density(lambda z: jnp.logaddexp(-0.5 * z[0] ** 2, -12 - 0.5 * (z[0] - 20) ** 2), 1)
    c = check(normal_on_line(target, 0.0, 1.0), key=key)
    assert c.missed_modes == ()
    assert c.reverse_kl.value < 1e-4
    assert "mode is missing" not in c.verdict


def test_limits_subtract_and_convert():
    difference = Limits(1.0, 2.0, 0.975).minus(Limits(0.25, 0.5, 0.975))
    assert (difference.lower, difference.upper) == (0.5, 1.75)
    assert difference.confidence == pytest.approx(0.95)
    assert difference.to("bits").upper == pytest.approx(1.75 / math.log(2))
    assert 1.0 in difference
    assert 2.0 not in difference
    assert "at least 0.5 nats" in str(Limits(0.5, math.inf, 0.95))
