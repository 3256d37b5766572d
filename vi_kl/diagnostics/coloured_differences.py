"""Precisions at many points by few differences of gradients: coordinates that share no curvature are moved at once.

Coordinates are coloured so that no row of the precision sees two of one colour. A coordinate that nearly all others
are coupled with, such as the mean of a hierarchy, is moved alone, and what it shares with each of them is read off
that move; then the rest needs few colours, however many groups there are.

Reference: Coleman & More (1984), "Estimation of sparse Hessian matrices and graph coloring problems".
"""

import dataclasses

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int

from vi_kl.targets.sparsity import colours
from vi_kl.targets.target import Target, value_and_grad_batch

MOST_ALONE = 12  # coordinates that it is tried to move alone
COUPLED = 1e-4  # the share of two curvatures above which their coordinates count as coupled


@dataclasses.dataclass(frozen=True)
class Moves:
    """The moves that tell the precision of some coordinates.

    Attributes:
        sums: which coordinates each move moves, (moves, m).
        sources: the move, the row and the coordinate moved by which each entry of the precision is seen, (3, m, m).
        pattern: the entries that are not zero, (m, m).
    """

    sums: Bool[np.ndarray, "moves m"]
    sources: Int[np.ndarray, "3 m m"]
    pattern: Bool[np.ndarray, "m m"]

    @classmethod
    def of(cls, pattern: Bool[np.ndarray, "m m"]) -> "Moves":
        """Return the fewest moves that are found for a symmetric pattern."""
        order = np.argsort(-pattern.sum(axis=0), kind="stable")
        tried = [coloured(pattern, order[:alone]) for alone in range(min(len(order), MOST_ALONE) + 1)]
        colour, is_alone = min(tried, key=lambda found: found[0].max())
        columns, rows = np.meshgrid(np.arange(len(order)), np.arange(len(order)))
        other_way = is_alone[rows] & ~is_alone[columns]
        columns, rows = np.where(other_way, rows, columns), np.where(other_way, columns, rows)
        sums = colour == np.arange(colour.max() + 1)[:, None]
        return cls(sums, np.stack([colour[columns], rows, columns]), pattern)

    def __len__(self):
        return len(self.sums)


def coloured(pattern: np.ndarray, alone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the colour of each coordinate, and which of them have one for themselves."""
    is_alone, colour = np.zeros(len(pattern), bool), np.zeros(len(pattern), int)
    is_alone[alone] = True
    colour[alone] = np.arange(len(alone))
    rest = np.flatnonzero(~is_alone)
    if len(rest):
        colour[rest] = len(alone) + colours(sp.csr_array(pattern[np.ix_(rest, rest)]))
    return colour, is_alone


def pattern_of(hessians: Float[np.ndarray, "n m m"]) -> Bool[np.ndarray, "m m"]:
    """Return which coordinates are coupled at any of n points; all of them where that cannot be told."""
    with np.errstate(invalid="ignore", divide="ignore"):
        diagonal = np.sqrt(np.abs(np.diagonal(hessians, axis1=1, axis2=2)))
        coupled = ~(np.abs(hessians) <= COUPLED * diagonal[:, :, None] * diagonal[:, None, :])
    found = coupled.any(axis=0)
    return found | found.T | np.eye(len(found), dtype=bool)


def hessians(target: Target, z: Float[np.ndarray, "n dim"], steps: Float[np.ndarray, " dim"]) -> np.ndarray:
    """Return the Hessians of the log density at points, (n, dim, dim), by moves of one coordinate at a time."""
    points = z[:, None, None] + np.stack([np.diag(steps), -np.diag(steps)])
    slopes = value_and_grad_batch(target, points.reshape(-1, len(steps)))[1].reshape(points.shape)
    with np.errstate(invalid="ignore"):
        return (slopes[:, 0] - slopes[:, 1]) / (2 * steps[:, None])


def slope_and_precision(
    target: Target, z: Float[np.ndarray, "n dim"], others: Int[np.ndarray, " m"], steps, moves: Moves
) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n m m"]]:
    """Return the gradient, and minus the Hessian, of the log density in some coordinates at points."""
    there = np.zeros((len(moves), z.shape[1]))
    there[:, others] = moves.sums * steps[others]
    points = z[:, None, None] + np.stack([there, -there])
    slopes = value_and_grad_batch(target, points.reshape(-1, z.shape[1]))[1].reshape(points.shape)[..., others]
    move, row, moved = moves.sources
    with np.errstate(invalid="ignore"):  # far out, gradients may be infinite
        seen = (slopes[:, 1] - slopes[:, 0])[:, move, row] / (2 * steps[others][moved])
    precision = np.where(moves.pattern, seen, 0.0)
    return slopes.mean(axis=(1, 2)), 0.5 * (precision + precision.transpose(0, 2, 1))
