"""The non-cancelling primitives that every closed form is built on.

A KL divergence inside an exponential family is a Bregman divergence

    D_F(x, y) = F(x) - F(y) - F'(y) (x - y)  >= 0

and the textbook formulas evaluate it as written: as a difference of large, nearly equal numbers. Each
function here returns such a divergence for one F to nearly full relative precision wherever x and y lie, and
however close they are, so a closed form that is a sum of these terms cannot cancel and cannot turn negative.

    phi(d)                 d - log(1 + d)
    psi(d)                 (1 + d) log(1 + d) - d
    em(x)                  exp(x) - 1 - x
    itakura_saito(x, y)    F = -log:        x/y - log(x/y) - 1
    generalized_kl(x, y)   F = x log x:     x log(x/y) - x + y
    binet(x, y)            F = mu, the remainder of Stirling's formula (Binet's function)
    log_gamma(x, y)        F = log Gamma
    log_sum_exp(w, ., d)   F = log-sum-exp, between the logits log w and log w + d

`difference` is x - y, for callers who know it more exactly than the rounded x and y give it. `digits` is FULL, or
SINGLE if the result will be rounded to float32, which takes half the time. Arrays broadcast. All functions work in the
dtype they are given and are differentiable by JAX; phi, psi, em, log_ratio and log_sum_exp also take NumPy arrays and
then return NumPy arrays.

Near and far arguments take different expressions. They are added up, each set to 0 where the other holds, instead of
being selected: a selection after a logarithm keeps XLA from vectorising it, which costs a factor of four.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

SERIES_RADIUS = 0.3  # inside it the series lose nothing, outside it the direct expressions lose under one digit
OCTAVE_RATIO = 1.5  # the ratio of two numbers without octaves, or its reciprocal, is at most that
OCTAVE_RADIUS = (OCTAVE_RATIO - 1) / (OCTAVE_RATIO + 1)  # of (r - 1) / (r + 1) for ratios r
FULL, SINGLE = 17, 9  # digits: of float64, and what a result in float32 needs
BINET_SHIFT = {FULL: 8, SINGLE: 4}  # arguments above it need only so many Stirling terms
STIRLING_TERMS = {FULL: 11, SINGLE: 6}
# B_2k / (2k (2k - 1)), the coefficients of Stirling's series
STIRLING = (
    1 / 12,
    -1 / 360,
    1 / 1260,
    -1 / 1680,
    1 / 1188,
    -691 / 360360,
    1 / 156,
    -3617 / 122400,
    43867 / 244188,
    -174611 / 125400,
    77683 / 5796,
)


def namespace(*arrays):
    """Return jax.numpy if any argument is a JAX array or is being traced, else numpy."""
    return jnp if any(isinstance(array, jax.Array) for array in arrays) else np


def as_floats(*arrays):
    """Return the arguments as arrays of one floating dtype, in the namespace they came from."""
    xp = namespace(*arrays)
    dtype = xp.result_type(float, *arrays)
    return [xp.asarray(array, dtype=dtype) for array in arrays]


def polynomial(x, coefficients):
    """Return sum_k coefficients[k] x^k, by Horner's rule."""
    total = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def sum_parts(x, keepdims=False):
    """Return the sum over the last axis, as a product with ones.

    XLA would fuse a plain sum with what is summed, and then compute that one number at a time.
    """
    total = jnp.dot(x, jnp.ones(x.shape[-1], x.dtype), precision="highest")
    return total[..., None] if keepdims else total


def phi(d):
    """Return d - log(1 + d) for d > -1; +inf at -1."""
    (d,) = as_floats(d)
    return phi_jax(d) if isinstance(d, jax.Array) else phi_value(d, np)


def phi_value(d, xp):
    near = abs(d) < SERIES_RADIUS
    far = xp.where(near | (d == xp.inf), 0.0, d)
    with np.errstate(divide="ignore", invalid="ignore"):
        # 1 + d is exact or harmlessly rounded out here, and XLA's log is more accurate than its log1p
        direct = far - xp.log(1 + far)
    return phi_series(xp.where(near, d, 0.0)) + direct + xp.where(d == xp.inf, xp.inf, 0.0)


def phi_series(d):
    """Return phi for |d| < SERIES_RADIUS."""
    s = d / (2 + d)  # log(1 + d) = 2 atanh(s), and d - 2 s = d s
    return d * s - 2 * atanh_excess_series(s, SERIES_RADIUS / (2 - SERIES_RADIUS))


@functools.cache
def phi_coefficients():
    """Return the coefficients of a polynomial in d: phi(d) / d^2 for 2/3 <= 1 + d <= 3/2, to 3e-10 of it."""
    ends = [1 / OCTAVE_RATIO - 1, OCTAVE_RATIO - 1]
    interpolant = Chebyshev.interpolate(lambda d: phi_value(d, np) / d**2, 12, domain=ends)
    return interpolant.convert(kind=Polynomial).coef.tolist()


def atanh_excess_series(t, bound, digits=FULL):
    """Return atanh(t) - t for |t| up to `bound`."""
    terms = math.ceil(digits / (-2 * math.log10(bound)))
    return t * t * t * polynomial(t * t, [1 / (2 * k + 3) for k in range(terms)])


@jax.custom_jvp
def phi_jax(d):
    return phi_value(d, jnp)


phi_jax.defjvps(lambda tangent, out, d: d / (1 + d) * tangent)


def psi(d):
    """Return (1 + d) log(1 + d) - d for d >= -1; 1 at -1."""
    (d,) = as_floats(d)
    xp = namespace(d)
    near = abs(d) < SERIES_RADIUS
    far = xp.where(near | (d <= -1), 0.0, d)
    direct = (1 + far) * xp.log(1 + far) - far
    edge = xp.where(d < -1, xp.nan, xp.where(d == -1, 1.0, 0.0))
    return psi_series(xp.where(near, d, 0.0)) + direct + edge


def psi_series(d):
    """Return psi for |d| < SERIES_RADIUS."""
    return d * d - (1 + d) * phi_series(d)


def em(x):
    """Return exp(x) - 1 - x."""
    (x,) = as_floats(x)
    return em_jax(x) if isinstance(x, jax.Array) else em_value(x, np)


def em_value(x, xp):
    near = abs(x) < SERIES_RADIUS
    y = xp.where(near, x, 0.0)
    factor = 1.0
    for k in range(13, 2, -1):
        factor = 1 + y / k * factor
    far = xp.where(near | (x == xp.inf), 0.0, x)
    with np.errstate(over="ignore"):
        direct = xp.expm1(far) - far
    return 0.5 * y * y * factor + direct + xp.where(x == xp.inf, xp.inf, 0.0)


@jax.custom_jvp
def em_jax(x):
    return em_value(x, jnp)


em_jax.defjvps(lambda tangent, out, x: jnp.expm1(x) * tangent)


def log_ratio(x, y, difference=None):
    """Return log(x / y) for positive x and y, relatively exact also where they nearly agree."""
    x, y = as_floats(x, y)
    xp = namespace(x, y)
    d = (x - y if difference is None else difference) / y
    near = abs(d) < SERIES_RADIUS
    s = xp.where(near, d, 0.0)
    s = s / (2 + s)
    series = 2 * s * polynomial(s * s, [1 / (2 * k + 1) for k in range(12)])
    return series + log_of_quotient(xp.where(near, 1.0, x), xp.where(near, 1.0, y))


def log_of_quotient(x, y):
    """Return log(x / y) from the roots of x and y, whose quotient does not leave the floating range."""
    xp = namespace(x, y)
    return 2 * xp.log(xp.sqrt(x) / xp.sqrt(y))


def itakura_saito(x, y, difference=None, digits=FULL):
    """Return x/y - log(x/y) - 1 for positive x and y: the Itakura-Saito divergence, D_F of F = -log."""
    x, y = as_floats(x, y)
    difference = x - y if difference is None else difference
    return itakura_saito_jax(*map(jnp.asarray, (x, y, difference)), digits)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def itakura_saito_jax(x, y, difference, digits):
    """Return the divergence with x = m 2^k and m near y, as two parts.

    They are the series of m/y - log(m/y) - 1, and (x - m)/y - k log 2, which is 0 if k is.
    """
    m, k = without_octaves(x, y)
    per_y = 1 / y
    step = jnp.where(k == 0, difference, m - y)
    d = step * per_y
    if digits == SINGLE:  # without another division, which XLA would not fuse with the rest
        series = d * d * polynomial(d, phi_coefficients())
    else:
        s = step / (m + y)  # log(m / y) = 2 atanh(s)
        series = s * d - 2 * atanh_excess_series(s, OCTAVE_RADIUS)
    edge = jnp.where((x >= 0) & (y >= 0) & (x != y), jnp.inf, jnp.nan)
    return jnp.where((x > 0) & (y > 0) & (y < jnp.inf), series + ((x - m) * per_y - math.log(2) * k), edge)


@itakura_saito_jax.defjvp
def itakura_saito_jvp(digits, primals, tangents):
    x, y, difference = primals
    per_y = 1 / y
    slope = difference * per_y  # x - y once more, so that the derivative does not cancel either
    tangent = slope * (tangents[0] / x - tangents[1] * per_y)
    return itakura_saito_jax(*primals, digits), tangent


def without_octaves(x, y):
    """Return m and a whole number k with x = m 2^k and 2/3 <= m/y <= 3/2, for positive x and y. If k is 0, m is x.

    By the floating numbers' bits: read as a whole number they are the logarithm, linear within each octave. XLA's
    logarithm of float64 numbers takes twice as long as all the rest of a divergence.
    """
    octave = 2 ** jnp.finfo(x.dtype).nmant
    whole = np.dtype(f"int{8 * x.dtype.itemsize}")
    bits_x, bits_y = (jax.lax.bitcast_convert_type(z, whole) for z in (x, y))
    octaves = (bits_x - bits_y + whole.type(octave // 2)) & whole.type(-octave)
    return jax.lax.bitcast_convert_type(bits_x - octaves, x.dtype), octaves.astype(x.dtype) / octave


def generalized_kl(x, y, difference=None):
    """Return x log(x/y) - x + y for x, y >= 0: the generalised KL divergence, D_F of F = x log x.

    0 log 0 is 0, and the result is +inf where y = 0 < x. The derivative by x at x = 0, truly -inf, is returned as 0: an
    entry that is zero stays zero.
    """
    x, y = as_floats(x, y)
    difference = x - y if difference is None else difference
    return generalized_kl_jax(*map(jnp.asarray, (x, y, difference)))


@jax.custom_jvp
def generalized_kl_jax(x, y, difference):
    positive = (x > 0) & (y > 0)
    safe_x, safe_y = jnp.where(positive, x, 1.0), jnp.where(positive, y, 1.0)
    d = jnp.where(positive, difference, 0.0) / safe_y
    near = abs(d) < SERIES_RADIUS
    close = safe_y * psi_series(jnp.where(near, d, 0.0))
    far_x, far_y = jnp.where(near, 1.0, safe_x), jnp.where(near, 1.0, safe_y)
    far = far_x * log_of_quotient(far_x, far_y) - jnp.where(near, 0.0, difference)
    edge = jnp.where(positive, 0.0, jnp.where(x > 0, jnp.inf, y))
    return close + far + edge


@generalized_kl_jax.defjvp
def generalized_kl_jvp(primals, tangents):
    x, y, difference = primals
    positive = (x > 0) & (y > 0)
    safe_x, safe_y = jnp.where(positive, x, 1.0), jnp.where(positive, y, 1.0)
    by_x = jnp.where(positive, log_ratio(safe_x, safe_y, jnp.where(positive, difference, 0.0)), 0.0)
    by_x = jnp.where((y == 0) & (x > 0), jnp.inf, by_x)
    by_y = jnp.where(positive, -difference / safe_y, jnp.where(x > 0, -jnp.inf, 1.0))
    return generalized_kl_jax(*primals), by_x * tangents[0] + by_y * tangents[1]


def binet(x, y, difference=None, digits=FULL):
    """Return D_mu(x, y) for positive x and y; mu(x) = log Gamma(x) - (x - 1/2) log x + x - log(2 pi)/2.

    mu(x) - mu(x + 1) = g(x) = (x + 1/2) log(1 + 1/x) - 1 (Gudermann), so the divergence is that of g at y,
    y + 1, ..., and that of mu where Stirling's series has converged. The series' alternating signs are harmless
    there: its first term dominates.
    """
    x, y = as_floats(x, y)
    difference = x - y if difference is None else difference
    return binet_jax(*jnp.broadcast_arrays(x, y, difference), digits)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def binet_jax(x, y, difference, digits):
    shift = BINET_SHIFT[digits]
    total = stirling(x + shift, y + shift, difference, digits)
    for step in range(shift):
        total = total + gudermann(x, y, difference, step, digits)
    return total


@binet_jax.defjvp
def binet_jvp(digits, primals, tangents):
    x, y, difference = primals
    by_x, by_y = binet_slope_difference(x, y, difference, digits), -difference * binet_curvature(y)
    return binet_jax(*primals, digits), by_x * tangents[0] + by_y * tangents[1]


def binet_slope_difference(x, y, difference, digits=FULL):
    """Return mu'(x) - mu'(y)."""
    shift = BINET_SHIFT[digits]
    total = stirling_slope(x + shift, y + shift, difference, digits)
    for step in range(shift):
        total = total + gudermann_slope(x, y, difference, step, digits)
    return total


def gudermann(x, y, delta, step, digits):
    """Return D_g(x + step, y + step).

    Let u = y + 1/2, v = x + 1/2 and t = 2 delta / (4 u v - 1). Then it equals

    4 delta^2 / ((4 u^2 - 1)(4 u v - 1)) - 2 v (atanh(t) - t), where the second term is at most a third of the
    first when delta > 0 and adds to it otherwise.
    """
    scale, excess = gudermann_excess(x, y, delta, step, digits)
    x, y = x + step, y + step
    return delta / (y * (y + 1)) * (delta * scale) - (2 * x + 1) * excess


def gudermann_slope(x, y, delta, step, digits):
    """Return g'(x + step) - g'(y + step), by the same decomposition as `gudermann`."""
    scale, excess = gudermann_excess(x, y, delta, step, digits)
    x, y = x + step, y + step
    return delta * (1 / (x * (x + 1)) + 1 / (y * (y + 1))) * scale - 2 * excess


def gudermann_excess(x, y, delta, step, digits):
    """Return 1 / (4 u v - 1), and atanh(t) - t.

    After `step` steps |t| is below 1 / (2 step + 1), so that the series alone serves from the first step on.
    """
    x, y = x + step, y + step
    scale = 1 / (2 * (2 * x * y + x + y))
    t = 2 * delta * scale
    if step:
        return scale, atanh_excess_series(t, 1 / (2 * step + 1), digits)
    near = abs(t) < SERIES_RADIUS
    direct = 0.5 * jnp.log(jnp.where(near, 1.0, x / y * ((y + 1) / (x + 1)))) - jnp.where(near, 0.0, t)
    return scale, atanh_excess_series(jnp.where(near, t, 0.0), SERIES_RADIUS, digits) + direct


def stirling(x, y, delta, digits):
    """Return D_mu(x, y) by Stirling's series, for arguments above BINET_SHIFT.

    The divergence of x^-m, S_m, obeys S_m = (S_(m-1) + m delta^2 / y^(m+1)) / x with S_0 = 0: all terms
    positive.
    """
    per_x, per_y = 1 / x, 1 / y  # multiplying by them is an order of magnitude faster than dividing at each step
    total, s, power = 0.0, 0.0, delta * delta * per_y  # power = delta^2 / y^m, before step m divides once more
    for m in range(1, 2 * STIRLING_TERMS[digits]):
        power = power * per_y
        s = (s + m * power) * per_x
        if m % 2:
            total = total + STIRLING[m // 2] * s
    return total


def stirling_slope(x, y, delta, digits):
    """Return mu'(x) - mu'(y) by Stirling's series.

    R_n = x^-n - y^-n obeys R_n = (R_(n-1) - delta / y^n) / x.
    """
    per_x, per_y = 1 / x, 1 / y
    total, r, power = 0.0, 0.0, delta
    for n in range(1, 2 * STIRLING_TERMS[digits] + 1):
        power = power * per_y
        r = (r - power) * per_x
        if n % 2 == 0:
            total = total - (n - 1) * STIRLING[n // 2 - 1] * r
    return total


def stirling_curvature(y):
    """Return mu''(y) by Stirling's series."""
    inverse = 1 / y
    coefficients = [(2 * k + 1) * (2 * k + 2) * c for k, c in enumerate(STIRLING)]
    return inverse**3 * polynomial(inverse * inverse, coefficients)


@jax.custom_jvp
def binet_function(a):
    """Return mu(a), the remainder of Stirling's formula, for a > 0.

    mu(a) = log Gamma(a) - (a - 1/2) log a + a - log(2 pi)/2.
    """
    per_a = 1 / (a + BINET_SHIFT[FULL])
    total = per_a * polynomial(per_a * per_a, STIRLING)
    for step in range(BINET_SHIFT[FULL]):
        t, excess = gudermann_argument(a, step)
        total = total + excess / t
    return total


@jax.custom_jvp
def binet_slope(a):
    """Return mu'(a), which is negative."""
    per_a = 1 / (a + BINET_SHIFT[FULL])
    total = -per_a * per_a * polynomial(per_a * per_a, [(2 * k + 1) * c for k, c in enumerate(STIRLING)])
    for step in range(BINET_SHIFT[FULL]):
        t, excess = gudermann_argument(a, step)
        total = total - 2 * (t / ((a + step) * (a + step + 1)) / 4 - excess)  # t^3 / (1 - t^2) = t / (4 s (s + 1))
    return total


binet_function.defjvps(lambda tangent, out, a: binet_slope(a) * tangent)
binet_slope.defjvps(lambda tangent, out, a: binet_curvature(a) * tangent)


def binet_curvature(a):
    """Return mu''(a), which is positive."""
    total = stirling_curvature(a + BINET_SHIFT[FULL])
    for step in range(BINET_SHIFT[FULL]):
        total = total + 0.5 / ((a + step) * (a + step + 1)) ** 2
    return total


def gudermann_argument(a, step):
    """Return t = 1 / (2 s + 1) and atanh(t) - t, where s = a + step and g(s) = (atanh(t) - t) / t."""
    s = a + step
    t = 1 / (2 * s + 1)
    if step:
        return t, atanh_excess_series(t, 1 / (2 * step + 1))
    near = t < SERIES_RADIUS
    direct = 0.5 * jnp.log(jnp.where(near, 1.0, (s + 1) / s)) - jnp.where(near, 0.0, t)
    return t, atanh_excess_series(jnp.where(near, t, 0.0), SERIES_RADIUS) + direct


def digamma(a):
    """Return the derivative of log Gamma, for a > 0."""
    return jnp.log(a) - 0.5 / a + binet_slope(a)


def log_gamma(x, y, difference=None):
    """Return log Gamma(x) - log Gamma(y) - digamma(y) (x - y), for positive x and y."""
    terms = generalized_kl(x, y, difference) + 0.5 * itakura_saito(x, y, difference)
    return terms + binet(x, y, difference)


def split(a):
    """Return (high, low) with a = high + low, each of half the digits (Veltkamp)."""
    factor = 2.0 ** ((jnp.finfo(a.dtype).nmant + 2) // 2) + 1
    scaled = factor * a
    high = scaled - (scaled - a)
    return high, a - high


def product_with_error(a, b):
    """Return (p, e) with p = a b rounded and p + e = a b exactly (Dekker)."""
    p = a * b
    a_high, a_low = split(a)
    b_high, b_low = split(b)
    error = ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low
    return p, error


def difference_of_products(a, b, c, d):
    """Return a b - c d to full relative precision, even where the two products nearly agree."""
    return difference_of_equal_shapes(*jnp.broadcast_arrays(a, b, c, d))


@jax.custom_jvp
def difference_of_equal_shapes(a, b, c, d):
    left, left_error = product_with_error(a, b)
    right, right_error = product_with_error(c, d)
    return (left - right) + (left_error - right_error)


difference_of_equal_shapes.defjvps(
    lambda t, out, a, b, c, d: t * b,
    lambda t, out, a, b, c, d: a * t,
    lambda t, out, a, b, c, d: -t * d,
    lambda t, out, a, b, c, d: -c * t,
)


def log_sum_exp(weights, log_weights, delta):
    """Return log(sum w exp(delta)) - sum w delta over the last axis: D_F of F = log-sum-exp.

    This is KL(p||q) for p = weights, which sum to 1, and q proportional to weights * exp(delta); a constant
    added to delta changes nothing. Evaluated as log1p(sum w em(x)) with x = delta - E delta: all its terms are
    positive.

    Args:
        weights, log_weights: the weights and their logarithms, since w may underflow where log w does not; 0 and -inf
            together are allowed.
        delta: the differences of the logits, finite everywhere, also where w = 0.
    """
    xp = namespace(weights, log_weights, delta)
    # first a difference to the heaviest, so that the mean is small
    x = delta - (share_of_maximum(weights) * delta).sum(-1, keepdims=True)
    x = x - (weights * x).sum(-1, keepdims=True)
    far = x > 1
    exponent = xp.where(far, log_weights + x, 0.0)
    largest = exponent.max(-1)
    limit = 0.4 * np.log(float(np.finfo(weights.dtype).max))
    grown = xp.exp(xp.minimum(exponent, limit)) - weights * (1 + x)
    terms = xp.where(far, grown, weights * em(xp.where(far, 0.0, x)))
    moderate = xp.log1p(terms.sum(-1))
    # beyond the floating range the sum is its largest terms, and their logarithm is all that counts
    top = xp.maximum(largest, limit)
    huge = top + xp.log(xp.exp(xp.where(far, exponent, -xp.inf) - top[..., None]).sum(-1) + xp.exp(-top))
    return xp.where(largest > limit, huge, moderate)


def share_of_maximum(a):
    """Return 1 where the largest entry of the last axis is, 0 elsewhere; equal shares where several are largest.

    A sum with it picks the entry without a gather, which JAX could not differentiate or lower in float64 from a
    float32 caller.
    """
    largest = a == a.max(-1, keepdims=True)
    return largest / largest.sum(-1, keepdims=True)
