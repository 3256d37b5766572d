"""CosineSchedule: a fixed number of steps, whose size rises for a tenth of them and then falls to next to nothing.

Where a budget is set, it brings a rich family nearer to its optimum than step sizes that are cut only once the loss has
settled. It cannot tell whether a smaller step size would find another answer, as the other schedule can.

Reference: Loshchilov & Hutter (2017), "SGDR: Stochastic gradient descent with warm restarts", for the cosine.
"""

import math

import numpy as np

from vi_kl.algorithms.algorithm import Status
from vi_kl.algorithms.svi.schedule import Batch, Level, Schedule

RISE = 0.1  # the share of the steps over which the step size rises
FIRST = 0.05  # the first step size, relative to the largest


class CosineSchedule(Schedule):
    """A schedule of exactly `max_steps` steps; the answer is the average over the last few chunks."""

    def __init__(self, config, frame=None):
        super().__init__(config, frame)
        self.losses: list[np.ndarray] = []
        self.step_size = -self.size_at(0)

    STATE = (*Schedule.STATE, "losses")

    def size_at(self, step: int) -> float:
        """Return the step size for a chunk that begins at a step: that of the chunk's middle."""
        share = min(1.0, (step + self.config.chunk / 2) / self.config.max_steps)
        if share < RISE:
            return self.config.step_size * (FIRST + (1 - FIRST) * share / RISE)
        fall = 0.5 * (1 + math.cos(math.pi * (share - RISE) / (1 - RISE)))
        return max(self.config.smallest_step_size, self.config.step_size * fall)

    def record(self, losses: np.ndarray, mean_params, draws=None, force: float = 1.0) -> None:
        """Record a chunk of steps."""
        self.steps += len(losses)
        self.losses.append(losses)
        self.batches = [*self.batches, Batch(losses, mean_params, draws)][-self.WINDOW :]
        self.step_size = -self.size_at(self.steps)
        if self.done:
            self.ended, self.converged = True, not self.fell()

    def set_back(self, steps: int, smaller: bool = True) -> None:
        """Go on after steps that were lost; they count."""
        self.steps += steps
        self.step_size = -self.size_at(self.steps)

    @property
    def has_settled(self) -> bool:
        """Whether there is an answer at all."""
        return bool(self.batches)

    def fell(self) -> bool:
        """Return whether the last quarter's loss lies below that of the quarter before by more than the tolerance.

        A fall within the noise of the two does not count.
        """
        if len(self.losses) < 8:
            return True
        half, quarter = (self.losses[-len(self.losses) // n :] for n in (2, 4))
        before, after = Level.of(half[: len(half) - len(quarter)]), Level.of(quarter)
        return bool(before.mean - after.mean > max(2 * np.hypot(before.error, after.error), self.config.tolerance))

    def status(self) -> Status:
        """Say how the fit ended."""
        if self.converged:
            return Status(
                True, f"Ended after its {self.steps:,} steps: the loss no longer fell over the last quarter of them."
            )
        return Status(
            False,
            f"Not converged: the loss was still falling when its {self.steps:,} steps were over. Raise max_steps.",
        )
