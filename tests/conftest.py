"""Fixtures shared by all tests. JAX keeps its own default (float32): vi_kl has to switch to float64 by itself."""

import jax
import pytest


@pytest.fixture
def key():
    return jax.random.key(20261123)


@pytest.fixture(scope="module")
def compiled_quickly():
    """For files of many small programs, each run a few times: they are compiled without optimisations."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(autouse=True)
def the_callers_precision_is_untouched():
    before = jax.config.jax_enable_x64
    yield
    assert jax.config.jax_enable_x64 == before
