"""Pareto k-hat: how heavy the tail of importance ratios is, judged from the ratios alone.

Moments of order 1/k and more are infinite. Below 0.5 the ratios have a finite variance, so that their mean has a
standard error; above 0.7 no practical number of draws makes it reliable. It sees only where the draws fell: a
region that none of them visits does not show in it.

References: Vehtari, Simpson, Gelman, Yao & Gabry (2024), "Pareto smoothed importance sampling"; Zhang & Stephens
(2009), "A new and efficient estimation method for the generalized Pareto distribution".
"""

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

FEWEST_IN_TAIL = 5  # points that a shape can be fitted to

# Above it no practical number of draws makes a mean of the weights reliable. A lower threshold would look safer and is
# not: samples that happen to lack large weights pass it more often, and their intervals cover less.
RELIABLE = 0.7


def pareto_k(log_weights: npt.ArrayLike) -> float:
    """Estimate the shape of a generalised Pareto distribution fitted to the largest weights.

    Args:
        log_weights: the log ratios of two densities at n draws of the denominator, up to a constant; 100 or more.
            -inf is a ratio of zero.

    Returns:
        The shape k-hat; -inf if no weight is more than a tenth above the average, so that there is practically no tail
        (k-hat has no scale, and would judge the shape of differences that do not matter), and if the largest
        weights are all equal, as those of discrete distributions can be; +inf if fewer than five weights hold
        everything that floating point distinguishes from zero.

    Raises:
        ValueError: there are fewer than 100 weights, or a NaN or +inf among them.
    """
    log_weights = np.asarray(log_weights, dtype=float)
    if log_weights.ndim != 1 or len(log_weights) < 100:
        raise ValueError(f"k-hat needs at least 100 weights in one axis, got shape {log_weights.shape}.")
    if np.isnan(log_weights).any() or (log_weights == np.inf).any():
        raise ValueError("The log weights hold NaN or +inf: a density vanishes at one of its own draws.")
    weights = np.exp(np.sort(log_weights) - log_weights.max())
    if np.count_nonzero(weights) < FEWEST_IN_TAIL:
        return np.inf
    tail = tail_length(len(weights))
    exceedances = weights[-tail:] - weights[-tail - 1]
    exceedances = exceedances[exceedances > 0]  # weights of discrete distributions repeat
    tail = len(exceedances)
    if tail < FEWEST_IN_TAIL or weights[-1] <= 1.1 * weights.mean():
        return -np.inf
    return fit_generalised_pareto(exceedances)[0]


def tail_length(n: int) -> int:
    """Return how many of n weights count as the tail."""
    return int(np.ceil(min(0.2 * n, 3 * np.sqrt(n))))


def smooth_tail(log_weights) -> np.ndarray:
    """Return the log weights with the largest replaced by expected order statistics of the Pareto fitted to them.

    The smoothed weights do not exceed the largest one. If there is practically no tail (`pareto_k` is -inf), and
    if weights in the tail are tied, they are returned unchanged.
    """
    log_weights = np.asarray(log_weights, dtype=float)
    if pareto_k(log_weights) == -np.inf:
        return log_weights
    order = np.argsort(log_weights)
    highest = log_weights[order[-1]]
    weights = np.exp(log_weights[order] - highest)
    tail = tail_length(len(weights))
    below = weights[-tail - 1]
    exceedances = weights[-tail:] - below
    if (exceedances <= 0).any():
        return log_weights
    shape, scale = fit_generalised_pareto(exceedances)
    quantiles = (np.arange(1, tail + 1) - 0.5) / tail
    expected = scale * np.expm1(-shape * np.log1p(-quantiles)) / shape
    smoothed = log_weights.copy()
    smoothed[order[-tail:]] = np.minimum(np.log(below + expected), 0.0) + highest
    return smoothed


def smoothed_weights(log_weights: np.ndarray) -> np.ndarray:
    """Return weights that add up to one, with their tail replaced by that of the Pareto distribution fitted to it."""
    smoothed = smooth_tail(log_weights)
    return np.exp(smoothed - logsumexp(smoothed))


def effective_share(weights: np.ndarray) -> float:
    """Return the effective sample size (Kish) of normalised weights, as a share of the draws."""
    return float(1 / (np.sum(weights**2) * len(weights)))


def fit_generalised_pareto(exceedances: np.ndarray) -> tuple[float, float]:
    """Return shape k and scale of sorted positive exceedances, by Zhang & Stephens; k is drawn a little towards 0.5."""
    n = len(exceedances)
    num_grid = 30 + int(np.sqrt(n))
    quartile = exceedances[int(n / 4 + 0.5) - 1]
    steps = np.arange(1, num_grid + 1)
    theta = 1 / exceedances[-1] + (1 - np.sqrt(num_grid / (steps - 0.5))) / (3 * quartile)
    shape = np.log1p(-theta[:, None] * exceedances).mean(axis=1)
    profile = n * (np.log(-theta / shape) - shape - 1)
    with np.errstate(over="ignore"):  # a point of the grid that does not fit at all gets no weight
        weight = 1 / np.exp(profile - profile[:, None]).sum(axis=1)
    theta_hat = np.sum(theta * weight / weight.sum())
    shape = float(np.log1p(-theta_hat * exceedances).mean())
    # a weak prior, worth ten draws, towards 0.5
    return (shape * n + 0.5 * 10) / (n + 10), -shape / theta_hat
