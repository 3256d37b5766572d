"""Zeros added to a pmf by a gate: a zero-inflated pmf, or a hurdle, which replaces the zeros that are there.

A gate g is given as a probability or as a logit. Zero inflation makes of pmf the mixture g at 0 plus (1 - g) pmf; a
hurdle puts g at 0 and divides 1 - g over the other counts. No gate at all is zero inflation by g = 0.
"""

import jax
import jax.numpy as jnp

from vi_kl.divergences.analytic.categorical import masked_log_sum_exp
from vi_kl.divergences.bregman import SERIES_RADIUS, log_ratio


def log_pmf_behind_gate(member, log_pmf, zero):
    """Return the log pmf behind the member's gate; `zero` marks where the count is 0."""
    log_gate, log_open = log_gate_of(member)
    hurdle = member.gate_form[..., 1] == 1
    at_zero = jnp.where(zero, log_pmf, -jnp.inf).max(-1)
    inflated = log_sum(log_gate, log_open + at_zero)
    left = jnp.where(hurdle, log_rest(log_pmf, zero), 0.0)
    others = log_open[..., None] + log_pmf - left[..., None]
    return jnp.where(zero, jnp.where(hurdle, log_gate, inflated)[..., None], others)


def log_gate_of(member):
    """Return log g and log(1 - g)."""
    by_logits, x = member.gate_form[..., 0] == 1, member.gate
    logit, chance = jnp.where(by_logits, x, 0.0), jnp.where(by_logits, 0.5, x)
    inside = jnp.where((chance > 0) & (chance < 1), chance, 0.5)
    log_gate = jnp.where(chance > 0, jnp.where(chance < 1, jnp.log(inside), 0.0), -jnp.inf)
    log_open = jnp.where(chance < 1, jnp.where(chance > 0, jnp.log1p(-inside), 0.0), -jnp.inf)
    from_logit = -jax.nn.softplus(-logit), -jax.nn.softplus(logit)
    return jnp.where(by_logits, from_logit[0], log_gate), jnp.where(by_logits, from_logit[1], log_open)


def log_sum(x, y):
    """Return log(exp(x) + exp(y)), -inf where both are, with a derivative without NaN."""
    both = jnp.stack([x, y], -1)
    return jnp.where(jnp.maximum(x, y) > -jnp.inf, masked_log_sum_exp(both, both > -jnp.inf), -jnp.inf)


def log_rest(log_pmf, zero):
    """Return the log probability of all counts but 0."""
    return masked_log_sum_exp(log_pmf, ~zero & (log_pmf > -jnp.inf))


def log_ratio_behind_gates(p, q, log_p, log_q, delta, zero):
    """Return log q - log p behind the gates, from the bases' log pmfs and their difference `delta` up to a constant.

    If they are close, so that their difference is not exact, it is computed from the differences of the gates and
    `delta`.
    """
    delta = delta_with_its_constant(log_p, log_q, delta)
    log_opens = [log_gate_of(member)[1] for member in (p, q)]
    log_rests = [log_rest(log_pmf, zero) for log_pmf in (log_p, log_q)]
    (open_p, open_q), (rest_p, rest_q) = map(jnp.exp, log_opens), map(jnp.exp, log_rests)
    fewer_zeros = difference_of_rests(log_p, delta, zero, rest_p, rest_q)
    opener = difference_of_opens(p, q, open_p, open_q)
    hurdle_p, hurdle_q = (member.gate_form[..., 1] == 1 for member in (p, q))
    passed_p, passed_q = jnp.where(hurdle_p, 1.0, rest_p), jnp.where(hurdle_q, 1.0, rest_q)
    passes = jnp.where(hurdle_p & hurdle_q, 0.0, jnp.where(hurdle_p | hurdle_q, passed_q - passed_p, fewer_zeros))
    zeros = [jnp.where(zero, log_pmf_behind_gate(*pair, zero), -jnp.inf).max(-1) for pair in ((p, log_p), (q, log_q))]
    at_zero = exact_log_ratio(*zeros, -(opener * passed_p + open_q * passes))
    shift = exact_log_ratio(*log_opens, opener)
    both = exact_log_ratio(*log_rests, fewer_zeros)
    one = jnp.where(hurdle_q, log_rests[1], 0.0) - jnp.where(hurdle_p, log_rests[0], 0.0)
    shift = shift - jnp.where(hurdle_p & hurdle_q, both, one)
    return jnp.where(zero, at_zero[..., None], delta + shift[..., None])


def delta_with_its_constant(log_p, log_q, delta):
    """Return log q - log p, which delta is up to a constant; 0 where one of them is -inf."""
    both = (log_p > -jnp.inf) & (log_q > -jnp.inf)
    delta = jnp.where(both, delta, 0.0)
    alike = (log_p > -jnp.inf) == (log_q > -jnp.inf)
    near = (alike & (abs(delta) < SERIES_RADIUS)).all(-1)
    small = jnp.where(near[..., None], delta, 0.0)
    growth = jnp.log1p((jnp.exp(jnp.where(both, log_p, -jnp.inf)) * jnp.expm1(small)).sum(-1))
    far = masked_log_sum_exp(log_p + delta, both) - masked_log_sum_exp(log_q, both)
    return jnp.where(both, delta - jnp.where(near, growth, far)[..., None], 0.0)


def difference_of_rests(log_p, delta, zero, rest_p, rest_q):
    """Return how much less probability q has at 0 than p."""
    change = jnp.where(zero, delta, 0.0).sum(-1)
    near = abs(change) < SERIES_RADIUS
    at_zero = jnp.exp(jnp.where(zero, log_p, -jnp.inf).max(-1))
    return jnp.where(near, -at_zero * jnp.expm1(jnp.where(near, change, 0.0)), rest_q - rest_p)


def difference_of_opens(p, q, open_p, open_q):
    """Return (1 - g) of q minus that of p."""
    logits = [member.gate_form[..., 0] == 1 for member in (p, q)]
    fall = q.gate - p.gate
    near = logits[0] & logits[1] & (abs(fall) < SERIES_RADIUS)
    by_logits = open_q * (1 - open_p) * -jnp.expm1(jnp.where(near, fall, 0.0))
    return jnp.where(near, by_logits, jnp.where(logits[0] | logits[1], open_q - open_p, -fall))


def exact_log_ratio(log_x, log_y, difference):
    """Return log(y / x), from y - x where that is relatively small."""
    known = (log_x > -300) & (log_y > -300)
    x, y = (jnp.exp(jnp.where(known, z, 0.0)) for z in (log_x, log_y))
    difference = jnp.where(known, difference, 0.0)
    far = jnp.where(log_y > -jnp.inf, log_y, 0.0) - jnp.where(log_x > -jnp.inf, log_x, 0.0)
    return jnp.where(known & (abs(difference) < SERIES_RADIUS * x), log_ratio(y, x, difference), far)
