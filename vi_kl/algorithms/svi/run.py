"""Run: one SVI fit in progress. `SVI.fit` advances one alone, `fit_many` and restarts many side by side."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.algorithms.algorithm import CostCounter, FitError, History, Solution, Status, Waypoint
from vi_kl.algorithms.initialization import initialize
from vi_kl.algorithms.svi.anchoring import Anchoring
from vi_kl.algorithms.svi.cosine import CosineSchedule
from vi_kl.algorithms.svi.learning import Learning
from vi_kl.algorithms.svi.reading import Reading, require_linear
from vi_kl.algorithms.svi.schedule import Schedule
from vi_kl.algorithms.svi.step import Chunk, Optimizer, Params, adam, placed, run_and_measure, run_chunk
from vi_kl.core.kept_programs import tracing
from vi_kl.core.pytrees import to_numpy
from vi_kl.families.approximation import Approximation
from vi_kl.families.frame import Frame
from vi_kl.families.guide import Guide
from vi_kl.targets.target import Target, value_and_grad_batch

LUCK = 2  # consecutive setbacks that may be chance; more of them mean that the step size is too large
MOST_IN_A_ROW = 10  # consecutive setbacks, above which the fit fails
FEW_SETBACKS = 20  # setbacks in all; up to this number their share does not count
MOST_SETBACKS = 0.3  # the share of setbacks among all chunks, above which the fit ends


class Beginning(NamedTuple):
    """The parameters to start from.

    Attributes:
        params: the parameters.
        units: the units in which they are written; None if they are written in z.
        frame: the frame, if its scales are reliable, else None.
    """

    params: Any
    units: Any
    frame: Frame | None


def begin(config, key, target, counter, start=None) -> Beginning:
    """Return the standard member in the frame of the start; or a random one, for families that take no frame."""
    config.family.require(target)
    require_linear(config, target)
    config.objective.require(config.family, target)
    frame_key, init_key = jax.random.split(key)
    units = frame = None
    if config.family.takes_frame:
        found = initialize(target, frame_key, counter, start)
        units = config.family.units(found.frame, target)
        # at a point that is no mode, its scales are guesses
        frame = found.frame if found.mode is None or found.mode.is_proper else None
    elif start is not None:
        raise FitError(f"{config.family.name} is written over the model's own sites, and takes no start.")
    with tracing:
        init = config.family.init if units is None else config.family.standard
        return Beginning(jax.tree.map(jnp.asarray, init(init_key, target)), units, frame)


def with_guide_fixed(config, target: Target):
    """Return the configuration with its guide, if any, as it is now: what a guide reads may be replaced later."""
    if not isinstance(config.family, Guide):
        return config
    config.family.require(target)
    return dataclasses.replace(config, family=config.family.captured(target))


class Run:
    """A fit in progress.

    Attributes:
        key: the random key of the chunk to come; `impl` is its kind.
        state: the parameters and the optimiser's memory.
        units: the units of the parameters, `Params` too; see `Family.units`.
        schedule: the schedule of step sizes.
        setbacks: the number of consecutive chunks with a value that is not finite; `setbacks_in_all` counts all of
            them.
        losses, step_sizes: the arrays of each chunk so far.
        path: the q's at the start and after each chunk, if they are to be kept.
        counter: the counter of the costs.
        error: the error that ended the fit, or None.
    """

    def __init__(self, config, key, target: Target, counter: CostCounter):
        self.config, self.key, self.target, self.counter = config, key, target, counter
        self.impl = jax.random.key_impl(key)
        self.state: Any = None
        self.units = Params(None)
        self.schedule = CosineSchedule(config) if config.decay == "cosine" else Schedule(config)
        self.setbacks = self.setbacks_in_all = 0
        self.losses: list[np.ndarray] = []
        self.step_sizes: list[np.ndarray] = []
        self.path: list[Waypoint] = []
        self.error: FitError | None = None
        self.learning = Learning(self)
        self.anchoring = Anchoring(self)
        self.reading = Reading(self)

    def begin(self, start=None) -> "Run":
        """Find the parameters to start from."""
        init_key, self.key = jax.random.split(self.key)
        params, units, self.schedule.frame = begin(self.config, init_key, self.target, self.counter, start)
        self.learning.begin(params, units)
        self.anchoring.begin(init_key)
        self.reading.begin(init_key)
        self.note_place()
        return self

    def note_place(self) -> None:
        """Keep the q of the parameters as they are now, in the units of now, if the path is to be kept."""
        if self.config.keep_path:
            self.path.append(Waypoint(self.schedule.steps, self.approximation_at(self.state.params)))

    @property
    def optimizer(self):
        """The optimiser."""
        return optimizer_of(self.config)

    def as_kept(self, tree: Any) -> Any:
        """Return arrays in the form in which the run keeps them between chunks."""
        return tree

    def advance(self) -> None:
        """Do one chunk of steps."""
        config = self.config
        self.reading.read()
        chunk = run_and_measure(
            self.key, self.state, self.anchoring.target, self.units, self.schedule.step_size,
            config.family, config.objective, optimizer_of(config), config.chunk, self.reading.rows,
        )  # fmt: skip
        self.record(chunk._replace(**{name: to_numpy(getattr(chunk, name)) for name in ("losses", "mean", "draws")}))

    def record(self, chunk: Chunk) -> None:
        """Record a chunk of steps; one that is not finite is discarded, and the run goes on from before it.

        Raises:
            FitError: a loss or a gradient was not finite, again and again.
        """
        if not all(np.isfinite(x).all() for x in (chunk.losses, *jax.tree.leaves(chunk.mean))):
            self.set_back(len(chunk.losses))
            return
        self.setbacks = 0
        self.key, self.state = chunk.key, chunk.state
        self.counter.gradient_evaluations += len(chunk.losses) * self.config.objective.density_evaluations
        self.losses.append(chunk.losses)
        self.step_sizes.append(np.full(len(chunk.losses), abs(self.schedule.step_size)))
        before = self.schedule.step_size
        self.schedule.record(chunk.losses, chunk.mean, chunk.draws, force_of(self))
        self.note_place()
        if not self.schedule.done:
            self.learning.look(chunk.mean, was_cut=self.schedule.step_size != before)
            self.anchoring.look(chunk.draws, self.key)

    def set_back(self, steps: int) -> None:
        """Go on from the last good state with other noise, and if that does not help with a smaller step size."""
        self.setbacks, self.setbacks_in_all = self.setbacks + 1, self.setbacks_in_all + 1
        self.counter.gradient_evaluations += steps * self.config.objective.density_evaluations
        no_answer = not self.losses and self.schedule.steps + steps >= self.config.max_steps
        unsettled = self.is_hopeless and not self.schedule.has_settled
        if no_answer or unsettled or self.setbacks > MOST_IN_A_ROW:
            refuse_nonfinite(self)
        self.schedule.set_back(steps, smaller=self.setbacks > LUCK)
        if jnp.issubdtype(self.key.dtype, jax.dtypes.prng_key):
            self.key = jax.random.fold_in(self.key, self.setbacks)
        else:  # a lane's, as data
            key = jax.random.fold_in(jax.random.wrap_key_data(self.key, impl=self.impl), self.setbacks)
            self.key = np.asarray(jax.random.key_data(key))

    @property
    def is_hopeless(self) -> bool:
        """Whether too many of all chunks were not finite."""
        chunks = self.schedule.steps / self.config.chunk
        return self.setbacks_in_all > max(FEW_SETBACKS, MOST_SETBACKS * chunks)

    @property
    def done(self) -> bool:
        """Whether the fit has ended, in whatever way."""
        return self.error is not None or self.schedule.done or self.is_hopeless

    @property
    def words(self) -> str:
        """The loss so far, for progress; at first no chunk may have been finite."""
        return f"loss {np.mean(self.losses[-1]):.3f}" if self.losses else "no finite loss yet"

    @functools.cached_property
    def approximation(self) -> Approximation:
        """The answer of a run that is done, as NumPy arrays, which keep their 64 bits outside vi_kl."""
        return self.approximation_at(self.schedule.answer())

    def approximation_at(self, params: Params) -> Approximation:
        """Return the approximation with these parameters, of the posterior at those of the model that were learned."""
        family, learned = self.config.family, to_numpy(params.learned)
        target = self.target.with_free_parameters(learned).at_learned() if self.learning.names else self.target
        return Approximation(family, to_numpy(placed(params, self.units, family)), target)

    def solution(self) -> Solution:
        """Return the answer, its status and its history."""
        history = History(np.concatenate(self.losses), np.concatenate(self.step_sizes))
        path = [*self.path, Waypoint(self.schedule.steps, self.approximation)] if self.path else []
        return Solution(self.approximation, self.status(), history, tuple(path))

    def status(self) -> Status:
        """Return the schedule's status, with a sentence about chunks that were not finite."""
        found = self.learning.status(self.schedule.status())
        if not self.setbacks_in_all:
            return found
        words = (
            f" {self.setbacks_in_all} time(s) a step met a value that is not finite, and the fit went on from before "
            f"it: some of q's draws reach to where the log density is not defined."
        )
        if self.is_hopeless and not found.converged:
            return Status(
                False, f"Not converged after {self.schedule.steps:,} steps.{words} Give the model tighter priors."
            )
        return Status(found.converged, found.message + words)


def force_of(run: Run) -> float:
    """Return the root of Adam's largest second moment; 1 for other optimisers, and for families outside a frame."""
    moments = getattr(run.state.optimizer, "nu", None)
    if moments is None or run.schedule.frame is None:
        return 1.0
    return float(np.sqrt(max(np.max(np.asarray(leaf), initial=0.0) for leaf in jax.tree.leaves(moments))))


def optimizer_of(config) -> Optimizer:
    """Return the user's optimiser, or Adam."""
    return config.optimizer if config.optimizer is not None else adam()


def refuse_nonfinite(run: Run) -> None:
    """Repeat the chunk step by step, and raise an error with the step, the reason, and the last good state."""
    config, key = run.config, run.key
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key, impl=run.impl)
    chunk_key = jax.random.split(key)[1]
    state, _, _ = run_chunk(
        chunk_key, run.state, run.anchoring.target, run.units, run.schedule.step_size,
        config.family, config.objective, optimizer_of(config), config.chunk, run.reading.rows,
    )  # fmt: skip
    step = int(state.broken_at) - int(run.state.step) + run.schedule.steps
    if state.broken_at < 0:  # each step is finite, so their sum is what overflowed
        step = run.schedule.steps
    approximation = run.approximation_at(state.params)
    step_key = jax.random.split(chunk_key, config.chunk)[step - run.schedule.steps]
    error = FitError(
        f"The loss or its gradient stopped being finite at step {step} of {config.name}. "
        f"{reason_at(approximation, step_key, config.objective.density_evaluations)} "
        f"A smaller step_size (now {config.step_size}) or a more constrained prior may help. "
        f"The last good approximation is in this error's `approximation`."
    )
    error.approximation = approximation
    raise error


def reason_at(q: Approximation, key, num_draws: int) -> str:
    """Say why the loss is not finite: the site that causes it, at the step's own draws or at more of the last q."""
    target = q.target
    for one_key, n in ((key, num_draws), (jax.random.fold_in(key, 1), 64)):
        z = np.asarray(q.family.sample_and_log_prob(q.params, target, one_key, n)[0])
        values, gradients = value_and_grad_batch(target, z)
        if not np.isfinite(values).all():
            worst = z[np.argmin(np.isfinite(values))]
            return target.density.explain(target.data, target.unravel(worst))
        if not np.isfinite(gradients).all():
            return gradient_in_words(target, z, gradients)
    return "The log density and its gradient are finite at the last good q's draws: the step was too long."


def gradient_in_words(target: Target, z: np.ndarray, gradients: np.ndarray) -> str:
    """Say along which coordinates the gradient of a finite log density is not finite."""
    bad = ~np.isfinite(gradients)
    row = int(np.argmax(bad.any(axis=1)))
    names = [name for name, is_bad in zip(target.coordinate_names, bad[row], strict=True) if is_bad]
    at = ", ".join(f"{name} = {value:.3g}" for name, value in zip(target.coordinate_names, z[row], strict=True))
    return (
        f"The log density is finite there, but its gradient is not, along {', '.join(map(repr, names[:3]))}"
        f"{' and others' if len(names) > 3 else ''} (at unconstrained {at if target.dim <= 5 else 'values of q'}). "
        "A jnp.where that hides an infinite branch, or the square root or norm of zero, gives such gradients."
    )
