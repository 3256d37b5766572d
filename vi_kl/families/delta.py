"""Delta: a single point, as maximum-a-posteriori estimates are.

It is no density: KL(q||posterior) is infinite, and no draws of it say anything of uncertainty. It is here so that a
point can be compared with approximations, and distinguished from them.
"""

import dataclasses

import jax.numpy as jnp
import numpyro.distributions as dist

from vi_kl.families.family import Family


@dataclasses.dataclass(frozen=True)
class Delta(Family):
    """A point, loc, whose log density is infinite there."""

    name = "delta"

    @property
    def has_log_prob(self):
        return False

    def standard(self, key, target):
        return {"loc": jnp.zeros(target.dim)}

    def place(self, params, units):
        return {"loc": units.point(params["loc"])}

    def distribution(self, params, target):
        return dist.Delta(params["loc"], log_density=jnp.full(target.dim, jnp.inf), event_dim=0).to_event(1)

    def sample_and_log_prob(self, params, target, key, n):
        """Return the point n times, with an infinite log density, so that KL(q||posterior) is infinite."""
        return jnp.tile(params["loc"], (n, 1)), jnp.full(n, jnp.inf)

    def weighted_draws(self, params, target, key, n):
        raise ValueError("A point has no density, so no divergence has a minimum over points: find the mode.")

    def log_prob(self, params, target, z):
        return jnp.where(jnp.all(z == params["loc"]), jnp.inf, -jnp.inf)
