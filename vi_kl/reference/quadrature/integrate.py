"""The exact posterior of a target of up to three dimensions, by quadrature.

The peaks of the density are searched for (peaks.py), and the density is split among them smoothly (partition.py).
Each part is integrated by the trapezoidal rule on an even grid (grid.py), which for a posterior with light tails
and one scale takes few nodes. Where that does not converge (heavy tails, funnels, ridges, kinks) every part is
integrated over adaptive boxes (boxes.py) in coordinates that follow the density (chart.py).

The error that is reported is what a coarser rule on the same nodes would have changed, plus what lies beyond the
border by the density's own rate of decay there, plus rounding. What it cannot see is a peak that no climb ends on
and no node comes near: one that is far narrower than everything else and shows in no neighbouring value.
"""

import dataclasses

import numpy as np
from scipy.special import logsumexp

from vi_kl.core.errors import ViKLError
from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import numpy_generator
from vi_kl.reference.posterior import Moments, ReferencePosterior
from vi_kl.reference.quadrature.box_part import BoxPart, integrate_over_boxes
from vi_kl.reference.quadrature.grid import GridPart, grid, integrate_on_grid
from vi_kl.reference.quadrature.partition import PartDensity
from vi_kl.reference.quadrature.peaks import find_peaks
from vi_kl.targets.arguments import of_a_target
from vi_kl.targets.price import CHUNK, VALUES
from vi_kl.targets.target import Target, constrain_in_chunks, log_density_in_chunks

__all__ = ["QuadratureError", "grid", "reference_by_quadrature"]

MOST_PEAKS = 16
FAR_BELOW = 45.0  # nats: a peak whose mass is so far below the heaviest needs no part of its own
FEW = 1024  # points, up to which they are evaluated in the usual pieces; of the many others a CHUNK at a time


class QuadratureError(ViKLError, RuntimeError):
    """An error: the posterior cannot be integrated on a grid; the message says why."""


@of_a_target
@in_float64
def reference_by_quadrature(
    target: Target,
    *,
    tolerance: float = 1e-6,
    num_starts: int = 30,
    max_nodes: int = 3_000_000,
    max_evaluations: int | None = None,
) -> ReferencePosterior:
    """Compute log evidence, moments and exact draws of a target of one to three dimensions.

    Args:
        target: a target with a proper posterior. It need not be smooth everywhere, but more nodes are needed where it
            is not.
        tolerance: the error of the log evidence that is allowed, in nats; the grid is refined until it is met.
        num_starts: the number of random starting points of the search for peaks, besides those that a cloud of points
            suggests. A peak that none of them climbs to is not seen.
        max_nodes: the number of nodes over which one peak may be summed.
        max_evaluations: the number of density evaluations in all, to find peaks and to follow curved ridges too, which
            may take ten times as many; None for any number.

    Raises:
        QuadratureError: the target has more than three dimensions or no peak, the posterior is not proper, or the
            tolerance is not met within what it may take.
    """
    if target.dim > 3:
        raise QuadratureError(f"Quadrature serves up to 3 dimensions; this target has {target.dim}.")

    density = LimitedDensity(target, max_evaluations)
    peaks = find_peaks(density, target.dim, num_starts)
    if not peaks:
        raise QuadratureError(
            f"No proper mode found from {num_starts} starts and a cloud of points around them: is the posterior "
            f"proper, and its density finite?"
        )
    peaks = [peak for peak in peaks if peak.log_mass > peaks[0].log_mass - FAR_BELOW][:MOST_PEAKS]
    parts = integrate_parts(density, peaks, tolerance, max_nodes)
    log_evidence = logsumexp([part.log_integral for part in parts])
    shares = np.exp([part.log_integral - log_evidence for part in parts])
    rounding = 4 * np.finfo(float).eps * max(abs(peak.log_density) for peak in peaks)
    error = float(np.sum(shares * [part.relative_error for part in parts])) + rounding
    if not error <= tolerance:
        refuse(parts, log_evidence, error, tolerance, max_nodes)
    evidence = Estimate(log_evidence, max(error, 1e-12), describe(parts))
    sampler = PartSampler(parts, shares)
    moments = part_moments(target, parts, shares)
    return ReferencePosterior(evidence, moments, sampler.sample, "quadrature", target=target)


class LimitedDensity:
    """The log density of a target at z of shape (n, dim), minus infinity where it is NaN; evaluated only so often."""

    def __init__(self, target: Target, max_evaluations: int | None):
        self.target, self.most, self.evaluations = target, max_evaluations, 0

    def __call__(self, z) -> np.ndarray:
        self.evaluations += len(z)
        if self.most is not None and self.evaluations > self.most:
            raise QuadratureError(
                f"The integral takes more than {self.most:,} evaluations of the density: raise `max_evaluations`, or "
                "`tolerance`."
            )
        values = log_density_in_chunks(self.target, z, VALUES if len(z) <= FEW else CHUNK)
        return np.where(np.isnan(values), -np.inf, values)


def integrate_parts(density, peaks, tolerance: float, max_nodes: int) -> list[GridPart] | list[BoxPart]:
    """Integrate every part on a grid; or, if one of them does not converge there, every part over boxes."""
    parts = []
    for k in range(len(peaks)):
        part = integrate_on_grid(PartDensity(density, peaks, k), tolerance, max_nodes)
        if part is None:
            break
        parts.append(part)
    if len(parts) == len(peaks):
        return parts
    heavy = [PartDensity(density, peaks, k, heavy=True) for k in range(len(peaks))]
    return [integrate_over_boxes(part, tolerance, max_nodes) for part in heavy]


def describe(parts) -> str:
    """Return the method in words."""
    nodes = sum(part.num_nodes for part in parts)
    kind = "adaptive quadrature" if isinstance(parts[0], BoxPart) else "quadrature"
    return f"{kind}, {nodes:,} nodes" + (f" around {len(parts)} modes" if len(parts) > 1 else "")


def refuse(parts, log_evidence, error, tolerance, max_nodes):
    if not np.isfinite(error):
        raise QuadratureError(
            "The density does not fall off in some direction, as far as it can be followed: the posterior is not "
            "proper, or its tails are too heavy to integrate."
        )
    raise QuadratureError(
        f"The log evidence is {log_evidence:.6g} with an error of {error:.2g} nats, above {tolerance:.2g}, "
        f"after {sum(part.num_nodes for part in parts):,} nodes: raise `tolerance`, or `max_nodes` ({max_nodes:,})."
    )


def part_moments(target, parts, shares) -> dict[str, Moments]:
    """Return means and sds of the constrained sites; their error is the change by the coarser rule, in posterior sds.

    The error is infinite if the tails are so heavy that there may be no variance.
    """
    z = np.concatenate([part.nodes() for part in parts])
    fine, coarse = (
        np.concatenate([share * part.weights(coarse) for share, part in zip(shares, parts, strict=True)])
        for coarse in (False, True)
    )
    matters = (fine > 1e-16) | (np.abs(coarse) > 1e-16)
    z, fine, coarse = z[matters], fine[matters], coarse[matters]
    result = {}
    for name, x in constrain_in_chunks(target, z).items():
        mean, sd = mean_and_sd(x, fine)
        other = mean_and_sd(x, coarse)[0]
        varies = sd > 1e-12 * np.abs(mean)  # some entries of a Cholesky factor of a correlation are constant
        error = float(np.max(np.abs(mean - other)[varies] / sd[varies], initial=0.0))
        if rests_on_the_far_tail(x, fine, mean):
            error = np.inf
        result[name] = Moments(mean, sd, error)
    return result


def rests_on_the_far_tail(x, weights, mean) -> bool:
    """Return whether a tenth of a variance comes from a ten-millionth of the mass.

    Such a variance, if finite, is unknown.
    """
    order = np.abs(x - mean).reshape(len(x), -1)
    for distance in order.T:
        farthest = np.argsort(-distance)
        parts = weights[farthest] * distance[farthest] ** 2
        beyond = np.cumsum(np.abs(weights[farthest])) < 1e-7
        if parts[beyond].sum() > 0.1 * parts.sum():
            return True
    return False


def mean_and_sd(x, weights) -> tuple[np.ndarray, np.ndarray]:
    weights = weights / weights.sum()
    mean = np.tensordot(weights, x, axes=1)
    return mean, np.sqrt(np.tensordot(weights, (x - mean) ** 2, axes=1))


@dataclasses.dataclass(frozen=True)
class PartSampler:
    """A sampler of independent draws from the exact density.

    Every part proposes from a simple density close to its own; accepting with probability
    density / (bound x proposal) makes the draws exact.
    """

    parts: list
    shares: np.ndarray

    @in_float64
    def sample(self, key, n: int) -> np.ndarray:
        generator = numpy_generator(key)
        counts = generator.multinomial(n, self.shares / self.shares.sum())
        draws = [draw(part, count, generator) for part, count in zip(self.parts, counts, strict=True) if count]
        return generator.permutation(np.concatenate(draws))


def draw(part, count: int, generator) -> np.ndarray:
    """Draw `count` values from one part: as many proposals as needed, all accepted relative to the same bound."""
    z, log_ratio = part.propose(count + 200, generator)
    while True:
        bound = log_ratio.max()
        rate = np.exp(log_ratio - bound).mean()
        missing = 1.1 * count + 50 - rate * len(z)
        if missing <= 0:
            break
        more = part.propose(int(min(missing / rate, 20 * count)) + 100, generator)
        z, log_ratio = np.concatenate([z, more[0]]), np.concatenate([log_ratio, more[1]])
    accepted = z[np.log(generator.random(len(z))) < log_ratio - bound]
    return (
        accepted[:count] if len(accepted) >= count else np.concatenate([accepted, draw(part, count, generator)])[:count]
    )
