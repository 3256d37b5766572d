"""Ctrl-C ends a computation at once, also where a session goes on after it.

Python raises KeyboardInterrupt only between two instructions of its main thread, and one call of XLA may compile for
ten seconds or compute for a minute. So the main thread only waits for XLA, in steps that Python can interrupt. What XLA
has begun it ends in the background, unheeded.

While XLA is at work a process must not be taken down piece by piece: JAX would wait for it, or crash. So a process
that ends by Ctrl-C is ended as Python would end it, once everybody else has put their things away; any other waits.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import jax

SHORTEST_PAUSE, LONGEST_PAUSE = 5e-5, 0.02  # seconds
SHARE_OF_PAUSE = 0.1  # of the time waited so far: a call takes longer by so much at most

unheeded: list[Any] = []  # futures and arrays that nobody waits for any longer


def wait_for_call(function: Callable, *args):
    """Return `function(*args)`; in the main thread it is called in another one, and waited for."""
    if not is_main_thread():
        return function(*args)
    wide = jax.config.jax_enable_x64  # which JAX keeps per thread

    def call():
        with jax.enable_x64(wide):
            return function(*args)

    future = in_background(call)
    with unheeded_if_interrupted([future]):
        return future.result()


def wait_for_arrays(result):
    """Return a pytree of arrays once they are computed."""
    if not is_main_thread():
        return result
    arrays = [leaf for leaf in jax.tree.leaves(result) if hasattr(leaf, "is_ready")]  # arrays of keys cannot tell
    with unheeded_if_interrupted(arrays):
        start = time.perf_counter()
        while not all(map(is_ended, arrays)):
            waited = time.perf_counter() - start
            time.sleep(min(max(SHORTEST_PAUSE, SHARE_OF_PAUSE * waited), LONGEST_PAUSE))
    return result


def is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def in_background(function: Callable, *args) -> Future:
    """Begin `function(*args)` in a thread that the end of a process does not wait for."""
    future: Future = Future()
    threading.Thread(target=settle, args=(future, function, *args), daemon=True).start()
    return future


def settle(future: Future, function: Callable, *args) -> None:
    """Set a future to `function(*args)`, or to the error that it raises."""
    try:
        future.set_result(function(*args))
    except BaseException as error:
        future.set_exception(error)


@contextlib.contextmanager
def unheeded_if_interrupted(work: list):
    try:
        yield
    except BaseException:
        forget_what_ended()
        unheeded.extend(one for one in work if not is_ended(one))
        raise


def is_ended(work: "Future | jax.Array") -> bool:
    if isinstance(work, Future):
        return work.done()
    return work.is_deleted() or work.is_ready()


def forget_what_ended() -> None:
    unheeded[:] = [work for work in unheeded if not is_ended(work)]


@atexit.register  # after JAX's own, and so run before it
def end_with_work_unheeded() -> None:
    """End the process while XLA is at work: at once if Ctrl-C is why it ends, otherwise when the work is done."""
    while forget_what_ended() or unheeded:
        if is_ended_by_interrupt():
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    stream.flush()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(LONGEST_PAUSE)


def is_ended_by_interrupt() -> bool:
    """Return whether an uncaught KeyboardInterrupt ends this process; at a prompt it does not."""
    last = getattr(sys, "last_type", None)
    return last is not None and issubclass(last, KeyboardInterrupt) and not hasattr(sys, "ps1")
