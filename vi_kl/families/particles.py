"""Particles: a set of points distributed like draws of the posterior, as `SVGD` finds them.

They can be drawn from and averaged over. They have no density, and so KL(q||posterior) is infinite.
"""

import dataclasses

import jax
import numpy as np

from vi_kl.core.cholesky import tril_of_covariance
from vi_kl.core.errors import ViKLError
from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import numpy_generator
from vi_kl.families.approximation import Approximation, asked_draws, sites_at
from vi_kl.families.family import Family, refuse_not_finite
from vi_kl.families.frame import Frame
from vi_kl.targets.target import constrain_in_chunks


class NoDensity(ViKLError, ValueError):
    """An error: what was asked of a set of particles needs a density."""


def no_density() -> NoDensity:
    return NoDensity(
        "A set of particles has no density, so that KL(q||posterior) is infinite and there is nothing to check: "
        "compare its means and sds (`sample`, `particles`), or fit a family with a density ('full_rank', 'flow')."
    )


@dataclasses.dataclass(frozen=True)
class Particles(Family):
    """A family of sets of points in z, params `particles` of shape (num_particles, dim)."""

    name = "particles"

    @property
    def has_log_prob(self):
        return False

    def frame(self, params):
        """Return the normal with the particles' own mean and covariance."""
        z = np.asarray(params["particles"])
        return Frame.of(z.mean(axis=0), tril_of_covariance(np.atleast_2d(np.cov(z, rowvar=False))))

    def require_params(self, params, target):
        z = np.asarray(params["particles"])
        if set(params) != {"particles"} or z.ndim != 2 or z.shape[1] != target.dim or z.dtype.kind != "f" or not len(z):
            raise ValueError(f"particles have the shape (num_particles, {target.dim}), and these {z.shape}.")
        refuse_not_finite(params)

    def distribution(self, params, target):
        raise no_density()

    def push(self, params, target):
        raise no_density()


@jax.tree_util.register_pytree_node_class
class ParticleApproximation(Approximation):
    """A set of particles, which can be sampled and has no log density."""

    @property
    @in_float64
    def particles(self) -> dict:
        """The particles themselves, {site: (num_particles, ...)}."""
        return constrain_in_chunks(self.target, np.asarray(self.params["particles"]))

    @in_float64
    def sample(self, key, n: int, *, deterministic: bool = True) -> dict:
        """Draw n particles with replacement, {site: (n, ...)}; see `Approximation.sample`."""
        key, n = asked_draws(key, n)
        return sites_at(self.target, self.draw_z(key, n)[0], key, deterministic)

    def draw_z(self, key, n: int) -> tuple:
        z = np.asarray(self.params["particles"])
        return z[numpy_generator(key).integers(len(z), size=n)], None

    def log_prob(self, z):
        raise no_density()

    def sample_and_log_prob(self, key, n):
        raise no_density()
