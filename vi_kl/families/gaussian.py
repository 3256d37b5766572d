"""Normal distributions over z: independent coordinates (mean field), or any covariance (full rank)."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Float
from numpyro.distributions import Distribution

from vi_kl.core.annotations import AnyArray, KeyLike, Params
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.scales import Diagonal, Scale, Triangular
from vi_kl.families.family import Family
from vi_kl.families.frame import Frame
from vi_kl.families.normals_on_noise import FullRankOnNoise, MeanFieldOnNoise
from vi_kl.targets.target import Target

# The parameters are valid by construction, so validate_args=False below: checking them takes NumPyro longer than
# all other tracing together.


@dataclasses.dataclass(frozen=True)
class MeanField(Family):
    """A product of independent normals, q(z) = prod Normal(loc_i, scale_i): cheap, and without correlation."""

    name = "mean_field"

    @property
    def shifts_and_stretches(self) -> bool:
        return True

    def standard(self, key: KeyLike, target: Target) -> Params:
        return {"loc": jnp.zeros(target.dim), "log_scale": jnp.zeros(target.dim)}

    def place(self, params: Params, units: Frame) -> Params:
        """Return the parameters in z: the location moves along the frame's axes.

        Each scale is in units of its conditional sd.

        For a normal posterior the standard member has exactly the scales of the best one.
        """
        return {
            "loc": units.point(params["loc"]),
            "log_scale": namespace(params).log(units.conditional_sd) + params["log_scale"],
        }

    def frame(self, params: Params) -> Frame:
        return Frame.of(params["loc"], np.exp(params["log_scale"]))

    def normal(self, params: Params) -> Gaussian:
        return Gaussian.of(params["loc"], np.exp(params["log_scale"]))

    def on_noise(self, params: Params, units: Frame | None) -> MeanFieldOnNoise:
        return MeanFieldOnNoise(self.normal(self.placed(params, units)), axes_of(units, params["loc"]))

    def reframed(self, params: Params, frame: Frame) -> Frame:
        """Return a frame along the old frame's axes, each coordinate stretched to the member's scale."""
        sd = np.exp(np.asarray(params["log_scale"]))
        stretch = sd / np.asarray(frame.conditional_sd)
        tril = np.asarray(frame.scale_tril)
        return Frame(np.asarray(params["loc"]), tril * (stretch if tril.ndim == 1 else stretch[:, None]), sd)

    def distribution(self, params: Params, target: Target) -> Distribution:
        return dist.Normal(params["loc"], jnp.exp(params["log_scale"]), validate_args=False).to_event(1)


@dataclasses.dataclass(frozen=True)
class FullRank(Family):
    """A normal of any covariance, q(z) = MultivariateNormal(loc, L L^T), L = diag(scale) (I + strict lower triangle).

    Scaling the rows keeps the triangle's entries of order one whatever the scales of the posterior are.
    """

    name = "full_rank"

    @property
    def shifts_and_stretches(self) -> bool:
        return True

    def standard(self, key: KeyLike, target: Target) -> Params:
        return full_rank_params(np.zeros(target.dim), np.eye(target.dim))

    def place(self, params: Params, units: Frame) -> Params:
        tril, xp = units.matrix(scale_tril(params)), namespace(params)
        scale = xp.diag(tril)
        below = (tril / scale[:, None])[np.tril_indices(tril.shape[0], -1)]
        return {"loc": units.point(params["loc"]), "log_scale": xp.log(scale), "below": below}

    def frame(self, params: Params) -> Frame:
        return Frame.of(params["loc"], scale_tril(params))

    def normal(self, params: Params) -> Gaussian:
        return Gaussian.of(params["loc"], scale_tril(params))

    def on_noise(self, params: Params, units: Frame | None) -> FullRankOnNoise:
        loc, inner = params["loc"], scale_tril(params)
        normal = Gaussian.of(loc, inner) if units is None else Gaussian.of(units.point(loc), units.matrix(inner))
        return FullRankOnNoise(normal, axes_of(units, loc), Triangular(inner))

    def distribution(self, params: Params, target: Target) -> Distribution:
        return dist.MultivariateNormal(params["loc"], scale_tril=scale_tril(params), validate_args=False)


def axes_of(units: Frame | None, loc: np.ndarray) -> Scale:
    """Return the scale along whose axes a location moves: the frame's, or that of z itself."""
    return Diagonal(np.ones(len(loc))) if units is None else units.normal.scale


def full_rank_params(loc: np.ndarray, tril: np.ndarray) -> dict:
    """Return the parameters of `FullRank` for a mean and a Cholesky factor of the covariance."""
    scale = np.diag(tril)
    below = np.tril(tril / scale[:, None], -1)[np.tril_indices(len(loc), -1)]
    return {"loc": jnp.asarray(loc), "log_scale": jnp.asarray(np.log(scale)), "below": jnp.asarray(below)}


def scale_tril(params: Params) -> Float[AnyArray, "dim dim"]:
    """Return the Cholesky factor of the covariance of these `FullRank` parameters."""
    xp, dim = namespace(params), params["loc"].shape[-1]
    below = xp.append(params["below"], 0.0)[places_below_diagonal(dim)]
    return xp.exp(params["log_scale"])[:, None] * (below + np.eye(dim))


def namespace(params: Params) -> Any:
    """Return `jax.numpy` inside a program, else `numpy`: there JAX would compile each operation by itself."""
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(params))
    return jnp if traced else np


@functools.cache
def places_below_diagonal(dim: int) -> np.ndarray:
    """Return the place of each entry of a (dim, dim) matrix in the vector below the diagonal; -1 for other entries."""
    places = np.full((dim, dim), -1)
    rows, columns = np.tril_indices(dim, -1)
    places[rows, columns] = np.arange(len(rows))
    return places
