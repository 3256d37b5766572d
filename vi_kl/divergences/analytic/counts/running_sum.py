"""Sums over counts whose end is known only when the program runs: block by block, until all of p is summed.

The first pass finds p's normalisation and the mean of log q/p, the second the divergence of log-sum-exp from there,
as bregman.log_sum_exp does; so nothing cancels where p and q nearly agree. q's probability beyond p's support is added
up too; if q reaches much further, it is q's total, known from its probability of 0, minus q's probability there.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vi_kl.divergences.analytic.counts.pmf_grid import cumulated, log_step_ratios, log_steps, steps_of
from vi_kl.divergences.analytic.counts.tails import LOG_PMF_AT_ZERO
from vi_kl.divergences.bregman import em

BLOCK = 64  # counts at a time
LIMIT = 0.4 * np.log(np.finfo(np.float64).max)  # bound of exponents whose sum is formed directly


class Block(NamedTuple):
    """A block of counts: log pmfs and log q/p up to constants, on a last axis, and where each of them holds."""

    log_p: jax.Array
    log_q: jax.Array
    delta: jax.Array
    in_p: jax.Array
    in_q: jax.Array


class LogSum(NamedTuple):
    """A running sum w exp(x), as the largest x so far and the sum relative to it; w may be negative."""

    top: jax.Array
    total: jax.Array

    @classmethod
    def of_nothing(cls, like):
        return cls(jnp.full_like(like, -jnp.inf), jnp.zeros_like(like))

    def plus(self, log_values, where, weights=1.0):
        values = jnp.where(where, lax.stop_gradient(log_values), -jnp.inf).max(-1)
        top = jnp.maximum(self.top, values)
        safe = jnp.where(top > -jnp.inf, top, 0.0)
        shrunk = self.total * jnp.exp(jnp.where(self.top > -jnp.inf, self.top, -jnp.inf) - safe)
        relative = jnp.where(where, jnp.exp(jnp.where(where, log_values - safe[..., None], 0.0)) * weights, 0.0)
        return LogSum(top, shrunk + relative.sum(-1))

    def log(self):
        positive = self.total > 0
        return jnp.where(positive, self.top + jnp.log(jnp.where(positive, self.total, 1.0)), -jnp.inf)


def over_blocks(p, q, first, last, update, start):
    """Fold `update(state, block)` over the counts from `first` on until all of the batch are past `last`."""

    def body(carry):
        count, offsets, state = carry
        grid = count[..., None] + jnp.arange(BLOCK, dtype=count.dtype)
        left, right = steps_of(p, grid), steps_of(q, grid)
        steps = jnp.stack([log_steps(left), log_steps(right), log_step_ratios(p, q, left, right, grid)])
        rows = offsets[..., None] + cumulated(steps)
        block = Block(*rows, left.support & (grid <= last[..., None]), right.support)
        return count + BLOCK, offsets + steps.sum(-1), update(state, block)

    offsets = jnp.zeros((3, *first.shape), first.dtype)
    return lax.while_loop(lambda carry: (carry[0] <= last).any(), body, (first, offsets, start))[-1]


def running_kl(p, q, first, last, q_tail: str, q_ends):
    """Return KL(p||q) over the counts from `first` to `last`, beyond which p has no probability.

    Args:
        p, q: members as arrays of the batch shape.
        q_tail: the kind of tail of a q without an end; else "".
        q_ends: whether q has no probability beyond `last` either.
    """
    nothing = LogSum.of_nothing(first)
    start = (nothing, nothing, nothing, nothing, jnp.zeros(first.shape, bool))
    total, mean, inside, outside, beyond = over_blocks(p, q, first, last, add_masses, start)
    log_total = total.log()
    mean = jnp.where(mean.top > -jnp.inf, mean.total * jnp.exp(mean.top - log_total), 0.0)

    def add_terms(state, block):
        return add_divergence(state, block, log_total, mean)

    terms, exponents = over_blocks(p, q, first, last, add_terms, (jnp.zeros_like(mean), nothing))
    divergence = jnp.where(exponents.top > LIMIT, exponents.log(), jnp.log1p(jnp.where(terms > -1, terms, 0.0)))
    log_outside = outside.log()
    if q_tail:
        log_outside = jnp.where(q_ends, log_outside, log_of_rest(q, inside, q_tail))
    cost = jax.nn.softplus(jnp.where(log_outside > -jnp.inf, log_outside - inside.log(), -jnp.inf))
    valid = total.total + inside.total  # NaN where a parameter is
    return jnp.where(beyond, jnp.inf, divergence + jnp.where(log_outside > -jnp.inf, cost, 0.0)) + 0.0 * valid


def log_of_rest(q, inside: LogSum, tail: str):
    """Return the log of q's probability beyond p's support, on the scale on which its pmf at 0 is 1."""
    log_all = -LOG_PMF_AT_ZERO[tail](q)
    rest = -jnp.expm1(jnp.minimum(inside.log() - log_all, 0.0))
    return jnp.where(rest > 0, log_all + jnp.log(jnp.where(rest > 0, rest, 1.0)), -jnp.inf)


def add_masses(state, block: Block):
    total, mean, inside, outside, beyond = state
    both = block.in_p & block.in_q
    return (
        total.plus(block.log_p, block.in_p),
        mean.plus(block.log_p, both, block.delta),
        inside.plus(block.log_q, both),
        outside.plus(block.log_q, block.in_q & ~block.in_p),
        beyond | (block.in_p & ~block.in_q).any(-1),
    )


def add_divergence(state, block: Block, log_total, mean):
    """Return sum w em(x), and log sum w exp(x), of x = log q/p minus its mean."""
    terms, exponents = state
    both = block.in_p & block.in_q
    log_weight = jnp.where(both, block.log_p - log_total[..., None], 0.0)
    x = jnp.where(both, block.delta - mean[..., None], 0.0)
    weight, far = jnp.exp(log_weight), x > 1
    grown = jnp.exp(jnp.minimum(jnp.where(far, log_weight + x, 0.0), LIMIT)) - weight * (1 + x)
    added = jnp.where(both, jnp.where(far, grown, weight * em(jnp.where(far, 0.0, x))), 0.0)
    return terms + added.sum(-1), exponents.plus(log_weight + x, both)


def running_entropy(p, first, last):
    nothing = LogSum.of_nothing(first)

    def add(state, block):
        total, mean = state
        return total.plus(block.log_p, block.in_p), mean.plus(block.log_p, block.in_p, block.log_p)

    total, mean = over_blocks(p, p, first, last, add, (nothing, nothing))
    return total.log() - mean.total * jnp.exp(mean.top - total.log())
