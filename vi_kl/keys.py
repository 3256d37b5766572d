"""JAX keys for NumPy's generators: draws that need no gradient need no compilation either."""

import jax
import numpy as np


def numpy_generator(key) -> np.random.Generator:
    """NumPy's generator seeded by a JAX key: the same key gives the same draws."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))
