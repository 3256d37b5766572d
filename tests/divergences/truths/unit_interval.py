"""The unit interval, between different families: Beta, Uniform, Kumaraswamy."""

import jax.numpy as jnp
import mpmath
import numpyro.distributions as dist
from mpmath import inf, log, mpf, psi

from truths.case import case, exact
from truths.formulas import dirichlet
from truths.laws import Beta


def built(constructor, *parameters):
    return constructor(*map(jnp.asarray, parameters))


def shapes(draw, low=-2, high=4):
    """Two shape parameters, often next to 1, where both families are uniform."""
    if draw.rng.random() < 0.5:
        return draw.rounded(1 + draw.relative_step() * draw.rng.uniform(-0.9, 1, 2))
    return draw.rounded(10 ** draw.rng.uniform(low, high, 2))


def interval_around(draw):
    """Bounds of a uniform q around the unit interval, each of them its own end half the time; some are too narrow."""
    low, high = draw.relative_step() * draw.rng.choice([0, 1], 2)
    if draw.rng.random() < 0.1:
        low = -0.1
    return draw.rounded(-low), draw.rounded(1 + high)


def uniform_cost(low, high):
    """The cross-entropy of a law on the unit interval."""
    return log(high - low) if low <= 0 and high >= 1 else inf


@case(dist.Beta, dist.Uniform)
def beta_within_uniform(draw):
    p, q = shapes(draw), interval_around(draw)
    truth = uniform_cost(*map(exact, q)) + dirichlet(exact(p), [mpf(1)] * 2)
    return built(dist.Beta, *p), built(dist.Uniform, *q), truth


@case(dist.Kumaraswamy, dist.Uniform)
def kumaraswamy_within_uniform(draw):
    p, q = shapes(draw, -1, 3), interval_around(draw)
    one, zero = exact(p)
    truth = uniform_cost(*map(exact, q)) - Beta(mpf(1), zero, one).entropy()
    return built(dist.Kumaraswamy, *p), built(dist.Uniform, *q), truth


def interval_within(draw):
    """Bounds of a uniform p: the unit interval, nearly so, any part of it, and sometimes more than that."""
    kind = draw.rng.integers(4)
    if kind == 0:
        return draw.rounded(0.0), draw.rounded(1.0)
    low, high = sorted(draw.rng.random(2)) if kind == 1 else draw.relative_step() * draw.rng.uniform(0, 0.4, 2)
    return draw.rounded(low), draw.rounded(high if kind == 1 else 1 - high if kind == 2 else 1 + high)


def mean_log(low, high):
    """Of a uniform variable."""
    return (high * log(high) - (low * log(low) if low else 0)) / (high - low) - 1


@case(dist.Uniform, dist.Beta)
def uniform_against_beta(draw):
    p, q = interval_within(draw), shapes(draw)
    (low, high), (one, zero) = map(exact, p), exact(q)
    truth = inf
    if high <= 1:
        log_beta = mpmath.loggamma(one) + mpmath.loggamma(zero) - mpmath.loggamma(one + zero)
        truth = log_beta - (one - 1) * mean_log(low, high) - (zero - 1) * mean_log(1 - high, 1 - low) - log(high - low)
    return built(dist.Uniform, *p), built(dist.Beta, *q), truth


@case(dist.Uniform, dist.Kumaraswamy)
def uniform_against_kumaraswamy(draw):
    """U^one is a Beta(1 / one, 1), so that E log(1 - U^one) = psi(1) - psi(1 + 1 / one)."""
    q, beyond = shapes(draw), draw.rng.random() < 0.1
    one, zero = exact(q)
    mean_log_rest = psi(0, 1) - psi(0, 1 + 1 / one)
    truth = inf if beyond else (one - 1) - log(one) - log(zero) - (zero - 1) * mean_log_rest
    p = built(dist.Uniform, draw.rounded(0.0), draw.rounded(1.5 if beyond else 1.0))
    return p, built(dist.Kumaraswamy, *q), truth


def mean_log_rest(one, zero):
    """E log(1 - X) of a Kumaraswamy variable X = (1 - u^(1 / zero))^(1 / one), u uniform."""

    def log_complement(log_u):
        return mpmath.log1p(-mpmath.exp(log_u)) if log_u < -1 else log(-mpmath.expm1(log_u))

    def log_rest(u):
        return log_complement(log_complement(log(u) / zero) / one)

    with mpmath.workdps(22):
        return mpmath.quad(log_rest, [0, 0.5, 1])


@case(dist.Kumaraswamy, dist.Beta)
def kumaraswamy_against_beta(draw):
    """Unrelated parameters: the one expectation is integrated."""
    p, q = draw.rounded(10 ** draw.rng.uniform(-1, 2, 2)), draw.rounded(10 ** draw.rng.uniform(-1, 2, 2))
    (one, zero), (other_one, other_zero) = exact(p), exact(q)
    law = Beta(mpf(1), zero, one)
    log_beta = mpmath.loggamma(other_one) + mpmath.loggamma(other_zero) - mpmath.loggamma(other_one + other_zero)
    cost = log_beta - (other_one - 1) * law.log_mean() - (other_zero - 1) * mean_log_rest(one, zero)
    return built(dist.Kumaraswamy, *p), built(dist.Beta, *q), cost - law.entropy()
