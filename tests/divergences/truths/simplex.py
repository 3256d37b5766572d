"""The unit interval and the simplex."""

import jax.numpy as jnp
import numpyro.distributions as dist

from truths.case import case, exact
from truths.formulas import dirichlet


@case(dist.Beta, dist.Beta)
def beta_pair(draw):
    p, q = draw.positive_pair(size=2)
    truth = dirichlet(exact(p), exact(q))
    return dist.Beta(*map(jnp.asarray, p)), dist.Beta(*map(jnp.asarray, q)), truth


@case(dist.Dirichlet, dist.Dirichlet)
def dirichlet_pair(draw):
    p, q = draw.positive_pair(size=int(draw.rng.choice([2, 7])))
    truth = dirichlet(exact(p), exact(q))
    return dist.Dirichlet(jnp.asarray(p)), dist.Dirichlet(jnp.asarray(q)), truth
