"""BatchAndMatch and GaussianScoreMatching: full-rank normals by matching scores, without step sizes.

Requires of the target: a differentiable log density, at most 400 dimensions. The family is the full-rank normal. They
do not find the normal with the highest ELBO, but the one at which the scores of target and normal agree on average:
E_q[grad log p] = 0 and, for batch-and-match, Cov_q[grad log p] = the precision. For a normal posterior all agree.

Use them if gradients are expensive and the posterior is nearly normal: from a good start a few dozen batches are
enough.

At first each update is taken in full, until the normal moves no less than before, so that the movement is the noise of
the batches. Then updates count less and less and their results are averaged, until the standard error of the average,
by batch means, is below the tolerance and one full update on many batches hardly moves it.

References: see score_matching.py; Polyak & Juditsky (1992) for the averaging.
"""

import abc
import dataclasses

import numpy as np

from vi_kl.algorithms.algorithm import Algorithm, CostCounter, FitError, Solution, Status
from vi_kl.algorithms.initialization import initialize
from vi_kl.algorithms.score_matching import Average, distance, match_batch, match_scores
from vi_kl.algorithms.stationary import unbounded
from vi_kl.core.cholesky import tril_of_root
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.random_keys import numpy_generator, split
from vi_kl.families.approximation import Approximation
from vi_kl.families.frame import Frame
from vi_kl.families.gaussian import FullRank, full_rank_params
from vi_kl.objectives.noise import enough_draws, matched_noise, opposite_noise
from vi_kl.targets.target import value_and_grad_batch

MOST_DIMENSIONS = 400  # with which covariance matrices are updated hundreds of times
FULL = 1e6  # the weight of an update that is taken in full
WINDOW = 5  # updates, whose typical movement is compared with that of the ones before
CHECK_EVERY = 30  # averaged updates between two checks
CHECK_BATCHES = 16  # batches of the one full update that checks the average
STILL = 0.1  # the most sds that it may move the average: about the noise of a skewed target's batches
SLOWING = 0.6  # the k-th averaged update counts (k + 1)^-SLOWING; averaging needs an exponent between a half and one


@dataclasses.dataclass(frozen=True)
class ScoreMatching(Algorithm):
    """The common part of the two algorithms.

    Attributes:
        batch_size: the number of draws per update, an even number; 64 are evaluated at once.
        tolerance: the standard error of the answer, in sds for the mean and relatively for the sds.
        max_steps: the number of updates after which it ends, converged or not.
    """

    batch_size: int = 64
    tolerance: float = 0.01
    max_steps: int = 2000

    def __post_init__(self):
        if self.batch_size < 2 or self.batch_size % 2:
            raise ValueError(f"batch_size must be even, draws come in opposite pairs; got {self.batch_size}.")

    @abc.abstractmethod
    def update(self, q: Gaussian, z: np.ndarray, scores: np.ndarray, weight: float) -> Gaussian:
        """Return the next normal, from draws of q and the scores there."""

    def find(self, key, target, *, start, progress, counter):
        if target.dim > MOST_DIMENSIONS:
            raise FitError(
                f"Score matching keeps covariance matrices, for up to {MOST_DIMENSIONS} dimensions; the target has "
                f"{target.dim}: fit 'mean_field'."
            )
        start_key, noise_key = split(key)
        frame = initialize(target, start_key, counter, start).frame.normal
        run = Run(self, target, frame, numpy_generator(noise_key), counter)
        status = run.to_the_end(progress)
        q = run.answer()
        loc, tril = frame.unwhiten(q.loc), tril_of_root(frame.scale.matmul(q.scale.tril))
        why = unbounded(Frame.of(frame.loc, tril), target.coordinate_names, status.converged)
        if why is not None:
            status = Status(False, f"Not converged after {run.steps} updates. {why}")
        return Solution(Approximation(FullRank(), full_rank_params(loc, tril), target), status)


@dataclasses.dataclass(frozen=True)
class BatchAndMatch(ScoreMatching):
    """The algorithm in which each update fits a whole batch of scores at once (Cai et al. 2024)."""

    name = "batch_and_match"

    def update(self, q, z, scores, weight):
        return match_batch(q, z, scores, weight)


@dataclasses.dataclass(frozen=True)
class GaussianScoreMatching(ScoreMatching):
    """The algorithm in which each update averages over normals that fit one score exactly (Modi et al. 2023)."""

    name = "gaussian_score_matching"

    def update(self, q, z, scores, weight):
        return match_scores(q, z, scores, weight)


class Run:
    """A fit in progress, in the units of a frame."""

    def __init__(self, config, target, frame: Gaussian, generator, counter: CostCounter):
        self.config, self.target, self.frame = config, target, frame
        self.generator, self.counter = generator, counter
        self.q = Gaussian.of(np.zeros(target.dim), np.eye(target.dim))
        self.movements: list[float] = []
        self.visited: list[Gaussian] = []
        self.average = Average()
        self.steps = 0

    def noise(self) -> np.ndarray:
        """Draw standard normals, with exact moments while updates are full and the batch is large enough for it."""
        size, dim = self.config.batch_size, self.target.dim
        matched = not self.average and enough_draws(size, dim) == size
        return (matched_noise if matched else opposite_noise)(self.generator, size, dim)

    def step(self, weight: float) -> None:
        """Take one update, which counts by `weight`."""
        z, scores = self.draws()
        before = self.q
        self.visited.append(before)
        try:
            self.q = self.config.update(before, z, scores, weight)
            self.movements.append(distance(before, self.q))
        except np.linalg.LinAlgError:
            raise self.failed("the covariance is no longer positive definite") from None
        self.steps += 1

    def draws(self) -> tuple[np.ndarray, np.ndarray]:
        """Return a batch and its scores; the normal is narrowed until all scores are finite."""
        for _ in range(20):
            z = self.q.unwhiten(self.noise())
            values, gradients = value_and_grad_batch(self.target, self.frame.unwhiten(z))
            self.counter.gradient_evaluations += len(z)
            if np.isfinite(values).all() and np.isfinite(gradients).all():
                return z, self.frame.scale.apply_transpose(gradients)
            self.q = self.q.scaled(0.5)
        raise self.failed("the log density is not finite at its draws, however narrow it is made")

    def failed(self, why: str) -> FitError:
        """Return the error that ends the fit, for a given reason."""
        return FitError(
            f"Score matching stopped at step {self.steps}: {why}. The posterior may be far from normal there: raise "
            f"batch_size (now {self.config.batch_size}), start elsewhere (start=...), or fit 'full_rank'."
        )

    def to_the_end(self, progress) -> Status:
        """Take full updates, then averaged ones, until the tolerance or max_steps is reached; return the status."""
        config = self.config
        while self.steps < config.max_steps:
            self.step(FULL)
            if self.stands_still():
                return Status(True, f"Converged after {self.steps} updates: two more did not move it.")
            if self.is_noise():
                break
        error = moves = np.inf
        while self.steps < config.max_steps:
            share = (len(self.average) + 2.0) ** -SLOWING
            self.average.add(self.q)
            self.step(share / (1 - share))
            if len(self.average) % CHECK_EVERY == 0:
                error = self.average.error()
                progress(self.steps / config.max_steps, f"step {self.steps}: standard error {error:.2g} sd")
                if error < config.tolerance and (moves := self.full_update_from_the_average()) < STILL:
                    return Status(True, f"Converged after {self.steps} updates: standard error {error:.1g} sd.")
        why = f"standard error {error:.2g} sd, tolerance {config.tolerance:g}"
        if error < config.tolerance:
            why = f"a full update on {CHECK_BATCHES} batches would move it by {moves:.2g} sd, more than {STILL:g}"
        return Status(
            False,
            f"Not converged after {self.steps} updates: {why}; raise max_steps (now {config.max_steps}) or "
            f"batch_size (now {config.batch_size}).",
        )

    def full_update_from_the_average(self) -> float:
        """Return how far one full update on many batches moves the average, in sds; it is little at the solution."""
        here, self.q = self.q, self.average.normal
        z, scores = map(np.concatenate, zip(*(self.draws() for _ in range(CHECK_BATCHES)), strict=True))
        new = self.config.update(self.q, z, scores, FULL)
        moves, self.q = distance(self.q, new), here
        return moves

    def stands_still(self) -> bool:
        """Return whether the last two updates moved the normal by next to nothing."""
        return len(self.movements) > 1 and max(self.movements[-2:]) < 1e-3 * self.config.tolerance

    def is_noise(self) -> bool:
        """Return whether the last updates moved the normal back and forth, and no less than those before."""
        if len(self.movements) < 2 * WINDOW:
            return False
        earlier, later = self.movements[-2 * WINDOW : -WINDOW], self.movements[-WINDOW:]
        typical = float(np.median(later))
        return typical > 0.7 * np.median(earlier) and distance(self.visited[-2 * WINDOW], self.q) < 3 * typical

    def answer(self) -> Gaussian:
        """Return the average, or the present normal if nothing was averaged."""
        return self.average.normal if len(self.average) else self.q
