"""Sources of the moments of a distribution; this file has weighted points.

Every source, `Points` or one of those in `formulas`, answers the same questions, each with an array that has one
entry per coordinate:

    mean(statistic)           E[g(x)] for a statistic g, by name
    variance(statistic)       the variance of g(x)
    covariance()              the covariance matrix of a vector x
    log_mean_gap(statistic)   log E[g(x)] - E[log g(x)] >= 0, without the cancellation of that difference

A moment that p does not have is an error that says so; it is never returned as a number.
"""

import numpy as np

from vi_kl.divergences.bregman import phi
from vi_kl.divergences.estimators.pareto import pareto_k

STATISTICS = {
    "x": lambda x: x,
    "x²": np.square,
    "1/x": lambda x: 1 / x,
    "log x": np.log,
    "log(1 - x)": lambda x: np.log1p(-x),
    "cos x": np.cos,
    "sin x": np.sin,
}
NO_MEAN = 0.9  # a Pareto shape that can no longer be distinguished from 1
FEWEST_FOR_K = 1000
HEAVY = 1e-2  # the largest share of a mean that may come from the outermost 1e-12 of the probability


class NoFormula(Exception):
    """An error: this source does not know the moment; another one may."""


class NoMoment(ValueError):
    """An error: p has no such moment, or none that can be found; the message says which and why."""


class Points:
    """A source of the moments of weighted points: a finite support, the nodes of a quadrature, or draws.

    Args:
        x: the points, along the first axis.
        weights: their probabilities.
        method: the origin of the points, in words.
        outermost: which points lie in a tail of negligible probability. A mean that such a tail still adds to
            does not exist, or cannot be found from points.
    """

    def __init__(self, x, weights, method, outermost=None):
        self.x, self.method = x, method
        self.weights = weights / weights.sum()  # points are only used if their probabilities add up to 1
        self.outermost = outermost

    def values(self, statistic):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            values = STATISTICS[statistic](self.x)
        bad = ~np.isfinite(values) & (self.weights > 0).reshape(-1, *(1,) * (values.ndim - 1))
        if bad.any():
            raise NoMoment(
                f"{statistic} is not finite at x = {self.x[bad][0]:.6g}, where p has probability:"
                " p reaches the edge of the family's support, or beyond it."
            )
        return np.where(np.isfinite(values), values, 0.0)

    def average(self, values, what):
        if self.outermost is not None:
            sizes = np.abs(values) * self.weights
            if not sizes[self.outermost].sum() <= HEAVY * sizes.sum() < np.inf:
                raise NoMoment(
                    f"{what} is infinite under p, or its tail is too heavy to be added up; a family that has to"
                    " match it has no nearest member that can be found. Choose a family with heavier tails."
                )
        return np.tensordot(self.weights, values, axes=1)

    def mean(self, statistic):
        return self.average(self.values(statistic), f"E[{statistic}]")

    def variance(self, statistic):
        with np.errstate(over="ignore"):
            squares = (self.values(statistic) - self.mean(statistic)) ** 2
        return self.average(squares, f"the variance of {statistic}")

    def covariance(self):
        centred = self.values("x") - self.mean("x")
        return (centred * self.weights[:, None]).T @ centred

    def log_mean_gap(self, statistic):
        mean = self.mean(statistic)
        values = self.values(statistic)
        if np.any(values[self.weights > 0] <= 0):
            raise NoMoment("log x is not finite where p has probability: p reaches the edge of the family's support.")
        ratio = values / mean
        direct = ratio - 1 - np.log(np.where(values > 0, values, 1.0)) + np.log(mean)
        return self.average(np.where(ratio < 0.5, direct, phi(np.maximum(ratio, 0.5) - 1)), f"E[log {statistic}]")

    def quantile(self, probability):
        """Return the point below which p has this probability; for points on the line, in order."""
        return float(self.x[min(np.searchsorted(np.cumsum(self.weights), probability), len(self.x) - 1)])


class Draws(Points):
    """A source of moments from random draws, which show when their means do not exist.

    Attributes:
        k_hat: the heaviest tail among the statistics averaged so far, as a Pareto shape; above 0.5 the standard
            error of a mean does not exist.
    """

    def __init__(self, x):
        super().__init__(x, np.full(len(x), 1 / len(x)), f"{len(x):,} draws")
        self.k_hat = -np.inf

    def average(self, values, what):
        with np.errstate(divide="ignore"):
            sizes = np.log(np.abs(values)).reshape(len(values), -1)
        heaviest = max(pareto_k(column) for column in sizes.T) if len(values) >= FEWEST_FOR_K else -np.inf
        if heaviest > NO_MEAN:
            raise NoMoment(
                f"{what} seems not to exist: its draws have a tail of Pareto shape {heaviest:.2f}, and from 1 on a"
                " mean is infinite. A family that has to match it has no nearest member that can be found; choose one"
                " with heavier tails."
            )
        self.k_hat = max(self.k_hat, heaviest)
        return super().average(values, what)
