"""Finite supports against any counts: the textbook pmfs, added up."""

import itertools

import jax.numpy as jnp
import mpmath
import numpyro.distributions as dist
from mpmath import mpf

from truths.case import CASES, case, exact
from truths.formulas import binomial_pmf, sigmoid

UNCHECKED = {"validate_args": False}  # float32 probabilities sum to 1 only nearly
MOST = 12  # counts up to it; supports of few sizes, so that few programs are compiled


def beta_binomial_pmf(n, a, b):
    return [mpmath.binomial(n, k) * mpmath.rf(a, k) * mpmath.rf(b, n - k) / mpmath.rf(a + b, n) for k in range(n + 1)]


def poisson_pmf(rate):
    return [mpmath.exp(-rate) * rate**k / mpmath.factorial(k) for k in range(MOST + 1)]


def negative_binomial_pmf(r, failure):
    return [mpmath.rf(r, k) / mpmath.factorial(k) * failure**r * (1 - failure) ** k for k in range(MOST + 1)]


def beta_negative_binomial_pmf(a, b, r):
    signed = ((b + r, 1), (a + b, 1), (b, -1), (a + b + r, -1))
    at_zero = mpmath.exp(sum(sign * mpmath.loggamma(x) for x, sign in signed))
    rising = [mpmath.rf(r, k) * mpmath.rf(a, k) / mpmath.rf(a + b + r, k) for k in range(MOST + 1)]
    return [at_zero * x / mpmath.factorial(k) for k, x in enumerate(rising)]


def divergence(pmf_p, pmf_q):
    """Of pmfs on 0, 1, ...; q's may have less than all of its probability there."""
    pmf_q = pmf_q + [mpf(0)] * (len(pmf_p) - len(pmf_q))
    pairs = [(x, y) for x, y in zip(pmf_p, pmf_q, strict=False) if x > 0]
    return mpf("inf") if any(y == 0 for _, y in pairs) else sum(x * mpmath.log(x / y) for x, y in pairs)


def probability(draw):
    return draw.rounded(draw.rng.beta(0.5, 0.5) * 0.9998 + 1e-4)


def positive(draw, high=8):
    return draw.rounded(10 ** draw.rng.uniform(-3, high))


def trials(kind):
    """Makers of finite supports take the largest count, where the family lets it be chosen."""

    def make(draw, most=7):
        by_logits = kind in (dist.BinomialLogits, dist.BernoulliLogits)
        parameter = draw.rounded(draw.rng.normal() * 3) if by_logits else probability(draw)
        chance = sigmoid(exact(parameter)) if by_logits else exact(parameter)
        if kind in BERNOULLIS:
            return kind(jnp.asarray(parameter)), binomial_pmf(1, chance)
        return kind(jnp.asarray(parameter), most), binomial_pmf(most, chance)

    return make


def beta_binomial(draw, most=7):
    a, b = positive(draw), positive(draw)
    return dist.BetaBinomial(jnp.asarray(a), jnp.asarray(b), most), beta_binomial_pmf(most, exact(a), exact(b))


def discrete_uniform(draw, most=MOST):
    low = int(draw.rng.integers(0, 2))
    return dist.DiscreteUniform(low, most), [mpf(low <= k) / (most - low + 1) for k in range(most + 1)]


def categorical_probs(draw, most=7):
    probs, _ = draw.simplex_pair(most + 1)
    total = sum(exact(probs))
    return dist.CategoricalProbs(jnp.asarray(probs), **UNCHECKED), [x / total for x in exact(probs)]


def categorical_logits(draw, most=7):
    logits, _ = draw.logits_pair(most + 1)
    weights = [mpmath.exp(x) for x in exact(logits)]
    return dist.CategoricalLogits(jnp.asarray(logits)), [x / sum(weights) for x in weights]


def poisson(draw):
    rate = positive(draw)
    return dist.Poisson(jnp.asarray(rate)), poisson_pmf(exact(rate))


def geometric_probs(draw):
    probs = probability(draw)
    return dist.GeometricProbs(jnp.asarray(probs)), negative_binomial_pmf(mpf(1), exact(probs))


def geometric_logits(draw):
    logits = draw.rounded(draw.rng.normal() * 5)
    return dist.GeometricLogits(jnp.asarray(logits)), negative_binomial_pmf(mpf(1), sigmoid(exact(logits)))


def gamma_poisson(draw):
    concentration, rate = positive(draw), positive(draw)
    failure = exact(rate) / (1 + exact(rate))
    pmf = negative_binomial_pmf(exact(concentration), failure)
    return dist.GammaPoisson(jnp.asarray(concentration), jnp.asarray(rate)), pmf


def negative_binomial_probs(draw):
    concentration, probs = positive(draw, high=3), probability(draw)
    pmf = negative_binomial_pmf(exact(concentration), 1 - exact(probs))
    return dist.NegativeBinomialProbs(jnp.asarray(concentration), jnp.asarray(probs)), pmf


def negative_binomial_logits(draw):
    concentration, logits = positive(draw, high=3), draw.rounded(draw.rng.normal() * 4)
    pmf = negative_binomial_pmf(exact(concentration), sigmoid(-exact(logits)))
    return dist.NegativeBinomialLogits(jnp.asarray(concentration), jnp.asarray(logits)), pmf


def beta_negative_binomial(draw):
    parameters = [positive(draw) for _ in range(3)]
    return dist.BetaNegativeBinomial(*map(jnp.asarray, parameters)), beta_negative_binomial_pmf(*exact(parameters))


BERNOULLIS = dist.BernoulliProbs, dist.BernoulliLogits
FINITE = {
    **{kind: trials(kind) for kind in (*BERNOULLIS, dist.BinomialProbs, dist.BinomialLogits)},
    dist.BetaBinomial: beta_binomial,
    dist.DiscreteUniform: discrete_uniform,
    dist.CategoricalProbs: categorical_probs,
    dist.CategoricalLogits: categorical_logits,
}
UNBOUNDED = {
    dist.Poisson: poisson,
    dist.GeometricProbs: geometric_probs,
    dist.GeometricLogits: geometric_logits,
    dist.GammaPoisson: gamma_poisson,
    dist.NegativeBinomialProbs: negative_binomial_probs,
    dist.NegativeBinomialLogits: negative_binomial_logits,
    dist.BetaNegativeBinomial: beta_negative_binomial,
}


def sizes(draw, q_class):
    """The largest counts of p and of q: mostly such that q reaches as far as p."""
    of_q = 1 if q_class in BERNOULLIS else 9
    return (min(of_q, 7) if draw.rng.random() < 0.8 else MOST), of_q


def register(p_class, q_class):
    @case(p_class, q_class)
    def finite_sum_pair(draw):
        of_p, of_q = sizes(draw, q_class)
        p, pmf_p = FINITE[p_class](draw, of_p)
        q, pmf_q = FINITE[q_class](draw, of_q) if q_class in FINITE else UNBOUNDED[q_class](draw)
        return p, q, divergence(pmf_p, pmf_q)


covered = {(p_class, q_class) for p_class, q_class, _ in CASES}
for pair in itertools.product(FINITE, FINITE | UNBOUNDED):
    if pair not in covered:
        register(*pair)


@case(dist.BetaBinomial, dist.BetaBinomial)
def near_beta_binomial_pair(draw):
    """Near-equal concentrations, or all but one equal, and the same trials or one more."""
    (a, c), (b, d) = draw.positive_pair(), draw.positive_pair()
    n, m = 9, 9 + int(draw.rng.integers(2))
    p, q = dist.BetaBinomial(jnp.asarray(a), jnp.asarray(b), n), dist.BetaBinomial(jnp.asarray(c), jnp.asarray(d), m)
    return p, q, divergence(beta_binomial_pmf(n, *exact([a, b])), beta_binomial_pmf(m, *exact([c, d])))
