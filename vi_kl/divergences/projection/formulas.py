"""Moments in closed form: of single distributions, of independent copies of them, and of their mixtures."""

import numpy as np
import numpyro.distributions as dist
from scipy.special import digamma, polygamma

from vi_kl.divergences.bregman import phi
from vi_kl.divergences.projection.equations import log_minus_digamma
from vi_kl.divergences.projection.moments import NoFormula, NoMoment
from vi_kl.divergences.registry import describe, unexpanded

MEANS = {
    (dist.Gamma, "log x"): lambda p: digamma(p.concentration) - np.log(p.rate),
    (dist.Exponential, "log x"): lambda p: digamma(1.0) - np.log(p.rate),
    (dist.InverseGamma, "log x"): lambda p: np.log(p.rate) - digamma(p.concentration),
    (dist.LogNormal, "log x"): lambda p: p.loc,
    (dist.Weibull, "log x"): lambda p: np.log(p.scale) + digamma(1.0) / p.concentration,
    (dist.Pareto, "log x"): lambda p: np.log(p.scale) + 1 / p.alpha,
    (dist.Beta, "log x"): lambda p: digamma(p.concentration1) - digamma(p.concentration1 + p.concentration0),
    (dist.Beta, "log(1 - x)"): lambda p: digamma(p.concentration0) - digamma(p.concentration1 + p.concentration0),
    (dist.Dirichlet, "log x"): lambda p: (
        digamma(p.concentration) - digamma(np.sum(p.concentration, axis=-1, keepdims=True))
    ),
    (dist.Gamma, "1/x"): lambda p: np.where(p.concentration > 1, p.rate / (p.concentration - 1), np.inf),
    (dist.InverseGamma, "1/x"): lambda p: p.concentration / p.rate,
    (dist.LogNormal, "1/x"): lambda p: np.exp(p.scale**2 / 2 - p.loc),
}
VARIANCES = {
    (dist.Gamma, "log x"): lambda p: polygamma(1, p.concentration),
    (dist.Exponential, "log x"): lambda p: np.full(np.shape(p.rate), np.pi**2 / 6),
    (dist.InverseGamma, "log x"): lambda p: polygamma(1, p.concentration),
    (dist.LogNormal, "log x"): lambda p: np.square(p.scale),
    (dist.Weibull, "log x"): lambda p: np.pi**2 / (6 * np.square(p.concentration)),
    (dist.Pareto, "log x"): lambda p: 1 / np.square(p.alpha),
    (dist.Beta, "log x"): lambda p: polygamma(1, p.concentration1) - polygamma(1, p.concentration1 + p.concentration0),
}
LOG_MEAN_GAPS = {
    (dist.Gamma, "x"): lambda p: log_minus_digamma(p.concentration),
    (dist.Exponential, "x"): lambda p: np.full(np.shape(p.rate), log_minus_digamma(1.0)),
    (dist.LogNormal, "x"): lambda p: np.square(p.scale) / 2,
    (dist.InverseGamma, "1/x"): lambda p: log_minus_digamma(p.concentration),
    (dist.LogNormal, "1/x"): lambda p: np.square(p.scale) / 2,
}
# the tests compare NumPyro's mean and variance of each of these with quadrature
MOMENTS_KNOWN_TO_NUMPYRO = (
    *(dist.Normal, dist.Laplace, dist.Logistic, dist.Gumbel, dist.StudentT, dist.Cauchy, dist.Uniform),
    *(dist.Gamma, dist.Exponential, dist.InverseGamma, dist.LogNormal, dist.Weibull, dist.Pareto),
    *(dist.HalfNormal, dist.HalfCauchy, dist.Beta),
    *(dist.Poisson, dist.GammaPoisson, dist.GeometricProbs, dist.GeometricLogits),
    *(dist.MultivariateNormal, dist.LowRankMultivariateNormal, dist.MultivariateStudentT, dist.Dirichlet),
)
COVARIANCES = {
    dist.MultivariateNormal: lambda p: p.covariance_matrix,
    dist.LowRankMultivariateNormal: lambda p: p.covariance_matrix,
    dist.MultivariateStudentT: lambda p: p.scale_tril @ p.scale_tril.T * np.where(p.df > 2, p.df / (p.df - 2), np.inf),
}


class Formulas:
    """A source of moments in closed form, for the distributions listed above and independent copies of them."""

    method = "closed form"

    def __init__(self, p):
        p = unexpanded(p)
        self.shape = p.batch_shape + p.event_shape
        while isinstance(p, dist.Independent | dist.ExpandedDistribution):
            p = p.base_dist
        self.p = p

    def mean(self, statistic):
        if statistic == "x":
            return self.finite(self.known_to_numpyro("mean"), "E[x]")
        if statistic == "x²":
            return self.variance("x") + np.square(self.mean("x"))
        return self.finite(self.look_up(MEANS, statistic), f"E[{statistic}]")

    def variance(self, statistic):
        if statistic == "x":
            return self.finite(self.known_to_numpyro("variance"), "the variance of x")
        return self.finite(self.look_up(VARIANCES, statistic), f"the variance of {statistic}")

    def covariance(self):
        form = next((COVARIANCES[kind] for kind in type(self.p).__mro__ if kind in COVARIANCES), None)
        if form is not None:
            return self.finite(np.asarray(form(self.p)), "the covariance of x")
        variance = self.variance("x")
        if self.p.event_shape:  # the coordinates are dependent
            raise NoFormula
        return variance[..., None] * np.eye(variance.shape[-1])

    def log_mean_gap(self, statistic):
        return self.look_up(LOG_MEAN_GAPS, statistic)

    def look_up(self, table, statistic):
        form = next((table[kind, statistic] for kind in type(self.p).__mro__ if (kind, statistic) in table), None)
        if form is None:
            raise NoFormula
        return np.broadcast_to(np.asarray(form(self.p)), self.shape)

    def known_to_numpyro(self, moment):
        if not isinstance(self.p, MOMENTS_KNOWN_TO_NUMPYRO):
            raise NoFormula
        return np.broadcast_to(np.asarray(getattr(self.p, moment)), self.shape)

    def finite(self, value, what):
        if not np.all(np.isfinite(value)):
            raise NoMoment(
                f"{what} is {value} for p = {describe(self.p)}: a moment that the family has to match does not exist,"
                " so no member is nearest. Choose a family with heavier tails."
            )
        return value


class Component:
    """A component of a batch of formulas."""

    def __init__(self, formulas, index):
        self.formulas, self.index = formulas, index

    def mean(self, statistic):
        return self.formulas.mean(statistic)[self.index]

    def variance(self, statistic):
        return self.formulas.variance(statistic)[self.index]

    def covariance(self):
        return self.formulas.covariance()[self.index]

    def log_mean_gap(self, statistic):
        return self.formulas.log_mean_gap(statistic)[self.index]


class Mixture:
    """A source of the moments of a mixture, from those of its components."""

    method = "closed form, from the components"

    def __init__(self, weights, parts):
        self.weights = weights / weights.sum()  # as NumPyro does; this divides out rounding only
        self.parts = parts

    def average(self, values):
        return np.tensordot(self.weights, np.stack(values), axes=1)

    def mean(self, statistic):
        return self.average([part.mean(statistic) for part in self.parts])

    def variance(self, statistic):
        centre = self.mean(statistic)
        return self.average([part.variance(statistic) + (part.mean(statistic) - centre) ** 2 for part in self.parts])

    def covariance(self):
        shifts = [part.mean("x") - self.mean("x") for part in self.parts]
        return self.average([p.covariance() + np.outer(s, s) for p, s in zip(self.parts, shifts, strict=True)])

    def log_mean_gap(self, statistic):
        centre = self.mean(statistic)
        between = [phi((part.mean(statistic) - centre) / centre) for part in self.parts]
        return self.average([p.log_mean_gap(statistic) + b for p, b in zip(self.parts, between, strict=True)])


def formulas(p):
    """Return the source of p's moments in closed form."""
    p = unexpanded(p)
    if not isinstance(p, dist.MixtureSameFamily | dist.MixtureGeneral):
        return Formulas(p)
    weights = np.asarray(p.mixing_distribution.probs)
    if isinstance(p, dist.MixtureGeneral):
        return Mixture(weights, [formulas(component) for component in p.component_distributions])
    together = Formulas(p.component_distribution)
    return Mixture(weights, [Component(together, index) for index in range(len(weights))])
