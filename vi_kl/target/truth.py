"""Truth: what is known exactly about a target, and how.

A truth is a log evidence and a way to draw from the posterior; the posterior density of z then follows as
exp(log_density(z) - log_evidence). Every figure carries its method and its error.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution

from vi_kl.estimate import Estimate
from vi_kl.precision import in_float64
from vi_kl.target.target import Target, unconstrain_batch


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


@in_float64
def closed_form_truth(
    target: Target, distributions: Mapping[str, Distribution], log_evidence: float
) -> Truth:
    """The truth of a conjugate model: its posterior, independent over sites, and its log evidence in nats.

    Raises:
        ValueError: the distributions do not name exactly the target's sites.
    """
    if set(distributions) != set(target.site_names):
        raise ValueError(f"distributions name {sorted(distributions)}, the target {list(target.site_names)}.")

    @in_float64
    def sample(key, n: int):
        keys = jax.random.split(key, len(distributions))
        draws = {name: q.sample(k, (n,)) for k, (name, q) in zip(keys, distributions.items(), strict=True)}
        return unconstrain_batch(target, draws)

    moments = {
        name: Moments(np.asarray(q.mean), np.asarray(jnp.sqrt(q.variance)))
        for name, q in distributions.items()
    }
    return Truth(Estimate(log_evidence, 0.0, "closed form"), moments, sample, dict(distributions))
