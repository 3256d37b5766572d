"""Lower triangular factors of covariances, taken with every coordinate in its own scale.

A posterior in its parameters' own units may have variances twenty orders of magnitude apart, where Cholesky's method
rejects positive definite matrices. In units of each coordinate's own sd it fails only near exact collinearity,
where eigenvalues below the rounding error are raised to that error.
"""

import numpy as np

FLOOR = 1e-14  # relative to the largest eigenvalue in the coordinates' own scales: a zero after rounding


def tril_of_covariance(covariance: np.ndarray) -> np.ndarray:
    """Return L such that L L' is the covariance, which is positive definite up to rounding.

    Raises:
        LinAlgError: a variance is not positive, or an entry is not finite.
    """
    scale = own_scales(covariance)
    scaled = covariance / scale[:, None] / scale
    try:
        return scale[:, None] * np.linalg.cholesky((scaled + scaled.T) / 2)
    except np.linalg.LinAlgError:
        values, vectors = floored_eigh(scaled)
        return scale[:, None] * tril_of_root(vectors * np.sqrt(values))


def tril_of_precision(precision: np.ndarray) -> np.ndarray:
    """Return L such that L L' is the inverse of a matrix that is positive definite up to rounding.

    Raises:
        LinAlgError: an entry of the diagonal is not positive, or an entry of the matrix is not finite.
    """
    scale = own_scales(precision)
    values, vectors = floored_eigh(precision / scale[:, None] / scale)
    return tril_of_root(vectors / np.sqrt(values)) / scale[:, None]


def tril_of_root(root: np.ndarray) -> np.ndarray:
    """Return L such that L L' = root root', for any square root; no square of it is formed."""
    upper = np.linalg.qr(root.T, mode="r")
    return upper.T * np.where(np.diag(upper) < 0, -1.0, 1.0)


def own_scales(matrix: np.ndarray) -> np.ndarray:
    diagonal = np.diag(matrix)
    if not (np.isfinite(matrix).all() and (diagonal > 0).all()):
        raise np.linalg.LinAlgError("a variance is zero, negative or not finite")
    return np.sqrt(diagonal)


def floored_eigh(scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eigh((scaled + scaled.T) / 2)
    return np.maximum(values, FLOOR * values[-1]), vectors
