"""Skewed: a normal distribution bent along each axis, to skewness and tails of its own.

Requires nothing of the target. Use it where a full-rank normal is nearly right but skewed or heavy-tailed somewhere,
as scales and variances make it: it has four more parameters a coordinate, closed forms in both directions, and costs
hardly more than `FullRank`.

Reference: Jones & Pewsey (2009), "Sinh-arcsinh distributions"; their maps stand before and after the matrix.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions.transforms import AffineTransform, LowerCholeskyAffine

from vi_kl.families.family import Family
from vi_kl.families.gaussian import FullRank, full_rank_params, scale_tril
from vi_kl.families.sinh_arcsinh import SinhArcsinh


@dataclasses.dataclass(frozen=True)
class Skewed(Family):
    """A transformed normal, z_i = median_i + scale_i S_i(sum_j c_ij R_j(u_j)), with sinh-arcsinh maps S_i and R_j.

    u is standard normal. R transforms the directions that the matrix mixes, and S the coordinates. Without skewness and
    with tails of one it is the full-rank normal.
    """

    name = "skewed"

    @property
    def shifts_and_stretches(self):
        return True

    def standard(self, key, target):
        straight = {"skew": jnp.zeros(target.dim), "log_tail": jnp.zeros(target.dim)}
        normal = full_rank_params(np.zeros(target.dim), np.eye(target.dim))
        return {"normal": normal, "before": straight, "after": straight}

    def place(self, params, units):
        return {**params, "normal": FullRank().place(params["normal"], units)}

    def distribution(self, params, target):
        loc, tril = params["normal"]["loc"], scale_tril(params["normal"])
        sd = jnp.sqrt(jnp.sum(tril**2, axis=-1))
        base = dist.Normal(jnp.zeros(target.dim), jnp.ones(target.dim), validate_args=False).to_event(1)
        transforms = [
            SinhArcsinh(**params["before"]),
            LowerCholeskyAffine(jnp.zeros(target.dim), tril / sd[:, None]),
            SinhArcsinh(**params["after"]),
            AffineTransform(loc, sd),
        ]
        return dist.TransformedDistribution(base, transforms, validate_args=False)
