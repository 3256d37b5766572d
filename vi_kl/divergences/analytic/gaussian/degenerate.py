"""Closed forms between a Gaussian on a hyperplane and Gaussians of the whole space: infinite, both ways.

A vector of a ZeroSumNormal is almost never drawn from a density on the whole space, and the reverse.
"""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.analytic.gaussian.vector import GAUSSIANS, is_gaussian
from vi_kl.divergences.registry import closed_form, no_closed_form


def infinite(p, q):
    if not (is_gaussian(p) and is_gaussian(q)):
        raise no_closed_form(p, q)
    return jnp.full(np.broadcast_shapes(p.batch_shape, q.batch_shape), jnp.inf)


for full_rank in (*GAUSSIANS, dist.MatrixNormal):
    closed_form(dist.ZeroSumNormal, full_rank, by="infinite")(infinite)
    closed_form(full_rank, dist.ZeroSumNormal, by="infinite")(infinite)
