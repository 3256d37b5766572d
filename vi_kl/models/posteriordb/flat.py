"""Flat priors: every value of the support has density one. They are improper where the support is unbounded."""

import numpyro.distributions as dist
from numpyro.distributions import constraints


def flat(support=constraints.real, shape: tuple[int, ...] = ()) -> dist.ImproperUniform:
    """Return the density one on `support`, for an array of this shape."""
    return dist.ImproperUniform(support, (), shape)
