"""f-divergences of pmf arrays: sums over the support, which is the last axis.

NumPy arrays are computed in float64, JAX arrays in their own dtype. Rounding in sums that are 1 to the dtype's
precision is divided out, so derivatives are those along the simplex; an entry that is zero stays zero.
"""

import math

import numpy as np

from vi_kl.divergences.bregman import log_ratio, log_sum_exp, namespace
from vi_kl.divergences.discrete import kl_divergence_value, nan_of_rows, safe_log
from vi_kl.divergences.f_divergences.generators import Generator, hartley, renyi


def f_divergence(generator: Generator, p, q):
    """Return the f-divergence of pmfs that were checked."""
    xp = namespace(p, q)
    log_p, log_q, x, both = log_pmfs(p, q)
    with np.errstate(over="ignore"):
        terms = [xp.where(both, term, 0.0).sum(-1) for term in generator.terms(log_p, log_q, x)]
    p_outside = xp.where(q > 0, 0.0, p / p.sum(-1, keepdims=True)).sum(-1)
    q_outside = xp.where(p > 0, 0.0, q / q.sum(-1, keepdims=True)).sum(-1)
    integrals = [
        total + times(by_p, p_outside) + times(by_q, q_outside)
        for total, by_p, by_q in zip(terms, generator.p_alone, generator.q_alone, strict=True)
    ]
    return with_nan(generator.value(integrals), p, q)


def with_nan(value, p, q):
    """Return NaN where p or q has one, which comparisons take for a zero.

    NumPy arrays were checked for NaN before.
    """
    return value if namespace(p, q) is np else value + nan_of_rows(p, q)


def log_pmfs(p, q):
    """Return log p, log q and log(p/q), as if p = q = 1 where one of them is 0; and where neither is."""
    xp = namespace(p, q)
    p, q = xp.broadcast_arrays(p, q)
    both = (p > 0) & (q > 0)
    safe_p, safe_q = xp.where(both, p, 1.0), xp.where(both, q, 1.0)
    sum_p, sum_q = p.sum(-1, keepdims=True), q.sum(-1, keepdims=True)
    x = log_ratio(safe_p, safe_q) - log_ratio(sum_p, sum_q, (p - q).sum(-1, keepdims=True))
    return xp.log(safe_p) - xp.log(sum_p), xp.log(safe_q) - xp.log(sum_q), xp.where(both, x, 0.0), both


def times(weight: float, amount):
    """Return weight * amount with inf * 0 = 0, and a derivative without NaN."""
    if weight == 0:
        return 0.0 * amount
    return namespace(amount).where(amount > 0, math.inf, 0.0) if math.isinf(weight) else weight * amount


def renyi_divergence(order: float, p, q):
    """Return Renyi's divergence of any order, also an infinite one."""
    if math.isinf(order):
        return with_nan(largest_log_ratio(p, q) if order > 0 else -largest_log_ratio(q, p), p, q)
    if order < 0:
        return order / (1 - order) * renyi_divergence(1 - order, q, p)
    if order == 0:
        return f_divergence(hartley(), p, q)
    return f_divergence(renyi(order), p, q) if order < 1 else with_nan(high_renyi(order, p, q), p, q)


def high_renyi(order, p, q):
    """Return Renyi's divergence of an order from 1 on.

    It is KL(p||q) plus the excess of the log of a mean over the mean of logs.

    Neither is negative, and no power of p/q leaves the floating range on the way.
    """
    xp = namespace(p, q)
    divergence = kl_divergence_value(p, q, xp)
    if order == 1:
        return divergence
    _, _, x, _ = log_pmfs(p, q)
    weights = xp.broadcast_to(p / p.sum(-1, keepdims=True), x.shape)
    excess = log_sum_exp(weights, safe_log(weights, xp), (order - 1) * x)
    return divergence + xp.where(divergence < math.inf, excess, 0.0) / (order - 1)


def largest_log_ratio(p, q):
    """Return max log(p/q) over p's support."""
    xp = namespace(p, q)
    _, _, x, both = log_pmfs(p, q)
    largest = xp.where(both, x, -math.inf).max(-1)
    return xp.where(((p > 0) & (q == 0)).any(-1), math.inf, xp.maximum(largest, 0.0))
