"""Flat priors: every value of the support has density one. They are improper where the support is unbounded."""

import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import biject_to, constraints


class Flat(dist.ImproperUniform):
    """NumPyro's improper uniform distribution, with a value to trace the model at in place of draws."""

    def sample(self, key, sample_shape=()):
        """A point of the support: no distribution is drawn from, because there is none."""
        shape = (*sample_shape, *self.batch_shape, *self.event_shape)
        to_support = biject_to(self.support)
        return to_support(jnp.zeros(to_support.inverse_shape(shape)))


def flat(support=constraints.real, shape: tuple[int, ...] = ()) -> Flat:
    """Density one on `support`, for an array of this shape."""
    return Flat(support, (), shape)
