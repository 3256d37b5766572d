"""Counts without a limit."""

import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
from mpmath import mpf

from truths.case import case, exact
from truths.formulas import sigmoid


def poisson(rate_p, rate_q):
    return rate_p * mpmath.log(rate_p / rate_q) - rate_p + rate_q


def waiting(r, failure_p, failure_q):
    """Negative binomials of r failures: log ratio of the pmfs at the mean, in which it is linear."""
    value = r * mpmath.log(failure_p / failure_q)
    if failure_p == 1:
        return value
    if failure_q == 1:
        return mpf("inf")
    mean = r * (1 - failure_p) / failure_p
    return value + mean * mpmath.log((1 - failure_p) / (1 - failure_q))


@case(dist.Poisson, dist.Poisson)
def poisson_pair(draw):
    p, q = draw.positive_pair()
    return dist.Poisson(jnp.asarray(p)), dist.Poisson(jnp.asarray(q)), poisson(exact(p), exact(q))


def geometric_probs(draw, p):
    """From a logit of p to a distribution and its exact probability of failure, which for a Geometric is p."""
    probs = draw.rounded(1 / (1 + mpmath.exp(-mpf(float(p)))))
    return dist.GeometricProbs(jnp.asarray(probs)), exact(probs)


def geometric_logits(draw, p):
    return dist.GeometricLogits(jnp.asarray(draw.rounded(p))), sigmoid(exact(draw.rounded(p)))


MAKERS = {dist.GeometricProbs: geometric_probs, dist.GeometricLogits: geometric_logits}


def negative_binomial(make, failure):
    """A maker with the concentration as a further argument; `failure` of the rounded parameter."""

    def maker(draw, x, concentration):
        parameter, chance = failure(draw, float(x))
        return make(jnp.asarray(concentration), jnp.asarray(parameter)), chance

    return maker


def of_rate(draw, x):
    """A GammaPoisson's rate is failure / success."""
    rate = draw.rounded(mpmath.exp(x))
    return rate, exact(rate) / (1 + exact(rate))


def of_probs(draw, x):
    probs = draw.rounded(sigmoid(-mpf(x)))
    return probs, 1 - exact(probs)


def of_logits(draw, x):
    logits = draw.rounded(-x)
    return logits, sigmoid(-exact(logits))


NEGATIVE_BINOMIALS = {
    dist.GammaPoisson: negative_binomial(dist.GammaPoisson, of_rate),
    dist.NegativeBinomialProbs: negative_binomial(dist.NegativeBinomialProbs, of_probs),
    dist.NegativeBinomialLogits: negative_binomial(dist.NegativeBinomialLogits, of_logits),
}


def logits(draw, same_kind):
    """Of the failure; closely equal ones only where both are given in the same way, so that neither is rounded."""
    p, q = (np.clip(x, -12, 60) for x in draw.logits_pair(()))  # failures of nearly 0 have no probability to spare
    return (p, q) if same_kind else (p, p + draw.rng.uniform(0.01, 3))


def register(p_class, q_class):
    @case(p_class, q_class)
    def waiting_pair(draw):
        x, y = logits(draw, p_class is q_class)
        concentration = draw.rounded(10 ** draw.rng.uniform(-3, 8))
        if {p_class, q_class} & MAKERS.keys():
            concentration = draw.rounded(1.0)
        (p, failure_p), (q, failure_q) = (
            MAKERS[kind](draw, z) if kind in MAKERS else NEGATIVE_BINOMIALS[kind](draw, z, concentration)
            for kind, z in ((p_class, x), (q_class, y))
        )
        return p, q, waiting(exact(concentration), failure_p, failure_q)


for p_class in (*MAKERS, *NEGATIVE_BINOMIALS):
    for q_class in (*MAKERS, *NEGATIVE_BINOMIALS):
        register(p_class, q_class)


@case(dist.NegativeBinomial2, dist.NegativeBinomial2)
def negative_binomial_2_pair(draw):
    """NumPyro keeps the rate, concentration / mean, as it was rounded: that is the distribution."""
    p, q = draw.positive_pair(low=-2, high=3)
    concentration = draw.rounded(10 ** draw.rng.uniform(-2, 4))
    made = [dist.NegativeBinomial2(jnp.asarray(x), jnp.asarray(concentration)) for x in (p, q)]
    rates = [mpf(float(member.rate)) for member in made]
    return *made, waiting(exact(concentration), *(rate / (1 + rate) for rate in rates))
