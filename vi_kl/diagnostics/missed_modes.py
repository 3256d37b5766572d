"""Regions that q never visits: modes found by climbing from far outside q, and how much of the posterior they hold.

Draws of q cannot see a mode that q misses. Climbs that start well outside q can. Around each mode that they find
outside q an ellipsoid is cut out, less the ellipsoid that holds q, and its mass is measured by importance sampling
from a Student t laid over the mode. Draws of q that stray into such a part do not count, so that q's share and the
parts are disjoint, and add up to no more than the evidence.

A climb from q's own mean tells a mode that q misses from a mode beside which q sits. Climbs from inside q, from its
mean and from the draws of the largest weights, find spikes: modes within q's reach at which the density stands far
above q's own. It all finds what a climb from one of its starts reaches, and no more.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from vi_kl.core.gaussian import Gaussian, StudentT, gaussian_of_draws
from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import numpy_generator
from vi_kl.core.records import WORKING, store
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.importance import log_mean_exp
from vi_kl.diagnostics.scouts import Scouts
from vi_kl.targets.modes import Climb, Mode, polish, same_mode
from vi_kl.targets.target import Target, log_density_in_chunks, value_and_grad

REACHES = (3.0, 6.0, 12.0, 24.0, 48.0, 96.0)  # of the starts, in sds of q
ELSEWHERE = 6  # starts that do not depend on q
OUTSIDE = 1 - 1e-6  # of q's mass, were it normal, inside the ellipsoid beyond which a mode counts as missed_modes
WORTH_A_LOOK = np.log(1e-3)  # of a mode's mass by Laplace, relative to what q's weights say
HELD = 1 - 1e-4  # of a mode's mass, were it normal, inside its ellipsoid
DEGREES_OF_FREEDOM = 5.0
MOST_DIMENSIONS = 60  # a Hessian costs 16 gradients per dimension
MOST_STEPS = 100  # of a climb
FLAT = 1e-2  # Newton decrement below which a climb has ended at a mode
NOTABLE_SHARE = 0.02  # of the posterior, left out by q
PILOT = 2048  # draws of q that the search looks at; those that are weighed are others
INSIDE = 2  # climbs from draws of q with the largest weights
SPIKE = 2.0  # nats by which log p - log Z exceeds log q at the end of a climb inside q, for it to be worth a Hessian
MOST_SPIKES = 4
VISITED = 0.01  # of q's draws in a mode's ellipsoid: no spike, but a q that is wider than its mode


@dataclasses.dataclass(frozen=True)
class MissedMode:
    """A part of the posterior that q does not visit.

    Attributes:
        mode: where it is highest.
        log_weights: log importance weights of draws laid over it, whose mean is its part of the evidence.
        z: the mode's place, shape (dim,).
        log_mass: log of its part of the evidence, in nats.
    """

    mode: Mode = dataclasses.field(metadata=WORKING)
    log_weights: np.ndarray = dataclasses.field(metadata=WORKING)
    z: np.ndarray = dataclasses.field(init=False, repr=False)
    log_mass: float = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        store(self, z=self.mode.z, log_mass=log_mean_exp(self.log_weights))

    def holds(self, z: np.ndarray) -> np.ndarray:
        """Whether points (n, dim) lie in the ellipsoid that holds all but a little of it, were it normal."""
        return self.mode.normal.holds(z, HELD)


@dataclasses.dataclass(frozen=True)
class Search:
    """What climbs from around q found.

    Attributes:
        climbs: how many there were; 0 where the search was not made.
        parts: modes that q does not visit, with their masses.
        is_beside: whether a climb from q's own mean leaves q: q sits beside a mode, not on one.
        reach: the normal whose ellipsoid holds q; None where the search was not made.
        spikes: modes within q that stand far above q's density.
    """

    climbs: int = 0
    parts: tuple[MissedMode, ...] = ()
    is_beside: bool = False
    reach: Gaussian | None = None
    spikes: tuple[Mode, ...] = ()

    @property
    def laid_over(self) -> tuple[StudentT, ...]:
        """Densities over all modes that were found, outside q and in it."""
        modes = [*(part.mode for part in self.parts), *self.spikes]
        return tuple(StudentT(mode.normal, DEGREES_OF_FREEDOM) for mode in modes)

    def own_log_weights(self, draws: Draws) -> np.ndarray:
        """q's log weights, those of draws that stray into a part set to zero weight."""
        if not self.parts:
            return draws.log_ratio
        strayed = np.any([part.holds(draws.z) for part in self.parts], axis=0) & ~self.reach.holds(draws.z, OUTSIDE)
        return np.where(strayed, -np.inf, draws.log_ratio)

    def share(self, draws: Draws) -> float:
        """Of the mass that lies in the parts, as far as q's draws and the parts show it."""
        if not self.parts:
            return 0.0
        outside = np.logaddexp.reduce([part.log_mass for part in self.parts])
        return float(np.exp(outside - np.logaddexp(outside, log_mean_exp(self.own_log_weights(draws)))))


@in_float64
def find_missed_modes(
    pilot: Draws, scouts: Scouts | None, log_q: Callable, target: Target, key, num_draws: int
) -> Search:
    """Climb from around q, and weigh what lies outside it.

    Args:
        pilot: draws of q for the search alone, so that what is found does not depend on the draws that are weighed.
        scouts: what points around q showed.
        log_q: q's log density at points (n, dim).
        target: the posterior.
        key: a JAX random key.
        num_draws: draws laid over each mode found.
    """
    reach, generator = gaussian_of_draws(pilot.z), numpy_generator(key)
    if target.dim > MOST_DIMENSIONS or reach is None or scouts is None:
        return Search()
    with np.errstate(over="ignore", invalid="ignore"):  # far out, in line searches
        return search_around(pilot, scouts, log_q, target, reach, generator, num_draws)


def search_around(pilot: Draws, scouts: Scouts, log_q, target: Target, reach: Gaussian, generator, num_draws) -> Search:
    """The search itself, as `find_missed_modes` has it, around the ellipsoid that holds q."""
    points, hints = starts(reach, generator), scouts.starts(reach)
    inside = [climb_from(target, start) for start in inner_starts(pilot, reach)]
    home, near = inside[0], None
    if home is not None and home.at_peak and not reach.holds(home.z, OUTSIDE):
        near = as_mode(home)
    led = [end for end in (climb_from(target, start) for start in hints) if end is not None and end.at_peak]
    ends = [end for end in led if not reach.holds(end.z, OUTSIDE)] + climbs_to_outside(target, points, reach)
    modes = [mode for mode in map(as_mode, different(ends)) if mode is not None]
    known = log_mean_exp(pilot.log_ratio)
    worth = [mode for mode in distinct([*modes, *filter(None, [near])]) if mode.log_mass - known > WORTH_A_LOOK]
    parts: list[MissedMode] = []
    for mode in sorted(worth, key=lambda mode: -mode.log_mass):
        if not any(part.holds(mode.z) for part in parts):
            parts.append(measure(mode, parts, reach, target, generator, num_draws))
    inner = [end for end in (*inside, *led) if end is not None and end.at_peak and reach.holds(end.z, OUTSIDE)]
    spikes = find_spikes(different(inner), pilot, log_q, known)
    return Search(len(points) + len(hints) + len(inside), tuple(parts), near is not None, reach, spikes)


def inner_starts(pilot: Draws, reach: Gaussian) -> np.ndarray:
    """q's mean, and its draws with the largest weights."""
    heaviest = np.argsort(-pilot.log_ratio)[:INSIDE]
    return np.concatenate([reach.loc[None], pilot.z[heaviest]])


def find_spikes(ends: list[Climb], pilot: Draws, log_q, known: float) -> tuple[Mode, ...]:
    """Modes within q's reach, far above q's own density and hardly visited by q, the likeliest first."""
    if not ends:
        return ()
    above = np.array([end.log_density for end in ends]) - log_q(np.stack([end.z for end in ends])) - known
    high = [ends[i] for i in np.argsort(-above)[:MOST_SPIKES] if above[i] > SPIKE]
    modes = distinct([mode for mode in map(as_mode, high) if mode is not None])
    return tuple(mode for mode in modes if mode.normal.holds(pilot.z, HELD).mean() < VISITED)


def different(ends: list[Climb]) -> list[Climb]:
    """One for each place where climbs ended."""
    found: list[Climb] = []
    for end in ends:
        if not any(np.allclose(end.z, other.z, rtol=1e-3, atol=1e-3) for other in found):
            found.append(end)
    return found


def climb_from(target: Target, start: np.ndarray) -> Climb | None:
    """A climb to wherever it leads; None where there is no density to begin with."""
    if not np.isfinite(value_and_grad(target, jnp.asarray(start))[0]):
        return None
    return Climb(target, start, MOST_STEPS)


def leads_outside(reach: Gaussian, target: Target, points: np.ndarray) -> bool:
    """Whether a climb from one of a few points outside q ends outside q: a mode of its own, not q's tail."""
    return any(climb(target, point, reach) is not None for point in points)


def climb(target: Target, start: np.ndarray, reach: Gaussian) -> Climb | None:
    """A climb that ends at a peak outside q; None where it stays in q, or gets nowhere."""
    if not np.isfinite(value_and_grad(target, jnp.asarray(start))[0]):
        return None
    inside = reach.holds(start, OUTSIDE)
    found = Climb(target, start, MOST_STEPS, until=None if inside else lambda z: reach.holds(z, OUTSIDE))
    return found if found.at_peak and not reach.holds(found.z, OUTSIDE) else None


def climbs_to_outside(target: Target, points: np.ndarray, reach: Gaussian) -> list[Climb]:
    """Climbs that ended beyond q's reach, one for each place where they did."""
    ends = (climb(target, start, reach) for start in points)
    return different([end for end in ends if end is not None])


def as_mode(climb: Climb) -> Mode | None:
    """The mode at the end of a climb; None where the log density is not flat, or not curved down, there."""
    mode = polish(climb)
    if not mode.is_proper:
        return None
    try:
        decrement = np.linalg.norm(mode.normal.scale.apply_transpose(mode.gradient))
    except np.linalg.LinAlgError:  # proper in its own scales, and singular to rounding: no mode to lay a density over
        return None
    return mode if decrement < FLAT else None


def distinct(modes: list[Mode]) -> list[Mode]:
    kept: list[Mode] = []
    for mode in modes:
        if not any(same_mode(mode, other) for other in kept):
            kept.append(mode)
    return kept


def starts(reach: Gaussian, generator) -> np.ndarray:
    """Opposite pairs of points on ellipsoids around q, and points where chains would start.

    In one dimension the pairs put a start on both sides at each distance. The others are uniform on (-2, 2) in every
    coordinate, whatever q is: relabelled modes lie there, many sds of a narrow q away.
    """
    dim = reach.dim
    directions = generator.standard_normal((len(REACHES), dim))
    directions *= np.sqrt(dim) / np.linalg.norm(directions, axis=1, keepdims=True)
    away = np.array(REACHES)[:, None] * directions
    return np.concatenate([reach.unwhiten(away), reach.unwhiten(-away), generator.uniform(-2, 2, (ELSEWHERE, dim))])


def measure(
    mode: Mode, before: list[MissedMode], reach: Gaussian, target: Target, generator, num_draws: int
) -> MissedMode:
    """Importance weights of Student-t draws over a mode: zero outside its ellipsoid, in q's, and in those before it."""
    student = StudentT(mode.normal, DEGREES_OF_FREEDOM)
    z = student.sample(generator, num_draws)
    log_weights = log_density_in_chunks(target, z) - student.log_prob(z)
    elsewhere = np.any([reach.holds(z, OUTSIDE), *(other.holds(z) for other in before)], axis=0)
    counted = mode.normal.holds(z, HELD) & ~elsewhere & ~np.isnan(log_weights)
    return MissedMode(mode, np.where(counted, log_weights, -np.inf))
