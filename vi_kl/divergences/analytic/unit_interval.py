"""Closed forms on the unit interval between different families: Beta, Uniform, Kumaraswamy."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import gammaln

from vi_kl.divergences.analytic.simplex import dirichlet_divergence
from vi_kl.divergences.analytic.univariate import log_laws
from vi_kl.divergences.bregman import log_ratio
from vi_kl.divergences.registry import closed_form, only_where
from vi_kl.divergences.wide import in_wide_precision


@closed_form(dist.Beta, dist.Uniform)
def beta_from_uniform(p, q):
    return beta_from_uniform_kl(p.concentration1, p.concentration0, q.low, q.high)


@closed_form(dist.Uniform, dist.Beta)
def uniform_from_beta(p, q):
    return uniform_from_beta_kl(p.low, p.high, q.concentration1, q.concentration0)


@closed_form(dist.Kumaraswamy, dist.Uniform, by="moments")
def kumaraswamy_from_uniform(p, q):
    return kumaraswamy_from_uniform_kl(p.concentration1, p.concentration0, q.low, q.high)


@closed_form(dist.Uniform, dist.Kumaraswamy)
def uniform_from_kumaraswamy(p, q):
    """x^concentration1 makes the one a Beta(1 / concentration1, 1) and the other a Beta(1, concentration0)."""
    beyond = (p.low < 0) | (p.high > 1)
    unit = (p.low == 0) & (p.high == 1)
    divergence = unit_from_kumaraswamy_kl(q.concentration1, q.concentration0)
    divergence = jnp.where(beyond, jnp.inf, divergence)
    return only_where(unit | beyond, divergence, p, q, "only for a Uniform(0, 1) is there one")


@closed_form(dist.Kumaraswamy, dist.Beta, by="moments")
def kumaraswamy_from_beta(p, q):
    parameters = p.concentration1, p.concentration0, q.concentration1, q.concentration0
    return kumaraswamy_from_beta_kl(*parameters)


def pair(one, zero):
    return jnp.stack(jnp.broadcast_arrays(one, zero), -1)


@in_wide_precision(*[0] * 4)
def beta_from_uniform_kl(one, zero, low, high):
    """Against Beta(1, 1), and what q wastes outside the unit interval."""
    covered = (low <= 0) & (high >= 1)
    unit = dirichlet_divergence(pair(one, zero), jnp.ones((*one.shape, 2)))
    return jnp.where(covered, unit + jnp.log(jnp.where(covered, high - low, 1.0)), jnp.inf)


@in_wide_precision(*[0] * 4)
def uniform_from_beta_kl(low, high, one, zero):
    """KL(Beta(1, 1) || q), and what changes when the interval is smaller; that vanishes where it is not."""
    inside = (low >= 0) & (high <= 1)
    low, high = jnp.where(inside, low, 0.0), jnp.where(inside, high, 1.0)
    unit = dirichlet_divergence(jnp.ones((*one.shape, 2)), pair(one, zero))
    shift = (one - 1) * mean_log_and_one(low, high) + (zero - 1) * mean_log_and_one(1 - high, 1 - low)
    return jnp.where(inside, unit - shift - jnp.log(high - low), jnp.inf)


def mean_log_and_one(low, high):
    """1 + E log X for X uniform between low and high."""
    positive = low > 0
    safe = jnp.where(positive, low, high)
    return jnp.log(high) + jnp.where(positive, low * log_ratio(high, safe) / (high - low), 0.0)


@in_wide_precision(*[0] * 4)
def kumaraswamy_from_uniform_kl(one, zero, low, high):
    covered = (low <= 0) & (high >= 1)
    law = log_laws.beta(jnp.ones_like(one), zero, one, jnp.ones_like(one))
    width = jnp.where(covered, high - low, 1.0)
    return jnp.where(covered, jnp.log(width) - law.entropy - law.mean, jnp.inf)


@in_wide_precision(0, 0)
def unit_from_kumaraswamy_kl(one, zero):
    return dirichlet_divergence(pair(1 / one, jnp.ones_like(one)), pair(jnp.ones_like(zero), zero))


def double_exponential_rule(steps=64, reach=3.4):
    """Nodes u in (0, 1), as log u and log(1 - u), and weights: Takahasi & Mori (1974)."""
    t = np.linspace(-reach, reach, 2 * steps + 1)
    stretched = np.pi / 2 * np.sinh(t)
    log_u, log_rest = -np.logaddexp(0, -2 * stretched), -np.logaddexp(0, 2 * stretched)
    weights = np.pi * np.cosh(t) * np.exp(log_u + log_rest) * (t[1] - t[0])
    return log_u, weights


LOG_NODES, WEIGHTS = double_exponential_rule()


@in_wide_precision(*[0] * 4)
def kumaraswamy_from_beta_kl(one, zero, other_one, other_zero):
    """In y = x^one, which is Beta(1, zero), against Beta(other_one / one, other_zero), and what that differs by.

    The difference holds the mean of log((1 - y) / (1 - x)), a smooth function, which has no elementary form; the
    double exponential rule gives it to 1e-13.
    """
    rescaled = other_one / one
    in_y = dirichlet_divergence(pair(jnp.ones_like(zero), zero), pair(rescaled, other_zero))
    betas = gammaln(other_one) - gammaln(other_one + other_zero) - (gammaln(rescaled) - gammaln(rescaled + other_zero))
    log_rest = LOG_NODES / zero[..., None]  # log(1 - y), with (1 - y)^zero uniform
    log_y = jnp.log(-jnp.expm1(log_rest))
    log_gap = log_rest - jnp.log(-jnp.expm1(log_y / one[..., None]))
    mean_gap = (WEIGHTS * jnp.where(WEIGHTS > 0, log_gap, 0.0)).sum(-1)
    return in_y + jnp.log(one) + betas + (other_zero - 1) * mean_gap
