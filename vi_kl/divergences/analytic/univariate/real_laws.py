"""The moments of laws on the real line, as functions of their parameters.

Each function takes arrays of parameters and returns `Moments` of the variable itself.
"""

import math

import jax.numpy as jnp
from jax.scipy.special import erfc

from vi_kl.divergences.analytic.univariate.moments import NORMAL_ENTROPY, Moments, from_entropy
from vi_kl.divergences.bregman import binet, binet_function, binet_slope, binet_slope_difference, em, log_gamma, phi

EULER = 0.5772156649015328606
FRACTION_STEPS = 50  # steps of the continued fraction of E1, for 1e-16 at 2


def normal(loc, scale) -> Moments:
    def partial(m):
        z = (loc - m) / scale
        density = jnp.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        tail = 0.5 * erfc(abs(z) / math.sqrt(2))
        small = scale * (density - abs(z) * tail)
        return jnp.maximum(loc - m, 0) + small, jnp.maximum(m - loc, 0) + small

    precision = 1 / (scale * scale)
    zero = jnp.zeros_like(scale)
    return Moments(
        loc, precision, zero, zero, lambda t: t * t / (2 * precision), lambda t: 0 * t * zero, partial=partial
    )


def laplace(loc, left, right) -> Moments:
    """Return the moments of the density exp(-(y - loc)+ / right - (loc - y)+ / left) / (left + right)."""

    def cumulant(t):
        inside = (t * right < 1) & (t * left > -1)
        rise, fall = jnp.where(inside, -t * right, 0.0), jnp.where(inside, t * left, 0.0)
        return jnp.where(inside, phi(rise) + phi(fall), jnp.inf)

    entropy = 1 + jnp.log(left + right)
    return from_entropy(loc + right - left, left * left + right * right, entropy, cumulant=cumulant)


def logistic(loc, scale) -> Moments:
    def partial(m):
        z = (loc - m) / scale
        small = scale * jnp.log1p(jnp.exp(-abs(z)))
        return jnp.maximum(loc - m, 0) + small, jnp.maximum(m - loc, 0) + small

    return from_entropy(
        loc,
        (math.pi * scale) ** 2 / 3,
        jnp.log(scale) + 2,
        cumulant=lambda t: gamma_pair(jnp.ones_like(scale), scale * t),
        partial=partial,
    )


def soft_laplace(loc, scale) -> Moments:
    """Return the moments of the hyperbolic secant, which is also the law of the logarithm of a half-Cauchy."""
    half = jnp.full_like(scale, 0.5)
    return from_entropy(
        loc,
        (math.pi * scale / 2) ** 2,
        jnp.log(2 * math.pi * scale),
        cumulant=lambda t: gamma_pair(half, scale * t / 2),
    )


def gamma_pair(a, t):
    """Return log [Gamma(a + t) Gamma(a - t) / Gamma(a)^2]; inf for |t| >= a."""
    inside = abs(t) < a
    t = jnp.where(inside, t, 0.0)
    return jnp.where(inside, log_gamma(a + t, a, t) + log_gamma(a - t, a, -t), jnp.inf)


def gumbel(loc, scale) -> Moments:
    def cumulant(t):
        inside = t * scale < 1
        step = jnp.where(inside, -t * scale, 0.0)
        return jnp.where(inside, log_gamma(1 + step, jnp.ones_like(step), step), jnp.inf)

    def partial(m):
        """Return E (Y - m)+ and E (m - Y)+.

        The latter is scale E1(exp(-z)), z = (m - loc) / scale; E1(x) = x - log x - gamma for small x.
        """
        z = (m - loc) / scale
        far = z > 40
        below = scale * jnp.where(far, z - EULER, exponential_integral(jnp.exp(-jnp.where(far, 0.0, z))))
        return loc + scale * EULER - m + below, below

    variance = (math.pi * scale) ** 2 / 6
    return from_entropy(loc + scale * EULER, variance, jnp.log(scale) + 1 + EULER, cumulant=cumulant, partial=partial)


def exponential_integral(x):
    """Return E1(x), the integral of exp(-t) / t from x on, for x > 0.

    JAX's own function does not lower from a float32 caller.
    """
    small = x < 2
    near, far = jnp.where(small, x, 1.0), jnp.where(small, 2.0, x)
    series, term = 0.0, 1.0
    for k in range(1, 27):  # E1(x) = -gamma - log x - sum (-x)^k / (k k!)
        term = -term * near / k
        series = series + term / k
    fraction = far + 2 * FRACTION_STEPS + 1
    for k in range(FRACTION_STEPS, 0, -1):
        fraction = far + 2 * k - 1 - k * k / fraction
    return jnp.where(small, -EULER - jnp.log(near) - series, jnp.exp(-far) / fraction)


def cauchy(loc, scale) -> Moments:
    infinite = jnp.full_like(scale, jnp.inf)
    loss = jnp.full_like(scale, NORMAL_ENTROPY - math.log(4 * math.pi))
    return Moments(
        mean=infinite,
        precision=1 / (scale * scale),
        variance_excess=infinite,
        entropy_loss=loss,
        cumulant=diverging(scale),
        partial=lambda m: (infinite, infinite),
    )


def student_t(df, loc, scale) -> Moments:
    """Return the moments of Student's t, so that nothing cancels as df grows.

    The law then becomes normal, and loses 3 / (4 df^2) nats.
    """
    half = 0.5 * df
    heavy = half <= 1
    safe = jnp.where(heavy, 2.0, half)
    below = binet(half, half + 0.5, jnp.full_like(half, -0.5)) - 0.5 * binet_slope(half + 0.5)  # mu(h) - mu(h + 1/2)
    bend = (half + 0.5) * binet_slope_difference(half + 0.5, half, jnp.full_like(half, 0.5))
    spread = jnp.where(heavy, -1 / df, 0.5 * phi(-1 / safe))
    return Moments(
        mean=jnp.where(df > 1, loc, jnp.inf),
        precision=jnp.where(heavy, 1.0, (safe - 1) / safe) / (scale * scale),
        variance_excess=jnp.where(heavy, jnp.inf, 0.0),
        entropy_loss=spread + 0.5 * phi(1 / df) - below - bend,
        cumulant=diverging(scale),
    )


def uniform(low, high) -> Moments:
    width = high - low

    def partial(m):
        above = jnp.clip(high - m, 0, width) ** 2 / (2 * width) + jnp.maximum(low - m, 0)
        below = jnp.clip(m - low, 0, width) ** 2 / (2 * width) + jnp.maximum(m - high, 0)
        return above, below

    return from_entropy(
        (low + high) / 2,
        width * width / 12,
        jnp.log(width),
        cumulant=lambda t: log_sinhc(t * width / 2),
        partial=partial,
    )


def log_sinhc(x):
    """Return log(sinh(x) / x)."""
    x = abs(x)
    small = x < 2
    y = jnp.where(small, x * x, 0.0)
    series = 1.0
    for k in range(9, 1, -1):
        series = 1 + y / ((2 * k) * (2 * k + 1)) * series
    far = jnp.where(small, 1.0, x)
    direct = far + jnp.log(-jnp.expm1(-2 * far) / (2 * far))
    return jnp.where(small, jnp.log1p(y / 6 * series), direct)


def gamma(concentration, rate) -> Moments:
    """Return the moments of the variable itself; those of its logarithm are in log_laws."""
    slope = binet_slope(concentration)
    loss = 0.5 / concentration - binet_function(concentration) + (concentration - 1) * slope

    def cumulant(t):
        inside = t < rate
        d = jnp.where(inside, -t / rate, 0.0)
        return jnp.where(inside, concentration * phi(d), jnp.inf)

    zero = jnp.zeros_like(rate)
    return Moments(concentration / rate, rate * rate / concentration, zero, loss, cumulant)


def exponential(rate) -> Moments:
    one = jnp.ones_like(rate)

    def cumulant(t):
        inside = t < rate
        return jnp.where(inside, phi(jnp.where(inside, -t / rate, 0.0)), jnp.inf)

    def partial(m):
        inside = jnp.maximum(m, 0)
        below = em(-rate * inside) / rate
        return jnp.exp(-rate * inside) / rate + jnp.maximum(-m, 0), below

    return from_entropy(1 / rate, 1 / (rate * rate), one - jnp.log(rate), cumulant=cumulant, partial=partial)


def diverging(like):
    """Return a cumulant function that is infinite for every t."""
    return lambda t: jnp.full_like(like, jnp.inf) + 0 * t
