"""Scouts: points well outside q at which the log density is evaluated, to choose where climbs start.

A climb from a random place seldom ends on a narrow mode, and an evaluation of the density costs a fraction of a climb.
So many points are evaluated: draws of Student t densities around q, at scales from its own to 32 times it, and points
along rays from q's mean in both directions (principal axes, coordinate axes, diagonals and random directions). Climbs
start from the highest points of a ray beyond q, and from the draws with the largest importance weights outside q.
"""

import dataclasses

import numpy as np
from scipy.ndimage import maximum_filter1d

from vi_kl.core.gaussian import Gaussian
from vi_kl.core.scales import Scale
from vi_kl.diagnostics.parts import Concentric, finite
from vi_kl.targets.price import part_of_draws
from vi_kl.targets.target import Target, log_density_in_chunks

SCALES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # the scales of the densities around q, relative to q's own
DEGREES_OF_FREEDOM = 5.0
NEAR = np.arange(0.5, 16.0, 0.25)  # sds along a ray, at steps that a mode of a twentieth of q's width does not slip by
FAR = np.geomspace(16.0, 200.0, 24)
DIAGONALS, RANDOM = 8, 12
MOST_RAYS, FEWEST_RAYS = 160, 8
THINNED = 8  # along fewer rays, every so manieth point is evaluated
MOST_STARTS = 5  # the most starts of each kind
RISE = 3.0  # nats by which a point of a ray has to stand above the lowest on the way there
NEGLIGIBLE = 40.0  # nats
OUTERMOST = 2.0 ** np.arange(8, 42, 4)  # distances, in sds, at which the density is tested for falling fast enough


@dataclasses.dataclass(frozen=True)
class Scouts:
    """The points, and the log density there.

    Attributes:
        wide: the mixture of densities around q at several scales.
        z: draws of the mixture, (n, dim).
        log_p: the target's log density at the draws, (n,).
        log_r: the mixture's log density at the draws, (n,).
        peaks: local maxima along rays, (k, dim), the most promising first.
        flat: directions (k, dim) along which the density falls too slowly to have an integral.
        evaluations: the number of evaluations of the log density.
    """

    wide: Concentric
    z: np.ndarray
    log_p: np.ndarray
    log_r: np.ndarray
    peaks: np.ndarray
    flat: np.ndarray
    evaluations: int

    def starts(self, reach: Gaussian, most: int) -> np.ndarray:
        """Return where climbs should start: draws with the largest weights, and peaks of rays, without near repeats.

        There are up to `most` of each kind.
        """
        order = np.argsort(-(self.log_p - self.log_r))
        order = order[np.isfinite(self.log_p[order])][:200]
        return np.concatenate([apart(self.z[order], reach.scale, most), apart(self.peaks, reach.scale, most)])


def apart(points: np.ndarray, scale: Scale, most: int) -> np.ndarray:
    """Keep the first point, and up to `most` in all that are not close to an earlier one."""
    units = scale.solve(points)
    kept: list[int] = []
    for i, unit in enumerate(units):
        if all(np.sum((unit - units[j]) ** 2) > 0.25 * (1 + np.sum(unit**2)) for j in kept):
            kept.append(i)
        if len(kept) == most:
            break
    return points[kept]


def scout(target: Target, normal: Gaussian, generator, n: int, *, rays: float = 1.0) -> Scouts:
    """Evaluate the log density around q.

    Args:
        target: the posterior.
        normal: the normal with q's mean and covariance.
        generator: NumPy's random generator.
        n: the number of draws at all scales together.
        rays: the share of the usual number of rays along which it is evaluated too; 0 for none. Below 1 the points
            along each are fewer too.
    """
    wide = Concentric(normal, SCALES, DEGREES_OF_FREEDOM)
    z, dim = wide.sample(generator, n), normal.dim
    most = part_of_draws(rays, MOST_RAYS, FEWEST_RAYS)
    ways, steepest = directions(normal.scale, generator, most) if rays else (np.empty((0, dim)), np.empty(0))
    every = 1 if rays == 1 else THINNED
    outermost = OUTERMOST[:: min(every, 2)]
    reach = np.r_[0.0, NEAR[::every], FAR[::every], outermost]
    points = normal.loc + reach[:, None, None] * ways
    values = log_density_in_chunks(target, np.concatenate([z, points.reshape(-1, dim)]))
    values = finite(values)
    along = values[n:].reshape(len(reach), len(ways))
    inner = len(reach) - len(outermost)
    peaks = peaks_of(points[:inner], along[:inner])
    flat = ways[falls_too_slowly(along[inner:], along[0], steepest, outermost)]
    return Scouts(wide, z, values[:n], wide.log_prob(z), peaks, flat, len(values))


def directions(scale: Scale, generator, most: int = MOST_RAYS) -> tuple[np.ndarray, np.ndarray]:
    """Return the rays and, for each, a bound on the slope of a proper density.

    The rays (k, dim) are each as long as q's sd in that direction. The slope, (k,), is that of the log density against
    the log of the distance. Along an axis a density that falls no faster than 1 / distance has no integral. In random
    directions, which stand for all those around them, one that falls no faster than distance^-dim has none.
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
    if len(rays) > most:
        chosen = generator.choice(len(rays), most, replace=False)
        rays, slopes = rays[chosen], slopes[chosen]
    return np.concatenate([rays, -rays]), np.concatenate([slopes, slopes])


def peaks_of(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the best local maximum of each ray that rises above the lowest point before it, the densest first."""
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


def falls_too_slowly(
    along: np.ndarray, centre: np.ndarray, slopes: np.ndarray, distances: np.ndarray = OUTERMOST
) -> np.ndarray:
    """Return whether the density along each ray, farthest out where it is finite, falls too slowly to have an integral.

    The density there has to matter, too: one that rises again, thousands of nats down, is due to rounding or to a far
    corner.

    Args:
        along: log densities at these distances, (len(distances), k).
        centre: log densities at q's mean, (k,).
        slopes: bounds on the slope of a proper log density against the log of the distance, (k,).
        distances: the distances from q's mean, in sds.
    """
    steps = np.diff(np.log(distances))[:, None]
    with np.errstate(invalid="ignore"):
        found = np.diff(along, axis=0) / steps
    known = np.isfinite(found)
    last, rays = len(found) - 1 - np.argmax(known[::-1], axis=0), np.arange(along.shape[1])
    with np.errstate(invalid="ignore"):
        matters = along[last + 1, rays] - slopes * np.log(distances[last + 1]) > centre - NEGLIGIBLE
    return known.any(axis=0) & matters & (found[last, rays] > slopes)
