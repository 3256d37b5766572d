"""Moments: the figures of a law on the line from which its divergences to other families follow exactly.

For q in an exponential family, KL(p||q) needs only p's entropy and a few expectations, and splits in two:

    KL(p||q) = KL(p||q*) + KL(q*||q)

where q* is the member of q's family with p's expectations. Both parts are non-negative. The second has a closed
form without cancellation; the first depends on p's shape alone. So that it, too, keeps its digits where p is nearly
a member of q's family, the entropy is given by how far it is below that of a normal law.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

NORMAL_ENTROPY = 0.5 * math.log(2 * math.pi * math.e)


@dataclasses.dataclass(frozen=True)
class Moments:
    """A record of expectations of a real variable Y, which may be the logarithm of a positive one.

    Attributes:
        mean: the mean E Y; infinite or NaN if there is none.
        precision: a number whose inverse is about the variance, and exactly so if the law is normal.
        variance_excess: the variance times the precision, minus 1; inf if the variance is infinite.
        entropy_loss: log(2 pi e / precision) / 2 minus the entropy of Y.
        cumulant: the function t -> log E exp(t (Y - E Y)), inf where it diverges; None if it is not known.
        cumulant_excess: the function t -> cumulant(t) - t^2 / (2 precision), if it is known more exactly than that.
        variance_excess_of_exp: a function of no argument that gives `variance_excess` of exp(Y) with precision / (E exp
            Y)^2, if it is known more exactly than by cumulants.
        partial: the function m -> (E (Y - m)+, E (m - Y)+); None if it is not known.
    """

    mean: jax.Array
    precision: jax.Array
    variance_excess: jax.Array
    entropy_loss: jax.Array
    cumulant: Callable | None = None
    cumulant_excess: Callable | None = None
    variance_excess_of_exp: Callable | None = None
    partial: Callable | None = None

    @property
    def entropy(self):
        return NORMAL_ENTROPY - 0.5 * jnp.log(self.precision) - self.entropy_loss

    def excess(self, t):
        """Return cumulant(t) minus that of the normal law of the same precision."""
        if self.cumulant_excess is not None:
            return self.cumulant_excess(t)
        return self.cumulant(t) - t * t / (2 * self.precision)


def from_entropy(mean, variance, entropy, **more) -> Moments:
    """Return the moments of a law that is never nearly normal, so that its entropy may be given directly."""
    loss = NORMAL_ENTROPY + 0.5 * jnp.log(variance) - entropy
    return Moments(mean, 1 / variance, jnp.zeros_like(variance), loss, **more)


def of_exp(log: Moments) -> Moments:
    """Return the moments of X from those of log X."""
    first, second = log.cumulant(1.0), log.cumulant(2.0)
    finite = second < jnp.inf
    mean = jnp.exp(log.mean + first)
    if log.variance_excess_of_exp is not None:
        excess = log.variance_excess_of_exp()
    else:
        spread = jnp.where(finite, second, 0.0) - 2 * jnp.where(finite, first, 0.0)
        excess = jnp.expm1(spread) * log.precision - 1
    return Moments(
        mean=mean,
        precision=log.precision / (mean * mean),
        variance_excess=jnp.where(finite, excess, jnp.inf),
        entropy_loss=log.entropy_loss + first,
    )
