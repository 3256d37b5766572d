"""Distributions that are images of standard normal noise: z = T(u), with log q(z) from the Jacobian of T.

Knowing T makes draws cheap to compile, lets quadrature integrate over u in up to three dimensions, and lets
quasi-random noise take the place of random noise. Where T can be inverted, z also tells its noise.
"""

import functools

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular


def push_forward(distribution):
    """Return T as a function u -> (z, log q(z)) for one u of shape (dim,); None if q is not such an image."""
    match distribution:
        case dist.Independent(base_dist=dist.Normal(loc=loc, scale=scale)):
            return functools.partial(push_scaled, loc, scale)
        case dist.MultivariateNormal(loc=loc, scale_tril=scale_tril):
            return functools.partial(push_affine, loc, scale_tril)
        case dist.TransformedDistribution(base_dist=dist.Independent(base_dist=dist.Normal())):
            return functools.partial(push_through, distribution)
        case _:
            return None


def noise_of(distribution, z):
    """Return (u, T), the noise of which one z of shape (dim,) is the image; None if q is not such an image."""
    push = push_forward(distribution)
    match distribution:
        case dist.Independent(base_dist=dist.Normal(loc=loc, scale=scale)):
            return (z - loc) / scale, push
        case dist.MultivariateNormal(loc=loc, scale_tril=scale_tril):
            return solve_triangular(scale_tril, z - loc, lower=True), push
        case dist.TransformedDistribution(base_dist=dist.Independent(base_dist=dist.Normal(loc=loc, scale=scale))):
            for transform in reversed(distribution.transforms):
                z = transform.inv(z)
            return (z - loc) / scale, push
        case _:
            return None


def push_scaled(loc, scale, u):
    return loc + scale * u, normal_log_prob(u) - jnp.sum(jnp.log(jnp.broadcast_to(scale, u.shape)))


def push_affine(loc, scale_tril, u):
    return loc + scale_tril @ u, normal_log_prob(u) - jnp.sum(jnp.log(jnp.diag(scale_tril)))


def push_through(distribution, u):
    base = distribution.base_dist.base_dist
    z, log_q = push_scaled(base.loc, base.scale, u)
    for transform in distribution.transforms:
        image, intermediates = transform.call_with_intermediates(z)
        log_q -= jnp.sum(transform.log_abs_det_jacobian(z, image, intermediates))
        z = image
    return z, log_q


def normal_log_prob(u):
    """Return the log density of independent standard normals."""
    return -0.5 * jnp.sum(u**2) - 0.5 * u.shape[-1] * jnp.log(2 * jnp.pi)
