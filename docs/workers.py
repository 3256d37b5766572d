"""Processes beside a build of the documentation, as many as there are cores, which run what its pages show.

Importing JAX takes seconds, so each process serves one page or example after another.
"""

import functools
import gc
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)
# figures are drawn without a screen; OpenBLAS's own threads would wait for work by spinning, on cores that are not free
SETTINGS = {"MPLBACKEND": "agg", "OPENBLAS_NUM_THREADS": "1"}


@functools.cache
def pool() -> ProcessPoolExecutor:
    """Return the processes. They begin as new ones, since a copy of one with threads may hang."""
    return ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"), settle)


def settle() -> None:
    """Set a new process up: with memory for the programs of many pages, and Python's search for garbage seldom."""
    os.environ.update(SETTINGS)
    from vi_kl.core import kept_programs  # which imports JAX, after the settings

    kept_programs.MOST_GROWTH *= 10
    gc.collect()
    gc.freeze()  # what is imported stays
    gc.set_threshold(20_000, 10, 10)  # a sixth of the time that JAX takes to trace went there


def start(function: Callable, *arguments) -> Future:
    """Have a function of a module of this folder called in one of the processes: what is started first goes first."""
    sys.path.insert(0, HERE)  # a new process searches where this one does
    try:
        return pool().submit(function, *arguments)
    finally:
        sys.path.remove(HERE)


def stop() -> None:
    """Let what has not begun never begin."""
    pool().shutdown(wait=False, cancel_futures=True)
    pool.cache_clear()
