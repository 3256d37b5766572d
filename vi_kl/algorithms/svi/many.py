"""Many SVI fits side by side: of many targets of one structure, or restarts for one target.

Each fit has its own random numbers, step sizes and end, and gives the answer that it would give if fitted alone. They
run side by side in a fixed number of lanes; as soon as one has ended, the next takes its lane. So few lanes idle,
memory does not grow with the number of targets, and one program is compiled for any number.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from vi_kl.algorithms.algorithm import Cost, CostCounter, Fit, FitError, Solution, Status, counting_costs
from vi_kl.algorithms.svi.anchoring import takes_anchor
from vi_kl.algorithms.svi.run import Run, optimizer_of
from vi_kl.algorithms.svi.step import loss_at, run_chunks
from vi_kl.core.blas_threads import with_one_blas_thread
from vi_kl.core.compilation import compiled
from vi_kl.core.errors import ViKLError, numerical_failures_named
from vi_kl.core.precision import in_float64
from vi_kl.core.pytrees import to_numpy
from vi_kl.targets.anchored import Anchor, with_anchor
from vi_kl.targets.batching import Layout
from vi_kl.targets.target import Target

LANES = 64  # the most fits side by side: more gain little on a CPU
COMPARISON_KEYS = 64  # evaluations of the loss by which restarts are compared
HUGE = 1e300  # the number that stands for a loss that is not finite


class LaneRun(Run):
    """A run that shares its steps with others: its state waits in NumPy arrays, its key as data."""

    def __init__(self, config, index: int, key, target: Target, start=None):
        super().__init__(config, key, target, CostCounter())
        self.index = index
        self.begin(start)
        self.key = np.asarray(jax.random.key_data(self.key))
        self.state, self.units = to_numpy(self.state), to_numpy(self.units)

    def as_kept(self, tree):
        return to_numpy(tree)

    def record(self, chunk) -> None:
        try:
            super().record(chunk)
        except FitError as error:
            self.error = error

    def end(self, share: Cost) -> "Fit | FitError":
        """Return the Fit of a run that has ended, or its error; `share` is its share of the seconds."""
        if self.error is not None:
            return self.error
        found, evaluations = self.solution(), self.counter.gradient_evaluations
        cost = dataclasses.replace(share, gradient_evaluations=evaluations)
        return Fit(found.approximation, found.status, found.history, cost, self.config, found.path)


@with_one_blas_thread
@in_float64
def fit_side_by_side(config, keys, targets: Sequence[Target], progress) -> list:
    """Return one Fit per target, or the error that ended it; see `Algorithm.fit_many`."""
    config = config.captured(targets[0])
    starts = [lambda i=i: LaneRun(config, i, keys[i], targets[i]) for i in range(len(targets))]
    with counting_costs() as counter:
        ended = run_side_by_side(config, keys, targets, starts, progress)
    costs = counter.cost()
    seconds = costs.compile_seconds / len(targets), costs.run_seconds / len(targets)
    share = Cost(0, 0, *seconds, costs.peak_memory)
    return [run.end(share) if isinstance(run, Run) else run for run in ended]


def run_side_by_side(config, keys, targets, starts: Sequence[Callable], progress) -> list:
    """Return each run that `starts` begin, when it has ended; or the error that kept it from beginning."""
    ended: list[LaneRun | Exception | None] = [None] * len(starts)
    waiting = start_each(starts, ended)
    lanes = Lanes(config, jax.random.key_impl(keys), layout_of(config, targets), min(LANES, len(starts)))
    while lanes.fill(waiting):
        for run in lanes.step():
            ended[run.index] = run
        done = sum(run is not None for run in ended)
        progress(done / len(ended), f"{done} of {len(ended)} fits done")
    return ended


def layout_of(config, targets) -> Layout:
    """Return the layout of the targets as the steps see them; each has an anchor of its own, where they have one."""
    if takes_anchor(config, targets[0]):
        targets = [with_anchor(target, Anchor.nowhere(target.dim)) for target in targets]
    return Layout.of(targets)


def start_each(starts: Sequence[Callable], ended: list) -> Iterator[LaneRun]:
    """Yield runs in their order; the error of one that cannot start goes to its place in `ended`."""
    for index, start in enumerate(starts):
        try:
            with numerical_failures_named():
                run = start()
        except ViKLError as error:
            ended[index] = error
        else:
            yield run


class Lanes:
    """A set of runs side by side, in which one call of a compiled program does one chunk of each."""

    def __init__(self, config, impl, layout: Layout, width: int):
        self.config, self.impl, self.layout, self.width = config, impl, layout, width
        self.runs: list[LaneRun] = []
        self.seen: list[Target] = []  # the targets as the lanes' steps see them, and their leaves stacked
        self.targets: list = []

    def fill(self, waiting: Iterator[LaneRun]) -> bool:
        """Let waiting runs in as far as there is room; return whether there is any run at all."""
        while len(self.runs) < self.width and (run := next(waiting, None)) is not None:
            self.runs.append(run)
        return bool(self.runs)

    def step(self) -> list[LaneRun]:
        """Do one chunk of every run, and return the runs that ended."""
        # lanes without a run repeat the first: the program keeps its shape
        lanes = self.runs + self.runs[:1] * (self.width - len(self.runs))
        seen = [run.anchoring.target for run in lanes]
        if len(seen) != len(self.seen) or any(a is not b for a, b in zip(seen, self.seen, strict=True)):
            self.seen, self.targets = seen, self.layout.stack(seen)
        step_sizes = np.stack([np.float64(run.schedule.step_size) for run in lanes])
        keys, states, units = (stack_trees([getattr(run, name) for run in lanes]) for name in ("key", "state", "units"))
        config = self.config
        chunks = run_chunks(
            keys, states, self.targets, units, step_sizes, self.impl, self.layout,
            config.family, config.objective, optimizer_of(config), config.chunk,
        )  # fmt: skip
        chunks = to_numpy(chunks)
        for lane, run in enumerate(self.runs):
            run.record(jax.tree.map(lambda leaf: leaf[lane], chunks))  # noqa: B023
        return self.leave()

    def leave(self) -> list[LaneRun]:
        """Take the runs that ended out of their lanes, and return them."""
        ended = [run for run in self.runs if run.done]
        if ended:
            self.runs = [run for run in self.runs if not run.done]
        return ended


def stack_trees(trees: list):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


# Restarts --------------------------------------------------------------------------------------------------------


def best_of_restarts(config, key, target: Target, start, progress, counter: CostCounter) -> Solution:
    """Return the best of `config.num_restarts` fits, with a status that says how many agree with it.

    Raises:
        ViKLError: The first restart's error, if none came to an end.
    """
    number = config.num_restarts
    keys = jax.random.split(key, number + 1)

    def begin(index):
        place = start
        if index and config.family.takes_frame:
            place = target.initial_position(jax.random.fold_in(keys[index], 1))
        return LaneRun(config, index, keys[index], target, place)

    starts = [lambda i=i: begin(i) for i in range(number)]
    ended = run_side_by_side(config, keys, [target] * number, starts, progress)
    runs = [run for run in ended if isinstance(run, Run) and run.error is None]
    if not runs:
        raise next(run if isinstance(run, Exception) else run.error for run in ended)
    losses = finite_losses(compare(config, runs, keys[number], counter))
    best = int(np.argmin(losses.mean(axis=1)))
    counter.gradient_evaluations += sum(run.counter.gradient_evaluations for run in ended if isinstance(run, Run))
    found = runs[best].solution()
    return dataclasses.replace(found, status=agreement(found.status, losses, best, number, config.tolerance))


def compare(config, runs: list[LaneRun], key, counter: CostCounter) -> np.ndarray:
    """Return the loss of each run's answer at the same random numbers, (runs, keys)."""
    answers = stack_trees([to_numpy(run.schedule.answer()) for run in runs])
    units = stack_trees([run.units for run in runs])
    counter.density_evaluations += len(runs) * COMPARISON_KEYS * config.objective.density_evaluations
    return np.asarray(losses_of(answers, units, key, runs[0].target, config.family, config.objective))


def finite_losses(losses: np.ndarray) -> np.ndarray:
    """Return the losses at the random numbers for which every run's loss is finite.

    If there are fewer than two of these, return all losses, with a huge number in place of those that are not finite.
    """
    usable = np.isfinite(losses).all(axis=0)
    return losses[:, usable] if usable.sum() >= 2 else np.where(np.isfinite(losses), losses, HUGE)


@compiled(static=("family", "objective"), unoptimized=True)
def losses_of(answers, units, key, target, family, objective):
    """Return the loss of each answer at several keys, (answers, keys)."""
    keys = jax.random.split(key, COMPARISON_KEYS)

    def one(params, units):
        return jax.lax.map(lambda key: loss_at(key, params, units, target, family, objective), keys)

    return jax.vmap(one)(answers, units)


def agreement(status: Status, losses: np.ndarray, best: int, number: int, tolerance: float) -> Status:
    """Return the best run's status, with how many reached its loss to within the tolerance and the noise."""
    above = losses - losses[best]
    noise = 2 * above.std(axis=1, ddof=1) / np.sqrt(above.shape[1])
    agree = int((above.mean(axis=1) <= tolerance + noise).sum())
    words = f"{agree} of {number} restarts agree on it"
    if len(losses) < number:
        words += f", {number - len(losses)} failed"
    if agree < len(losses):
        words += f"; the others ended up to {above.mean(axis=1).max():.3g} nats higher"
    if agree == 1:
        words += ". Only one found it, so there may be better: raise num_restarts"
    return Status(status.converged, f"{status.message} {words}.")
