"""Closed forms on the positive numbers: Gamma, and with it Chi2."""

import math

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from vi_kl.divergences.bregman import (
    BINET_SHIFT,
    STIRLING,
    binet,
    difference_of_products,
    itakura_saito,
    polynomial,
)
from vi_kl.divergences.registry import closed_form, closed_form_entropy
from vi_kl.divergences.wide import in_wide_precision


@closed_form(dist.Gamma, dist.Gamma)
def gamma(p, q):
    return gamma_kl(p.concentration, p.rate, q.concentration, q.rate)


@closed_form_entropy(dist.Gamma)
def gamma_entropy(p):
    return gamma_entropy_of(p.concentration, p.rate)


@in_wide_precision(0, 0, 0, 0)
def gamma_kl(concentration_p, rate_p, concentration_q, rate_q):
    """The divergence of the means, weighted by q's concentration, plus that of the concentrations."""
    mean_ratio = (concentration_p * rate_q, rate_p * concentration_q)
    difference = difference_of_products(concentration_p, rate_q, rate_p, concentration_q)
    means = concentration_q * itakura_saito(*mean_ratio, difference)
    shapes = 0.5 * itakura_saito(concentration_q, concentration_p) + binet(concentration_q, concentration_p)
    return means + shapes


@in_wide_precision(0, 0)
def gamma_entropy_of(concentration, rate):
    return unit_gamma_entropy(concentration) - jnp.log(rate)


def unit_gamma_entropy(a):
    """a + log Gamma(a) + (1 - a) digamma(a), the entropy of Gamma(a, 1), without terms of order a log a."""
    mu, slope = jax.jvp(binet_function, (a,), (jnp.ones_like(a),))
    return 0.5 * jnp.log(2 * math.pi * math.e * a) - 0.5 / a + mu + (1 - a) * slope


def digamma(a):
    """The derivative of log Gamma, from that of Binet's function."""
    _, slope = jax.jvp(binet_function, (a,), (jnp.ones_like(a),))
    return jnp.log(a) - 0.5 / a + slope


def binet_function(a):
    """mu(a) = log Gamma(a) - (a - 1/2) log a + a - log(2 pi)/2, the remainder of Stirling's formula."""
    steps = a[..., None] + jnp.arange(BINET_SHIFT, dtype=a.dtype)
    inverse = 1 / (a + BINET_SHIFT)
    head = ((steps + 0.5) * jnp.log1p(1 / steps) - 1).sum(-1)
    return head + inverse * polynomial(inverse * inverse, STIRLING)
