"""Schedule: when SVI cuts its step size, when it stops, and which average of its iterates is the answer.

At each step size it waits until the loss no longer falls and the moments of q no longer drift. It then cuts the step
size, until a cut brings no more than `tolerance` nats. There it goes on averaging until the Monte-Carlo standard error
of the answer's means and sds, by batch means, is at most `precision` posterior sds.

References: Chee & Toulis (2018) for the constant-step-size diagnostic; Dhaka et al. (2020), "Robust, accurate
stochastic optimization for variational inference", for stopping by the MCSE of averaged iterates; Welandawe et al.
(2022), "A framework for improving the reliability of black-box variational inference", for step sizes cut until the
answer settles; Polyak & Juditsky (1992) for averaging.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from vi_kl.algorithms.algorithm import Status


class Batch(NamedTuple):
    """What is kept of some consecutive steps.

    `moments` are q's mean and sd along each coordinate of z at the mean of the iterates, (2, dim), or None.
    """

    losses: np.ndarray
    params: Any
    moments: Any

    @classmethod
    def merged(cls, batches: "list[Batch]") -> "Batch":
        """Batches of one length as one; moments are linear in parameters to the accuracy that counts here."""
        if len(batches) == 1:
            return batches[0]
        params, moments = (average([getattr(batch, name) for batch in batches]) for name in ("params", "moments"))
        return cls(np.concatenate([batch.losses for batch in batches]), params, moments)


def average(trees: list):
    return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *trees)


class Schedule:
    """Decides, from each chunk of steps, what comes next. `config` is an `SVI`."""

    CUT = 0.25
    WINDOW = 4  # batches of one step size that a judgement needs, half of them to compare with the other half
    MOST = 32  # batches kept of one step size; when there are as many, they are merged in pairs
    STATE = ("step_size", "steps", "batches", "pending", "size", "previous", "change", "ended", "converged")

    def __init__(self, config):
        self.config = config
        # an optimiser given by the user carries its own step size and sign
        self.automatic = config.optimizer is None
        self.step_size = -config.step_size if self.automatic else 1.0
        self.steps = 0
        self.batches: list[Batch] = []  # of the present step size
        self.pending: list[Batch] = []  # chunks that do not make a batch yet
        self.size = 1  # chunks per batch
        self.previous: Level | None = None
        self.change: float | None = None
        self.ended = self.converged = False

    def state(self) -> dict:
        """All that changes, with lists copied."""
        values = {name: getattr(self, name) for name in self.STATE}
        return {name: list(value) if isinstance(value, list) else value for name, value in values.items()}

    def restore(self, state: dict) -> None:
        """Go on from such a state."""
        vars(self).update(state)

    @property
    def done(self) -> bool:
        return self.ended or self.steps >= self.config.max_steps

    def record(self, losses: np.ndarray, mean_params, moments=None) -> None:
        self.steps += len(losses)
        self.pending.append(Batch(losses, mean_params, moments))
        if len(self.pending) == self.size:
            self.batches.append(Batch.merged(self.pending))
            self.pending = []
            self.judge()
        if len(self.batches) == self.MOST:
            self.batches = [Batch.merged(self.batches[i : i + 2]) for i in range(0, self.MOST, 2)]
            self.size *= 2

    def judge(self) -> None:
        enough = len(self.batches) >= self.WINDOW
        if enough and not self.still_falling() and self.is_precise() and not self.still_moving():
            self.finish_step_size()

    def window(self) -> list[Batch]:
        """The latest half of this step size."""
        size = max(self.WINDOW, len(self.batches) // 2)
        return self.batches[-size:] or self.pending

    def level(self) -> "Level":
        return Level.of([batch.losses for batch in self.window()])

    def still_falling(self) -> bool:
        """Whether the window's second half lies below its first by more than the noise and the tolerance."""
        losses = [batch.losses for batch in self.window()]
        half = len(losses) // 2
        before, after = Level.of(losses[:half]), Level.of(losses[half:])
        noise = np.hypot(before.error, after.error)
        return bool(before.mean - after.mean > max(noise, self.config.tolerance))

    def is_precise(self) -> bool:
        """Whether the level is known well enough to compare; a long window has to do."""
        return self.level().error < 2 * self.config.tolerance or len(self.batches) * self.size >= self.MOST

    def moments(self) -> np.ndarray | None:
        """The moments of the window's batches in units of q's own sd, (n, 2 dim); None where they are not known."""
        found = [batch.moments for batch in self.window()]
        if found[0] is None:
            return None
        moments = np.stack(found)
        sd = moments[:, 1].mean(axis=0)
        return (moments / sd).reshape(len(moments), -1)

    def still_moving(self) -> bool:
        """Whether a mean or an sd drifts: by more than `precision`, and by more than noise makes it."""
        moments = self.moments()
        if moments is None:
            return False
        half = len(moments) // 2
        parts = moments[:half], moments[half:]
        drift = np.abs(parts[1].mean(axis=0) - parts[0].mean(axis=0))
        noise = np.sqrt(sum(part.var(axis=0, ddof=1) / len(part) for part in parts))
        return bool(((drift > self.config.precision) & (drift > 4 * noise)).any())

    def error(self) -> float | None:
        """The largest Monte-Carlo standard error of a mean or an sd of the answer, in posterior sds.

        By batch means; also of batches twice as long, since those of correlated iterates say too little.
        """
        moments = self.moments()
        if moments is None:
            return None
        if len(moments) < 2:
            return np.inf
        errors = [standard_error(moments)]
        if len(moments) >= 8:
            even = moments[len(moments) % 2 :]
            errors.append(standard_error((even[::2] + even[1::2]) / 2))
        largest = float(np.max(errors))
        return largest if np.isfinite(largest) else np.inf

    def answer_is_precise(self) -> bool:
        error = self.error()
        return error is None or error <= self.config.precision

    def finish_step_size(self) -> None:
        """The loss is stationary at this step size: stop if the cut before it brought nothing, else cut."""
        level = self.level()
        if not self.automatic:
            self.converged = self.ended = self.answer_is_precise()
            return
        settled = False
        if self.previous is not None:
            self.change = self.previous.mean - level.mean
            noise = np.hypot(self.previous.error, level.error)
            settled = bool(self.change < max(self.config.tolerance, noise))
        if settled or abs(self.step_size) <= self.config.smallest_step_size:
            self.ended = self.answer_is_precise()
            self.converged = settled and self.ended
            return
        self.previous = level
        self.step_size *= self.CUT
        self.batches, self.pending, self.size = [], [], 1

    def answer(self):
        """The average of the iterates over the window."""
        return average([batch.params for batch in self.window()])

    def status(self) -> Status:
        steps = f"{self.steps:,} steps"
        if self.converged:
            cut = (
                "" if self.change is None else f", nor does it at a quarter of the step size ({self.change:+.1g} nats)"
            )
            return Status(True, f"Converged after {steps}: the loss no longer falls{cut}.{self.error_in_words()}")
        if self.steps >= self.config.max_steps:
            settled = len(self.batches) >= self.WINDOW and not (self.still_falling() or self.still_moving())
            if settled and not self.answer_is_precise():
                return Status(
                    False,
                    f"Not converged after {steps}: the loss no longer falls, but the answer is noisier than "
                    f"{self.config.precision:g} sd.{self.error_in_words()} Raise max_steps (now "
                    f"{self.config.max_steps:,}) or the objective's num_draws.",
                )
            remedy = f"Raise max_steps (now {self.config.max_steps:,})"
            return Status(False, f"Not converged after {steps}: the loss has not settled. {remedy}.")
        return Status(
            False,
            f"Not converged after {steps}: the smallest step size still lowered the loss by {self.change:.1g} "
            f"nats. Raise the objective's num_draws, or lower smallest_step_size "
            f"(now {self.config.smallest_step_size:g}).",
        )

    def error_in_words(self) -> str:
        error = self.error()
        return "" if error is None else f" Its means and sds have a Monte-Carlo error of {error:.1g} sd or less."


def standard_error(batches: np.ndarray) -> np.ndarray:
    """Of the mean of the rows."""
    return batches.std(axis=0, ddof=1) / np.sqrt(len(batches))


class Level(NamedTuple):
    """Mean of correlated losses, and its standard error by batch means."""

    mean: float
    error: float

    @classmethod
    def of(cls, chunks: list[np.ndarray]) -> "Level":
        losses, num_batches = np.concatenate(chunks), 5 * len(chunks)
        if len(losses) % num_batches:
            batches = np.array([b.mean() for b in np.array_split(losses, num_batches)])
        else:  # the same in one call, which counts where many fits run side by side
            batches = losses.reshape(num_batches, -1).mean(axis=1)
        return cls(float(batches.mean()), float(batches.std(ddof=1) / np.sqrt(len(batches))))
