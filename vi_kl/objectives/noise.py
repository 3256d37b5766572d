"""Standard normal noise that is more even than random: scrambled Sobol points in pairs of opposite sign.

Its odd moments are zero exactly. `opposite_noise` is otherwise unbiased; `matched_noise` has the second moments of the
standard normal exactly too, at the price of a bias of order 1/n, and so the best normal of a normal posterior is found
on it without error.

Reference: Owen (1997), "Scrambled net variance for integrals of smooth functions".
"""

import numpy as np
from scipy.special import ndtri

from vi_kl.objectives.sobol import MOST_DIMENSIONS, sobol_points

PER_DIMENSION = 4  # draws per dimension from which on a covariance can be fitted to them


def sobol_normals(generator: np.random.Generator, n: int, dim: int) -> np.ndarray:
    """Return n rows of normal noise, of shape (n, dim), from scrambled Sobol points.

    They are most even where n is a power of two. In more dimensions than Sobol points have, the rows are random.
    """
    if dim > MOST_DIMENSIONS:
        return generator.standard_normal((n, dim))
    uniform = sobol_points(generator, 2 ** int(np.ceil(np.log2(max(n, 1)))), dim)[:n]
    return ndtri(np.clip(uniform, 1e-12, 1 - 1e-12))


def opposite_noise(generator: np.random.Generator, n: int, dim: int) -> np.ndarray:
    """Return n rows, n even, whose second half is the first with its sign changed: averages over them are unbiased."""
    half = sobol_normals(generator, n // 2, dim)
    return np.concatenate([half, -half])


def matched_noise(generator: np.random.Generator, n: int, dim: int) -> np.ndarray:
    """Return n opposite rows with exact second moments.

    All second moments are exact if there are four draws per dimension, else the variances only.
    """
    half = sobol_normals(generator, n // 2, dim)
    if n >= PER_DIMENSION * dim:
        values, vectors = np.linalg.eigh(half.T @ half / len(half))
        half = half @ (vectors / np.sqrt(values)) @ vectors.T
    else:
        half = half / np.sqrt(np.mean(half**2, axis=0))
    return np.concatenate([half, -half])


def enough_draws(num_draws: int, dim: int) -> int:
    """Return the least power of two (so that Sobol points are even) with as many draws as a covariance needs."""
    return 2 ** int(np.ceil(np.log2(max(num_draws, PER_DIMENSION * dim))))
