"""The divergences are many small programs, each run a few times: they are compiled without optimisations."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="package")
def compiled_quickly():
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
