"""`compare`: fit several approximations of one target, and check each."""

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
from jaxtyping import PRNGKeyArray

from vi_kl.algorithms.algorithm import Algorithm, Fit
from vi_kl.algorithms.arguments import refuse_key_first, target_of
from vi_kl.algorithms.fitting import choose_algorithm
from vi_kl.algorithms.method import MethodLike
from vi_kl.core.annotations import KeyLike, Progress, ProgressLike
from vi_kl.core.compilation import in_threads
from vi_kl.core.errors import ViKLError, numerical_failures_named
from vi_kl.core.progress import reporting
from vi_kl.core.random_keys import as_key, key_text
from vi_kl.diagnostics.certificate import Certificate, check
from vi_kl.families.approximation import Approximation
from vi_kl.targets.target import Target
from vi_kl.workflows.comparison import Comparison

__all__ = ["Comparison", "compare"]


OPTIONS = ("methods", "key", "progress", "workers", "finished")
Result = tuple[Fit, Certificate] | ViKLError


def compare(
    target: Target | Fit | Approximation | Callable,
    methods: Sequence[MethodLike] | MethodLike | Target = (),
    *args: Any,
    key: KeyLike | None = None,
    progress: ProgressLike = None,
    workers: int = 2,
    finished: Callable[[Comparison], None] | None = None,
    **kwargs: Any,
) -> Comparison:
    """Fit each method to the target and check it.

    Args:
        target: the posterior; or a model, whose arguments follow: `compare(model, ["laplace", "flow"], x, y=y, key=0)`.
        methods: names, families, algorithms or NumPyro guides, as `fit` takes them; or one alone.
        *args: what the model is called with, where `target` is one.
        **kwargs: what the model is called with by name.
        key: a JAX random key, or an integer; each method gets its own by its place.
        progress: a function that is called as `progress(fraction_done, name)` as each approximation is finished, True
            to show progress, or False; by default it is shown on a terminal and in a notebook after two seconds.
        workers: threads; compiling, which takes most of the time, runs in parallel.
        finished: a function that is called with the comparison so far as each approximation is finished, so that it
            can be kept whatever happens to the others; never by two threads at once.

    Returns:
        The Comparison. A method that cannot be fitted, or whose q has no density to check (particles), is
        listed in its `failures`; the others are kept. An error that is not vi_kl's own is a fault of a program, and
        is raised.
    """
    refuse_key_first(target, "compare")
    key = as_key(key)
    if isinstance(methods, Target):  # the two in the other order
        target, methods = methods, cast(Any, target)
    target = target_of(target, args, kwargs, caller="compare", options=OPTIONS)
    asked: list[Any] = list(methods) if isinstance(methods, list | tuple | set | dict) else [methods]
    if not asked:
        raise ValueError("methods is empty: name at least one, for example ['mean_field', 'full_rank'].")
    algorithms = [choose_algorithm(target, method) for method in asked]
    results: dict[int, Result] = {}
    lock = threading.Lock()

    def keep(place: int, result: Result) -> None:
        with lock:
            results[place] = result
            if finished is not None:
                finished(comparison_of(target, algorithms, results, key))

    with reporting(progress, "comparison") as report:
        fit_and_check(target, algorithms, key, report, workers, keep)
    return comparison_of(target, algorithms, results, key)


def comparison_of(
    target: Target, algorithms: Sequence[Algorithm], results: Mapping[int, Result], key: PRNGKeyArray
) -> Comparison:
    """Return the comparison of those that are done, {place: result}, in the order asked for."""
    done: list[tuple[Fit, Certificate]] = []
    failures: dict[str, str] = {}
    for place, algorithm in enumerate(algorithms):
        result = results.get(place)
        if isinstance(result, tuple):
            done.append(result)
        elif result is not None:  # two settings of one method are two failures
            failures[f"{algorithm.name} ({place + 1})" if algorithm.name in failures else algorithm.name] = str(result)
    return Comparison(target, tuple(f for f, _ in done), tuple(c for _, c in done), failures, key_text(key))


def fit_and_check(
    target: Target,
    algorithms: list[Algorithm],
    key: PRNGKeyArray,
    report: Progress,
    workers: int,
    keep: Callable[[int, Result], None],
) -> None:
    """Fit and check with each algorithm, and hand on each fit and certificate, or the error that ended it."""
    keys = [jax.random.fold_in(key, i) for i in range(len(algorithms))]
    numbers = itertools.count(1)

    def one(place: int, algorithm: Algorithm, key: PRNGKeyArray) -> None:
        fit_key, check_key = jax.random.split(key)
        try:
            with numerical_failures_named():
                fit = algorithm.fit(fit_key, target)
                result: Result = (fit, check(fit, key=check_key))
        except ViKLError as error:
            result = error
        keep(place, result)
        report(next(numbers) / len(algorithms), algorithm.name)

    list(in_threads(one, range(len(algorithms)), algorithms, keys, workers=workers))
