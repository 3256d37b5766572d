"""Tasks on somebody else's executor: a process pool, Dask's `client.get_executor()`, `mpi4py.futures`, and their like.

Anything with `submit(function, *args) -> Future` of `concurrent.futures` will do. What is submitted is one function of
this file and bytes (see travel.py), so it does not matter how the executor writes what it sends.

    results_elsewhere(executor, function, [(a, b), (c, d)], report)      # [function(a, b), function(c, d)]

A worker that dies costs no more than the task that it was at. Dask says which that was. A process pool breaks for all
of its tasks and does not say at which: those that were not finished are begun again, one at a time, in a process of
their own, so that the one that kills it is lost alone, and this process is in no danger.
"""

import collections
import contextlib
import multiprocessing
import os
import platform
import queue
import traceback
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from typing import Any

import jax

from vi_kl.core.errors import FitError
from vi_kl.core.progress import reporting
from vi_kl.core.travel import from_bytes, parts, to_bytes

MOST_BYTES = 2**28  # of tasks that are sent and not yet done
PAUSE = 0.5  # seconds; waits no longer than this are interrupted everywhere

# what is set in this process and decides what a worker computes, or how fast
SETTINGS = ("jax_threefry_partitionable", "jax_default_matmul_precision")
CACHE = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)
# errors by which executors say that a worker died at this one task; their packages need not be installed
WORKER_DIED = ("KilledWorker", "WorkerCrashedError")

RECIPE = 'ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))'
GUARD = 'A script that makes a pool has to do so under `if __name__ == "__main__":`.'


class LostError(FitError):
    """An error: the process that was at work on this died."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, while tasks were done elsewhere; those that had not begun are cancelled.

    Attributes:
        finished: {which: result} of the tasks that had been finished.
    """

    def __init__(self, finished: dict):
        super().__init__(f"{len(finished)} results had been finished: they are this exception's `finished`.")
        self.finished = finished


def require_executor(executor: Any) -> None:
    """Refuse what is no executor, and a pool of forked processes.

    Raises:
        TypeError: it has no method `submit`.
        ValueError: its processes are forked.
    """
    if isinstance(executor, type) or not callable(getattr(executor, "submit", None)):
        raise TypeError(
            f"executor must have the method submit(function, *args) of concurrent.futures.Executor, such as {RECIPE}, "
            f"or Dask's client.get_executor(); got {executor!r}."
        )
    context = getattr(executor, "_mp_context", None)  # which pools do not tell otherwise
    if getattr(context, "get_start_method", lambda: "")() == "fork":
        raise ValueError(
            f"The processes of this pool are forked, and a fork of a process in which JAX has computed waits for its "
            f"threads forever. Start them anew: {RECIPE}. {GUARD}"
        )


# In this process --------------------------------------------------------------------------------------------------


def results_elsewhere(
    executor: Executor, function: Callable, calls: Sequence[tuple], finished: Callable[[int, int], Any]
) -> list:
    """Return `function(*call)` of each call, in order, computed by an executor's workers.

    Args:
        executor: the executor.
        function: a function of a module, which raises only what is a fault of a program.
        calls: the arguments.
        finished: called as `finished(place, number of calls done)` as each call is done.

    Returns:
        The results; a LostError in the place of each whose worker died.

    Raises:
        CannotTravelError: the arguments cannot be sent.
        Interrupted: Ctrl-C.
    """
    require_executor(executor)
    work = Work(function, calls, finished)
    try:
        if not work.send_all(executor):
            work.finish_alone()
    except KeyboardInterrupt:
        done = {place: found for place, found in work.results.items() if not isinstance(found, LostError)}
        raise Interrupted(done) from None
    return [work.results[place] for place in range(len(calls))]


class Work:
    """Calls of one function, and the results of those that are done, {place: result}."""

    def __init__(self, function: Callable, calls: Sequence[tuple], finished: Callable[[int, int], Any]):
        self.function, self.calls, self.finished = function, calls, finished
        self.settings = {name: getattr(jax.config, name) for name in (*SETTINGS, *CACHE)}
        self.results: dict[int, Any] = {}

    def task(self, place: int) -> bytes:
        known = len(parts(self.calls[place]))
        wide = jax.config.jax_enable_x64  # type: ignore[attr-defined]
        body = to_bytes((self.function, self.calls[place]))
        return to_bytes((here(), self.settings, wide, known, body))

    def send_all(self, executor: Executor) -> bool:
        """Send all tasks, few enough at a time to hold them; return whether the executor lived through it."""
        waiting, ended = collections.deque(range(len(self.calls))), queue.SimpleQueue[int]()
        sent: dict[int, tuple[Future, int]] = {}
        try:
            while waiting or sent:
                is_room = bool(waiting) and sum(size for _, size in sent.values()) < MOST_BYTES
                if is_room:
                    place = waiting.popleft()
                    task = self.task(place)
                    future = executor.submit(perform, task)
                    sent[place] = future, len(task)
                    future.add_done_callback(lambda _, place=place: ended.put(place))
                with contextlib.suppress(queue.Empty):
                    place = ended.get(block=not is_room, timeout=PAUSE)
                    self.keep(place, result_of(sent[place][0]))
                    del sent[place]
        except BrokenExecutor:
            for place, (future, _) in sent.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    self.keep(place, future.result())
            return False
        finally:
            for future, _ in sent.values():
                future.cancel()
        return True

    def keep(self, place: int, answer: bytes | LostError) -> None:
        """Keep a result; raise the error that a call ended with."""
        if isinstance(answer, LostError):
            self.results[place] = answer
        else:
            value, error = from_bytes(answer, parts(self.calls[place]))
            if error is not None:
                error.add_note(value)
                raise error
            self.results[place] = value
        self.finished(place, len(self.results))

    def finish_alone(self) -> None:
        """Do what is left, one after the other, in a process of this one's that is made anew where a task kills it."""
        left = [place for place in range(len(self.calls)) if place not in self.results]
        warnings.warn(
            f"A worker died, and with it the executor. The {len(left)} of {len(self.calls)} tasks that were not "
            f"finished are done one after the other in a process of their own.",
            stacklevel=5,
        )
        pool = None
        try:
            for place in left:
                pool = pool or one_process()
                try:
                    answer = result_of(pool.submit(perform, self.task(place)))
                except BrokenExecutor:
                    pool, answer = None, LostError(f"The process that was at work on it died, a second time. {GUARD}")
                    if list(map(type, self.results.values())) == [LostError]:
                        raise answer from None  # none of two has ever been done
                self.keep(place, answer)
        finally:
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)


def one_process() -> Executor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def result_of(future: Future) -> Any:
    """Return what a worker answered; a LostError if it died at this task, and the executor did not."""
    while True:
        try:
            return future.result(timeout=PAUSE)
        except TimeoutError:
            if future.done():  # a worker's own error
                raise
        except Exception as error:
            if type(error).__name__ not in WORKER_DIED:
                raise
            return LostError(f"The worker that was at work on it died ({type(error).__name__}: {error}).")


def here() -> tuple[str, int]:
    """Return what tells this process from any other."""
    return platform.node(), os.getpid()


# In a worker ------------------------------------------------------------------------------------------------------


def perform(task: bytes) -> bytes:
    """Do one task: return (result, None), or (the error in full, the error), as bytes."""
    origin, settings, wide, known, body = from_bytes(task)
    if origin != here():
        apply(settings)
    shared: list = []
    try:
        function, arguments = from_bytes(body)
        shared = parts(arguments)
        shared = shared if len(shared) == known else []
        with reporting(False, ""), jax.enable_x64(wide):
            return to_bytes((function(*arguments), None), shared)
    except Exception as error:
        words = "In a worker:\n" + "".join(traceback.format_exception(error))
        with contextlib.suppress(Exception):
            return to_bytes((words, error), shared)
        return to_bytes((words, RuntimeError(f"{type(error).__name__}: {error}")))


def apply(settings: dict) -> None:
    """Set what the sender has set; a cache of compiled programs only if this process has none."""
    has_cache = getattr(jax.config, CACHE[0]) is not None
    for name, value in settings.items():
        if getattr(jax.config, name) != value and not (has_cache and name in CACHE):
            jax.config.update(name, value)
