"""Distributions of single counts as arrays, so that one program serves them all.

In each of these families the ratio of neighbouring probabilities is a rational function of the count (Kemp 1968),

    pmf(k + 1) / pmf(k) = odds * first(k) * second(k) * third(k) / (fourth(k) * fifth(k)),

with factors that are linear in k and in the parameters a, b, n. A `Member` holds their coefficients, which are data
to the program, and the parameters as the distribution was given them, which are not rounded on the way.

    Binomial              odds p / (1 - p), (n - k) / (k + 1)
    BetaBinomial          (n - k) (a + k) / ((b + n - 1 - k) (k + 1))
    Poisson               odds rate, 1 / (k + 1)
    GammaPoisson          odds P(success), (a + k) / (k + 1), with a the concentration; Geometric: a = 1
    BetaNegativeBinomial  (a + k) (n + k) / ((a + b + n + k) (k + 1))
    DiscreteUniform       1
"""

from typing import Any, NamedTuple

import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.analytic.categorical import parameter as table_of
from vi_kl.divergences.registry import known, unexpanded

# odds = (v[0] + v[1] x) / (v[2] + v[3] x) of the parameter x; or, with v[4], exp(x) or sigmoid(x)
NO_ODDS = np.array([1.0, 0, 1, 0, 0])
SUCCESS_TO_FAILURE = np.array([0.0, 1, 1, -1, 0])
PARAMETER = np.array([0.0, 1, 1, 0, 0])
COMPLEMENT = np.array([1.0, -1, 1, 0, 0])
SHARE_OF_RATE = np.array([1.0, 0, 1, 1, 0])
EXPONENTIAL = np.array([1.0, 0, 1, 0, 1])
SIGMOID = np.array([1.0, 0, 1, 0, 2])

# a factor's coefficients of 1, a, b, n and k
ONE, COUNTED, LEFT = (1, 0, 0, 0, 0), (1, 0, 0, 0, 1), (0, 0, 0, 1, -1)
A_AND_COUNT, N_AND_COUNT = (0, 1, 0, 0, 1), (0, 0, 0, 1, 1)
UNIFORM = np.array([ONE, ONE, ONE, ONE, ONE], dtype=float)
POISSON = np.array([ONE, ONE, ONE, ONE, COUNTED], dtype=float)
BINOMIAL = np.array([LEFT, ONE, ONE, ONE, COUNTED], dtype=float)
BETA_BINOMIAL = np.array([LEFT, A_AND_COUNT, ONE, (-1, 0, 1, 1, -1), COUNTED], dtype=float)
NEGATIVE_BINOMIAL = np.array([ONE, A_AND_COUNT, ONE, ONE, COUNTED], dtype=float)
BETA_NEGATIVE_BINOMIAL = np.array([ONE, A_AND_COUNT, N_AND_COUNT, (0, 1, 1, 1, 1), COUNTED], dtype=float)


class Member(NamedTuple):
    """A distribution of single counts.

    For a Categorical, `table` holds the probabilities or logits instead of the factors.

    `gate` adds zeros: with form (0, .) as a probability, with (1, .) as a logit; with (., 0) inflating the zeros
    that are there, with (., 1) as a hurdle that replaces them.
    """

    parameter: Any = 1.0
    odds: np.ndarray = NO_ODDS
    a: Any = 1.0
    b: Any = 1.0
    n: Any = 1.0
    factors: np.ndarray = UNIFORM
    low: Any = 0
    high: Any = np.inf
    gate: Any = 0.0
    gate_form: np.ndarray = np.zeros(2)
    table: Any = None
    table_kind: str = ""
    tail: str = ""

    @property
    def is_finite(self) -> bool:
        return not self.tail

    @property
    def is_zero_modified(self) -> bool:
        return self.gate is not Member().gate


def member_of(distribution) -> Member | None:
    """Return the distribution as a Member; None if it is of a family without such a form."""
    distribution = unexpanded(distribution)
    if isinstance(distribution, dist.ZeroInflatedProbs | dist.HurdleProbs):
        return zero_modified_member(distribution)
    for kind, make in MAKERS.items():
        if isinstance(distribution, kind):
            return make(distribution)
    return None


def zero_modified_member(distribution):
    base = member_of(distribution.base_dist)
    if base is None or base.is_zero_modified:
        return None
    by_logits = isinstance(distribution, dist.ZeroInflatedLogits | dist.HurdleLogits)
    form = np.array([by_logits, isinstance(distribution, dist.HurdleProbs)], dtype=float)
    return base._replace(gate=distribution.gate_logits if by_logits else distribution.gate, gate_form=form)


def bounds(*values):
    return [np.asarray(value) if known(value) else value for value in values]


def binomial(distribution, parameter, odds):
    (trials,) = bounds(getattr(distribution, "total_count", 1))
    return Member(parameter, odds, n=trials, factors=BINOMIAL, high=trials)


def beta_binomial(distribution):
    (trials,) = bounds(distribution.total_count)
    concentrations = {"a": distribution.concentration1, "b": distribution.concentration0}
    return Member(**concentrations, n=trials, factors=BETA_BINOMIAL, high=trials)


def discrete_uniform(distribution):
    low, high = bounds(distribution.low, distribution.high)
    return Member(low=low, high=high)


def categorical(distribution):
    table, logits = table_of(distribution)
    kind = "logits" if logits else "probabilities"
    return Member(table=table, table_kind=kind, high=np.shape(table)[-1] - 1)


def negative_binomial(concentration, parameter, odds):
    return Member(parameter, odds, a=concentration, factors=NEGATIVE_BINOMIAL, tail="negative binomial")


def beta_negative_binomial(distribution):
    parameters = {"a": distribution.concentration1, "b": distribution.concentration0, "n": distribution.n}
    return Member(**parameters, factors=BETA_NEGATIVE_BINOMIAL, tail="beta negative binomial")


MAKERS = {
    dist.BernoulliProbs: lambda d: binomial(d, d.probs, SUCCESS_TO_FAILURE),
    dist.BernoulliLogits: lambda d: binomial(d, d.logits, EXPONENTIAL),
    dist.BinomialProbs: lambda d: binomial(d, d.probs, SUCCESS_TO_FAILURE),
    dist.BinomialLogits: lambda d: binomial(d, d.logits, EXPONENTIAL),
    dist.BetaBinomial: beta_binomial,
    dist.DiscreteUniform: discrete_uniform,
    dist.CategoricalProbs: categorical,
    dist.CategoricalLogits: categorical,
    dist.Poisson: lambda d: Member(d.rate, PARAMETER, factors=POISSON, tail="poisson"),
    dist.GeometricProbs: lambda d: negative_binomial(1.0, d.probs, COMPLEMENT),
    dist.GeometricLogits: lambda d: negative_binomial(1.0, -d.logits, SIGMOID),
    dist.NegativeBinomialProbs: lambda d: negative_binomial(d.concentration, d.probs, PARAMETER),
    dist.NegativeBinomialLogits: lambda d: negative_binomial(d.concentration, d.logits, SIGMOID),
    dist.GammaPoisson: lambda d: negative_binomial(d.concentration, d.rate, SHARE_OF_RATE),
    dist.BetaNegativeBinomial: beta_negative_binomial,
}
