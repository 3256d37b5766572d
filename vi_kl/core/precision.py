"""Float64 inside, whatever the caller's default.

JAX computes in float32 unless told otherwise. vi_kl never changes that setting for its caller; its public
functions switch to float64 for their own duration only, and hand concrete results back as NumPy arrays, because
a float64 JAX array outside the switch would be rounded to float32 at its next use.
"""

import functools
from collections.abc import Callable
from typing import TypeVar, cast

import jax
import numpy as np

from vi_kl.core.aligned import LARGE, aligned_copy
from vi_kl.core.kept_programs import let_go_if_grown
from vi_kl.core.numpy_constants import tell_precisions_apart

F = TypeVar("F", bound=Callable)


def x64_types():
    """Return a context with 64-bit JAX types.

    Every switch that meets arrays of the caller uses this function; so it is also where the process's size is looked
    at.
    """
    let_go_if_grown()
    tell_precisions_apart()
    return jax.enable_x64(True)


def in_float64(function: F) -> F:
    """Run `function` with 64-bit JAX types; return its concrete arrays as NumPy arrays.

    Inside another such call, or where the caller has switched 64-bit types on, nothing changes. Values that are
    being traced (inside jit, grad or vmap) stay as they are.
    """

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        if jax.config.jax_enable_x64:  # type: ignore[attr-defined]  # JAX makes its attributes as it runs
            return function(*args, **kwargs)
        with x64_types():
            result = function(*args, **kwargs)
        return jax.tree.map(as_numpy, result, is_leaf=is_not_container)

    return cast(F, wrapped)


def is_not_container(value) -> bool:
    """Return whether a value is not a plain container.

    Only plain containers are searched for arrays: a Target or a fit is handed back as it is.
    """
    return not isinstance(value, tuple | list | dict)


def as_numpy(leaf):
    """Return a concrete JAX array as a NumPy array, and anything else (tracers, keys, other objects) as it is."""
    if not isinstance(leaf, jax.Array) or isinstance(leaf, jax.core.Tracer):
        return leaf
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    return np.asarray(leaf)


def as_float64(leaf):
    """Return a float or integer array at 64 bits, and booleans and other values as they are.

    It must be called inside `in_float64`.
    """
    array = np.asarray(leaf) if not isinstance(leaf, jax.core.Tracer) else leaf
    if array.dtype.kind not in "fiu":
        return leaf
    dtype = np.float64 if array.dtype.kind == "f" else np.int64
    if isinstance(array, np.ndarray) and array.size * 8 >= LARGE:
        return aligned_copy(array, dtype)
    return array.astype(dtype)


def owned(leaf):
    """Return a copy of a float or integer array that its owner cannot write to any longer, in its own type.

    The type is changed only where JAX has none like it: numbers of more than 64 bits, or in another byte order.
    """
    if isinstance(leaf, jax.Array):  # which nobody writes to
        return np.asarray(leaf)
    dtype = np.dtype(np.float64) if leaf.dtype == np.longdouble else leaf.dtype.newbyteorder("=")
    return aligned_copy(leaf, dtype) if leaf.size * dtype.itemsize >= LARGE else leaf.astype(dtype)
