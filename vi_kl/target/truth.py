"""Truth: what is known exactly about a target, and how.

A truth is a log evidence and a way to draw from the posterior; the posterior density of z then follows as
exp(log_density(z) - log_evidence). Every figure carries its method and its error.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import Distribution

from vi_kl.estimate import Estimate
from vi_kl.precision import as_float64, in_float64
from vi_kl.target.target import Target, in_chunks, unconstrain_batch


@dataclasses.dataclass(frozen=True)
class Moments:
    """Posterior mean and standard deviation of every entry of one site, with the error of the mean."""

    mean: np.ndarray
    sd: np.ndarray
    error: float = 0.0


@dataclasses.dataclass(frozen=True)
class Truth:
    """What is known exactly about a target.

    Attributes:
        log_evidence: log of the integral of exp(log_density), in nats.
        moments: {site: Moments} in the model's own (constrained) space.
        sample: `sample(key, n)` gives n independent draws of z from the exact posterior, shape (n, dim).
        distributions: {site: NumPyro distribution} where the posterior is known in closed form and its sites are
            independent; None otherwise.
    """

    log_evidence: Estimate
    moments: Mapping[str, Moments]
    sample: Callable
    distributions: Mapping[str, Distribution] | None = None

    @property
    def method(self) -> str:
        return self.log_evidence.method


def numpy_generator(key) -> np.random.Generator:
    """NumPy's generator seeded by a JAX key: for draws that need no gradient, and so no compilation."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def draw_sites(target: Target, distributions: Mapping[str, Distribution], key, n: int) -> np.ndarray:
    """n draws of z where the sites are independent with these distributions."""
    generator = numpy_generator(key)
    draws = {name: draw(distributions[name], generator, n) for name in target.site_names}

    def to_z(*sites):
        return unconstrain_batch(target, dict(zip(draws, sites, strict=True)))

    return in_chunks(to_z, *draws.values())


def draw(distribution: Distribution, generator: np.random.Generator, n: int) -> np.ndarray:
    """n draws, by NumPy where it knows the family: another program than the one that fits are made with."""
    match distribution:
        case dist.Beta(concentration1=a, concentration0=b):
            return generator.beta(a, b, (n, *np.shape(a)))
        case dist.Dirichlet(concentration=a) if np.ndim(a) == 1:
            return generator.dirichlet(a, n)
        case dist.Gamma(concentration=a, rate=b):
            return generator.gamma(a, 1 / np.asarray(b), (n, *distribution.batch_shape))
        case dist.Normal(loc=loc, scale=scale):
            return generator.normal(loc, scale, (n, *distribution.batch_shape))
        case _:
            seed = int(generator.integers(2**31))
            return np.asarray(distribution.sample(jax.random.key(seed), (n,)))


@in_float64
def closed_form_truth(target: Target, distributions: Mapping[str, Distribution], log_evidence: float) -> Truth:
    """The truth of a conjugate model: its posterior, independent over sites, and its log evidence in nats.

    Raises:
        ValueError: the distributions do not name exactly the target's sites.
    """
    if set(distributions) != set(target.site_names):
        raise ValueError(f"distributions name {sorted(distributions)}, the target {list(target.site_names)}.")

    # parameters made under the caller's float32 would make the density a float32 one
    distributions = {name: jax.tree.map(as_float64, q) for name, q in distributions.items()}

    @in_float64
    def sample(key, n: int):
        return draw_sites(target, distributions, key, n)

    moments = {name: Moments(np.asarray(q.mean), np.asarray(jnp.sqrt(q.variance))) for name, q in distributions.items()}
    return Truth(Estimate(log_evidence, 0.0, "closed form"), moments, sample, distributions)
