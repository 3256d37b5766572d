"""Closed forms on counts up to a limit: Binomial, and Bernoulli as one trial, by probabilities or logits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.analytic.counts.finite_sum import finite_entropy, finite_sum
from vi_kl.divergences.bregman import generalized_kl, log_sum_exp
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import closed_form, closed_form_entropy, known

BY_LOGITS = (dist.BernoulliLogits, dist.BinomialLogits)
COUNTS = (dist.BernoulliProbs, dist.BinomialProbs, *BY_LOGITS)


def binomial(p, q):
    """Return KL between two binomials.

    For equally many trials n it is n times the divergence of one trial; otherwise it is an exact finite sum.
    """
    trials = trials_of(p), trials_of(q)
    if known(*trials) and np.any(trials[0] != trials[1]):
        return finite_sum(p, q)
    (array_p, p_logits), (array_q, q_logits) = parameter(p), parameter(q)
    divergence = trials[0] * trial_kl(array_p, array_q, p_logits=p_logits, q_logits=q_logits)
    if known(*trials) or trials[0] is trials[1]:
        return divergence
    return jnp.where(trials[0] == trials[1], divergence, finite_sum(p, q)).astype(divergence.dtype)


for pair in itertools.product(COUNTS, COUNTS):
    closed_form(*pair)(binomial)
for kind in COUNTS:
    closed_form_entropy(kind)(finite_entropy)


def parameter(distribution):
    """Return the probabilities or logits that a distribution was given, and whether they are logits."""
    logits = isinstance(distribution, BY_LOGITS)
    return (distribution.logits if logits else distribution.probs), logits


def trials_of(distribution):
    """Return the number of trials, without axes that vmap has removed.

    The latter matters where the number is not data to JAX, as a Multinomial's.
    """
    trials = getattr(distribution, "total_count", 1)
    if not known(trials):
        return trials
    trials, extra = np.asarray(trials), np.ndim(trials) - len(batch_shape_of_parameter(distribution))
    return trials.reshape(trials.shape[extra:]) if extra > 0 and set(trials.shape[:extra]) == {1} else trials


def batch_shape_of_parameter(distribution):
    """Return the batch shape of the probabilities, logits or concentrations, without the axis of the categories."""
    held = distribution.__dict__
    name = next((name for name in ("probs", "logits", "concentration") if name in held), None)
    shape = np.shape(held[name]) if name else np.shape(getattr(distribution, "total_count", 1))
    return shape[:-1] if distribution.event_shape else shape


@computed_in_float64(0, 0)
def trial_kl(p, q, *, p_logits, q_logits):
    """Return KL between the outcomes of one trial.

    A probability with a logit is as exact as the rounding of one into the other: relative to how far apart
    they are.
    """
    if p_logits and q_logits:
        return logit_kl(p, q)
    success_p, failure_p = outcomes(p, p_logits)
    success_q, failure_q = outcomes(q, q_logits)
    difference = exact_difference(success_p, failure_p, success_q, failure_q)
    return generalized_kl(success_p, success_q, difference) + generalized_kl(failure_p, failure_q, -difference)


def exact_difference(success_p, failure_p, success_q, failure_q):
    """Return p - q from whichever of success and failure is the smaller, which has the more digits."""
    return jnp.where(success_p < 0.5, success_p - success_q, failure_q - failure_p)


def logit_kl(p, q):
    """Return KL of one trial from two logits, by the divergence of log-sum-exp.

    Infinite logits are treated as probabilities.
    """
    certain = jnp.isinf(p) | jnp.isinf(q)
    safe_p, safe_q = jnp.where(certain, 0.0, p), jnp.where(certain, 0.0, q)
    signs = jnp.array([-0.5, 0.5])
    log_weights = jax.nn.log_sigmoid(2 * signs * safe_p[..., None])
    inside = log_sum_exp(jnp.exp(log_weights), log_weights, signs * (safe_q - safe_p)[..., None])
    edge_p, edge_q = jnp.where(certain, p, 0.0), jnp.where(certain, q, 0.0)
    edge = sum(generalized_kl(*map(jax.nn.sigmoid, pair)) for pair in ((edge_p, edge_q), (-edge_p, -edge_q)))
    return jnp.where(certain, edge, inside)


def outcomes(array, logits):
    """Return the probabilities of success and failure."""
    return (jax.nn.sigmoid(array), jax.nn.sigmoid(-array)) if logits else (array, 1 - array)


def log_of(x):
    return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1.0)), -jnp.inf)


def times(count, log_probability):
    """Return count * log_probability with 0 * -inf = 0, and a derivative without NaN."""
    return jnp.where(count > 0, count * jnp.where(count > 0, log_probability, 0.0), 0.0)
