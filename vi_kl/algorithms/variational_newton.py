"""VariationalNewton: the best normal with a sparse precision, by Newton's method on the ELBO.

Requires of the target: a log density that is twice differentiable in forward mode, most of whose second derivatives
are zero. Use it from about a hundred dimensions on, where models have plates, crossed effects or chains in time.

The best normal in reverse KL has E_q[gradient of log p] = 0 and precision = E_q[-Hessian of log p]. Newton's method
goes to both at once: mean <- mean + precision^-1 E[gradient], precision <- E[-Hessian], each from a few draws of q in
pairs of opposite sign, so that on a normal posterior one step is exact.

Far away (`approach`), a step that lowers the ELBO is shortened, and where the mean Hessian is not negative definite,
that of every term is made so. Near (`settle`), steps are taken in full on fixed noise until they end. Then the noise is
new, and there is twice as much of it where what it leaves open is more than the tolerance, in nats. newton_steps.py has
the steps, and what is done where they get shorter too slowly.

Reference: Opper & Archambeau (2009), "The variational Gaussian approximation revisited"; Khan & Rue (2023), "The
Bayesian learning rule", JMLR 24, for the steps.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from vi_kl.algorithms.algorithm import Algorithm, CostCounter, FitError, History, Solution, Status
from vi_kl.algorithms.hyperparameters import changes_all_else, scales_of, shared_coordinates
from vi_kl.algorithms.initialization import starting_points
from vi_kl.algorithms.newton_steps import (
    FIRST_RADIUS,
    FixedNoise,
    Measured,
    Outer,
    is_slow,
    longest,
    ratio_of,
    tolerated,
    turn_back,
)
from vi_kl.core.annotations import KeyLike, Progress
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.random_keys import fold_in, numpy_generator
from vi_kl.core.sparse_precision import SparsePrecision
from vi_kl.families.approximation import Approximation
from vi_kl.families.sparse_normal import SparseNormal, params_of
from vi_kl.targets.curvature import DRAWS, Curvature, SparseHessian
from vi_kl.targets.hessian_structure import find_sparse_hessian
from vi_kl.targets.target import value_and_grad_batch

FIRST_SD = 0.1  # in z, of the normal around the start
PRESSED = 0.6  # the difference of curvatures, relative to their sum, with a scale by which nearly all of one is made
FAR = (1.5, 3.0, 4.5)  # in z, how far a scale is moved where it is looked whether all else fits better
FEW_DIMENSIONS = 100
HOLDING = 3  # steps in which scales keep their place while all else settles
NEAR = 1.0  # nats, to which it is known how well all else fits where scales are held
LONG = 10.0  # nats; while steps would gain more, the noise is fixed and the ELBO is watched
SHORT = 0.01  # nats; a step that gains less is not taken far away, since the ELBO could fall by rounding alone
SHORTEST = 1 / 64  # the share of a step that moves no scale too far, below which it is refused
MOST_FAILURES = 20  # normals at whose draws the density is not finite, that are taken back
MOST_STAND_INS = 6  # steps one after the other whose precision is not the mean Hessian's, which is not definite
MOST_SEARCHES = 2  # from as many starts, where the one before was lost
MOST_HALVES = 64 * DRAWS  # half the draws of the last approach, beyond which full steps go on wherever they lead
PER_DIMENSION = 4e-5  # nats: of means and sds within some thousandths of an sd
RIDGE = 1e-6  # relative to the diagonal, added where a curvature is flat


@dataclasses.dataclass(frozen=True)
class VariationalNewton(Algorithm):
    """Newton's method for the best sparse normal.

    Attributes:
        tolerance: the nats of noise in the answer at which it ends; 4e-5 a dimension where that is more.
        max_gradients: the number of gradients after which it ends, converged or not; a second directional derivative
            counts as one.
    """

    tolerance: float = 0.03
    max_gradients: int = 20_000

    name = "sparse_normal"

    def find(self, key, target, *, start, progress, counter):
        points, generator = starting_points(target, key, start), numpy_generator(key)
        hessian = hessian_of(target, points, generator, progress, counter)
        return self.find_along(hessian, key, generator, points, start is None, progress, counter)

    def find_along(
        self,
        hessian: SparseHessian,
        key: KeyLike,
        generator: np.random.Generator,
        points: list[np.ndarray],
        may_restart: bool,
        progress: Progress,
        counter: CostCounter,
    ) -> Solution:
        """Find the best normal where the structure of the Hessian is known.

        Args:
            hessian: the structure.
            key: a JAX random key, for further starts.
            generator: the source of the noise.
            points: the points of which to start from one.
            may_restart: whether to start from others where the search is lost.
            progress: the function that is told how far the search is.
            counter: the counter of gradients.

        Raises:
            FitError: no search came to an end.
        """
        target = hessian.target
        ended: tuple[Search, Gaussian, Status] | None = None
        failure = FitError("There is no place to start from.")
        for begin in starts(target, key, points, may_restart):
            search = Search(self, hessian, generator, counter, progress)
            counter.gradient_evaluations += 2 * len(begin)
            try:
                ended = (search, *search.run(highest(target, begin)))
            except FitError as error:
                failure = error
                continue
            if not search.is_lost:
                break
        if ended is None:
            raise failure
        search, normal, status = ended
        q = Approximation(SparseNormal(), params_of(normal), target)
        return Solution(q, status, History(-np.array(search.elbos)))


def hessian_of(target, points: list[np.ndarray], generator, progress: Progress, counter: CostCounter) -> SparseHessian:
    """Find which second derivatives are zero, near some points, and count what it cost.

    Raises:
        UnsuitableError: the Hessian is not sparse, or cannot be found by probing.
    """
    progress(0.0, "finding which second derivatives are zero")
    hessian = find_sparse_hessian(target, two_probes(target, points, generator))
    counter.gradient_evaluations += hessian.evaluations
    return hessian


def starts(target, key, points: list[np.ndarray], may_restart: bool):
    """Yield the points of which to start from one, and others where a search was lost."""
    yield points
    if may_restart:
        for attempt in range(1, MOST_SEARCHES):
            yield starting_points(target, fold_in(key, attempt), None)


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """A normal, and what draws of it say.

    Attributes:
        normal: the normal.
        curvature: values, gradients and mean Hessian at its draws.
    """

    normal: Gaussian
    curvature: Curvature

    @property
    def elbo(self) -> float:
        """The ELBO in nats; -inf where a density is not finite."""
        values = self.curvature.values
        good = np.isfinite(values).all() and np.isfinite(self.curvature.gradients).all()
        return float(values.mean() + self.normal.entropy) if good else -np.inf

    @property
    def gradient(self) -> np.ndarray:
        """The mean gradient, (dim,)."""
        return self.curvature.gradients.mean(axis=0)


class Search:
    """A search for the best sparse normal.

    Args:
        config: the settings.
        hessian: the structure of the Hessian.
        generator: the source of the noise.
        counter: the counter of gradients; a second directional derivative counts as one.
        progress: the progress function.

    Attributes:
        shared: the coordinates that much of the model shares.
        scales: those of them with which the curvature changes where the search begins.
        elbos: the ELBO at each step.
        half: half the number of draws on which the approach goes uphill.
        is_lost: whether it ended where the mean Hessian is no precision.
    """

    def __init__(self, config: VariationalNewton, hessian: SparseHessian, generator, counter: CostCounter, progress):
        self.config, self.hessian, self.generator = config, hessian, generator
        self.counter, self.progress = counter, progress
        self.structure, self.target = hessian.structure, hessian.target
        self.shared = self.scales = shared_coordinates(self.target, hessian.structure)
        self.tolerance = max(config.tolerance, PER_DIMENSION * self.target.dim)
        self.elbos: list[float] = []
        self.half = DRAWS
        self.is_lost = False

    @property
    def is_spent(self) -> bool:
        """Whether no further step may be taken."""
        return self.counter.gradient_evaluations >= self.config.max_gradients

    @property
    def share_spent(self) -> float:
        """The share of the gradients that may be spent."""
        return min(0.99, self.counter.gradient_evaluations / self.config.max_gradients)

    def noise(self) -> np.ndarray:
        """Return noise in pairs of opposite sign, (2 half, dim)."""
        half = self.generator.standard_normal((self.half, self.target.dim))
        return np.concatenate([half, -half])

    def look(self, normal: Gaussian, noise: np.ndarray) -> Seen:
        """Evaluate the density, its gradient and its mean Hessian at draws of a normal."""
        self.counter.gradient_evaluations += len(noise) * (1 + self.hessian.passes)
        return Seen(normal, self.hessian.at(normal.unwhiten(noise)))

    def first(self, point: np.ndarray) -> Gaussian:
        """Return a narrow normal around a point."""
        entries = np.where(self.structure.rows == self.structure.columns, FIRST_SD**-2, 0.0)
        return Gaussian(point, self.scale(self.structure.factor(entries)))

    def scale(self, factor: sp.csc_array) -> SparsePrecision:
        """Return the scale whose precision has this factor."""
        return SparsePrecision.of(self.structure.order, factor)

    # The entries of a precision -------------------------------------------------------------------------------------

    def held(self, entries: np.ndarray) -> np.ndarray:
        """Return the entries of a precision with the scales apart from the others, and narrow."""
        position = np.isin(self.structure.order, self.scales)
        touched = position[self.structure.rows] | position[self.structure.columns]
        on_diagonal = self.structure.rows == self.structure.columns
        return np.where(touched, np.where(on_diagonal, FIRST_SD**-2, 0.0), entries)

    def factored(self, candidates) -> tuple[np.ndarray, sp.csc_array] | None:
        """Return the first of several lists of entries that are positive definite, and their factor."""
        for entries in candidates:
            factor = self.structure.factor(entries)
            if factor is not None:
                return entries, factor
        return None

    def precisions(self, seen: Curvature, hold: bool):
        """Yield the entries of the mean Hessian, then of that of concave terms, and then of its diagonal."""
        change = self.held if hold else lambda entries: entries
        on_diagonal = self.structure.rows == self.structure.columns
        yield change(seen.entries)
        concave = seen.concave_entries
        floor = np.abs(concave[self.structure.diagonal]).max() * 1e-12
        yield change(concave + np.where(on_diagonal, RIDGE * np.abs(concave) + floor, 0.0))
        yield change(np.where(on_diagonal, np.abs(concave) + floor, 0.0))

    def run(self, point: np.ndarray) -> tuple[Gaussian, Status]:
        """Search from a point, and return the normal that it ended at with how it ended."""
        self.scales = scales_of(self.target, point, self.shared)
        self.counter.gradient_evaluations += 2 + 6 * len(self.shared)
        normal, status = self.moved_far(self.approach(self.first(point))), None
        if self.tolerance >= LONG and not self.is_spent:  # nearer than that is the approach
            return normal, Status(True, f"Roughly found after {len(self.elbos)} steps.")
        while status is None:
            normal, status = self.settle(normal)
            if status is None:
                self.half *= 4
                normal = self.approach(normal)
        return normal, status

    # Far away -------------------------------------------------------------------------------------------------------

    def approach(self, normal: Gaussian) -> Gaussian:
        """Go uphill on fixed noise until steps are short."""
        noise = self.noise()
        seen = self.narrowed(normal, noise)
        hold = 0 < len(self.scales) < self.target.dim
        while not self.is_spent:
            self.elbos.append(seen.elbo)
            hold &= len(self.elbos) <= HOLDING
            found = self.newton(seen, hold)
            if found is None:
                raise FitError("The curvature of the log density is not finite, or zero, around the start.")
            entries, step, gain = found
            self.progress(self.share_spent, f"step {len(self.elbos)}: {gain:,.3g} nats to gain")
            new = None if gain < SHORT else self.go(seen, entries, step, noise)
            seen = seen if new is None else new
            if hold and (new is None or gain < LONG):
                hold = False
            elif new is None or gain < LONG:
                break
        return seen.normal

    def moved_far(self, normal: Gaussian) -> Gaussian:
        """Return a normal that was approached once more, if all else fits better where scales are far from this one's.

        Where a scale is so small that all that it scales is pressed together, the ELBO hardly rises with it, until it
        has grown several times: Newton's steps end there. In few dimensions, where little tells of scales, those that
        are not are looked at too, in the direction in which the ELBO rises.
        """
        noise, best = self.noise(), None
        pressed = changes_all_else(self.target, normal.loc, self.scales, self.shared, PRESSED)
        self.counter.gradient_evaluations += 2 + 2 * len(self.scales)
        for j, upwards in zip(self.scales, pressed, strict=True):
            if not upwards and self.target.dim > FEW_DIMENSIONS:
                continue
            best = best or self.held_at(normal.loc, normal, noise)
            if best is None:
                break
            begin, way = best, np.eye(1, self.target.dim, j)[0] * (1.0 if upwards else np.sign(best.gradient[j]))
            for far in FAR:
                seen = self.held_at(begin.normal.loc + far * way, begin.normal, noise)
                if seen is None or seen.elbo < begin.elbo - LONG:
                    break
                best = max(best, seen, key=lambda seen: seen.elbo)
        is_far = best is not None and np.abs(best.normal.loc - normal.loc)[self.scales].max() > 0
        return self.approach(best.normal) if is_far else normal

    def held_at(self, place: np.ndarray, normal: Gaussian, noise: np.ndarray) -> Seen | None:
        """Return what is seen where all but the scales, which stay at a place, has taken a few steps."""
        seen = self.look(Gaussian(place, normal.scale), noise)
        for _ in range(HOLDING):
            found = self.newton(seen, hold=True) if np.isfinite(seen.elbo) else None
            if found is None:
                return None
            entries, step, gain = found
            new = None if gain < NEAR else self.go(seen, entries, step, noise)
            if new is None:
                break
            seen = new
        return seen

    def newton(self, seen: Seen, hold: bool) -> tuple[np.ndarray, np.ndarray, float] | None:
        """Return the precision and the step of the mean that a normal calls for, and its nats; None if there is none.

        Args:
            seen: the normal.
            hold: whether the scales keep their place.
        """
        found = self.factored(self.precisions(seen.curvature, hold))
        if found is None:
            return None
        goal = self.scale(found[1])
        gradient = np.where(np.isin(np.arange(self.target.dim), self.scales) & hold, 0.0, seen.gradient)
        step = goal.apply(goal.apply_transpose(gradient))
        return found[0], step, 0.5 * float(step @ gradient)

    def narrowed(self, normal: Gaussian, noise: np.ndarray) -> Seen:
        """Return what is seen of a normal so narrow that the density is finite at its draws.

        Raises:
            FitError: it never is.
        """
        for _ in range(20):
            seen = self.look(normal, noise)
            if np.isfinite(seen.elbo):
                return seen
            normal = normal.scaled(0.5)
        reason = self.target.density.explain(self.target.data, self.target.unravel(jnp.asarray(normal.loc)))
        raise FitError(f"The log density is not finite around the starting point, however near. {reason}")

    def go(self, seen: Seen, entries: np.ndarray, step: np.ndarray, noise: np.ndarray) -> Seen | None:
        """Take a step, shortened until the ELBO does not fall; None if that takes too short a step."""
        size = longest(step, self.scales)
        shortest = SHORTEST * size
        while size >= shortest:
            found = self.factored([entries if size == 1.0 else self.between(seen.normal, entries, size)])
            if found is not None:
                new = self.look(Gaussian(seen.normal.loc + size * step, self.scale(found[1])), noise)
                if new.elbo > seen.elbo:
                    return new
            size /= 2
        return None

    def between(self, normal: Gaussian, entries: np.ndarray, size: float) -> np.ndarray:
        """Return the entries of a precision on the way from a normal's to others."""
        return (1 - size) * self.entries_of(normal) + size * entries

    def entries_of(self, normal: Gaussian) -> np.ndarray:
        """Return the entries of a normal's precision in the structure."""
        return normal.scale.precision_at(self.structure.rows, self.structure.columns)

    # Near -----------------------------------------------------------------------------------------------------------

    def settle(self, normal: Gaussian) -> tuple[Gaussian, Status | None]:
        """Take full steps on fixed noise until they end, and then on more of it, until the noise says little.

        Return the best normal so far and no status where full steps lead away: it is to be approached once more.
        """
        noise, outer, before, last, share = FixedNoise.of(self.generator), None, None, None, 1.0
        nats: list[float] = []  # of the steps on this noise
        failures, stood_in, best, ratio = 0, 0, None, 0.0
        while True:
            seen = self.measure(normal, noise, before, share)
            if seen is None:  # a draw at which the density is not finite
                normal, before, failures = nearer(normal, last), None, failures + 1
                if outer is not None:
                    outer.radius /= 4
                if self.is_spent or failures > MOST_FAILURES:
                    raise FitError(
                        f"The log density is not finite at draws of {failures} normals on the way, however they are "
                        f"shortened: it rises or falls too steeply around where the search has come to."
                    )
                continue
            nats.append(seen.nats)
            best = seen if best is None or best.seed != seen.seed or seen.elbo > best.elbo else best
            if is_astray(seen, best) and self.half < MOST_HALVES:
                return Gaussian(best.normal.loc, best.scale), None
            if outer is None and is_slow(nats, self.tolerance):
                if turn_back(seen, last):
                    share = max(share / 2, SHORTEST)
                elif len(self.shared):
                    outer = Outer(seen.shared_precision)
            last = seen
            normal, left, bias = seen.next(outer, self.tolerance)
            ratio = ratio_of(nats, ratio) if outer is None else 0.0
            bias /= (1 - ratio) ** 2
            before = seen.without_past()
            self.progress(self.share_spent, f"step {len(self.elbos)}: {bias:.2g} nats to go, {left:.2g} of noise")
            stood_in = stood_in + 1 if seen.is_stand_in else 0
            if stood_in >= MOST_STAND_INS:
                self.is_lost = True
                return normal, no_precision(len(self.elbos), 2 * noise.for_precision)
            if left + bias < self.tolerance and seen.noise_of_shared(outer) < tolerated(self.tolerance):
                return normal, self.status(left, bias)
            if self.is_spent:
                return (normal if outer is None else outer.best(seen)), self.status(left, bias)
            if outer is not None and outer.is_stuck:
                noise, nats, outer.radius = noise.more(seen, outer, self.tolerance), [], FIRST_RADIUS
            elif stood_in == MOST_STAND_INS // 2:
                noise, nats = noise.of_more_curvatures(), []
            elif bias < max(0.5 * left, 0.3 * self.tolerance):
                noise, nats = noise.more(seen, outer, self.tolerance), []

    def measure(self, normal: Gaussian, noise: FixedNoise, before: Measured | None, share: float) -> Measured | None:
        """Return what draws of a normal say of the next step; None if the density is not finite at one of them.

        The precision goes a share of the way from the one before to that of the draws.
        """
        found = [self.look(normal, one) for one in noise.of_precisions(self.target.dim)]
        self.elbos.append(float(np.mean([seen.elbo for seen in found])))
        if not np.isfinite(self.elbos[-1]):
            return None
        gradients = self.gradients(normal, noise)
        if not np.isfinite(gradients).all():
            return None
        for kind, batches in enumerate(self.kinds_of_precision([seen.curvature for seen in found])):
            entries = batches.mean(axis=0)
            if before is not None:
                entries = before.entries + share * (entries - before.entries)
            factor = self.structure.factor(entries)
            if factor is not None:
                return Measured(
                    normal, self.structure, self.scale(factor), gradients, batches, entries, self.shared,
                    self.scales, self.elbos[-1], noise.seed, before, kind > 0,
                )  # fmt: skip
        return None

    def kinds_of_precision(self, seen: list[Curvature]):
        """Yield what `precisions` yields, of several batches at once: (batches, entries)."""
        kinds = zip(*(self.precisions(one, hold=False) for one in seen), strict=True)
        yield from map(np.array, kinds)

    def gradients(self, normal: Gaussian, noise: FixedNoise) -> np.ndarray:
        """Return the mean gradients of groups of draws, (GROUPS, dim)."""
        groups = np.array(list(noise.of_means(self.target.dim)))
        found = value_and_grad_batch(self.target, normal.unwhiten(groups).reshape(-1, self.target.dim))[1]
        self.counter.gradient_evaluations += len(found)
        return found.reshape(groups.shape).mean(axis=1)

    def status(self, left: float, bias: float) -> Status:
        """Say how the search ended."""
        steps = len(self.elbos)
        if left + bias < self.tolerance:
            return Status(True, f"Converged after {steps} steps, to within {left + bias:.1g} nats of the best normal.")
        return Status(
            False,
            f"Not converged: after {steps} steps {left:.2g} nats of noise are left, and the last step gained "
            f"{bias:.2g}; raise max_gradients (now {self.config.max_gradients:,}).",
        )


def no_precision(steps: int, draws: int) -> Status:
    """Say that a search ended where the mean Hessian is no precision."""
    return Status(
        False,
        f"Not converged after {steps} steps: the mean Hessian of {draws} draws is not negative definite, and what "
        f"stands in for it leads elsewhere. Fit 'natural_gradient' from here (start=...), which needs no Hessian.",
    )


def is_astray(seen: Measured, best: Measured) -> bool:
    """Return whether full steps on one noise have lowered the ELBO by much."""
    return seen.seed == best.seed and best.elbo - seen.elbo > LONG


def nearer(normal: Gaussian, last: Measured | None) -> Gaussian:
    """Return a normal nearer to the last at which the density was finite; a narrower one if there was none."""
    if last is None:
        return normal.scaled(0.7)
    return Gaussian(0.75 * last.normal.loc + 0.25 * normal.loc, last.scale)


def highest(target, points: list[np.ndarray]) -> np.ndarray:
    """Return the highest of several points, and of those on the way from them to the origin.

    Where the density falls steeply in some corner, as exponentials of exponentials do, Newton's steps from there lead
    astray.
    """
    if len(points) == 1:
        return points[0]
    candidates = np.concatenate([np.array(points), 0.3 * np.array(points), np.zeros((1, target.dim))])
    values, gradients = value_and_grad_batch(target, candidates)
    good = np.isfinite(values) & np.isfinite(gradients).all(axis=1)
    return candidates[np.argmax(np.where(good, values, -np.inf))] if good.any() else points[0]


def two_probes(target, points: list[np.ndarray], generator: np.random.Generator) -> np.ndarray:
    """Return two points in general position near given ones, at which the density has a gradient, (2, dim)."""
    near = np.array([points[0], points[-1]]) + 0.01 * generator.standard_normal((2, target.dim))
    values, gradients = value_and_grad_batch(target, near)
    good = np.isfinite(values) & np.isfinite(gradients).all(axis=1)
    return np.where(good[:, None], near, points[0])
