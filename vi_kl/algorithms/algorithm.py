"""Algorithm: configuration in its fields, one method `fit`; and Fit, what it returns."""

import abc
import contextlib
import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike, Float

from vi_kl.core.annotations import KeyLike, Progress
from vi_kl.core.compilation import compile_clock
from vi_kl.core.errors import FitError, ViKLError, numerical_failures_named
from vi_kl.core.random_keys import as_key
from vi_kl.families.approximation import Approximation
from vi_kl.families.family import Family
from vi_kl.objectives.objective import Objective
from vi_kl.targets.arguments import in_words, the_target
from vi_kl.targets.target import Target

__all__ = ["Algorithm", "Cost", "CostCounter", "Fit", "FitError", "History", "Status", "counting_costs"]


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
        gradient_evaluations: of the target's log density.
        density_evaluations: of the log density without its gradient.
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
    """A way to find an approximation. To add one, subclass it in a file of its own and name it in choose.py."""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name in ("fit", "fit_many"):
            if name in vars(cls):
                setattr(cls, name, with_a_key(vars(cls)[name]))

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """A short name for tables and figures."""

    @abc.abstractmethod
    def fit(self, key: KeyLike, target: Target, *, start: Any = None, progress: Progress | None = None) -> Fit:
        """Find the best q.

        Args:
            key: a JAX random key; the same key gives the same fit.
            target: what to approximate.
            start: where to begin: another Fit or Approximation, a `Frame`, or a point as z or {site: value}. By
                default at the best of the modes that climbs from random places reach.
            progress: called as `progress(fraction_done, sentence)` between chunks of work.
        """

    def fit_many(
        self, key: KeyLike, targets: Sequence[Target], *, progress: Progress | None = None
    ) -> list[Fit | ViKLError]:
        """Fit each of several targets, such as one model's posteriors for many data sets.

        By default one after the other; nothing is compiled again for targets of one structure. `SVI` fits them
        side by side.

        Args:
            key: a JAX random key. Target i is fitted with `jax.random.split(key, len(targets))[i]`, with which
                `fit` finds the same.
            targets: what to approximate.
            progress: called as `progress(fraction_done, sentence)`.

        Returns:
            For each target its Fit, or the error of vi_kl's own (such as FitError) that ended it: one that fails does
            not take the others with it. Where they ran side by side, each Fit's `cost` has an even share of the
            seconds. Errors that are not vi_kl's own are faults of a program, and are raised.
        """
        key, targets = as_key(key), tuple(targets)
        results: list[Fit | ViKLError] = []
        for one_key, target in zip(jax.random.split(key, len(targets)), targets, strict=True):
            try:
                results.append(self.fit(one_key, target))
            except ViKLError as error:
                results.append(error)
            if progress:
                progress(len(results) / len(targets), f"{len(results)} of {len(targets)} fits done")
        return results


def with_a_key(method):
    """`fit(key, target, ...)`, called with whatever stands for a key."""

    @functools.wraps(method)
    def checked(self, key, target, *args, **kwargs):
        name = f"{type(self).__name__}.{method.__name__}"
        if isinstance(key, Target):
            raise TypeError(f"{name} takes the key first: {method.__name__}(key, target).")
        if method.__name__ == "fit":
            target = the_target(target, name)
        refuse_parts(self)
        return method(self, as_key(key), target, *args, **kwargs)

    return checked


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
