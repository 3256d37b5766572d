"""The moments of log X, for laws of positive X, as functions of their parameters.

On the log scale a power of X is a multiple and a scale is a shift, so that a few laws cover the many families. All
their cumulants are Bregman divergences of log Gamma.
"""

import jax.numpy as jnp

from vi_kl.divergences.analytic.univariate.moments import NORMAL_ENTROPY, Moments, from_entropy
from vi_kl.divergences.analytic.univariate.tilted import log_width, mean_from_top, tilt_cumulant, tilted_entropy
from vi_kl.divergences.bregman import (
    binet_curvature,
    binet_function,
    binet_slope,
    digamma,
    em,
    log_gamma,
    phi,
)


def normal(loc, scale) -> Moments:
    """Return the moments of log X ~ Normal(loc, scale)."""
    variance = scale * scale
    zero = jnp.zeros_like(scale)
    return Moments(
        mean=loc,
        precision=1 / variance,
        variance_excess=zero,
        entropy_loss=zero,
        cumulant=lambda t: 0.5 * t * t * variance,
        cumulant_excess=lambda t: zero * t,
        variance_excess_of_exp=lambda: em(variance) / variance,
    )


def gamma(concentration, power, numerator, denominator) -> Moments:
    """Return the moments of log X for (X denominator / numerator)^power ~ Gamma(concentration, 1)."""
    a = concentration
    value, slope, curvature = binet_function(a), binet_slope(a), binet_curvature(a)

    def cumulant(t):
        step = t / power
        inside = a + step > 0
        step = jnp.where(inside, step, 0.0)
        return jnp.where(inside, log_gamma(a + step, a, step), jnp.inf)

    def cumulant_excess(t):
        """Return the cumulant minus the normal's.

        For the steps 1 and -1 the leading terms, which cancel, are left out.
        """
        step = t / power
        minus = phi(jnp.where(a > 1, -1 / jnp.where(a > 1, a, 2.0), 0.0)) + slope
        plain = cumulant(t) - step * step / (2 * a)
        return jnp.where(step == 1, -slope, jnp.where((step == -1) & (a > 1), minus, plain))

    def variance_excess_of_exp():
        """Return the excess of the variance of X, which is elementary for the powers 1 and -1."""
        inverse = jnp.where(a > 2, 2 / jnp.where(a > 2, a - 2, 1.0), jnp.inf)
        first, second = cumulant(1.0), cumulant(2.0)
        spread = jnp.where(second < jnp.inf, second - 2 * jnp.where(second < jnp.inf, first, 0.0), 0.0)
        general = jnp.expm1(spread) * a * power * power - 1
        return jnp.where(power == 1, 0.0, jnp.where(power == -1, inverse, general))

    return Moments(
        mean=digamma(a) / power + jnp.log(numerator) - jnp.log(denominator),
        precision=a * power * power,
        variance_excess=0.5 / a + a * curvature,
        entropy_loss=a * slope - value,
        cumulant=cumulant,
        cumulant_excess=cumulant_excess,
        variance_excess_of_exp=variance_excess_of_exp,
    )


def beta(one, zero, power, scale) -> Moments:
    """Return the moments of log X for (X / scale)^power ~ Beta(one, zero)."""
    total = one + zero
    values = [binet_function(a) for a in (one, zero, total)]
    slopes = [binet_slope(a) for a in (one, zero, total)]
    curvature = binet_curvature(one) - binet_curvature(total)
    ratio = one * total / zero

    def cumulant(t):
        step = t / power
        inside = one + step > 0
        step = jnp.where(inside, step, 0.0)
        difference = log_gamma(one + step, one, step) - log_gamma(total + step, total, step)
        return jnp.where(inside, difference, jnp.inf)

    loss = (
        -(values[0] + values[1] - values[2])
        + 0.5 * one / (zero * total)
        + one * (slopes[0] - slopes[2])
        + (zero - 1) * (slopes[1] - slopes[2])
    )

    def variance_excess_of_exp():
        general = jnp.expm1(cumulant(2.0) - 2 * cumulant(1.0)) * ratio * power * power - 1
        return jnp.where(power == 1, -1 / (total + 1), general)

    return Moments(
        mean=(digamma(one) - digamma(total)) / power + jnp.log(scale),
        precision=ratio * power * power,
        variance_excess=0.5 * (total + one) / (one * total) + ratio * curvature,
        entropy_loss=loss,
        cumulant=cumulant,
        variance_excess_of_exp=variance_excess_of_exp,
    )


def beta_prime(one, zero, power, scale) -> Moments:
    """Return the moments of log X for (X / scale)^power = B / (1 - B), B ~ Beta(one, zero)."""
    total = one + zero
    value = binet_function(one) + binet_function(zero) - binet_function(total)
    slopes = one * binet_slope(one) + zero * binet_slope(zero) - total * binet_slope(total)
    curvature = 0.5 / one**2 + binet_curvature(one) + 0.5 / zero**2 + binet_curvature(zero)
    ratio = one * zero / total

    def cumulant(t):
        step = t / power
        inside = (one + step > 0) & (zero - step > 0)
        step = jnp.where(inside, step, 0.0)
        both = log_gamma(one + step, one, step) + log_gamma(zero - step, zero, -step)
        return jnp.where(inside, both, jnp.inf)

    return Moments(
        mean=(digamma(one) - digamma(zero)) / power + jnp.log(scale),
        precision=ratio * power * power,
        variance_excess=ratio * curvature,
        entropy_loss=slopes - value,
        cumulant=cumulant,
    )


def exponential(plus, minus, low) -> Moments:
    """Return the moments of log X for log(X / low) ~ Exponential(plus - minus), a Pareto law."""
    rate = plus - minus

    def cumulant(t):
        inside = t < rate
        return jnp.where(inside, phi(jnp.where(inside, -t / rate, 0.0)), jnp.inf)

    return from_entropy(jnp.log(low) + 1 / rate, 1 / (rate * rate), 1 - jnp.log(rate), cumulant=cumulant)


def tilted(low, high, exponent) -> Moments:
    """Return the moments of log X for X with density proportional to x^exponent between low and high.

    log X is uniform, exponentially tilted.
    """
    tilt = exponent + 1
    outside = low < 0  # X is not positive there; only a Uniform can be so
    low, high = jnp.where(outside, 0.0, low), jnp.where(outside, 1.0, high)
    width = log_width(low, high)
    below_top, variance = mean_from_top(tilt, width)
    loss = NORMAL_ENTROPY + 0.5 * jnp.log(variance) - tilted_entropy(tilt, width)
    return Moments(
        mean=jnp.log(high) - below_top,
        precision=1 / variance,
        variance_excess=jnp.where(outside, jnp.inf, 0.0),
        entropy_loss=loss,
        cumulant=lambda t: jnp.where(outside, jnp.inf, tilt_cumulant(tilt, t, width)),
    )
