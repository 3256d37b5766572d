"""Scrambled Sobol points, those of `scipy.stats.qmc.Sobol` bit by bit, without SciPy's statistics.

To import scipy.stats takes half a second of a processor, as much as all else of many a fit. Its direction numbers,
those of Joe & Kuo, lie in a file of SciPy's; where it is not found, SciPy's class is taken.

Reference: Joe & Kuo (2008), "Constructing Sobol sequences with better two-dimensional projections"; for the scrambling
by random linear maps Matousek (1998), "On the L2-discrepancy for anchored boxes".
"""

import functools
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt32

BITS = 30
MOST_DIMENSIONS = 21_201
PLACES = np.arange(BITS - 1, -1, -1, dtype=np.uint32)  # of the bits of a point, the most significant first


def sobol_points(generator: np.random.Generator, n: int, dim: int) -> Float[np.ndarray, "n dim"]:
    """Return n scrambled points of the unit cube, n a power of two, in up to MOST_DIMENSIONS dimensions."""
    numbers = direction_numbers()
    if numbers is None:
        from scipy.stats import qmc

        return qmc.Sobol(dim, rng=generator).random(n)
    child = generator.spawn(1)[0]
    shift = child.integers(2, size=(dim, BITS), dtype=np.uint32) << PLACES[::-1]
    maps = np.tril(child.integers(2, size=(dim, BITS, BITS), dtype=np.uint32), -1) + np.eye(BITS, dtype=np.uint32)
    directions = scrambled(directions_of(*(part[:dim] for part in numbers)), maps)
    points = shift.sum(axis=1, dtype=np.uint32)[None]
    for bit in range(n.bit_length() - 1):  # in the order of Gray's code, of which each half mirrors the other
        points = np.concatenate([points, points[::-1] ^ directions[:, bit]])
    return points * 0.5**BITS


@functools.cache
def direction_numbers() -> tuple[np.ndarray, np.ndarray] | None:
    """Return each dimension's primitive polynomial, (dims,), and first numbers, (dims, k); None if not found."""
    found = find_spec("scipy")
    for folder in (found and found.submodule_search_locations) or ():
        file = Path(folder, "stats", "_sobol_direction_numbers.npz")
        if file.exists():
            with np.load(file) as arrays:
                if {"poly", "vinit"} <= set(arrays):
                    return arrays["poly"].astype(np.uint32), arrays["vinit"].astype(np.uint32)
    return None


def directions_of(polynomials: UInt32[np.ndarray, " dim"], first: UInt32[np.ndarray, "dim k"]) -> np.ndarray:
    """Return the direction of each dimension for each bit of a point's number, (dim, BITS), by their recurrence."""
    degrees = np.array([int(polynomial).bit_length() - 1 for polynomial in polynomials])
    found = np.zeros((len(polynomials), BITS), np.uint32)
    found[0] = 1  # the first dimension is van der Corput's
    rows = np.arange(len(polynomials))
    for j in range(BITS):
        given = (j < degrees) & (rows > 0)
        found[given, j] = first[given, j] if j < first.shape[1] else 0
        made = (j >= degrees) & (rows > 0)
        value = found[made, j - degrees[made]]
        for k in range(1, degrees.max() + 1):
            degree = degrees[made]
            enters = (k <= degree) & (polynomials[made] >> np.maximum(degree - k, 0).astype(np.uint32) & 1 > 0)
            value = value ^ np.where(enters, found[made, max(j - k, 0)] << np.uint32(k), 0)
        found[made, j] = value
    return found << PLACES


def scrambled(directions: UInt32[np.ndarray, "dim bits"], maps: UInt32[np.ndarray, "dim bits bits"]) -> np.ndarray:
    """Return directions with each dimension's bits mapped by a lower triangular matrix, the most significant first."""
    bits = directions[:, :, None] >> PLACES & 1
    mapped = np.einsum("djk,dpk->djp", bits, maps, optimize=True) & 1
    return (mapped << PLACES).sum(axis=2, dtype=np.uint32)
