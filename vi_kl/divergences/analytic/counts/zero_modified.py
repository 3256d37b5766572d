"""Closed forms of zero-inflated and hurdle distributions, and of unmodified ones against them.

Whatever the gate does, p and q are a chance of 0 and the base on the counts from 1 on:

    KL = KL of the chances of 0 + P(not 0) * KL of the zero-truncated bases

An unmodified base is one behind a gate of 0. Truncated Poissons and negative binomials have a closed form, and bases of
finite support are summed; the base of a hurdle may also be continuous and is then as it is.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.analytic.counts.count import log_of, trial_kl
from vi_kl.divergences.analytic.counts.counting import (
    WAITING,
    chance_of,
    chances,
    difference_of_successes,
    equal_failures,
    failures_of,
    log_share,
    one_trial,
)
from vi_kl.divergences.analytic.counts.finite_sum import finite_entropy, finite_sum
from vi_kl.divergences.analytic.counts.finite_support import FINITE, UNBOUNDED
from vi_kl.divergences.analytic.counts.gates import log_sum
from vi_kl.divergences.analytic.counts.zero_truncated import truncated_poisson, truncated_waiting
from vi_kl.divergences.bregman import generalized_kl, log_ratio
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import closed_form, closed_form_entropy, evaluate, known, unexpanded

ZERO_MODIFIED = (dist.ZeroInflatedProbs, dist.HurdleProbs)
BY_LOGITS = (dist.ZeroInflatedLogits, dist.HurdleLogits)
SMALLEST = -690.0  # log of a probability, below which float64 loses digits of it


def zero_modified_kl(p, q):
    bases = base_of(p), base_of(q)
    (gate_p, form_p), (gate_q, form_q) = gate_of(p), gate_of(q)
    forms = {"form_p": form_p, "form_q": form_q}
    if all(isinstance(base, dist.Poisson) for base in bases):
        return zero_modified_poisson_kl(gate_p, bases[0].rate, gate_q, bases[1].rate, **forms)
    if all(isinstance(base, WAITING) for base in bases):
        (x_p, kind_p), (x_q, kind_q) = map(chance_of, bases)
        failures = failures_of(bases[0])
        kinds = {"kind_p": kind_p, "kind_q": kind_q}
        equal = equal_failures(*bases)
        if known(equal) and not np.all(equal):
            return finite_sum(p, q)
        divergence = zero_modified_waiting_kl(gate_p, x_p, gate_q, x_q, failures, **forms, **kinds)
        return divergence if known(equal) else jnp.where(equal, divergence, finite_sum(p, q))
    if not any(base.is_discrete for base in bases):
        return hurdle_of_densities(p, q, *bases)
    if isinstance(bases[0], UNBOUNDED) and isinstance(bases[1], FINITE):
        return beyond_finite(p, q)
    return finite_sum(p, q)


for pair in itertools.product(ZERO_MODIFIED + FINITE + UNBOUNDED, repeat=2):
    if set(pair) & set(ZERO_MODIFIED) and pair[0] is not dist.BetaNegativeBinomial:  # it has no form with itself
        closed_form(*pair)(zero_modified_kl)
for kind in ZERO_MODIFIED:
    closed_form_entropy(kind)(finite_entropy)


def base_of(distribution):
    return unexpanded(distribution.base_dist if isinstance(distribution, ZERO_MODIFIED) else distribution)


def gate_of(distribution):
    """Return the gate as it was given, and its form: its kind of parameter and its effect."""
    if not isinstance(distribution, ZERO_MODIFIED):
        return 0.0, ("success", "inflates")
    does = "replaces" if isinstance(distribution, dist.HurdleProbs) else "inflates"
    if isinstance(distribution, BY_LOGITS):
        return distribution.gate_logits, ("logit", does)
    return distribution.gate, ("success", does)


def beyond_finite(p, q):
    """Return infinity, as q's counts have an end and p's have none, unless p is surely 0."""
    gate, (kind, _) = gate_of(p)
    surely_zero = (gate == (jnp.inf if kind == "logit" else 1)) | (base_of(p).mean == 0)
    return jnp.where(surely_zero, finite_sum(dist.DiscreteUniform(0, 0), q), jnp.inf)


def hurdle_of_densities(p, q, base_p, base_q):
    """Return KL between hurdles of densities: that of the chances of 0 plus that of the densities."""
    (gate_p, (kind_p, _)), (gate_q, (kind_q, _)) = gate_of(p), gate_of(q)
    zeros = trial_kl(gate_p, gate_q, p_logits=kind_p == "logit", q_logits=kind_q == "logit")
    passes = jax.nn.sigmoid(-gate_p) if kind_p == "logit" else 1 - gate_p
    others = jnp.where(passes > 0, evaluate(base_p, base_q), 0.0)
    return zeros + (passes * others).astype(zeros.dtype)


@computed_in_float64(0, 0, 0, 0)
def zero_modified_poisson_kl(gate_p, rate_p, gate_q, rate_q, *, form_p, form_q):
    zeros, others = chance_of_zero_kl(gate_p, gate_q, (rate_p, rate_q), rate_q - rate_p, form_p, form_q)
    return zeros + others * jnp.where(others > 0, truncated_poisson(rate_p, rate_q), 0.0)


@computed_in_float64(0, 0, 0, 0, 0)
def zero_modified_waiting_kl(gate_p, x_p, gate_q, x_q, failures, *, form_p, form_q, kind_p, kind_q):
    """Return KL between zero-modified negative binomials of equally many failures.

    Their chance of 0 is that of nothing but failures.
    """
    trial = one_trial(x_p, x_q, kind_p, kind_q)
    (success_p, failure_p), (success_q, failure_q) = chances(x_p, kind_p), chances(x_q, kind_q)
    surprise_p, surprise_q = -log_share(failure_p, success_p), -log_share(failure_q, success_q)
    step = log_ratio(failure_p, failure_q, -difference_of_successes(x_p, x_q, kind_p, kind_q))
    surprises = failures * surprise_p, failures * surprise_q
    zeros, others = chance_of_zero_kl(gate_p, gate_q, surprises, failures * step, form_p, form_q)
    waiting = failures * trial / failure_p
    sides = (success_p, failure_p, surprise_p), (success_q, failure_q, surprise_q)
    truncated = truncated_waiting(waiting, surprises, failures * step, *sides, trial)
    return zeros + others * jnp.where(others > 0, truncated, 0.0)


def chance_of_zero_kl(gate_p, gate_q, surprises, difference, form_p, form_q):
    """Return KL between "0" and "not 0", and p's chance of the latter; `surprises` are the bases' -log pmf(0)."""
    (shut_p, open_p), (shut_q, open_q) = chances(gate_p, form_p[0]), chances(gate_q, form_q[0])
    (zero_p, rest_p), (zero_q, rest_q) = base_zero(surprises[0], form_p), base_zero(surprises[1], form_q)
    opener = difference_of_successes(gate_p, gate_q, form_p[0], form_q[0])  # what q's gate lets through beyond p's
    more = zero_p - zero_q
    if form_p[1] == form_q[1] == "inflates":
        more = jnp.where(difference > 0, -zero_p, zero_q) * jnp.expm1(-abs(difference))
    passes = open_p * rest_p
    difference = opener * rest_p + open_q * more
    zeros = generalized_kl(shut_p + open_p * zero_p, shut_q + open_q * zero_q, difference)
    if form_q[1] == "inflates":
        log_zero_q = log_sum(log_of(shut_q), log_of(open_q) - surprises[1])
        zeros = with_vanishing_q(zeros, shut_p + open_p * zero_p, log_zero_q)
    return zeros + generalized_kl(passes, open_q * rest_q, -difference), passes


def with_vanishing_q(divergence, chance_p, log_chance_q):
    """Return the divergence also where q's chance underflows but its logarithm does not."""
    vanishing = (log_chance_q < SMALLEST) & (log_chance_q > -jnp.inf) & (chance_p > 0)
    log_ratio = log_of(jnp.where(vanishing, chance_p, 1.0)) - jnp.where(vanishing, log_chance_q, 0.0)
    return jnp.where(vanishing, chance_p * (log_ratio - 1), divergence)


def base_zero(surprise, form):
    """Return the base's chances of 0 and of anything else, as far as the gate lets a 0 through."""
    if form[1] == "replaces":
        return jnp.zeros_like(surprise), jnp.ones_like(surprise)
    return jnp.exp(-surprise), -jnp.expm1(-surprise)
