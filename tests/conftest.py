"""Fixtures shared by all tests. JAX keeps its own default (float32): vi_kl has to switch to float64 by itself."""

import gc
import itertools
import os
from pathlib import Path

# Compiled programs are kept: a run after the first halves its time, and workers have them from one another. It has to
# be said before JAX is imported; what the environment says comes first.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

# The workers, which are started after this, fill the cores. OpenBLAS's own threads, which wait for work by spinning,
# would take a fifth of their time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from vi_kl.cli.quick_compilation import compile_quickly, tell_xla

compile_quickly()
# XLA cuts a program into parts and compiles them side by side. Where workers fill the cores that gains no time, and it
# takes a third more work than to compile the whole, to the same code otherwise.
tell_xla("--xla_cpu_parallel_codegen_split_count", "1")

import pytest  # noqa: E402

# JAX is imported where it is used: what starts the workers, and runs no test, does without.

MOST_MAPS = 50_000  # of the 65,530 that Linux allows a process
tests_done = itertools.count(1)


def pytest_collection_modifyitems(items):
    """Begin with what is published, which takes longest, so that no worker waits for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("publication") is None)


def pytest_collection_finish():
    """Let Python look for garbage more seldom: a sixth of the time that JAX takes to trace went there.

    What is imported and collected stays for as long as the process, and need not be looked through again.
    """
    from vi_kl.core import kept_programs

    # a worker grows with all kinds of tests, and one that counts what is compiled must not lose its programs meanwhile
    kept_programs.MOST_GROWTH *= 100
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture
def key():
    import jax

    return jax.random.key(20261123)


@pytest.fixture(autouse=True)
def the_default_run_is_compiled_quickly(request):
    """Without optimisations: its tests are many small programs, each run a few times.

    What is compiled by vi_kl's own options keeps them, and the other runs, which repeat what they compile, theirs.
    """
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    long = any(map(request.node.get_closest_marker, ("exhaustive", "publication")))
    jax.config.update("jax_disable_most_optimizations", before or not long)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def compiled_quickly():
    """The same for files whose exhaustive tests are of that kind too."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(autouse=True)
def memory_maps_to_spare():
    """A worker compiles more programs than a process may hold: see `let_go_of_programs`."""
    yield
    maps = Path("/proc/self/maps")
    if next(tests_done) % 25 == 0 and maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        from vi_kl.core.kept_programs import let_go_of_programs

        let_go_of_programs()


@pytest.fixture(autouse=True)
def the_callers_precision_is_untouched():
    import jax

    before = jax.config.jax_enable_x64
    yield
    assert jax.config.jax_enable_x64 == before
