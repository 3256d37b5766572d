"""Large arrays where XLA reads them in place.

On the CPU a compiled program reads a NumPy argument where it is if its memory begins at a multiple of 64 bytes, and
copies it at every call otherwise, as NumPy's own memory seldom does. Of a million rows that copy takes longer than a
climb's step.
"""

import math
from typing import Any

import numpy as np

BOUNDARY = 64  # bytes
LARGE = 2**16  # bytes; smaller arrays are copied in a few microseconds


def aligned(leaf: Any) -> Any:
    """Return a large NumPy array as one that XLA reads in place, a copy unless it is one already; else as it is."""
    if not isinstance(leaf, np.ndarray) or leaf.nbytes < LARGE or leaf.dtype.hasobject or is_read_in_place(leaf):
        return leaf
    return aligned_copy(leaf, leaf.dtype)


def aligned_copy(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return a copy of an array, of this type, which XLA reads in place."""
    copy = empty_aligned(array.shape, dtype)
    copy[...] = array
    return copy


def empty_aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array, not yet written, which XLA reads in place."""
    length = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(length + BOUNDARY, np.uint8)
    first = -room.ctypes.data % BOUNDARY
    return room[first : first + length].view(dtype).reshape(shape)


def is_read_in_place(array: np.ndarray) -> bool:
    return bool(array.flags.c_contiguous and array.ctypes.data % BOUNDARY == 0)
