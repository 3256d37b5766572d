"""Closed forms on the positive numbers: Gamma, and with it Chi2."""

import math

import jax.numpy as jnp
import numpyro.distributions as dist

from vi_kl.divergences.bregman import (
    FULL,
    binet,
    binet_function,
    binet_slope,
    difference_of_products,
    itakura_saito,
)
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import closed_form, closed_form_entropy


@closed_form(dist.Gamma, dist.Gamma)
def gamma(p, q):
    return gamma_kl(p.concentration, p.rate, q.concentration, q.rate)


@closed_form_entropy(dist.Gamma)
def gamma_entropy(p):
    return gamma_entropy_of(p.concentration, p.rate)


@computed_in_float64(0, 0, 0, 0, digits=True)
def gamma_kl(concentration_p, rate_p, concentration_q, rate_q, *, digits):
    """Return the divergence of the means, weighted by q's concentration, plus that of the concentrations."""
    mean_ratio = (concentration_p * rate_q, rate_p * concentration_q)
    # the products of float32 numbers are exact in float64
    exact = difference_of_products(concentration_p, rate_q, rate_p, concentration_q) if digits == FULL else None
    means = concentration_q * itakura_saito(*mean_ratio, exact, digits)
    shapes = 0.5 * itakura_saito(concentration_q, concentration_p, digits=digits)
    return means + shapes + binet(concentration_q, concentration_p, digits=digits)


@computed_in_float64(0, 0)
def gamma_entropy_of(concentration, rate):
    return unit_gamma_entropy(concentration) - jnp.log(rate)


def unit_gamma_entropy(a):
    """Return the entropy of Gamma(a, 1) without terms of order a log a.

    It is a + log Gamma(a) + (1 - a) digamma(a).
    """
    return 0.5 * jnp.log(2 * math.pi * math.e * a) - 0.5 / a + binet_function(a) + (1 - a) * binet_slope(a)
