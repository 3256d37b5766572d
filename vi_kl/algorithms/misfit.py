"""The misfit of a family's log density and its gradient to the posterior's at points, with its own gradient.

The misfit is made of log q and its slopes by z, and so its gradient by the parameters has second derivatives of log q.
They are needed along one direction at each point only, b, the gradient of the misfit by the slopes there:

    d/dtheta (b . dlog q/dz) = d/dh [dlog q/dtheta at z + h b],

which is the difference of two first gradients, at the point and at a place beside it. Programs with second derivatives
of a flow take XLA several times as long to compile and to run as all of this.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import numpy as np
from jaxtyping import Float

from vi_kl.core.annotations import Params
from vi_kl.core.compilation import compiled
from vi_kl.families.coupling_in_numpy import PIECE
from vi_kl.families.family import Family, Gradients
from vi_kl.targets.target import Target

STEP = 3e-8  # from a point to the place beside it, in the units of the points: rounding and curvature do about the same


class OfDimension(NamedTuple):
    """What a family whose density depends on nothing else reads of a target."""

    dim: int


class FamilyGradients:
    """log q of any family at points, by JAX."""

    def __init__(self, family: Family, params: Params, z: np.ndarray):
        self.arguments = family, params, z

    @functools.cached_property
    def plain(self) -> tuple[np.ndarray, Params, np.ndarray]:
        """The log density, and the gradients of its sum."""
        return self.run(np.ones(len(self.arguments[2])))

    @property
    def log_q(self) -> Float[np.ndarray, " n"]:
        """The log density, (n,)."""
        return self.plain[0]

    def run(self, weights: np.ndarray):
        family, params, z = self.arguments
        missing = PIECE - len(z)
        padded = np.pad(z, ((0, missing), (0, 0))), np.pad(weights, (0, missing))
        log_q, by_params, by_z = jax.tree.map(np.asarray, gradients_by_jax(params, *padded, family))
        return log_q[: len(z)], by_params, by_z[: len(z)]

    @property
    def slopes(self) -> np.ndarray:
        return self.plain[2]

    def pull(self, weights: np.ndarray) -> Params:
        return self.run(weights)[1]


@compiled(static=("family",))
def gradients_by_jax(params, z, weights, family: Family):
    """Return log q at z, and the gradients of sum(weights * log q) by the parameters and by z."""

    def log_prob(params, z):
        return jax.vmap(family.distribution(params, cast(Target, OfDimension(z.shape[1]))).log_prob)(z)

    log_q, pull = jax.vjp(log_prob, params, z)
    return log_q, *pull(weights)


def gradients_of(family: Family, params: Params) -> Callable[[np.ndarray], Gradients]:
    """Return what evaluates log q at no more than PIECE points: NumPy where a family has it, which compiles nothing."""
    by_numpy = family.in_numpy(params)
    return functools.partial(FamilyGradients, family, params) if by_numpy is None else by_numpy.gradients


def misfit(family: Family, params: Params, offset: float, z, log_p, slopes, weights) -> tuple[float, Params, float]:
    """Return the weighted misfit, and its gradients by the parameters and by the offset.

    A point's misfit is (log p - log q - offset)^2 + |dlog p/dz - dlog q/dz|^2. Squares that are large beside the
    dimension count by their roots, so that a few places far out do not decide.

    Args:
        family, params: what q is.
        offset: log p's unknown constant.
        z: the points, (n, dim), n at most PIECE.
        log_p: the log density there, (n,).
        slopes: its gradient, (n, dim).
        weights: the points' weights, (n,).
    """
    at = gradients_of(family, params)
    here = at(z)
    difference = log_p - here.log_q - offset
    slope_difference = slopes - here.slopes
    root = np.sqrt(1 + (difference**2 + np.sum(slope_difference**2, axis=1)) / z.shape[1])
    value = 2 * z.shape[1] * np.sum(weights * (root - 1))
    by_log_q = -2 * difference * weights / root
    by_slopes = -2 * slope_difference * (weights / root)[:, None]

    return float(value), pulled(at, here, z, by_log_q, by_slopes), float(by_log_q.sum())


def pulled(at, here: Gradients, z: np.ndarray, by_log_q: np.ndarray, by_slopes: np.ndarray) -> Params:
    """Return the gradient by the parameters of what has these gradients by log q, (n,), and by its slopes, (n, dim).

    Args:
        at: what evaluates log q.
        here: the same at z.
        z: the points, (n, dim).
        by_log_q, by_slopes: the gradients.
    """
    size = np.linalg.norm(by_slopes, axis=1)
    step = STEP * by_slopes / np.where(size > 0, size, 1.0)[:, None]
    return jax.tree.map(np.add, here.pull(by_log_q - size / STEP), at(z + step).pull(size / STEP))


def random_sensitivities(family: Family, params: Params, z, weights, generator: np.random.Generator) -> Params:
    """Return a random sum of what the parameters do to log q and its slopes at points, weighted as the misfit does.

    The mean of its square is the diagonal of the Gauss-Newton matrix, half the misfit's second derivatives where the
    misfit is small: random signs cancel what is off it.

    Args:
        family, params: what q is.
        z: the points, (n, dim), n at most PIECE.
        weights: the points' weights, (n,).
        generator: the source of the signs.

    Reference: Bekas, Kokiopoulou & Saad (2007), "An estimator for the diagonal of a matrix".
    """
    at = gradients_of(family, params)
    signs = generator.choice([-1.0, 1.0], (len(z), 1 + z.shape[1])) * np.sqrt(weights)[:, None]
    return pulled(at, at(z), z, signs[:, 0], signs[:, 1:])
