"""Counts of categories."""

import itertools

import jax.numpy as jnp
import mpmath
import numpyro.distributions as dist
from mpmath import mpf

from truths.case import case, exact
from truths.formulas import categorical

UNCHECKED = {"validate_args": False}  # float32 probabilities sum to 1 only nearly


def multinomial(draw, kind, trials, pair, which):
    parameter = pair[kind is dist.MultinomialLogits][which]
    weights = exact(parameter)
    if kind is dist.MultinomialLogits:
        weights = [mpmath.exp(x) for x in weights]
    return kind(jnp.asarray(parameter), trials, **UNCHECKED), weights


def register(p_class, q_class):
    @case(p_class, q_class)
    def multinomial_pair(draw):
        trials, size = int(draw.rng.choice([1, 10, 1000])), int(draw.rng.choice([2, 7]))
        pairs = draw.simplex_pair(size), draw.logits_pair(size)
        (p, weights_p), (q, weights_q) = (
            multinomial(draw, kind, trials, pairs, which) for which, kind in enumerate((p_class, q_class))
        )
        return p, q, trials * categorical(weights_p, weights_q)


for pair in itertools.product((dist.MultinomialProbs, dist.MultinomialLogits), repeat=2):
    register(*pair)


def compositions(total, parts):
    """All ways to write `total` as an ordered sum of `parts` counts."""
    if parts == 1:
        return [(total,)]
    return [(first, *rest) for first in range(total + 1) for rest in compositions(total - first, parts - 1)]


def dirichlet_multinomial_pmf(concentration, outcomes):
    total, trials = sum(concentration), sum(outcomes[0])
    front = mpmath.factorial(trials) / mpmath.rf(total, trials)
    chances = [[mpmath.rf(a, count) / mpmath.factorial(count) for count in range(trials + 1)] for a in concentration]
    return [
        front * mpmath.fprod(chance[count] for chance, count in zip(chances, outcome, strict=True))
        for outcome in outcomes
    ]


@case(dist.DirichletMultinomial, dist.DirichletMultinomial)
def dirichlet_multinomial_pair(draw):
    trials, size = ((0, 3), (1, 3), (5, 3), (40, 2))[draw.rng.integers(4)]
    p, q = draw.positive_pair(size)
    outcomes = compositions(trials, size)
    truth = categorical(*(dirichlet_multinomial_pmf(exact(a), outcomes) for a in (p, q)))
    p, q = (dist.DirichletMultinomial(jnp.asarray(a), trials) for a in (p, q))
    return p, q, truth if trials else mpf(0)
