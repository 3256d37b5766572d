"""SVI: stochastic gradients of an objective, for any family.

Requires of the family: reparameterised draws. Requires of the target: a differentiable log density.

The loop is a jitted scan in chunks. Between chunks it asks whether the loss still falls at the present step size;
when it does not, the step size is cut, and when cutting it no longer lowers the loss, the fit has converged. The
answer is the average of the iterates over the last step size, which removes most of the gradient noise.

References: Chee & Toulis (2018) for the constant-step-size diagnostic; Welandawe et al. (2022), "A framework for
improving the reliability of black-box variational inference", for step sizes cut until the answer settles;
Polyak & Juditsky (1992) for averaging.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vi_kl.algorithms.algorithm import Algorithm, Fit, FitError, History, Status, ledger
from vi_kl.algorithms.start import find_start
from vi_kl.compilation import compiled, tracing
from vi_kl.families.approximation import Approximation
from vi_kl.families.family import Family
from vi_kl.families.gaussian import FullRank
from vi_kl.objectives.elbo import ELBO
from vi_kl.objectives.objective import Objective
from vi_kl.precision import in_float64
from vi_kl.target.stacked import are_alike
from vi_kl.target.target import is_small

ADAM = optax.scale_by_adam(b2=0.99)


@dataclasses.dataclass(frozen=True)
class SVI(Algorithm):
    """Stochastic variational inference.

    Attributes:
        family: the set to choose from.
        objective: the loss.
        step_size: the first Adam step size, in the units of the frame (see `vi_kl.families.frame`).
        smallest_step_size: where cutting ends.
        tolerance: nats; the fit has converged when cutting the step size lowers the loss by less.
        max_steps: gradient steps after which the fit stops, converged or not.
        chunk: steps per compiled call.
        optimizer: an optax optimiser used as it is, with its own step size; the loop then only averages and
            decides when to stop. None for Adam with step sizes cut automatically.
    """

    family: Family = dataclasses.field(default_factory=FullRank)
    objective: Objective = dataclasses.field(default_factory=ELBO)
    step_size: float = 0.05
    smallest_step_size: float = 1e-4
    tolerance: float = 1e-3
    max_steps: int = 20_000
    chunk: int = 100
    optimizer: optax.GradientTransformation | None = None

    @property
    def name(self):
        return self.family.name

    def fit(self, key, target, *, start=None, progress=None):
        return fit_svi(self, key, target, start, progress)

    def fit_many(self, key, targets, *, progress=None):
        """Targets of one structure are fitted side by side, by one program; others one after the other."""
        from vi_kl.algorithms.svi_many import fit_many_svi  # it is made of this file's parts

        targets = tuple(targets)
        if not targets or not are_alike(targets):
            return super().fit_many(key, targets, progress=progress)
        return fit_many_svi(self, key, targets, progress)


class State(NamedTuple):
    """What one step hands to the next; `broken_at` is the first step whose gradient was not finite, or -1."""

    params: Any
    optimizer: Any
    step: jax.Array
    broken_at: jax.Array


def few_numbers(key, state, target, units, step_size, family, objective, optimizer, num_steps) -> bool:
    return is_small(target, objective.density_evaluations)


@compiled(static=("family", "objective", "optimizer", "num_steps"), seldom=few_numbers)
def run_chunk(key, state: State, target, units, step_size, family, objective, optimizer, num_steps):
    """`num_steps` steps; returns the state, the losses, and the mean of the iterates."""

    def loss_in_frame(params, key):
        return objective(key, family.placed(params, units), family, target)

    def step(carry, key):
        state, mean = carry
        loss, gradient = jax.value_and_grad(loss_in_frame)(state.params, key)
        update, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, jax.tree.map(lambda u: step_size * u, update))
        finite = jnp.isfinite(loss) & jnp.all(jnp.stack([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradient)]))
        good = finite & (state.broken_at < 0)
        keep = lambda new, old: jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)  # noqa: E731
        broken_at = jnp.where(good | (state.broken_at >= 0), state.broken_at, state.step)
        state = State(keep(params, state.params), keep(optimizer_state, state.optimizer), state.step + 1, broken_at)
        mean = jax.tree.map(lambda m, p: m + p / num_steps, mean, state.params)
        return (state, mean), loss

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    (state, mean), losses = jax.lax.scan(step, (state, zeros), jax.random.split(key, num_steps))
    return state, losses, mean


@compiled(static=("optimizer",), seldom=True)
def first_state(params, optimizer) -> State:
    return State(params, optimizer.init(params), jnp.asarray(0), jnp.asarray(-1))


class Beginning(NamedTuple):
    """Parameters to start from, in the units given (None where they are in z)."""

    params: Any
    units: Any


def begin(config: SVI, key, target, books, start=None) -> Beginning:
    """The standard member in the frame of the start; or a random one, for families that take no frame."""
    config.family.require(target)
    frame_key, init_key = jax.random.split(key)
    units = None
    if config.family.takes_frame:
        units = config.family.units(find_start(target, frame_key, books, start).frame, target)
    elif start is not None:
        raise FitError(f"{config.family.name} is written over the model's own sites, and takes no start.")
    with tracing:
        init = config.family.init if units is None else config.family.standard
        return Beginning(jax.tree.map(jnp.asarray, init(init_key, target)), units)


@in_float64
def fit_svi(config: SVI, key, target, start, progress) -> Fit:
    with ledger() as books:
        init_key, key = jax.random.split(key)
        params, units = begin(config, init_key, target, books, start)
        schedule = Schedule(config)
        optimizer = config.optimizer if config.optimizer is not None else ADAM
        state = first_state(params, optimizer)
        losses, step_sizes = [], []
        while not schedule.done:
            key, chunk_key = jax.random.split(key)
            step_size = schedule.step_size
            state, chunk_losses, mean = run_chunk(
                chunk_key, state, target, units, step_size, config.family, config.objective, optimizer, config.chunk
            )
            books.gradient_evaluations += config.chunk * config.objective.density_evaluations
            refuse_nonfinite(config, target, state, units)
            losses.append(np.asarray(chunk_losses))
            step_sizes.append(np.full(config.chunk, abs(step_size)))
            schedule.record(losses[-1], jax.tree.map(np.asarray, mean))
            if progress:
                progress(schedule.steps / config.max_steps, f"loss {losses[-1].mean():.3f}")
        if progress:
            progress(1.0, "done")
        params = placed(schedule.answer(), units, config.family)
    approximation = Approximation(config.family, params, target)
    history = History(np.concatenate(losses), np.concatenate(step_sizes))
    return Fit(approximation, schedule.status(), history, books.cost(), config)


@compiled(static=("family",), seldom=True)
def placed(params, units, family):
    return family.placed(params, units)


def refuse_nonfinite(config, target, state: State, units):
    """Stop at NaN with the step, the reason, and the last good state."""
    step = int(state.broken_at)
    if step < 0:
        return
    params = placed(state.params, units, config.family)
    approximation = Approximation(config.family, params, target)
    draws, _ = config.family.sample_and_log_prob(params, target, jax.random.key(step), 16)
    reason = next(
        (
            target.density.explain(target.data, target.unravel(z))
            for z in draws
            if not np.isfinite(target.log_density(z))
        ),
        "The log density is finite at the last good q's draws: its gradient is not, or the step was too long.",
    )
    error = FitError(
        f"The loss or its gradient stopped being finite at step {step} of {config.name}. {reason} "
        f"A smaller step_size (now {config.step_size}) or a more constrained prior may help. "
        f"The last good approximation is in this error's `approximation`."
    )
    error.approximation = approximation
    raise error


class Schedule:
    """Decides, from the losses of each chunk, when to cut the step size and when to stop."""

    CUT = 0.25
    WINDOW = 4  # chunks of one step size that a judgement needs, half of them to compare with the other half
    LONGEST_WINDOW = 16

    def __init__(self, config: SVI):
        self.config = config
        # an optimiser given by the user carries its own step size and sign
        self.automatic = config.optimizer is None
        self.step_size = -config.step_size if self.automatic else 1.0
        self.steps = 0
        self.chunks: list[tuple[np.ndarray, Any]] = []  # of the present step size: losses, mean parameters
        self.previous: Level | None = None
        self.change: float | None = None
        self.done = self.converged = False

    def record(self, losses: np.ndarray, mean_params) -> None:
        self.steps += len(losses)
        self.chunks.append((losses, mean_params))
        if len(self.chunks) >= self.WINDOW and not self.still_falling() and self.is_precise():
            self.finish_step_size()
        self.done = self.done or self.steps >= self.config.max_steps

    def window(self) -> list:
        """The latest chunks of this step size: half of them, within bounds."""
        size = min(max(self.WINDOW, len(self.chunks) // 2), self.LONGEST_WINDOW)
        return self.chunks[-size:]

    def level(self) -> "Level":
        return Level.of([losses for losses, _ in self.window()])

    def still_falling(self) -> bool:
        """Whether the window's second half lies below its first by more than the noise and the tolerance."""
        losses = [chunk for chunk, _ in self.window()]
        half = len(losses) // 2
        before, after = Level.of(losses[:half]), Level.of(losses[half:])
        noise = np.hypot(before.error, after.error)
        return bool(before.mean - after.mean > max(noise, self.config.tolerance))

    def is_precise(self) -> bool:
        """Whether the level is known well enough to compare; a long window has to do."""
        return self.level().error < 2 * self.config.tolerance or len(self.chunks) >= 2 * self.LONGEST_WINDOW

    def finish_step_size(self) -> None:
        """The loss is stationary at this step size: stop if the cut before it brought nothing, else cut."""
        level = self.level()
        if not self.automatic:
            self.converged = self.done = True
            return
        if self.previous is not None:
            self.change = self.previous.mean - level.mean
            noise = np.hypot(self.previous.error, level.error)
            self.converged = bool(self.change < max(self.config.tolerance, noise))
        self.done = self.converged or abs(self.step_size) <= self.config.smallest_step_size
        if not self.done:
            self.previous = level
            self.step_size *= self.CUT
            self.chunks = []

    def answer(self):
        """The average of the iterates over the second half of the window."""
        window = self.window()
        averaged = [mean for _, mean in window[len(window) // 2 :]]
        return jax.tree.map(lambda *means: sum(means) / len(means), *averaged)

    def status(self) -> Status:
        steps = f"{self.steps:,} steps"
        if self.converged and self.change is None:
            return Status(True, f"Converged after {steps}: the loss no longer falls.")
        if self.converged:
            return Status(
                True,
                f"Converged after {steps}: the loss no longer falls, nor does it at a quarter of the step size "
                f"(change {self.change:+.1g} nats).",
            )
        if self.steps >= self.config.max_steps:
            remedy = f"Raise max_steps (now {self.config.max_steps:,})"
            return Status(False, f"Not converged after {steps}: the loss has not settled. {remedy}.")
        return Status(
            False,
            f"Not converged after {steps}: the smallest step size still lowered the loss by {self.change:.1g} "
            f"nats. Raise the objective's num_draws, or lower smallest_step_size "
            f"(now {self.config.smallest_step_size:g}).",
        )


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
