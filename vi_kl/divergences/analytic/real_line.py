"""Closed forms on the real line: Normal."""

import math

import jax.numpy as jnp
import numpyro.distributions as dist

from vi_kl.divergences.bregman import itakura_saito
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import closed_form, closed_form_entropy


@closed_form(dist.Normal, dist.Normal)
def normal(p, q):
    return normal_kl(p.loc, p.scale, q.loc, q.scale)


@closed_form_entropy(dist.Normal)
def normal_entropy(p):
    return normal_entropy_of(p.loc, p.scale)


@computed_in_float64(0, 0, 0, 0, digits=True)
def normal_kl(loc_p, scale_p, loc_q, scale_q, *, digits):
    """Return the divergence of the scales, plus half the squared differences in units of q's scale."""
    per_scale = 1 / scale_q
    z = (loc_p - loc_q) * per_scale
    d = (scale_p - scale_q) * per_scale
    return itakura_saito(scale_p, scale_q, digits=digits) + 0.5 * (d * d + z * z)


@computed_in_float64(0, 0)
def normal_entropy_of(loc, scale):
    return jnp.log(scale) + 0.5 * math.log(2 * math.pi * math.e)
