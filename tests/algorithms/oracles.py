"""Targets whose best normal is known, and how far a fitted normal is from it."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp
from scipy.stats import halfcauchy, norm

from vi_kl.families.gaussian import scale_tril
from vi_kl.models.textbook import EFFECTS, STANDARD_ERRORS
from vi_kl.targets import Target


def gaussian_log_density(z, data):
    mean, precision = data
    return -0.5 * (z - mean) @ precision @ (z - mean)


def hard_gaussian(dim, seed=0, condition=1e4):
    """A normal target along rotated axes, far from the origin; its mean and precision."""
    generator = np.random.default_rng(seed)
    axes = np.linalg.qr(generator.normal(size=(dim, dim)))[0]
    precision = axes * np.geomspace(1, condition, dim) / 100 @ axes.T
    mean = 3 * generator.normal(size=dim)
    return Target.from_log_density(gaussian_log_density, dim, data=(mean, precision)), mean, precision


def moments(fit):
    """Mean and covariance of a full-rank fit."""
    with jax.enable_x64(True):
        params = fit.approximation.params
        tril = np.asarray(scale_tril(params))
    return np.asarray(params["loc"]), tril @ tril.T


def kl_to_gaussian(fit, mean, precision):
    loc, covariance = moments(fit)
    shift = loc - mean
    product = precision @ covariance
    return 0.5 * (np.trace(product) + shift @ precision @ shift - len(mean) - np.linalg.slogdet(product)[1])


def log_gamma_log_density(z, data):
    shape, rate = data
    return jnp.sum(shape * z - rate * jnp.exp(z))


def log_gamma(shape=2.0, rate=3.0):
    """The log of a gamma variable: skewed, with the best normal N(log(a/b) - 1/(2a), 1/a)."""
    return Target.from_log_density(log_gamma_log_density, 1, data=(np.float64(shape), np.float64(rate)))


def two_bumps_log_density(z, data):
    near = -0.5 * jnp.sum((z - data) ** 2)
    far = -0.5 * jnp.sum((z + data) ** 2)
    return jnp.logaddexp(jnp.log(0.3) + near, jnp.log(0.7) + far)


def two_bumps(distance=4.0):
    """0.3 N(distance, I) + 0.7 N(-distance, I) in two dimensions."""
    return Target.from_log_density(two_bumps_log_density, 2, data=np.full(2, distance))


def eight_schools_log_evidence():
    """With each school's effect integrated out by hand; mu and log tau by the trapezoidal rule, to ten digits."""
    mu = np.linspace(-45, 45, 901)[:, None]
    log_tau = np.linspace(-25, 15, 1601)
    tau = np.exp(log_tau)
    terms = norm.logpdf(mu, 0, 5) + halfcauchy.logpdf(tau, 0, 5) + log_tau
    for effect, error in zip(EFFECTS, STANDARD_ERRORS, strict=True):
        terms = terms + norm.logpdf(effect, mu, np.hypot(tau, error))
    return logsumexp(terms) + np.log(0.1) + np.log(log_tau[1] - log_tau[0])


def elbo(fit, key, num_draws=8192):
    """Its estimate and standard error."""
    z, log_q = fit.approximation.sample_and_log_prob(key, num_draws)
    differences = np.asarray(fit.target.log_density(z)) - log_q
    return differences.mean(), differences.std() / np.sqrt(num_draws)


def log_gamma_elbo(fit, shape, rate):
    """In closed form, up to the same constant for all normals."""
    loc, covariance = moments(fit)
    return shape * loc[0] - rate * np.exp(loc[0] + covariance[0, 0] / 2) + 0.5 * np.log(covariance[0, 0])
