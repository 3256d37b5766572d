"""Closed forms for LKJ correlation matrices and their Cholesky factors, by their partial correlations.

In a vine of d - 1 trees the d - k partial correlations of the k-th are independent, and each is a symmetric Beta of
concentration eta + (d - 1 - k)/2, stretched to (-1, 1) (Lewandowski, Kurowicka & Joe, 2009). They determine the
matrix and its factor, so one divergence serves both.
"""

import math

import jax.numpy as jnp
import numpyro.distributions as dist

from vi_kl.divergences.analytic.simplex import entropy_of_concentration
from vi_kl.divergences.bregman import binet, digamma, itakura_saito
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import closed_form, closed_form_entropy


@closed_form(dist.LKJ, dist.LKJ)
@closed_form(dist.LKJCholesky, dist.LKJCholesky)
def lkj(p, q):
    return lkj_kl(p.concentration, q.concentration, dimension=p.dimension)


@closed_form_entropy(dist.LKJ)
def lkj_entropy(p):
    return lkj_entropy_of(p.concentration, dimension=p.dimension, cholesky=False)


@closed_form_entropy(dist.LKJCholesky)
def lkj_cholesky_entropy(p):
    return lkj_entropy_of(p.concentration, dimension=p.dimension, cholesky=True)


@computed_in_float64(0, 0)
def lkj_kl(concentration_p, concentration_q, *, dimension):
    counts, excess = trees(dimension)
    a, b = concentration_p[..., None] + excess, concentration_q[..., None] + excess
    return (counts * symmetric_beta_divergence(a, b, (concentration_q - concentration_p)[..., None])).sum(-1)


def trees(dimension):
    """Return for each tree how many partial correlations it has, and by how much their concentration exceeds eta."""
    counts = jnp.arange(dimension - 1, 0, -1, dtype=float)
    return counts, 0.5 * (counts - 1)


def symmetric_beta_divergence(a, b, change):
    """Return KL(Beta(a, a) || Beta(b, b)), the Dirichlet form for equal means; `change` is b - a."""
    parts, totals = binet(b, a, change), binet(2 * b, 2 * a, 2 * change)
    return 0.5 * itakura_saito(b, a, change) + 2 * parts - totals


@computed_in_float64(0)
def lkj_entropy_of(concentration, *, dimension, cholesky):
    """Return the entropy of the partial correlations plus the mean log volume of the map to the matrix.

    With `cholesky` it is the map to the matrix's factor.
    """
    counts, excess = trees(dimension)
    b = concentration[..., None] + excess
    betas = entropy_of_concentration(jnp.stack([b, b], axis=-1)) + math.log(2)
    mean_log = 2 * (math.log(2) + digamma(b) - digamma(2 * b))  # mean log of 1 - r^2
    return (counts * (betas + (0.5 if cholesky else 1.0) * excess * mean_log)).sum(-1)
