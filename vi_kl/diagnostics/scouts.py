"""Points well outside q at which the density is looked at before anything climbs: where climbs should start.

A climb from a random place seldom ends on a narrow mode, and a look at the density costs a fraction of a climb. So many
points are looked at: draws of Student t densities around q at scales from its own to 32 times it, and points along rays
from q's mean: its principal axes, the coordinates' axes, diagonals and random directions, both ways. The highest points
of a ray beyond q, and the draws with the largest importance weights outside q, are where climbs start.
"""

import dataclasses

import numpy as np
from scipy.ndimage import maximum_filter1d

from vi_kl.core.gaussian import Gaussian
from vi_kl.core.scales import Scale
from vi_kl.diagnostics.parts import Concentric
from vi_kl.targets.target import CHUNK, Target, log_density_in_chunks

SCALES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # of q's own
DEGREES_OF_FREEDOM = 5.0
NEAR = np.arange(0.5, 16.0, 0.25)  # sds along a ray, at steps that a mode of a twentieth of q's width does not slip by
FAR = np.geomspace(16.0, 200.0, 24)
DIAGONALS, RANDOM = 8, 12
MOST_RAYS = 160
MOST_STARTS = 5  # of each kind
RISE = 3.0  # nats by which a point of a ray has to stand above the lowest on the way there
NEGLIGIBLE = 40.0  # nats
OUTERMOST = 2.0 ** np.arange(8, 42, 4)  # sds: how far out the density is asked whether it still falls


@dataclasses.dataclass(frozen=True)
class Scouts:
    """What the points showed.

    Attributes:
        wide: the mixture of densities around q at several scales.
        evaluations: of the log density that it took.
        z, log_p, log_r: its draws, with the target's and its own log density.
        peaks: points of rays, (k, dim), the most promising first.
        flat: directions (k, dim) along which the density does not fall off as a proper one must.
    """

    wide: Concentric
    z: np.ndarray
    log_p: np.ndarray
    log_r: np.ndarray
    peaks: np.ndarray
    flat: np.ndarray
    evaluations: int

    def starts(self, reach: Gaussian) -> np.ndarray:
        """Where climbs should start: draws of the largest weights, apart from one another; and peaks of rays."""
        order = np.argsort(-(self.log_p - self.log_r))
        order = order[np.isfinite(self.log_p[order])][:200]
        return np.concatenate([apart(self.z[order], reach.scale), apart(self.peaks, reach.scale)])


def apart(points: np.ndarray, scale: Scale) -> np.ndarray:
    """The first of the points, and those that are no neighbours of earlier ones."""
    units = scale.solve(points)
    kept: list[int] = []
    for i, unit in enumerate(units):
        if all(np.sum((unit - units[j]) ** 2) > 0.25 * (1 + np.sum(unit**2)) for j in kept):
            kept.append(i)
        if len(kept) == MOST_STARTS:
            break
    return points[kept]


def scout(target: Target, normal: Gaussian, generator, n: int, *, rays: bool = True, size: int = CHUNK) -> Scouts:
    """Look around q.

    Args:
        normal: the normal with q's mean and covariance.
        n: draws at all scales together.
        rays: whether to look along rays too.
        size: of the pieces in which the density is evaluated.
    """
    wide = Concentric(normal, SCALES, DEGREES_OF_FREEDOM)
    z, dim = wide.sample(generator, n), normal.dim
    ways, steepest = directions(normal.scale, generator) if rays else (np.empty((0, dim)), np.empty(0))
    reach = np.r_[0.0, NEAR, FAR, OUTERMOST]
    points = normal.loc + reach[:, None, None] * ways
    values = log_density_in_chunks(target, np.concatenate([z, points.reshape(-1, dim)]), size)
    values = np.where(np.isnan(values), -np.inf, values)
    along = values[n:].reshape(len(reach), len(ways))
    inner = len(reach) - len(OUTERMOST)
    peaks = peaks_of(points[:inner], along[:inner])
    flat = ways[falls_too_slowly(along[inner:], along[0], steepest)]
    return Scouts(wide, z, values[:n], wide.log_prob(z), peaks, flat, len(values))


def directions(scale: Scale, generator) -> tuple[np.ndarray, np.ndarray]:
    """Of rays, (k, dim), each as long as q's sd in that direction; and the slope that a proper density is below there.

    Along an axis a density that falls no faster than 1 / distance has no integral; in random directions, which stand
    for all those around them, one that falls no faster than distance^-dim.
    """
    dim = scale.dim
    axes, sds, _ = np.linalg.svd(scale.matrix)
    principal = (axes * sds).T
    upright = np.diag(scale.sd)
    signs = np.where(generator.random((DIAGONALS, dim)) < 0.5, -1.0, 1.0)
    signs[0] = 1.0
    random = generator.standard_normal((RANDOM, dim))
    unit = np.concatenate([signs, random])
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    # diagonals of the coordinates in their own scales, and random directions in q's units
    slanted = np.concatenate([unit[:DIAGONALS] @ upright, scale.apply(unit[DIAGONALS:])])
    rays = np.concatenate([principal, upright, slanted]) if dim > 1 else upright
    # on the line 1 / distance itself has none; a slice of more dimensions may fall so and the rest grow narrower
    slopes = np.full(len(rays), -0.99 if dim > 1 else -1.01)
    slopes[2 * dim :] = 0.01 - float(dim)
    if len(rays) > MOST_RAYS:
        chosen = generator.choice(len(rays), MOST_RAYS, replace=False)
        rays, slopes = rays[chosen], slopes[chosen]
    return np.concatenate([rays, -rays]), np.concatenate([slopes, slopes])


def peaks_of(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Local maxima along rays that stand above the lowest point on the way there, the highest rise first."""
    if not values.size:
        return points.reshape(-1, points.shape[-1])
    floored = np.maximum(values, values.max() - 1e4)
    lowest = np.minimum.accumulate(floored, axis=0)
    top = (floored == maximum_filter1d(floored, 3, axis=0)) & (floored - lowest > RISE)
    rise = np.where(top, floored - lowest, -np.inf)
    best = rise.argmax(axis=0)  # one for each ray
    rays = np.arange(values.shape[1])
    found = rays[np.isfinite(rise[best, rays])]
    order = found[np.argsort(-floored[best[found], found])]
    return points[best[order], order]


def falls_too_slowly(along: np.ndarray, centre: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Whether the density along each ray, farthest out where it is a number, falls too slowly to have an integral.

    What is there has to matter, too: a density that rises again, thousands of nats down, is rounding or a far corner.

    Args:
        along: log densities at OUTERMOST, (len(OUTERMOST), k).
        centre: at q's mean, (k,).
        slopes: of the log density against the log of the distance, below which a proper density's lies, (k,).
    """
    steps = np.diff(np.log(OUTERMOST))[:, None]
    with np.errstate(invalid="ignore"):
        found = np.diff(along, axis=0) / steps
    known = np.isfinite(found)
    last, rays = len(found) - 1 - np.argmax(known[::-1], axis=0), np.arange(along.shape[1])
    with np.errstate(invalid="ignore"):
        matters = along[last + 1, rays] - slopes * np.log(OUTERMOST[last + 1]) > centre - NEGLIGIBLE
    return known.any(axis=0) & matters & (found[last, rays] > slopes)
