"""Movement: what short chains changed on their way from q towards the posterior, as lower bounds on q's errors.

Each chain gives a pair: an average's value at its start, a draw of q, and at its end. If q is the posterior, a pair may
be turned round: the kernel is reversible, and the start is a draw of what it leaves invariant. So the differences are
symmetric around zero, whatever the posterior's tails. The sum of symmetric differences, divided by the root of the sum
of their squares, exceeds t with a probability of at most 3.18 times that of a standard normal, for any number of pairs
and any distribution. That makes the intervals here. They are made so wide that all of them hold at once.

For a right q the level holds exactly. For a wrong one the intervals hold as far as a normal distribution serves for the
noise of a mean; and a change is at most q's error where the chains have come nearer in that average, which they do
unless they are underway: whether they still move is asked in the same way, from their middle to their end.

Quantiles are compared by order statistics of q's draws and of the ends, whose limits are those of a binomial.

References: Bentkus & Dzindzalieta (2015), "A tight Gaussian bound for weighted sums of Rademacher random variables",
theorem 1.1; Efron (1969), "Student's t-test under symmetry conditions".
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import bdtr, ndtr, ndtri

from vi_kl.core.written_numbers import significant
from vi_kl.diagnostics.errors import MOST_CORRELATIONS, PROBABILITIES, SMALL
from vi_kl.diagnostics.sentences import name_of, say

CONFIDENCE = 0.95  # with which all intervals of one comparison hold at once
TIGHT = 1 / (4 * float(ndtr(-math.sqrt(2))))  # 3.18, the constant of Bentkus & Dzindzalieta
QUANTILES = ("5% quantile", "median", "95% quantile")


@dataclasses.dataclass(frozen=True)
class Shift:
    """An average of q's that is proved wrong.

    Attributes:
        entry: the name of the site's entry, "the log density", or two names for a correlation.
        what: "mean", "sd", "5% quantile", "median", "95% quantile" or "correlation".
        estimate: the error of q as the chains have it: (q - posterior) / posterior sd of a mean or a quantile, the log
            of the ratio of the sds, or the difference of the correlations.
        at_least: the lower bound of its absolute value.
    """

    entry: str
    what: str
    estimate: float
    at_least: float

    def __str__(self):
        is_high, found = self.estimate > 0, {"entry": name_of(self.entry)}
        if self.what == "sd":
            times = significant(math.exp(math.copysign(self.at_least, self.estimate)), 2)
            wide = "the sd of {entry} is at least {times} times the posterior's"
            return say(
                wide if is_high else "the sd of {entry} is at most {times} times the posterior's", **found, times=times
            )
        found |= {"what": say(self.what), "by": significant(self.at_least, 2)}
        if self.what == "correlation":
            high = "the {what} of {entry} is too high by at least {by}"
            return say(high if is_high else "the {what} of {entry} is too low by at least {by}", **found)
        high = "the {what} of {entry} is too high by at least {by} posterior sds"
        return say(high if is_high else "the {what} of {entry} is too low by at least {by} posterior sds", **found)


class Bounds(NamedTuple):
    """The errors of one kind of average: estimates, and lower and upper bounds of their absolute values."""

    estimate: np.ndarray
    at_least: np.ndarray
    at_most: np.ndarray

    @property
    def notable(self) -> np.ndarray:
        """Which errors are proved, and worth mentioning."""
        return (self.at_least > 0) & (np.abs(self.estimate) > SMALL)


Comparison = dict[str, Bounds]  # by kind of average


def compare(
    before: Float[np.ndarray, "n k"],
    after: Float[np.ndarray, "n k"],
    own: Float[np.ndarray, "m k"] | None = None,
    num_sites: int = 0,
) -> Comparison:
    """Compare averages of columns before and after the moves, so that all intervals hold at once.

    Args:
        before, after: the values of every column at the starts and the ends of the chains.
        own: further draws of q, with which the quantiles at the ends are compared; without them no quantiles are.
        num_sites: the number of the first columns whose correlations are compared, if they are not too many.
    """
    pairs = num_sites * (num_sites - 1) // 2 if num_sites <= MOST_CORRELATIONS else 0
    kinds = 2 + (0 if own is None else len(PROBABILITIES))
    level = (1 - CONFIDENCE) / (2 if pairs else 1)
    each = level / (kinds * before.shape[1])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = {"mean": of_means(before, after, critical(each)), "sd": of_sds(before, after, critical(each))}
        if own is not None:
            found |= of_quantiles(own, after, each)
        if pairs:
            found["correlation"] = of_correlations(before[:, :num_sites], after[:, :num_sites], critical(level / pairs))
    return found


def has_moved(before: Float[np.ndarray, "n k"], after: Float[np.ndarray, "n k"]) -> bool:
    """Return whether a mean or an sd of some column has changed, provably and notably, with 95% confidence in all."""
    return any(found.notable.any() for found in compare(before, after).values())


def least_kl(before: Float[np.ndarray, "n k"], after: Float[np.ndarray, "n k"]) -> float:
    """Return a lower bound of KL(q||posterior), in nats, with 95% confidence; 0 if nothing is proved.

    No kernel that leaves the posterior invariant takes a distribution further from it, so the total variation between
    q and the ends is at most twice that between q and the posterior. It is at least the difference of the probabilities
    of one event: to lie below a number, here below quantiles of starts and ends together. By Pinsker's inequality KL
    is at least half of that difference squared. This holds whether or not the chains have settled.
    """
    together = order_statistics(np.concatenate([before, after]), 0.5)
    t = critical((1 - CONFIDENCE) / (len(PROBABILITIES) * before.shape[1]))
    least = 0.0
    for _, limit, _ in together:
        change = (before <= limit).astype(float) - (after <= limit)
        found = bounds(change.mean(axis=0), width_of((change**2).mean(axis=0), len(change), t))
        least = max(least, float(found.at_least.max(initial=0.0)))
    return least**2 / 2


def critical(level: float) -> float:
    """Return what the sum of symmetric values over the root of its squares exceeds, on either side, so seldom."""
    return float(-ndtri(level / 2 / TIGHT))


def bounds(estimate: np.ndarray, width: np.ndarray) -> Bounds:
    """Return the bounds of an interval of so much on both sides; nothing is known where it is not a number."""
    known = np.isfinite(estimate) & np.isfinite(width)
    size, width = np.where(known, np.abs(estimate), 0.0), np.where(known, width, np.inf)
    return Bounds(np.where(known, estimate, 0.0), np.maximum(size - width, 0.0), size + width)


def width_of(squares: np.ndarray, n: int, t: float) -> np.ndarray:
    """Return half the length of the interval of a mean of differences, from their mean squares."""
    return t * np.sqrt(squares / n)


def of_means(before: np.ndarray, after: np.ndarray, t: float) -> Bounds:
    change, unit = before - after, after.std(axis=0)
    width = width_of((change**2).mean(axis=0), len(change), t)
    return bounds(change.mean(axis=0) / unit, width / unit)


def of_sds(before: np.ndarray, after: np.ndarray, t: float) -> Bounds:
    """Return the bounds of the log of the ratio of sds.

    With V and W the variances before and after, it is the inverse hyperbolic tangent of (V - W) / (V + W). Squares
    around the middle of the two means differ by V - W, however far apart the means are.
    """
    centre = 0.5 * (before.mean(axis=0) + after.mean(axis=0))
    change = (before - centre) ** 2 - (after - centre) ** 2
    total = before.var(axis=0) + after.var(axis=0)
    share, width = change.mean(axis=0) / total, width_of((change**2).mean(axis=0), len(change), t) / total
    of_share = bounds(share, width)
    return Bounds(
        np.arctanh(of_share.estimate),
        np.arctanh(of_share.at_least),
        np.where(of_share.at_most < 1, np.arctanh(np.minimum(of_share.at_most, 1.0)), np.inf),
    )


def of_quantiles(own: np.ndarray, after: np.ndarray, level: float) -> Comparison:
    """Return the bounds of the errors of quantiles, from order statistics of q's draws and of the ends."""
    found, unit = {}, after.std(axis=0)
    for_own, for_after = (order_statistics(x, level / 4) for x in (own, after))
    for name, (low, middle, high), (low_after, middle_after, high_after) in zip(
        QUANTILES, for_own, for_after, strict=True
    ):
        estimate = (middle - middle_after) / unit
        apart = np.maximum(low - high_after, low_after - high) / unit
        most = np.maximum(high - low_after, high_after - low) / unit
        known = np.isfinite(estimate)
        found[name] = Bounds(
            np.where(known, estimate, 0.0),
            np.where(known & np.isfinite(apart), np.maximum(apart, 0.0), 0.0),
            np.where(known & np.isfinite(most), most, np.inf),
        )
    return found


def order_statistics(values: np.ndarray, level: float) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return a lower limit of each of the quantiles of every column, the quantile of the sample, and an upper limit.

    Each limit fails with this probability at most.
    """
    n = len(values)
    places = [places_of_quantile(n, probability, level) for probability in PROBABILITIES]
    within = sorted({place for each in places for place in each if 0 <= place < n})
    ordered = np.partition(np.ascontiguousarray(values.T), within, axis=1)
    ends = np.full((2, values.shape[1]), np.inf) * np.array([[-1.0], [1.0]])

    def at(place):
        return ends[0] if place < 0 else ends[1] if place >= n else ordered[:, place]

    return [(at(low), at(middle), at(high)) for low, middle, high in places]


def places_of_quantile(n: int, probability: float, level: float) -> tuple[int, int, int]:
    """Return the places among n ordered draws of a quantile's lower limit, of the quantile, and of its upper limit.

    So many of n draws are at or below the quantile as n tosses of a coin of this probability show heads. A place of -1
    or of n is that of an infinite limit.
    """
    heads = bdtr(np.arange(n), n, probability)  # the probability of 0 to n - 1 heads, or fewer
    low, high = np.flatnonzero(heads <= level), np.flatnonzero(1 - heads <= level)
    middle = min(int(probability * n), n - 1)
    return int(low[-1]) if len(low) else -1, middle, int(high[0]) if len(high) else n


def of_correlations(before: np.ndarray, after: np.ndarray, t: float) -> Bounds:
    """Return the bounds of the errors of all correlations, as matrices (k, k).

    With u and v two columns in their common units, u v - r (u^2 + v^2) / 2 has a mean that the correlation changes,
    and that a change of the two sds alone does not, to first order. The correlation r, the means and the sds are those
    of starts and ends together, so that turning a pair round changes none of them.
    """
    both = np.concatenate([before, after])
    n, centre, sd = len(before), both.mean(axis=0), both.std(axis=0)
    u, w = (before - centre) / sd, (after - centre) / sd
    r = (u.T @ u + w.T @ w) / (2 * n)
    d = u**2 - w**2
    products = u.T @ u - w.T @ w
    mean = (products - r * (d.sum(axis=0)[:, None] + d.sum(axis=0)) / 2) / n
    mixed = (u * d).T @ u - (w * d).T @ w
    of_d = d.T @ d
    of_sums = np.diag(of_d)[:, None] + np.diag(of_d) + 2 * of_d
    of_products = (u**2).T @ u**2 - 2 * (u * w).T @ (u * w) + (w**2).T @ w**2
    squares = (of_products - r * (mixed + mixed.T) + r**2 / 4 * of_sums) / n
    change = np.corrcoef(before, rowvar=False) - np.corrcoef(after, rowvar=False)
    size = np.minimum(np.abs(change), np.abs(mean))  # what both ways of measuring it show
    found = bounds(np.sign(change) * size, width_of(np.maximum(squares, 0.0), n, t))
    off_diagonal = ~np.eye(len(change), dtype=bool)
    return Bounds(change, np.where(off_diagonal, found.at_least, 0.0), found.at_most)


def notable_shifts(comparison: Comparison, names: list[str]) -> list[Shift]:
    """Return the errors that are proved and worth mentioning, one for each entry, the worst first.

    It is the worse of a mean and an sd; a quantile only where both of these may be right.
    """
    worst: dict[str, Shift] = {}
    of_quantiles: dict[str, Shift] = {}
    for what, found in comparison.items():
        kept = of_quantiles if what in QUANTILES else worst
        places = np.argwhere(np.triu(found.notable) if what == "correlation" else found.notable)
        for place in map(tuple, places):
            entry = " and ".join(names[i] for i in place)
            shift = Shift(entry, what, float(found.estimate[place]), float(found.at_least[place]))
            if entry not in kept or shift.at_least > kept[entry].at_least:
                kept[entry] = shift
    return sorted((of_quantiles | worst).values(), key=lambda shift: -shift.at_least)
