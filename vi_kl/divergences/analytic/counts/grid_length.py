"""The length of a sum over counts if p's have no end: up to where the rest of p could change no digit."""

import numpy as np

EXTENSION = 4  # a sum reaches so many times beyond p's last count, for the tail of a q without an end (tails.py)
LOG_REST = 60.0  # at most exp(-60) of p is cut off
HAVE_LIGHT_TAILS = ("poisson", "negative binomial")  # the tail of a beta negative binomial is a power of the count


def reach(member, tail: str, xp=np):
    """Return a count beyond which p has less than exp(-LOG_REST) of its probability; infinite if there is none.

    Chernoff's bound gives it: P(X >= k) <= E z^X / z^k with z > 1. The Poisson takes the best z, as Bernstein's
    inequality simplifies it; the negative binomial of success probability s takes z = 1 / sqrt(s), where E z^X is
    (1 + sqrt(s))^r.
    """
    odds = odds_of(member, xp)
    if tail == "poisson":
        third = LOG_REST / 3
        return xp.ceil(odds + third + xp.sqrt(third * third + 2 * LOG_REST * odds))
    with np.errstate(divide="ignore"):
        rate = -xp.log(odds)
        return xp.ceil(2 * (LOG_REST + member.a * xp.log1p(xp.sqrt(odds))) / rate)


def odds_of(member, xp):
    """Return the odds as a number: a rate, or a probability of success."""
    x, (one, slope, below, below_slope, kind) = member.parameter, xp.moveaxis(xp.asarray(member.odds), -1, 0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        rational = (one + slope * x) / (below + below_slope * x)
        return xp.where(kind == 0, rational, xp.where(kind == 1, xp.exp(x), 1 / (1 + xp.exp(-x))))


def last_count(p_last, q_last, q_is_finite: bool, xp=np):
    """Return the last count of a sum, from those of p and q."""
    return xp.maximum(p_last, q_last) if q_is_finite else EXTENSION * xp.maximum(p_last, 0) + 2 * EXTENSION**2
