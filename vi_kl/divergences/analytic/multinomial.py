"""Closed forms on counts of categories: Multinomial, by probabilities or logits, and DirichletMultinomial.

p and q of different numbers of trials have no outcome in common, so their divergence is infinite.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.analytic.categorical import categorical
from vi_kl.divergences.analytic.count import trials_of
from vi_kl.divergences.analytic.simplex import relative_difference_of_means
from vi_kl.divergences.bregman import generalized_kl
from vi_kl.divergences.registry import closed_form, known, no_closed_form
from vi_kl.divergences.wide import in_wide_precision

MULTINOMIAL = (dist.MultinomialProbs, dist.MultinomialLogits)


def multinomial(p, q):
    """The number of trials times the divergence of one trial."""
    trials = trials_of(p), trials_of(q)
    divergence = trials[0] * categorical(one_trial(p), one_trial(q))
    return infinite_unless_equal(*trials, divergence)


for pair in itertools.product(MULTINOMIAL, MULTINOMIAL):
    closed_form(*pair)(multinomial)


def one_trial(distribution):
    if isinstance(distribution, dist.MultinomialLogits):
        return dist.CategoricalLogits(distribution.logits, validate_args=False)
    return dist.CategoricalProbs(distribution.probs, validate_args=False)


def infinite_unless_equal(trials_p, trials_q, divergence):
    return jnp.where(jnp.asarray(trials_p == trials_q), divergence, jnp.inf).astype(divergence.dtype)


@closed_form(dist.DirichletMultinomial, dist.DirichletMultinomial, by="finite sum")
def dirichlet_multinomial(p, q):
    """Of equally many trials: the sum of the divergences of the next draw from the two urns.

    Raises:
        NoClosedForm: total_count is being traced: the sum needs to know where it ends.
    """
    trials = trials_of(p), trials_of(q)
    if not known(*trials):
        raise no_closed_form(p, q, "it is a sum over the trials, but total_count is being traced")
    longest = int(np.max(np.minimum(*np.broadcast_arrays(*trials)), initial=0))
    divergence = urns_kl(p.concentration, q.concentration, trials[0], np.arange(longest))
    return infinite_unless_equal(*trials, divergence)


@in_wide_precision(1, 1, 0, 1)
def urns_kl(concentration_p, concentration_q, trials, draws):
    """Polya's urns: with x balls of a colour added in t draws, the next has it with chance (a + x) / (A + t).

    The sequence of colours tells of p or q no more than their counts do. Over it the divergence adds up draw by
    draw (the chain rule), each the expectation of a Categorical divergence, in which x is Beta-binomial, colour by
    colour. All terms are positive: nothing cancels, however large the concentrations.
    """
    excess = relative_difference_of_means(concentration_p, concentration_q)[..., None]
    a, b = concentration_p[..., None], concentration_q[..., None]  # a last axis for the balls added: 0, 1, ...
    delta = b - a
    total_a, total_b, total_delta = (x.sum(-2, keepdims=True) for x in (a, b, delta))
    added = jnp.arange(draws.shape[-1], dtype=a.dtype)
    start = jnp.broadcast_to(added == 0, (*a.shape[:-1], added.size)).astype(a.dtype)

    def draw(chances, t):
        """The chances of 0, 1, ... balls added before draw t, and its divergence."""
        share, other = (a + added) / (total_a + t), (b + added) / (total_b + t)
        numerator = added * total_delta - t * delta - excess * a * total_a  # of share - other
        difference = numerator / (total_a + t) / (total_b + t)
        divergence = (chances * generalized_kl(share, other, difference)).sum((-2, -1))
        drawn = chances * share
        return chances - drawn + jnp.pad(drawn, [(0, 0)] * (drawn.ndim - 1) + [(1, 0)])[..., :-1], divergence

    steps = jnp.arange(draws.shape[-1], dtype=a.dtype)
    _, divergences = jax.lax.scan(jax.checkpoint(draw), start, steps)
    return jnp.where(steps < trials[..., None], jnp.moveaxis(divergences, 0, -1), 0.0).sum(-1)
