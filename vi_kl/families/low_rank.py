"""LowRank: a normal distribution whose covariance is diagonal plus a few common factors.

Requires at least two dimensions. It sees the strongest correlations at a cost that grows linearly with the dimension;
use it where `FullRank` has too many entries to learn, from about a hundred dimensions on.

Reference: Ong, Nott & Smith (2018), "Gaussian variational approximation with a factor covariance structure".
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.core.errors import UnsuitableError
from vi_kl.core.scales import Diagonal
from vi_kl.families.family import Family
from vi_kl.families.frame import Frame

SMALLEST_COLUMN = 0.1  # in conditional sds: a column of zeros has no gradient to grow by
SMALLEST_SCALE = 0.1  # in conditional sds
MOST_ITERATIONS = 200
EXACT_DIMENSIONS = 100  # in more dimensions, a few iterations must do


@dataclasses.dataclass(frozen=True)
class LowRank(Family):
    """A normal, q(z) = Normal(loc, diag(scale^2) + factor factor^T), with factor of shape (dim, rank).

    Attributes:
        rank: the number of common factors; about the square root of the dimension by default.
    """

    rank: int | None = None

    name = "low_rank"

    def __post_init__(self):
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}; use MeanField for none.")

    def require(self, target):
        if target.dim < 2:
            raise UnsuitableError("A low-rank covariance needs at least 2 dimensions; use MeanField for one.")
        if self.rank is not None and self.rank >= target.dim:
            raise UnsuitableError(
                f"rank must be below the target's {target.dim} dimensions, got {self.rank}: "
                f"FullRank has any covariance."
            )

    def rank_for(self, dim: int) -> int:
        """Return the number of common factors in this many dimensions."""
        return self.rank or min(dim - 1, max(1, round(np.sqrt(dim))))

    def noise_dim(self, target):
        return target.dim + self.rank_for(target.dim)

    @property
    def shifts_and_stretches(self):
        return True

    def standard(self, key, target):
        self.require(target)
        dim = target.dim
        return {"loc": jnp.zeros(dim), "log_scale": jnp.zeros(dim), "factor": jnp.zeros((dim, self.rank_for(dim)))}

    def units(self, frame, target=None):
        return LowRankUnits.of(frame, self.rank_for(frame.dim))

    def place(self, params, units):
        """Return the parameters in z: factors along the frame's axes, added to the best ones for the frame's normal.

        Scales are relative to the best ones.
        """
        return {
            "loc": units.frame.point(params["loc"]),
            "log_scale": jnp.log(units.scale) + params["log_scale"],
            "factor": units.frame.matrix(params["factor"]) + units.factor,
        }

    def distribution(self, params, target):
        variances = jnp.exp(2 * params["log_scale"])
        return dist.LowRankMultivariateNormal(params["loc"], params["factor"], variances, validate_args=False)

    def push(self, params, target):
        """Return u -> (z, log q(z)) with z = loc + factor u_1 + scale u_2.

        There are more noises than dimensions, so log q(z) is the density of the sum.
        """
        q, rank = self.distribution(params, target), params["factor"].shape[1]

        def push_sum(u):
            z = params["loc"] + params["factor"] @ u[:rank] + jnp.exp(params["log_scale"]) * u[rank:]
            return z, q.log_prob(z)

        return push_sum


class LowRankUnits(NamedTuple):
    """A frame with the low-rank normal that is nearest to its own (in reverse KL).

    Attributes:
        frame: the frame.
        scale: the standard deviations of the independent part, of shape (dim,).
        factor: the common factors, of shape (dim, rank).
    """

    frame: Frame
    scale: jax.Array
    factor: jax.Array

    @classmethod
    def of(cls, frame: Frame, rank: int) -> "LowRankUnits":
        sd = np.asarray(frame.conditional_sd)
        if isinstance(frame.normal.scale, Diagonal):
            columns = np.random.default_rng(0).normal(size=(frame.dim, rank))
            return cls(frame, sd, sd[:, None] * columns * SMALLEST_COLUMN / np.linalg.norm(columns, axis=0))
        scale, factor = nearest_low_rank(frame.normal.precision * np.outer(sd, sd), rank)
        return cls(frame, sd * scale, sd[:, None] * factor)


def nearest_low_rank(precision: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (scale, factor) at a minimum of KL(N(0, diag(scale^2) + factor factor') || N(0, precision^-1)).

    At a minimum q's precision has the diagonal of the given one, and the factors are the directions, in units of
    `scale`, in which the given precision is lowest. The two conditions are met in turn. A factor that is best alone
    with a coordinate would drive that one's scale to zero; it is kept from there.
    """
    conditional_sd = 1 / np.sqrt(np.diag(precision))
    scale = conditional_sd
    for _ in range(MOST_ITERATIONS if len(precision) <= EXACT_DIMENSIONS else 20):
        values, vectors = lowest(precision * np.outer(scale, scale), rank)
        own = 1 - (vectors**2) @ (1 - values)  # the diagonal of q's precision in units of scale
        before, scale = scale, np.maximum(conditional_sd * np.sqrt(own), SMALLEST_SCALE * conditional_sd)
        if np.abs(np.log(scale / before)).max() < 1e-10:
            break
    values, vectors = lowest(precision * np.outer(scale, scale), rank)
    lengths = np.maximum(np.sqrt(1 / values - 1), SMALLEST_COLUMN)
    return scale, scale[:, None] * vectors * lengths


def lowest(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest eigenvalues, clipped at one (a larger one gives a useless factor), and their vectors."""
    values, vectors = np.linalg.eigh(matrix)
    return np.clip(values[:rank], np.finfo(float).eps, 1.0), vectors[:, :rank]
