"""The logarithm of the probability that a standard law gives an interval, for laws that are symmetric about 0.

Each function takes the ends of the interval and its width, which callers know more exactly than the difference of
the ends. None subtracts one distribution function from another, so that intervals far out in a tail and intervals of
next to no width keep their digits. An empty interval has log mass -inf.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)
DEPTH = 42.0  # exp(-42) = 6e-19
EDGES = np.array([-20.0, -10, -4, -1.5, 0, 1.5, 4, 10, 20])  # 32 nodes resolve cosh(y)^-df between any two
SMALL = -40.0  # atan(u) = u to the last digit where log u is below
LOG_NOTHING = -1e300  # stands for -inf, whose derivatives would be NaN


def log_inverse_share(inside, below, above):
    """Return -log of the share that `inside` is of the whole, from the log masses of the parts.

    It is exact for shares near 1.
    """
    below, above = jnp.maximum(below, LOG_NOTHING), jnp.maximum(above, LOG_NOTHING)
    return jnp.logaddexp(0.0, jnp.logaddexp(below, above) - inside)


def laplace(low, high, width):
    """Return the log mass from the end that is nearer to the middle, or from both sides of the middle added up."""
    nearer, crosses = jnp.where(low >= 0, low, -high), (low < 0) & (high > 0)
    beside = log_difference(width) - jnp.where(crosses, 0.0, nearer)
    across = jnp.log(jnp.where(crosses, -jnp.expm1(jnp.where(crosses, low, -1.0)) - jnp.expm1(-abs(high)), 1.0))
    return jnp.where(crosses, across, beside) - math.log(2)


def logistic(low, high, width):
    """Return the log of F(high) (1 - F(low)) (1 - exp(-width))."""
    return log_difference(width) - jnp.logaddexp(0.0, -high) - jnp.logaddexp(0.0, low)


def cauchy(low, high, width):
    """Return the log mass from atan(high) - atan(low) = atan2(width, 1 + low high).

    Both arguments are divided by what keeps them finite.
    """
    some = width > 0
    low, high, width = jnp.where(some, low, 0.0), jnp.where(some, high, 1.0), jnp.where(some, width, 1.0)
    scale_low, scale_high = 1 / jnp.maximum(1.0, abs(low)), 1 / jnp.maximum(1.0, abs(high))
    bounded = width < jnp.inf
    opposite = jnp.where(bounded, width, 1.0) * scale_low * scale_high
    low_sine, high_sine = jnp.clip(low, -1.0, 1.0), jnp.clip(high, -1.0, 1.0)  # z / max(1, |z|)
    opposite = jnp.where(bounded, opposite, high_sine * scale_low - low_sine * scale_high)
    adjacent = scale_low * scale_high + low_sine * high_sine
    return jnp.where(some, jnp.log(jnp.arctan2(opposite, adjacent) / math.pi), -jnp.inf)


def soft_laplace(low, high, width):
    """Return the log of the difference of two values of atan(exp(z)), which is the arctangent of a quotient."""
    flip = low + high > 0
    low, high = jnp.where(flip, -high, low), jnp.where(flip, -low, high)
    log_tangent = high + log_difference(width) - jnp.logaddexp(0.0, low + high)
    small = log_tangent < SMALL
    angle = jnp.arctan(jnp.exp(jnp.where(small, 0.0, jnp.minimum(log_tangent, -SMALL))))
    return jnp.where(small, log_tangent, jnp.log(angle)) + math.log(2 / math.pi)


def log_difference(width):
    """Return log(1 - exp(-width)), -inf at 0."""
    some = width > 0
    return jnp.where(some, jnp.log(-jnp.expm1(-jnp.where(some, width, 1.0))), -jnp.inf)


def student_t(low, high, width, df):
    """Return the log of the integral of cosh(y)^-df, where z = sqrt(df) sinh(y).

    It is the log mass up to a factor that depends on df alone.
    """
    some, root = width > 0, jnp.sqrt(df)
    low, high, width = (over(jnp.where(some, z, end), root) for z, end in ((low, -1.0), (high, 1.0), (width, 2.0)))
    start, end = jnp.arcsinh(low), jnp.arcsinh(high)
    bounded = width < jnp.inf
    middle = 0.5 * (jnp.where(bounded, start, 0.0) + jnp.where(bounded, end, 0.0))
    length = jnp.where(bounded, 2 * jnp.arcsinh(0.5 * jnp.where(bounded, width, 1.0) / jnp.cosh(middle)), jnp.inf)
    mode = jax.lax.stop_gradient(jnp.clip(0.0, start, end))  # used only as the point to expand around
    far = jax.lax.stop_gradient(reach(mode, df))
    left = jnp.minimum(jnp.where(mode == end, length - (end - mode), mode - start), far)
    right = jnp.minimum(jnp.where(mode == start, length - (mode - start), end - mode), far)
    return jnp.where(some, log_integral(left, right, mode, df) - df * log_cosh(mode), -jnp.inf)


def over(z, root):
    """Return z / root, with no derivative where z is infinite."""
    finite = abs(z) < jnp.inf
    return jnp.where(finite, jnp.where(finite, z, 0.0) / root, z)


def log_cosh(y):
    return jnp.logaddexp(y, -y) - math.log(2)


def reach(mode, df):
    """Return how far outwards from the mode cosh(y)^-df falls to exp(-DEPTH) of its value there."""
    height = log_cosh(mode) + DEPTH / df
    return height + jnp.log1p(jnp.sqrt(-jnp.expm1(-2 * height))) - abs(mode)


def log_integral(left, right, mode, df):
    """Return log of the integral of (cosh(y) / cosh(mode))^-df from mode - left to mode + right.

    A rule is applied between EDGES.
    """
    edges = jnp.clip(EDGES - mode[..., None], -left[..., None], right[..., None])
    edges = jnp.concatenate([-left[..., None], edges, right[..., None]], -1)
    spans, starts = jnp.diff(edges)[..., None], edges[..., :-1, None]
    steps = starts + spans * (0.5 * (1 + NODES))
    outwards = jnp.tanh(abs(mode))[..., None, None]  # the mode is 0, or all of the interval lies beyond it
    size = abs(steps)
    near, short = size < 1, jnp.minimum(size, 1.0)
    rise = jnp.log1p(2 * jnp.sinh(0.5 * short) ** 2 + outwards * jnp.sinh(short))
    direct = size + jnp.log(0.5 * (1 + outwards) + 0.5 * (1 - outwards) * jnp.exp(-2 * size))
    density = jnp.exp(-df[..., None, None] * jnp.where(near, rise, direct))
    return jnp.log((0.5 * spans * WEIGHTS * density).sum((-2, -1)))
