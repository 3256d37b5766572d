"""Peaks of a density of a few dimensions: where it is high, and how wide it is there.

Everything is done for all starting points at once, by values of the log density alone: in three dimensions a
gradient and a Hessian by differences take 13 values, and one call of the compiled density gives hundreds. So the
search takes no compilation beyond the density's own.
"""

import dataclasses

import numpy as np
from scipy.spatial import cKDTree

from vi_kl.core.gaussian import Gaussian
from vi_kl.core.scales import Root

DROP = 0.5  # nats: a normal density drops by this one sd away from its mode
SCALES = 4.0 ** np.arange(-1, 6)  # scales of the cloud that is searched, because the distance between modes is unknown
LONGEST = 60  # largest distance that is measured, as a power of two; the shortest is its inverse
MOST_STARTS = 100


@dataclasses.dataclass(frozen=True)
class Peak:
    """A local maximum and the size of its surroundings.

    Attributes:
        normal: the normal around it: whitened coordinates of order one are around the peak, and for a normal density
            it is that density.
        log_density: the log density at the maximum.
    """

    normal: Gaussian
    log_density: float

    @classmethod
    def of(cls, z: np.ndarray, log_density: float, axes: np.ndarray) -> "Peak":
        """Return the peak at z, with the columns of a matrix as the axes of its surroundings."""
        return cls(Gaussian(z, Root(axes)), log_density)

    @property
    def z(self) -> np.ndarray:
        return self.normal.loc

    @property
    def axes(self) -> np.ndarray:
        return self.normal.scale.matrix

    @property
    def log_mass(self) -> float:
        """Laplace's approximation of the log of the integral around the peak."""
        return self.log_density + float(self.normal.log_volume)


def find_peaks(function, dim: int, num_starts: int) -> list[Peak]:
    """Find the distinct peaks of `function` (z of shape (n, dim) to (n,) log densities), the heaviest first.

    The search climbs from `num_starts` random points, and from those points of a far larger cloud that are
    higher than their neighbours. A density that rises for ever has no peaks.
    """
    rng = np.random.default_rng(0)
    cloud = np.concatenate([scale * rng.normal(size=(1150, dim)) for scale in SCALES])
    starts = np.concatenate([np.zeros((1, dim)), starting_points(dim, num_starts, rng), local_maxima(function, cloud)])
    peaks = climb_to_peaks(function, starts)
    if peaks:  # search once more, at the scale that the posterior turned out to have
        heaviest = sorted(peaks, key=lambda peak: -peak.log_mass)[:8]
        around = np.concatenate(
            [p.normal.unwhiten(2 * rng.standard_t(3, (8000 // len(heaviest), dim))) for p in heaviest]
        )
        peaks = distinct(function, [*peaks, *climb_to_peaks(function, local_maxima(function, around))])
    return sorted(peaks, key=lambda peak: -peak.log_mass)


def starting_points(dim, num_starts, rng) -> np.ndarray:
    return np.resize([1.0, 4.0, 16.0], num_starts)[:, None] * rng.normal(size=(num_starts, dim))


def local_maxima(function, cloud) -> np.ndarray:
    """Return the points of a cloud that are higher than their nearest neighbours, the highest first."""
    values = function(cloud)
    cloud, values = cloud[np.isfinite(values)], values[np.isfinite(values)]
    if not len(cloud):
        return cloud
    key = np.arcsinh(cloud)  # neighbours by the logarithm of the distance from the origin
    neighbours = cKDTree(key).query(key, k=min(3 * cloud.shape[1] + 2, len(cloud)))[1].reshape(len(cloud), -1)
    top = np.flatnonzero(values >= values[neighbours].max(axis=-1))
    return cloud[top[np.argsort(-values[top])][:MOST_STARTS]]


def climb_to_peaks(function, starts) -> list[Peak]:
    z, values, hessian, arrived = climb(lambda z, _: function(z), starts)
    order = np.flatnonzero(arrived)[np.argsort(-values[arrived])]
    peaks: list[Peak] = []
    for i in order:
        if any(np.abs(peak.normal.whiten(z[i])).max() < 1e-2 for peak in peaks):
            continue
        axes = axes_at(function, z[i], values[i], hessian[i])
        if axes is not None:
            peaks.append(Peak.of(z[i], float(values[i]), axes))
    return distinct(function, peaks)


def distinct(function, peaks: list[Peak]) -> list[Peak]:
    """Return the highest of any peaks with no dip between them: two points of one flat top are one peak."""
    kept: list[Peak] = []
    for peak in sorted(peaks, key=lambda peak: -peak.log_density):
        near = [other for other in kept if min(distance(peak, other), distance(other, peak)) < 4.0]
        if not near or (dips(function, peak, near) > 0.05).all():
            kept.append(peak)
    return kept


def distance(peak: Peak, other: Peak) -> float:
    """Return how far one peak is from another, along the axis of the other where that is most."""
    return float(np.abs(other.normal.whiten(peak.z)).max())


def dips(function, peak: Peak, others: list[Peak]) -> np.ndarray:
    """Return how far the log density falls below `peak`'s on the line from it to each of the others."""
    way = np.linspace(0.0, 1.0, 17)[1:-1, None]
    points = np.concatenate([peak.z + way * (other.z - peak.z) for other in others])
    return peak.log_density - function(points).reshape(len(others), -1).min(axis=1)


def axes_at(function, z, value, hessian) -> np.ndarray | None:
    """Return directions that the Hessian does not mix, as long as the density takes to fall by half a nat.

    The length is measured and not computed from the curvature, which may vanish at a flat top and is infinite at a
    kink. The result is None if the density does not fall along one of them.
    """
    scale = 1 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-30))
    scaled = hessian * scale * scale[:, None]
    # small off-diagonal entries are set to zero, so that axes do not mix without need
    scaled = np.where((np.abs(scaled) < 0.05) & ~np.eye(len(z), dtype=bool), 0.0, scaled)
    curvature, axes = np.linalg.eigh(scaled)
    directions = np.diag(scale) if curvature.max() > 0 else scale[:, None] * axes
    return measured(function, z, value, directions)


def measured(function, z, value, directions) -> np.ndarray | None:
    widths = fall_distance(lambda z, _: function(z), z[None], np.array([value]), directions[None])[0]
    return None if np.isnan(widths).any() else directions * widths


def upright(function, peak: Peak) -> Peak | None:
    """Return the peak with axes along those of z; None if they are along them already."""
    scale = np.abs(peak.axes).max(axis=1)
    if np.count_nonzero(np.abs(peak.axes) > 1e-6 * scale[:, None]) == len(peak.z):
        return None
    axes = measured(function, peak.z, peak.log_density, np.diag(scale))
    return None if axes is None else Peak.of(peak.z, peak.log_density, axes)


def fall_distance(function, z, values, directions) -> np.ndarray:
    """Return the distance from each z (n, dim) along each column of `directions` over which log p falls by DROP.

    The directions have shape (n, dim, k).

    Both signs are considered. The distance is NaN if the density falls in neither direction.
    """
    distances = 2.0 ** np.arange(-LONGEST, LONGEST + 1)
    distances = np.concatenate([-distances, distances])
    points = z[:, None, None] + distances[:, None] * directions.transpose(0, 2, 1)[:, :, None]
    which = np.repeat(np.arange(len(z)), points[0, ..., 0].size)
    with np.errstate(invalid="ignore"):
        fallen = values[:, None, None] - function(points.reshape(-1, z.shape[1]), which).reshape(points.shape[:-1])
    fallen = np.where(np.isnan(fallen), np.inf, fallen).reshape(*fallen.shape[:2], 2, -1)
    first = np.argmax(fallen >= DROP, axis=-1)[..., None]
    beyond = np.take_along_axis(fallen, first, -1)[..., 0]
    before = np.maximum(np.take_along_axis(fallen, np.maximum(first - 1, 0), -1)[..., 0], 1e-12)
    # the drop follows a power of the distance between two neighbours of the list
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(np.isfinite(beyond), np.clip(np.log(DROP / before) / np.log(beyond / before), 0, 1), 0.5)
    width = np.where(beyond >= DROP, 2.0 ** (first[..., 0] - LONGEST - 1 + share), np.nan)
    with np.errstate(invalid="ignore"):
        both = np.sqrt(width[..., 0] * width[..., 1])
    return np.where(np.isnan(both), np.fmin(width[..., 0], width[..., 1]), both)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # differences may overflow far out: no step then
def climb(function, starts, max_steps: int = 40):
    """Climb by Newton's method with a trust radius, from all starts at once.

    Args:
        function: the log density `function(z, which)` at z (n, dim); `which` (n,) is the index of each point's start.

    Returns:
        z, values, Hessians, and whether each start has arrived where no step promises to gain anything.
    """
    n, dim = starts.shape
    z, which = np.array(starts, dtype=float), np.arange(n)
    steps = np.full((n, dim), 1e-3)
    value, gradient, hessian = differences(function, z, which, steps)
    radius, going, arrived = np.ones(n), np.isfinite(value), np.zeros(n, bool)
    for _ in range(max_steps):
        i = np.flatnonzero(going)
        if not len(i):
            break
        move, gain = ascent(gradient[i], hessian[i], radius[i])
        arrived[i[gain < 1e-7]] = True
        size = np.sqrt(1 / np.maximum(np.abs(np.diagonal(hessian[i], axis1=1, axis2=2)), 1e-12))
        steps = np.clip(1e-2 * size, 1e-9 * (1 + np.abs(z[i])), 1.0)
        new = differences(function, z[i] + move, which[i], steps)
        better = new[0] > value[i]
        up = i[better]
        z[up] += move[better]
        value[up], gradient[up], hessian[up] = (x[better] for x in new)
        length = np.linalg.norm(move, axis=1)
        radius[i] = np.where(better, np.where(length > 0.9 * radius[i], 4 * radius[i], radius[i]), 0.2 * length)
        stuck = radius[i] < 1e-10 * (1 + np.linalg.norm(z[i], axis=1))
        arrived[i[stuck]] = True
        going[i] = ~arrived[i] & (np.abs(z[i]).max(axis=1) < 1e12)
    return z, value, hessian, arrived & (value < np.inf)


def ascent(gradient, hessian, radius):
    """Return Newton's step where the density is concave, uphill elsewhere, and the gain that it promises."""
    curvature, axes = np.linalg.eigh(hessian)
    slope = np.einsum("nij,ni->nj", axes, gradient)
    # a step that would be far longer than the radius is cut anyway; this keeps it finite
    curvature = np.maximum(np.abs(curvature), 1e-300 + np.abs(slope) / (1e3 * radius)[:, None])
    move = np.einsum("nij,nj->ni", axes, slope / curvature)
    length = np.linalg.norm(move, axis=1)
    shrink = np.minimum(1.0, radius / np.maximum(length, 1e-300))
    return move * shrink[:, None], 0.5 * (slope * (slope / curvature)).sum(axis=1) * shrink


def differences(function, z, which, steps):
    """Return value, gradient and Hessian at each z (n, dim), by central differences with these steps (n, dim)."""
    n, dim = z.shape
    one = np.eye(dim)
    pairs = [(i, j) for i in range(dim) for j in range(i)]
    moves = np.concatenate([np.zeros((1, dim)), one, -one, *([one[i] + one[j]] for i, j in pairs),
                            *([-one[i] - one[j]] for i, j in pairs)])  # fmt: skip
    points = z[:, None, :] + moves * steps[:, None, :]
    values = function(points.reshape(-1, dim), np.repeat(which, len(moves))).reshape(n, len(moves))
    centre, ahead, behind = values[:, 0], values[:, 1 : 1 + dim], values[:, 1 + dim : 1 + 2 * dim]
    with np.errstate(invalid="ignore"):
        gradient = (ahead - behind) / (2 * steps)
        hessian = np.zeros((n, dim, dim))
        second = ahead + behind - 2 * centre[:, None]
        hessian[:, range(dim), range(dim)] = second / steps**2
        for k, (i, j) in enumerate(pairs):
            both = values[:, 1 + 2 * dim + k] + values[:, 1 + 2 * dim + len(pairs) + k] - 2 * centre
            mixed = (both - second[:, i] - second[:, j]) / (2 * steps[:, i] * steps[:, j])
            hessian[:, i, j] = hessian[:, j, i] = mixed
    finite = np.isfinite(gradient).all(axis=1) & np.isfinite(hessian).all(axis=(1, 2)) & np.isfinite(centre)
    return np.where(finite, centre, -np.inf), gradient, hessian
