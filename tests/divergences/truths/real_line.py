"""The real line."""

import jax.numpy as jnp
import numpyro.distributions as dist

from truths.case import case, exact
from truths.formulas import normal


@case(dist.Normal, dist.Normal)
def normal_pair(draw):
    scales = draw.positive_pair(low=-4, high=4)
    locs = draw.loc_pair(scales[1])
    p, q = (dist.Normal(jnp.asarray(loc), jnp.asarray(s)) for loc, s in zip(locs, scales, strict=True))
    return p, q, normal(exact(locs[0]), exact(scales[0]), exact(locs[1]), exact(scales[1]))
