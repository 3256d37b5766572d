"""`compare`: fit several approximations of one target, and check each."""

import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, cast

from jaxtyping import PRNGKeyArray

from vi_kl.algorithms.algorithm import Fit, FitError
from vi_kl.algorithms.arguments import refuse_key_first, refuse_wrong_call, target_of
from vi_kl.core.annotations import KeyLike, Progress, ProgressLike
from vi_kl.core.compilation import in_threads
from vi_kl.core.errors import ViKLError, numerical_failures_named
from vi_kl.core.executors import Interrupted, require_executor, results_elsewhere
from vi_kl.core.progress import reporting
from vi_kl.core.random_keys import as_key, fold_in, key_text, split
from vi_kl.diagnostics.certificate import Certificate, check
from vi_kl.families.approximation import Approximation
from vi_kl.reference.find import find_reference
from vi_kl.targets.arguments import require_learned
from vi_kl.targets.target import Target
from vi_kl.workflows.comparison import NOT_RANKED, Comparison
from vi_kl.workflows.members import Member, all_in_a_call, members_of
from vi_kl.workflows.ranking import Ranking, rank

__all__ = ["Comparison", "compare"]


OPTIONS = ("methods", "key", "reference", "budget", "progress", "workers", "executor", "finished")
Result = tuple[Fit, Certificate] | ViKLError


def compare(
    target: Target | Fit | Approximation | Callable,
    methods: Any = (),
    *args: Any,
    key: KeyLike | None = None,
    reference: Any = None,
    budget: float | None = None,
    progress: ProgressLike = None,
    workers: int = 2,
    executor: Executor | None = None,
    finished: Callable[[Comparison], None] | None = None,
    **kwargs: Any,
) -> Comparison:
    """Fit each method to the target and check it; rank them, and say which to take.

    Args:
        target: the posterior; or a model, whose arguments follow: `compare(model, ["laplace", "flow"], x, y=y, key=0)`.
        methods: names, families, algorithms or NumPyro guides, as `fit` takes them, and fits of this posterior, which
            are checked only; or one alone; or {name: one of these}, to call them by names of your own.
        *args: what the model is called with, where `target` is one.
        **kwargs: what the model is called with by name.
        key: a JAX random key, or an integer. Each method is fitted with its own by its place; all are checked and
            ranked with the same random numbers, so that their differences are known better than they are.
        reference: what all are compared with: a `ReferencePosterior`, a function from the target to one, or "auto" for
            `vi_kl.find_reference`; by default the target's own, if it has one. Where none is found that can be
            trusted, the comparison says why, and goes on without.
        budget: seconds, after which no further method is begun. Those that were not are among the failures.
        progress: a function that is called as `progress(fraction_done, name)` as each approximation is finished, True
            to show progress, or False; by default it is shown on a terminal and in a notebook after two seconds.
        workers: threads; compiling, which takes most of the time, runs in parallel.
        executor: what computes fits and checks instead: anything with the interface of `concurrent.futures.Executor`,
            such as a pool of spawned processes or Dask's `client.get_executor()`. Each member, its fit and its check,
            is one task there, and the answer is the same but for rounding. A member whose worker died is among the
            failures; if a process pool broke by that, which does not say at which member, those that were not finished
            are begun again first, one at a time in a process of their own.
        finished: a function that is called with the comparison so far as each approximation is finished, so that it
            can be kept whatever happens to the others; never by two threads at once. With an executor it is called
            when all are, or at Ctrl-C.

    Returns:
        The Comparison. A method that cannot be fitted, or whose q has no density to check (particles), is
        listed in its `failures`; the others are kept. An error that is not vi_kl's own is a fault of a program, and
        is raised.

    Raises:
        ValueError: no method is given or known by that name, or a fit is of another posterior.
        CannotTravelError: the model or another function cannot be sent to a worker; the message names it.
        Interrupted: Ctrl-C, with an executor. Members that had not begun are cancelled; `finished` holds the others,
            {name: (Fit, Certificate)}.
    """
    refuse_key_first(target, "compare")
    if isinstance(methods, Target):  # the two in the other order
        target, methods = methods, cast(Any, target)
    refuse_wrong_call(target, args, kwargs, "compare", OPTIONS)  # a key may be missing because it is misspelt
    key = as_key(key)
    posterior = target_of(target, args, kwargs, caller="compare", options=OPTIONS)
    require_learned(posterior, "compare", FitError)
    members, deadline = members_of(posterior, methods), deadline_of(budget)
    if executor is not None:
        require_executor(executor)
    results: dict[str, Result] = {}
    notes: tuple[str, ...] = ()
    lock = threading.Lock()

    def keep(name: str, result: Result) -> None:
        with lock:
            results[name] = result
            if finished is not None:
                finished(comparison_of(posterior, members, results, key, notes))

    with reporting(progress, "comparison") as report:
        if reference is not None:
            report(0.0, "looking for a reference posterior")
            posterior, notes = with_known(posterior, reference)
        check_key, rank_key = split(fold_in(key, 1_000_003))
        fit_keys = [split(fold_in(key, i))[0] for i in range(len(members))]
        calls = [(posterior, m, (k, check_key), deadline) for m, k in zip(members, fit_keys, strict=True)]
        if executor is None:
            all_here(calls, report, workers, keep)
        else:
            all_elsewhere(executor, calls, report, keep)
        report(0.95, "ranking")
        ranking = ranking_of(posterior, members, results, rank_key)
    return comparison_of(posterior, members, results, key, notes, ranking)


def comparison_of(
    target: Target,
    members: Sequence[Member],
    results: Mapping[str, Result],
    key: PRNGKeyArray,
    notes: tuple[str, ...],
    ranking: Ranking = NOT_RANKED,
) -> Comparison:
    """Return the comparison of those that are done, {name: result}, in the order asked for."""
    known = {member.name: results[member.name] for member in members if member.name in results}
    done = [result for result in known.values() if isinstance(result, tuple)]
    failures = {name: str(result) for name, result in known.items() if not isinstance(result, tuple)}
    fits, certificates = tuple(fit for fit, _ in done), tuple(c for _, c in done)
    asked = tuple(member.name for member in members)
    methods = all_in_a_call(members)
    return Comparison(target, fits, certificates, failures, key_text(key), ranking, notes, asked, methods)


def ranking_of(target: Target, members: Sequence[Member], results: Mapping[str, Result], key: PRNGKeyArray) -> Ranking:
    """Rank those that have a density."""
    pairs = ((member.name, results[member.name]) for member in members)
    ranked = {name: found[0] for name, found in pairs if isinstance(found, tuple) and not found[1].is_point}
    return rank(target, list(ranked.values()), list(ranked), key) if ranked else NOT_RANKED


def with_known(target: Target, reference: Any) -> tuple[Target, tuple[str, ...]]:
    """Return the target with a reference posterior, or why there is none that can be trusted."""
    find = find_reference if isinstance(reference, str) and reference == "auto" else reference
    if isinstance(find, str):
        raise ValueError(f'reference must be "auto", a ReferencePosterior or a function, got {reference!r}.')
    try:
        return target.with_reference(find(target) if callable(find) else find), ()
    except ViKLError as error:
        return target, (f"There is no reference posterior to compare with: {error}",)


def deadline_of(budget: float | None) -> float:
    """Return the time, in seconds since 1970, after which no further method is begun."""
    if budget is None:
        return float("inf")
    if not budget > 0:
        raise ValueError(f"budget must be a positive number of seconds, got {budget}.")
    return time.time() + budget


def fit_and_check(target: Target, member: Member, keys: tuple[PRNGKeyArray, PRNGKeyArray], deadline: float) -> Result:
    """Return a member's fit and certificate, or the error that ended it."""
    try:
        with numerical_failures_named():
            if time.time() > deadline:
                raise FitError("not begun, because the budget was spent.")
            fit = member.source if isinstance(member.source, Fit) else member.source.fit(keys[0], target)
            certificate = check(fit, target.reference, key=keys[1])
            return fit, dataclasses.replace(certificate, name=member.name)
    except ViKLError as error:
        return error


def all_here(calls: list[tuple], report: Progress, workers: int, keep: Callable[[str, Result], None]) -> None:
    """Do `fit_and_check` at each call, in threads, and hand on each result."""
    numbers = itertools.count(1)

    def one(call: tuple) -> None:
        keep(call[1].name, fit_and_check(*call))
        report(0.95 * next(numbers) / len(calls), call[1].name)

    list(in_threads(one, calls, workers=workers))


def all_elsewhere(
    executor: Executor, calls: list[tuple], report: Progress, keep: Callable[[str, Result], None]
) -> None:
    """Do `fit_and_check` at each call, by the workers of an executor, and hand on the results at the end."""
    _ = calls[0][0].reference  # found once, here
    names = [member.name for _, member, *_ in calls]
    try:
        found = results_elsewhere(
            executor, fit_and_check, calls, lambda place, done: report(0.95 * done / len(calls), names[place])
        )
    except Interrupted as stop:
        for place, result in stop.finished.items():
            keep(names[place], result)
        raise Interrupted({names[place]: result for place, result in stop.finished.items()}) from None
    for name, result in zip(names, found, strict=True):
        keep(name, result)
