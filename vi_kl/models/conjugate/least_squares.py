"""Linear models with normal noise and normal priors: one least-squares problem, with the prior as further rows."""

import numpy as np


def least_squares(design, response) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the normal distribution proportional to exp(-|response - design b|^2 / 2).

    It is computed by a QR factorisation of the design, whose condition number is the square root of the precision's.

    Returns:
        The mean, the Cholesky factor of the covariance, and |response - design mean|^2.
    """
    # With the columns in reverse, the inverse of R, reversed again, is the covariance's lower Cholesky factor.
    q, r = np.linalg.qr(design[:, ::-1])
    mean = np.linalg.solve(r, q.T @ response)[::-1]
    scale_tril = np.linalg.inv(r)[::-1, ::-1]
    scale_tril = np.tril(scale_tril) * np.sign(np.diag(scale_tril))
    return mean, scale_tril, float(np.sum((response - design @ mean) ** 2))


def log_evidence(scale_tril, residual: float, log_scales: float, num_data: int) -> float:
    """Return the log of the integral of normal densities over b.

    Args:
        scale_tril, residual: the results of `least_squares` for rows divided by their sd.
        log_scales: the sum of the logs of all these sds, the prior's among them.
        num_data: the number of rows that are data.
    """
    return np.sum(np.log(np.diag(scale_tril))) - log_scales - 0.5 * (residual + num_data * np.log(2 * np.pi))
