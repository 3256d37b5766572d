"""Numbers and arrays in expressions: arithmetic in float64 and a few array functions, none of them unbounded."""

import ast
import math
import operator

import numpy as np

from vi_kl.cli.divergence.input_errors import ExpressionError, Place

MOST_ENTRIES = 100_000  # the most entries of an array, or of one value of a distribution
EXACT_INTEGERS = 2**53  # beyond it whole numbers are floats
SMALLEST = float(np.finfo(np.float64).smallest_normal)
TOO_LARGE = "This is larger than the largest number there is, 1.8e308; infinity is written inf."
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
ARRAY_FUNCTIONS = {"arange": np.arange, "diag": np.diag, "eye": np.eye, "ones": np.ones, "zeros": np.zeros}


def number(value: int | float, place: Place) -> int | float:
    """Return a literal as it is, or as a float if it is a whole number that floats may not hold exactly."""
    if isinstance(value, int) and abs(value) <= EXACT_INTEGERS:
        return value
    try:
        value = float(value)
    except OverflowError:
        value = math.inf
    if math.isinf(value):  # as Python reads 1e999
        raise ExpressionError(TOO_LARGE, place)
    check_not_lost(value, place)
    return value


def calculate(operation: type[ast.operator], left, right, place: Place):
    """Compute `left operation right` in float64, so that 9**9**9 overflows at once; small whole numbers stay whole."""
    try:
        shape = np.broadcast_shapes(np.shape(left), np.shape(right))
    except ValueError:
        sentence = f"Arrays of shapes {np.shape(left)} and {np.shape(right)} do not fit together."
        raise ExpressionError(sentence, place) from None
    check_entries(math.prod(shape), place)
    if operation is ast.Div and np.any(np.equal(right, 0)):
        raise ExpressionError("This divides by zero.", place)
    with np.errstate(all="ignore"):
        result = OPERATORS[operation](np.float64(left), np.float64(right))
    if np.isnan(result).any():
        raise ExpressionError("This has no value among the real numbers.", place)
    if np.isinf(result).any() and np.isfinite(left).all() and np.isfinite(right).all():
        raise ExpressionError(TOO_LARGE, place)
    check_not_lost(result, place)
    whole = isinstance(left, int) and isinstance(right, int) and operation is not ast.Div
    if whole and result == np.trunc(result) and abs(result) <= EXACT_INTEGERS:
        return int(result)
    return float(result) if result.ndim == 0 else result


def check_not_lost(values, place: Place) -> None:
    """Refuse subnormal numbers, which JAX takes for 0, so that Normal(0, 1e-320) would have no density at all."""
    sizes = np.abs(values)
    if np.any((sizes > 0) & (sizes < SMALLEST)):
        raise ExpressionError(f"This is too close to 0: the smallest number here is {SMALLEST:.2g}.", place)


def array(name: str, values: list, places: list[Place], place: Place) -> np.ndarray:
    """Make the array written as eye(3), zeros(3), ones([2, 3]), diag([1, 2]), arange(5) or arange(1, 5, 0.5)."""
    if name == "arange":
        entries = entries_of_range(values, place)
    elif len(values) != 1:
        raise ExpressionError(f"{name} takes one argument.", place)
    elif name == "diag":
        if np.ndim(values[0]) != 1:
            raise ExpressionError("diag takes a list of numbers.", places[0])
        entries = len(values[0]) ** 2
    else:
        sizes = as_sizes(values[0], places[0])
        if name == "eye" and len(sizes) > 1:
            raise ExpressionError("eye takes one whole number: its matrices are square.", places[0])
        values = [sizes[0] if name == "eye" else sizes]
        entries = math.prod(sizes) ** (2 if name == "eye" else 1)
    check_entries(entries, place)
    return ARRAY_FUNCTIONS[name](*values)


def entries_of_range(values: list, place: Place) -> float:
    """Return how many entries arange will have, before it is made."""
    if not 1 <= len(values) <= 3 or any(np.ndim(value) for value in values) or not np.isfinite(values).all():
        raise ExpressionError("arange takes one to three numbers: arange(stop) or arange(start, stop, step).", place)
    start, stop, step = (0, *values, 1) if len(values) == 1 else (*values, 1)[:3]
    if step == 0:
        raise ExpressionError("The step of arange must not be 0.", place)
    return max(0.0, (float(stop) - start) / step)


def as_sizes(value, place: Place) -> tuple[int, ...]:
    """Return the sizes of a shape that is given as one whole number or as a list of them."""
    sizes = np.atleast_1d(value)
    if sizes.ndim != 1 or sizes.dtype.kind != "i" or (sizes < 1).any():
        raise ExpressionError("A size is a whole number from 1 on, and a shape a list of sizes.", place)
    return tuple(int(size) for size in sizes)


def check_entries(entries: float, place: Place) -> None:
    """Refuse an array with too many entries."""
    if entries > MOST_ENTRIES:
        sentence = f"This has {entries:,.0f} entries, and at most {MOST_ENTRIES:,} are allowed."
        raise ExpressionError(sentence, place)
