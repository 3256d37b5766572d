"""Right q's: approximations that are the posterior itself, of several kinds, for which every proved error is false."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.families import Approximation, MeanField
from vi_kl.families.family import Family
from vi_kl.targets import Target
from vi_kl.targets.parameters import Positive


@dataclasses.dataclass(frozen=True)
class Exactly(Family):
    """The family of one distribution, which is given by its kind and the dimension."""

    kind: str

    name = "exactly"

    def init(self, key, target):
        return {"nothing": jnp.zeros(())}

    def distribution(self, params, target):
        return KINDS[self.kind](target.dim)


def normal(dim: int):
    """Independent normals with sds from 0.1 to 10."""
    return dist.Normal(0.0, jnp.geomspace(0.1, 10.0, dim)).to_event(1)


def skewed(dim: int):
    """Independent Gumbels, whose skewness is 1.14."""
    return dist.Gumbel(0.0, jnp.ones(dim)).to_event(1)


def heavy(dim: int):
    """A multivariate Student t without a fourth moment."""
    return dist.MultivariateStudentT(3.0, jnp.zeros(dim), jnp.eye(dim))


def two_modes(dim: int):
    """Two modes of unequal mass, between which no chain goes."""
    means = jnp.stack([jnp.zeros(dim), jnp.full(dim, 10.0)])
    return dist.MixtureSameFamily(dist.Categorical(jnp.array([0.3, 0.7])), dist.Normal(means, 1.0).to_event(1))


class Funnel(dist.Distribution):
    """Neal's funnel, of which the first coordinate is twice the log of the sd of the others."""

    support = dist.constraints.real_vector

    def __init__(self, dim: int):
        super().__init__(event_shape=(dim,), validate_args=False)

    def sample(self, key, sample_shape=()):
        u = jax.random.normal(key, (*sample_shape, *self.event_shape))
        first = 2.0 * u[..., :1]
        return jnp.concatenate([first, jnp.exp(first / 2) * u[..., 1:]], axis=-1)

    def log_prob(self, value):
        first, others = value[..., 0], value[..., 1:]
        within = dist.Normal(0.0, jnp.exp(first / 2)[..., None]).log_prob(others).sum(-1)
        return dist.Normal(0.0, 2.0).log_prob(first) + within


KINDS = {"normal": normal, "skewed": skewed, "heavy": heavy, "two modes": two_modes, "funnel": Funnel}


def log_density_of(kind: str):
    return lambda z: KINDS[kind](len(z)).log_prob(z)


def right(kind: str, dim: int) -> Approximation:
    """Return the posterior of a kind as its own approximation."""
    if kind == "positive":  # log-normal sites, whose skewness is 6
        target = Target.from_log_density(
            lambda x: dist.LogNormal(0.0, 1.0).log_prob(x["x"]).sum(), {"x": Positive(np.ones(dim))}
        )
        with jax.enable_x64(True):
            return Approximation(MeanField(), {"loc": jnp.zeros(dim), "log_scale": jnp.zeros(dim)}, target)
    return Approximation(Exactly(kind), {"nothing": np.zeros(())}, Target.from_log_density(log_density_of(kind), dim))
