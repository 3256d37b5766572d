"""The trapezoidal rule on an even grid around a peak, in its whitened coordinates.

It converges exponentially for smooth densities that vanish at the border, so where the tails are light and
nothing is much narrower than the peak itself a modest grid gives many digits.

Reference: Trefethen & Weideman (2014), "The exponentially convergent trapezoidal rule", SIAM Review 56(3).
"""

import dataclasses
import itertools

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.special import logsumexp

from vi_kl.reference.quadrature.partition import PartDensity

MOST_NODES = {1: 20_000, 2: 50_000, 3: 160_000}  # where more nodes are needed, adaptive boxes need fewer


@dataclasses.dataclass(frozen=True)
class GridPart:
    """A peak's share of the density on a grid of u, the whitened coordinates around the peak.

    Attributes:
        axes: the grid coordinates of u, one array per dimension, evenly spaced.
        log_values: the unnormalised log density of u at every node, with one axis per dimension.
        relative_error: the relative error of the integral, from halving the grid and from the mass beyond the border.
    """

    density: PartDensity
    axes: list[np.ndarray]
    log_values: np.ndarray
    log_integral: float
    relative_error: float

    @property
    def num_nodes(self) -> int:
        return self.log_values.size

    def nodes(self) -> np.ndarray:
        """Return the nodes as z, of shape (number of nodes, dim)."""
        return self.density.peak.normal.unwhiten(grid(self.axes))

    def weights(self, coarse: bool = False) -> np.ndarray:
        """Return the nodes' probabilities, adding up to one; if `coarse`, those of every other node in each axis."""
        weights = np.exp(self.log_values - self.log_values.max())
        if coarse:
            every_other = np.zeros(weights.shape, bool)
            every_other[(slice(None, None, 2),) * weights.ndim] = True
            weights = np.where(every_other, weights, 0.0)
        return (weights / weights.sum()).ravel()

    def propose(self, count: int, generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw z from the linear interpolant of the density; return log (density / interpolant) there too.

        A node drawn by its weight and moved by a triangular jitter follows the linear interpolant exactly.
        """
        cumulative = np.cumsum(self.weights())
        picked = np.searchsorted(cumulative, generator.random(count) * cumulative[-1], side="right")
        index = np.stack(np.unravel_index(picked, self.log_values.shape), axis=-1)
        index = index + generator.random((2, *index.shape)).sum(axis=0) - 1
        step = self.axes[0][1] - self.axes[0][0]
        z = self.density.peak.normal.unwhiten(np.array([axis[0] for axis in self.axes]) + index * step)
        top = self.log_values.max()
        interpolant = map_coordinates(np.exp(self.log_values - top), index.T, order=1, mode="constant")
        with np.errstate(divide="ignore"):
            ratio = self.density(z) + self.density.peak.normal.log_det - top - np.log(interpolant)
        # a node at the border, of negligible weight, may be moved beyond the border, where the interpolant ends
        return z, np.where(interpolant > 0, ratio, -np.inf)


def integrate_on_grid(density: PartDensity, tolerance: float, max_nodes: int) -> GridPart | None:
    """Integrate with ever smaller steps until halving changes less than the tolerance; None if boxes serve better."""
    dim = len(density.peak.z)
    most = min(MOST_NODES[dim], max_nodes)
    axes, step = find_extent(density, negligible(tolerance), most), 1.0
    while axes is not None:
        axes = [np.arange(round(a[0] / step) - 1, round(a[-1] / step) + 2) * step for a in axes]
        axes = [a if len(a) % 2 else np.append(a, a[-1] + step) for a in axes]
        log_values = log_density_on(density, axes)
        log_integral = logsumexp(log_values) + dim * np.log(step)
        coarse = log_values[(slice(None, None, 2),) * dim]
        halving = abs(np.expm1(logsumexp(coarse) + dim * np.log(2 * step) - log_integral))
        error = halving + beyond_border(log_values)
        if error < 0.5 * tolerance:
            if jumps(log_values) or overlooks_a_peak(density, log_values.max(), step):
                return None
            return GridPart(density, axes, log_values, float(log_integral), float(error))
        if np.prod([2.0 * len(a) for a in axes]) > most:
            return None
        step /= 2
    return None


def jumps(log_values) -> bool:
    """Return whether the density changes abruptly between neighbours where it matters.

    Halving the step does not detect a kink.
    """
    matters = log_values > log_values.max() - 14.0
    floored = np.maximum(log_values, log_values.max() - 1e3)
    for axis in range(log_values.ndim):
        change = np.abs(np.diff(floored, axis=axis))
        first, last = ([slice(None)] * axis + [end] for end in (slice(None, -1), slice(1, None)))
        if (change * (matters[tuple(first)] | matters[tuple(last)]) > 8.0).any():
            return True
    return False


def overlooks_a_peak(density: PartDensity, top: float, step: float) -> bool:
    """Return whether another peak, narrower than the step, lies where this part is not negligible."""
    for peak in density.peaks:
        widths = np.linalg.norm(density.peak.normal.scale.solve(peak.axes.T), axis=0)
        if (widths < step).any() and density(peak.z[None])[0] + density.peak.normal.log_det > top - 33.0:
            return True
    return False


def negligible(tolerance: float) -> float:
    """Return how many nats below the highest node the nodes left out of a grid may lie."""
    return min(33.0, 13.0 - np.log(tolerance))


def find_extent(density, nats: float, most: int) -> list[np.ndarray] | None:
    """Return the range of u per dimension outside which the density is negligible, by widening a coarse grid."""
    dim = len(density.peak.z)
    low, high = np.full(dim, -6.0), np.full(dim, 6.0)
    while np.prod(high - low + 1) <= most:
        axes = [np.arange(np.floor(a), b + 0.5) for a, b in zip(low, high, strict=True)]
        log_values = log_density_on(density, axes)
        matters = log_values > log_values.max() - nats
        inside = [np.flatnonzero(matters.any(axis=others(d, dim))) for d in range(dim)]
        too_low = np.array([i[0] == 0 for i in inside])
        too_high = np.array([i[-1] == len(a) - 1 for i, a in zip(inside, axes, strict=True)])
        if not (too_low.any() or too_high.any()):
            return [a[max(i[0] - 1, 0) : i[-1] + 2] for a, i in zip(axes, inside, strict=True)]
        low, high = np.where(too_low, 1.5 * low, low), np.where(too_high, 1.5 * high, high)
    return None


def others(d: int, dim: int) -> tuple[int, ...]:
    return tuple(i for i in range(dim) if i != d)


def log_density_on(density: PartDensity, axes) -> np.ndarray:
    """Return the log of the part's density of u on the grid."""
    values = density(density.peak.normal.unwhiten(grid(axes))) + density.peak.normal.log_det
    return values.reshape([len(a) for a in axes])


def beyond_border(log_values) -> float:
    """Return the share of the mass that may lie outside: that of the outermost layer, continued for a whole axis."""
    weights = np.exp(log_values - logsumexp(log_values))
    layers = itertools.product(range(weights.ndim), (0, -1))
    return float(sum(np.take(weights, end, axis=d).sum() * weights.shape[d] for d, end in layers))


def grid(axes) -> np.ndarray:
    """Return all points of a grid, of shape (number of points, number of axes)."""
    return np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], axis=-1)
