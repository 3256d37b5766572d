"""Reflected: any image of normal noise, made as lopsided as the posterior is, with nothing to fit.

Let q be the image of standard normal noise u, which is as likely as -u. A draw of q at u is moved to the image of -u,
its mirror image, with the share of the posterior's density, in units of q's, that the two have there:

    q*(z) = 2 q(z) w(z) / (w(z) + w(z')),    w = posterior / q,    z' the mirror image of z.

For a normal z' = 2m - z. The density of q* is explicit, and KL(q*||posterior) is that of q less

    E_q[log cosh((log w(z) - log w(z')) / 2)],

which opposite draws of q tell before the step is taken. What is the same at z and z', such as a width, stays as it is.

Requires of the base family: draws that are an image of normal noise which z determines. Requires of the target one more
evaluation of its log density for each draw. There is nothing to optimise: fit the base, and reflect it by `reflected`.

Reference: Pozza, Durante & Szabo (2026), "Skew-symmetric approximations of posterior distributions", JRSS B, for
normals. The same holds of any image of symmetric noise, whose mirror images are those of opposite noise.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float
from numpyro.distributions import constraints

from vi_kl.core.annotations import AnyArray
from vi_kl.core.errors import UnsuitableError
from vi_kl.families.family import Family
from vi_kl.families.gaussian import FullRank
from vi_kl.families.push_forward import noise_of
from vi_kl.targets.target import log_density


@dataclasses.dataclass(frozen=True)
class Reflected(Family):
    """A member of another family, each draw of it moved to its mirror image with the share of the posterior there.

    Attributes:
        base: the other family, such as FullRank() or Skewed(), whose parameters are this one's.
    """

    base: Family = dataclasses.field(default_factory=FullRank)

    @property
    def name(self):
        return f"reflected_{self.base.name}"

    def require(self, target):
        """Raise an error, since no algorithm fits it.

        Raises:
            UnsuitableError: always; the message says what to do instead.
        """
        raise UnsuitableError(
            f"There is nothing to optimise in a reflection: fit {self.base.name}, and then take "
            f"vi_kl.families.reflected(fit.approximation)."
        )

    def init(self, key, target):
        return self.base.init(key, target)

    def distribution(self, params, target):
        return ReflectedDistribution(self.base.distribution(params, target), target)

    def push(self, params, target):
        """Return None: which of two images a draw takes is decided by more than the noise."""
        return None

    def sample_and_log_prob(self, params, target, key, n):
        """Return draws and log q(z); they do not move smoothly with the parameters."""
        return self.distribution(params, target).sample_and_log_prob(key, n)


class ReflectedDistribution(dist.Distribution):
    """The NumPyro distribution q*, for one target.

    Args:
        base: q, an image of normal noise.
        target: the posterior.
    """

    support = constraints.real_vector

    def __init__(self, base: dist.Distribution, target):
        self.base, self.target = base, target
        super().__init__(event_shape=(target.dim,), validate_args=False)

    def mirrored(self, z: Float[AnyArray, " dim"]):
        """Return log q(z), the mirror image z', and log q(z')."""
        return mirrored(self.base, z)

    def sample(self, key, sample_shape=()):
        n = 1
        for length in sample_shape:
            n *= length
        return self.sample_and_log_prob(key, n)[0].reshape(*sample_shape, self.target.dim)

    def sample_and_log_prob(self, key, n: int):
        """Return n draws, (n, dim), and log q*(z), (n,)."""
        base_key, coin_key = jax.random.split(key)
        z = self.base.sample(base_key, (n,))
        log_q, images, log_q_images = jax.vmap(self.mirrored)(z)
        log_p = jax.vmap(log_density, in_axes=(None, 0))(self.target, jnp.concatenate([z, images]))
        coin = jax.random.uniform(coin_key, (n,), dtype=float)
        return chosen(coin, (z, images), (log_q, log_q_images), (log_p[:n], log_p[n:]))

    def log_prob(self, value):
        flat = value.reshape(-1, self.target.dim)
        log_q, images, log_q_images = jax.vmap(self.mirrored)(flat)
        densities = jax.vmap(log_density, in_axes=(None, 0))
        log_ratio = weight_ratio((densities(self.target, flat), densities(self.target, images)), (log_q, log_q_images))
        return (log_q + log_share(log_ratio)).reshape(value.shape[:-1])

    def tree_flatten(self):
        return (self.base, self.target), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


def mirrored(base: dist.Distribution, z: Float[AnyArray, " dim"]):
    """Return log q(z), the mirror image z', and log q(z'), for one z.

    Raises:
        UnsuitableError: q is not an image of normal noise, or z does not determine the noise.
    """
    pushed = noise_of(base, z)
    if pushed is None:
        raise UnsuitableError("Only an image of normal noise, of as many dimensions as z has, can be reflected.")
    u, push = pushed
    image, log_q_image = push(-u)
    return push(u)[1], image, log_q_image


def weight_ratio(log_p, log_q):
    """Return log w(z) - log w(z'), from (log p(z), log p(z')) and (log q(z), log q(z')).

    A point without a density, or where the arithmetic fails, has no weight; if neither has any, both have the same.
    """
    there, image = (jnp.where(jnp.isnan(p), -jnp.inf, p) - q for p, q in zip(log_p, log_q, strict=True))
    neither = jnp.isneginf(there) & jnp.isneginf(image)
    return jnp.where(neither, 0.0, jnp.where(neither, 0.0, there) - jnp.where(neither, 0.0, image))


def log_share(log_ratio: Float[AnyArray, " n"]) -> Float[Array, " n"]:
    """Return log(2 w(z) / (w(z) + w(z'))), of which log 2 is the most."""
    return jnp.log(2.0) - jnp.logaddexp(0.0, -log_ratio)


def chosen(coin, z, log_q, log_p):
    """Return z or its image, by a coin uniform in (0, 1), with log q*; each of z, log_q, log_p is (own, image's)."""
    log_ratio = weight_ratio(log_p, log_q)
    stays = jnp.log(coin) < -jnp.logaddexp(0.0, -log_ratio)
    place = jnp.where(stays[:, None], z[0], z[1])
    return place, jnp.where(stays, log_q[0] + log_share(log_ratio), log_q[1] + log_share(-log_ratio))


def gain(log_ratio: Float[AnyArray, " n"]) -> Float[Array, " n"]:
    """Return log cosh(log_ratio / 2), whose mean over draws of q is by how much reflection lowers the KL, in nats."""
    half = jnp.abs(log_ratio) / 2
    return half + jnp.log1p(jnp.exp(-2 * half)) - jnp.log(2.0)
