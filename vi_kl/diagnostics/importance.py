"""Importance weights of q's draws, and what they estimate: the evidence, KL(q||posterior), and averages.

A weight is p(z, data) / q(z). Its mean over q is the evidence, as far as q reaches, and the mean of its logarithm is
the ELBO. The two together give KL(q||posterior) from one set of draws, with errors that largely cancel. These
estimates see only the places where q has draws, and are reliable only while Pareto's k-hat is small.

Reference: Vehtari, Simpson, Gelman, Yao & Gabry (2024), "Pareto smoothed importance sampling", JMLR 25.
"""

import numpy as np
from scipy.special import logsumexp

from vi_kl.core.estimate import Estimate, error_of_mean
from vi_kl.divergences.estimators.pareto import RELIABLE, effective_share, pareto_k, smoothed_weights

__all__ = [
    "effective_share",
    "kl_by_weights",
    "log_evidence_by_weights",
    "log_mean_exp",
    "relative_weights",
    "smoothed_weights",
    "tell_of_kl",
]

NEGLIGIBLE = 0.01  # nats: an error of KL, its tail's included, with which weights tell it whatever k-hat is below 1


def log_mean_exp(log_values: np.ndarray) -> float:
    """Return the log of the mean of exponentials."""
    return float(logsumexp(log_values) - np.log(len(log_values)))


def relative_weights(log_weights: np.ndarray) -> np.ndarray:
    """Return the weights divided by their mean."""
    return np.exp(log_weights - log_mean_exp(log_weights))


def log_evidence_by_weights(log_weights: np.ndarray, method: str) -> Estimate:
    """Estimate the log evidence as the log of the mean weight, with an error by the delta method."""
    error = relative_weights(log_weights).std(ddof=1) / np.sqrt(len(log_weights))
    return Estimate(log_mean_exp(log_weights), error, method, num_draws=len(log_weights))


def kl_by_weights(log_weights: np.ndarray, method: str) -> Estimate:
    """Estimate KL(q||posterior) = log E_q[w] - E_q[log w], both terms from the same draws.

    The error starts from the standard error of the mean of w / E[w] - log w: where q is close, the errors of the two
    terms cancel to second order. What is left is strongly skewed. So the error is corrected for skewness, and includes
    the expected contribution, beyond the largest of n values, of a Pareto tail with shape k-hat.
    """
    n = len(log_weights)
    influence = relative_weights(log_weights) - log_weights
    value = log_mean_exp(log_weights) - log_weights.mean()
    beyond = (influence.max() - influence.mean()) / n / (1 - np.clip(pareto_k(log_weights), 0.0, 0.9))
    return Estimate(value, np.hypot(error_of_mean(influence), beyond), method, num_draws=n)


def tell_of_kl(log_weights: np.ndarray, k_hat: float) -> bool:
    """Return whether weights tell KL(q||posterior).

    They do not if k-hat is large, unless all are so nearly equal that even such a tail holds next to nothing.
    """
    return k_hat <= RELIABLE or (k_hat < 1 and kl_by_weights(log_weights, "").standard_error < NEGLIGIBLE)
