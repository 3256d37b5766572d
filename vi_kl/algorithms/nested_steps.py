"""The steps of a nested normal: where to look, what follows for the others in between, and the few's own density.

The few hyperparameters are loc + tril s. The best normal of the others is found at a few nodes of s: the centre, four
on each axis, four for each pair of axes. Polynomials go through what is found there. Then, on a regular grid of s,

    log p(s | data) = E[log w] + Var[log w] / 2 + a constant,    w = p(few, others, data) / q(others | few),

over draws of the others on the same noise. Where they are normal given the few, w is the same at all draws, and this is
exact; the first term alone gives the density that is best in reverse KL, the second is what it leaves out to second
order, so that few draws are enough where the others are nearly normal.
"""

import dataclasses
import itertools

import numpy as np
from jaxtyping import Float
from scipy.interpolate import Akima1DInterpolator

from vi_kl.algorithms.algorithm import CostCounter
from vi_kl.algorithms.newton_steps import even_noise
from vi_kl.core.bends import INFORMATION, MOST, bent, slopes_by_bend
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.grid_density import GridDensity
from vi_kl.core.nested_gaussian import AT_ONCE, NestedGaussian, monomials
from vi_kl.targets.target import Target, log_density_in_chunks, value_and_grad_batch

DROP = 6.5  # nats by which the density has fallen at the ends of the range
ON_AXIS, CORNER = (0.45, 1.0), 0.55  # nodes, in shares of the range
FIRST_RANGE, LONGEST_RANGE = 3.6, 12.0
FURTHER = 4.0  # by which a range is extended at once, at the most
GRID = {1: 17, 2: 11, 3: 9}  # nodes on each axis at which the density is computed
SPACING = {1: 0.05, 2: 0.1, 3: 0.2}  # of the finer grid of the density itself
MOST_VARIANCE = 4.0  # of log w that is taken for what it is
LOWEST = -1e300  # in place of a log density that is not finite
SEED = 11  # of the noise that all values of the few are integrated on


def nodes_in(reach: Float[np.ndarray, "2 k"]) -> Float[np.ndarray, "nodes k"]:
    """Return the nodes at which the others are looked at; there is one for each monomial."""
    low, high = reach
    k, unit = len(low), np.eye(len(low))
    own = [share * end[j] * unit[j] for j in range(k) for end in (low, high) for share in ON_AXIS]
    pairs = [
        CORNER * (a[i] * unit[i] + b[j] * unit[j])
        for i, j in itertools.combinations(range(k), 2)
        for a, b in itertools.product((low, high), repeat=2)
    ]
    return np.array([np.zeros(k), *own, *pairs])


def interpolated(nodes, normals: list[Gaussian]) -> dict[str, np.ndarray]:
    """Return the polynomials through the normals of the others at the nodes, as `NestedGaussian` has them.

    Entries of a factor that some of the normals do not have are zero there.
    """
    order, dim = normals[0].scale.order, normals[0].dim
    keys = [one.scale.columns * dim + one.scale.rows for one in normals]
    key = np.unique(np.concatenate(keys))
    columns, rows = np.divmod(key, dim)
    entries = np.zeros((len(nodes), len(key)))
    for row, found, one in zip(entries, keys, normals, strict=True):
        row[np.searchsorted(key, found)] = one.scale.values
    is_diagonal = rows == columns
    diagonal = entries[:, is_diagonal]
    ratios = np.where(is_diagonal, np.log(np.where(is_diagonal, entries, 1.0)), entries / diagonal[:, columns])
    means = np.array([one.loc[order] for one in normals])
    found = np.linalg.solve(monomials(nodes), np.concatenate([ratios, means], axis=1))
    return {"rows": rows, "columns": columns, "factors": found[:, : len(key)], "means": found[:, len(key) :]}


# The few's own density ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Marginal:
    """What integrating over the others leaves at some values of the few.

    Attributes:
        elbos: the ELBO of the others given the few, (n,).
        variances: the variance of log w, (n,): twice the nats from there to the log density, to second order.
    """

    elbos: Float[np.ndarray, " n"]
    variances: Float[np.ndarray, " n"]

    @property
    def log_density(self) -> Float[np.ndarray, " n"]:
        """The log density of the few with the data; where the second order says nothing, not much above the ELBO."""
        return self.elbos + 0.5 * np.minimum(self.variances, MOST_VARIANCE)


def marginal(
    member: NestedGaussian, target: Target, s: Float[np.ndarray, "n k"], draws: int, counter: CostCounter
) -> Marginal:
    """Integrate over the others at values of s, by draws of their normals on the same noise."""
    noise = even_noise(SEED, draws, len(member.order))
    size = max(1, AT_ONCE // (draws * member.dim))
    found = []
    for start in range(0, len(s), size):
        given = [member.given_one(one, noise) for one in s[start : start + size]]
        z, log_q = np.concatenate([z for z, _ in given]), np.concatenate([log_q for _, log_q in given])
        found.append((log_density_in_chunks(target, z) - log_q).reshape(-1, draws))
    counter.density_evaluations += draws * len(s)
    log_w = np.concatenate(found)
    log_w = np.where(np.isfinite(log_w), log_w, LOWEST)
    return Marginal(log_w.mean(axis=1), log_w.var(axis=1, ddof=1))


@dataclasses.dataclass(frozen=True, eq=False)
class Integrated:
    """The few's own density, in units of s.

    Attributes:
        density: the density.
        elbo: the ELBO of it and the others together.
        left: the nats, about, of the others to their posterior where the density is highest.
    """

    density: GridDensity
    elbo: float
    left: float


def integrated(
    member: NestedGaussian, target: Target, reach: Float[np.ndarray, "2 k"], draws: int, counter: CostCounter
) -> Integrated:
    """Return the few's own density on a grid over this range."""
    k = reach.shape[1]
    axes = [np.linspace(*reach[:, j], GRID[k]) for j in range(k)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, k)
    seen = marginal(member, target, places, draws, counter)
    highest = np.argmax(seen.log_density)
    fine_axes = [np.linspace(*reach[:, j], 1 + int(np.ceil(np.diff(reach[:, j])[0] / SPACING[k]))) for j in range(k)]
    log_density, elbos = (
        on_finer_grid(np.maximum(values - values[highest], -60.0).reshape((GRID[k],) * k), axes, fine_axes)
        for values in (seen.log_density, seen.elbos)
    )
    density = GridDensity.of_log_density(log_density, *reach)
    weights = density.values / density.values.sum()
    gain = float((weights * (elbos - np.log(np.maximum(density.values, 1e-300)))).sum())
    elbo = gain + float(seen.elbos[highest]) + float(member.log_det)
    return Integrated(density, elbo, 0.5 * float(seen.variances[highest]))


def on_finer_grid(values: np.ndarray, axes: list[np.ndarray], finer: list[np.ndarray]) -> np.ndarray:
    """Return a function on a grid, interpolated to a finer one.

    Akima's cubics are exact for parabolas, as logarithms of nearly normal densities are, and do not swing beside a
    cliff, as splines do, whose swings there would be taken for modes.
    """
    for j, (axis, fine) in enumerate(zip(axes, finer, strict=True)):
        values = Akima1DInterpolator(axis, values, axis=j)(fine)
    return values


def moments_of(density: GridDensity) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k k"]]:
    """Return mean and covariance, by the rectangle rule on its grid."""
    axes = [np.linspace(a, b, n) for a, b, n in zip(density.lows, density.highs, density.values.shape, strict=True)]
    s = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, density.dim)
    weights = density.values.ravel() / density.values.sum()
    mean = weights @ s
    return mean, (s - mean).T @ ((s - mean) * weights[:, None])


def range_of(density: GridDensity) -> tuple[Float[np.ndarray, "2 k"], float]:
    """Return the range of each number in which its marginal falls by DROP, (2, k), and the least fall that was seen.

    Where it has not fallen so far at the end of the grid, it is taken to fall on as it does there.
    """
    found, seen = [], []
    for j in range(density.dim):
        marginal = density.values.sum(axis=tuple(i for i in range(density.dim) if i != j))
        fall = np.log(marginal.max()) - np.log(np.maximum(marginal, 1e-300))
        places = np.linspace(density.lows[j], density.highs[j], len(fall))
        top = int(np.argmin(fall))
        found.append((-end_of(-places[top::-1], fall[top::-1]), end_of(places[top:], fall[top:])))
        seen += [fall[0], fall[-1]]
    return np.array(found).T, float(min(seen))


def end_of(places: np.ndarray, fall: np.ndarray) -> float:
    """Return the place at which a density that falls along increasing places has fallen by DROP."""
    beyond = np.flatnonzero(fall > DROP)
    if len(beyond):
        return float(places[beyond[0]])
    if len(places) < 2:
        return float(places[0] + 1.0)
    slope = max((fall[-1] - fall[-2]) / (places[-1] - places[-2]), 1e-3)
    return float(places[-1] + min((DROP - fall[-1]) / slope, FURTHER))


# The others where they are not normal -------------------------------------------------------------------------------


def refined(member: NestedGaussian, target: Target, draws: int, seed: int, counter: CostCounter) -> NestedGaussian:
    """Return the member with means, sds and bends one step nearer to the best, by gradients at draws at the centre.

    The nodes were looked at by few draws on the same noise. What this has done to all of them alike is mended here.
    """
    noise = even_noise(seed, draws, len(member.order))
    centre = np.zeros((1, len(member.few)))
    image = bent(noise, member.bends)[0] + member.shifts
    z, _ = member.given_one(centre[0], noise)
    gradients = value_and_grad_batch(target, z)[1][:, member.order]
    counter.gradient_evaluations += draws
    entries = member.entries(member.basis(centre))
    if not np.isfinite(gradients).all():
        return member
    pulls = in_noise(member, entries[0], gradients)
    by_image, by_slope = slopes_by_bend(noise, member.bends)
    shift = pulls.mean(axis=0)
    stretch = 0.5 * (pulls * image + 1).mean(axis=0)
    bend = certain(pulls * by_image + by_slope) / INFORMATION
    factors = member.factors.copy()
    factors[0, member.rows == member.columns] -= np.clip(stretch, -0.3, 0.3)
    bends = np.clip(member.bends + bend, -MOST, MOST)
    return dataclasses.replace(member, factors=factors, shifts=member.shifts + shift, bends=bends)


def in_noise(member: NestedGaussian, entries: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return gradients by the noise of those by the others, both in the order of the elimination: F^-1 g."""
    return member.scale(entries).solved(gradients, transpose=False)


def certain(values: np.ndarray) -> np.ndarray:
    """Return each column's mean, shrunk by the share of it that is noise; opposite draws are in opposite halves."""
    pairs = (values[: len(values) // 2] + values[len(values) // 2 :]) / 2
    mean = pairs.mean(axis=0)
    error = pairs.var(axis=0, ddof=1) / len(pairs)
    return mean * np.maximum(0.0, 1 - error / np.maximum(mean**2, 1e-300))
