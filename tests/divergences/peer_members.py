"""One distribution per NumPyro class as p and one as q, each with the same law in SciPy, for test_coverage.py.

The ranges are such that every finite pair of the peers is finite: a uniform p lies inside (0, 1), a uniform q around
it, and a Pareto p has two moments and begins after q does.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import transforms
from scipy import linalg, special, stats


class LogitNormal(stats.rv_continuous):
    def _logpdf(self, x, mean, spread):
        return stats.norm.logpdf(special.logit(x), mean, spread) - np.log(x) - np.log1p(-x)

    def _ppf(self, u, mean, spread):
        return special.expit(stats.norm.ppf(u, mean, spread))


class Kumaraswamy(stats.rv_continuous):
    def _logpdf(self, x, a, b):
        return np.log(a * b) + (a - 1) * np.log(x) + (b - 1) * np.log1p(-(x**a))

    def _ppf(self, u, a, b):
        return (-np.expm1(np.log1p(-u) / b)) ** (1 / a)


class VonMises(stats.rv_continuous):
    """On one turn of the circle; SciPy's own winds around the whole line."""

    def _pdf(self, x, mean, concentration):
        return stats.vonmises.pdf(x, concentration, mean)

    def _logpdf(self, x, mean, concentration):
        return stats.vonmises.logpdf(x, concentration, mean)


class LogInverseGamma(stats.rv_continuous):
    """Minus the log of a unit gamma variable; the log of the rate is the location."""

    def _logpdf(self, x, a):
        return stats.loggamma.logpdf(-x, a)

    def _ppf(self, u, a):
        return -stats.loggamma.isf(u, a)


logit_normal = LogitNormal(a=0, b=1, shapes="mean, spread")
kumaraswamy = Kumaraswamy(a=0, b=1, shapes="a, b")
von_mises = VonMises(a=-np.pi, b=np.pi, shapes="mean, concentration")
log_inverse_gamma = LogInverseGamma(shapes="a")


def by(transform, base):
    return dist.TransformedDistribution(base, transform)


def shares(weights):
    return np.array(weights) / np.sum(weights)


def categories(weights):
    probabilities = shares(weights)
    return stats.rv_discrete(values=(np.arange(len(probabilities)), probabilities))


def ordered(predictor, cutpoints):
    above = np.concatenate([[1.0], special.expit(predictor - np.array(cutpoints)), [0.0]])
    return categories(above[:-1] - above[1:])


def logits(probability):
    return np.log(probability / (1 - probability))


@dataclasses.dataclass(frozen=True)
class Member:
    """One distribution: how NumPyro makes it, and the same law in SciPy."""

    make: Callable[[], dist.Distribution]
    law: Any


def member(make, law, *parameters):
    return Member(lambda: make(*parameters), law(*parameters))


def pair(make, law, p, q):
    """The same class as p and as q, from their parameters."""
    return member(make, law, *p), member(make, law, *q)


TRILS = (
    np.array([[0.9, 0, 0], [0.4, 1.1, 0], [-0.3, 0.2, 0.7]]),
    np.array([[1.3, 0, 0], [0.1, 1.0, 0], [0.5, -0.4, 1.2]]),
)
FACTORS = np.array([[0.8], [-0.3], [0.5]]), np.array([[0.4], [0.6], [-0.7]])
DIAGONALS = np.array([0.5, 0.9, 0.7]), np.array([1.1, 0.6, 0.8])
LOCS = np.array([0.3, -0.2, 0.5]), np.array([-0.1, 0.4, 0.2])
ROWS = np.array([[1.0, 0], [0.5, 0.8]]), np.array([[1.2, 0], [-0.3, 1.1]])
MEANS = np.array([[0.1, 0.4, -0.2], [0.0, 0.3, 0.5]]), np.array([[0.3, 0.1, 0.1], [-0.4, 0.2, 0.0]])


def independent_normal(loc, scale):
    return dist.Normal(loc, scale).to_event(1)


MEMBERS: dict[str, tuple[Member, Member]] = {
    # discrete
    "BernoulliProbs": pair(dist.BernoulliProbs, stats.bernoulli, (0.3,), (0.55,)),
    "BernoulliLogits": pair(lambda p: dist.BernoulliLogits(logits(p)), stats.bernoulli, (0.2,), (0.45,)),
    "BinomialProbs": pair(lambda n, p: dist.BinomialProbs(p, n), stats.binom, (7, 0.3), (7, 0.55)),
    "BinomialLogits": pair(lambda n, p: dist.BinomialLogits(logits(p), n), stats.binom, (7, 0.2), (7, 0.45)),
    "CategoricalProbs": pair(lambda w: dist.CategoricalProbs(shares(w)), categories, ([1, 4, 2],), ([3, 1, 2],)),
    "CategoricalLogits": pair(lambda w: dist.CategoricalLogits(np.log(w)), categories, ([1, 7, 2],), ([3, 2, 2],)),
    "GeometricProbs": pair(dist.GeometricProbs, lambda p: stats.geom(p, loc=-1), (0.3,), (0.2,)),
    "GeometricLogits": pair(lambda p: dist.GeometricLogits(logits(p)), lambda p: stats.geom(p, loc=-1), (0.4,), (0.6,)),
    "MultinomialProbs": pair(
        lambda w: dist.MultinomialProbs(shares(w), total_count=1), categories, ([1, 4, 2],), ([3, 1, 2],)
    ),
    "MultinomialLogits": pair(
        lambda w: dist.MultinomialLogits(np.log(w), total_count=1), categories, ([1, 7, 2],), ([3, 2, 2],)
    ),
    # NumPyro counts the failures before which SciPy counts successes, so that the probabilities are complements
    "NegativeBinomialProbs": pair(
        lambda n, p: dist.NegativeBinomialProbs(n, 1 - p), stats.nbinom, (2.5, 0.6), (2.5, 0.4)
    ),
    "NegativeBinomialLogits": pair(
        lambda n, p: dist.NegativeBinomialLogits(n, -logits(p)), stats.nbinom, (2.5, 0.7), (2.5, 0.3)
    ),
    "OrderedLogistic": pair(
        lambda x, cuts: dist.OrderedLogistic(x, np.array(cuts)), ordered, (0.3, [-1, 0.5, 2]), (-0.4, [-0.5, 0.1, 1])
    ),
    "Poisson": pair(dist.Poisson, stats.poisson, (3.0,), (1.7,)),
    # positive
    "Chi2": pair(dist.Chi2, stats.chi2, (3.0,), (5.0,)),
    "Chi2 by root": pair(lambda k: by(transforms.PowerTransform(0.5), dist.Chi2(k)), stats.chi, (3.0,), (5.0,)),
    "Exponential": pair(dist.Exponential, lambda rate: stats.expon(scale=1 / rate), (1.3,), (0.8,)),
    "Gamma": pair(dist.Gamma, lambda a, rate: stats.gamma(a, scale=1 / rate), (2.5, 1.7), (1.6, 0.9)),
    "HalfNormal": pair(dist.HalfNormal, lambda scale: stats.halfnorm(scale=scale), (0.7,), (1.2,)),
    "InverseGamma": pair(dist.InverseGamma, lambda a, rate: stats.invgamma(a, scale=rate), (3.5, 1.2), (2.0, 1.9)),
    "LogNormal": pair(dist.LogNormal, lambda loc, s: stats.lognorm(s, scale=np.exp(loc)), (0.3, 0.6), (-0.2, 0.9)),
    "Pareto": pair(dist.Pareto, lambda scale, alpha: stats.pareto(alpha, scale=scale), (0.5, 3.5), (0.4, 2.0)),
    "Weibull": pair(dist.Weibull, lambda scale, k: stats.weibull_min(k, scale=scale), (1.3, 1.8), (0.9, 1.2)),
    "LogUniform": pair(dist.LogUniform, stats.loguniform, (0.5, 3.0), (0.2, 4.0)),
    # between bounds; as p the uniform lies inside (0, 1) and as q around it
    "Beta": pair(dist.Beta, stats.beta, (2.0, 3.5), (0.8, 1.7)),
    "Kumaraswamy": pair(dist.Kumaraswamy, kumaraswamy, (1.7, 2.4), (0.9, 1.2)),
    "Normal by sigmoid": pair(
        lambda loc, scale: by(transforms.SigmoidTransform(), dist.Normal(loc, scale)),
        logit_normal,
        (0.3, 0.6),
        (0.5, 0.9),
    ),
    "Uniform": pair(dist.Uniform, lambda low, high: stats.uniform(low, high - low), (0.45, 0.95), (-0.5, 1.5)),
    "VonMises": pair(dist.VonMises, von_mises, (0.3, 2.0), (1.2, 0.9)),
    # the real line
    "Cauchy": pair(dist.Cauchy, stats.cauchy, (0.3, 1.2), (-0.4, 0.7)),
    "Gumbel": pair(dist.Gumbel, stats.gumbel_r, (0.3, 0.8), (-0.2, 1.1)),
    "Laplace": pair(dist.Laplace, stats.laplace, (0.3, 0.8), (-0.2, 1.1)),
    "Normal": pair(dist.Normal, stats.norm, (0.3, 0.8), (-0.2, 1.1)),
    "Gamma by log": pair(
        lambda a, rate: by(transforms.ExpTransform().inv, dist.Gamma(a, rate)),
        lambda a, rate: stats.loggamma(a, loc=-np.log(rate)),
        (2.5, 1.7),
        (1.6, 0.9),
    ),
    "InverseGamma by log": pair(
        lambda a, rate: by(transforms.ExpTransform().inv, dist.InverseGamma(a, rate)),
        lambda a, rate: log_inverse_gamma(a, loc=np.log(rate)),
        (2.5, 1.7),
        (1.6, 0.9),
    ),
    # vectors and matrices
    "Dirichlet": pair(lambda a: dist.Dirichlet(np.array(a)), stats.dirichlet, ([2.0, 0.7, 3.5],), ([1.2, 1.0, 2.0],)),
    "MultivariateNormal": pair(
        lambda loc, tril: dist.MultivariateNormal(loc, scale_tril=tril),
        lambda loc, tril: stats.multivariate_normal(loc, tril @ tril.T),
        *zip(LOCS, TRILS, strict=True),
    ),
    "LowRankMultivariateNormal": pair(
        dist.LowRankMultivariateNormal,
        lambda loc, factor, diagonal: stats.multivariate_normal(loc, factor @ factor.T + np.diag(diagonal)),
        *zip(LOCS, FACTORS, DIAGONALS, strict=True),
    ),
    "MatrixNormal": pair(
        dist.MatrixNormal,
        lambda mean, rows, columns: stats.matrix_normal(mean, rows @ rows.T, columns @ columns.T),
        *zip(MEANS, ROWS, TRILS, strict=True),
    ),
    "IndependentNormal": pair(
        independent_normal,
        lambda loc, scale: stats.multivariate_normal(loc, np.diag(np.square(scale))),
        (np.array([0.3, -0.2, 0.1, 0.5]), np.array([0.5, 0.9, 1.2, 0.8])),
        (np.zeros(4), np.ones(4)),
    ),
    "CirculantNormal": pair(
        lambda row: dist.CirculantNormal(np.zeros(len(row)), row),
        lambda row: stats.multivariate_normal(np.zeros(len(row)), linalg.circulant(row)),
        (np.array([2.0, 0.3, -0.2, 0.3]),),
        (np.array([1.5, 0.4, 0.1, 0.4]),),  # first rows of covariances
    ),
}
