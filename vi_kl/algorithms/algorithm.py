"""Algorithm: a configuration with a method that finds q; and Fit, the result of fitting.

`Algorithm.fit` is the same for all of them: it checks its arguments, counts costs, reports progress and makes the Fit.
A subclass implements `find`, which gets a key, a target and the cost counter, and returns a `Solution`.
"""

import abc
import contextlib
import dataclasses
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from vi_kl.algorithms.elsewhere import fit_elsewhere
from vi_kl.core.annotations import KeyLike, Progress, ProgressLike
from vi_kl.core.blas_threads import with_one_blas_thread
from vi_kl.core.compilation import compile_clock
from vi_kl.core.errors import FitError, ViKLError, numerical_failures_named
from vi_kl.core.precision import in_float64
from vi_kl.core.progress import reporting
from vi_kl.core.random_keys import as_key
from vi_kl.core.records import facts_in_html
from vi_kl.core.suggestions import NamesItsSettings, names_its_arguments
from vi_kl.draws.answers import Answers
from vi_kl.draws.resampling import Resampled, resample
from vi_kl.draws.target_draws import TargetDraws
from vi_kl.families.approximation import Approximation
from vi_kl.families.family import Family
from vi_kl.objectives.objective import Objective
from vi_kl.targets.arguments import in_words, require_learned, require_target
from vi_kl.targets.sites import sites_in_words
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
    """The end of a fit, as a sentence that says what to do.

    Attributes:
        converged: whether the fit reached its tolerance.
        message: the sentence.
    """

    converged: bool
    message: str

    def __str__(self):
        return self.message


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a fit, counted in the same way for every algorithm.

    Attributes:
        gradient_evaluations: the number of gradients of the target's log density.
        density_evaluations: the number of evaluations of the log density without its gradient.
        compile_seconds: the seconds of tracing and compiling, for this fit alone.
        run_seconds: all other seconds.
        peak_memory: the most bytes in use on the device at once, from the start of the process to the end of the fit:
            an upper bound for the fit's own. None unless the device counts them, as GPUs and TPUs do.
    """

    gradient_evaluations: int
    density_evaluations: int = 0
    compile_seconds: float = 0.0
    run_seconds: float = 0.0
    peak_memory: int | None = None

    @property
    def seconds(self) -> float:
        """The seconds of compiling and running together."""
        return self.compile_seconds + self.run_seconds

    def __str__(self):
        return (
            f"{self.gradient_evaluations:,} gradients and {self.density_evaluations:,} densities, in "
            f"{self.seconds:.1f} s, {self.compile_seconds:.1f} s of which compiling"
        )


@dataclasses.dataclass(frozen=True)
class History:
    """The losses and step sizes of a fit, step by step; both are empty for algorithms without steps."""

    loss: Float[np.ndarray, " num_steps"] = dataclasses.field(default_factory=lambda: np.empty(0))
    step_size: Float[np.ndarray, " num_steps"] = dataclasses.field(default_factory=lambda: np.empty(0))


class Waypoint(NamedTuple):
    """A q on the way of a fit.

    Attributes:
        step: the number of steps that led there.
        approximation: the q.
    """

    step: int
    approximation: Approximation


@dataclasses.dataclass(frozen=True)
class Solution:
    """The result of a search: a Fit without its cost.

    Attributes:
        approximation: the approximation q.
        status: whether it converged, and if not what to try.
        history: the losses on the way, if there are any.
        path: q's on the way, if the algorithm was asked to keep them.
    """

    approximation: Approximation
    status: Status
    history: History = dataclasses.field(default_factory=History)
    path: tuple[Waypoint, ...] = ()


@dataclasses.dataclass(frozen=True)
class Fit(Answers):
    """A fitted approximation, with how it was found.

    It can be asked for `summary`, `predict`, `log_likelihood` and `to_arviz` (see `vi_kl.draws.Answers`).

    Attributes:
        approximation: the approximation q.
        status: whether it converged, and if not what to try.
        history: the losses on the way.
        cost: evaluations and seconds.
        algorithm: the configuration that found it.
        path: q's on the way, the first and the last among them, if the algorithm was asked to keep them
            (`SVI(keep_path=True)`); else empty. It is not saved with the fit.
    """

    approximation: Approximation
    status: Status
    history: History
    cost: Cost
    algorithm: "Algorithm"
    path: tuple[Waypoint, ...] = ()

    def __post_init__(self):
        # NumPy arrays keep their 64 bits outside vi_kl, where JAX's would be cut to 32 by whatever is done with them
        q = self.approximation
        params = jax.tree.map(np.asarray, q.params)
        object.__setattr__(self, "approximation", type(q)(q.family, params, q.target))

    @property
    def name(self) -> str:
        """The algorithm's name."""
        return self.algorithm.name

    @property
    def target(self) -> Target:
        """The posterior that was fitted; where parameters of the model were learned, the one at their values."""
        return self.approximation.target

    @property
    def learned(self) -> dict[str, Any]:
        """The model's parameters that have no prior (`numpyro.param`), as they were learned: {parameter: value}.

        They are those of the largest evidence, or of its lower bound, the ELBO. Empty where the model has none.
        """
        return self.target.learned

    def sample(self, key: KeyLike, n: int, *, deterministic: bool = True) -> dict[str, np.ndarray]:
        """Draw n values of every site, {site: (n, ...)}; see `Approximation.sample`."""
        return self.approximation.sample(key, n, deterministic=deterministic)

    def sample_and_log_prob(self, key: KeyLike, n: int) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, " n"]]:
        """Return n draws of z, (n, dim), and log q(z), (n,)."""
        return self.approximation.sample_and_log_prob(key, n)

    def log_prob(self, z: Float[ArrayLike, "*batch dim"]) -> Float[np.ndarray, "*batch"]:
        """Return log q(z) for z of shape (dim,) or (n, dim)."""
        return self.approximation.log_prob(z)

    @names_its_arguments
    def resample(
        self,
        key: KeyLike,
        n: int,
        *,
        num_candidates: int | None = None,
        on_failure: str = "raise",
        progress: ProgressLike = None,
    ) -> Resampled:
        """Draw n values, corrected towards the posterior by importance weights; see `Approximation.resample`."""
        return resample(self, key, n, num_candidates, on_failure, progress)

    def drawn(self, key: PRNGKeyArray, n: int | None) -> TargetDraws:
        found, status = self.approximation.drawn(key, n), str(self.status)
        return dataclasses.replace(
            found,
            name=self.name,
            method=f"{found.method}, found by {type(self.algorithm).__name__}",
            notes=() if self.status.converged else (status,),
            attributes={"status": status},
        )

    def target_of_draws(self) -> Target:
        return self.target

    def __repr__(self):
        return f"Fit({self.name} of {self.target.density}: {self.status})"

    def _repr_html_(self):
        family = self.approximation.family.name
        facts = {
            "q": None if family == self.name else family,
            "sites": sites_in_words(self.target.sites),
            "learned": ", ".join(self.learned) or None,
            "status": self.status,
            "cost": self.cost,
            "next": "fit.summary(key), fit.predict(key), fit.to_arviz(key); vi_kl.check(fit, key=key) certifies it.",
        }
        return facts_in_html(f"Fit: {self.name} of {self.target.density}", facts)


@dataclasses.dataclass(frozen=True)
class Algorithm(NamesItsSettings, abc.ABC):
    """A way to find an approximation.

    To add one, subclass it in a file of its own with a `name` and `find`, and enter it in `METHODS` in registry.py.

    Attributes:
        learns: whether it learns the parameters of a model that have no prior (`numpyro.param`) along with q; the
            approximation that it finds is then one of the posterior at their learned values.
    """

    learns: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """A short name for tables and figures."""

    @abc.abstractmethod
    def find(self, key: KeyLike, target: Target, *, start: Any, progress: Progress, counter: "CostCounter") -> Solution:
        """Find the best q: the one method that `fit` requires of an algorithm.

        It runs with 64-bit types. Floating-point errors in it end the fit with a `FitError`.

        Args:
            key: a JAX random key; the same key gives the same solution.
            target: the posterior to approximate.
            start: the place to start from, or None; `vi_kl.algorithms.initialization.initialize` makes a frame of it.
            progress: a function that is called as `progress(fraction_done, sentence)` between chunks of work; `fit`
                reports the end.
            counter: the evaluations so far, to which `find` adds its own. Seconds are counted by `fit`.
        """

    @names_its_arguments
    def fit(self, key: KeyLike, target: Target, *, start: Any = None, progress: ProgressLike = None) -> Fit:
        """Find the best q.

        Args:
            key: a JAX random key, or an integer; the same key gives the same fit.
            target: the posterior to approximate.
            start: the place to start from: another Fit or Approximation, a `Frame`, or a point as z or {site: value}.
                The default is the best of the modes found by climbs from random places.
            progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
                False; by default it is shown on a terminal and in a notebook after two seconds.
        """
        return run_fit(self, key, target, start, progress)

    @names_its_arguments
    def fit_many(
        self,
        key: KeyLike,
        targets: Sequence[Target],
        *,
        progress: ProgressLike = None,
        executor: Executor | None = None,
    ) -> list[Fit | ViKLError]:
        """Fit each of several targets, such as one model's posteriors for many data sets.

        The default is to fit one after the other; nothing is compiled again for targets of one structure. `SVI` fits
        them side by side.

        Args:
            key: a JAX random key, or an integer. Target i is fitted with `jax.random.split(key, len(targets))[i]`, with
                which `fit` finds the same.
            targets: the posteriors to approximate.
            progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
                False; by default it is shown on a terminal and in a notebook after two seconds.
            executor: what computes the fits: anything with the interface of `concurrent.futures.Executor`, such as a
                pool of spawned processes or Dask's `client.get_executor()`. Each fit is one task there, and finds the
                same (where SVI would have fitted side by side: but for rounding).

        Returns:
            A list with the Fit of each target, or the error of vi_kl's own (such as FitError) that ended it; a failure
            does not end the other fits. If they ran side by side, the `cost` of each Fit has an even share of the
            seconds. Errors that are not vi_kl's own are faults of a program, and are raised. A fit whose worker died
            is a LostError; if a process pool broke by that, which does not say at which fit, those that were not
            finished are fitted one at a time in a process of their own first.

        Raises:
            CannotTravelError: the model or another function cannot be sent to a worker; the message names it.
            Interrupted: Ctrl-C, with an executor. What had not begun is cancelled; `finished` holds the other fits.
        """
        key = checked_key(self, key, "fit_many")
        keys = jax.random.split(key, len(targets))
        with reporting(progress, self.name) as report:
            if executor is not None:
                return fit_elsewhere(self, executor, keys, tuple(targets), report)
            return self.find_many(keys, tuple(targets), report)

    def find_many(self, keys: PRNGKeyArray, targets: tuple[Target, ...], progress: Progress) -> list["Fit | ViKLError"]:
        """Do what `fit_many` promises, with a key for each target, and arguments that have been checked."""
        results: list[Fit | ViKLError] = []
        for one_key, target in zip(keys, targets, strict=True):
            try:
                results.append(self.fit(one_key, target))
            except ViKLError as error:
                results.append(error)
            progress(len(results) / len(targets), f"{len(results)} of {len(targets)} fits done")
        return results

    def captured(self, target: Target) -> "Algorithm":
        """Return the configuration for the Fit, with everything that it reads from elsewhere fixed as it is now."""
        return self


def run_fit(algorithm: Algorithm, key, target, start, progress: ProgressLike, **options) -> Fit:
    """Make a Fit: check the arguments, run the search, and count its cost.

    Args:
        algorithm, key, target, start, progress: the arguments of `Algorithm.fit`.
        **options: further arguments of the algorithm's own `find`.
    """
    key = checked_key(algorithm, key, "fit", target)
    target = require_target(target, f"{type(algorithm).__name__}.fit")
    with reporting(progress, algorithm.name) as report:
        return find_and_count(algorithm, key, target, start, report, options)


@with_one_blas_thread
@in_float64
def find_and_count(algorithm: Algorithm, key, target: Target, start, progress: Progress, options: dict) -> Fit:
    """Run the search in float64, and return its solution with its cost as a Fit."""
    if not algorithm.learns:
        require_learned(target, f"'{algorithm.name}'", FitError)
    with counting_costs() as counter:
        algorithm = algorithm.captured(target)
        found = algorithm.find(key, target, start=start, progress=progress, counter=counter, **options)
        progress(1.0, "done")
    return Fit(found.approximation, found.status, found.history, counter.cost(), algorithm, found.path)


def checked_key(algorithm: Algorithm, key, method: str, target=None):
    """Return the key; refuse a target in its place, and an algorithm whose family or objective is not one."""
    if isinstance(key, Target):
        raise TypeError(f"{type(algorithm).__name__}.{method} takes the key first: {method}(key, target).")
    refuse_parts(algorithm)
    return as_key(key)


def refuse_parts(algorithm: Algorithm) -> None:
    """Raise an error for a name or a class where a family or an objective is wanted."""
    for field, kind, example in (("family", Family, "MeanField()"), ("objective", Objective, "ELBO()")):
        part = getattr(algorithm, field, None)
        if part is not None and not isinstance(part, kind):
            given = f"the class {part.__name__}: write {part.__name__}()" if isinstance(part, type) else in_words(part)
            raise TypeError(
                f"{type(algorithm).__name__}'s {field} must be a {kind.__name__}, such as {example}, not {given}."
            )


@dataclasses.dataclass
class CostCounter:
    """A counter of evaluations and seconds, for a fit in progress."""

    gradient_evaluations: int = 0
    density_evaluations: int = 0
    compile_seconds: float = 0.0
    wall_seconds: float = 0.0

    def add(self, cost: Cost) -> None:
        """Add the evaluations of a fit that is part of this one; its seconds are counted already."""
        self.gradient_evaluations += cost.gradient_evaluations
        self.density_evaluations += cost.density_evaluations

    def cost(self) -> Cost:
        """Return what has been counted, with the memory in use."""
        run = max(0.0, self.wall_seconds - self.compile_seconds)
        return Cost(self.gradient_evaluations, self.density_evaluations, self.compile_seconds, run, peak_memory())


def peak_memory() -> int | None:
    """Return the most bytes that were in use on the default device; None if it does not count them."""
    counts = jax.local_devices()[0].memory_stats() or {}
    return counts.get("peak_bytes_in_use")


@contextlib.contextmanager
def counting_costs():
    """Count the seconds of a fit and of its compilations, in a with block whose target is the counter.

        with counting_costs() as counter:
            ...

    Floating-point errors inside the block end the fit with a `FitError`.
    """
    counter = CostCounter()
    start = time.perf_counter()
    with compile_clock() as clock, numerical_failures_named():
        yield counter
    counter.wall_seconds = time.perf_counter() - start
    counter.compile_seconds = clock.seconds
