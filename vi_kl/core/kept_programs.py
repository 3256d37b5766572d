"""Compiled programs are kept for when they are run again, but not for ever.

JAX keeps every program, and what it has traced, for as long as the process runs: some megabytes for each new target or
new shape. So a function keeps its latest programs only, and where a process keeps growing all the same, everything is
let go, and compiled again on demand.
"""

import collections
import ctypes
import os
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import jax

MOST_PROGRAMS = 20  # of one function: those of a comparison of many methods on one target
MOST_GROWTH = 200 * 2**20  # bytes of a process that keeps making programs of new shapes
FEW_PROGRAMS = 150  # in a process; a process that has no more of them does not grow because of them
STATM = Path("/proc/self/statm")

# NumPyro keeps its effect handlers on one global stack, so only one thread at a time may trace a model. XLA's
# compiling, which takes longer, runs outside this lock.
tracing = threading.RLock()


class RecentPrograms:
    """The compiled programs of one function that were run last; one that is let go is compiled again on demand.

    A program of a target takes about a megabyte. Were all of them kept, a process that fits one target after another
    would grow for as long as it runs.
    """

    everywhere: ClassVar[weakref.WeakSet["RecentPrograms"]] = weakref.WeakSet()

    def __init__(self):
        self.programs: collections.OrderedDict[Any, Callable] = collections.OrderedDict()
        self.lock = threading.Lock()
        self.everywhere.add(self)

    def get(self, signature) -> Callable | None:
        with self.lock:
            program = self.programs.get(signature)
            if program is not None:
                self.programs.move_to_end(signature)
            return program

    def keep(self, signature, program: Callable) -> None:
        with self.lock:
            self.programs[signature] = program
            if len(self.programs) > MOST_PROGRAMS:
                self.programs.popitem(last=False)

    def clear(self) -> None:
        with self.lock:
            self.programs.clear()


class Size:
    """The size of this process, in bytes, when it was measured first, or when programs were last let go."""

    start: int | None = None


size = Size()


def let_go_if_grown() -> None:
    """Clear every compiled program where the process has grown and holds many programs; not while one is traced.

    It waits for no lock, since a program that is being run may call it, and wait for whom it would wait for.
    """
    now = resident_bytes()
    if size.start is None:
        size.start = now
    elif now > size.start + MOST_GROWTH:
        if number_of_programs() > FEW_PROGRAMS:
            if not tracing.acquire(blocking=False):
                return
            try:
                let_go_of_programs()
                hand_back_free_memory()
            finally:
                tracing.release()
        size.start = resident_bytes()


def number_of_programs() -> int:
    """Return how many compiled programs this process holds on its default device."""
    return len(jax.devices()[0].client.live_executables())


def resident_bytes() -> int:
    """Return the memory that the process has in use; 0 where the system does not say."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def let_go_of_programs() -> None:
    """Clear every compiled program in this process, also those that are not vi_kl's; they are compiled again on demand.

    Each holds about a dozen memory maps, of which Linux allows a process 65,530 by default: a process that has
    compiled some five thousand programs fails in the compiler.
    """
    for programs in RecentPrograms.everywhere:
        programs.clear()
    jax.clear_caches()


def hand_back_free_memory() -> None:
    """Hand what is free back to the system, as glibc does not by itself where it lies between what is in use.

    After a thousand programs that is most of the memory. Other C libraries have no such function.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
