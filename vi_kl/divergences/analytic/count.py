"""Closed forms on counts up to a limit: Binomial, and Bernoulli as one trial, by probabilities or logits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.analytic.categorical import logits_kl
from vi_kl.divergences.bregman import generalized_kl, log_ratio, log_sum_exp
from vi_kl.divergences.registry import NoClosedForm, closed_form, closed_form_entropy, known
from vi_kl.divergences.wide import in_wide_precision

BY_LOGITS = (dist.BernoulliLogits, dist.BinomialLogits)
COUNTS = (dist.BernoulliProbs, dist.BinomialProbs, *BY_LOGITS)


def binomial(p, q):
    """With equally many trials n, n times the divergence of one trial; otherwise an exact finite sum.

    The sum needs to know the numbers of trials. Where they are traced (a Binomial passed into a jitted
    function) and p has fewer trials than q, the result is NaN.
    """
    trials = trials_of(p), trials_of(q)
    if known(*trials) and np.any(trials[0] != trials[1]):
        return different_trials(p, q, *np.broadcast_arrays(*trials))
    (array_p, p_logits), (array_q, q_logits) = parameter(p), parameter(q)
    divergence = trials[0] * trial_kl(array_p, array_q, p_logits=p_logits, q_logits=q_logits)
    if known(*trials) or trials[0] is trials[1]:
        return divergence
    reaches_beyond = (trials[0] > trials[1]) & (p.probs > 0)
    unequal = jnp.where(reaches_beyond, jnp.inf, jnp.nan)
    return jnp.where(trials[0] == trials[1], divergence, unequal).astype(divergence.dtype)


def binomial_entropy(p):
    trials = trials_of(p)
    if not known(trials):
        raise NoClosedForm("The entropy of a Binomial is a sum over its counts, but total_count is being traced.")
    array, logits = parameter(p)
    counts = np.arange(trials.max() + 1)
    return count_entropy(array, log_choose(trials, counts), trials, counts, logits=logits)


for pair in itertools.product(COUNTS, COUNTS):
    closed_form(*pair)(binomial)
for kind in COUNTS:
    closed_form_entropy(kind)(binomial_entropy)


def parameter(distribution):
    """The probabilities or logits that a distribution was given, and whether they are logits."""
    logits = isinstance(distribution, BY_LOGITS)
    return (distribution.logits if logits else distribution.probs), logits


def trials_of(distribution):
    trials = getattr(distribution, "total_count", 1)
    return np.asarray(trials) if known(trials) else trials


@in_wide_precision(0, 0)
def trial_kl(p, q, *, p_logits, q_logits):
    """KL between the outcomes of one trial.

    A probability against a logit is as exact as the rounding of one into the other: relative to how far apart
    they are.
    """
    if p_logits and q_logits:
        return logit_kl(p, q)
    success_p, failure_p = outcomes(p, p_logits)
    success_q, failure_q = outcomes(q, q_logits)
    difference = exact_difference(success_p, failure_p, success_q, failure_q)
    return generalized_kl(success_p, success_q, difference) + generalized_kl(failure_p, failure_q, -difference)


def exact_difference(success_p, failure_p, success_q, failure_q):
    """p - q from whichever of success and failure is the smaller: it has the more digits."""
    return jnp.where(success_p < 0.5, success_p - success_q, failure_q - failure_p)


def logit_kl(p, q):
    """The same from two logits, by the divergence of log-sum-exp; infinite logits as probabilities."""
    certain = jnp.isinf(p) | jnp.isinf(q)
    safe_p, safe_q = jnp.where(certain, 0.0, p), jnp.where(certain, 0.0, q)
    signs = jnp.array([-0.5, 0.5])
    log_weights = jax.nn.log_sigmoid(2 * signs * safe_p[..., None])
    inside = log_sum_exp(jnp.exp(log_weights), log_weights, signs * (safe_q - safe_p)[..., None])
    edge_p, edge_q = jnp.where(certain, p, 0.0), jnp.where(certain, q, 0.0)
    edge = sum(generalized_kl(*map(jax.nn.sigmoid, pair)) for pair in ((edge_p, edge_q), (-edge_p, -edge_q)))
    return jnp.where(certain, edge, inside)


def outcomes(array, logits):
    """The probabilities of success and failure."""
    return (jax.nn.sigmoid(array), jax.nn.sigmoid(-array)) if logits else (array, 1 - array)


def different_trials(p, q, trials_p, trials_q):
    (array_p, p_logits), (array_q, q_logits) = parameter(p), parameter(q)
    counts = np.arange(max(trials_p.max(), trials_q.max()) + 1)
    tables = (log_choose(trials_p, counts), log_choose(trials_q, counts), log_choose_ratio(trials_p, trials_q, counts))
    arrays = (array_p, array_q, *tables, trials_p, trials_q, counts)
    return count_kl(*arrays, p_logits=p_logits, q_logits=q_logits)


@in_wide_precision(0, 0, 1, 1, 1, 0, 0, 1)
def count_kl(p, q, choose_p, choose_q, choose_ratio, trials_p, trials_q, counts, *, p_logits, q_logits):
    """The sum over the counts; the log ratio of the pmfs is formed before anything large is added to it."""
    outcomes_p, outcomes_q = outcomes(p, p_logits), outcomes(q, q_logits)
    success, failure = (safe_log_ratio(y, x) for x, y in zip(outcomes_p, outcomes_q, strict=True))
    delta = choose_ratio + counts * (success - failure)[..., None]
    log_p = count_logits(p, choose_p, trials_p, counts, p_logits)
    return logits_kl(log_p, count_logits(q, choose_q, trials_q, counts, q_logits), delta)


def safe_log_ratio(x, y):
    positive = (x > 0) & (y > 0)
    return jnp.where(positive, log_ratio(jnp.where(positive, x, 1.0), jnp.where(positive, y, 1.0)), 0.0)


@in_wide_precision(0, 1, 0, 1)
def count_entropy(array, choose, trials, counts, *, logits):
    log_p = count_logits(array, choose, trials, counts, logits)
    return -(jnp.exp(log_p) * jnp.where(log_p > -jnp.inf, log_p, 0.0)).sum(-1)


def count_logits(array, choose, trials, counts, logits):
    """The log pmf of a Binomial at `counts`; -inf where it has no probability."""
    array = jnp.asarray(array)[..., None]
    success, failure = (
        (jax.nn.log_sigmoid(array), jax.nn.log_sigmoid(-array)) if logits else (log_of(array), log_of(1 - array))
    )
    failures = jnp.maximum(trials[..., None] - counts, 0)
    return choose + times(counts, success) + times(failures, failure)


def log_of(x):
    return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1.0)), -jnp.inf)


def times(count, log_probability):
    """count * log_probability with 0 * -inf = 0, and a derivative without NaN."""
    return jnp.where(count > 0, count * jnp.where(count > 0, log_probability, 0.0), 0.0)


def log_choose(trials, counts):
    """log C(n, k) for each n in `trials` and k = 0, 1, ... in `counts`; -inf for k > n."""
    trials = np.asarray(trials)[..., None]
    steps = np.log(np.maximum(trials - counts[:-1], 0.5) / (counts[:-1] + 1.0))
    values = np.concatenate([np.zeros(trials.shape), np.cumsum(steps, axis=-1)], axis=-1)
    return np.where(counts <= trials, values, -np.inf)


def log_choose_ratio(trials_p, trials_q, counts):
    """log C(n_q, k) - log C(n_p, k) for k up to n_p, exact where n_q and n_p nearly agree."""
    trials_p, trials_q = np.asarray(trials_p)[..., None], np.asarray(trials_q)[..., None]
    more = np.maximum(trials_q - trials_p, 0)
    steps = np.log1p(more / np.maximum(trials_p - counts[:-1], 1))
    return np.concatenate([np.zeros(trials_p.shape), np.cumsum(steps, axis=-1)], axis=-1)
