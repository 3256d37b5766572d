"""The positive numbers."""

import jax.numpy as jnp
import numpyro.distributions as dist

from truths.case import case, exact
from truths.formulas import gamma


@case(dist.Gamma, dist.Gamma)
def gamma_pair(draw):
    (a, c), (b, d) = draw.positive_pair(), draw.positive_pair(low=-3, high=3)
    if draw.rng.random() < 0.3:
        d = draw.rounded(b * c.astype(float) / a)  # equal means
    p, q = dist.Gamma(jnp.asarray(a), jnp.asarray(b)), dist.Gamma(jnp.asarray(c), jnp.asarray(d))
    return p, q, gamma(*map(exact, (a, b, c, d)))
