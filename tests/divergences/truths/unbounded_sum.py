"""Counts without an end against each other: pmfs by their recurrences, added up until nothing is left of p."""

import itertools

import jax.numpy as jnp
import mpmath
import numpyro.distributions as dist
from mpmath import mpf

from truths.case import CASES, case, exact
from truths.formulas import sigmoid

MOST = 200_000
SMALLEST = mpf(10) ** -45


def poisson(draw):
    rate = positive(draw)
    return dist.Poisson(jnp.asarray(rate)), (mpmath.exp(-exact(rate)), lambda k: exact(rate) / (k + 1))


def negative_binomial(r, success):
    return (1 - success) ** r, lambda k: success * (r + k) / (k + 1)


def geometric_probs(draw):
    probs = probability(draw)
    return dist.GeometricProbs(jnp.asarray(probs)), negative_binomial(mpf(1), 1 - exact(probs))


def geometric_logits(draw):
    logits = draw.rounded(draw.rng.normal() * 1.5)
    return dist.GeometricLogits(jnp.asarray(logits)), negative_binomial(mpf(1), sigmoid(-exact(logits)))


def gamma_poisson(draw):
    concentration, rate = positive(draw), draw.rounded(10 ** draw.rng.uniform(-1, 2))
    p = dist.GammaPoisson(jnp.asarray(concentration), jnp.asarray(rate))
    return p, negative_binomial(exact(concentration), 1 / (1 + exact(rate)))


def beta_negative_binomial(draw):
    a, b, r = parameters = [positive(draw, 0.0) for _ in range(3)]
    x, y, n = exact(parameters)
    at_zero = mpmath.exp(
        mpmath.loggamma(y + n) + mpmath.loggamma(x + y) - mpmath.loggamma(y) - mpmath.loggamma(x + y + n)
    )
    ratio = lambda k: (n + k) * (x + k) / ((x + y + n + k) * (k + 1))  # noqa: E731
    return dist.BetaNegativeBinomial(*map(jnp.asarray, (a, b, r))), (at_zero, ratio)


def positive(draw, low=-2.0):
    return draw.rounded(10 ** draw.rng.uniform(low, 1.5))


def probability(draw):
    return draw.rounded(0.05 + 0.9 * draw.rng.random())


def divergence(p, q):
    """From each pmf at 0, and the ratio of the next to it at each count."""
    (at_p, step_p), (at_q, step_q) = p, q
    total = left = mpf(0)
    for k in range(MOST):
        total, left = total + at_p * mpmath.log(at_p / at_q), left + at_p
        if at_p < SMALLEST and step_p(k) < 1:
            return total
        at_p, at_q = at_p * step_p(k), at_q * step_q(k)
    raise AssertionError("p does not end")


WITH_LIGHT_TAILS = {
    dist.Poisson: poisson,
    dist.GeometricProbs: geometric_probs,
    dist.GeometricLogits: geometric_logits,
    dist.GammaPoisson: gamma_poisson,
}


def register(p_class, q_class):
    @case(p_class, q_class)
    def unbounded_sum_pair(draw):
        (p, pmf_p), (q, pmf_q) = WITH_LIGHT_TAILS[p_class](draw), ANY[q_class](draw)
        return p, q, divergence(pmf_p, pmf_q)


ANY = {**WITH_LIGHT_TAILS, dist.BetaNegativeBinomial: beta_negative_binomial}
covered = {(p_class, q_class) for p_class, q_class, _ in CASES}
for pair in itertools.product(WITH_LIGHT_TAILS, ANY):
    if pair not in covered:
        register(*pair)


@case(dist.GammaPoisson, dist.GammaPoisson)
def unequal_concentrations(draw):
    """Negative binomials that wait for different numbers of failures, nearly equal or not."""
    a, b = draw.positive_pair(low=-1, high=1.5)
    rate = draw.rounded(10 ** draw.rng.uniform(-1, 2))
    pmfs = (negative_binomial(exact(x), 1 / (1 + exact(rate))) for x in (a, b))
    return *(dist.GammaPoisson(jnp.asarray(x), jnp.asarray(rate)) for x in (a, b)), divergence(*pmfs)
