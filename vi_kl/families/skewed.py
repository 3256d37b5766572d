"""Skewed: a normal distribution whose coordinates are each bent to a skewness and tails of their own.

Requires nothing of the target. Use it where a full-rank normal is nearly right but some coordinates are skewed or
heavy-tailed, as scales and variances are: it has two more parameters a coordinate, closed forms in both directions,
and costs hardly more than `FullRank`.

Reference: Jones & Pewsey (2009), "Sinh-arcsinh distributions", on the margins of a normal copula.
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
    """z_i = median_i + scale_i S_i(v_i): v is normal with unit variances, S_i a sinh-arcsinh map.

    Without skewness and with tails of one it is the full-rank normal.
    """

    name = "skewed"

    def standard(self, key, target):
        zeros = jnp.zeros(target.dim)
        normal = full_rank_params(np.zeros(target.dim), np.eye(target.dim))
        return {"normal": normal, "skew": zeros, "log_tail": zeros}

    def place(self, params, units):
        return {**params, "normal": FullRank().place(params["normal"], units)}

    def distribution(self, params, target):
        loc, tril = params["normal"]["loc"], scale_tril(params["normal"])
        sd = jnp.sqrt(jnp.sum(tril**2, axis=-1))
        base = dist.Normal(jnp.zeros(target.dim), jnp.ones(target.dim), validate_args=False).to_event(1)
        transforms = [
            LowerCholeskyAffine(jnp.zeros(target.dim), tril / sd[:, None]),
            SinhArcsinh(params["skew"], params["log_tail"]),
            AffineTransform(loc, sd),
        ]
        return dist.TransformedDistribution(base, transforms, validate_args=False)
