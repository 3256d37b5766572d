"""Closed forms on counts of categories: Multinomial, by probabilities or logits, and DirichletMultinomial.

p and q of different numbers of trials have no outcome in common, so their divergence is infinite.
"""

import itertools

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.analytic.categorical import categorical
from vi_kl.divergences.analytic.counts.count import trials_of
from vi_kl.divergences.analytic.counts.urns import long_urns_kl, urns_kl
from vi_kl.divergences.registry import NeedsKnownValues, closed_form, known, no_closed_form

MANY_DRAWS = 500
MULTINOMIAL = (dist.MultinomialProbs, dist.MultinomialLogits)


def multinomial(p, q):
    """Return the number of trials times the divergence of one trial."""
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
    """Return KL for equally many trials: the sum of the divergences of the next draw from Polya's two urns.

    Up to MANY_DRAWS trials it keeps all digits; beyond, it may lose some if the concentrations are much larger
    than the number of trials.

    Raises:
        NoClosedForm: total_count is being traced: the sum needs to know where it ends.
    """
    trials = trials_of(p), trials_of(q)
    if not known(*trials):
        why = "it is a sum over the trials, but total_count is being traced"
        raise no_closed_form(p, q, why, NeedsKnownValues)
    longest = int(np.max(np.minimum(*np.broadcast_arrays(*trials)), initial=0))
    kl = urns_kl if longest <= MANY_DRAWS else long_urns_kl
    divergence = kl(p.concentration, q.concentration, trials[0], np.arange(longest))
    return infinite_unless_equal(*trials, divergence)
