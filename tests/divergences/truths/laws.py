"""Families on the line in 60 digits: entropies and expectations as the textbooks have them.

Each law knows its entropy and the expectations that a divergence may need; `power(k)` is E X^k, `mgf(t)` is
E exp(t X), `above(m)` is E (X - m)+. Infinite ones are mpmath's inf. tests/divergences/test_laws.py checks each
expectation by integrating the density.
"""

import mpmath
from mpmath import euler, inf, log, loggamma, mpf, pi, psi


class Law:
    """What follows for every law from the moments that it defines."""

    positive = False

    def mean(self):
        return self.power(1)

    def second(self):
        return self.power(2)

    def below(self, m):
        return self.above(m) - self.mean() + m

    def power(self, k):
        raise NotImplementedError

    def beyond(self, low):
        """Whether the law reaches below `low`."""
        return self.low < low


class Normal(Law):
    def __init__(self, loc, scale):
        self.loc, self.scale = loc, scale
        self.low, self.high = -inf, inf

    def log_density(self, x):
        return -(((x - self.loc) / self.scale) ** 2) / 2 - log(self.scale) - log(2 * pi) / 2

    def entropy(self):
        return log(2 * pi * mpmath.e * self.scale**2) / 2

    def mean(self):
        return self.loc

    def second(self):
        return self.loc**2 + self.scale**2

    def mgf(self, t):
        return mpmath.exp(t * self.loc + t * t * self.scale**2 / 2)

    def above(self, m):
        z = (self.loc - m) / self.scale
        return self.scale * (z * mpmath.erfc(-z / mpmath.sqrt(2)) / 2 + mpmath.npdf(z))


class AsymmetricLaplace(Law):
    def __init__(self, loc, left, right):
        self.loc, self.left, self.right = loc, left, right
        self.low, self.high = -inf, inf

    def log_density(self, x):
        d = x - self.loc
        return -(d / self.right if d > 0 else -d / self.left) - log(self.left + self.right)

    def entropy(self):
        return 1 + log(self.left + self.right)

    def mean(self):
        return self.loc + self.right - self.left

    def second(self):
        return self.left**2 + self.right**2 + self.mean() ** 2

    def mgf(self, t):
        if t * self.right >= 1 or t * self.left <= -1:
            return inf
        return mpmath.exp(t * self.loc) / ((1 - self.right * t) * (1 + self.left * t))

    def above(self, m):
        d = m - self.loc
        if d >= 0:
            return self.right**2 / (self.left + self.right) * mpmath.exp(-d / self.right)
        below = self.left**2 / (self.left + self.right) * mpmath.exp(d / self.left)
        return below + self.mean() - m


class Logistic(Law):
    def __init__(self, loc, scale):
        self.loc, self.scale = loc, scale
        self.low, self.high = -inf, inf

    def log_density(self, x):
        z = (x - self.loc) / self.scale
        return -z - 2 * log(1 + mpmath.exp(-z)) - log(self.scale)

    def entropy(self):
        return log(self.scale) + 2

    def mean(self):
        return self.loc

    def second(self):
        return self.loc**2 + (pi * self.scale) ** 2 / 3

    def mgf(self, t):
        if abs(t * self.scale) >= 1:
            return inf
        return mpmath.exp(t * self.loc) * mpmath.gamma(1 + self.scale * t) * mpmath.gamma(1 - self.scale * t)

    def above(self, m):
        return self.scale * log(1 + mpmath.exp((self.loc - m) / self.scale))


class SoftLaplace(Law):
    def __init__(self, loc, scale):
        self.loc, self.scale = loc, scale
        self.low, self.high = -inf, inf

    def log_density(self, x):
        z = (x - self.loc) / self.scale
        return -log(pi * self.scale * mpmath.cosh(z))

    def entropy(self):
        return log(2 * pi * self.scale)

    def mean(self):
        return self.loc

    def second(self):
        return self.loc**2 + (pi * self.scale / 2) ** 2

    def mgf(self, t):
        return inf if abs(t * self.scale) >= 1 else mpmath.exp(t * self.loc) * mpmath.sec(pi * self.scale * t / 2)


class Gumbel(Law):
    def __init__(self, loc, scale):
        self.loc, self.scale = loc, scale
        self.low, self.high = -inf, inf

    def log_density(self, x):
        z = (x - self.loc) / self.scale
        return -z - mpmath.exp(-z) - log(self.scale)

    def entropy(self):
        return log(self.scale) + euler + 1

    def mean(self):
        return self.loc + euler * self.scale

    def second(self):
        return self.mean() ** 2 + (pi * self.scale) ** 2 / 6

    def mgf(self, t):
        return inf if t * self.scale >= 1 else mpmath.gamma(1 - self.scale * t) * mpmath.exp(t * self.loc)

    def above(self, m):
        return self.mean() - m + self.scale * mpmath.e1(mpmath.exp((self.loc - m) / self.scale))


class Cauchy(Law):
    def __init__(self, loc, scale):
        self.loc, self.scale = loc, scale
        self.low, self.high = -inf, inf

    def log_density(self, x):
        return -log(pi * self.scale * (1 + ((x - self.loc) / self.scale) ** 2))

    def entropy(self):
        return log(4 * pi * self.scale)

    def mean(self):
        return mpf(0)

    def second(self):
        return inf

    def mgf(self, t):
        return inf

    def above(self, m):
        return inf

    def below(self, m):
        return inf


class StudentT(Law):
    def __init__(self, df, loc, scale):
        self.df, self.loc, self.scale = df, loc, scale
        self.low, self.high = -inf, inf

    def log_density(self, x):
        n = self.df
        return (
            loggamma((n + 1) / 2)
            - loggamma(n / 2)
            - log(n * pi * self.scale**2) / 2
            - (n + 1) / 2 * log(1 + ((x - self.loc) / self.scale) ** 2 / n)
        )

    def entropy(self):
        n = self.df
        beta = loggamma(n / 2) + log(pi) / 2 - loggamma((n + 1) / 2)
        return (n + 1) / 2 * (psi(0, (n + 1) / 2) - psi(0, n / 2)) + log(n) / 2 + beta + log(self.scale)

    def mean(self):
        return self.loc

    def second(self):
        return inf if self.df <= 2 else self.loc**2 + self.scale**2 * self.df / (self.df - 2)

    def mgf(self, t):
        return inf


class Uniform(Law):
    def __init__(self, low, high):
        self.low, self.high = low, high
        self.positive = low >= 0

    def log_density(self, x):
        return -log(self.high - self.low)

    def entropy(self):
        return log(self.high - self.low)

    def power(self, k):
        if k == -1:
            return inf if self.low <= 0 else log(self.high / self.low) / (self.high - self.low)
        if k < -1 and self.low <= 0:
            return inf
        low = self.low ** (k + 1) if self.low or k > -1 else mpf(0)
        return (self.high ** (k + 1) - low) / ((k + 1) * (self.high - self.low))

    def log_mean(self):
        low = self.low * log(self.low) if self.low else mpf(0)
        return (self.high * log(self.high) - low) / (self.high - self.low) - 1

    def log_second(self):
        def primitive(x):
            return x * (log(x) ** 2 - 2 * log(x) + 2) if x else mpf(0)

        return (primitive(self.high) - primitive(self.low)) / (self.high - self.low)

    def mgf(self, t):
        width = self.high - self.low
        return (mpmath.exp(t * self.high) - mpmath.exp(t * self.low)) / (t * width)

    def above(self, m):
        if m <= self.low:
            return self.mean() - m
        return max(self.high - m, mpf(0)) ** 2 / (2 * (self.high - self.low))


class GeneralizedGamma(Law):
    """(X / scale)^exponent ~ Gamma(a, 1)."""

    positive = True
    low, high = mpf(0), inf

    def __init__(self, a, exponent, scale):
        self.a, self.exponent, self.scale = a, exponent, scale

    def log_density(self, x):
        u = (x / self.scale) ** self.exponent
        return log(abs(self.exponent)) - log(x) + self.a * log(u) - u - loggamma(self.a)

    def entropy(self):
        a = self.a
        of_log = a + loggamma(a) - a * psi(0, a) - log(abs(self.exponent))
        return of_log + self.log_mean()

    def power(self, k):
        shifted = self.a + k / self.exponent
        return inf if shifted <= 0 else self.scale**k * mpmath.exp(loggamma(shifted) - loggamma(self.a))

    def log_mean(self):
        return log(self.scale) + psi(0, self.a) / self.exponent

    def log_second(self):
        return psi(1, self.a) / self.exponent**2 + self.log_mean() ** 2

    def mgf(self, t):
        """Of a Gamma."""
        assert self.exponent == 1
        return inf if t * self.scale >= 1 else (1 - t * self.scale) ** (-self.a)

    def above(self, m):
        """Of an exponential."""
        assert (self.a, self.exponent) == (1, 1)
        return self.scale * mpmath.exp(-m / self.scale) if m > 0 else self.scale - m


class LogNormal(Law):
    positive = True
    low, high = mpf(0), inf

    def __init__(self, loc, scale):
        self.loc, self.scale = loc, scale

    def log_density(self, x):
        return Normal(self.loc, self.scale).log_density(log(x)) - log(x)

    def entropy(self):
        return self.loc + Normal(self.loc, self.scale).entropy()

    def power(self, k):
        return mpmath.exp(k * self.loc + k * k * self.scale**2 / 2)

    def log_mean(self):
        return self.loc

    def log_second(self):
        return self.loc**2 + self.scale**2


class Beta(Law):
    """X^exponent ~ Beta(a, b)."""

    positive = True
    low, high = mpf(0), mpf(1)

    def __init__(self, a, b, exponent=1):
        self.a, self.b, self.exponent = a, b, mpf(exponent)

    def log_beta(self, a, b):
        return loggamma(a) + loggamma(b) - loggamma(a + b)

    def log_density(self, x):
        y = x**self.exponent
        log_y = (self.a - 1) * log(y) + (self.b - 1) * log(1 - y) - self.log_beta(self.a, self.b)
        return log_y + log(self.exponent) + (self.exponent - 1) * log(x)

    def entropy(self):
        a, b = self.a, self.b
        of_power = self.log_beta(a, b) - (a - 1) * psi(0, a) - (b - 1) * psi(0, b) + (a + b - 2) * psi(0, a + b)
        return of_power - log(self.exponent) - (self.exponent - 1) * self.log_mean()

    def power(self, k):
        shifted = self.a + k / self.exponent
        if shifted <= 0:
            return inf
        return mpmath.exp(self.log_beta(shifted, self.b) - self.log_beta(self.a, self.b))

    def log_mean(self):
        return (psi(0, self.a) - psi(0, self.a + self.b)) / self.exponent

    def log_second(self):
        return (psi(1, self.a) - psi(1, self.a + self.b)) / self.exponent**2 + self.log_mean() ** 2


class BetaPrime(Law):
    """(X / scale)^exponent = B / (1 - B), B ~ Beta(a, b)."""

    positive = True
    low, high = mpf(0), inf

    def __init__(self, a, b, exponent, scale):
        self.a, self.b, self.exponent, self.scale = a, b, exponent, scale

    def log_density(self, x):
        a, b = self.a, self.b
        y = (x / self.scale) ** self.exponent
        return (
            a * log(y)
            - (a + b) * log(1 + y)
            - loggamma(a)
            - loggamma(b)
            + loggamma(a + b)
            + log(self.exponent)
            - log(x)
        )

    def entropy(self):
        a, b = self.a, self.b
        of_log = loggamma(a) + loggamma(b) - loggamma(a + b) - a * psi(0, a) - b * psi(0, b) + (a + b) * psi(0, a + b)
        return of_log - log(self.exponent) + self.log_mean()

    def power(self, k):
        step = k / self.exponent
        if self.a + step <= 0 or self.b - step <= 0:
            return inf
        ratio = loggamma(self.a + step) + loggamma(self.b - step) - loggamma(self.a) - loggamma(self.b)
        return self.scale**k * mpmath.exp(ratio)

    def log_mean(self):
        return log(self.scale) + (psi(0, self.a) - psi(0, self.b)) / self.exponent

    def log_second(self):
        return (psi(1, self.a) + psi(1, self.b)) / self.exponent**2 + self.log_mean() ** 2


class Pareto(Law):
    positive = True
    high = inf

    def __init__(self, low, rate):
        self.low, self.rate = low, rate

    def log_density(self, x):
        return log(self.rate) + self.rate * log(self.low) - (self.rate + 1) * log(x)

    def entropy(self):
        return log(self.low / self.rate) + 1 + 1 / self.rate

    def power(self, k):
        return inf if k >= self.rate else self.rate / (self.rate - k) * self.low**k

    def log_mean(self):
        return log(self.low) + 1 / self.rate

    def log_second(self):
        return self.log_mean() ** 2 + 1 / self.rate**2


class PowerLaw(Law):
    """Density proportional to x^exponent between low > 0 and high."""

    positive = True

    def __init__(self, low, high, exponent):
        self.low, self.high, self.exponent = low, high, exponent

    def integral(self, exponent):
        if exponent == -1:
            return log(self.high / self.low)
        return (self.high ** (exponent + 1) - self.low ** (exponent + 1)) / (exponent + 1)

    def log_density(self, x):
        return self.exponent * log(x) - log(self.integral(self.exponent))

    def power(self, k):
        return self.integral(self.exponent + k) / self.integral(self.exponent)

    def log_moments(self):
        """Of y = log x, whose density is proportional to exp(c y): E y and E y^2."""
        c = self.exponent + 1
        low, high = log(self.low), log(self.high)
        if c == 0:
            return (low + high) / 2, (high**3 - low**3) / (3 * (high - low))

        def first(y):
            return mpmath.exp(c * y) * (y / c - 1 / c**2)

        def second(y):
            return mpmath.exp(c * y) * (y**2 / c - 2 * y / c**2 + 2 / c**3)

        total = self.integral(self.exponent)
        return (first(high) - first(low)) / total, (second(high) - second(low)) / total

    def log_mean(self):
        return self.log_moments()[0]

    def log_second(self):
        return self.log_moments()[1]

    def entropy(self):
        return log(self.integral(self.exponent)) - self.exponent * self.log_mean()
