"""Importance weights of q's draws: what they say about the evidence, about KL, and about averages.

A weight is p(z, data) / q(z). Its mean over q is the evidence as far as q reaches; the mean of its logarithm is the
ELBO; so the two together give KL(q||posterior) from one set of draws, with errors that largely cancel. All of it
holds only where q puts its draws, and only while Pareto's k-hat allows.

Reference: Vehtari, Simpson, Gelman, Yao & Gabry (2024), "Pareto smoothed importance sampling", JMLR 25.
"""

import numpy as np
from scipy.special import logsumexp

from vi_kl.divergences.estimators.pareto import pareto_k, smooth_tail
from vi_kl.estimate import Estimate

SKEWED_LIMIT = (1 + 2 * 1.96**2) / 6 / 1.96  # the move of a 95% limit per skewness / sqrt(n), in standard errors / 1.96


def log_mean_exp(log_values: np.ndarray) -> float:
    return float(logsumexp(log_values) - np.log(len(log_values)))


def relative_weights(log_weights: np.ndarray) -> np.ndarray:
    """The weights over their mean."""
    return np.exp(log_weights - log_mean_exp(log_weights))


def log_evidence_by_weights(log_weights: np.ndarray, method: str) -> Estimate:
    """log of the mean weight, its error by the delta method."""
    error = relative_weights(log_weights).std(ddof=1) / np.sqrt(len(log_weights))
    return Estimate(log_mean_exp(log_weights), error, method, num_draws=len(log_weights))


def kl_by_weights(log_weights: np.ndarray, method: str) -> Estimate:
    """KL(q||posterior) = log E_q[w] - E_q[log w], both from the same draws.

    The error is that of the mean of w / E[w] - log w: where q is close, the two errors cancel to second order. What
    is left is strongly skewed, so that a sample without a large value looks more precise than it is. Two things
    mend that: the first-order correction of the upper 95% limit for skewness (Johnson 1978, "Modified t tests and
    confidence intervals for asymmetrical populations"), and what a Pareto tail of shape k-hat holds, on average,
    beyond the largest of n values.
    """
    n = len(log_weights)
    influence = relative_weights(log_weights) - log_weights
    value = log_mean_exp(log_weights) - log_weights.mean()
    spread, excess = influence.std(ddof=1), influence.max() - influence.mean()
    skewness = np.mean((influence - influence.mean()) ** 3) / spread**3 if spread else 0.0
    error = spread / np.sqrt(n) * (1 + SKEWED_LIMIT * max(skewness, 0.0) / np.sqrt(n))
    beyond = excess / n / (1 - np.clip(pareto_k(log_weights), 0.0, 0.9))
    return Estimate(value, np.hypot(error, beyond), method, num_draws=n)


def smoothed_weights(log_weights: np.ndarray) -> np.ndarray:
    """Weights that add up to one, their tail replaced by that of the Pareto distribution fitted to it."""
    smoothed = smooth_tail(log_weights)
    return np.exp(smoothed - logsumexp(smoothed))


def effective_share(weights: np.ndarray) -> float:
    """The effective sample size (Kish) of normalised weights, as a share of the draws."""
    return float(1 / (np.sum(weights**2) * len(weights)))
