"""Schedule: when SVI cuts its step size, when it stops, and which average of its iterates is the answer.

The answer at a step size is the average of the iterates over the latter half of its steps. Once the loss no longer
falls and the answer no longer drifts, the step size is cut to a quarter. The remaining bias of the answer is then a
third of how far the cut moved it. When that is within `tolerance`, the schedule goes on averaging until the answer's
Monte-Carlo error, by batch means, is within `tolerance` nats, and within `precision` posterior sds in its means and
sds.

The distance of two answers is measured by the draws that they make of fixed noise, in units of the frame. Half to all
of the mean squared distance is, to second order, the difference in KL near the optimum of a normal posterior.

References: Chee & Toulis (2018) for the constant-step-size diagnostic; Dhaka et al. (2020), "Robust, accurate
stochastic optimization for variational inference", for stopping by the MCSE of averaged iterates; Welandawe et al.
(2022), "A framework for improving the reliability of black-box variational inference", for step sizes cut until the
answer settles, whose bias is proportional to the step size; Polyak & Juditsky (1992) for averaging.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from vi_kl.algorithms.algorithm import Status


class Batch(NamedTuple):
    """The record of some consecutive steps.

    Attributes:
        losses: the loss of each step.
        params: the mean of the iterates.
        draws: the draws of q at that mean, for fixed noise, (n, dim) in z; None if nothing is known of q but its loss.
    """

    losses: np.ndarray
    params: Any
    draws: Any

    @classmethod
    def merged(cls, batches: "list[Batch]") -> "Batch":
        """Merge batches of one length; the mean of their draws stands for the draws at the mean of their parameters."""
        if len(batches) == 1:
            return batches[0]
        params, draws = (average([getattr(batch, name) for batch in batches]) for name in ("params", "draws"))
        return cls(np.concatenate([batch.losses for batch in batches]), params, draws)


def average(trees: list):
    """Return the mean of pytrees of one structure."""
    return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *trees)


class Answer(NamedTuple):
    """The answer of a window, and its Monte-Carlo errors.

    Attributes:
        draws: the draws of q at the average of the window, for fixed noise, in units of the frame.
        nats: the error of the draws and of what is learned, as a difference in KL.
        sds: the largest error of a mean or an sd, in posterior sds, and of what is learned, in its units.
        learned: the average of the free numbers of the model's parameters that are learned.
    """

    draws: np.ndarray
    nats: float
    sds: float
    learned: np.ndarray = np.empty(0)


class Schedule:
    """A schedule of step sizes, which decides after each chunk of steps what comes next.

    Args:
        config: an `SVI`.
        frame: the normal guess of the posterior in whose units distances are measured; None for q's own sds.

    Attributes:
        learned_units: the matrix (k, k) whose columns are the units of the free numbers that are learned, in which the
            loss has a curvature of one; None where they are not looked at (see learning.py).
    """

    CUT = 0.25
    BIAS_LEFT = 1 / 3  # the remaining bias, relative to the move by a cut, as the bias is proportional to the step size
    WINDOW = 4  # the least number of batches of one step size; one half of them is compared with the other
    REACH = 5.0  # the least length of a window in relaxation times: shorter ones do not show a slow drift
    MOST = 32  # batches of one step size; as soon as there are so many, they are merged in pairs
    STATE = (
        "step_size",
        "steps",
        "batches",
        "pending",
        "size",
        "kept",
        "previous",
        "moved",
        "ended",
        "converged",
        "force",
        "learned_units",
    )

    def __init__(self, config, frame=None):
        self.config, self.frame = config, frame
        # an optimiser given by the user carries its own step size and sign
        self.automatic = config.optimizer is None
        self.step_size = -config.step_size if self.automatic else 1.0
        self.steps = 0
        self.batches: list[Batch] = []  # the batches of the present step size
        self.pending: list[Batch] = []  # chunks that do not make a batch yet
        self.size = 1  # chunks per batch
        self.kept: list[Batch] = []  # the last window of the step size before, for a fit that ends just after a cut
        self.previous: Answer | None = None  # the answer at the step size before
        self.force = 1.0  # root mean square of the noisiest gradient entry, by which Adam divides its steps
        self.moved: float | None = None  # the nats by which the last cut moved the answer
        self.ended = self.converged = False
        self.learned_units: np.ndarray | None = None

    def begin_anew(self, frame) -> None:
        """Go on in another frame, from the first step size; the steps so far count."""
        steps, units = self.steps, self.learned_units
        self.__init__(self.config, frame)
        self.steps, self.learned_units = steps, units

    def state(self) -> dict:
        """Return all that changes, with lists copied."""
        values = {name: getattr(self, name) for name in self.STATE}
        return {name: list(value) if isinstance(value, list) else value for name, value in values.items()}

    def restore(self, state: dict) -> None:
        """Go on from such a state."""
        vars(self).update(state)

    @property
    def done(self) -> bool:
        """Whether the fit has ended, or has no steps left."""
        return self.ended or self.steps >= self.config.max_steps

    def record(self, losses: np.ndarray, mean_params, draws=None, force: float = 1.0) -> None:
        """Record a chunk of steps, and decide what comes next."""
        self.force = max(1.0, force)
        self.steps += len(losses)
        self.pending.append(Batch(losses, mean_params, draws))
        if len(self.pending) == self.size:
            self.batches.append(Batch.merged(self.pending))
            self.pending = []
            if len(self.batches) >= self.WINDOW and not self.still_falling():
                self.judge(self.measure())
        if len(self.batches) == self.MOST:
            self.batches = [Batch.merged(self.batches[i : i + 2]) for i in range(0, self.MOST, 2)]
            self.size *= 2

    def set_back(self, steps: int, smaller: bool = True) -> None:
        """Go on after steps that were lost, with a smaller step size if `smaller`."""
        self.steps += steps
        if not (smaller and self.automatic) or abs(self.step_size) <= self.config.smallest_step_size:
            return
        self.kept = self.window() or self.kept
        self.step_size *= self.CUT
        self.batches, self.pending, self.size = [], [], 1

    def window(self) -> list[Batch]:
        """Return the batches of the latter half of this step size."""
        size = max(self.WINDOW, len(self.batches) // 2)
        return self.batches[-size:] or self.pending or self.kept

    def still_falling(self) -> bool:
        """Return whether the window's second half lies below its first by more than the noise and the tolerance."""
        losses = [batch.losses for batch in self.window()]
        half = len(losses) // 2
        before, after = Level.of(losses[:half]), Level.of(losses[half:])
        noise = np.hypot(before.error, after.error)
        return bool(before.mean - after.mean > max(noise, self.config.tolerance))

    @property
    def has_settled(self) -> bool:
        """Whether the loss has ever stopped falling, so that there is an answer, if perhaps a noisy one."""
        return self.previous is not None or (len(self.batches) >= self.WINDOW and not self.still_falling())

    def judge(self, answer: "Answer | None") -> None:
        """Stop, or cut the step size, or go on if the answer is too noisy; the loss is stationary."""
        if answer is not None and not self.known_well_enough(answer):
            return
        if not self.automatic:
            self.converged = self.ended = self.is_precise(answer)
            return
        settled = False
        if answer is not None and self.previous is not None:
            noise = self.previous.nats + answer.nats
            distance = np.mean(np.sum((answer.draws - self.previous.draws) ** 2, axis=1))
            distance += np.sum(self.in_learned_units(answer.learned - self.previous.learned) ** 2)
            self.moved = max(0.0, float(distance) - noise)
            settled = self.moved * self.BIAS_LEFT**2 <= self.config.tolerance
        if settled or abs(self.step_size) <= self.config.smallest_step_size:
            self.ended = self.is_precise(answer)
            self.converged = settled and self.ended
            return
        self.kept = self.window()
        self.previous = answer
        self.step_size *= self.CUT
        self.batches, self.pending, self.size = [], [], 1

    def known_well_enough(self, answer: Answer) -> bool:
        """Return whether the answer is so precise that a comparison would show a bias of `tolerance`.

        A long window counts as precise enough in any case.
        """
        window = sum(len(batch.losses) for batch in self.window())
        # curvature is of order one in the frame, so Adam forgets where it was in `force / step_size` steps
        if self.automatic and window * abs(self.step_size) < self.REACH * self.force:
            return False
        long = len(self.batches) * self.size >= self.MOST
        return long or (answer.nats * self.BIAS_LEFT**2 <= self.config.tolerance and not self.still_moving())

    def is_precise(self, answer: "Answer | None") -> bool:
        """Return whether the Monte-Carlo errors of the answer are within `tolerance` and `precision`."""
        if answer is None:
            return True
        return answer.nats <= self.config.tolerance and answer.sds <= self.config.precision

    def measure(self) -> "Answer | None":
        """Return the window's answer and its Monte-Carlo errors; None if the draws are not known."""
        found = [batch.draws for batch in self.window()]
        if not found or found[0] is None:
            return None
        draws, learned = np.stack(found), self.learned()
        standard = self.in_units(draws)
        if len(draws) < 2:
            return Answer(standard[0], np.inf, np.inf, learned[0])
        length = self.batch_in_relaxation_times
        nats = np.mean(np.sum(squared_error(standard, length), axis=-1))
        nats += np.sum(squared_error(self.in_learned_units(learned), length))
        sds = np.sqrt(np.max(squared_error(self.figures(draws), length)))
        errors = (float(np.nan_to_num(x, nan=np.inf)) for x in (nats, sds))
        return Answer(standard.mean(axis=0), *errors, learned.mean(axis=0))

    @property
    def batch_in_relaxation_times(self) -> float:
        """The length of a batch, in the steps in which Adam forgets where it was; inf where that is not known."""
        if not self.automatic:
            return np.inf
        # curvature is of order one in the frame, so that takes `force / step_size` steps
        return len(self.window()[0].losses) * abs(self.step_size) / self.force

    def learned(self) -> np.ndarray:
        """Return the free numbers that each batch of the window has learned, (batches, k), or k of 0."""
        window = self.window()
        if self.learned_units is None:
            return np.empty((len(window), 0))
        return np.stack([flat(batch.params.learned) for batch in window])

    def in_learned_units(self, learned: np.ndarray) -> np.ndarray:
        """Return what is learned, (..., k), in its units."""
        return learned if self.learned_units is None else np.linalg.solve(self.learned_units, learned.T).T

    def figures(self, draws: np.ndarray) -> np.ndarray:
        """Return what the answer is judged by, batch by batch: means and sds, in posterior sds, and what is learned."""
        moments = self.moments(draws).reshape(len(draws), -1)
        return np.concatenate([moments, self.in_learned_units(self.learned())], axis=1)

    def in_units(self, draws: np.ndarray) -> np.ndarray:
        """Return draws of shape (..., dim) in units of the frame."""
        if self.frame is None:
            return draws / draws[-1].std(axis=0)
        return self.frame.normal.whiten(draws)

    def moments(self, draws: np.ndarray) -> np.ndarray:
        """Return the mean and sd of each batch along each coordinate, in posterior sds; (batches, 2, dim)."""
        sd = draws.std(axis=1)
        posterior_sd = sd.mean(axis=0)
        if self.frame is not None:
            posterior_sd = np.maximum(posterior_sd, self.frame.normal.sd)
        return np.stack([draws.mean(axis=1) / posterior_sd, sd / posterior_sd], axis=1)

    def still_moving(self) -> bool:
        """Return whether a mean, an sd or what is learned drifts over the window.

        That is by more than `precision`, and more than its noise.
        """
        figures = self.figures(np.stack([batch.draws for batch in self.window()]))
        time = np.arange(len(figures)) - (len(figures) - 1) / 2
        slope = np.tensordot(time, figures, axes=1) / (time @ time)
        scatter = figures - figures.mean(axis=0) - time[:, None] * slope
        noise = np.sqrt((scatter**2).sum(axis=0) / (len(time) - 2) / (time @ time))
        drift = np.abs(slope) * len(time)
        return bool(((drift > self.config.precision) & (np.abs(slope) > 4 * noise)).any())

    def answer(self):
        """Return the average of the iterates over the window."""
        return average([batch.params for batch in self.window()])

    def status(self) -> Status:
        """Say how the fit ended, and with which errors."""
        steps, answer = f"{self.steps:,} steps", self.measure()
        if self.converged:
            cut = "" if self.moved is None else ", and a quarter of the step size gives the same answer"
            return Status(True, f"Converged after {steps}: the loss no longer falls{cut}.{in_words(answer)}")
        if self.steps >= self.config.max_steps:
            remedy = f"Raise max_steps (now {self.config.max_steps:,})"
            if len(self.batches) < self.WINDOW or self.still_falling():
                return Status(False, f"Not converged after {steps}: the loss has not settled. {remedy}.")
            what = (
                "no smaller step size has confirmed the answer yet"
                if self.is_precise(answer)
                else "the answer is still noisy"
            )
            wanted = f"asked for: {self.config.tolerance:g} nats and {self.config.precision:g} sd"
            return Status(
                False,
                f"Not converged after {steps}: the loss no longer falls, but {what}.{in_words(answer)} ({wanted}) "
                f"{remedy} or the objective's num_draws.",
            )
        return Status(
            False,
            f"Not converged after {steps}: the smallest step size still moved the answer by {self.moved or 0:.1g} "
            f"nats. Raise the objective's num_draws, or lower smallest_step_size "
            f"(now {self.config.smallest_step_size:g}).",
        )


def flat(tree: Any) -> np.ndarray:
    """Return the numbers of a pytree as one vector."""
    return np.concatenate([np.empty(0), *(np.ravel(leaf) for leaf in jax.tree.leaves(tree))])


def in_words(answer: Answer | None) -> str:
    """Say how large the Monte-Carlo errors of the answer are; "" if they are not known."""
    if answer is None:
        return ""
    return f" Monte-Carlo error of the answer: {answer.nats:.1g} nats, means and sds to {answer.sds:.1g} posterior sd."


def squared_error(batches: np.ndarray, length: float = np.inf) -> np.ndarray:
    """Return the squared standard error of the mean over the first axis, by batch means of correlated iterates.

    Their correlation is taken to fall exponentially, and what batches in a row have in common, which their scatter does
    not show, is added. The larger of two estimates is returned, from the batches and from batches twice as long.

    Args:
        batches: the batch means, (n, ...).
        length: the length of a batch, in relaxation times of the iterates; inf if they are not correlated.
    """
    found = batches.var(axis=0) * hidden(length, len(batches))
    if len(batches) < 8:
        return found
    even = batches[len(batches) % 2 :]
    longer = (even[::2] + even[1::2]) / 2
    return np.maximum(found, longer.var(axis=0) * hidden(2 * length, len(longer)))


def hidden(length: float, number: int) -> float:
    """Return the variance of the mean of all batches, relative to their expected scatter around it."""
    whole = variance_of_mean(number * length)
    return whole / (variance_of_mean(length) - whole) if np.isfinite(length) else 1 / (number - 1)


def variance_of_mean(length: float) -> float:
    """Return the variance of the mean of a process over a length of time, its correlation after t being exp(-t)."""
    return 2 / length * (1 + np.expm1(-length) / length) if length > 1e-4 else 1 - length / 3


class Level(NamedTuple):
    """The mean of correlated losses, and its standard error by batch means."""

    mean: float
    error: float

    @classmethod
    def of(cls, chunks: list[np.ndarray]) -> "Level":
        """Compute the level of the losses of some chunks."""
        losses, num_batches = np.concatenate(chunks), 5 * len(chunks)
        if len(losses) % num_batches:
            batches = np.array([b.mean() for b in np.array_split(losses, num_batches)])
        else:  # the same means in one call, whose speed matters if many fits run side by side
            batches = losses.reshape(num_batches, -1).mean(axis=1)
        return cls(float(batches.mean()), float(batches.std(ddof=1) / np.sqrt(len(batches))))
