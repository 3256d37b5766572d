"""Confidence limits, for the mean of non-negative values, that hold for any tails: limits by betting.

Suppose that values X are non-negative and their mean is at most m. A gambler bets a share of his money on X > m, at
each draw. The expectation of his wealth is then at most what he began with, and with probability 1/20 at most does it
ever reach 20 times that (Ville's inequality). So an m against which he became that rich is too small, with 95%
confidence: no variance needs to exist, and no sample has to be large. He spreads his money over shares of every size,
because nobody knows the best one beforehand; that makes the limit a little wider, and keeps it valid.

Importance weights are such values: their mean is at most the evidence, even if q misses a part of the posterior.

Reference: Waudby-Smith & Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS B 86(1).
"""

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp

STAKES = np.geomspace(3e-4, 0.99, 16)


def log_lower_limit(log_values, confidence: float = 0.95) -> float:
    """Return the log of a lower confidence limit for the mean of exp(log_values).

    Args:
        log_values: the logs of independent non-negative values, shape (n,); -inf is a value of zero.
        confidence: the probability with which the limit lies at or below the log of the mean, at least.

    Raises:
        ValueError: a NaN or +inf among the values, or a confidence outside (0, 1).
    """
    log_values = np.asarray(log_values, dtype=float)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}.")
    if np.isnan(log_values).any() or (log_values == np.inf).any():
        raise ValueError("The log values hold NaN or +inf: a density vanishes at one of its own draws.")
    enough = -np.log1p(-confidence)
    highest = log_values.max(initial=-np.inf)
    if highest == -np.inf:
        return -np.inf

    def excess(log_mean):
        return log_wealth(log_values, log_mean) - enough

    # the search goes down from the sample's own mean until the wealth is enough: a limit is a few errors below the mean
    high = float(logsumexp(log_values) - np.log(len(log_values)))
    width = 8 * np.exp(log_values - high).std() / np.sqrt(len(log_values)) + 8 * enough / len(log_values)
    low = high - width
    while excess(low) < 0:
        high, low, width = low, low - 3 * width, 3 * width
    return float(brentq(excess, low, high, xtol=1e-6 * min(width, 1.0)))


def log_wealth(log_values: np.ndarray, log_mean: float) -> float:
    """Return the log of what a unit of money, spread evenly over the shares, becomes in bets against this mean."""
    log_odds = log_values - log_mean
    # odds beyond e^50 multiply the money by stake x odds, to rounding, at every stake
    odds, beyond = np.exp(np.minimum(log_odds, 50.0)), np.maximum(log_odds - 50.0, 0.0).sum()
    wealth = [np.log1p(stake * (odds - 1)).sum() + beyond for stake in STAKES]
    return float(logsumexp(wealth) - np.log(len(STAKES)))
