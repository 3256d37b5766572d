"""Algorithm: configuration in its fields, one method that finds q; and Fit, what fitting returns.

`Algorithm.fit` is the same for all of them: it looks at its arguments, counts what the search costs, reports progress
and makes the Fit. A subclass writes `find`, which gets a key, a target and the counter, and returns a `Solution`.
"""

import abc
import contextlib
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike, Float

from vi_kl.core.annotations import KeyLike, Progress
from vi_kl.core.compilation import compile_clock
from vi_kl.core.errors import FitError, ViKLError, numerical_failures_named
from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import as_key
from vi_kl.families.approximation import Approximation
from vi_kl.families.family import Family
from vi_kl.objectives.objective import Objective
from vi_kl.targets.arguments import in_words, the_target
from vi_kl.targets.target import Target

__all__ = [
    "Algorithm",
    "Cost",
    "CostCounter",
    "Fit",
    "FitError",
    "History",
    "Progress",
    "Solution",
    "Status",
    "counting_costs",
]


@dataclasses.dataclass(frozen=True)
class Status:
    """How a fit ended, as a sentence a person can act on."""

    converged: bool
    message: str

    def __str__(self):
        return self.message


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a fit cost, counted the same way for every algorithm.

    Attributes:
        gradient_evaluations: gradients of the target's log density.
        density_evaluations: evaluations of the log density without its gradient.
        compile_seconds: tracing and compiling, for this fit alone.
        run_seconds: everything else.
        peak_memory: bytes, where the device counts them (GPUs and TPUs), else None: the most that were in use on it
            at once, from the start of the process to the end of the fit. An upper bound for the fit's own.
    """

    gradient_evaluations: int
    density_evaluations: int = 0
    compile_seconds: float = 0.0
    run_seconds: float = 0.0
    peak_memory: int | None = None

    @property
    def seconds(self) -> float:
        return self.compile_seconds + self.run_seconds


@dataclasses.dataclass(frozen=True)
class History:
    """What was recorded on the way: the loss at each step (empty for algorithms without steps)."""

    loss: Float[np.ndarray, " num_steps"] = dataclasses.field(default_factory=lambda: np.empty(0))
    step_size: Float[np.ndarray, " num_steps"] = dataclasses.field(default_factory=lambda: np.empty(0))


@dataclasses.dataclass(frozen=True)
class Solution:
    """What a search ends with: a Fit without its price.

    Attributes:
        approximation: the q.
        status: whether it converged, and if not what to try.
        history: losses along the way, where there are any.
    """

    approximation: Approximation
    status: Status
    history: History = dataclasses.field(default_factory=History)


@dataclasses.dataclass(frozen=True)
class Fit:
    """One fitted approximation with how it was found.

    Attributes:
        approximation: the q.
        status: whether it converged, and if not what to try.
        history: losses along the way.
        cost: evaluations and seconds.
        algorithm: the configuration that made it.
    """

    approximation: Approximation
    status: Status
    history: History
    cost: Cost
    algorithm: "Algorithm"

    def __post_init__(self):
        # NumPy arrays keep their 64 bits outside vi_kl, where JAX's would be cut to 32 by whatever is done with them
        q = self.approximation
        params = jax.tree.map(np.asarray, q.params)
        object.__setattr__(self, "approximation", type(q)(q.family, params, q.target))

    @property
    def name(self) -> str:
        return self.algorithm.name

    @property
    def target(self) -> Target:
        return self.approximation.target

    def sample(self, key: KeyLike, n: int, *, deterministic: bool = True) -> dict[str, np.ndarray]:
        """n draws of every site, {site: (n, ...)}; see `Approximation.sample`."""
        return self.approximation.sample(key, n, deterministic=deterministic)

    def sample_and_log_prob(self, key: KeyLike, n: int) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, " n"]]:
        """n draws of z, (n, dim), and log q(z), (n,)."""
        return self.approximation.sample_and_log_prob(key, n)

    def log_prob(self, z: Float[ArrayLike, "*batch dim"]) -> Float[np.ndarray, "*batch"]:
        """log q(z) for z of shape (dim,) or (n, dim)."""
        return self.approximation.log_prob(z)

    def __repr__(self):
        return f"Fit({self.name} of {self.target.density}: {self.status})"


@dataclasses.dataclass(frozen=True)
class Algorithm(abc.ABC):
    """A way to find an approximation.

    To add one, subclass it in a file of its own with a `name` and `find`, and enter it in `METHODS` in registry.py.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """A short name for tables and figures."""

    @abc.abstractmethod
    def find(self, key: KeyLike, target: Target, *, start: Any, progress: Progress, counter: "CostCounter") -> Solution:
        """Find the best q: what `fit` asks of an algorithm.

        It runs with 64-bit types. Errors of floating-point arithmetic in it end the fit with a `FitError`.

        Args:
            key: a JAX random key; the same key gives the same solution.
            target: what to approximate.
            start: the place to begin at, or None; `vi_kl.algorithms.initialization.initialize` makes a frame of it.
            progress: called as `progress(fraction_done, sentence)` between chunks of work; `fit` reports the end.
            counter: the evaluations so far, to which `find` adds. Seconds are counted by `fit`.
        """

    def fit(self, key: KeyLike, target: Target, *, start: Any = None, progress: Progress | None = None) -> Fit:
        """Find the best q.

        Args:
            key: a JAX random key, or an integer; the same key gives the same fit.
            target: what to approximate.
            start: the place to begin at: another Fit or Approximation, a `Frame`, or a point as z or {site: value}. By
                default at the best of the modes that climbs from random places reach.
            progress: called as `progress(fraction_done, sentence)` between chunks of work.
        """
        return run_fit(self, key, target, start, progress)

    def fit_many(
        self, key: KeyLike, targets: Sequence[Target], *, progress: Progress | None = None
    ) -> list[Fit | ViKLError]:
        """Fit each of several targets, such as one model's posteriors for many data sets.

        By default one after the other; nothing is compiled again for targets of one structure. `SVI` fits them
        side by side.

        Args:
            key: a JAX random key, or an integer. Target i is fitted with `jax.random.split(key, len(targets))[i]`,
                with which `fit` finds the same.
            targets: what to approximate.
            progress: called as `progress(fraction_done, sentence)`.

        Returns:
            For each target its Fit, or the error of vi_kl's own (such as FitError) that ended it: one that fails does
            not take the others with it. Where they ran side by side, each Fit's `cost` has an even share of the
            seconds. Errors that are not vi_kl's own are faults of a program, and are raised.
        """
        key = key_first(self, key, "fit_many")
        return self.find_many(key, tuple(targets), progress or unheard)

    def find_many(self, key: KeyLike, targets: tuple[Target, ...], progress: Progress) -> list["Fit | ViKLError"]:
        """What `fit_many` does, with a key and targets that have been looked at."""
        results: list[Fit | ViKLError] = []
        for one_key, target in zip(jax.random.split(key, len(targets)), targets, strict=True):
            try:
                results.append(self.fit(one_key, target))
            except ViKLError as error:
                results.append(error)
            progress(len(results) / len(targets), f"{len(results)} of {len(targets)} fits done")
        return results

    def captured(self, target: Target) -> "Algorithm":
        """The configuration as the fit will carry it, with what it reads from elsewhere fixed as it is now."""
        return self


def run_fit(algorithm: Algorithm, key, target, start, progress: Progress | None, **options) -> Fit:
    """One fit, from its arguments to its price.

    Args:
        algorithm, key, target, start, progress: the arguments of `Algorithm.fit`.
        **options: further arguments of the algorithm's own `find`.
    """
    key = key_first(algorithm, key, "fit", target)
    target = the_target(target, f"{type(algorithm).__name__}.fit")
    return counted(algorithm, key, target, start, progress or unheard, options)


@in_float64
def counted(algorithm: Algorithm, key, target: Target, start, progress: Progress, options: dict) -> Fit:
    with counting_costs() as counter:
        algorithm = algorithm.captured(target)
        found = algorithm.find(key, target, start=start, progress=progress, counter=counter, **options)
        progress(1.0, "done")
    return Fit(found.approximation, found.status, found.history, counter.cost(), algorithm)


def unheard(fraction_done: float, sentence: str) -> None:
    """The progress of a fit to which nobody listens."""


def key_first(algorithm: Algorithm, key, method: str, target=None):
    """The key, of whatever stands for one; targets in its place, and parts that are none, are refused."""
    if isinstance(key, Target):
        raise TypeError(f"{type(algorithm).__name__}.{method} takes the key first: {method}(key, target).")
    refuse_parts(algorithm)
    return as_key(key)


def refuse_parts(algorithm: Algorithm) -> None:
    """A name or a class where a family or an objective is wanted."""
    for field, kind, example in (("family", Family, "MeanField()"), ("objective", Objective, "ELBO()")):
        part = getattr(algorithm, field, None)
        if part is not None and not isinstance(part, kind):
            given = f"the class {part.__name__}: write {part.__name__}()" if isinstance(part, type) else in_words(part)
            raise TypeError(
                f"{type(algorithm).__name__}'s {field} must be a {kind.__name__}, such as {example}, not {given}."
            )


@dataclasses.dataclass
class CostCounter:
    """Counts while a fit runs; `cost()` gives the result."""

    gradient_evaluations: int = 0
    density_evaluations: int = 0
    compile_seconds: float = 0.0
    wall_seconds: float = 0.0

    def add(self, cost: Cost) -> None:
        """Count the evaluations of a fit made on the way; its seconds are counted already."""
        self.gradient_evaluations += cost.gradient_evaluations
        self.density_evaluations += cost.density_evaluations

    def cost(self) -> Cost:
        run = max(0.0, self.wall_seconds - self.compile_seconds)
        return Cost(self.gradient_evaluations, self.density_evaluations, self.compile_seconds, run, peak_memory())


def peak_memory() -> int | None:
    """Of the default device; None where it does not count."""
    counts = jax.local_devices()[0].memory_stats() or {}
    return counts.get("peak_bytes_in_use")


@contextlib.contextmanager
def counting_costs():
    """Time a fit and its compilations: `with counting_costs() as counter: ...`.

    What breaks down numerically inside ends the fit with a `FitError`.
    """
    counter = CostCounter()
    start = time.perf_counter()
    with compile_clock() as clock, numerical_failures_named():
        yield counter
    counter.wall_seconds = time.perf_counter() - start
    counter.compile_seconds = clock.seconds
