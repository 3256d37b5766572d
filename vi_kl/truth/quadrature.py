"""The exact posterior of a smooth target of up to three dimensions, by quadrature.

The trapezoidal rule on a grid converges exponentially for smooth densities that vanish at the border, so a
modest grid gives many digits. The grid is laid in the whitened coordinates of each mode. Where there are several
modes, the density is split among them by a smooth partition of unity (the responsibilities of the modes' local
Gaussians), so that every part is smooth and local and the parts add up exactly.

Reference: Trefethen & Weideman (2014), "The exponentially convergent trapezoidal rule", SIAM Review 56(3).
"""

import dataclasses
import itertools

import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.special import logsumexp

from vi_kl.estimate import Estimate
from vi_kl.keys import numpy_generator
from vi_kl.precision import in_float64
from vi_kl.target.mode import Mode, find_modes
from vi_kl.target.target import Target, constrain_in_chunks, log_density_in_chunks
from vi_kl.truth.truth import Moments, Truth

NEGLIGIBLE = 33.0  # nats below the highest node: e^-33 is 5e-15


class QuadratureError(RuntimeError):
    """The posterior cannot be integrated on a grid; the message says why."""


@in_float64
def truth_by_quadrature(
    target: Target, *, tolerance: float = 1e-6, num_starts: int = 30, max_nodes: int = 3_000_000
) -> Truth:
    """Log evidence, moments and exact draws of a target of one to three dimensions.

    Args:
        target: a target whose log density is smooth in z.
        tolerance: asked error of the log evidence, in nats; the grid is refined until it is met.
        num_starts: starting points of the search for modes. A mode that none of them climbs to is not seen.
        max_nodes: grid points that one mode may cost.

    Raises:
        QuadratureError: more than three dimensions; no proper mode; or the tolerance is not met.
    """
    if target.dim > 3:
        raise QuadratureError(f"Quadrature serves up to 3 dimensions; this target has {target.dim}.")
    modes = find_modes(target, starting_points(target, num_starts))
    if not modes:
        raise QuadratureError(f"No proper mode found from {num_starts} starts: is the posterior proper?")
    parts = [integrate_around(target, modes, k, tolerance, max_nodes) for k in range(len(modes))]
    log_evidence = logsumexp([part.log_integral for part in parts])
    shares = np.exp([part.log_integral - log_evidence for part in parts])
    error = float(np.sum(shares * [part.relative_error for part in parts]))
    if error > tolerance:
        raise QuadratureError(
            f"The log evidence is {log_evidence:.6g} with an error of {error:.2g} nats, above {tolerance:.2g}, "
            f"at {max_nodes:,} nodes: raise `tolerance` or `max_nodes`."
        )
    nodes = sum(part.log_values.size for part in parts)
    method = f"quadrature, {nodes:,} nodes" + (f" around {len(parts)} modes" if len(parts) > 1 else "")
    sampler = GridSampler(target, modes, parts, shares)
    evidence = Estimate(log_evidence, max(error, 1e-12), method)
    return Truth(evidence, grid_moments(target, parts, shares), sampler.sample, "quadrature")


def starting_points(target: Target, num_starts: int):
    """The origin, and random points at three scales, because nobody knows how far apart the modes are."""
    scales = np.resize([1.0, 4.0, 16.0], num_starts)[:, None]
    spread = scales * np.random.default_rng(0).normal(size=(num_starts, target.dim))
    return np.concatenate([np.zeros((1, target.dim)), spread])


@dataclasses.dataclass(frozen=True)
class Part:
    """One mode's share of the density on its grid u, where z = mode + scale_tril u.

    Attributes:
        axes: the grid coordinates of u, one array per dimension, evenly spaced.
        log_values: log density of u at every node, unnormalised, shape (len(axis) per dimension).
        relative_error: of the integral, from halving the grid and from what lies beyond the border.
    """

    mode: Mode
    axes: list[np.ndarray]
    log_values: np.ndarray
    log_integral: float
    relative_error: float

    def nodes(self, stride: int = 1) -> np.ndarray:
        """The nodes as z, shape (number of nodes, dim)."""
        return to_z(self.mode, grid(axis[::stride] for axis in self.axes))

    def weights(self, stride: int = 1) -> np.ndarray:
        """The nodes' probabilities, adding up to one."""
        values = self.log_values[(slice(None, None, stride),) * self.log_values.ndim].ravel()
        return np.exp(values - logsumexp(values))


def integrate_around(target, modes, k, tolerance, max_nodes) -> Part:
    """Refine the grid around mode k until halving the step changes the integral by less than the tolerance."""
    axes = find_extent(target, modes, k)
    step = 1.0
    while True:
        axes = [np.arange(round(a[0] / step) - 1, round(a[-1] / step) + 2) * step for a in axes]
        axes = [a if len(a) % 2 else np.append(a, a[-1] + step) for a in axes]
        log_values = part_log_density(target, modes, k, axes)
        log_integral = logsumexp(log_values) + len(axes) * np.log(step)
        coarse = log_values[(slice(None, None, 2),) * len(axes)]
        halving = abs(np.expm1(logsumexp(coarse) + len(axes) * np.log(2 * step) - log_integral))
        error = halving + beyond_border(log_values)
        next_size = np.prod([2.0 * len(a) for a in axes])
        if error < 0.1 * tolerance or next_size > max_nodes:
            return Part(modes[k], axes, log_values, float(log_integral), float(error))
        step /= 2


def find_extent(target, modes, k) -> list[np.ndarray]:
    """Per-dimension range of u outside which the density is negligible, found by widening a coarse grid."""
    dim = target.dim
    low, high = np.full(dim, -6.0), np.full(dim, 6.0)
    for _ in range(12):
        axes = [np.arange(a, b + 0.5) for a, b in zip(low, high, strict=True)]
        log_values = part_log_density(target, modes, k, axes)
        matters = log_values > log_values.max() - NEGLIGIBLE
        inside = [np.flatnonzero(matters.any(axis=others(d, dim))) for d in range(dim)]
        too_low = np.array([i[0] == 0 for i in inside])
        too_high = np.array([i[-1] == len(a) - 1 for i, a in zip(inside, axes, strict=True)])
        if not (too_low.any() or too_high.any()) or log_values.size > 500_000:
            break
        low, high = np.where(too_low, 1.5 * low, low), np.where(too_high, 1.5 * high, high)
    return [a[max(i[0] - 1, 0) : i[-1] + 2] for a, i in zip(axes, inside, strict=True)]


def others(d: int, dim: int) -> tuple[int, ...]:
    return tuple(i for i in range(dim) if i != d)


def local_normal_log_prob(mode: Mode, z) -> np.ndarray:
    """log density at z of the normal distribution at a mode with the curvature there."""
    u = np.linalg.solve(mode.scale_tril, (z - mode.z).T)
    return -0.5 * (u**2).sum(axis=0) - np.log(np.diag(mode.scale_tril)).sum() - 0.5 * len(u) * np.log(2 * np.pi)


def part_log_density(target, modes, k, axes) -> np.ndarray:
    """log of (density of z) x (responsibility of mode k) x |dz/du| on the grid."""
    z = to_z(modes[k], grid(axes))
    values = log_density_in_chunks(target, z) + log_responsibility(modes, k, z)
    values = np.where(np.isnan(values), -np.inf, values) + np.log(np.diag(modes[k].scale_tril)).sum()
    return values.reshape([len(a) for a in axes])


def log_responsibility(modes, k, z) -> np.ndarray:
    """log of mode k's share of the density at z: what its local Gaussian contributes to their mixture."""
    if len(modes) == 1:
        return np.zeros(len(z))
    logs = [mode.log_mass + local_normal_log_prob(mode, z) for mode in modes]
    return logs[k] - logsumexp(logs, axis=0)


def beyond_border(log_values) -> float:
    """The share of the mass that may lie outside: the outermost layer, were it to go on for a whole axis."""
    weights = np.exp(log_values - logsumexp(log_values))
    layers = itertools.product(range(weights.ndim), (0, -1))
    return float(sum(np.take(weights, end, axis=d).sum() * weights.shape[d] for d, end in layers))


def grid(axes) -> np.ndarray:
    return np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], axis=-1)


def to_z(mode: Mode, u) -> np.ndarray:
    return mode.z + u @ mode.scale_tril.T


def grid_moments(target, parts, shares) -> dict[str, Moments]:
    """Means and sds of the constrained sites; their error is what halving the grid changes, in posterior sd."""
    fine, coarse = (
        weighted_moments(
            target,
            np.concatenate([part.nodes(stride) for part in parts]),
            np.concatenate([share * part.weights(stride) for share, part in zip(shares, parts, strict=True)]),
        )
        for stride in (1, 2)
    )
    return {
        name: Moments(mean, sd, float(np.max(np.abs(mean - coarse[name][0]) / sd))) for name, (mean, sd) in fine.items()
    }


def weighted_moments(target, z, weights) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    heavy = weights > 1e-16
    z, weights = z[heavy], weights[heavy] / weights[heavy].sum()
    result = {}
    for name, x in constrain_in_chunks(target, z).items():
        mean = np.tensordot(weights, x, axes=1)
        result[name] = mean, np.sqrt(np.tensordot(weights, (x - mean) ** 2, axes=1))
    return result


@dataclasses.dataclass(frozen=True)
class GridSampler:
    """Independent draws from the exact density.

    Nodes are drawn by their weight and moved by a triangular jitter, which gives exactly the density that
    interpolates the nodes linearly; accepting with probability density / (bound x interpolant) makes it exact.
    """

    target: Target
    modes: list[Mode]
    parts: list[Part]
    shares: np.ndarray

    @in_float64
    def sample(self, key, n: int) -> np.ndarray:
        generator = numpy_generator(key)
        draws = []
        while sum(map(len, draws)) < n:
            counts = generator.multinomial(int(1.2 * n) + 100, self.shares / self.shares.sum())
            draws += [self.draw_from(k, count, generator) for k, count in enumerate(counts) if count]
        return generator.permutation(np.concatenate(draws))[:n]

    def draw_from(self, k: int, count: int, generator) -> np.ndarray:
        part = self.parts[k]
        picked = generator.choice(part.log_values.size, count, p=part.weights())
        index = np.stack(np.unravel_index(picked, part.log_values.shape), axis=-1)
        node = np.stack([axis[i] for axis, i in zip(part.axes, index.T, strict=True)], axis=-1)
        jitter = generator.random((2, *node.shape)).sum(axis=0) - 1
        u = node + jitter * (part.axes[0][1] - part.axes[0][0])
        z = to_z(part.mode, u)
        exact = log_density_in_chunks(self.target, z) + log_responsibility(self.modes, k, z)
        exact += np.log(np.diag(part.mode.scale_tril)).sum() - part.log_values.max()
        values = np.exp(part.log_values - part.log_values.max())
        interpolate = RegularGridInterpolator(part.axes, values, bounds_error=False, fill_value=0.0)
        ratio = np.exp(exact) / np.maximum(interpolate(u), 1e-300)
        return z[generator.random(count) < ratio / ratio.max()]
