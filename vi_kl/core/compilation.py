"""Compilation: quick on the CPU, and counted.

For most models compilation costs more than running. On the CPU, XLA's fusion emitters double the compile time of
the special functions that log densities are made of and do not make them faster, so they are switched off for
vi_kl's own functions only (the caller's settings are untouched).
"""

import contextlib
import dataclasses
import functools
import inspect
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar, overload

import jax

from vi_kl.core.code_hash import reads
from vi_kl.core.interruptible import (
    in_background,
    settle,
    unheeded_if_interrupted,
    wait_for_arrays,
    wait_for_call,
)
from vi_kl.core.kept_programs import RecentPrograms, let_go_if_grown, tracing

F = TypeVar("F", bound=Callable)

QUICK_TO_COMPILE = {"xla_cpu_use_fusion_emitters": False}
# options of programs that run a few times only: they halve the compile time, and may double the run time
UNOPTIMIZED = {**QUICK_TO_COMPILE, "xla_backend_optimization_level": 0}

LONG_CALL = 0.02  # seconds


@functools.cache
def compiler_options(unoptimized: bool) -> dict:
    """Return those of the options that this backend and JAX version accept."""
    if jax.default_backend() != "cpu":
        return {}
    options = UNOPTIMIZED if unoptimized else QUICK_TO_COMPILE
    return {name: value for name, value in options.items() if is_accepted(name, value)}


@functools.cache
def is_accepted(name: str, value) -> bool:
    try:
        jax.jit(lambda x: x, compiler_options={name: value})(0)
    except Exception:  # an unknown option is an error of XLA's own type, which varies between versions
        return False
    return True


class CarriesArrays:
    """A part of the code of compiled programs whose arrays are arguments of these programs."""

    def detached(self) -> tuple[Any, Any]:
        """Return this object without its arrays, hashable, and the arrays, a pytree."""
        raise NotImplementedError

    def attached(self, arrays) -> Any:
        """Return the object whose `detached` gives this one and these arrays."""
        raise NotImplementedError


def detached(value) -> tuple[Any, Any]:
    return value.detached() if isinstance(value, CarriesArrays) else (value, ())


def attached(value, arrays):
    return value.attached(arrays) if isinstance(value, CarriesArrays) else value


Condition = bool | Callable[..., bool]


@overload
def compiled(function: F, *, static: tuple[str, ...] = (), unoptimized: Condition = False) -> F: ...


@overload
def compiled(
    function: None = None, *, static: tuple[str, ...] = (), unoptimized: Condition = False
) -> Callable[[F], F]: ...


def compiled(
    function: Callable | None = None, *, static: tuple[str, ...] = (), unoptimized: Condition = False
) -> Callable:
    """Compile a function by `jax.jit` with vi_kl's options, safe to call from several threads.

    Args:
        static: names of the arguments that are part of the code; see `CarriesArrays` for those that hold arrays. For
            classes that are not vi_kl's, what they read besides their fields counts too (`reads`).
        unoptimized: whether XLA's optimisations are left out, for a program that runs so seldom, or is so small,
            that they cost more than they save; or a function of the call's arguments that returns this.
    """
    if function is None:
        return functools.partial(compiled, static=static, unoptimized=unoptimized)
    if static:
        return with_static(function, static, unoptimized)
    return jitted(function, (), unoptimized, ())


def with_static(function, static: tuple[str, ...], unoptimized):
    """Compile a function some of whose arguments are part of the code; their arrays are an argument of their own."""
    signature = inspect.signature(function)

    def inner(arrays, what_is_read, /, **kwargs):
        return function(**{**kwargs, **{name: attached(kwargs[name], found) for name, found in arrays.items()}})

    inner.__name__ = function.__name__
    condition = unoptimized
    if callable(unoptimized):
        condition = lambda arrays, what_is_read, /, **kwargs: unoptimized(*kwargs.values())  # noqa: E731
    program = jitted(inner, static, condition, (1,))

    @functools.wraps(function)
    def call(*args, **kwargs):
        given, arrays = signature.bind(*args, **kwargs).arguments, {}
        what_is_read = tuple(reads(given[name]) for name in static)
        for name in static:
            given[name], found = detached(given[name])
            if jax.tree.leaves(found):
                arrays[name] = found
        return program(arrays, what_is_read, **given)

    return call


def jitted(function, static: tuple[str, ...], unoptimized, static_places):
    settings = {"static_argnames": static, "static_argnums": static_places}
    plain = jax.jit(function, **settings)
    programs = RecentPrograms()

    @functools.wraps(function)
    def call(*args, **kwargs):
        leaves, structure = jax.tree.flatten((args, kwargs))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return plain(*args, **kwargs)  # compiler options belong to the outermost compilation only
        quickly = unoptimized(*args, **kwargs) if callable(unoptimized) else unoptimized
        device = jax.config.jax_default_device  # type: ignore[attr-defined]
        precision = jax.config.jax_enable_x64  # type: ignore[attr-defined]  # which NumPy's arrays do not show
        signature = quickly, device, precision, structure, tuple(map(describe, leaves))
        program = programs.get(signature)
        if program is None:
            let_go_if_grown()
            # a function of its own for each, since JAX keeps programs for as long as their function is there
            jit = jax.jit(another(function), **settings, compiler_options=compiler_options(quickly))
            start = time.perf_counter()
            with tracing:
                waited = time.perf_counter() - start
                lowered = jit.lower(*args, **kwargs)
            executable = wait_for_call(lowered.compile)
            program = CompiledProgram(jit, executable, may_hold_the_caller(lowered), static, static_places)
            record(time.perf_counter() - start - waited)
            programs.keep(signature, program)
        running.raise_if_abandoned()
        return program(*args, **kwargs)

    return call


def may_hold_the_caller(lowered: jax.stages.Lowered) -> bool:
    """Return whether a call may return only when all is computed, and that may be long.

    XLA holds its caller where Python is called, and where it takes a program for a cheap one, as it does a loop of
    unknown length whose body is cheap.
    """
    text = lowered.as_text()
    return any(operation in text for operation in ("stablehlo.while", "callback"))


@dataclasses.dataclass
class CompiledProgram:
    """A compiled program, whose calls Ctrl-C interrupts.

    A call that is expected to hold its caller is made in another thread; that costs up to a millisecond on a busy
    machine, so a program whose last call was short is called directly.

    Attributes:
        jit: the function under `jax.jit`.
        executable: the same, compiled, as a function of the arguments that are not static.
        may_hold: see `may_hold_the_caller`.
        static: names of the static arguments.
        static_places: places of the static arguments without a name.
    """

    jit: Callable
    executable: Callable
    may_hold: bool
    static: tuple[str, ...]
    static_places: tuple[int, ...]

    def __post_init__(self):
        self.holds = self.may_hold  # whether the last call held its caller

    def __call__(self, *args, **kwargs):
        start = time.perf_counter()
        if self.holds:
            dynamic = [arg for place, arg in enumerate(args) if place not in self.static_places]
            named = {name: arg for name, arg in kwargs.items() if name not in self.static}
            result = wait_for_call(functools.partial(self.executable, **named), *dynamic)
        else:
            result = self.jit(*args, **kwargs)
        self.holds = self.may_hold and time.perf_counter() - start > LONG_CALL
        return wait_for_arrays(result)


def another(function: Callable) -> Callable:
    """Return another function that does the same."""

    @functools.wraps(function)
    def same(*args, **kwargs):
        return function(*args, **kwargs)

    return same


def describe(leaf):
    """Return what a compiled program depends on in an argument.

    This is the shape, type and layout of arrays, and the value of anything else.
    """
    if hasattr(leaf, "dtype"):
        sharding = getattr(leaf, "sharding", None)
        layout = sharding if getattr(leaf, "committed", False) else None
        return leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False), layout
    return type(leaf) if isinstance(leaf, float | complex) else leaf


@dataclasses.dataclass(eq=False)  # two clocks are never equal
class CompileClock:
    """A count of the seconds spent tracing and compiling vi_kl's programs, and of the programs compiled."""

    seconds: float = 0.0
    programs: int = 0


class Running(threading.local):
    """What runs around a thread's work: its clocks, and whether anybody waits for the result."""

    def __init__(self):
        self.clocks: tuple[CompileClock, ...] = ()
        self.abandoned: threading.Event | None = None

    def raise_if_abandoned(self) -> None:
        if self.abandoned is not None and self.abandoned.is_set():
            raise AbandonedError("Nobody waits for this any longer.")


running = Running()


class AbandonedError(Exception):
    """Raised in a thread, to end it, once the caller has stopped asking for its results."""


def record(seconds: float) -> None:
    for clock in running.clocks:
        clock.seconds += seconds
        clock.programs += 1


@contextlib.contextmanager
def compile_clock():
    """Count what is compiled inside the `with` block; the value of the block is the `CompileClock`."""
    clock, before = CompileClock(), running.clocks
    running.clocks = (*before, clock)
    try:
        yield clock
    finally:
        running.clocks = before


def in_threads(function, *arguments, workers: int) -> Iterator:
    """Map a function over arguments in threads, in order, with the caller's compile clocks running in them too.

    The work begins at once, before the first result is asked for. Threads pay where most of the time goes into
    compiling, which releases Python's lock. When the caller stops iterating (an error, an interruption), calls that
    have not begun never begin, and the others end before the next program that they would run.
    """
    if workers <= 1:
        return map(function, *arguments)
    clocks, abandoned = running.clocks, threading.Event()
    calls: queue.SimpleQueue = queue.SimpleQueue()
    futures: list[Future] = []
    for args in zip(*arguments, strict=True):
        futures.append(Future())
        calls.put((futures[-1], args))

    def work():
        running.clocks, running.abandoned = clocks, abandoned
        while not abandoned.is_set():
            try:
                future, args = calls.get_nowait()
            except queue.Empty:
                return
            settle(future, function, *args)

    threads = [in_background(work) for _ in range(workers)]
    return results_in_order(futures, abandoned, threads)


def results_in_order(futures: list[Future], abandoned: threading.Event, threads: list[Future]) -> Iterator:
    with unheeded_if_interrupted(threads):
        try:
            for future in futures:
                yield future.result()
        finally:
            abandoned.set()
