"""BatchAndMatch and GaussianScoreMatching: full-rank normals by matching scores, without step sizes.

Requires of the target: a differentiable log density, at most 400 dimensions. The family is the full-rank normal.
What they find is not the ELBO's best normal, but the one at which the scores of target and normal agree on average:
E_q[grad log p] = 0 and, for batch-and-match, Cov_q[grad log p] = the precision. For a normal posterior all agree.

Use them where gradients are dear and the posterior is nearly normal: from a good start a few dozen batches do.

At first each update is taken in full, until the normal moves no less than before, which is the noise of the batches.
Then updates count less and less and their results are averaged, until the standard error of the average, by batch
means, is below the tolerance and one full update on many batches leaves it where it is.

References: see score_matching.py; Polyak & Juditsky (1992) for the averaging.
"""

import abc
import dataclasses

import jax
import numpy as np

from vi_kl.algorithms.algorithm import Algorithm, CostCounter, FitError, Solution, Status
from vi_kl.algorithms.initialization import MATRIX_DIMENSIONS, initialize
from vi_kl.algorithms.score_matching import Average, distance, match_batch, match_scores
from vi_kl.algorithms.stationary import unbounded
from vi_kl.core.cholesky import tril_of_root
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.random_keys import numpy_generator
from vi_kl.families.approximation import Approximation
from vi_kl.families.frame import Frame
from vi_kl.families.gaussian import FullRank, full_rank_params
from vi_kl.objectives.noise import enough_draws, matched_noise, opposite_noise
from vi_kl.targets.target import value_and_grad_batch

FULL = 1e6  # the weight of an update that is taken in full
WINDOW = 5  # updates, whose typical movement is compared with that of the ones before
CHECK_EVERY = 30  # averaged updates
CHECK_BATCHES = 16  # for one full update from the average,
STILL = 0.1  # which may go so many sds: the noise of a skewed target's batches, and not more
SLOWING = 0.6  # updates count (k + 1)^-SLOWING at the k-th average: between a half and one, as averaging needs


@dataclasses.dataclass(frozen=True)
class ScoreMatching(Algorithm):
    """What the two have in common.

    Attributes:
        batch_size: draws per update, an even number; 64 is what is evaluated at once.
        tolerance: standard error of the answer: of the mean in sds, of the sds relatively.
        max_steps: updates after which it ends, converged or not.
    """

    batch_size: int = 64
    tolerance: float = 0.01
    max_steps: int = 2000

    def __post_init__(self):
        if self.batch_size < 2 or self.batch_size % 2:
            raise ValueError(f"batch_size must be even, draws come in opposite pairs; got {self.batch_size}.")

    @abc.abstractmethod
    def update(self, q: Gaussian, z: np.ndarray, scores: np.ndarray, weight: float) -> Gaussian:
        """The next normal, from draws of q and the scores there."""

    def find(self, key, target, *, start, progress, counter):
        if target.dim > MATRIX_DIMENSIONS:
            raise FitError(
                f"Score matching keeps covariance matrices, for up to {MATRIX_DIMENSIONS} dimensions; the target has "
                f"{target.dim}: fit 'mean_field'."
            )
        start_key, noise_key = jax.random.split(key)
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
    """Each update fits a whole batch of scores at once (Cai et al. 2024)."""

    name = "batch_and_match"

    def update(self, q, z, scores, weight):
        return match_batch(q, z, scores, weight)


@dataclasses.dataclass(frozen=True)
class GaussianScoreMatching(ScoreMatching):
    """Each update averages over normals that fit one score exactly (Modi et al. 2023)."""

    name = "gaussian_score_matching"

    def update(self, q, z, scores, weight):
        return match_scores(q, z, scores, weight)


class Run:
    """One fit under way, in the units of a frame."""

    def __init__(self, config, target, frame: Gaussian, generator, counter: CostCounter):
        self.config, self.target, self.frame = config, target, frame
        self.generator, self.counter = generator, counter
        self.q = Gaussian.of(np.zeros(target.dim), np.eye(target.dim))
        self.movements: list[float] = []
        self.visited: list[Gaussian] = []
        self.average = Average()
        self.steps = 0

    def noise(self) -> np.ndarray:
        """Fresh normals; as long as updates are full with their exact moments, if the batch is large enough for it."""
        size, dim = self.config.batch_size, self.target.dim
        matched = not self.average and enough_draws(size, dim) == size
        return (matched_noise if matched else opposite_noise)(self.generator, size, dim)

    def step(self, weight: float) -> None:
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
        """A batch and its scores; the normal is narrowed where a score is not finite."""
        for _ in range(20):
            z = self.q.unwhiten(self.noise())
            values, gradients = value_and_grad_batch(self.target, self.frame.unwhiten(z))
            self.counter.gradient_evaluations += len(z)
            if np.isfinite(values).all() and np.isfinite(gradients).all():
                return z, self.frame.scale.apply_transpose(gradients)
            self.q = self.q.scaled(0.5)
        raise self.failed("the log density is not finite at its draws, however narrow it is made")

    def failed(self, why: str) -> FitError:
        return FitError(
            f"Score matching stopped at step {self.steps}: {why}. The posterior may be far from normal there: raise "
            f"batch_size (now {self.config.batch_size}), start elsewhere (start=...), or fit 'full_rank'."
        )

    def to_the_end(self, progress) -> Status:
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
        """How far it goes, on many batches at once: it stands still where the average has arrived."""
        here, self.q = self.q, self.average.normal
        z, scores = map(np.concatenate, zip(*(self.draws() for _ in range(CHECK_BATCHES)), strict=True))
        new = self.config.update(self.q, z, scores, FULL)
        moves, self.q = distance(self.q, new), here
        return moves

    def stands_still(self) -> bool:
        return len(self.movements) > 1 and max(self.movements[-2:]) < 1e-3 * self.config.tolerance

    def is_noise(self) -> bool:
        """Whether the last updates moved the normal no less than those before, and to and fro."""
        if len(self.movements) < 2 * WINDOW:
            return False
        earlier, later = self.movements[-2 * WINDOW : -WINDOW], self.movements[-WINDOW:]
        typical = float(np.median(later))
        return typical > 0.7 * np.median(earlier) and distance(self.visited[-2 * WINDOW], self.q) < 3 * typical

    def answer(self) -> Gaussian:
        return self.average.normal if len(self.average) else self.q
