"""The circle, and copulas."""

import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist

from truths.case import case, exact
from truths.formulas import multivariate_normal


def von_mises(loc_p, k, loc_q, m):
    zeroth_p, first_p, zeroth_q = mpmath.besseli(0, k), mpmath.besseli(1, k), mpmath.besseli(0, m)
    return mpmath.log(zeroth_q / zeroth_p) + first_p / zeroth_p * (k - m * mpmath.cos(loc_p - loc_q))


@case(dist.VonMises, dist.VonMises)
def von_mises_pair(draw):
    """Over all sizes of the concentration, with the seams between the methods drawn often; locations a turn apart."""
    if draw.rng.random() < 0.5:
        p, q = draw.positive_pair(low=-3, high=8)
    else:
        p, q = draw.rounded(draw.rng.uniform(20, 80, 2)) * draw.rounded([1, np.exp(draw.relative_step())])
    locs = [draw.rounded(draw.rng.uniform(-3, 3))] * 2
    kind = draw.rng.integers(3)
    if kind:
        shift = draw.relative_step() * draw.rng.normal() / np.sqrt(1 + q)
        locs[1] = draw.rounded(locs[0] + shift + (2 * np.pi if kind == 2 else 0))
    distributions = [dist.VonMises(jnp.asarray(loc), jnp.asarray(k)) for loc, k in zip(locs, (p, q), strict=True)]
    return *distributions, von_mises(exact(locs[0]), exact(p), exact(locs[1]), exact(q))


@case(dist.GaussianCopula, dist.GaussianCopula)
def copula_pair(draw):
    """The divergence of the Gaussians within, as the marginals are equal."""
    trils = [draw.rounded(t / np.linalg.norm(t, axis=1, keepdims=True)) for t in draw.cholesky_pair(3)]
    marginal = dist.LogNormal(jnp.asarray(draw.rounded([0.0, 1.0, 2.0])), jnp.asarray(draw.rounded(0.5)))
    p, q = (dist.GaussianCopula(marginal, correlation_cholesky=jnp.asarray(t)) for t in trils)
    zero = [mpmath.mpf(0)] * 3
    return p, q, multivariate_normal(zero, exact(trils[0]), zero, exact(trils[1]))
