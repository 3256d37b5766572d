"""Importance weights of q's draws: what they say about the evidence, about KL, and about averages.

A weight is p(z, data) / q(z). Its mean over q is the evidence as far as q reaches; the mean of its logarithm is the
ELBO; so the two together give KL(q||posterior) from one set of draws, with errors that largely cancel. All of it
holds only where q puts its draws, and only while Pareto's k-hat allows.

Reference: Vehtari, Simpson, Gelman, Yao & Gabry (2024), "Pareto smoothed importance sampling", JMLR 25.
"""

import numpy as np
from scipy.special import logsumexp

from vi_kl.core.estimate import Estimate, error_of_mean
from vi_kl.divergences.estimators.pareto import pareto_k, smooth_tail


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
    is left is strongly skewed, and so the error holds, beside its correction for that, what a Pareto tail of shape
    k-hat has on average beyond the largest of n values.
    """
    n = len(log_weights)
    influence = relative_weights(log_weights) - log_weights
    value = log_mean_exp(log_weights) - log_weights.mean()
    beyond = (influence.max() - influence.mean()) / n / (1 - np.clip(pareto_k(log_weights), 0.0, 0.9))
    return Estimate(value, np.hypot(error_of_mean(influence), beyond), method, num_draws=n)


def smoothed_weights(log_weights: np.ndarray) -> np.ndarray:
    """Weights that add up to one, their tail replaced by that of the Pareto distribution fitted to it."""
    smoothed = smooth_tail(log_weights)
    return np.exp(smoothed - logsumexp(smoothed))


def effective_share(weights: np.ndarray) -> float:
    """The effective sample size (Kish) of normalised weights, as a share of the draws."""
    return float(1 / (np.sum(weights**2) * len(weights)))
