"""NumPyro's families on the line, each as one of a few laws: how its parameters translate.

Parameters are passed on as they are stored, to be combined in float64: if rounded before, two members that nearly
agree would differ by their rounding.
"""

import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.analytic.univariate import log_laws, real_laws

ONE, HALF = np.float64(1), np.float64(0.5)


def gamma(p):
    return p.concentration, ONE, ONE, p.rate


def exponential(p):
    return ONE, ONE, ONE, p.rate


def inverse_gamma(p):
    return p.concentration, -ONE, p.rate, ONE


def weibull(p):
    return ONE, p.concentration, p.scale, ONE


def half_normal(p):
    return HALF, np.float64(2), p.scale, np.sqrt(HALF)


def laplace(p):
    return p.loc, p.scale, ONE, np.float64(0), ONE


def asymmetric_laplace(p):
    return p.loc, p.scale, p.asymmetry, np.float64(0), ONE


def asymmetric_laplace_quantile(p):
    return p.loc, p.scale, ONE, p.quantile, p.quantile


def laplace_scales(scale, u, v, w):
    """Return the scales to the left and to the right from the distribution's three parameters u, v and w."""
    return scale * u / (1 - v), scale / (u * w)


def laplace_law(loc, scale, u, v, w):
    return real_laws.laplace(loc, *laplace_scales(scale, u, v, w))


def half_cauchy(p):
    return HALF, HALF, np.float64(2), p.scale


def dagum(p):
    return p.concentration, ONE, p.sharpness, p.scale


def beta(p):
    return p.concentration1, p.concentration0, ONE, ONE


def kumaraswamy(p):
    return ONE, p.concentration0, p.concentration1, ONE


def pareto(p):
    return p.alpha, np.float64(0), p.scale


def lower_truncated_power_law(p):
    return -p.alpha, ONE, p.low


def doubly_truncated_power_law(p):
    return p.low, p.high, p.alpha


def log_uniform(p):
    return p.low, p.high, -ONE


def uniform(p):
    return p.low, p.high, np.float64(0)


def bounds(p):
    return p.low, p.high


def loc_scale(p):
    return p.loc, p.scale


# class -> the law of the variable itself and the law of its logarithm, each with the translation of the parameters; if
# only that of the logarithm is given, the variable's own follows from it
REAL_LAWS = {
    dist.Normal: (real_laws.normal, loc_scale),
    dist.Laplace: (laplace_law, laplace),
    dist.AsymmetricLaplace: (laplace_law, asymmetric_laplace),
    dist.AsymmetricLaplaceQuantile: (laplace_law, asymmetric_laplace_quantile),
    dist.Logistic: (real_laws.logistic, loc_scale),
    dist.SoftLaplace: (real_laws.soft_laplace, loc_scale),
    dist.Gumbel: (real_laws.gumbel, loc_scale),
    dist.Cauchy: (real_laws.cauchy, loc_scale),
    dist.StudentT: (real_laws.student_t, lambda p: (p.df, p.loc, p.scale)),
    dist.Uniform: (real_laws.uniform, bounds),
    dist.Gamma: (real_laws.gamma, lambda p: (p.concentration, p.rate)),
    dist.Exponential: (real_laws.exponential, lambda p: (p.rate,)),
}
LOG_LAWS = {
    dist.Gamma: (log_laws.gamma, gamma),
    dist.Exponential: (log_laws.gamma, exponential),
    dist.InverseGamma: (log_laws.gamma, inverse_gamma),
    dist.Weibull: (log_laws.gamma, weibull),
    dist.HalfNormal: (log_laws.gamma, half_normal),
    dist.LogNormal: (log_laws.normal, loc_scale),
    dist.Beta: (log_laws.beta, beta),
    dist.Kumaraswamy: (log_laws.beta, kumaraswamy),
    dist.HalfCauchy: (log_laws.beta_prime, half_cauchy),
    dist.Dagum: (log_laws.beta_prime, dagum),
    dist.Pareto: (log_laws.exponential, pareto),
    dist.LowerTruncatedPowerLaw: (log_laws.exponential, lower_truncated_power_law),
    dist.LogUniform: (log_laws.tilted, log_uniform),
    dist.Uniform: (log_laws.tilted, uniform),
    dist.DoublyTruncatedPowerLaw: (log_laws.tilted, doubly_truncated_power_law),
}
