"""Checks of data and priors; an error names the argument, the place in it and the value."""

import numpy as np


def numbers(name: str, values, ndim: int | tuple[int, ...]) -> np.ndarray:
    """Return a finite float array with this number of axes (or one of these), not empty."""
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers in a regular array: {error}.") from error
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if array.ndim not in allowed:
        wanted = " or ".join(("a single number", "a vector", "a matrix")[n] for n in allowed)
        raise ValueError(f"{name} must be {wanted}, got shape {array.shape}.")
    if array.size == 0:
        raise ValueError(f"{name} is empty (shape {array.shape}).")
    refuse(name, array, ~np.isfinite(array), "not finite")
    return array


def positive(name: str, values, ndim: int | tuple[int, ...]) -> np.ndarray:
    array = numbers(name, values, ndim)
    refuse(name, array, array <= 0, "not positive")
    return array


def counts(name: str, values, ndim: int) -> np.ndarray:
    array = numbers(name, values, ndim)
    refuse(name, array, array < 0, "negative")
    refuse(name, array, array != np.round(array), "not a whole number")
    return array.astype(np.int64)


def same_length(name: str, array: np.ndarray, other_name: str, other: np.ndarray) -> None:
    if len(array) != len(other):
        raise ValueError(f"{name} has {len(array)} entries and {other_name} {len(other)}: the numbers must be equal.")


def vector_of(name: str, values, length: int, check=numbers) -> np.ndarray:
    """Return a vector of this length; a single number is repeated."""
    array = check(name, values, (0, 1))
    if array.ndim == 1 and len(array) != length:
        raise ValueError(f"{name} has {len(array)} entries; it must be a single number or have {length}.")
    return np.broadcast_to(array, (length,)).copy()


def refuse(name: str, array: np.ndarray, bad: np.ndarray, what: str) -> None:
    """Raise an error for the first entry that is bad."""
    if bad.any():
        index = tuple(map(int, np.argwhere(bad)[0]))
        place = f"[{', '.join(map(str, index))}]" if index else ""
        raise ValueError(f"{name}{place} is {what}: {array[index]:.10g}.")
