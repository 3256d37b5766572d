"""Random keys: JAX keys, or integers in their place, and NumPy generators, whose draws need no compilation.

JAX compiles `jax.random.split` anew for each number of keys, and again to take them apart, which all together is a
second of a first fit. `split` and `fold_in` here give the same keys, computed by NumPy (threefry.py). Within compiled
code JAX's own are as good.
"""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from vi_kl.core import threefry

HOW = "Pass key=jax.random.key(0), or an integer such as key=0; the same key gives the same numbers."


def as_key(key: Any, name: str = "key") -> PRNGKeyArray:
    """Return one JAX random key.

    Args:
        key: a JAX key, an integer, or an old-style key (an array of raw uint32 numbers).
        name: the argument's name, for the message.

    Raises:
        TypeError: it is none of these; the message says what it is.
        ValueError: it is an integer beyond 64 bits, or holds several keys.
    """
    if isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.shape == ():
            return key
        raise ValueError(f"{name} holds {key.size} keys, of shape {key.shape}, and one is required: {name}[0], say.")
    if isinstance(key, bool | np.bool_):
        raise TypeError(f"{name} must be a random key, got {key}. {HOW}")
    if isinstance(key, int | np.integer):
        return from_integer(int(key), name)
    if isinstance(key, np.ndarray | jax.Array):
        return from_array(key, name)
    if key is None or key is inspect.Parameter.empty:
        raise TypeError(f"A random {name} is required and missing. {HOW}")
    raise TypeError(f"{name} must be a random key, got {type(key).__name__}. {HOW}")


def from_integer(seed: int, name: str) -> PRNGKeyArray:
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"{name} is {seed}, an integer beyond 64 bits: take a smaller one.")
    with jax.enable_x64(True):  # an integer means the same key whatever the caller's setting
        return jax.random.key(np.uint64(seed % 2**64))


def from_array(key: np.ndarray | jax.Array, name: str) -> PRNGKeyArray:
    if key.dtype == np.uint32 and key.ndim and key.shape == jax.random.key_data(jax.random.key(0)).shape:
        return jax.random.wrap_key_data(jnp.asarray(key))
    if key.ndim == 0 and jnp.issubdtype(key.dtype, jnp.integer):
        return jax.random.key(key) if isinstance(key, jax.core.Tracer) else from_integer(int(key), name)
    raise TypeError(f"{name} must be a random key, got an array of {key.dtype} of shape {key.shape}. {HOW}")


def key_text(key: Any) -> str:
    """Return what makes a key again: the integer that stands for it, or else the call of JAX that wraps its numbers."""
    key = as_key(key)
    data = np.asarray(jax.random.key_data(key))
    if data.shape == (2,):
        seed = int(data[0]) << 32 | int(data[1])
        same = from_integer(seed, "key")
        if same.dtype == key.dtype:
            return str(seed)
    return f'jax.random.wrap_key_data(numpy.array({data.tolist()}, "uint32"), impl="{jax.random.key_impl(key)}")'


def is_key(value: Any) -> bool:
    """Return whether a value is a JAX key beyond doubt (an integer may be one, or a number)."""
    return isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)


def numpy_generator(key: Any) -> np.random.Generator:
    """Return NumPy's generator seeded by a JAX key: the same key gives the same draws."""
    return np.random.default_rng(np.asarray(jax.random.key_data(as_key(key))))


def split(key: Any, num: int = 2) -> list[PRNGKeyArray]:
    """Return the keys of `jax.random.split(key, num)`, as a list."""
    # by JAX's own defaults a key does not depend on how many there are
    if not (is_usual(key) and jax.config.jax_threefry_partitionable):  # type: ignore[attr-defined]
        return list(jax.random.split(key, num))
    return children_of(key, np.arange(num, dtype=np.uint32))


def fold_in(key: Any, number: int) -> PRNGKeyArray:
    """Return the key `jax.random.fold_in(key, number)`."""
    if not is_usual(key):
        return jax.random.fold_in(key, np.uint32(number))
    return children_of(key, np.array([number], np.uint32))[0]


def is_usual(key: Any) -> bool:
    """Return whether this is one key of JAX's default kind, whose numbers are known."""
    return str(key.dtype) == "key<fry>" and key.shape == () and not isinstance(key, jax.core.Tracer)


def children_of(key: PRNGKeyArray, numbers: np.ndarray) -> list[PRNGKeyArray]:
    """Return the keys that are made of a key and each of these numbers."""
    found = threefry.children(np.asarray(jax.random.key_data(key)), numbers)
    return [jax.random.wrap_key_data(one) for one in found]
