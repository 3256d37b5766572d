"""NumPy arrays in JAX programs, when 64-bit types are switched on and off within one process.

JAX keeps the typed constant that it makes of a NumPy array for as long as some program holds it, and looks it up by
the array alone (jax 0.10: `canonicalize_value`, a weak cache whose key leaves out `jax_enable_x64`). Where one part of
a process computes in 32 bits and another in 64, whichever comes second gets the first one's type: data rounded to
float32 without a word, "lax.add requires arguments to have the same dtypes, got int32, int64" for an index, or a buffer
of the wrong type. vi_kl switches 64-bit types on and off, so it puts this right, for its own programs and for everyone
else's, the first time it does so. Nothing is done where JAX does not have the fault.
"""

import functools
import threading
import weakref

import jax
import numpy as np

try:  # JAX offers no public way to say how a NumPy array becomes a constant
    from jax._src import dtypes
    from jax._src.literals import TypedNdArray
except ImportError:
    dtypes = TypedNdArray = None


@functools.cache
def tell_precisions_apart() -> bool:
    """Make JAX include the precision when it looks up a NumPy array, and return whether it does so now."""
    if not precisions_are_mixed_up():
        return True
    constants = Constants()
    dtypes.register_canonicalize_value_handler(np.ndarray, constants.typed)
    return not precisions_are_mixed_up()


def precisions_are_mixed_up() -> bool:
    """Return whether a constant made in 32 bits is found again in 64."""
    try:
        array = np.zeros(1)
        with jax.enable_x64(False):
            narrow = dtypes.canonicalize_value(array)
        with jax.enable_x64(True):
            wide = dtypes.canonicalize_value(array)
        return isinstance(narrow, TypedNdArray) and narrow.dtype == wide.dtype
    except (AttributeError, TypeError):  # a JAX that works in another way
        return False


class Constants:
    """A table of the constants that JAX makes of NumPy arrays: one for each array and type, while anyone holds it."""

    def __init__(self):
        self.found: dict = {}
        self.lock = threading.Lock()

    def typed(self, array: np.ndarray):
        dtype = jax.dtypes.canonicalize_dtype(array.dtype)
        key = id(array), dtype.str
        with self.lock:
            source, constant = (ref() for ref in self.found.get(key, (nothing, nothing)))
            if source is array and constant is not None:
                return constant
            constant = TypedNdArray(np.asarray(array, dtype))
            self.found[key] = weakref.ref(array), weakref.ref(constant, lambda ref: self.forget(key, ref))
            return constant

    def forget(self, key, ref) -> None:
        # taken without the lock, which this thread may hold while garbage is collected
        entry = self.found.get(key)
        if entry is not None and entry[1] is ref:
            self.found.pop(key, None)


def nothing() -> None:
    return None
