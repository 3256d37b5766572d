"""VariationalNewton: the best normal with a sparse precision, by Newton's method on the ELBO.

Requires of the target: a log density that is twice differentiable in forward mode, most of whose second derivatives
are zero. Use it from about a hundred dimensions on, where models have plates, crossed effects or chains in time.

The best normal in reverse KL has E_q[gradient of log p] = 0 and precision = E_q[-Hessian of log p]. Newton's method
goes to both at once: mean <- mean + precision^-1 E[gradient], precision <- E[-Hessian], each from a few draws of q in
pairs of opposite sign, so that on a normal posterior one step is exact.

Far away, steps go uphill (newton_approach.py). Near (`settle`), steps are taken in full on fixed noise until they end.
Then the noise is new, and there is twice as much of it where what it leaves open is more than the tolerance, in nats.
newton_steps.py has the steps, and what is done where they get shorter too slowly.

Reference: Opper & Archambeau (2009), "The variational Gaussian approximation revisited"; Khan & Rue (2023), "The
Bayesian learning rule", JMLR 24, for the steps.
"""

import dataclasses

import numpy as np

from vi_kl.algorithms.algorithm import Algorithm, CostCounter, FitError, History, Solution, Status
from vi_kl.algorithms.initialization import starting_points
from vi_kl.algorithms.newton_approach import LONG, SHORTEST, Approach
from vi_kl.algorithms.newton_steps import (
    FIRST_RADIUS,
    FixedNoise,
    Measured,
    Outer,
    is_slow,
    ratio_of,
    tolerated,
    turn_back,
)
from vi_kl.algorithms.shared_coordinates import scales_of
from vi_kl.core.annotations import KeyLike, Progress
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.random_keys import fold_in, numpy_generator
from vi_kl.families.approximation import Approximation
from vi_kl.families.sparse_normal import SparseNormal, params_of
from vi_kl.targets.curvature import DRAWS, Curvature, SparseHessian
from vi_kl.targets.hessian_structure import find_sparse_hessian
from vi_kl.targets.target import value_and_grad_batch

MOST_FAILURES = 20  # normals at whose draws the density is not finite, that are taken back
MOST_STAND_INS = 6  # steps one after the other whose precision is not the mean Hessian's, which is not definite
MOST_SEARCHES = 2  # from as many starts, where the one before was lost
MOST_HALVES = 64 * DRAWS  # half the draws of the last approach, beyond which full steps go on wherever they lead
PER_DIMENSION = 4e-5  # nats: of means and sds within some thousandths of an sd


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
            tolerance = max(self.tolerance, PER_DIMENSION * target.dim)
            search = Search(tolerance, self.max_gradients, hessian, generator, counter, progress)
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


class Search(Approach):
    """A search for the best sparse normal.

    Attributes:
        is_lost: whether it ended where the mean Hessian is no precision.
    """

    is_lost = False

    def run(self, point: np.ndarray) -> tuple[Gaussian, Status]:
        """Search from a point, and return the normal that it ended at with how it ended."""
        self.scales = scales_of(self.target, point, self.shared, self.counter)
        normal, status = self.moved_far(self.approach(self.first(point))), None
        if self.tolerance >= LONG and not self.is_spent:  # the approach ends nearer than that
            return normal, Status(True, f"Roughly found after {len(self.elbos)} steps.")
        while status is None:
            normal, status = self.settle(normal)
            if status is None:
                self.half *= 4
                normal = self.approach(normal)
        return normal, status

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
            to_go = f"{bias:.2g} nats to go, " if np.isfinite(bias) else ""  # a first step has none to compare with
            self.progress(self.share_spent, f"step {len(self.elbos)}: {to_go}{left:.2g} nats of noise")
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
        gained = f", and the last step gained {bias:.2g}" if np.isfinite(bias) else ""
        return Status(
            False,
            f"Not converged: after {steps} steps {left:.2g} nats of noise are left{gained}; raise max_gradients "
            f"(now {self.max_gradients:,}).",
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
