"""Modes that q never visits: they are found by climbing from far outside q, and their share of the mass is estimated.

Draws of q cannot see a mode that q misses, but climbs that start well outside q can. An ellipsoid is cut out around
each mode that they find outside q, without the ellipsoid that holds q. Its mass is estimated by importance sampling
from a Student t centred at the mode. Draws of q that fall into such a part do not count, so that q's own share and the
parts are disjoint and add up to no more than the evidence.

A climb from q's own mean tells whether q sits on a mode or beside one. Climbs from inside q, from its mean and from the
draws with the largest weights, find spikes: modes within q's reach at which the density stands far above q's own. The
search finds the modes to which a climb from one of its starts leads, and no others.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from vi_kl.core.blas_threads import with_one_blas_thread
from vi_kl.core.gaussian import Gaussian, StudentT, gaussian_of_draws
from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import numpy_generator
from vi_kl.core.records import WORKING, store
from vi_kl.core.scales import Scale
from vi_kl.diagnostics.effort import Effort
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.importance import log_mean_exp
from vi_kl.diagnostics.scouts import MOST_STARTS, Scouts
from vi_kl.targets.modes import Climb, Mode, polish, same_mode
from vi_kl.targets.some_rows import some_rows
from vi_kl.targets.target import Target, log_density_in_chunks, value_and_grad

REACHES = (3.0, 6.0, 12.0, 24.0, 48.0, 96.0)  # the distances of the starts from q's mean, in sds of q
FEW_REACHES = (6.0, 48.0)  # the same where climbs are dear
ELSEWHERE = 6  # starts that do not depend on q
OUTSIDE = 1 - 1e-6  # the mass of q, were it normal, inside the ellipsoid beyond which a mode counts as missed
WORTH_A_LOOK = np.log(1e-3)  # the least log mass of a mode, by Laplace, relative to the evidence by q's weights
HELD = 1 - 1e-4  # the share of a mode's mass, were it normal, inside its ellipsoid
DEGREES_OF_FREEDOM = 5.0
MOST_LEFT = 0.5  # the share of chains that leave a q that may sit beside a mode
MOST_DIMENSIONS = 60  # a Hessian costs 16 gradients per dimension
MOST_CURVED = 500  # dimensions up to which the few climbs that chains lead to may end with a Hessian
MOST_STEPS = 100  # the most iterations of a climb
FLAT = 1e-2  # Newton decrement below which a climb has ended at a mode
NOTABLE_SHARE = 0.02  # the least share of the posterior that q has to leave out to be said to miss a mode
PILOT = 2048  # draws of q for the search; the draws that are weighed are others
INSIDE = 2  # climbs from draws of q with the largest weights
SPIKE = 2.0  # nats by which log p - log Z exceeds log q at the end of a climb inside q, for it to be worth a Hessian
MOST_SPIKES = 4
VISITED = 0.01  # the share of q's draws in a mode's ellipsoid above which it is no spike, and q only wider than it


@dataclasses.dataclass(frozen=True)
class MissedMode:
    """A part of the posterior that q does not visit.

    Attributes:
        mode: the mode at its centre.
        log_weights: the log importance weights of draws around the mode, whose mean is the part's share of the
            evidence.
        z: the mode's place, shape (dim,).
        log_mass: the log of the part's share of the evidence, in nats.
    """

    mode: Mode = dataclasses.field(metadata=WORKING)
    log_weights: np.ndarray = dataclasses.field(metadata=WORKING)
    z: np.ndarray = dataclasses.field(init=False, repr=False)
    log_mass: float = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        store(self, z=self.mode.z, log_mass=log_mean_exp(self.log_weights))

    def holds(self, z: np.ndarray) -> np.ndarray:
        """Return whether points (n, dim) lie in the ellipsoid that holds nearly all of its mass, were it normal."""
        return self.mode.normal.holds(z, HELD)


@dataclasses.dataclass(frozen=True)
class Search:
    """The result of climbs from around q.

    Attributes:
        climbs: the number of climbs; 0 if no search was made.
        parts: modes that q does not visit, with their masses.
        is_beside: whether a climb from q's own mean leaves q, so that q sits beside a mode and not on one.
        reach: the normal whose ellipsoid holds q; None if no search was made.
        spikes: modes within q that stand far above q's density.
        rows_begun_on: the number of random rows on which the climbs from outside q begin; 0 for all rows.
    """

    climbs: int = 0
    parts: tuple[MissedMode, ...] = ()
    is_beside: bool = False
    reach: Gaussian | None = None
    spikes: tuple[Mode, ...] = ()
    rows_begun_on: int = 0

    @property
    def densities_at_modes(self) -> tuple[StudentT, ...]:
        """A Student t density for each mode that was found, outside q or within."""
        modes = [*(part.mode for part in self.parts), *self.spikes]
        return tuple(StudentT(mode.normal, DEGREES_OF_FREEDOM) for mode in modes)

    def own_log_weights(self, draws: Draws) -> np.ndarray:
        """Return q's log weights, with -inf for draws that fall into a part outside q."""
        if not self.parts:
            return draws.log_ratio
        strayed = np.any([part.holds(draws.z) for part in self.parts], axis=0) & ~self.reach.holds(draws.z, OUTSIDE)
        return np.where(strayed, -np.inf, draws.log_ratio)

    def share(self, draws: Draws) -> float:
        """Return the parts' share of the mass, as estimated from the parts and q's draws outside them."""
        if not self.parts:
            return 0.0
        outside = np.logaddexp.reduce([part.log_mass for part in self.parts])
        return float(np.exp(outside - np.logaddexp(outside, log_mean_exp(self.own_log_weights(draws)))))


@with_one_blas_thread
@in_float64
def find_missed_modes(
    pilot: Draws, scouts: Scouts | None, log_q: Callable, target: Target, key, effort: Effort
) -> Search:
    """Climb from around q, and estimate the mass of what lies outside it.

    Args:
        pilot: draws of q for the search alone, so that what is found does not depend on the draws that are weighed.
        scouts: the log density at points around q, or None.
        log_q: a function that returns q's log density at points (n, dim).
        target: the posterior.
        key: a JAX random key.
        effort: half of its draws are the draws around each mode found, and its share is that of the usual climbs.
    """
    if target.dim > MOST_DIMENSIONS or scouts is None:
        return Search()
    reach, generator = gaussian_of_draws(pilot.z), numpy_generator(key)
    if reach is None:
        return Search()
    with np.errstate(over="ignore", invalid="ignore"):  # line searches far out may overflow
        return search_around(pilot, scouts, log_q, target, reach, generator, effort)


def search_around(
    pilot: Draws, scouts: Scouts, log_q, target: Target, reach: Gaussian, generator, effort: Effort
) -> Search:
    """Carry out the search of `find_missed_modes` around the ellipsoid that holds q."""
    points, hints = starts(reach, generator, effort), scouts.starts(reach, effort.part(MOST_STARTS, 1))
    begun = len(points) + len(hints)
    some, units = some_rows(target), None
    if some is not None:  # where a gradient is dear, climbs are in q's units too, in which they take few of them
        units = reach.scale
        points, hints = (ends_on(some, starts, units) for starts in (points, hints))
    inside = [climb_from(target, start, units) for start in inner_starts(pilot, reach, effort.part(INSIDE, 1))]
    home, near = inside[0], None
    if home is not None and home.at_peak and not reach.holds(home.z, OUTSIDE):
        near = as_mode(home)
    led = [end for end in (climb_from(target, start, units) for start in hints) if end is not None and end.at_peak]
    ends = [end for end in led if not reach.holds(end.z, OUTSIDE)] + climbs_to_outside(target, points, reach, units)
    modes = [mode for mode in map(as_mode, different(ends)) if mode is not None]
    known = log_mean_exp(pilot.log_ratio)
    worth = [mode for mode in distinct([*modes, *filter(None, [near])]) if mode.log_mass - known > WORTH_A_LOOK]
    parts: list[MissedMode] = []
    for mode in sorted(worth, key=lambda mode: -mode.log_mass):
        if not any(part.holds(mode.z) for part in parts):
            parts.append(measure(mode, parts, reach, target, generator, effort.num_draws // 2))
    inner = [end for end in (*inside, *led) if end is not None and end.at_peak and reach.holds(end.z, OUTSIDE)]
    spikes = find_spikes(different(inner), pilot, log_q, known)
    on_part = 0 if some is None else len(some.data[2])
    return Search(begun + len(inside), tuple(parts), near is not None, reach, spikes, on_part)


def search_from(
    points: np.ndarray, away: float, search: Search, pilot: Draws, target: Target, generator, effort: Effort
) -> Search:
    """Return a search with further climbs, from points (k, dim) outside q to which chains went.

    There are so few of them that they are made in more dimensions than the usual ones. If there were no others, and
    most chains left q (`away` is their share), one from q's own mean tells whether q sits beside a mode. Where they
    stay, it says nothing against q: in many dimensions the mode of a skewed posterior is far from its mass.
    """
    reach = gaussian_of_draws(pilot.z) if search.reach is None else search.reach
    if reach is None or target.dim > MOST_CURVED:
        return search
    with np.errstate(over="ignore", invalid="ignore"):
        home = climb_from(target, reach.loc) if search.reach is None and away > MOST_LEFT else None
        ends = climbs_to_outside(target, points, reach)
        modes = distinct([mode for mode in map(as_mode, ends) if mode is not None])
        parts, known = list(search.parts), log_mean_exp(pilot.log_ratio)
        for mode in sorted(modes, key=lambda mode: -mode.log_mass):
            if mode.log_mass - known > WORTH_A_LOOK and not any(part.holds(mode.z) for part in parts):
                parts.append(measure(mode, parts, reach, target, generator, effort.num_draws // 2))
    return dataclasses.replace(
        search,
        climbs=search.climbs + len(points),
        parts=tuple(parts),
        is_beside=search.is_beside or (home is not None and home.at_peak and not reach.holds(home.z, OUTSIDE)),
        reach=reach,
    )


def ends_on(some: Target, starts: np.ndarray, units: Scale) -> np.ndarray:
    """Return where climbs of the density of a part of the rows end, from which those of all rows go on."""
    ends = [end for end in (climb_from(some, start, units) for start in starts) if end is not None]
    return np.array([end.z for end in different(ends)]).reshape(-1, some.dim)


def inner_starts(pilot: Draws, reach: Gaussian, most: int) -> np.ndarray:
    """Return q's mean, and the draws of q with the largest weights."""
    heaviest = np.argsort(-pilot.log_ratio)[:most]
    return np.concatenate([reach.loc[None], pilot.z[heaviest]])


def find_spikes(ends: list[Climb], pilot: Draws, log_q, known: float) -> tuple[Mode, ...]:
    """Return modes within q's reach, far above q's density and hardly visited by q, the likeliest first."""
    if not ends:
        return ()
    above = np.array([end.log_density for end in ends]) - log_q(np.stack([end.z for end in ends])) - known
    high = [ends[i] for i in np.argsort(-above)[:MOST_SPIKES] if above[i] > SPIKE]
    modes = distinct([mode for mode in map(as_mode, high) if mode is not None])
    return tuple(mode for mode in modes if mode.normal.holds(pilot.z, HELD).mean() < VISITED)


def different(ends: list[Climb]) -> list[Climb]:
    """Keep one climb for each place where climbs ended."""
    found: list[Climb] = []
    for end in ends:
        if not any(np.allclose(end.z, other.z, rtol=1e-3, atol=1e-3) for other in found):
            found.append(end)
    return found


def climb_from(target: Target, start: np.ndarray, units: Scale | None = None) -> Climb | None:
    """Climb to wherever it leads; return None if the density at the start is zero or undefined."""
    if not np.isfinite(value_and_grad(target, jnp.asarray(start))[0]):
        return None
    return Climb(target, start, MOST_STEPS, units=units)


def leads_outside(reach: Gaussian, target: Target, points: np.ndarray) -> bool:
    """Return whether a climb from one of a few points outside q ends outside q: at another mode, not in q's tail."""
    return any(climb(target, point, reach) is not None for point in points)


def climb(target: Target, start: np.ndarray, reach: Gaussian, units: Scale | None = None) -> Climb | None:
    """Return a climb that ends at a peak outside q; None if it enters q or reaches no peak."""
    if not np.isfinite(value_and_grad(target, jnp.asarray(start))[0]):
        return None
    inside = reach.holds(start, OUTSIDE)
    until = None if inside else lambda z: reach.holds(z, OUTSIDE)
    found = Climb(target, start, MOST_STEPS, until, units)
    return found if found.at_peak and not reach.holds(found.z, OUTSIDE) else None


def climbs_to_outside(target: Target, points: np.ndarray, reach: Gaussian, units: Scale | None = None) -> list[Climb]:
    """Return climbs that ended at peaks beyond q's reach, one for each peak."""
    ends = (climb(target, start, reach, units) for start in points)
    return different([end for end in ends if end is not None])


def as_mode(climb: Climb) -> Mode | None:
    """Return the mode at the end of a climb; None if the log density there is not flat or not concave."""
    mode = polish(climb)
    if not mode.is_proper:
        return None
    try:
        decrement = np.linalg.norm(mode.normal.scale.apply_transpose(mode.gradient))
    except np.linalg.LinAlgError:  # definite in its own scales, but singular to rounding: no density can be made of it
        return None
    return mode if decrement < FLAT else None


def distinct(modes: list[Mode]) -> list[Mode]:
    """Keep one of several modes that are the same to rounding."""
    kept: list[Mode] = []
    for mode in modes:
        if not any(same_mode(mode, other) for other in kept):
            kept.append(mode)
    return kept


def starts(reach: Gaussian, generator, effort: Effort) -> np.ndarray:
    """Return opposite pairs of points on ellipsoids around q, and points where MCMC chains would start.

    In one dimension the pairs put a start on both sides at each distance. The others are uniform on (-2, 2) in every
    coordinate, whatever q is: relabelled modes lie there, many sds of a narrow q away.
    """
    dim = reach.dim
    reaches = REACHES if effort.share == 1 else FEW_REACHES
    directions = generator.standard_normal((len(reaches), dim))
    directions *= np.sqrt(dim) / np.linalg.norm(directions, axis=1, keepdims=True)
    away = np.array(reaches)[:, None] * directions
    elsewhere = generator.uniform(-2, 2, (effort.part(ELSEWHERE, 2), dim))
    return np.concatenate([reach.unwhiten(away), reach.unwhiten(-away), elsewhere])


def measure(
    mode: Mode, before: list[MissedMode], reach: Gaussian, target: Target, generator, num_draws: int
) -> MissedMode:
    """Estimate a mode's part of the evidence by importance sampling from a Student t.

    The weights are zero outside the mode's ellipsoid, in q's, and in those of the modes before it.
    """
    student = StudentT(mode.normal, DEGREES_OF_FREEDOM)
    z = student.sample(generator, num_draws)
    log_weights = log_density_in_chunks(target, z) - student.log_prob(z)
    elsewhere = np.any([reach.holds(z, OUTSIDE), *(other.holds(z) for other in before)], axis=0)
    counted = mode.normal.holds(z, HELD) & ~elsewhere & ~np.isnan(log_weights)
    return MissedMode(mode, np.where(counted, log_weights, -np.inf))
