"""Polya's urn: each of n draws adds a ball of the drawn colour; the counts are DirichletMultinomial.

The sequence of colours contains no more information on p or q than the counts do, so the divergence adds up draw by
draw (the chain rule). The next draw has a colour with chance (a + x) / (A + t), after x balls of it in t draws.
"""

import jax
import jax.numpy as jnp

from vi_kl.divergences.analytic.counts.pmf_grid import added_up, most_likely
from vi_kl.divergences.analytic.simplex import relative_difference_of_means
from vi_kl.divergences.bregman import generalized_kl, phi
from vi_kl.divergences.float64 import computed_in_float64


@computed_in_float64(1, 1, 0, 1)
def urns_kl(concentration_p, concentration_q, trials, draws):
    """Return the sum over the draws of the expected Categorical divergence, in which x is Beta-binomial.

    All terms are positive: nothing cancels, however large the concentrations are. It takes n^2 K operations.
    """
    excess = relative_difference_of_means(concentration_p, concentration_q)[..., None]
    a, b = concentration_p[..., None], concentration_q[..., None]  # a last axis for the balls added: 0, 1, ...
    delta = b - a
    total_a, total_b, total_delta = (x.sum(-2, keepdims=True) for x in (a, b, delta))
    added = jnp.arange(draws.shape[-1], dtype=a.dtype)
    start = jnp.broadcast_to(added == 0, (*a.shape[:-1], added.size)).astype(a.dtype)

    def draw(chances, t):
        """Return the chances of 0, 1, ... balls added before draw t, and the draw's divergence."""
        share, other = (a + added) / (total_a + t), (b + added) / (total_b + t)
        numerator = added * total_delta - t * delta - excess * a * total_a  # numerator of share - other
        difference = numerator / (total_a + t) / (total_b + t)
        divergence = (chances * generalized_kl(share, other, difference)).sum((-2, -1))
        drawn = chances * share
        return chances - drawn + jnp.pad(drawn, [(0, 0)] * (drawn.ndim - 1) + [(1, 0)])[..., :-1], divergence

    _, divergences = jax.lax.scan(jax.checkpoint(draw), start, added)
    return jnp.where(added < trials[..., None], jnp.moveaxis(divergences, 0, -1), 0.0).sum(-1)


@computed_in_float64(1, 1, 0, 1)
def long_urns_kl(concentration_p, concentration_q, trials, draws):
    """Return the same sum as `urns_kl` in n K operations, for many draws.

    Let x_k be the count of colour k. Since E[digamma(a_k + x_k) - digamma(a_k)] does not depend on k,

        KL = sum_k sum_j P(x_k > j) phi((b_k - a_k) / (a_k + j)) - sum_j phi((B - A) / (A + j)),   j = 0, 1, ..., n - 1.

    One term is subtracted: if A is much larger than n and the means nearly agree, digits are lost, A/n times the
    rounding error.
    """
    a, b = concentration_p[..., None], concentration_q[..., None]
    total_a, total_delta = a.sum(-2), (b - a).sum(-2)
    drawn = draws < trials[..., None]
    others = jnp.einsum("jk,...ka->...ja", 1.0 - jnp.eye(a.shape[-2]), a)  # exact where one colour has nearly all
    more_than = survival(a, others, trials[..., None, None], draws[..., None, :])
    colours = jnp.where(drawn, (more_than * phi((b - a) / (a + draws[..., None, :]))).sum(-2), 0.0)
    return (colours - jnp.where(drawn, phi(total_delta / (total_a + draws)), 0.0)).sum(-1)


def survival(a, b, trials, counts):
    """Return P(x > j) for x Beta-binomial, at the counts j = 0, 1, ..."""
    left = jnp.maximum(trials - counts, 0.0)
    ratios = left * (a + counts) / (b + jnp.maximum(left - 1, 0.0)) / (counts + 1)
    steps = jnp.where(left > 0, jnp.log(jnp.where(left > 0, ratios, 1.0)), 0.0)
    steps = jnp.concatenate([steps, jnp.zeros_like(steps[..., :1])], -1)
    places = jnp.arange(steps.shape[-1])
    log_pmf = jnp.where(places <= trials, added_up(steps, most_likely(steps, places <= trials)), -jnp.inf)
    pmf = jax.nn.softmax(log_pmf, axis=-1)
    return jnp.flip(jnp.cumsum(jnp.flip(pmf[..., 1:], -1), axis=-1), -1)
