"""What a law on the line has to tell of itself for its divergences against other families to be known exactly.

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
    """Expectations of a real variable Y, which may be the logarithm of a positive one.

    Attributes:
        mean: E Y; infinite or NaN where there is none.
        precision: any number that 1/precision is about the variance of, and exactly where the law is normal.
        variance_excess: variance times precision, minus 1; inf where the variance is.
        entropy_loss: log(2 pi e / precision) / 2 less the entropy of Y.
        cumulant: t -> log E exp(t (Y - E Y)), inf where it diverges; None where it is not known.
        cumulant_excess: t -> cumulant(t) - t^2 / (2 precision), where it is known more exactly than that.
        variance_excess_of_exp: () -> as variance_excess, for exp(Y) with precision / (E exp Y)^2, where it is known
            more exactly than by cumulants.
        partial: m -> (E (Y - m)+, E (m - Y)+); None where they are not known.
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
        """cumulant(t) less that of the normal law of the same precision."""
        if self.cumulant_excess is not None:
            return self.cumulant_excess(t)
        return self.cumulant(t) - t * t / (2 * self.precision)


def from_entropy(mean, variance, entropy, **more) -> Moments:
    """Moments of a law that is never nearly normal, so that its entropy may be given as it is."""
    loss = NORMAL_ENTROPY + 0.5 * jnp.log(variance) - entropy
    return Moments(mean, 1 / variance, jnp.zeros_like(variance), loss, **more)


def of_exp(log: Moments) -> Moments:
    """The moments of X from those of log X."""
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
