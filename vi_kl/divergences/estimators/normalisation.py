"""A check of distributions: whether the mass is 1, and the draws follow the density.

The mass of a density d is compared with that of another, g, whose mass is known to be 1: for draws from both,

    E_g min(1, d/g) / E_d min(1, g/d)

is the mass of d, whatever the two are. Both means are of bounded terms, so that their errors are reliable. As g, a
Student's t is fitted to draws of d on the unconstrained scale. A pmf is added up over the values drawn, which hold as
much of it as they do of further draws.

NumPyro's plain families are trusted, and so is what is built from them by rules that `log_density` follows.
"""

import math

import jax
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import biject_to
from numpyro.distributions.mixtures import MixtureGeneral, MixtureSameFamily

from vi_kl.core.compilation import compiled
from vi_kl.core.gaussian import Gaussian, StudentT
from vi_kl.divergences.density import log_density
from vi_kl.divergences.estimators.quadrature import NotApplicable
from vi_kl.divergences.estimators.sinh_map import robust_moments
from vi_kl.divergences.images import is_known, single_transforms
from vi_kl.divergences.region import is_discrete, region_of
from vi_kl.divergences.registry import describe
from vi_kl.divergences.unconstrained import values_of

NUM_DRAWS = 8192  # half of them are used to fit g, or to collect values
MOST_VARIABLES = 300
STRAY = 1e-3  # the part of its draws that rounding may take beyond the edge of a support
DF = 4.0
SEEN = 0.02  # overlap of d and g below which the mass cannot be judged
DIFFERENT = 6.0  # standard errors
ALLOWED = 0.01  # relative error allowed beyond them
PLAIN = (
    dist.AsymmetricLaplace, dist.AsymmetricLaplaceQuantile, dist.BernoulliLogits, dist.BernoulliProbs, dist.Beta,
    dist.BetaBinomial, dist.BetaProportion, dist.BinomialLogits, dist.BinomialProbs, dist.CategoricalLogits,
    dist.CategoricalProbs, dist.Cauchy, dist.Chi2, dist.Dirichlet, dist.DirichletMultinomial, dist.DiscreteUniform,
    dist.Exponential, dist.Gamma, dist.GammaPoisson, dist.GeometricLogits, dist.GeometricProbs, dist.Gumbel,
    dist.HalfCauchy, dist.HalfNormal, dist.InverseGamma, dist.Kumaraswamy, dist.LKJ, dist.LKJCholesky, dist.Laplace,
    dist.LogNormal, dist.LogUniform, dist.Logistic, dist.LowRankMultivariateNormal, dist.MatrixNormal,
    dist.MultinomialLogits, dist.MultinomialProbs, dist.MultivariateNormal, dist.MultivariateStudentT,
    dist.NegativeBinomial2, dist.NegativeBinomialLogits, dist.NegativeBinomialProbs, dist.Normal, dist.Pareto,
    dist.Poisson, dist.SoftLaplace, dist.StudentT, dist.Uniform, dist.VonMises, dist.Weibull, dist.Wishart,
    dist.WishartCholesky,
)  # fmt: skip


class NotNormalised(ValueError):
    """An error: a density does not integrate to 1, or its own draws do not follow it; the message names it."""


def not_normalised(name: str, distribution, mass: float) -> NotNormalised:
    kind = "pmf" if is_discrete(distribution) else "density"
    return NotNormalised(
        f"{name}, {describe(distribution)}, is no distribution that can be compared: its {kind} adds up to {mass:.4g},"
        " not 1, or its draws do not follow it. Nothing here divides by an unknown constant: give a normalised one."
    )


def reject_strays(name: str, distribution, log_densities: np.ndarray) -> None:
    """Raise NotNormalised if a distribution has no density at its own draws."""
    strays = float(np.isneginf(log_densities).mean())
    if strays > STRAY:
        raise NotNormalised(
            f"{strays:.1%} of the draws of {name}, {describe(distribution)}, fall where its own density is zero: its"
            " log_prob and its sample contradict each other."
        )


def is_plain(distribution) -> bool:
    """Return whether a distribution is a plain family, or built from plain ones by rules that keep the mass."""
    match distribution:
        case dist.HurdleProbs() | dist.ZeroInflatedProbs():
            return is_plain(distribution.base_dist)
        case dist.ExpandedDistribution() | dist.Independent() | dist.FoldedDistribution():
            return is_plain(distribution.base_dist)
        case MixtureSameFamily():
            return is_plain(distribution.component_distribution)
        case MixtureGeneral():
            return all(map(is_plain, distribution.component_distributions))
    if type(distribution) in PLAIN:
        return True
    if type(distribution) is not dist.TransformedDistribution or not is_plain(distribution.base_dist):
        return False
    return region_of(distribution).exact and all(map(is_known, single_transforms(distribution.transforms)))


def check_normalised(**named) -> None:
    """Check that each distribution has mass 1 and agrees with its own draws, where it has draws and this can be judged.

    Raises:
        NotNormalised: one of them is found not to be a distribution.
    """
    for name, distribution in named.items():
        if is_plain(distribution):
            continue
        try:
            mass, error = (mass_of_pmf if is_discrete(distribution) else mass_of_density)(name, distribution)
        except (NotImplementedError, NotApplicable):
            continue  # there is no sampler, or there are no variables to fit a proposal in: nothing can be checked
        if abs(math.log(mass)) > DIFFERENT * error + ALLOWED:
            raise not_normalised(name, distribution, mass)


def mass_of_pmf(name, distribution):
    draws, log_pmf = map(np.asarray, draws_with_density(distribution, jax.random.key(0)))
    reject_strays(name, distribution, log_pmf)
    draws = draws.reshape(NUM_DRAWS, -1)
    half = NUM_DRAWS // 2
    values, first = np.unique(draws[:half], axis=0, return_index=True)
    found = set(map(bytes, values))
    held = np.mean([row.tobytes() in found for row in draws[half:]])
    if held < SEEN:
        raise NotApplicable("hardly any value is drawn twice.")
    return with_error(np.exp(log_pmf[first]).sum(), held, math.sqrt((1 - held) / held / half))


def mass_of_density(name, distribution):
    values = values_of(distribution)
    if values is None:
        raise NotApplicable("there are no unconstrained variables.")
    draws, log_d = draws_with_density(distribution, jax.random.key(0))
    reject_strays(name, distribution, np.asarray(log_d))
    z, log_d = map(np.asarray, on_unconstrained_scale(distribution, values, draws))
    shape = z.shape[1:]
    z = z.reshape(NUM_DRAWS, -1)
    kept = np.isfinite(z).all(1) & np.isfinite(log_d)
    if kept.mean() < 0.99 or not 1 <= z.shape[1] <= MOST_VARIABLES:
        raise NotApplicable("too many variables, or draws at the edge of the support.")
    z, log_d = z[kept], log_d[kept]
    half = len(z) // 2
    proposal = proposal_for(z[:half])
    own = np.exp(np.minimum(0.0, proposal.log_prob(z[half:]) - log_d[half:]))
    points = proposal.sample(np.random.default_rng(0), NUM_DRAWS)
    log_there = np.asarray(log_density_at(distribution, values, points.reshape(-1, *shape)))
    other = np.exp(np.minimum(0.0, log_there - proposal.log_prob(points)))
    other = other[~np.isnan(other)]  # beyond the largest number
    if not len(other) or max(own.mean(), other.mean()) < SEEN or min(own.mean(), other.mean()) == 0:
        raise NotApplicable("the proposal does not overlap with it.")
    errors = [x.std() / x.mean() / math.sqrt(len(x)) for x in (own, other)]
    return with_error(other.mean(), own.mean(), math.hypot(*errors))


def with_error(numerator, denominator, error):
    return max(numerator / denominator, 1e-300), error


def proposal_for(z: np.ndarray) -> StudentT:
    """Return a multivariate t with the location and the covariance of draws."""
    location, spread, covariance = robust_moments(z)
    try:
        factor = spread[:, None] * np.linalg.cholesky(covariance + 1e-9 * np.diag(np.diag(covariance)))
    except np.linalg.LinAlgError:
        raise NotApplicable("the variables depend on each other.") from None
    return StudentT(Gaussian.of(location, factor), DF)


@compiled
def draws_with_density(distribution, key):
    draws = distribution.sample(key, (NUM_DRAWS,))
    return draws, log_density(distribution, draws)


@compiled
def on_unconstrained_scale(distribution, values, draws):
    bijection = biject_to(values)
    z = bijection.inv(draws)
    log_jacobian = bijection.log_abs_det_jacobian(z, draws)
    return z, log_density(distribution, draws) + log_jacobian.reshape(NUM_DRAWS, -1).sum(-1)


@compiled
def log_density_at(distribution, values, z):
    bijection = biject_to(values)
    x = bijection(z)
    log_jacobian = bijection.log_abs_det_jacobian(z, x)
    return log_density(distribution, x) + log_jacobian.reshape(NUM_DRAWS, -1).sum(-1)
