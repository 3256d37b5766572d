"""The textbook formulas, for mpmath numbers."""

import mpmath
from mpmath import mpf


def normal(loc_p, scale_p, loc_q, scale_q):
    return mpmath.log(scale_q / scale_p) + (scale_p**2 + (loc_p - loc_q) ** 2) / (2 * scale_q**2) - mpf(1) / 2


def gamma(a, b, c, d):
    return (
        (a - c) * mpmath.digamma(a)
        - mpmath.loggamma(a)
        + mpmath.loggamma(c)
        + c * (mpmath.log(b) - mpmath.log(d))
        + a * (d - b) / b
    )


def dirichlet(a, b):
    total_a, total_b = sum(a), sum(b)
    value = mpmath.loggamma(total_a) - mpmath.loggamma(total_b)
    for x, y in zip(a, b, strict=True):
        value += mpmath.loggamma(y) - mpmath.loggamma(x)
        value += (x - y) * (mpmath.digamma(x) - mpmath.digamma(total_a))
    return value


def categorical(p, q):
    """Of weights, which are divided by their sums."""
    total_p, total_q = sum(p), sum(q)
    pairs = [(x / total_p, y / total_q) for x, y in zip(p, q, strict=True) if x > 0]
    if any(y == 0 for _, y in pairs):
        return mpf("inf")
    return sum(x * mpmath.log(x / y) for x, y in pairs)


def trial(p, q):
    return categorical([p, 1 - p], [q, 1 - q])


def sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def binomial_pmf(n, p):
    return [mpmath.binomial(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


def binomial(n, p, m, q):
    length = max(n, m) + 1
    pmfs = [binomial_pmf(*pair) for pair in ((n, p), (m, q))]
    return categorical(*(pmf + [mpf(0)] * (length - len(pmf)) for pmf in pmfs))


def multivariate_normal(loc_p, tril_p, loc_q, tril_q):
    size = len(loc_p)
    precision = mpmath.inverse(mpmath.matrix(tril_q))
    scaled = precision * mpmath.matrix(tril_p)
    z = precision * (mpmath.matrix(loc_p) - mpmath.matrix(loc_q))
    value = sum(mpmath.log(tril_q[i][i] / tril_p[i][i]) for i in range(size))
    squares = sum(scaled[i, j] ** 2 for i in range(size) for j in range(size)) + sum(x**2 for x in z)
    return value + (squares - size) / 2
