"""`compare`: fit several approximations of one target, and check each."""

import itertools
from collections.abc import Callable, Sequence
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


def compare(
    target: Target | Fit | Approximation | Callable,
    methods: Sequence[MethodLike] | MethodLike | Target = (),
    *args: Any,
    key: KeyLike | None = None,
    progress: ProgressLike = None,
    workers: int = 2,
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

    Returns:
        The Comparison. A method that cannot be fitted, or whose q has no density to check (particles), is
        listed in its `failures`; the others are kept. An error that is not vi_kl's own is a fault of a program, and
        is raised.
    """
    refuse_key_first(target, "compare")
    key = as_key(key)
    if isinstance(methods, Target):  # the two in the other order
        target, methods = methods, cast(Any, target)
    target = target_of(target, args, kwargs, caller="compare", options=("methods", "key", "progress", "workers"))
    asked: list[Any] = list(methods) if isinstance(methods, list | tuple | set | dict) else [methods]
    if not asked:
        raise ValueError("methods is empty: name at least one, for example ['mean_field', 'full_rank'].")
    algorithms = [choose_algorithm(target, method) for method in asked]
    with reporting(progress, "comparison") as report:
        results = fit_and_check(target, algorithms, key, report, workers)
    done = [result for result in results if isinstance(result, tuple)]
    failures: dict[str, str] = {}
    for i, (algorithm, result) in enumerate(zip(algorithms, results, strict=True)):
        if not isinstance(result, tuple):  # two settings of one method are two failures
            failures[f"{algorithm.name} ({i + 1})" if algorithm.name in failures else algorithm.name] = str(result)
    return Comparison(target, tuple(f for f, _ in done), tuple(c for _, c in done), failures, key_text(key))


def fit_and_check(
    target: Target, algorithms: list[Algorithm], key: PRNGKeyArray, report: Progress, workers: int
) -> list[tuple[Fit, Certificate] | ViKLError]:
    """Return, for each algorithm, its fit and certificate, or the error that ended it."""
    keys = [jax.random.fold_in(key, i) for i in range(len(algorithms))]
    numbers = itertools.count(1)

    def one(algorithm: Algorithm, key: PRNGKeyArray) -> tuple[Fit, Certificate] | ViKLError:
        result: tuple[Fit, Certificate] | ViKLError
        fit_key, check_key = jax.random.split(key)
        try:
            with numerical_failures_named():
                fit = algorithm.fit(fit_key, target)
                result = fit, check(fit, key=check_key)
        except ViKLError as error:
            result = error
        report(next(numbers) / len(algorithms), algorithm.name)
        return result

    return list(in_threads(one, algorithms, keys, workers=workers))
