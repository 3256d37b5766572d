"""Finite supports."""

import itertools

import jax.numpy as jnp
import mpmath
import numpyro.distributions as dist

from truths.case import case, exact
from truths.formulas import binomial, categorical, sigmoid, trial


@case(dist.BernoulliProbs, dist.BernoulliProbs)
def bernoulli_probs_pair(draw):
    p, q = draw.probability_pair()
    return dist.BernoulliProbs(jnp.asarray(p)), dist.BernoulliProbs(jnp.asarray(q)), trial(exact(p), exact(q))


@case(dist.BernoulliLogits, dist.BernoulliLogits)
def bernoulli_logits_pair(draw):
    p, q = draw.logits_pair(())
    truth = trial(sigmoid(exact(p)), sigmoid(exact(q)))
    return dist.BernoulliLogits(jnp.asarray(p)), dist.BernoulliLogits(jnp.asarray(q)), truth


BERNOULLI = (dist.BernoulliProbs, dist.BernoulliLogits)
BINOMIAL = (dist.BinomialProbs, dist.BinomialLogits)


def count(draw, kind, trials):
    """A Bernoulli or Binomial, by a probability or a logit that is exact in the dtype, and the exact probability."""
    by_logits = kind in (dist.BernoulliLogits, dist.BinomialLogits)
    parameter = draw.rounded(draw.rng.normal() * 3 if by_logits else draw.rng.uniform(0.01, 0.99))
    chance = sigmoid(exact(parameter)) if by_logits else exact(parameter)
    arguments = [jnp.asarray(parameter)] if kind in BERNOULLI else [jnp.asarray(parameter), trials]
    return kind(*arguments), chance


def register_mixed(p_class, q_class):
    """A Bernoulli is a Binomial of one trial, and no probability is exactly a logit: such pairs are never close."""

    @case(p_class, q_class)
    def mixed_pair(draw):
        n, m = (1 if kind in BERNOULLI else int(draw.rng.choice([1, 3])) for kind in (p_class, q_class))
        if p_class in BINOMIAL and q_class in BINOMIAL:
            n = m = int(draw.rng.choice([1, 10, 1000]))
        (p, chance_p), (q, chance_q) = count(draw, p_class, n), count(draw, q_class, m)
        return p, q, n * trial(chance_p, chance_q) if n == m else binomial(n, chance_p, m, chance_q)


for pair in itertools.permutations((*BERNOULLI, *BINOMIAL), 2):
    register_mixed(*pair)


@case(dist.BinomialProbs, dist.BinomialProbs)
def binomial_pair(draw):
    p, q = draw.probability_pair()
    n = int(draw.rng.choice([1, 10, 1000]))
    truth = n * trial(exact(p), exact(q))
    return dist.Binomial(n, jnp.asarray(p)), dist.Binomial(n, jnp.asarray(q)), truth


@case(dist.BinomialLogits, dist.BinomialLogits)
def binomial_logits_pair(draw):
    p, q = draw.logits_pair(())
    n = int(draw.rng.choice([1, 10, 1000]))
    truth = n * trial(sigmoid(exact(p)), sigmoid(exact(q)))
    return dist.BinomialLogits(jnp.asarray(p), n), dist.BinomialLogits(jnp.asarray(q), n), truth


@case(dist.BinomialProbs, dist.BinomialProbs)
def binomial_different_trials_pair(draw):
    n, m = map(int, draw.rng.choice([(1, 2), (10, 12), (60, 100), (400, 401)]))
    p = draw.rounded(draw.rng.uniform(0.01, 0.99))
    q = draw.rounded(p * n / m if draw.rng.random() < 0.5 else draw.rng.uniform(0.01, 0.99))
    return dist.Binomial(n, jnp.asarray(p)), dist.Binomial(m, jnp.asarray(q)), binomial(n, exact(p), m, exact(q))


@case(dist.CategoricalProbs, dist.CategoricalProbs)
def categorical_probs_pair(draw):
    p, q = draw.simplex_pair(int(draw.rng.choice([2, 7])))
    truth = categorical(exact(p), exact(q))
    unchecked = {"validate_args": False}  # float32 probabilities sum to 1 only nearly
    return dist.CategoricalProbs(jnp.asarray(p), **unchecked), dist.CategoricalProbs(jnp.asarray(q), **unchecked), truth


@case(dist.CategoricalLogits, dist.CategoricalLogits)
def categorical_logits_pair(draw):
    p, q = draw.logits_pair(int(draw.rng.choice([2, 7])))
    truth = categorical(*([mpmath.exp(x) for x in exact(logits)] for logits in (p, q)))
    return dist.CategoricalLogits(jnp.asarray(p)), dist.CategoricalLogits(jnp.asarray(q)), truth


@case(dist.CategoricalProbs, dist.CategoricalLogits)
def categorical_mixed_pair(draw):
    p, q = draw.simplex_pair(5)[0], draw.logits_pair(5)[1]
    truth = categorical(exact(p), [mpmath.exp(x) for x in exact(q)])
    return dist.CategoricalProbs(jnp.asarray(p), validate_args=False), dist.CategoricalLogits(jnp.asarray(q)), truth


@case(dist.CategoricalLogits, dist.CategoricalProbs)
def categorical_logits_to_probs_pair(draw):
    p, q = draw.logits_pair(5)[0], draw.simplex_pair(5)[1]
    truth = categorical([mpmath.exp(x) for x in exact(p)], exact(q))
    return dist.CategoricalLogits(jnp.asarray(p)), dist.CategoricalProbs(jnp.asarray(q), validate_args=False), truth
