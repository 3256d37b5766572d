"""SampleAverageApproximation: the ELBO on fixed draws, minimised by a quasi-Newton method; draws are doubled.

Requires of the family: draws that are an image of standard normal noise, and a place in a frame (the normal families,
flows). Requires of the target: a differentiable log density. Under these conditions it takes a tenth or less of the
gradients of SVI, ends at an optimum that can be checked, and has no step size.

One answer is found on n draws and another on 2n. Their distance, in sds of q, is the Monte-Carlo error of the first and
more than that of the second; draws are doubled until it is within the tolerance. Then fresh draws show whether the
ELBO is stationary there (stationary.py). If it is not, the search goes on in the units of the answer itself.

References: see `vi_kl.objectives.fixed_noise`.
"""

import dataclasses

import jax
import numpy as np
from scipy.optimize import minimize

from vi_kl.algorithms.algorithm import Algorithm, CostCounter, FitError, History, Solution, Status
from vi_kl.algorithms.initialization import initialize
from vi_kl.algorithms.stationary import Slope, slope, unbounded
from vi_kl.core.random_keys import fold_in, numpy_generator, split
from vi_kl.families.approximation import Approximation, has_push
from vi_kl.families.family import Family
from vi_kl.families.frame import Frame
from vi_kl.families.gaussian import FullRank
from vi_kl.objectives.fixed_noise import FixedNoiseELBO
from vi_kl.objectives.noise import PER_DIMENSION, enough_draws, matched_noise
from vi_kl.targets.target import ROWS, value_and_grad_batch

MATRIX_PARAMETERS = 700  # the most parameters for which BFGS keeps its dense matrix
MATCHED_DIMENSIONS = 128  # the most dimensions in which every family gets draws enough for exact second moments
COMPARISON_DRAWS = 1024  # draws on which two answers are compared
FAR = 0.7  # the size of a parameter, in the frame's units, beyond which the frame was a poor guess
MOST_FRAMES = 4  # the most frames that are entered one after the other
FRESH = ROWS  # draws on which stationarity is tested
LEVEL = 10  # the distance from the top, in tolerances, that an answer may have along a coordinate
MOST_EXHAUSTED = 3  # sets of draws one after the other on each of which the optimiser runs out of steps


@dataclasses.dataclass(frozen=True)
class SampleAverageApproximation(Algorithm):
    """The minimisation of KL(q||posterior) on fixed quasi-random draws.

    Attributes:
        family: the set of candidates.
        tolerance: the precision of the answer, in sds of q: the largest change of a marginal that doubling the draws
            may still make, in Wasserstein distance (for normals, of mean and sd together).
        num_draws: the number of draws at first; None for 64, or four per dimension of the noise for families with
            correlations.
        max_draws: the number of draws at which doubling ends, converged or not.
        max_steps: the most iterations of the optimiser, for each number of draws.
        max_gradients: the number of gradients after which no further iteration is begun; None for any number.
    """

    family: Family = dataclasses.field(default_factory=FullRank)
    tolerance: float = 0.02
    num_draws: int | None = None
    max_draws: int = 16_384
    max_steps: int = 200
    max_gradients: int | None = None

    def __post_init__(self):
        if not self.tolerance > 0:
            raise ValueError(f"tolerance must be positive, got {self.tolerance}.")
        if self.num_draws is not None and (self.num_draws < 2 or self.num_draws % 2):
            raise ValueError(f"num_draws must be even, for draws come in opposite pairs, got {self.num_draws}.")

    @property
    def name(self):
        return self.family.name

    def find(self, key, target, *, start, progress, counter):
        search = run_search(self, key, target, start, counter, progress)
        counter.gradient_evaluations += search.objective.evaluations
        return Solution(search.approximation(), search.status(), History(np.array(search.losses)))


def run_search(
    config: SampleAverageApproximation, key, target, start, counter: CostCounter, progress, share: float = 1.0
) -> "Search":
    """Return a finished search; `share` is the share of the caller's progress that it makes up."""
    frame_key, init_key, noise_key = split(key, 3)
    require(config, target)
    search = Search(config, target, initialize(target, frame_key, counter, start).frame, init_key, noise_key)
    while not search.done:
        search.double()
        progress(share * search.progress, search.words)
    search.confirm()
    return search


def require(config: SampleAverageApproximation, target) -> None:
    """Raise an error for families that cannot be placed in a frame."""
    family = config.family
    family.require(target)
    if not family.takes_frame:
        raise FitError(
            f"A sample average moves parameters in a frame, and {family.name} is written over the model's own sites: "
            f"fit it by SVI."
        )


class Search:
    """A search for the best member on n draws, then on 2n, and so on."""

    def __init__(self, config: SampleAverageApproximation, target, frame, init_key, noise_key):
        self.config, self.target, self.family, self.noise_key = config, target, config.family, noise_key
        self.losses: list[float] = []
        self.change: float | None = None
        self.settled = self.done = False
        self.exhausted = 0  # sets of draws, up to the present one, on which the optimiser ran out of steps
        self.left: Slope | None = None
        params = self.family.standard(init_key, target)
        self.noise_dim = self.family.noise_dim(target)
        self.num_draws = config.num_draws or first_draws(params, target.dim, self.noise_dim)
        refuse_too_few(self.num_draws, params, target.dim, self.noise_dim)
        self.objective = FixedNoiseELBO(self.family, params, None, target, self.noise(self.num_draws))
        self.enter(frame)
        if not has_push(self.approximation()):
            raise FitError(
                f"A sample average needs draws that are an image of standard normal noise; those of {self.family.name} "
                f"are not: fit it by SVI."
            )
        self.comparison_noise = self.noise(max(COMPARISON_DRAWS, 2 * self.noise_dim))
        self.marginals: np.ndarray | None = None

    def noise(self, n: int, fresh: bool = False) -> np.ndarray:
        """Return n draws of noise, the same each time.

        With `fresh` they differ from those that any member is fitted to, because the latter have even seeds.
        """
        generator = numpy_generator(fold_in(self.noise_key, n + fresh))
        return matched_noise(generator, n, self.noise_dim)

    def enter(self, frame: Frame) -> None:
        """Start from the standard member of a frame."""
        self.frame, self.objective.units = frame, self.family.units(frame, self.target)
        self.x, self.inverse = self.objective.start, None

    def double(self) -> None:
        """Do one round: find the best member on the present draws, and compare it with that of the round before."""
        if self.marginals is not None:
            self.num_draws *= 2
            self.objective.u = self.noise(self.num_draws)
        self.minimise()
        for _ in range(MOST_FRAMES):
            if self.is_spent or np.abs(self.x).max() <= FAR or (frame := self.own_frame()) is None:
                break
            self.enter(frame)  # the old frame was a poor guess
            self.minimise()
        before, self.marginals = self.marginals, np.sort(self.objective.draws(self.x, self.comparison_noise)[0], axis=0)
        if before is not None:
            # a small change may be luck, and one of zero means that the optimiser saw no reason to move
            luck = 0.0 if self.change is None else self.change / 2
            self.change = max(largest_change(before, self.marginals), luck, self.accuracy)
        stuck = self.exhausted >= MOST_EXHAUSTED
        last = 2 * self.num_draws > self.config.max_draws or self.is_spent
        self.done = self.is_accurate or last or stuck

    @property
    def is_spent(self) -> bool:
        """Whether all gradients that it may take are taken."""
        most = self.config.max_gradients
        return most is not None and self.objective.evaluations >= most

    def own_frame(self) -> Frame | None:
        """Return the frame in which the present member is the standard one."""
        return self.family.reframed(self.objective.params(self.x), self.frame)

    def confirm(self) -> None:
        """Test with fresh draws whether the answer is at the top of the ELBO; otherwise go on from its own frame."""
        if not self.family.shifts_and_stretches:
            return
        noise = self.noise(FRESH, fresh=True)
        self.left, elbo = self.slope_and_elbo(noise)
        for _ in range(MOST_FRAMES):
            if self.is_level or self.is_spent or (frame := self.own_frame()) is None:
                return
            before = self.frame, self.objective.units, self.x, self.inverse, self.settled
            self.enter(frame)
            self.minimise()
            left, new_elbo = self.slope_and_elbo(noise)
            if not new_elbo > elbo:
                self.frame, self.objective.units, self.x, self.inverse, self.settled = before
                return
            self.left, elbo = left, new_elbo

    def slope_and_elbo(self, noise: np.ndarray) -> tuple[Slope, float]:
        """Return the slope of the ELBO at the present member, and the ELBO."""
        z, log_q = self.objective.draws(self.x, noise)
        log_p, gradients = value_and_grad_batch(self.target, z)
        self.objective.evaluations += len(z)
        with np.errstate(invalid="ignore", over="ignore"):
            elbo = float(np.mean(log_p - log_q))
            return slope(z, gradients, self.family.frame(self.objective.params(self.x))), elbo

    @property
    def is_level(self) -> bool:
        """Whether the remaining slope is within what the noise of the fitted draws can have caused."""
        if self.left is None:
            return True
        tolerance = self.config.tolerance
        few_nats = 0.1 + 2 * self.target.dim * tolerance**2
        return self.left.largest < LEVEL * tolerance and self.left.nats < few_nats

    @property
    def accuracy(self) -> float:
        """The largest gradient that the optimiser may leave, which in the frame's units is about a distance in sds."""
        return self.config.tolerance / 4

    @property
    def is_accurate(self) -> bool:
        """Whether doubling the draws changed the answer by no more than the tolerance."""
        return self.change is not None and self.change <= self.config.tolerance

    def minimise(self) -> None:
        """Minimise the loss on the present draws, from the present member on."""
        self.shrink_into_support()
        few = len(self.x) <= MATRIX_PARAMETERS
        options = {"maxiter": self.config.max_steps, "gtol": self.accuracy}
        if few and self.inverse is not None:
            options["hess_inv0"] = self.inverse
        result = minimize(
            self.objective, self.x, jac=True, method="BFGS" if few else "L-BFGS-B", options=options, callback=self.note
        )
        self.x = result.x
        self.inverse = positive(result.hess_inv) if few else None
        self.settled = bool(np.abs(result.jac).max() <= 2 * self.accuracy)
        self.exhausted = self.exhausted + 1 if not self.settled and result.nit >= self.config.max_steps else 0

    def note(self, intermediate_result) -> None:
        """Record the loss after an iteration of the optimiser, and end it where the gradients are spent."""
        self.losses.append(float(intermediate_result.fun))
        if self.is_spent:
            raise StopIteration

    def shrink_into_support(self) -> None:
        """Make the frame narrower until the log density is finite at all of its draws.

        The answer so far is narrowed in the same way, if more draws reach further than those on which it was found.
        """
        for _ in range(6):
            if np.isfinite(self.objective(self.x)[0]):
                return
            frame = None if self.marginals is None else self.own_frame()
            self.enter((self.frame if frame is None else frame).scaled(0.3))
        z, _ = self.objective.draws(self.x)
        bad = z[np.argmin(np.isfinite(self.objective.log_ratio))]
        reason = self.target.density.explain(self.target.data, self.target.unravel(bad))
        raise FitError(f"The log density or its gradient is not finite at draws around the start. {reason}")

    @property
    def progress(self) -> float:
        """The share of the work that is done, from 0 to 1."""
        return float(np.log2(self.num_draws) / np.log2(2 * self.config.max_draws))

    @property
    def words(self) -> str:
        """The loss so far, for progress."""
        return f"loss {self.losses[-1] if self.losses else np.nan:.3f} on {self.num_draws} draws"

    def approximation(self) -> Approximation:
        """Return the present member."""
        return Approximation(self.family, self.objective.params(self.x), self.target)

    def status(self) -> Status:
        """Say how the search ended."""
        found = f"{self.objective.evaluations:,} gradients"
        settled = self.settled and self.is_accurate and self.is_level
        if (why := unbounded(self.own_frame(), self.target.coordinate_names, settled)) is not None:
            return Status(False, f"Not converged after {found}. {why}")
        if not self.settled:
            return Status(
                False,
                f"Not converged after {found}: the optimiser stopped short of a minimum on {self.num_draws:,} draws. "
                + self.remedy("max_steps", self.config.max_steps),
            )
        if not self.is_accurate:
            moved = (
                "" if self.change is None else f"doubling the draws still moved the answer by {self.change:.2g} sd. "
            )
            remedy = self.remedy("max_draws", self.config.max_draws)
            return Status(False, f"Not converged after {found}: {moved}{remedy}")
        if not self.is_level:
            name = self.target.coordinate_names[self.left.coordinate]
            return Status(
                False,
                f"Not converged after {found}: on fresh draws the ELBO still rises, by about {self.left.nats:.2g} nats "
                f"and the furthest along '{name}' ({self.left.largest:.2g} sd). Start elsewhere (start=...), or raise "
                f"num_draws.",
            )
        return Status(
            True,
            f"Converged after {found}: the answer on {self.num_draws:,} draws is within {self.change:.2g} sd of that "
            f"on half of them.",
        )

    def remedy(self, name: str, now: int) -> str:
        """Say what to raise: the field of this name, unless the gradients were spent first."""
        if self.is_spent:
            name, now = "max_gradients", self.config.max_gradients or 0
        return f"Raise {name} (now {now:,})."


def positive(matrix: np.ndarray) -> np.ndarray | None:
    """Return the matrix, symmetrised; None if it is not positive definite by more than rounding."""
    matrix = (matrix + matrix.T) / 2
    if not np.isfinite(matrix).all():
        return None
    values = np.linalg.eigvalsh(matrix)
    return matrix if values[0] > 1e-12 * values[-1] else None


def first_draws(params, dim: int, noise_dim: int) -> int:
    """Return the number of draws to start with.

    It suffices for exact second moments if the family has correlations, which need them, or the dimension is small,
    where they are cheap.
    """
    matched = sees_correlation(params, dim) or dim <= MATCHED_DIMENSIONS
    return enough_draws(ROWS, noise_dim if matched else 0)


def sees_correlation(params, dim: int) -> bool:
    """Return whether a member has more parameters than a location and a scale per coordinate."""
    return sum(np.size(leaf) for leaf in jax.tree.leaves(params)) > 2 * dim


def refuse_too_few(num_draws: int, params, dim: int, noise_dim: int) -> None:
    """Raise an error if the draws are too few for a covariance."""
    if sees_correlation(params, dim) and num_draws <= 2 * noise_dim:
        raise FitError(
            f"{num_draws} draws are too few for a covariance in {dim} dimensions: the ELBO on them has no maximum. "
            f"Take at least {PER_DIMENSION * noise_dim}, or leave num_draws out."
        )


def largest_change(before: np.ndarray, after: np.ndarray) -> float:
    """Return the largest change of a marginal, from sorted draws of each coordinate before and after, (n, dim), in sds.

    The change is the Wasserstein distance of the two marginals. For normals it is the root of the squared changes of
    mean and sd; for families with skewness and tails it includes their changes too.
    """
    return float((np.sqrt(np.mean((after - before) ** 2, axis=0)) / after.std(axis=0)).max())
