"""Closed forms on the unit interval between different families: Beta, Uniform, Kumaraswamy."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import gammaln

from vi_kl.divergences.analytic.simplex import dirichlet_divergence
from vi_kl.divergences.bregman import binet_slope_difference, log_ratio, phi
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import closed_form, only_where


@closed_form(dist.Beta, dist.Uniform)
def beta_from_uniform(p, q):
    return beta_from_uniform_kl(p.concentration1, p.concentration0, q.low, q.high)


@closed_form(dist.Uniform, dist.Beta)
def uniform_from_beta(p, q):
    return uniform_from_beta_kl(p.low, p.high, q.concentration1, q.concentration0)


@closed_form(dist.Kumaraswamy, dist.Uniform)
def kumaraswamy_from_uniform(p, q):
    return kumaraswamy_from_uniform_kl(p.concentration1, p.concentration0, q.low, q.high)


@closed_form(dist.Uniform, dist.Kumaraswamy)
def uniform_from_kumaraswamy(p, q):
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


@computed_in_float64(*[0] * 4)
def beta_from_uniform_kl(one, zero, low, high):
    """Return KL from Beta(1, 1) plus the cost of q's probability outside the unit interval."""
    covered = (low <= 0) & (high >= 1)
    unit = dirichlet_divergence(pair(one, zero), jnp.ones((*one.shape, 2)))
    return jnp.where(covered, unit + log_width_around(low, high, covered), jnp.inf)


def log_width_around(low, high, covered):
    """Return log(high - low), relatively exact next to the unit interval."""
    return jnp.log1p(jnp.where(covered, (high - 1) - low, 0.0))


@computed_in_float64(*[0] * 4)
def uniform_from_beta_kl(low, high, one, zero):
    """Return KL(Beta(1, 1) || q) plus the change for a smaller interval, which vanishes if it is not smaller."""
    inside = (low >= 0) & (high <= 1)
    low, high = jnp.where(inside, low, 0.0), jnp.where(inside, high, 1.0)
    unit = dirichlet_divergence(jnp.ones((*one.shape, 2)), pair(one, zero))
    shift = (one - 1) * mean_log_and_one(low, high) + (zero - 1) * mean_log_and_one(1 - high, 1 - low)
    narrower = -jnp.log1p(-(low + (1 - high)))
    return jnp.where(inside, unit - shift + narrower, jnp.inf)


def mean_log_and_one(low, high):
    """Return 1 + E log X for X uniform between low and high."""
    positive = low > 0
    safe = jnp.where(positive, low, high)
    return jnp.log(high) + jnp.where(positive, low * log_ratio(high, safe) / (high - low), 0.0)


@computed_in_float64(*[0] * 4)
def kumaraswamy_from_uniform_kl(one, zero, low, high):
    covered = (low <= 0) & (high >= 1)
    unit = between_powers((1 - zero) / zero, (1 - one) / one, zero)
    return jnp.where(covered, unit + log_width_around(low, high, covered), jnp.inf)


@computed_in_float64(0, 0)
def unit_from_kumaraswamy_kl(one, zero):
    return between_powers(one - 1, zero - 1, 1 / one)


def between_powers(d, e, inverse):
    """Return phi(d) + phi(e) + e (psi(1 + inverse) - psi(2)), where inverse = 1 / (1 + d).

    It is KL(Uniform(0, 1) || Kumaraswamy(1 + d, 1 + e)) and KL(Kumaraswamy(1 / (1 + e), 1 / (1 + d)) || Uniform(0, 1)),
    exact also where the two nearly agree.
    """
    return phi(d) + phi(e) + e * digamma_difference(1 + inverse, jnp.full_like(inverse, 2.0), -d * inverse)


def digamma_difference(x, y, difference):
    """Return psi(x) - psi(y), relatively exact also where they nearly agree."""
    leading = log_ratio(x, y, difference) + 0.5 * difference / (x * y)
    return leading + binet_slope_difference(x, y, difference)


def double_exponential_rule(steps=64, reach=3.4):
    """Return nodes u in (0, 1), as log u and log(1 - u), and weights: Takahasi & Mori (1974)."""
    t = np.linspace(-reach, reach, 2 * steps + 1)
    stretched = np.pi / 2 * np.sinh(t)
    log_u, log_rest = -np.logaddexp(0, -2 * stretched), -np.logaddexp(0, 2 * stretched)
    weights = np.pi * np.cosh(t) * np.exp(log_u + log_rest) * (t[1] - t[0])
    return log_u, weights


LOG_NODES, WEIGHTS = double_exponential_rule()
NEARLY_ONE = -45.0


@computed_in_float64(*[0] * 4)
def kumaraswamy_from_beta_kl(one, zero, other_one, other_zero):
    """Return KL in y = x^one, which is Beta(1, zero), from Beta(other_one / one, other_zero), plus a correction.

    The correction holds the mean of log((1 - y) / (1 - x)), a smooth function without an elementary form; the
    double exponential rule gives it to 1e-13. If p is itself a Beta, there is no correction. If it nearly is,
    and q nearly the same one, the error stays near 1e-13 while the divergence vanishes, and digits are lost.
    """
    rescaled = other_one / one
    in_y = dirichlet_divergence(pair(jnp.ones_like(zero), zero), pair(rescaled, other_zero))
    betas = gammaln(other_one) - gammaln(other_one + other_zero) - (gammaln(rescaled) - gammaln(rescaled + other_zero))
    log_rest = LOG_NODES / zero[..., None]  # log(1 - y), with (1 - y)^zero uniform
    mean_gap = (WEIGHTS * log_gap(log_rest, one[..., None])).sum(-1)
    between_betas = dirichlet_divergence(pair(one, zero), pair(other_one, other_zero))
    is_beta = (one == 1) | (zero == 1)
    in_general = in_y + jnp.log(one) + betas + (other_zero - 1) * mean_gap
    return jnp.where(is_beta, between_betas, jnp.maximum(in_general, 0.0))  # values below 0 are that error


def log_gap(log_rest, power):
    """Return log((1 - y) / (1 - x)) with x = y^(1 / power) and log(1 - y) given."""
    at_top = log_rest < NEARLY_ONE  # there 1 - x is (1 - y) / power to the last digit, and exp(log_rest) may vanish
    safe = jnp.where(at_top, -1.0, log_rest)
    log_y = log_complement(safe)
    return jnp.where(at_top, jnp.log(power), safe - log_complement(log_y / power))


def log_complement(log_u):
    """Return log(1 - u) from log u."""
    near_one = log_u > -1
    close = jnp.log(-jnp.expm1(jnp.where(near_one, log_u, -1.0)))
    return jnp.where(near_one, close, jnp.log1p(-jnp.exp(jnp.where(near_one, -1.0, log_u))))
