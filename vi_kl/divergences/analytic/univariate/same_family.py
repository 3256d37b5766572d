"""Two laws of one family on the line: the forms that keep their digits where the two nearly agree."""

import math

import jax.numpy as jnp
import numpyro.distributions as dist

from vi_kl.divergences.analytic.univariate import families
from vi_kl.divergences.analytic.univariate.tilted import log_normalizer, log_width, tilt_cumulant
from vi_kl.divergences.bregman import (
    binet,
    digamma,
    em,
    itakura_saito,
    log_gamma,
    log_ratio,
    phi,
    polynomial,
    psi,
)
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import closed_form, only_where

LARGE = 1e300  # beyond it, a logarithm is computed by parts


@computed_in_float64(*[0] * 8)
def generalized_gamma_kl(a_p, power_p, numerator_p, denominator_p, a_q, power_q, numerator_q, denominator_q):
    """Return KL of (x denominator / numerator)^power ~ Gamma(a, 1), for powers of one sign.

    Let t = power_q / power_p, and y be the logarithm of E_p of q's gamma variable over its mean a_q. Then it is

        a_q em(y) + a_q D(a_p + t; a_p + 1) + D_Stirling(a_q; a_p) + phi(t - 1) + (a_q / a_p - 1)(t - 1)

    where D is the Bregman divergence of log Gamma, and D_Stirling that of log Gamma(a) - a log a + a. The last term
    may be negative; the others outweigh it.
    """
    steps = (power_q - power_p) / power_p  # t - 1
    inside = a_p + 1 + steps > 0
    steps = jnp.where(inside, steps, 0.0)
    cumulant = log_gamma(a_p + 1 + steps, a_p + 1, steps)
    scales = power_q * (log_ratio(numerator_p, numerator_q) + log_ratio(denominator_q, denominator_p))
    shift = scales + cumulant + steps * digamma(a_p + 1) + log_ratio(a_p, a_q)
    shapes = 0.5 * itakura_saito(a_q, a_p) + binet(a_q, a_p) + phi(steps) + (a_q - a_p) / a_p * steps
    return jnp.where(inside, a_q * (em(shift) + cumulant) + shapes, jnp.inf)


@computed_in_float64(*[0] * 4)
def gumbel_kl(loc_p, scale_p, loc_q, scale_q):
    """Return KL between Gumbels.

    exp(-x) is Weibull: the generalised gamma with a = 1, whose scale is already logarithmic.
    """
    steps = (scale_p - scale_q) / scale_q
    cumulant = log_gamma(2 + steps, jnp.full_like(steps, 2.0), steps)
    shift = (loc_q - loc_p) / scale_q + cumulant + steps * digamma(jnp.full_like(steps, 2.0))
    return jnp.where(steps == jnp.inf, jnp.inf, em(shift) + cumulant + phi(steps))


@computed_in_float64(*[0] * 10)
def asymmetric_laplace_kl(loc_p, scale_p, u_p, v_p, w_p, loc_q, scale_q, u_q, v_q, w_q):
    """Return KL between asymmetric Laplace laws with `left = scale u / (1 - v)` and `right = scale / (u w)`.

    Let R and L be the ratios of the scales, and r = right / (left + right) of p. At equal locations it is

        D(S, 1) + r (1 - r) (R - L)^2 / (r L + (1 - r) R),   1 / S = r / R + (1 - r) / L

    where D is the Itakura-Saito divergence. A shift adds a part that is quadratic if it is small, and positive with
    these.
    """
    common = log_ratio(scale_p, scale_q)
    log_left = common + log_ratio(u_p, u_q) + log_ratio(1 - v_q, 1 - v_p, v_p - v_q)
    log_right = common + log_ratio(u_q, u_p) + log_ratio(w_q, w_p)
    left, right = families.laplace_scales(scale_p, u_p, v_p, w_p)
    other_left, other_right = families.laplace_scales(scale_q, u_q, v_q, w_q)
    share = right / (left + right)
    ratio_left = jnp.exp(log_left)
    equal = log_right == log_left
    difference = jnp.where(equal, 0.0, ratio_left) * jnp.expm1(log_right - log_left)  # R - L
    excess = share * jnp.expm1(-log_right) + (1 - share) * jnp.expm1(-log_left)  # 1 / S - 1
    scales = psi(excess) / (1 + excess)
    log_excess = jnp.logaddexp(jnp.log(share) - log_right, jnp.log1p(-share) - log_left)  # of 1 / S
    scales = jnp.where(excess < LARGE, scales, log_excess - 1)
    turn = jnp.expm1(log_right - log_left)  # R / L - 1
    scales = scales + jnp.where(
        turn == 0, turn, share * difference * (1 - share) * (turn / (share + (1 - share) * (1 + turn)))
    )
    shift = loc_q - loc_p
    near = jnp.where(shift > 0, right, left)  # p's scale on the side of q's location
    fraction = jnp.where(shift > 0, share, 1 - share)
    moved = fraction * em(-abs(shift) / near)
    curved = jnp.where(moved > 0, (near / other_left + near / other_right) * moved, moved)
    difference = jnp.where((shift == 0) & jnp.isinf(difference), 0.0, difference)
    return jnp.where(scales == jnp.inf, jnp.inf, scales + curved - shift / (left + right) * difference)


@computed_in_float64(*[0] * 4)
def cauchy_kl(loc_p, scale_p, loc_q, scale_q):
    """Return KL between Cauchy laws: Chyzak & Nielsen (2019)."""
    d, z = scale_p - scale_q, loc_p - loc_q
    excess = 0.25 * ((d / scale_p) * (d / scale_q) + (z / scale_p) * (z / scale_q))
    large = excess > LARGE
    apart = jnp.hypot(jnp.where(large, d, 1.0), jnp.where(large, z, 1.0))
    far = 2 * jnp.log(apart) - jnp.log(scale_p) - jnp.log(scale_q) - 2 * math.log(2)
    return jnp.where(large, far, jnp.log1p(jnp.where(large, 0.0, excess)))


@computed_in_float64(*[0] * 3)
def logistic_shift_kl(loc_p, loc_q, scale):
    """Return KL between two logistics of one scale: 2 (x coth x - 1), x = (loc_p - loc_q) / (2 scale)."""
    x = abs(loc_p - loc_q) / (2 * scale)
    near = x < 1
    y = jnp.where(near, x, 0.0)
    factorial, coefficients = 6.0, []
    for k in range(1, 11):  # y cosh y - sinh y = sum 2k y^(2k + 1) / (2k + 1)!
        coefficients.append(2 * k / factorial)
        factorial *= (2 * k + 2) * (2 * k + 3)
    series = y * y * polynomial(y * y, coefficients) / jnp.where(y > 0, jnp.sinh(y) / jnp.where(y > 0, y, 1.0), 1.0)
    far = jnp.where(near, 1.0, x)
    return 2 * jnp.where(near, series, far / jnp.tanh(far) - 1)


@computed_in_float64(*[0] * 3)
def soft_laplace_shift_kl(loc_p, loc_q, scale):
    """Return KL between two hyperbolic secants of one scale: 2 log cosh(d / 2), d = (loc_p - loc_q) / scale."""
    d = abs(loc_p - loc_q) / scale
    near = d < 1
    half_sinh = jnp.sinh(jnp.where(near, d, 0.0) / 2)
    far = jnp.where(near, 0.0, d)
    return jnp.where(near, jnp.log1p(half_sinh * half_sinh), far + 2 * jnp.log1p(jnp.expm1(-far) / 2))


@computed_in_float64(*[0] * 6)
def pareto_kl(plus_p, minus_p, low_p, plus_q, minus_q, low_q):
    """Return KL between two Pareto laws of tail indices `plus - minus`.

    It is that of exponentials plus that of the shift of the lower ends.
    """
    rate_p, rate_q = plus_p - minus_p, plus_q - minus_q
    difference = (plus_q - plus_p) + (minus_p - minus_q)
    reach = low_p >= low_q
    shift = rate_q * log_ratio(jnp.where(reach, low_p, 1.0), jnp.where(reach, low_q, 1.0))
    return jnp.where(reach, itakura_saito(rate_q, rate_p, difference) + shift, jnp.inf)


@computed_in_float64(*[0] * 6)
def tilted_kl(low_p, high_p, exponent_p, low_q, high_q, exponent_q):
    """Return KL between densities proportional to x^exponent on intervals of positive numbers.

    A uniform q may reach below 0.

    KL(p||q) is that from q cut down to p's interval, which differs in tilt alone, plus -log of the probability
    that q gives this interval.
    """
    nested = (low_p >= low_q) & (high_p <= high_q)
    low_q, high_q = jnp.where(nested, low_q, low_p), jnp.where(nested, high_q, high_p)
    width = log_width(low_p, high_p)
    tilt_p, tilt_q = exponent_p + 1, exponent_q + 1
    inside = log_mass(tilt_q, low_p, high_p)
    below, above = log_mass(tilt_q, jnp.maximum(low_q, 0), low_p), log_mass(tilt_q, high_p, high_q)
    negative = jnp.maximum(-low_q, 0)
    log_negative = jnp.where(negative > 0, jnp.log(jnp.where(negative > 0, negative, 1.0)), -jnp.inf)
    outside = jnp.exp(below - inside) + jnp.exp(above - inside) + negative * jnp.exp(-inside)
    largest = jnp.maximum(jnp.maximum(below, above), log_negative) - inside
    spread = jnp.where(outside < LARGE, jnp.log1p(jnp.where(outside < LARGE, outside, 0.0)), largest)
    cost = tilt_cumulant(tilt_p, exponent_q - exponent_p, width) + spread
    return jnp.where(nested, cost, jnp.inf)


def log_mass(tilt, low, high):
    """Return log of the integral of x^(tilt - 1) from low to high; inf if it diverges at 0, -inf for no interval."""
    width = log_width(low, high)
    some, bounded = high > low, width < jnp.inf
    safe_width = jnp.where(some & bounded, width, 1.0)
    finite = jnp.log(safe_width) + log_normalizer(tilt * safe_width)
    whole = jnp.where(tilt > 0, -jnp.log(jnp.where(tilt > 0, tilt, 1.0)), jnp.inf)
    top = tilt * jnp.log(jnp.where(high > 0, high, 1.0))
    return jnp.where(some & (high > 0), top + jnp.where(bounded, finite, whole), -jnp.inf)


@computed_in_float64(*[0] * 4)
def uniform_kl(low_p, high_p, low_q, high_q):
    nested = (low_p >= low_q) & (high_p <= high_q)
    outside = jnp.where(nested, (low_p - low_q) + (high_q - high_p), 0.0)
    share = outside / (high_p - low_p)
    far = log_ratio(jnp.where(nested, high_q - low_q, 1.0), high_p - low_p)
    return jnp.where(nested, jnp.where(share < LARGE, jnp.log1p(jnp.where(share < LARGE, share, 0.0)), far), jnp.inf)


@computed_in_float64(0, 0)
def exponential_kl(parameter_p, parameter_q):
    """Return KL if q's parameter times a variable of p is exponential: the Itakura-Saito divergence."""
    return itakura_saito(parameter_q, parameter_p)


@closed_form(dist.Cauchy, dist.Cauchy)
def cauchy(p, q):
    return cauchy_kl(p.loc, p.scale, q.loc, q.scale)


@closed_form(dist.HalfCauchy, dist.HalfCauchy)
def half_cauchy(p, q):
    """Return KL between the unfolded laws: folding two laws that are symmetric about one point loses nothing."""
    return cauchy_kl(0.0, p.scale, 0.0, q.scale)


@closed_form(dist.HalfNormal, dist.HalfNormal)
def half_normal(p, q):
    return generalized_gamma_kl(*families.half_normal(p), *families.half_normal(q))


@closed_form(dist.Gumbel, dist.Gumbel)
def gumbel(p, q):
    return gumbel_kl(p.loc, p.scale, q.loc, q.scale)


@closed_form(dist.Logistic, dist.Logistic)
def logistic(p, q):
    shift = logistic_shift_kl(p.loc, q.loc, p.scale)
    return only_where(p.scale == q.scale, shift, p, q, "only for equal scales is there one")


@closed_form(dist.SoftLaplace, dist.SoftLaplace)
def soft_laplace(p, q):
    shift = soft_laplace_shift_kl(p.loc, q.loc, p.scale)
    return only_where(p.scale == q.scale, shift, p, q, "only for equal scales is there one")


@closed_form(dist.Gompertz, dist.Gompertz)
def gompertz(p, q):
    """Return KL between Gompertz laws: concentration (exp(rate x) - 1) is an exponential variable."""
    divergence = exponential_kl(p.concentration, q.concentration)
    return only_where(p.rate == q.rate, divergence, p, q, "only for equal rates is there an elementary one")


@closed_form(dist.Kumaraswamy, dist.Kumaraswamy)
def kumaraswamy(p, q):
    """Return KL between Kumaraswamy laws: -log(1 - x^concentration1) is exponential of rate concentration0."""
    same = p.concentration1 == q.concentration1
    divergence = exponential_kl(p.concentration0, q.concentration0)
    return only_where(same, divergence, p, q, "only for equal concentration1 is there one")


@closed_form(dist.Dagum, dist.Dagum)
def dagum(p, q):
    """Return KL between Dagum laws: log(1 + (x / scale)^-sharpness) is exponential of rate concentration."""
    same = (p.sharpness == q.sharpness) & (p.scale == q.scale)
    divergence = exponential_kl(p.concentration, q.concentration)
    return only_where(same, divergence, p, q, "only for equal sharpness and scale is there one")


@closed_form(dist.Levy, dist.Levy)
def levy(p, q):
    """Return KL between Levy laws: each is an inverse gamma of concentration 1/2, shifted."""
    divergence = half_exponential_kl(p.scale, q.scale)
    divergence = jnp.where(p.loc < q.loc, jnp.inf, divergence)
    return only_where(p.loc <= q.loc, divergence, p, q, "only for equal locations is there one")


@computed_in_float64(0, 0)
def half_exponential_kl(scale_p, scale_q):
    return 0.5 * itakura_saito(scale_q, scale_p)


@closed_form(dist.Uniform, dist.Uniform)
def uniform(p, q):
    return uniform_kl(p.low, p.high, q.low, q.high)
