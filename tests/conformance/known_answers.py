"""Two posteriors whose best approximations are known in closed form, and how far a fitted q is from them.

One is normal, badly scaled and correlated, far from the origin. The other is two independent log-gamma variables:
rates with gamma priors and exponential waiting times, given in float32.
"""

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy import stats
from scipy.optimize import brentq
from scipy.special import digamma, gammaln, polygamma

from vi_kl.core.estimate import Estimate
from vi_kl.families import Constrained, Guide
from vi_kl.families.approximation import site_distributions
from vi_kl.reference import Moments, ReferencePosterior
from vi_kl.targets import Target

# The normal one --------------------------------------------------------------------------------------------------

CORRELATION = 0.8
MEAN = np.array([70.0, -3.0])
SDS = np.array([12.0, 0.12])  # the covariance has condition 2.8e4
COVARIANCE = np.outer(SDS, SDS) * np.array([[1.0, CORRELATION], [CORRELATION, 1.0]])
PRECISION = np.linalg.inv(COVARIANCE)
MEAN_FIELD_KL = -0.5 * np.log(1 - CORRELATION**2)  # Bishop (2006), section 10.1.2


def two_normals(mean, slope, scales):
    """Two sites, the second regressed on the first."""
    first = numpyro.sample("first", dist.Normal(mean[0], scales[0]))
    numpyro.sample("second", dist.Normal(mean[1] + slope * (first - mean[0]), scales[1]))


def normal_draws(key, n):
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return rng.multivariate_normal(MEAN, COVARIANCE, size=n, method="cholesky")


def gaussian() -> Target:
    scales = SDS * np.array([1.0, np.sqrt(1 - CORRELATION**2)])
    target = Target.from_numpyro(two_normals, MEAN, CORRELATION * SDS[1] / SDS[0], scales)
    moments = {name: Moments(np.asarray(MEAN[i]), np.asarray(SDS[i])) for i, name in enumerate(("first", "second"))}
    return target.with_reference(ReferencePosterior(Estimate(0.0), moments, normal_draws, normal=(MEAN, COVARIANCE)))


def kl_to_gaussian(q) -> float:
    """KL(q||posterior) of a normal q, in closed form."""
    mean, covariance = normal_of(q)
    shift = mean - MEAN
    log_det = np.linalg.slogdet(PRECISION @ covariance)[1]
    return float(0.5 * (np.trace(PRECISION @ covariance) + shift @ PRECISION @ shift - 2 - log_det))


def gaussian_log_density(z):
    return stats.multivariate_normal(MEAN, COVARIANCE).logpdf(z)


# The skewed one --------------------------------------------------------------------------------------------------

PRIOR = np.array([1.0, 4.0])
WAITS = np.array([[0.5, 0.25], [1.5, 0.75]], np.float32)
SHAPE, RATE = PRIOR + len(WAITS), 2.0 + WAITS.sum(axis=0, dtype=float)


def two_rates(prior, waits):
    """Gamma(prior + n, 2 + sum) is the posterior of each rate."""
    rate = numpyro.sample("rate", dist.Gamma(prior, 2.0).to_event(1))
    with numpyro.plate("rows", len(waits)):
        numpyro.sample("wait", dist.Exponential(rate).to_event(1), obs=waits)


def gamma_draws(key, n):
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return np.log(rng.gamma(SHAPE, size=(n, 2)) / RATE)


def skewed() -> Target:
    target = Target.from_numpyro(two_rates, PRIOR.astype(np.float32), WAITS)
    evidence = np.sum(PRIOR * np.log(2.0) - gammaln(PRIOR) + gammaln(SHAPE) - SHAPE * np.log(RATE))
    moments = {"rate": Moments(SHAPE / RATE, np.sqrt(SHAPE) / RATE)}
    return target.with_reference(ReferencePosterior(Estimate(float(evidence)), moments, gamma_draws))


def kl_to_skewed(loc, variance) -> float:
    """KL(q||posterior) of independent normals, with E[rate] of the log-normal."""
    expected = SHAPE * (np.log(RATE) + loc) - gammaln(SHAPE) - RATE * np.exp(loc + variance / 2)
    return float(np.sum(-0.5 * np.log(2 * np.pi * np.e * variance) - expected))


def skewed_log_density(z):
    return np.sum(SHAPE * (np.log(RATE) + z) - gammaln(SHAPE) - RATE * np.exp(z), axis=-1)


MODE = np.log(SHAPE / RATE)
BEST_NORMAL = MODE - 0.5 / SHAPE, 1 / SHAPE
LAPLACE = MODE, 1 / SHAPE
# second derivatives of KL in (loc, log sd) at the best are [[a, 1], [1, 2 + 1/a]]; its inverse's first entry:
LINEAR_RESPONSE = BEST_NORMAL[0], 1 / SHAPE + 0.5 / SHAPE**2
MOMENTS = digamma(SHAPE) - np.log(RATE), polygamma(1, SHAPE)
# E_q[score] = 0 and Var_q[score] = 1 / variance
SCORES_MATCHED = np.array([brentq(lambda v, a=a: a**2 * v * np.expm1(v) - 1, 1e-4, 10) for a in SHAPE])
SCORE_MATCHING = MODE - SCORES_MATCHED / 2, SCORES_MATCHED
LEAST_KL = kl_to_skewed(*BEST_NORMAL)


# Both ------------------------------------------------------------------------------------------------------------


def normal_of(q) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance in z of a q that is normal there."""
    if isinstance(q.family, Guide | Constrained):
        sites = [site_distributions(q)[name] for name in q.target.site_names]
        assert all(isinstance(site, dist.Normal) for site in sites)
        return np.array([site.loc for site in sites], float), np.diag([float(site.scale) ** 2 for site in sites])
    found = q.distribution
    if isinstance(found, dist.Independent):
        return np.asarray(found.base_dist.loc), np.diag(np.asarray(found.base_dist.scale) ** 2)
    if isinstance(found, dist.LowRankMultivariateNormal):
        factor = np.asarray(found.cov_factor)
        return np.asarray(found.loc), factor @ factor.T + np.diag(np.asarray(found.cov_diag))
    assert isinstance(found, dist.MultivariateNormal)
    tril = np.asarray(found.scale_tril)
    return np.asarray(found.loc), tril @ tril.T


def kl_by_draws(q, log_density, key, num_draws=16_384) -> tuple[float, float]:
    """KL(q||posterior) and its standard error, from q's own draws and the posterior's density on paper."""
    z, log_q = q.sample_and_log_prob(key, num_draws)
    ratio = np.asarray(log_q) - log_density(np.asarray(z))
    return ratio.mean(), ratio.std(ddof=1) / np.sqrt(num_draws)
