"""SVI for many targets at once: the loop of svi.py, vectorised over targets of one structure.

Each fit has its own random numbers, its own step sizes and its own end, and comes out as if it had been fitted
alone. They run side by side in a fixed number of lanes; as soon as one has ended, the next takes its lane. So few
lanes idle, memory does not grow with the number of targets, and there is one program to compile for any number.
"""

from collections.abc import Iterator, Sequence

import jax
import numpy as np

from vi_kl.algorithms.algorithm import Cost, Fit, FitError, History, Ledger, ledger
from vi_kl.algorithms.svi import ADAM, SVI, Schedule, State, begin, first_state, placed, refuse_nonfinite, run_chunk
from vi_kl.compilation import compiled
from vi_kl.families.approximation import Approximation
from vi_kl.precision import in_float64
from vi_kl.target.stacked import Layout
from vi_kl.target.target import Target

LANES = 64  # fits side by side: more gain little on a CPU


def few_fits(keys, *args) -> bool:
    """Whether there are so few that a slow program costs less than compiling a fast one."""
    return len(keys) < 16


@compiled(static=("impl", "layout", "family", "objective", "optimizer", "num_steps"), seldom=few_fits)
def run_chunks(keys, states: State, leaves, units, step_sizes, impl, layout, family, objective, optimizer, num_steps):
    """`run_chunk` for each lane, with the keys for the chunk after."""

    def one(key, state, leaves, units, step_size):
        key, chunk_key = jax.random.split(jax.random.wrap_key_data(key, impl=impl))
        target = layout.tree(leaves)
        results = run_chunk(chunk_key, state, target, units, step_size, family, objective, optimizer, num_steps)
        return jax.random.key_data(key), *results

    return jax.vmap(one, in_axes=(0, 0, layout.axes, 0, 0))(keys, states, leaves, units, step_sizes)


class Run:
    """One fit under way: what `fit_svi` keeps in its variables."""

    def __init__(self, config: SVI, index: int, key, target: Target):
        self.config, self.index, self.target = config, index, target
        init_key, key = jax.random.split(key)
        self.books = Ledger()
        params, units = begin(config, init_key, target, self.books)
        self.units = jax.tree.map(np.asarray, units)
        self.key = np.asarray(jax.random.key_data(key))
        self.state = jax.tree.map(np.asarray, first_state(params, optimizer_of(config)))
        self.schedule = Schedule(config)
        self.losses: list[np.ndarray] = []
        self.step_sizes: list[np.ndarray] = []
        self.error: FitError | None = None

    def record(self, key, state, losses, mean) -> None:
        self.key, self.state = key, state
        self.losses.append(losses)
        self.step_sizes.append(np.full(len(losses), abs(self.schedule.step_size)))
        try:
            refuse_nonfinite(self.config, self.target, state, self.units)
        except FitError as error:
            self.error = error
            return
        self.schedule.record(losses, mean)

    @property
    def done(self) -> bool:
        return self.error is not None or self.schedule.done

    def result(self, compile_seconds: float, run_seconds: float) -> "Fit | FitError":
        if self.error is not None:
            return self.error
        params = placed(self.schedule.answer(), self.units, self.config.family)
        approximation = Approximation(self.config.family, params, self.target)
        history = History(np.concatenate(self.losses), np.concatenate(self.step_sizes))
        evaluations = self.books.gradient_evaluations
        evaluations += self.schedule.steps * self.config.objective.density_evaluations
        cost = Cost(evaluations, 0, compile_seconds, run_seconds)
        return Fit(approximation, self.schedule.status(), history, cost, self.config)


def optimizer_of(config: SVI):
    return config.optimizer if config.optimizer is not None else ADAM


@in_float64
def fit_many_svi(config: SVI, key, targets: Sequence[Target], progress) -> list:
    """One Fit per target, or the error that ended it. See `Algorithm.fit_many`."""
    ended: list[Run | Exception | None] = [None] * len(targets)
    with ledger() as books:
        waiting = start_each(config, key, targets, ended)
        lanes = Lanes(config, jax.random.key_impl(key), Layout.of(targets), min(LANES, len(targets)))
        while lanes.fill(waiting):
            for run in lanes.step():
                ended[run.index] = run
            if progress:
                done = sum(run is not None for run in ended)
                progress(done / len(targets), f"{done} of {len(targets)} fits done")
    costs = books.cost()
    share = costs.compile_seconds / len(targets), costs.run_seconds / len(targets)
    return [run.result(*share) if isinstance(run, Run) else run for run in ended]


def start_each(config, key, targets, ended) -> Iterator[Run]:
    """Runs in order of the targets; the error of one that cannot start goes to its place in `ended`."""
    for index, (one_key, target) in enumerate(zip(jax.random.split(key, len(targets)), targets, strict=True)):
        try:
            run = Run(config, index, one_key, target)
        except (ValueError, RuntimeError) as error:
            ended[index] = error
        else:
            yield run


class Lanes:
    """Runs side by side, each chunk of all of them one call of a compiled program."""

    def __init__(self, config: SVI, impl, layout: Layout, width: int):
        self.config, self.impl, self.layout, self.width = config, impl, layout, width
        self.runs: list[Run] = []
        self.targets: list | None = None  # stacked; None when the runs have changed

    def fill(self, waiting: Iterator[Run]) -> bool:
        """Let waiting runs in as far as there is room; whether there is any run at all."""
        while len(self.runs) < self.width and (run := next(waiting, None)) is not None:
            self.runs.append(run)
            self.targets = None
        return bool(self.runs)

    def step(self) -> list[Run]:
        """One chunk of every run; returns those that ended."""
        # lanes without a run repeat the first: the program keeps its shape
        lanes = self.runs + self.runs[:1] * (self.width - len(self.runs))
        if self.targets is None:
            self.targets = self.layout.stack([run.target for run in lanes])
        keys, step_sizes = (np.stack([f(run) for run in lanes]) for f in (key_of, step_size_of))
        states, units = (
            jax.tree.map(lambda *leaves: np.stack(leaves), *(getattr(run, name) for run in lanes))
            for name in ("state", "units")
        )
        config = self.config
        results = run_chunks(
            keys, states, self.targets, units, step_sizes, self.impl, self.layout,
            config.family, config.objective, optimizer_of(config), config.chunk,
        )  # fmt: skip
        results = jax.tree.map(np.asarray, results)
        for lane, run in enumerate(self.runs):
            run.record(*jax.tree.map(lambda leaf: leaf[lane], results))  # noqa: B023
        return self.leave()

    def leave(self) -> list[Run]:
        ended = [run for run in self.runs if run.done]
        if ended:
            self.runs = [run for run in self.runs if not run.done]
            self.targets = None
        return ended


def key_of(run: Run):
    return run.key


def step_size_of(run: Run):
    return np.float64(run.schedule.step_size)
