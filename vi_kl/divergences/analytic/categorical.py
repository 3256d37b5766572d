"""Closed forms on categories: Categorical, by probabilities or logits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.bregman import log_sum_exp, share_of_maximum
from vi_kl.divergences.discrete import entropy_jax, kl_divergence_jax, safe_log
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import closed_form, closed_form_entropy, known

CATEGORICAL = (dist.CategoricalProbs, dist.CategoricalLogits)


def categorical(p, q):
    """Return KL between two categoricals.

    Probabilities are taken as they are stored and divided by their sum; logits may be shifted by any constant.
    """
    (array_p, p_logits), (array_q, q_logits) = parameter(p), parameter(q)
    sizes = jnp.shape(array_p)[-1], jnp.shape(array_q)[-1]
    if sizes[0] != sizes[1]:
        raise ValueError(f"p and q must have equally many categories, but p has {sizes[0]} and q has {sizes[1]}.")
    if not p_logits and not q_logits:
        return categorical_probs_kl(array_p, array_q)
    return categorical_logits_kl(array_p, array_q, p_logits=p_logits, q_logits=q_logits)


def categorical_entropy(p):
    array, logits = parameter(p)
    return categorical_entropy_of(array, logits=logits)


for pair in itertools.product(CATEGORICAL, CATEGORICAL):
    closed_form(*pair)(categorical)
for kind in CATEGORICAL:
    closed_form_entropy(kind)(categorical_entropy)


def parameter(distribution):
    """Return the probabilities or logits that a distribution was given, and whether they are logits."""
    if isinstance(distribution, dist.OrderedLogistic):
        return ordered_logits(distribution.predictor, distribution.cutpoints), True
    logits = isinstance(distribution, dist.CategoricalLogits)
    return (distribution.logits if logits else distribution.probs), logits


def ordered_logits(predictor, cutpoints):
    """Return log probabilities between cutpoints, in float64 if they are known: NumPyro's are rounded differences.

    sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)).
    """
    xp = np if known(predictor, cutpoints) else jnp
    as_float = np.float64 if xp is np else jnp.result_type(float, predictor, cutpoints)
    predictor, cutpoints = (xp.asarray(x, dtype=as_float) for x in (predictor, cutpoints))
    above = cutpoints - predictor[..., None]
    nothing = xp.zeros_like(above[..., :1])
    below_upper = xp.concatenate([-xp.logaddexp(0.0, -above), nothing], -1)
    above_lower = xp.concatenate([nothing, -xp.logaddexp(0.0, above)], -1)
    gaps = xp.log(-xp.expm1(cutpoints[..., :-1] - cutpoints[..., 1:])) + nothing
    return below_upper + above_lower + xp.concatenate([nothing, gaps, nothing], -1)


@computed_in_float64(1, 1)
def categorical_probs_kl(p, q):
    return kl_divergence_jax(p, q)


@computed_in_float64(1, 1)
def categorical_logits_kl(p, q, *, p_logits, q_logits):
    return logits_kl(p if p_logits else safe_log(p, jnp), q if q_logits else safe_log(q, jnp))


@computed_in_float64(1)
def categorical_entropy_of(array, *, logits):
    return entropy_jax(jax.nn.softmax(array, axis=-1) if logits else array)


def logits_kl(p, q, delta=None):
    """Return KL between the distributions of these logits; -inf is a category of probability 0.

    It is the divergence of log-sum-exp inside p's support, plus the cost of q's probability outside it. `delta` is
    q - p, up to a constant, if the caller knows it more exactly.
    """
    positive = p > -jnp.inf
    both = positive & (q > -jnp.inf)
    beyond = (positive & ~both).any(-1)
    log_p = jnp.where(positive, p - masked_log_sum_exp(p, positive)[..., None], -jnp.inf)
    weights = jnp.where(positive, jnp.exp(jnp.where(positive, log_p, 0.0)), 0.0)
    if delta is None:
        delta = difference_up_to_a_constant(jnp.where(both, p, 0.0), jnp.where(both, q, 0.0), weights)
    inside = log_sum_exp(weights, log_p, jnp.where(both, delta, 0.0))
    return jnp.where(beyond, jnp.inf, inside + cost_of_probability_outside(q, both))


def masked_log_sum_exp(logits, mask):
    """Return log sum exp of the logits where mask holds; 0 if it holds nowhere."""
    some = mask.any(-1)
    kept = jnp.where(mask, logits, jnp.where(some[..., None], -jnp.inf, 0.0))
    return jnp.where(some, jax.nn.logsumexp(kept, axis=-1), 0.0)


def difference_up_to_a_constant(p, q, weights):
    """Return q - p minus its value at the heaviest entry, so that a shift of all logits costs no digits."""
    delta = q - p
    back = delta - q
    error = (q - (delta - back)) - (p + back)  # Knuth's two-sum: q - p = delta + error exactly
    share = share_of_maximum(weights)
    reference, reference_error = ((share * x).sum(-1, keepdims=True) for x in (delta, error))
    return (delta - reference) + (error - reference_error)


def cost_of_probability_outside(q, inside):
    """Return -log of the probability that q gives to the categories in `inside`."""
    outside = ~inside & (q > -jnp.inf)
    odds = masked_log_sum_exp(q, outside) - masked_log_sum_exp(q, inside)
    return jnp.where(outside.any(-1), jax.nn.softplus(odds), 0.0)
