"""Log pmfs of `members.Member`s on a grid of counts, by adding up the logarithms of neighbours' ratios.

The sum starts at the most likely count, so that where the probability is, the partial sums are small and keep their
digits. The log ratio of two pmfs is added up in the same way from log ratios of the factors: for near-equal members
nothing is subtracted but their parameters.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.divergences.bregman import log_ratio

SIGNS = np.array([1.0, 1, 1, -1, -1])  # the first three factors multiply, the others divide


class Steps(NamedTuple):
    """A record of log(pmf(k + 1) / pmf(k)) of a member by its parts, at each k of the grid, and where they hold."""

    odds: jax.Array
    factors: jax.Array
    inside: jax.Array
    support: jax.Array


def steps_of(member, grid) -> Steps:
    low, high = member.low[..., None], member.high[..., None]
    inside, support = (grid >= low) & (grid < high), (grid >= low) & (grid <= high)
    zero, infinite = impossible_odds(member)
    only = jnp.where(zero[..., None], grid == low, jnp.where(infinite[..., None], grid == high, True))
    factors = jnp.where(inside[..., None, :], linear_factors(member, grid), 1.0)
    return Steps(log_odds(member), factors, inside, support & only)


def linear_factors(member, grid):
    """Return the five factors on a new axis before the grid's; whole numbers are added first, and so exactly."""
    one, a, b, n, k = (member.factors[..., i, None] for i in range(5))
    whole = one + n * member.n[..., None, None] + k * grid[..., None, :]
    return whole + (a * member.a[..., None, None] + b * member.b[..., None, None])


def differences_of_factors(p, q, grid):
    """Return the factors of q minus those of p, from the differences of their parameters."""

    def parts(member):
        shapes = (x[..., None, None] for x in (member.a, member.b, member.n))
        return [member.factors[..., i, None] * x for i, x in enumerate((1.0, *shapes, grid[..., None, :]))]

    one, a, b, n, k = (y - x for x, y in zip(parts(p), parts(q), strict=True))
    return (one + k + n) + (a + b)


def impossible_odds(member):
    """Return where the odds are 0, and where they are infinite: all probability is on the first or last count."""
    numerator, denominator = quotient(member)
    rational = member.odds[..., 4] == 0
    zero = jnp.where(rational, numerator == 0, member.parameter == -jnp.inf)
    return zero, jnp.where(rational, denominator == 0, member.parameter == jnp.inf)


def quotient(member):
    x = member.parameter
    one, slope, one_below, slope_below = (member.odds[..., i] for i in range(4))
    return one + slope * finite(x), one_below + slope_below * finite(x)


def log_odds(member):
    """Return the log odds; any number where they are 0 or infinite."""
    numerator, denominator = (jnp.log(positive(part)) for part in quotient(member))
    x, kind = finite(member.parameter), member.odds[..., 4]
    return jnp.where(kind == 0, numerator - denominator, jnp.where(kind == 1, x, -jax.nn.softplus(-x)))


def log_odds_ratio(p, q):
    """Return log odds of q minus log odds of p.

    At least one is the exponential or sigmoid of its parameter.
    """
    exponentials = (p.odds[..., 4] == 1) & (q.odds[..., 4] == 1)
    return jnp.where(exponentials, finite(q.parameter) - finite(p.parameter), log_odds(q) - log_odds(p))


def finite(x):
    return jnp.where(jnp.isfinite(x), x, 0.0)


def positive(x):
    return jnp.where(x > 0, x, 1.0)


def log_steps(steps: Steps):
    """Return the log ratio of neighbours; 0 from outside the support or into it."""
    factors = (SIGNS[:, None] * jnp.log(steps.factors)).sum(-2)
    return jnp.where(steps.inside, steps.odds[..., None] + factors, 0.0)


def log_step_ratios(p, q, steps_p: Steps, steps_q: Steps, grid):
    """Return how the log steps of q differ from those of p, where both have them."""
    both = steps_p.inside & steps_q.inside
    rational = (p.odds[..., 4] == 0) & (q.odds[..., 4] == 0)
    odds = both & rational[..., None]
    valid = jnp.stack([both] * len(SIGNS) + [odds, odds], -2)
    x, y = (jnp.where(valid, with_odds(m, s.factors), 1.0) for m, s in ((p, steps_p), (q, steps_q)))
    differences = [differences_of_factors(p, q, grid), differences_of_quotients(p, q, grid)]
    valid = valid & (x > 0) & (y > 0)
    x, y, difference = (jnp.where(valid, z, 1.0) for z in (x, y, jnp.concatenate(differences, -2)))
    ratios = jnp.where(valid, log_ratio(y, x, difference), 0.0)
    factors = (np.append(SIGNS, [1.0, -1])[:, None] * ratios).sum(-2)
    return jnp.where(both, jnp.where(rational, 0.0, log_odds_ratio(p, q))[..., None] + factors, 0.0)


def with_odds(member, factors):
    """Return the factors with the odds' numerator and denominator added, which do not depend on the count."""
    parts = jnp.stack(quotient(member), -1)[..., None]
    return jnp.concatenate([factors, jnp.broadcast_to(parts, (*factors.shape[:-2], 2, factors.shape[-1]))], -2)


def differences_of_quotients(p, q, grid):
    one_p, slope_p, below_p, below_slope_p = (p.odds[..., i] for i in range(4))
    one_q, slope_q, below_q, below_slope_q = (q.odds[..., i] for i in range(4))
    x, y = finite(p.parameter), finite(q.parameter)
    top = (one_q - one_p) + (slope_q * y - slope_p * x)
    bottom = (below_q - below_p) + (below_slope_q * y - below_slope_p * x)
    return jnp.stack([top, bottom], -1)[..., None] + jnp.zeros_like(grid)[..., None, :]


def most_likely(steps, support):
    """Return the place of the largest probability in the support, as far as sums from one end show it.

    No argmax is used, since JAX could not lower it in float64 from a float32 caller.
    """
    rough = jax.lax.stop_gradient(jnp.where(support, cumulated(steps), -jnp.inf))
    return jnp.where(rough == rough.max(-1, keepdims=True), places_of(steps), jnp.inf).min(-1, keepdims=True)


def places_of(row):
    return jnp.arange(row.shape[-1], dtype=row.dtype)


def added_up(steps, start):
    """Return the sums of the steps from `start` to each place: added on the way up, subtracted on the way down."""
    places = places_of(steps)
    after, before = jnp.where(places >= start, steps, 0.0), jnp.where(places < start, steps, 0.0)
    downwards = jnp.flip(jnp.roll(before, 1, axis=-1), -1)  # the last step, which leads off the grid, is 0 here
    up, down = cumulated(jnp.stack([after, downwards]))
    return up - jnp.flip(down, -1)


def cumulated(steps):
    """Return the sum of the steps before each place."""
    sums = jnp.cumsum(steps[..., :-1], axis=-1)
    return jnp.concatenate([jnp.zeros_like(steps[..., :1]), sums], -1)
