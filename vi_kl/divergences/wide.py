"""Closed forms are evaluated in float64 and returned in the caller's dtype.

Written without cancellation they keep more than 12 of float64's 16 digits in the worst cases known, so that a
caller in JAX's default float32 gets the exact value rounded once. This works inside jit, grad and vmap; the
switch is scoped and leaves the caller's setting alone.
"""

import functools

import jax
import jax.numpy as jnp


def in_wide_precision(function):
    """Jit `function` of floating arrays in float64; return its result in the arguments' common dtype.

    Positional arguments are arrays, keyword arguments are static: part of the code.
    """
    compiled = functools.cache(
        lambda *static: jax.jit(functools.partial(function, **dict(static)))  # one jit per set of keywords
    )

    @functools.wraps(function)
    def wrapped(*arrays, **static):
        dtype = jnp.result_type(float, *arrays)  # Python numbers and NumPy arrays follow JAX's default
        with jax.enable_x64(True):
            wide = (jnp.asarray(array, dtype=jnp.float64) for array in arrays)
            return compiled(*sorted(static.items()))(*wide).astype(dtype)

    return wrapped
