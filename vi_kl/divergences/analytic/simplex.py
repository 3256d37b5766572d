"""Closed forms on the simplex: Dirichlet, and Beta as a Dirichlet of two."""

import jax.numpy as jnp
import numpyro.distributions as dist

from vi_kl.divergences.analytic.positive import unit_gamma_entropy
from vi_kl.divergences.bregman import (
    FULL,
    SERIES_RADIUS,
    binet,
    difference_of_products,
    digamma,
    itakura_saito,
    phi_series,
    share_of_maximum,
    sum_parts,
)
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import closed_form, closed_form_entropy


@closed_form(dist.Dirichlet, dist.Dirichlet)
def dirichlet(p, q):
    return dirichlet_kl(p.concentration, q.concentration)


@closed_form(dist.Beta, dist.Beta)
def beta(p, q):
    return beta_kl(p.concentration1, p.concentration0, q.concentration1, q.concentration0)


@closed_form_entropy(dist.Dirichlet)
def dirichlet_entropy(p):
    return dirichlet_entropy_of(p.concentration)


@closed_form_entropy(dist.Beta)
def beta_entropy(p):
    return beta_entropy_of(p.concentration1, p.concentration0)


@computed_in_float64(0, 0, 0, 0, digits=True)
def beta_kl(one_p, zero_p, one_q, zero_q, *, digits):
    return dirichlet_divergence(jnp.stack([one_p, zero_p], -1), jnp.stack([one_q, zero_q], -1), digits)


@computed_in_float64(1, 1, digits=True)
def dirichlet_kl(concentration_p, concentration_q, *, digits):
    return dirichlet_divergence(concentration_p, concentration_q, digits)


def dirichlet_divergence(a, b, digits=FULL):
    """Return KL(Dirichlet(a) || Dirichlet(b)): that of the means, in both directions, and of the concentrations.

    Let |a| = sum a, let ma = a/|a| and mb = b/|b| be the mean vectors, and mu Binet's function. Then it is

        |b| KL(mb||ma) + KL(ma||mb)/2 + sum (1 - ma) itakura_saito(b, a)/2 + sum D_mu(b, a) - D_mu(|b|, |a|)

    Only the last term is negative, and the others outweigh it.
    """
    delta = b - a
    total_a, total_b, total_delta = (sum_parts(x, keepdims=True) for x in (a, b, delta))
    excess = relative_difference_of_means(a, b) * (total_a / total_b)
    forward, backward = kl_terms(b / total_b, a / total_a, excess)
    means = total_b * forward + 0.5 * backward
    spreads = ((total_a - a) / total_a) * itakura_saito(b, a, delta, digits)
    of_total = binet(total_b, total_a, total_delta, digits)[..., 0]
    return sum_parts(means + 0.5 * spreads + binet(b, a, delta, digits)) - of_total


def relative_difference_of_means(a, b):
    """Return b/a - |b|/|a|: how much more than the total each concentration grows.

    It is computed from differences to the largest concentration and exact products: for large concentrations a last
    digit of the growth is a divergence that counts.
    """
    share = share_of_maximum(a)
    a_largest, b_largest = (sum_parts(share * x, keepdims=True) for x in (a, b))
    excess = difference_of_products(b, a_largest, a, b_largest) / (a * a_largest)
    return excess - sum_parts(a * excess, keepdims=True) / sum_parts(a, keepdims=True)


def kl_terms(x, y, excess):
    """Return x log(x/y) - x + y and y log(y/x) - y + x, where x/y - 1 = excess is known exactly while small."""
    near = abs(excess) < SERIES_RADIUS
    d = jnp.where(near, excess, 0.0)
    series = phi_series(d)
    difference = jnp.where(near, 0.0, x - y)
    log_ratio = jnp.log(jnp.where(near, 1.0, x / y))
    forward = y * (d * d - (1 + d) * series) + (x * log_ratio - difference)
    return forward, y * series + (difference - y * log_ratio)


@computed_in_float64(0, 0)
def beta_entropy_of(one, zero):
    return entropy_of_concentration(jnp.stack([one, zero], -1))


@computed_in_float64(1)
def dirichlet_entropy_of(concentration):
    return entropy_of_concentration(concentration)


def entropy_of_concentration(a):
    """Return the Dirichlet's entropy.

    Unit gammas are their total and, independent of it, the Dirichlet vector of their shares.
    """
    total = a.sum(-1)
    return unit_gamma_entropy(a).sum(-1) - unit_gamma_entropy(total) - (a.shape[-1] - 1) * digamma(total)
