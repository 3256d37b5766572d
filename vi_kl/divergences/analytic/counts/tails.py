"""The probability that a distribution of counts without a limit has beyond a finite grid.

The grid reaches several times as far as p's support does. Where q's probabilities have settled into a decay there,
the rest is that of a sum whose ratios change slowly; it is exact enough where it is small. Otherwise q's probability
beyond p's support is not small, and 1 minus the sum up to there gives it.
"""

import jax
import jax.numpy as jnp

from vi_kl.divergences.analytic.categorical import masked_log_sum_exp
from vi_kl.divergences.analytic.counts.pmf_grid import finite, positive, quotient
from vi_kl.divergences.analytic.positive import binet_function
from vi_kl.divergences.bregman import generalized_kl

ROUNDING = 4e-16  # error of a sum of probabilities


def with_tail(q, log_q, steps, grid, last, kind):
    """Normalise log q on the grid; append the log of its probability beyond it, or beyond p's `last`."""
    beyond, error = log_rest(log_q[..., -1], steps, grid)
    up_to_last = jnp.where(grid <= last[..., None], log_q, -jnp.inf)
    total = jnp.logaddexp(masked_log_sum_exp(log_q, log_q > -jnp.inf), beyond)
    settled = jnp.exp(beyond - total) * error < ROUNDING
    at_zero = jnp.where(grid == 0, log_q, 0.0).sum(-1)
    total = jnp.where(settled, total, at_zero - LOG_PMF_AT_ZERO[kind](q))
    log_held = jnp.minimum(masked_log_sum_exp(up_to_last, up_to_last > -jnp.inf) - total, 0.0)
    unsettled = jnp.log(positive(-jnp.expm1(log_held))) + jnp.where(log_held < 0, 0.0, -jnp.inf)
    rows = jnp.where(settled[..., None], log_q, up_to_last) - total[..., None]
    return jnp.concatenate([rows, jnp.where(settled, beyond - total, unsettled)[..., None]], -1)


def log_rest(log_last, steps, grid):
    """Return the log of the sum beyond the grid's last count, and its possible relative error.

    Let pmf(k + 1) = (1 - g(k)) pmf(k). The sum from k on is f(k) pmf(k) with f(k) = 1 + (1 - g(k)) f(k + 1). For a
    geometric decay f = 1/g; for a power, where 1/g grows by d at each step, f = 1 / (g (1 - d)).
    """
    first, second, third = (1 / positive(-jnp.expm1(steps[..., i])) for i in (-3, -2, -1))
    growth = third - second
    decays = (steps[..., -3:] < 0).all(-1) & (growth < 1)
    slowness = jnp.where(decays, third / (1 - jnp.where(decays, growth, 0.0)), 1.0)
    ratio = jnp.exp(jnp.where(decays, steps[..., -1], 0.0))
    rest = jnp.where(decays, (ratio + growth / third) * slowness, 1.0)
    error = grid[..., -1] * abs(growth - (second - first)) + 1e-10
    return log_last + jnp.log(positive(rest)), jnp.where(decays, error, jnp.inf)


def poisson_at_zero(q):
    return -quotient(q)[0]


def negative_binomial_at_zero(q):
    """Return a log(1 - odds)."""
    numerator, denominator = quotient(q)
    log_failure = jnp.log(positive(denominator - numerator)) - jnp.log(positive(denominator))
    seldom = numerator < 0.5 * denominator
    log_failure = jnp.where(seldom, jnp.log1p(-jnp.where(seldom, numerator / positive(denominator), 0.0)), log_failure)
    log_failure = jnp.where(q.odds[..., 4] == 0, log_failure, -jax.nn.softplus(finite(q.parameter)))
    return q.a * log_failure


def beta_negative_binomial_at_zero(q):
    """Return log B(a, b + n) / B(a, b), by Stirling's formula.

    Its large terms are divergences between a, b and n.
    """
    total = q.a + q.b + q.n
    d = q.n * q.a / total  # n and a exceed, and b falls short of, products of shares by d; written as products too
    products = q.n * ((q.b + q.n) / total), q.a * ((q.a + q.b) / total), (q.b + q.n) * ((q.a + q.b) / total)
    excesses = (q.n, d), (q.a, d), (q.b, -d)
    deviance = d + sum(generalized_kl(x, y, e) for y, (x, e) in zip(products, excesses, strict=True))
    remainders = remainder(q.a + q.b) + remainder(q.b + q.n) - remainder(total) - remainder(q.b)
    return remainders - deviance


def remainder(x):
    """Return log Gamma(x) - x log x + x - log(2 pi)/2."""
    return binet_function(x) - 0.5 * jnp.log(x)


LOG_PMF_AT_ZERO = {
    "poisson": poisson_at_zero,
    "negative binomial": negative_binomial_at_zero,
    "beta negative binomial": beta_negative_binomial_at_zero,
}
