"""Compiled programs: kept while they are used, let go when they are not."""

import gc
import os
import subprocess
import sys

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import vi_kl
from vi_kl.core import compilation, kept_programs, precision
from vi_kl.core.compilation import compile_clock, compiled
from vi_kl.core.kept_programs import MOST_PROGRAMS


@pytest.mark.landing
def test_the_programs_run_last_are_kept():
    @compiled
    def doubled_here(x):
        return 2 * x

    for n in range(1, MOST_PROGRAMS + 11):
        doubled_here(np.zeros(n))
        doubled_here(np.zeros(1))  # which therefore stays, though it is the oldest
    with compile_clock() as clock:
        for n in (1, MOST_PROGRAMS, MOST_PROGRAMS + 10):
            doubled_here(np.zeros(n))
    assert clock.programs == 0
    with compile_clock() as clock:
        np.testing.assert_array_equal(doubled_here(np.ones(2)), 2 * np.ones(2))
    assert clock.programs == 1
    gc.collect()
    names = [executable.hlo_modules()[0].name for executable in jax.devices()[0].client.live_executables()]
    assert names.count("jit_doubled_here") == MOST_PROGRAMS


def test_a_program_is_compiled_anew_for_another_precision_of_the_same_numbers(monkeypatch):
    """NumPy's arrays have 64 bits whatever JAX computes in; a program whose calls are long takes them as they are."""
    monkeypatch.setattr(compilation, "LONG_CALL", 0.0)
    doubled = compiled(lambda x: jax.lax.fori_loop(0, x[0].astype("int32"), lambda i, x: 2 * x, x))
    for wide, dtype in ((True, "float64"), (False, "float32"), (True, "float64")):
        with jax.enable_x64(wide):
            found = doubled(np.ones(3))
            assert found.dtype == dtype
            assert (found == 2).all()


def test_everything_is_let_go_where_the_process_keeps_growing(monkeypatch):
    growth, few = kept_programs.MOST_GROWTH, kept_programs.FEW_PROGRAMS
    sizes, cleared = iter([1000, 1000 + growth, 1001 + growth, 50, 51 + growth, 60, 70]), []
    monkeypatch.setattr(kept_programs, "size", kept_programs.Size())
    monkeypatch.setattr(kept_programs, "resident_bytes", lambda: next(sizes))
    monkeypatch.setattr(kept_programs, "let_go_of_programs", lambda: cleared.append(True))
    for programs, expected in ((few + 1, 0), (few + 1, 0), (few + 1, 1), (few, 1), (few + 1, 1)):
        monkeypatch.setattr(kept_programs, "number_of_programs", lambda programs=programs: programs)
        kept_programs.let_go_if_grown()
        assert len(cleared) == expected
    assert next(sizes, None) is None  # asked once a call, and once more where it had grown


def test_a_function_of_vi_kl_looks_at_the_size_of_its_process(monkeypatch):
    looked = []
    monkeypatch.setattr(precision, "let_go_if_grown", lambda: looked.append(True))
    vi_kl.divergences.kl_divergence(dist.Normal(), dist.Normal(1.0))
    assert looked


GROWING = """
import jax.numpy as jnp, numpy as np, numpyro.distributions as dist
import vi_kl
from vi_kl.core.kept_programs import resident_bytes

def fit(i):
    target = vi_kl.Target.from_log_density(lambda z, y: -0.5 * jnp.sum(z**2) * (1 + i) - jnp.sum(y * z[0]), 2 + i % 7,
                                           data=np.ones(8 + i))
    vi_kl.fit(target, "full_rank", key=0)

def divide(i):
    ones = jnp.ones(1 + i)
    vi_kl.divergences.kl_divergence(dist.Normal(0 * ones, 1.0), dist.Normal(ones, 2.0))

for i in range(200):
    fit(i)
    print(resident_bytes())
for i in range(500):
    divide(i)
    print(resident_bytes())
"""


@pytest.mark.exhaustive
def test_fits_of_new_targets_and_divergences_of_new_shapes_do_not_add_up():
    """Between two times that everything is let go a process grows by as much as it may; what it comes back to stays."""
    # one heap, because threads that run side by side, more of them on a busy machine, have heaps of their own with gaps
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", GROWING]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stderr
    sizes = np.array([int(line) for line in done.stdout.split()])
    assert len(sizes) == 700
    fits, divergences = sizes[:200], sizes[200:]
    assert fits[199] - fits[19] < 180 * 1e6  # bytes; 16 MB each before programs were let go
    # divergences: 12 MB each. The growth is measured from some size that the process had before, no larger than the
    # largest, and is noticed one call later
    assert divergences.max() < fits.max() + 200 * 2**20 + 30 * 1e6
    assert divergences[-100:].min() - divergences[:100].min() < 100 * 1e6
