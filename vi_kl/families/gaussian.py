"""Normal distributions over z: independent coordinates (mean field), or any covariance (full rank)."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.families.family import Family

INITIAL_SCALE = 0.1
# The parameters are valid by construction, so validate_args=False below: checking them takes NumPyro longer than
# all other tracing together.


@dataclasses.dataclass(frozen=True)
class MeanField(Family):
    """q(z) = product of Normal(loc_i, scale_i): cheap, and blind to correlation."""

    name = "mean_field"

    def init(self, key, target):
        loc = target.initial_position(key)
        return {"loc": loc, "log_scale": jnp.asarray(np.full(target.dim, np.log(INITIAL_SCALE)))}

    def distribution(self, params, target):
        return dist.Normal(params["loc"], jnp.exp(params["log_scale"]), validate_args=False).to_event(1)


@dataclasses.dataclass(frozen=True)
class FullRank(Family):
    """q(z) = MultivariateNormal(loc, L L^T), where L = diag(scale) (I + strictly lower triangle).

    Scaling the rows keeps the triangle's entries of order one whatever the scales of the posterior are.
    """

    name = "full_rank"

    def init(self, key, target):
        loc = target.initial_position(key)
        return full_rank_params(np.asarray(loc), INITIAL_SCALE * np.eye(target.dim))

    def distribution(self, params, target):
        return dist.MultivariateNormal(params["loc"], scale_tril=scale_tril(params), validate_args=False)


def full_rank_params(loc: np.ndarray, tril: np.ndarray) -> dict:
    """The parameters of `FullRank` for a mean and a Cholesky factor of the covariance."""
    scale = np.diag(tril)
    below = np.tril(tril / scale[:, None], -1)[np.tril_indices(len(loc), -1)]
    return {"loc": jnp.asarray(loc), "log_scale": jnp.asarray(np.log(scale)), "below": jnp.asarray(below)}


def scale_tril(params):
    """The Cholesky factor of the covariance that these `FullRank` parameters stand for."""
    dim = params["loc"].shape[-1]
    below = jnp.append(params["below"], 0.0)[places_below_diagonal(dim)]
    return jnp.exp(params["log_scale"])[:, None] * (below + np.eye(dim))


@functools.cache
def places_below_diagonal(dim: int) -> np.ndarray:
    """Where each entry of a (dim, dim) matrix stands in the vector of those below the diagonal; -1 elsewhere."""
    places = np.full((dim, dim), -1)
    rows, columns = np.tril_indices(dim, -1)
    places[rows, columns] = np.arange(len(rows))
    return places
