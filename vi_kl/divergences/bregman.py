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

`difference` is x - y for callers who know it more exactly than the rounded x and y do. Arrays broadcast. All
work in the dtype they are given and are differentiable by JAX; phi, psi, em, log_ratio and log_sum_exp also
take NumPy arrays and then return NumPy arrays.
"""

import jax
import jax.numpy as jnp
import numpy as np

SERIES_RADIUS = 0.3  # inside it the series lose nothing, outside it the direct expressions lose under one digit
BINET_SHIFT = 20  # arguments above it need only the Stirling terms below for 1e-16
# B_2k / (2k (2k - 1)), the coefficients of Stirling's series
STIRLING = (
    1 / 12,
    -1 / 360,
    1 / 1260,
    -1 / 1680,
    1 / 1188,
    -691 / 360360,
    1 / 156,
)


def namespace(*arrays):
    """jax.numpy where any argument is a JAX array or is being traced, else numpy."""
    return jnp if any(isinstance(array, jax.Array) for array in arrays) else np


def as_floats(*arrays):
    """The arguments as arrays of one floating dtype, in the namespace they came from."""
    xp = namespace(*arrays)
    dtype = xp.result_type(float, *arrays) if xp is np else jnp.result_type(*arrays, jnp.float16)
    return [xp.asarray(array, dtype=dtype) for array in arrays]


def polynomial(x, coefficients):
    """sum_k coefficients[k] x^k, by Horner's rule."""
    total = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def phi(d):
    """d - log(1 + d) for d > -1; +inf at -1."""
    (d,) = as_floats(d)
    return phi_jax(d) if isinstance(d, jax.Array) else phi_value(d, np)


def phi_value(d, xp):
    near = abs(d) < SERIES_RADIUS
    x = xp.where(near, d, 0.0)
    s = x / (2 + x)  # log(1 + d) = 2 atanh(s), and d - 2 s = d s
    series = x * s - 2 * s**3 * polynomial(s * s, [1 / (2 * k + 3) for k in range(11)])
    far = xp.where(near | (d <= -1), 1.0, d)
    # 1 + d is exact or harmlessly rounded out here, and XLA's log is more accurate than its log1p
    direct = far - xp.log(1 + far)
    return xp.where(near, series, xp.where((d == -1) | (d == xp.inf), xp.inf, xp.where(d < -1, xp.nan, direct)))


@jax.custom_jvp
def phi_jax(d):
    return phi_value(d, jnp)


phi_jax.defjvps(lambda tangent, out, d: d / (1 + d) * tangent)


def psi(d):
    """(1 + d) log(1 + d) - d for d >= -1; 1 at -1."""
    (d,) = as_floats(d)
    xp = namespace(d)
    near = abs(d) < SERIES_RADIUS
    x = xp.where(near, d, 0.0)
    far = xp.where(near | (d <= -1), 1.0, d)
    direct = (1 + far) * xp.log(1 + far) - far
    edge = xp.where(d < -1, xp.nan, 1.0)
    return xp.where(near, x * x - (1 + x) * phi(x), xp.where(d <= -1, edge, direct))


def em(x):
    """exp(x) - 1 - x."""
    (x,) = as_floats(x)
    return em_jax(x) if isinstance(x, jax.Array) else em_value(x, np)


def em_value(x, xp):
    near = abs(x) < SERIES_RADIUS
    y = xp.where(near, x, 0.0)
    factor = 1.0
    for k in range(13, 2, -1):
        factor = 1 + y / k * factor
    far = xp.where(near | (x == xp.inf), 1.0, x)
    with np.errstate(over="ignore"):
        direct = xp.expm1(far) - far
    return xp.where(near, 0.5 * y * y * factor, xp.where(x == xp.inf, xp.inf, direct))


@jax.custom_jvp
def em_jax(x):
    return em_value(x, jnp)


em_jax.defjvps(lambda tangent, out, x: jnp.expm1(x) * tangent)


def atanh_excess(y, log_ratio):
    """atanh(y) - y, where log_ratio = log((1 + y) / (1 - y)) is used away from zero."""
    xp = namespace(y)
    near = abs(y) < SERIES_RADIUS
    x = xp.where(near, y, 0.0)
    series = x**3 * polynomial(x * x, [1 / (2 * k + 3) for k in range(15)])
    return xp.where(near, series, 0.5 * log_ratio - y)


def log_ratio(x, y, difference=None):
    """log(x / y) for positive x and y, relatively exact also where they nearly agree."""
    x, y = as_floats(x, y)
    xp = namespace(x, y)
    d = (x - y if difference is None else difference) / y
    near = abs(d) < SERIES_RADIUS
    s = xp.where(near, d, 0.0)
    s = s / (2 + s)
    series = 2 * s * polynomial(s * s, [1 / (2 * k + 1) for k in range(12)])
    far_x, far_y = xp.where(near, 1.0, x), xp.where(near, 1.0, y)
    with np.errstate(over="ignore", divide="ignore"):
        ratio = far_x / far_y
    moderate = (ratio > 1e-20) & (ratio < 1e20)  # beyond, the quotient may leave the floating range
    direct = xp.where(moderate, xp.log(xp.where(moderate, ratio, 1.0)), xp.log(far_x) - xp.log(far_y))
    return xp.where(near, series, direct)


def itakura_saito(x, y, difference=None):
    """x/y - log(x/y) - 1 for positive x and y: the Itakura-Saito divergence, D_F of F = -log."""
    x, y = as_floats(x, y)
    difference = x - y if difference is None else difference
    return itakura_saito_jax(*map(jnp.asarray, (x, y, difference)))


@jax.custom_jvp
def itakura_saito_jax(x, y, difference):
    d = difference / y
    near = abs(d) < SERIES_RADIUS
    ratio = jnp.where(near, 1.0, x) / jnp.where(near, 1.0, y)
    far = jnp.where(ratio == jnp.inf, jnp.inf, ratio - 1 - jnp.log(jnp.where(ratio == jnp.inf, 1.0, ratio)))
    return jnp.where(near, phi_jax(jnp.where(near, d, 0.0)), far)


@itakura_saito_jax.defjvp
def itakura_saito_jvp(primals, tangents):
    x, y, difference = primals
    slope = difference / y  # x - y once more, so that the derivative does not cancel either
    tangent = slope * (tangents[0] / x - tangents[1] / y)
    return itakura_saito_jax(*primals), tangent


def generalized_kl(x, y, difference=None):
    """x log(x/y) - x + y for x, y >= 0: the generalised KL divergence, D_F of F = x log x.

    0 log 0 = 0, and +inf where y = 0 < x. The derivative by x at x = 0, truly -inf, is returned as 0: an
    entry that is zero stays zero.
    """
    x, y = as_floats(x, y)
    difference = x - y if difference is None else difference
    return generalized_kl_jax(*map(jnp.asarray, (x, y, difference)))


@jax.custom_jvp
def generalized_kl_jax(x, y, difference):
    positive = (x > 0) & (y > 0)
    safe_x, safe_y = jnp.where(positive, x, 1.0), jnp.where(positive, y, 1.0)
    d = difference / safe_y
    near = positive & (abs(d) < SERIES_RADIUS)
    close = safe_y * psi(jnp.where(near, d, 0.0))
    far = safe_x * log_ratio(safe_x, safe_y) - difference
    edge = jnp.where(x > 0, jnp.inf, y)
    return jnp.where(near, close, jnp.where(positive, far, edge))


@generalized_kl_jax.defjvp
def generalized_kl_jvp(primals, tangents):
    x, y, difference = primals
    positive = (x > 0) & (y > 0)
    safe_x, safe_y = jnp.where(positive, x, 1.0), jnp.where(positive, y, 1.0)
    by_x = jnp.where(positive, log_ratio(safe_x, safe_y, jnp.where(positive, difference, 0.0)), 0.0)
    by_x = jnp.where((y == 0) & (x > 0), jnp.inf, by_x)
    by_y = jnp.where(positive, -difference / safe_y, jnp.where(x > 0, -jnp.inf, 1.0))
    return generalized_kl_jax(*primals), by_x * tangents[0] + by_y * tangents[1]


def binet(x, y, difference=None):
    """D_mu(x, y) for positive x and y; mu(x) = log Gamma(x) - (x - 1/2) log x + x - log(2 pi)/2.

    mu(x) - mu(x + 1) = g(x) = (x + 1/2) log(1 + 1/x) - 1 (Gudermann), so the divergence is that of g at y,
    y + 1, ..., and that of mu where Stirling's series has converged. The series' alternating signs are harmless
    there: its first term dominates.
    """
    x, y = as_floats(x, y)
    difference = x - y if difference is None else difference
    return binet_jax(*jnp.broadcast_arrays(x, y, difference))


@jax.custom_jvp
def binet_jax(x, y, difference):
    head = gudermann(*shifted(x, y, difference)).sum(-1)
    return head + stirling(x + BINET_SHIFT, y + BINET_SHIFT, difference)


@binet_jax.defjvp
def binet_jvp(primals, tangents):
    x, y, difference = primals
    by_x = gudermann_slope(*shifted(x, y, difference)).sum(-1)
    by_x = by_x + stirling_slope(x + BINET_SHIFT, y + BINET_SHIFT, difference)
    steps = y[..., None] + jnp.arange(BINET_SHIFT, dtype=y.dtype)
    curvature = (0.5 / (steps * (steps + 1)) ** 2).sum(-1) + stirling_curvature(y + BINET_SHIFT)
    return binet_jax(*primals), by_x * tangents[0] - difference * curvature * tangents[1]


def shifted(x, y, difference):
    """x + j and y + j for j = 0, 1, ... on a new last axis, and their difference."""
    steps = jnp.arange(BINET_SHIFT, dtype=x.dtype)
    return x[..., None] + steps, y[..., None] + steps, difference[..., None]


def gudermann(x, y, delta):
    """D_g(x, y). With u = y + 1/2, v = x + 1/2 and t = 2 delta / (4 u v - 1) it equals

    4 delta^2 / ((4 u^2 - 1)(4 u v - 1)) - 2 v (atanh(t) - t), where the second term is at most a third of the
    first when delta > 0 and adds to it otherwise.
    """
    product = 2 * (2 * x * y + x + y)  # 4 u v - 1
    excess = atanh_excess(2 * delta / product, jnp.log(x / y * ((y + 1) / (x + 1))))
    return delta / (y * (y + 1)) * (delta / product) - (2 * x + 1) * excess


def gudermann_slope(x, y, delta):
    """g'(x) - g'(y), by the same decomposition."""
    product = 2 * (2 * x * y + x + y)
    excess = atanh_excess(2 * delta / product, jnp.log(x / y * ((y + 1) / (x + 1))))
    x_part, y_part = 1 / (x * (x + 1)), 1 / (y * (y + 1))
    return delta * (x_part + y_part) / product - 2 * excess


def stirling(x, y, delta):
    """D_mu(x, y) by Stirling's series, for arguments above BINET_SHIFT.

    The divergence of x^-m, S_m, obeys S_m = (S_(m-1) + m delta^2 / y^(m+1)) / x with S_0 = 0: all terms
    positive.
    """
    total, s, power = 0.0, 0.0, delta * delta / y  # power = delta^2 / y^m, before step m divides once more
    for m in range(1, 2 * len(STIRLING)):
        power = power / y
        s = (s + m * power) / x
        if m % 2:
            total = total + STIRLING[m // 2] * s
    return total


def stirling_slope(x, y, delta):
    """mu'(x) - mu'(y) by Stirling's series; R_n = x^-n - y^-n obeys R_n = (R_(n-1) - delta / y^n) / x."""
    total, r, power = 0.0, 0.0, delta
    for n in range(1, 2 * len(STIRLING) + 1):
        power = power / y
        r = (r - power) / x
        if n % 2 == 0:
            total = total - (n - 1) * STIRLING[n // 2 - 1] * r
    return total


def stirling_curvature(y):
    """mu''(y) by Stirling's series."""
    inverse = 1 / y
    coefficients = [(2 * k + 1) * (2 * k + 2) * c for k, c in enumerate(STIRLING)]
    return inverse**3 * polynomial(inverse * inverse, coefficients)


def log_gamma(x, y, difference=None):
    """log Gamma(x) - log Gamma(y) - digamma(y) (x - y), for positive x and y."""
    terms = generalized_kl(x, y, difference) + 0.5 * itakura_saito(x, y, difference)
    return terms + binet(x, y, difference)


def split(a):
    """a = high + low with half the digits each (Veltkamp)."""
    factor = 2.0 ** ((jnp.finfo(a.dtype).nmant + 2) // 2) + 1
    scaled = factor * a
    high = scaled - (scaled - a)
    return high, a - high


def product_with_error(a, b):
    """(p, e) with p = a b rounded and p + e = a b exactly (Dekker)."""
    p = a * b
    a_high, a_low = split(a)
    b_high, b_low = split(b)
    error = ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low
    return p, error


@jax.custom_jvp
def difference_of_products(a, b, c, d):
    """a b - c d to full relative precision, even where the two products nearly agree."""
    left, left_error = product_with_error(a, b)
    right, right_error = product_with_error(c, d)
    return (left - right) + (left_error - right_error)


difference_of_products.defjvps(
    lambda t, out, a, b, c, d: t * b,
    lambda t, out, a, b, c, d: a * t,
    lambda t, out, a, b, c, d: -t * d,
    lambda t, out, a, b, c, d: -c * t,
)


def log_sum_exp(weights, log_weights, delta):
    """log(sum w exp(delta)) - sum w delta over the last axis: D_F of F = log-sum-exp.

    This is KL(p||q) for p = weights, which sum to 1, and q proportional to weights * exp(delta); a constant
    added to delta changes nothing. Evaluated as log1p(sum w em(x)) with x = delta - E delta: all its terms are
    positive.

    Args:
        weights, log_weights: the same weights twice, since w may underflow where log w does not; 0 and -inf
            together are welcome.
        delta: finite everywhere, also where w = 0.
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
    """1 where the largest entry of the last axis is, 0 elsewhere; equal parts where it is not the only one.

    A sum with it picks the entry without a gather, which JAX could not differentiate or lower in float64 from a
    float32 caller.
    """
    largest = a == a.max(-1, keepdims=True)
    return largest / largest.sum(-1, keepdims=True)
