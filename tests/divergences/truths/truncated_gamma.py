"""Truncated gammas: by incomplete gamma functions and their derivatives, in many digits."""

import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
from mpmath import inf, mpf

from truths.case import case, exact
from truths.truncation import is_nested

DIGITS = 120  # a third of them are left of a difference quotient, and next to nothing of a narrow interval cancels more
TRUNCATED = {
    dist.LeftTruncatedGamma: (True, False),  # whether it has a low end, and a high one
    dist.RightTruncatedGamma: (False, True),
    dist.TwoSidedTruncatedGamma: (True, True),
}


def gamma_mass(shape, rate, low, high):
    """The integral of x^(shape - 1) exp(-rate x)."""
    return mpmath.gammainc(shape, rate * low, rate * high) / rate**shape


def truncated_gamma_means(shape, rate, low, high):
    """E x, and E log x as the derivative of the log mass by the shape, to half of the digits."""
    step = mpf(10) ** (-mpmath.mp.dps // 3)
    shifted = [mpmath.log(gamma_mass(shape + sign * step, rate, low, high)) for sign in (1, -1)]
    total = gamma_mass(shape, rate, low, high)
    return gamma_mass(shape + 1, rate, low, high) / total, (shifted[0] - shifted[1]) / (2 * step)


def truncated_gammas(shape_p, rate_p, low_p, high_p, shape_q, rate_q, low_q, high_q):
    """From the mean log ratio of the densities."""
    if not is_nested(low_p, high_p, low_q, high_q):
        return inf
    with mpmath.workdps(DIGITS):
        mean, mean_log = truncated_gamma_means(shape_p, rate_p, low_p, high_p)
        masses = gamma_mass(shape_q, rate_q, low_q, high_q) / gamma_mass(shape_p, rate_p, low_p, high_p)
        return mpmath.log(masses) + (shape_p - shape_q) * mean_log - (rate_p - rate_q) * mean


def truncated_gamma_entropy(shape, rate, low, high):
    with mpmath.workdps(DIGITS):
        mean, mean_log = truncated_gamma_means(shape, rate, low, high)
        return mpmath.log(gamma_mass(shape, rate, low, high)) - (shape - 1) * mean_log + rate * mean


def gammas(p_class, q_class):
    ends_q = TRUNCATED.get(q_class, (False, False))

    def truncations_of_gammas(draw):
        rng, step = draw.rng, draw.relative_step()
        first = 10 ** rng.uniform(-2, 2, 2)
        second = first * np.exp(step * rng.normal(size=2) * (rng.random(2) < 0.7))
        first, second = (
            draw.rounded(first),
            draw.rounded(second if rng.random() < 0.75 else 10 ** rng.uniform(-2, 2, 2)),
        )
        low = draw.rounded(first[0] / first[1] * np.exp(rng.normal() * 10 ** rng.uniform(-2, 0.5)))
        high = np.maximum(low * draw.rounded(1 + 10 ** rng.uniform(-2, 1.5)), np.nextafter(low, draw.rounded(np.inf)))
        wider = 1 + 10 ** rng.uniform(-11, 1, 2) * rng.choice([0.0, 1.0, -0.01], 2, p=[0.3, 0.65, 0.05])
        interval_p = with_ends(low, high, TRUNCATED[p_class])
        interval_q = with_ends(draw.rounded(low / wider[0]), draw.rounded(high * wider[1]), ends_q)
        p, q = (dist.Gamma(jnp.asarray(shape), jnp.asarray(rate)) for shape, rate in (first, second))
        truth = truncated_gammas(*(exact(x) for x in (*first, *interval_p, *second, *interval_q)))
        return build(p_class, p, interval_p), build(q_class, q, interval_q) if any(ends_q) else q, truth

    return truncations_of_gammas


def with_ends(low, high, ends):
    return low if ends[0] else 0.0, high if ends[1] else np.inf


def build(truncated, base, interval):
    ends = [jnp.asarray(end) for end, has in zip(interval, TRUNCATED[truncated], strict=True) if has]
    return truncated(base, *ends)


for p_class, q_class in itertools.product(TRUNCATED, (*TRUNCATED, dist.Gamma)):
    case(p_class, q_class)(gammas(p_class, q_class))


def with_entropy(truncated, shape, rate, low, high):
    p = build(truncated, dist.Gamma(np.float64(shape), np.float64(rate)), (low, high))
    p = jax.tree.map(lambda leaf: np.asarray(leaf, dtype=np.float64), p)
    return p, lambda: truncated_gamma_entropy(*map(mpf, (shape, rate, low, high)))


ENTROPY_TRUTHS = {
    dist.LeftTruncatedGamma: lambda: with_entropy(dist.LeftTruncatedGamma, 40.0, 2.0, 64.0, inf),
    dist.RightTruncatedGamma: lambda: with_entropy(dist.RightTruncatedGamma, 0.125, 4.0, 0.0, 0.5),
    dist.TwoSidedTruncatedGamma: lambda: with_entropy(dist.TwoSidedTruncatedGamma, 2.5, 0.5, 1.0, 3.0),
}
