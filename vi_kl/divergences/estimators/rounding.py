"""Rounded draws: how many should coincide for that reason, and where in its cell each may have been.

A draw of a density has probability 0 of repeating another. A draw in float32 may repeat another: its values are 2^-23
of themselves apart, and the uniform numbers that most generators make it from are 2^-23 apart too, so that of 5,000
draws one or two repeat another (a birthday problem). Many more than that, or repetitions in a row, are not due to
rounding.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

UNLIKELY = 1e-6  # the chance of so many coincidences, below which they are not attributed to rounding
COARSEST = 1 / 200  # share of draws with one value: wider cells would hide how the densities change
MOST_DECIMALS = 6


class Precision(NamedTuple):
    """A precision that numbers were rounded to: binary digits, or multiples of a step; and its description."""

    words: str
    digits: int
    step: float = 0.0


class Rounding(NamedTuple):
    """A record of the rounding of n draws.

    It holds the width of the cell that each was rounded within, and the chance that another draw has the same cell.
    """

    precision: Precision
    widths: np.ndarray
    chances: np.ndarray


def precision_of(draws) -> Precision:
    """Return the precision, from dtype and content.

    Numbers of float32, or with few decimals, may be held in float64.
    """
    dtype = draws.dtype if hasattr(draws, "dtype") else np.asarray(draws).dtype
    if not jnp.issubdtype(dtype, jnp.floating):
        return Precision(str(dtype), 52)
    values = np.asarray(draws, dtype=np.float64)
    if dtype.itemsize < 8:
        return Precision(str(dtype), int(jnp.finfo(dtype).nmant), decimal_step(values, single=True))
    if np.array_equal(values.astype(np.float32), values):
        return Precision("float32", 23)
    step = decimal_step(values, single=False)
    return Precision(f"multiples of {step:g}" if step else "float64", 52, step)


def decimal_step(values: np.ndarray, single: bool) -> float:
    """Return the step of the decimals that all values are given with; 0 for whole numbers, and for many decimals."""
    if np.array_equal(np.round(values), values):
        return 0.0
    for decimals in range(1, MOST_DECIMALS + 1):
        rounded = np.round(values, decimals)
        if np.array_equal(rounded.astype(np.float32) if single else rounded, values):
            return 10.0**-decimals
    return 0.0


def rounding_of(draws: np.ndarray, precision: Precision) -> Rounding:
    """Return the rounding of draws.

    The chances follow from the draws' own density, taken from the distance over which each column holds a few of them.
    """
    count = len(draws)
    spacings = np.stack([local_spacing(column) for column in draws.T], axis=1)  # this is 1 / (n density)
    steps = np.maximum(np.ldexp(0.5, np.frexp(draws)[1] - precision.digits), precision.step)
    with np.errstate(divide="ignore", invalid="ignore"):
        chances = np.where(spacings > 0, steps / (count * spacings), 1.0)
    chances = np.clip(chances, 2.0**-precision.digits, 1.0)
    return Rounding(precision, np.maximum(chances * count * spacings, steps), joint(chances, draws))


def joint(chances: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return the chances for all columns at once; correlated ones coincide together more often, as in a Gaussian."""
    if draws.shape[1] == 1:
        return chances[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = np.linalg.det(np.corrcoef(draws, rowvar=False))
    correlated = 1 / math.sqrt(determinant) if determinant > 0 else math.inf
    return np.minimum(chances.prod(1) * correlated, chances.min(1))


def local_spacing(column: np.ndarray) -> np.ndarray:
    """Return the mean distance between neighbours around each value."""
    reach = max(16, len(column) // 100)
    order = np.argsort(column)
    places = np.arange(len(column))
    low, high = np.maximum(places - reach, 0), np.minimum(places + reach, len(column) - 1)
    spacings = np.empty(len(column))
    spacings[order] = (column[order][high] - column[order][low]) / (high - low)
    return spacings


def most_by_chance(expected: float) -> int:
    """Return the most coincidences that rounding may explain, given their expected number."""
    from scipy.stats import poisson  # imported here, as it takes a second

    return int(poisson.isf(UNLIKELY, expected)) if expected > 0 else 0


def within_cells(draws: np.ndarray, rounding: Rounding, generator: np.random.Generator) -> np.ndarray:
    """Return each draw moved at random within the cell that it was rounded to, as far as is known."""
    return draws + generator.uniform(-0.5, 0.5, draws.shape) * rounding.widths
