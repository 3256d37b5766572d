"""Checks of numbers that users give: numbers of draws, steps, dimensions; values of a density."""

import operator
from typing import Any

import jax.numpy as jnp


def whole_number(name: str, value: Any, at_least: int = 1) -> int:
    """Return `value` as an int, after checking it.

    Args:
        name: the argument's name, for the message.
        value: a Python or NumPy integer, or a float without a fraction (1e4).
        at_least: the smallest value allowed.

    Raises:
        TypeError: it is not a number.
        ValueError: it has a fraction, or is too small.
    """
    if isinstance(value, bool | str):
        raise TypeError(f"{name} must be a whole number, got {value!r}.")
    try:
        number = operator.index(value)
    except TypeError:
        try:
            number = int(value)
            whole = number == float(value)
        except (TypeError, ValueError, OverflowError):
            raise TypeError(f"{name} must be a whole number, got {type(value).__name__} {value!r}.") from None
        if not whole:
            raise ValueError(f"{name} must be a whole number, got {value!r}.") from None
    if number < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {number}.")
    return number


def is_numeric(x: Any) -> bool:
    """Return whether JAX takes `x` for a number or an array of numbers."""
    try:
        jnp.result_type(x)
    except (TypeError, ValueError):
        return False
    return not isinstance(x, str | type(None))
