"""The moment equations that have no closed solution, each solved by Newton's method to the last digits.

References: Minka, "Estimating a Gamma distribution" (2002), for the equation in one concentration and its start, and
"Estimating a Dirichlet distribution" (2000) for many.
"""

import numpy as np
from scipy.special import digamma, gammaln, i0e, i1e, polygamma

from vi_kl.divergences.projection.moments import NoMoment

STEPS = 100  # the most steps of Newton's method, which needs about ten


def log_minus_digamma(a):
    """Return log a - digamma(a), by its asymptotic series where the difference would cancel."""
    a = np.asarray(a, dtype=np.float64)
    inverse = 1 / np.maximum(a, 16)
    square = inverse**2
    series = 1 / 12 - square * (1 / 120 - square * (1 / 252 - square * (1 / 240 - square / 132)))
    return np.where(a > 16, inverse / 2 + square * series, np.log(a) - digamma(a))


def concentration_of_gap(gap):
    """Return the a at which log a - digamma(a) = gap, by Newton's method in 1/a."""
    gap = np.asarray(gap, dtype=np.float64)
    if not np.all(gap > 0):
        raise NoMoment("log E[x] - E[log x] is 0: p has no spread, and no member of the family is so narrow.")
    a = (3 - gap + np.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap)
    for _ in range(STEPS):
        slope = 1 / a - polygamma(1, a)
        step = (log_minus_digamma(a) - gap) / (a**2 * np.where(a > 1e6, -0.5 / a**2, slope))
        new = 1 / (1 / a + step)
        a, change = new, np.abs(new / a - 1).max()
        if change < 1e-15:
            break
    return a


def inverse_digamma(target):
    """Return the a at which digamma(a) = target."""
    target = np.asarray(target, dtype=np.float64)
    a = np.where(target >= -2.22, np.exp(target) + 0.5, -1 / (np.minimum(target, -2.22) - digamma(1.0)))
    for _ in range(STEPS):
        new = a - (digamma(a) - target) / polygamma(1, a)
        a, change = new, np.abs(new / a - 1).max()
        if change < 1e-15:
            break
    return a


def dirichlet_concentration(mean_log):
    """Return the a at which digamma(a_i) - digamma(sum a) = E[log x_i], for each row."""
    if not np.all(np.exp(mean_log).sum(-1) < 1):
        raise NoMoment("E[log x] is that of a single point: p has no spread, and no member of the family is so narrow.")
    rows = [dirichlet_row(row) for row in mean_log.reshape(-1, mean_log.shape[-1])]
    return np.reshape(rows, mean_log.shape)


def dirichlet_row(mean_log):
    """Maximise the concave log likelihood by Newton's method in log a, with steps halved until it rises.

    The Hessian is diagonal plus a matrix of rank one, as in Minka (2000), so a step costs no more than the gradient.
    """

    def likelihood(log_a):
        a = np.exp(log_a)
        return gammaln(a.sum()) - gammaln(a).sum() + a @ mean_log

    guess = np.exp(mean_log)
    # a start of the right order: for large a, 1 - sum exp(E log x_i) is about (K - 1) / (2 sum a)
    log_a = np.log(guess / guess.sum() * max((len(guess) - 1) / (2 * (1 - guess.sum())), 1e-3))
    for _ in range(STEPS):
        a = np.exp(log_a)
        gradient = a * (digamma(a.sum()) - digamma(a) + mean_log)
        curvature = a**2 * polygamma(1, a) - np.minimum(gradient, 0)  # kept positive far from the optimum
        inner, shared = gradient / curvature, polygamma(1, a.sum())
        weights = a / curvature
        step = inner + weights * shared * (a @ inner) / (1 - shared * (a @ weights))
        step /= max(1.0, np.abs(step).max() / 2)
        while likelihood(log_a + step) < likelihood(log_a) - 1e-12 * abs(likelihood(log_a)):
            step = step / 2
        log_a = log_a + step
        if np.abs(step).max() < 1e-15:
            break
    return np.exp(log_a)


def concentration_of_length(length):
    """Return the k at which I1(k) / I0(k) = length, the concentration of a VonMises with such a mean direction."""
    if not np.all(length < 1):
        raise NoMoment("The mean direction has length 1: p has no spread, and no VonMises is so narrow.")
    k = length * (2 - length**2) / (1 - length**2)
    for _ in range(STEPS):
        ratio = i1e(k) / i0e(k)
        new = k - (ratio - length) / (1 - ratio / np.maximum(k, 1e-300) - ratio**2)
        k, change = new, np.abs(new - k).max()
        if change < 1e-15 * (1 + np.abs(k).max()):
            break
    return k
