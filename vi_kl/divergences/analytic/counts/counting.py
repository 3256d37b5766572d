"""Closed forms on counts without a limit: Poisson, Geometric, and the negative binomials of equal concentration.

A negative binomial counts the successes before its r-th failure (NumPyro calls r concentration or total_count,
and GammaPoisson is one too); a Geometric is the case r = 1. With equal r, the divergence is that of one trial times
the expected number of trials, r / P(failure).
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.analytic.counts.count import exact_difference, log_of, logit_kl, times
from vi_kl.divergences.analytic.counts.finite_sum import finite_entropy, finite_sum
from vi_kl.divergences.bregman import SERIES_RADIUS, generalized_kl
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import closed_form, closed_form_entropy, known

WAITING = (dist.GeometricProbs, dist.GeometricLogits, dist.GammaPoisson)


@closed_form(dist.Poisson, dist.Poisson)
def poisson(p, q):
    return poisson_kl(p.rate, q.rate)


@computed_in_float64(0, 0)
def poisson_kl(rate_p, rate_q):
    return generalized_kl(rate_p, rate_q)


def waiting(p, q):
    """Return KL between geometric and negative binomial distributions.

    There is a closed form if they wait for equally many failures, else a sum.
    """
    (array_p, kind_p), (array_q, kind_q) = chance_of(p), chance_of(q)
    equal = equal_failures(p, q)
    if known(equal) and not np.all(equal):
        return finite_sum(p, q)
    divergence = waiting_kl(array_p, array_q, failures_of(p), kind_p=kind_p, kind_q=kind_q)
    return divergence if known(equal) else jnp.where(equal, divergence, finite_sum(p, q))


def equal_failures(p, q):
    """Return whether the two wait for equally many failures: a bool, or an array while it is being traced."""
    failures = failures_of(p), failures_of(q)
    if failures[0] is failures[1]:
        return True
    if known(*failures):
        failures = tuple(np.asarray(r, dtype=np.float64) for r in failures)
    return failures[0] == failures[1]


for pair in itertools.product(WAITING, WAITING):
    closed_form(*pair)(waiting)


def geometric_entropy(p):
    array, kind = chance_of(p)
    return geometric_entropy_of(array, kind=kind)


for geometric in (dist.GeometricProbs, dist.GeometricLogits):
    closed_form_entropy(geometric)(geometric_entropy)
for unbounded in (dist.Poisson, dist.GammaPoisson):
    closed_form_entropy(unbounded)(finite_entropy)


def failures_of(distribution):
    """Return how many failures the count waits for."""
    return getattr(distribution, "concentration", 1.0)


def chance_of(distribution):
    """Return the parameter that a distribution was given for the chance of counting on, and its kind."""
    match distribution:
        case dist.NegativeBinomialProbs():
            return distribution.probs, "success"
        case dist.NegativeBinomialLogits():
            return distribution.logits, "logit"
        case dist.GeometricProbs():  # NumPyro's Geometric stops at a success
            return distribution.probs, "failure"
        case dist.GeometricLogits():
            return -distribution.logits, "logit"
        case _:
            return distribution.rate, "rate"


@computed_in_float64(0, 0, 0)
def waiting_kl(p, q, failures, *, kind_p, kind_q):
    """Return KL of one trial divided by the chance of failure, times the number of failures."""
    trial = one_trial(p, q, kind_p, kind_q)
    _, failure = chances(p, kind_p)
    ended = failure > 0
    endless = jnp.where(trial > 0, jnp.inf, 0.0)  # the limit: trials that never fail distinguish p and q with certainty
    return jnp.where(ended, failures * trial / jnp.where(ended, failure, 1.0), endless)


def one_trial(p, q, kind_p, kind_q):
    """Return KL between the outcomes of one trial.

    The difference of the chances is as exact as that of p and q.
    """
    if kind_p == kind_q == "logit":
        return logit_kl(p, q)
    (success_p, failure_p), (success_q, failure_q) = chances(p, kind_p), chances(q, kind_q)
    difference = difference_of_successes(p, q, kind_p, kind_q)
    return generalized_kl(success_p, success_q, difference) + generalized_kl(failure_p, failure_q, -difference)


def difference_of_successes(p, q, kind_p, kind_q):
    """Return p's probability of success minus q's, as exact as p - q if both are of one kind."""
    chances_p, chances_q = chances(p, kind_p), chances(q, kind_q)
    rounded = exact_difference(*chances_p, *chances_q)
    if kind_p != kind_q:
        return rounded
    match kind_p:
        case "success":
            return p - q
        case "failure":
            return q - p
        case "rate":
            return jnp.where(jnp.isinf(p) | jnp.isinf(q), rounded, (q - p) / (1 + p) / (1 + q))
        case "logit":
            near = abs(p - q) < SERIES_RADIUS
            step = jnp.where(near, q - p, 0.0)
            return jnp.where(near, -chances_p[0] * chances_q[1] * jnp.expm1(step), rounded)


def chances(x, kind):
    """Return the probabilities of success (the count goes on) and of failure; a rate is failure / success."""
    return {
        "success": lambda: (x, 1 - x),
        "failure": lambda: (1 - x, x),
        "logit": lambda: (jax.nn.sigmoid(x), jax.nn.sigmoid(-x)),
        "rate": lambda: (1 / (1 + x), jnp.where(x < jnp.inf, x / (1 + jnp.where(x < jnp.inf, x, 0.0)), 1.0)),
    }[kind]()


@computed_in_float64(0)
def geometric_entropy_of(array, *, kind):
    success, failure = chances(array, kind)
    surprise = times(success, log_share(success, failure)) + failure * log_share(failure, success)
    return -surprise / failure


def log_share(share, rest):
    """Return log(share) for share + rest = 1, exact also next to 1; -inf at 0."""
    large = share > 0.5
    return jnp.where(large, jnp.log1p(-jnp.where(large, rest, 0.0)), log_of(share))
