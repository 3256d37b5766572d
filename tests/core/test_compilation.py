"""Compiled programs: kept while they are used, let go when they are not."""

import gc
import subprocess
import sys

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import vi_kl
from vi_kl.core import kept_programs, precision
from vi_kl.core.compilation import compile_clock, compiled
from vi_kl.core.kept_programs import MOST_PROGRAMS


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
    done = subprocess.run([sys.executable, "-c", GROWING], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    sizes = np.array([int(line) for line in done.stdout.split()])
    assert len(sizes) == 700
    assert sizes[199] - sizes[19] < 180 * 1e6  # bytes; 16 MB each before programs were let go
    assert sizes.max() - sizes[19] < 300 * 2**20  # divergences: 2 MB each
