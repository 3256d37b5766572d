"""Bends: maps of the real line that make standard normal noise skewed, and leave its mean 0 and its variance 1.

    bend(u) = (sinh(arcsinh(u) + a) - mean(a)) / sd(a)

It is linear far out, with slopes exp(a) and exp(-a).

Reference: Jones & Pewsey (2009), "Sinh-arcsinh distributions", Biometrika 96, with tails as heavy as the normal's.
"""

import numpy as np
from jaxtyping import Float

from vi_kl.core.annotations import AnyArray, Values
from vi_kl.core.scales import namespace

MEAN_ROOT = 1.3545308064813157  # E[sqrt(1 + u^2)], of standard normal noise u
MOST = 0.8  # the largest |a| that is used
INFORMATION = 0.479  # Fisher's, of a at a = 0: 6 (E[sqrt(1 + u^2) (u^2 - 1)] / 2)^2
STEP = 1e-4  # of differences by a


def moments(a: Values) -> tuple[Values, Values]:
    """Return mean and sd of sinh(arcsinh(u) + a)."""
    xp = namespace(a)
    mean = xp.sinh(a) * MEAN_ROOT
    return mean, xp.sqrt((3 * xp.cosh(2 * a) - 1) / 2 - mean**2)


def bent(u: Float[AnyArray, "n dim"], a: Float[AnyArray, " dim"]) -> tuple[AnyArray, AnyArray]:
    """Return the image of noise u, and the logarithm of the map's slope there."""
    xp = namespace(u, a)
    mean, sd = moments(a)
    root = xp.sqrt(1 + u**2)
    # cosh and sinh of a, not of arcsinh(u) + a: their parts are products of u and of its root
    image = u * xp.cosh(a) + root * xp.sinh(a)
    return (image - mean) / sd, xp.log((u * xp.sinh(a) / root + xp.cosh(a)) / sd)


def unbent(v: Float[AnyArray, "n dim"], a: Float[AnyArray, " dim"]) -> tuple[AnyArray, AnyArray]:
    """Return the noise whose image is v, and the logarithm of the map's slope at it."""
    xp = namespace(v, a)
    mean, sd = moments(a)
    w = sd * v + mean
    u = w * xp.cosh(a) - xp.sqrt(1 + w**2) * xp.sinh(a)
    return u, bent(u, a)[1]


def slopes_by_bend(u: Float[np.ndarray, "n dim"], a: Float[np.ndarray, " dim"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivatives by a of the image of noise u, and of the logarithm of the map's slope."""
    above, below = bent(u, a + STEP), bent(u, a - STEP)
    image, log_slope = ((up - down) / (2 * STEP) for up, down in zip(above, below, strict=True))
    return image, log_slope
