"""NestedNewton: the density of a few hyperparameters on a grid, and the best sparse normal of all else given them.

Requires of the target: what `VariationalNewton` requires, and hyperparameters on which the precision of all else
depends. Use it for hierarchies, whose spreads no normal of all parameters together gets right.

It starts from the best sparse normal, roughly found, or in few dimensions near the full-rank one, where that search
or what follows errs. The hyperparameters that change the precision of the others are taken out, up to three
(hyperparameters.py). At a few of their values the best normal of the others is found (conditional_normal.py), and mean
and precision are interpolated in between. The density of the few is what integrating over the others leaves, on a grid
(nested_steps.py). Then all this is done again in the units of that density, until they stay.

Integrated nested Laplace approximations do the same with modes in place of means, and without a q whose distance from
the posterior could be told.

Reference: Rue, Martino & Chopin (2009), "Approximate Bayesian inference for latent Gaussian models by using integrated
nested Laplace approximations", JRSS B 71.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from vi_kl.algorithms import nested_steps
from vi_kl.algorithms.algorithm import Algorithm, CostCounter, FitError, History, Solution, Status
from vi_kl.algorithms.conditional_normal import Conditional
from vi_kl.algorithms.hyperparameters import Chosen, choose
from vi_kl.algorithms.initialization import Initialization, initialize, starting_points
from vi_kl.algorithms.marginal_ascent import Frame, ascend
from vi_kl.algorithms.sample_average_approximation import SampleAverageApproximation
from vi_kl.algorithms.shared_coordinates import SLIGHTLY, candidates, scales_of
from vi_kl.algorithms.variational_newton import VariationalNewton, hessian_of
from vi_kl.core.annotations import Progress
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.grid_density import GridDensity
from vi_kl.core.nested_gaussian import NestedGaussian, powers
from vi_kl.core.progress import part_of
from vi_kl.core.random_keys import fold_in, numpy_generator
from vi_kl.core.sparse_cholesky import SparseStructure
from vi_kl.core.sparse_precision import SparsePrecision
from vi_kl.families.approximation import Approximation
from vi_kl.families.gaussian import FullRank, scale_tril
from vi_kl.families.nested_normal import MOST_FEW, NestedNormal, params_of
from vi_kl.families.sparse_normal import SparseNormal
from vi_kl.objectives.noise import enough_draws
from vi_kl.targets.curvature import SparseHessian
from vi_kl.targets.target import Target

ROUGHLY = 10.0  # nats from the best normal to the first, the rest of which is found with its hyperparameters
LESS_ROUGHLY = 3.0  # the same in few dimensions, where steps are cheap, and draws say less of hyperparameters
SHARE_OF_NORMAL = 0.3  # of all gradients, that the normal to start from may take
MOST_DENSE = 100  # dimensions, up to which a full-rank normal stands in where the sparse one is not found,
DRAWS_OF_FULL_RANK = 128  # and its draws, or eight a dimension
MOST_ROUNDS = 10
MOVED, STRETCHED = 0.3, 0.2  # sds by which centre and (logarithms of) sds may move in the last round
LEAST_FALL = 4.5  # nats by which the density has fallen at the ends of the last round's range
ROUNDS_AT_LEAST, LOOKS = 1.5, 2  # rounds that have to be affordable, and looks at the others that each node takes
DRAWS = 8  # by which the others are seen where they are not normal
REFINING = 256  # draws of each refinement
REFINEMENTS = 2
WEIGHED, WEIGHED_NORMAL = 32, 8  # draws by which the others are integrated over; where they are normal


class NothingToNest(UnsuitableError):
    """An error that says that there are no hyperparameters that a grid would serve."""


@dataclasses.dataclass(frozen=True)
class NestedNewton(Algorithm):
    """A density on a grid for up to three hyperparameters, times the best sparse normal of all else given them.

    Attributes:
        max_gradients: the number of gradients after which it ends, converged or not. It takes out fewer hyperparameters
            where more would not be affordable.
        begin: a function that finds where a full-rank normal starts, if one is fitted; None for climbs of its own.

    Where there is nothing to take out, or the others cannot be found, it ends at the sparse normal and says why.
    """

    max_gradients: int = 20_000
    begin: Callable[[], Initialization] | None = dataclasses.field(default=None, repr=False, compare=False)

    name = "nested_normal"

    def find(self, key, target, *, start, progress, counter):
        given, points, generator = given_normal(start), starting_points(target, key, start), numpy_generator(key)
        hessian = hessian_of(target, points, generator, progress, counter)
        is_small = target.dim <= MOST_DENSE
        few = round(SHARE_OF_NORMAL * self.max_gradients)
        begun = given
        if begun is None:
            config = VariationalNewton(tolerance=LESS_ROUGHLY if is_small else ROUGHLY, max_gradients=few)
            part, may_restart = part_of(progress, 0.0, 0.3), start is None
            begun = config.find_along(hessian, key, generator, points, may_restart, part, counter)
        lost = given is None and not begun.status.converged  # before it was anywhere, or for want of gradients
        if lost and not is_small and counter.gradient_evaluations < few:
            return begun
        normal, words = SparseNormal().normal(begun.approximation.params), ""
        for place in self.places(hessian, key, start, normal, lost, part_of(progress, 0.3, 0.4), counter):
            try:
                return self.nest(key, hessian, place, part_of(progress, 0.4, 0.9), counter)
            except (UnsuitableError, FitError) as error:
                words = f"Ended at the sparse normal: {error}"
                if isinstance(error, NothingToNest):
                    break
        if given is None:
            most = min(self.max_gradients, counter.gradient_evaluations + few)
            rest, config = part_of(progress, 0.9, 1.0), VariationalNewton(max_gradients=most)
            begun = config.find_along(hessian, key, generator, [normal.loc], False, rest, counter)
            words = f"{words} {begun.status}"
        return dataclasses.replace(begun, status=Status(begun.status.converged, words))

    def places(self, hessian: SparseHessian, key, start, normal: Gaussian, lost: bool, progress: Progress, counter):
        """Yield normals to begin with: the sparse one, and in few dimensions one near the best of any covariance."""
        is_small = hessian.target.dim <= MOST_DENSE
        if not (lost and is_small):
            yield normal
        most = self.max_gradients - round(ROUNDS_AT_LEAST * gradients_of_round(1, hessian))
        if given_normal(start) is None and is_small and counter.gradient_evaluations < most:
            with contextlib.suppress(FitError):  # it is a second try
                begin = self.begin or functools.partial(initialize, hessian.target, fold_in(key, 1), counter, start)
                found = begin()  # which may count gradients of its own
                if found.is_best or counter.gradient_evaluations < most:
                    left = most - counter.gradient_evaluations
                    yield near_full_rank(hessian, key, found, left, progress, counter)

    def nest(self, key, hessian: SparseHessian, normal: Gaussian, progress: Progress, counter: CostCounter) -> Solution:
        """Find the best nested normal from a sparse one.

        Raises:
            NothingToNest: the precision of the others depends on no hyperparameter.
            FitError: the others cannot be found given the hyperparameters.
        """
        progress(0.0, "looking for hyperparameters on which the rest depends")
        target, generator = hessian.target, numpy_generator(key)
        none = Conditional(hessian, np.empty(0, int), counter, int(generator.integers(2**31)))
        found = scales_of(target, normal.loc, candidates(target, hessian.structure), counter, SLIGHTLY)
        left = self.max_gradients - counter.gradient_evaluations
        most = max(
            (k for k in range(1, MOST_FEW + 1) if ROUNDS_AT_LEAST * gradients_of_round(k, hessian) < left), default=0
        )
        if not most:
            raise NothingToNest(
                f"a round takes about {gradients_of_round(1, hessian):,} gradients, and {max(left, 0):,} are left: "
                f"raise max_gradients (now {self.max_gradients:,})."
            )
        chosen = choose(none, normal, found, most)
        if chosen is None:
            raise NothingToNest(nothing(target, found))
        nest = Nest(chosen, target, normal, counter, int(generator.integers(2**31)))
        nest.go_round(progress, self.max_gradients)
        assert nest.best is not None, "a round was done"
        q = Approximation(NestedNormal(), params_of(nest.best), target)
        return Solution(q, nest.status(self.max_gradients), History(-np.array(nest.elbos)))


def near_full_rank(
    hessian: SparseHessian, key, begin: Initialization, max_gradients: int, progress: Progress, counter: CostCounter
) -> Gaussian:
    """Return a sparse normal near the best one of any covariance on few draws, which is found where Newton's steps err.

    Where a fit starts from no mode, climbs of the ELBO have found it already.
    """
    if begin.is_best:
        return sparse_like(begin.frame.loc, begin.frame.normal.scale.tril, hessian.structure)
    draws = enough_draws(DRAWS_OF_FULL_RANK, 2 * hessian.target.dim)
    config = SampleAverageApproximation(FullRank(), num_draws=draws, max_draws=draws, max_gradients=max_gradients)
    found = config.find(fold_in(key, 1), hessian.target, start=begin, progress=progress, counter=counter)
    params = found.approximation.params
    return sparse_like(np.asarray(params["loc"]), scale_tril(params), hessian.structure)


def sparse_like(loc, tril, structure: SparseStructure) -> Gaussian:
    """Return a normal of this structure near another one.

    Entries of its precision that the structure lacks are left out, and if that leaves none, all off the diagonal.
    """
    precision = np.linalg.inv(tril @ tril.T)[np.ix_(structure.order, structure.order)]
    entries = precision[structure.rows, structure.columns]
    on_diagonal = np.where(structure.rows == structure.columns, entries, 0.0)
    factors = (structure.factor(kept) for kept in (entries, on_diagonal))
    factor = next(factor for factor in factors if factor is not None)
    return Gaussian(loc, SparsePrecision.of(structure.order, factor))


def given_normal(start) -> Solution | None:
    """Return the sparse normal that is the start; None if it is none."""
    given = getattr(start, "approximation", start)
    if not isinstance(given, Approximation) or not isinstance(given.family, SparseNormal):
        return None
    return Solution(given, getattr(start, "status", Status(True, "It was given.")))


def gradients_of_round(k: int, hessian: SparseHessian) -> int:
    """Return about how many gradients a round takes with k hyperparameters."""
    return LOOKS * DRAWS * (1 + hessian.passes) * len(powers(k)) + REFINEMENTS * REFINING


def nothing(target: Target, found: np.ndarray) -> str:
    """Say why there is nothing to put on a grid."""
    if not len(found):
        return "the model has no hyperparameters: no site of one coordinate, or of few that meet many others."
    names = ", ".join(target.coordinate_names[j] for j in found[:5])
    return f"the precision of all else hardly depends on {names}."


class Nest:
    """A nested normal in the making.

    Args:
        chosen: the hyperparameters, and the others given them.
        target: the target.
        normal: the sparse normal to begin with.
        counter: the counter of gradients and densities.
        seed: the seed of the noise of refinements.

    Attributes:
        member: the nested normal of the last round.
        best: that with the highest ELBO.
        elbos: the ELBO of each round.
        left: the nats, about, of the others to their posterior given the few, in the best.
        failure: what ended the last round before its time.
        is_settled: whether the last round was in the units of its own density.
    """

    def __init__(self, chosen: Chosen, target: Target, normal: Gaussian, counter: CostCounter, seed: int):
        self.chosen, self.target, self.counter, self.seed = chosen, target, counter, seed
        self.conditional, self.few = chosen.conditional, chosen.conditional.few
        if not self.conditional.is_normal:
            self.conditional = dataclasses.replace(self.conditional, draws=DRAWS)
        unit = unit_rows(self.few, target.dim)
        covariances = normal.scale.apply(normal.scale.apply_transpose(unit))
        self.loc, self.tril = normal.loc[self.few], np.linalg.cholesky(covariances[:, self.few])
        # the others' regression on s, from which the first look begins
        slopes = np.linalg.solve(self.tril, covariances[:, self.conditional.others])
        self.begin = Frame(self.loc, self.tril, chosen.normal, slopes)
        k = len(self.few)
        self.reach = nested_steps.FIRST_RANGE * np.array([-np.ones(k), np.ones(k)])
        self.member: NestedGaussian | None = None
        self.best: NestedGaussian | None = None
        self.elbos: list[float] = []
        self.left, self.is_settled, self.failure = np.inf, False, ""

    @property
    def rounds(self) -> int:
        """The number of rounds that are done."""
        return len(self.elbos)

    def go_round(self, progress: Progress, max_gradients: int) -> None:
        """Look around until the units of the few's density stay, or another round would take too many gradients.

        Raises:
            FitError: the first round was lost.
        """
        progress(0.0, f"looking for where the rest fits best along {self.names}")
        self.begin = ascend(self.conditional, self.begin)
        self.loc, self.tril = self.begin.loc, self.begin.tril
        for _ in range(MOST_ROUNDS):
            before = self.counter.gradient_evaluations
            try:
                self.look_around(progress)
            except FitError as error:
                if self.best is None:
                    raise
                self.failure = str(error)
                return
            if self.is_settled or 2 * self.counter.gradient_evaluations - before > max_gradients:
                return
            self.move()

    def look_around(self, progress: Progress) -> None:
        """Find the others at nodes around the centre, and the few's density."""
        nodes = nested_steps.nodes_in(self.reach)
        normals: list[Gaussian] = []
        for i, s in enumerate(nodes):
            done = (self.rounds + i / len(nodes)) / MOST_ROUNDS
            progress(done, f"round {self.rounds + 1}: the rest given {i + 1} of {len(nodes)} values of {self.names}")
            normals.append(self.conditional.best(self.loc + self.tril @ s, self.guess(s, normals)))
        between = nested_steps.interpolated(nodes, normals)
        k, others = len(self.few), len(self.conditional.others)
        flat = GridDensity.of_log_density(np.zeros((2,) * k), *self.reach)
        order = self.conditional.others[self.conditional.structure.order]
        shifts, bends = np.zeros(others), np.zeros(others) if self.member is None else self.member.bends
        edges = np.array([nodes.min(axis=0), nodes.max(axis=0)])
        member = NestedGaussian(
            few=self.few,
            loc=self.loc,
            tril=self.tril,
            density=flat,
            reach=edges,
            order=order,
            shifts=shifts,
            bends=bends,
            **between,
        )
        if not self.conditional.is_normal:
            for i in range(REFINEMENTS):
                member = nested_steps.refined(member, self.target, REFINING, self.seed + i, self.counter)
        draws = WEIGHED_NORMAL if self.conditional.is_normal else WEIGHED
        found = nested_steps.integrated(member, self.target, self.reach, draws, self.counter)
        self.member = dataclasses.replace(member, density=found.density)
        if not self.elbos or found.elbo > max(self.elbos):
            self.best, self.left = self.member, found.left
        self.elbos.append(found.elbo)
        self.judge(found.density)

    def judge(self, density: GridDensity) -> None:
        """Note centre, sds and range of the few's density, and whether those of this round were near them."""
        self.mean, self.covariance = nested_steps.moments_of(density)
        self.range, fall = nested_steps.range_of(density)
        sd = np.sqrt(np.diag(self.covariance))
        self.is_settled = bool(
            np.abs(self.mean).max() < MOVED and np.abs(np.log(sd)).max() < STRETCHED and fall > LEAST_FALL
        )

    def move(self) -> None:
        """Take centre, sds and range of the few's density for those of the next round."""
        root = np.linalg.cholesky(self.covariance)
        self.loc, self.tril = self.loc + self.tril @ self.mean, self.tril @ root
        ends = (self.range - self.mean) / np.diag(root)
        self.reach = np.clip(ends, *(nested_steps.LONGEST_RANGE * np.array([-1, 1])))

    @property
    def names(self) -> str:
        """The names of the few."""
        return ", ".join(self.target.coordinate_names[j] for j in self.few)

    def guess(self, s: Float[np.ndarray, " k"], found: list[Gaussian]) -> Gaussian:
        """Return a guess of the others at s: from the round before, or by regression from the centre."""
        if self.member is None:
            return Gaussian(self.begin.others.loc + s @ self.begin.slopes, self.begin.others.scale)
        before = self.member
        basis = before.basis(before.whitened((self.loc + self.tril @ s)[None]))
        loc = np.empty(len(self.conditional.others))
        loc[self.conditional.structure.order] = (basis @ before.means)[0]
        scale = SparsePrecision(self.conditional.structure.order, before.rows, before.columns, before.entries(basis)[0])
        return Gaussian(loc, scale)

    def status(self, max_gradients: int) -> Status:
        """Say how the search ended."""
        words = f"{self.names} on a grid, and the rest nearly normal given {'it' if len(self.few) == 1 else 'them'}"
        if self.conditional.is_normal:
            words = words.replace("nearly normal", "normal")
        else:
            words += f" (about {self.left:.1g} nats from it)"
        if len(self.chosen.left):
            left = ", ".join(self.target.coordinate_names[j] for j in self.chosen.left)
            words += f"; {left}, on which the rest depends too, are among it"
        if self.is_settled:
            return Status(True, f"Converged after {self.rounds} rounds: {words}.")
        remedy = f"raise max_gradients (now {max_gradients:,})"
        if self.failure:
            remedy = f"the next was lost: {self.failure}"
        elif self.rounds == MOST_ROUNDS:
            remedy = f"the density of {self.names} has a long tail, of which a part is left out"
        return Status(False, f"Not converged after {self.rounds} rounds ({words}): {remedy}.")


def unit_rows(few: np.ndarray, dim: int) -> np.ndarray:
    found = np.zeros((len(few), dim))
    found[np.arange(len(few)), few] = 1.0
    return found
