"""Vectors, and independent parts."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from truths.case import case, exact
from truths.formulas import dirichlet, multivariate_normal


@case(dist.MultivariateNormal, dist.MultivariateNormal)
def multivariate_normal_pair(draw):
    trils = draw.cholesky_pair(int(draw.rng.choice([2, 5])))
    locs = draw.loc_pair(np.diag(trils[1]))
    p, q = (
        dist.MultivariateNormal(jnp.asarray(m), scale_tril=jnp.asarray(t)) for m, t in zip(locs, trils, strict=True)
    )
    return p, q, multivariate_normal(exact(locs[0]), exact(trils[0]), exact(locs[1]), exact(trils[1]))


@case(dist.Independent, dist.MultivariateNormal)
def independent_normal_pair(draw):
    (tril, _), scales = draw.cholesky_pair(4), draw.positive_pair(size=4, low=-3, high=3)
    locs = draw.loc_pair(np.diag(tril))
    p = dist.Normal(jnp.asarray(locs[0]), jnp.asarray(scales[0])).to_event(1)
    q = dist.MultivariateNormal(jnp.asarray(locs[1]), scale_tril=jnp.asarray(tril))
    diagonal = exact(np.diag(scales[0]))
    return p, q, multivariate_normal(exact(locs[0]), diagonal, exact(locs[1]), exact(tril))


@case(dist.MultivariateNormal, dist.Independent)
def reversed_independent_normal_pair(draw):
    (tril, _), scales = draw.cholesky_pair(4), draw.positive_pair(size=4, low=-3, high=3)
    locs = draw.loc_pair(np.diag(tril))
    p = dist.MultivariateNormal(jnp.asarray(locs[0]), scale_tril=jnp.asarray(tril))
    q = dist.Normal(jnp.asarray(locs[1]), jnp.asarray(scales[0])).to_event(1)
    diagonal = exact(np.diag(scales[0]))
    return p, q, multivariate_normal(exact(locs[0]), exact(tril), exact(locs[1]), diagonal)


@case(dist.Independent, dist.Independent)
def independent_pair(draw):
    """Independent pairs add up; three Betas stand for any inner distribution."""
    pairs = [draw.positive_pair(size=2) for _ in range(3)]
    p, q = (np.stack([pair[side] for pair in pairs], -1) for side in (0, 1))
    truth = sum(dirichlet(exact(a), exact(b)) for a, b in pairs)
    return (*(dist.Beta(jnp.asarray(x[0]), jnp.asarray(x[1])).to_event(1) for x in (p, q)), truth)
