"""Compiling: quick to compile on the CPU, and counted.

For most models compilation costs more than running. On the CPU, XLA's fusion emitters double the compile time of
the special functions that log densities are made of and do not make them faster, so they are switched off for
vi_kl's own functions only (the caller's settings are untouched).
"""

import contextlib
import dataclasses
import functools
import threading

import jax

CPU_OPTIONS = {"xla_cpu_use_fusion_emitters": False}
COMPILE_EVENTS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


@functools.cache
def compiler_options() -> dict:
    """The options that this backend and JAX version accept."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x + 1, compiler_options=CPU_OPTIONS)(0)
    except Exception:  # an unknown option is an error of XLA's own type, which varies between versions
        return {}
    return CPU_OPTIONS


def compiled(function=None, *, static: tuple[str, ...] = ()):
    """`jax.jit` with vi_kl's compiler options; `static` names the arguments that are part of the code."""
    if function is None:
        return functools.partial(compiled, static=static)
    plain = jax.jit(function, static_argnames=static)

    @functools.cache
    def tuned():
        return jax.jit(function, static_argnames=static, compiler_options=compiler_options())

    @functools.wraps(function)
    def call(*args, **kwargs):
        # compiler options belong to the outermost compilation only
        inside = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs)))
        return (plain if inside else tuned())(*args, **kwargs)

    return call


@dataclasses.dataclass
class CompileClock:
    """Seconds spent tracing and compiling, and how many programs were compiled."""

    seconds: float = 0.0
    programs: int = 0


class Clocks(threading.local):
    """The clocks running in this thread."""

    def __init__(self):
        self.running: list[CompileClock] = []


clocks = Clocks()


@functools.cache
def start_listening() -> None:
    """Ask JAX to report its compilations, once per process and at the first use only."""
    jax.monitoring.register_event_duration_secs_listener(on_duration)


def on_duration(event: str, duration: float, **_) -> None:
    if event not in COMPILE_EVENTS:
        return
    for clock in clocks.running:
        clock.seconds += duration
        clock.programs += event == COMPILE_EVENTS[-1]


@contextlib.contextmanager
def compile_clock():
    """Count what this thread compiles inside the block.

    with compile_clock() as clock:
        ...
    clock.seconds, clock.programs
    """
    start_listening()
    clock = CompileClock()
    clocks.running.append(clock)
    try:
        yield clock
    finally:
        clocks.running.remove(clock)
