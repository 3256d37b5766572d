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

from vi_kl.families.family import Family
from vi_kl.families.frame import Frame

SMALLEST_COLUMN = 0.1  # in conditional sds: a column of zeros has no gradient to grow by
MOST_ITERATIONS = 200
EXACT_DIMENSIONS = 100  # above, the first few iterations have to do


@dataclasses.dataclass(frozen=True)
class LowRank(Family):
    """q(z) = Normal(loc, diag(scale^2) + factor factor^T), factor of shape (dim, rank).

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
            raise ValueError("A low-rank covariance needs at least 2 dimensions; use MeanField for one.")
        if self.rank is not None and self.rank >= target.dim:
            raise ValueError(
                f"rank must be below the target's {target.dim} dimensions, got {self.rank}; FullRank has any covariance."
            )

    def rank_for(self, dim: int) -> int:
        return self.rank or min(dim - 1, max(1, round(np.sqrt(dim))))

    def noise_dim(self, target):
        return target.dim + self.rank_for(target.dim)

    def standard(self, key, target):
        self.require(target)
        dim = target.dim
        return {"loc": jnp.zeros(dim), "log_scale": jnp.zeros(dim), "factor": jnp.zeros((dim, self.rank_for(dim)))}

    def units(self, frame, target=None):
        return LowRankUnits.of(frame, self.rank_for(frame.dim))

    def place(self, params, units):
        """The factors move along the frame's axes, from the best ones for its normal; scales relative to the best."""
        return {
            "loc": units.frame.point(params["loc"]),
            "log_scale": jnp.log(units.scale) + params["log_scale"],
            "factor": units.frame.matrix(params["factor"]) + units.factor,
        }

    def distribution(self, params, target):
        variances = jnp.exp(2 * params["log_scale"])
        return dist.LowRankMultivariateNormal(params["loc"], params["factor"], variances, validate_args=False)

    def push(self, params, target):
        """z = loc + factor u_1 + scale u_2: more noises than dimensions, so log q(z) is that of the sum."""
        q, rank = self.distribution(params, target), params["factor"].shape[1]

        def push_sum(u):
            z = params["loc"] + params["factor"] @ u[:rank] + jnp.exp(params["log_scale"]) * u[rank:]
            return z, q.log_prob(z)

        return push_sum


class LowRankUnits(NamedTuple):
    """The frame, with the low-rank normal that is nearest to its own (in reverse KL).

    Attributes:
        frame: the frame.
        scale: the independent part's sds, (dim,).
        factor: (dim, rank).
    """

    frame: Frame
    scale: jax.Array
    factor: jax.Array

    @classmethod
    def of(cls, frame: Frame, rank: int) -> "LowRankUnits":
        sd = np.asarray(frame.conditional_sd)
        if np.ndim(frame.scale_tril) == 1:
            columns = np.random.default_rng(0).normal(size=(frame.dim, rank))
            return cls(frame, sd, sd[:, None] * columns * SMALLEST_COLUMN / np.linalg.norm(columns, axis=0))
        scale, factor = nearest_low_rank(frame.precision * np.outer(sd, sd), rank)
        return cls(frame, sd * scale, sd[:, None] * factor)


def nearest_low_rank(precision: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """(scale, factor) of a minimum of KL(N(0, diag(scale^2) + factor factor') || N(0, precision^-1)).

    At a minimum q's precision has the diagonal of the given one, and the factors are the directions, in units of
    `scale`, in which the given precision is lowest. The two conditions are met in turn.
    """
    scale = 1 / np.sqrt(np.diag(precision))
    for _ in range(MOST_ITERATIONS if len(precision) <= EXACT_DIMENSIONS else 20):
        values, vectors = np.linalg.eigh(precision * np.outer(scale, scale))
        values, vectors = np.clip(values[:rank], 1e-12, None), vectors[:, :rank]
        own = 1 - (vectors**2) @ np.clip(1 - values, 0, None)  # q's precision in units of scale, its diagonal
        ratio = own / (np.diag(precision) * scale**2)
        if np.abs(ratio - 1).max() < 1e-10:
            break
        scale = scale * np.sqrt(ratio)
    values, vectors = np.linalg.eigh(precision * np.outer(scale, scale))
    values, vectors = np.clip(values[:rank], 1e-12, None), vectors[:, :rank]
    lengths = np.sqrt(np.clip(1 / values - 1, SMALLEST_COLUMN**2, None))
    return scale, scale[:, None] * vectors * lengths
