"""A normal mean and linear regression, with the noise known or with a normal-inverse-gamma prior.

Reference: Gelman et al. (2013), "Bayesian Data Analysis", 3rd ed., sections 2.5, 3.3 and 14.8.
"""

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import numpyro
import numpyro.distributions as dist
from scipy.special import gammaln

from vi_kl.models.conjugate.checks import numbers, positive, same_length, vector_of
from vi_kl.models.conjugate.least_squares import least_squares, log_evidence
from vi_kl.reference import Moments, closed_form_reference
from vi_kl.targets import Target

# Invented data: twelve children's lung volume in litres, with height in cm and weight in kg, which are nearly
# collinear.
HEIGHT = np.array([112.0, 118.0, 121.0, 126.0, 131.0, 133.0, 138.0, 142.0, 147.0, 151.0, 158.0, 163.0])
WEIGHT = np.array([19.5, 21.0, 23.5, 25.0, 27.0, 30.0, 31.5, 35.0, 38.5, 39.0, 46.5, 50.0])
VOLUME = np.array([1.12, 1.31, 1.28, 1.55, 1.71, 1.66, 1.98, 2.02, 2.31, 2.33, 2.74, 2.80])
CHILDREN = np.stack([np.ones_like(HEIGHT), HEIGHT, WEIGHT], axis=1)


def normal_normal_model(y, noise_sd, prior_mean, prior_sd):
    mu = numpyro.sample("mu", dist.Normal(prior_mean, prior_sd))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mu, noise_sd), obs=y)


def known_noise_model(x, y, noise_sd, prior_mean, prior_sd):
    beta = numpyro.sample("beta", dist.Normal(prior_mean, prior_sd).to_event(1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(x @ beta, noise_sd), obs=y)


def unknown_noise_model(x, y, prior_mean, prior_scale, a, b):
    sigma2 = numpyro.sample("sigma2", dist.InverseGamma(a, b))
    beta = numpyro.sample("beta", dist.Normal(prior_mean, prior_scale * jnp.sqrt(sigma2)).to_event(1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(x @ beta, jnp.sqrt(sigma2)), obs=y)


def normal_normal(
    y: npt.ArrayLike = (4.1, 5.6, 3.8, 6.0),
    noise_sd: npt.ArrayLike = (1.0, 2.0, 0.5, 1.5),
    prior_mean: float = 3.0,
    prior_sd: float = 2.5,
) -> Target:
    """Make a target: measurements of one quantity mu with known errors, a priori Normal(prior_mean, prior_sd).

    Args:
        y: the measurements.
        noise_sd: the sd of each of them; a single number stands for all.
        prior_mean: the mean and sd of the prior, single numbers.
        prior_sd: likewise.
    """
    y = numbers("y", y, 1)
    noise_sd = vector_of("noise_sd", noise_sd, len(y), positive)
    prior_mean, prior_sd = numbers("prior_mean", prior_mean, 0), positive("prior_sd", prior_sd, 0)

    def reference(target):
        design = np.append(1 / noise_sd, 1 / prior_sd)[:, None]
        mean, tril, residual = least_squares(design, np.append(y / noise_sd, prior_mean / prior_sd))
        evidence = log_evidence(tril, residual, np.log(noise_sd).sum() + np.log(prior_sd), len(y))
        return closed_form_reference(target, {"mu": dist.Normal(mean[0], tril[0, 0])}, evidence)

    return Target.from_numpyro(normal_normal_model, y, noise_sd, prior_mean, prior_sd, reference=reference)


def linear_regression_known_noise(
    x: npt.ArrayLike = CHILDREN,
    y: npt.ArrayLike = VOLUME,
    noise_sd: npt.ArrayLike = 0.08,
    prior_mean: npt.ArrayLike = 0.0,
    prior_sd: npt.ArrayLike = (5.0, 0.1, 0.2),
) -> Target:
    """Make a target: y = x beta + noise of known sd, the coefficients a priori independent normals.

    Args:
        x: the predictors, of shape (rows, coefficients), with a column of ones for an intercept.
        y: the responses, of shape (rows,).
        noise_sd: the sd of the noise, one for each row, or a single number.
        prior_mean: the mean and sd of the prior, one for each coefficient, or a single number.
        prior_sd: likewise.
    """
    x, y, prior_mean = regression_data(x, y, prior_mean)
    noise_sd = vector_of("noise_sd", noise_sd, len(y), positive)
    prior_sd = vector_of("prior_sd", prior_sd, x.shape[1], positive)

    def reference(target):
        design, response = with_prior_rows(x / noise_sd[:, None], y / noise_sd, prior_mean, prior_sd)
        mean, tril, residual = least_squares(design, response)
        evidence = log_evidence(tril, residual, np.log(noise_sd).sum() + np.log(prior_sd).sum(), len(y))
        return closed_form_reference(target, {"beta": dist.MultivariateNormal(mean, scale_tril=tril)}, evidence)

    return Target.from_numpyro(known_noise_model, x, y, noise_sd, prior_mean, prior_sd, reference=reference)


def linear_regression(
    x: npt.ArrayLike = CHILDREN,
    y: npt.ArrayLike = VOLUME,
    prior_mean: npt.ArrayLike = 0.0,
    prior_scale: npt.ArrayLike = (50.0, 1.0, 2.0),
    a: float = 2.0,
    b: float = 0.02,
) -> Target:
    """Make a target: y = x beta + noise of unknown variance sigma2, with a normal-inverse-gamma prior.

    A priori sigma2 is InverseGamma(a, b), and given it the coefficients are Normal(prior_mean, prior_scale sigma).

    Args:
        x: the predictors, of shape (rows, coefficients), with a column of ones for an intercept.
        y: the responses, of shape (rows,).
        prior_mean: the mean and relative scale of the prior, one for each coefficient, or a single number.
        prior_scale: likewise.
        a: the parameters of the prior of sigma2, single numbers.
        b: likewise.

    Raises:
        ValueError: an argument is impossible (the message gives its name and place), or a + rows / 2 <= 2, so that
            sigma2 has no posterior sd.
    """
    x, y, prior_mean = regression_data(x, y, prior_mean)
    prior_scale = vector_of("prior_scale", prior_scale, x.shape[1], positive)
    a, b = positive("a", a, 0), positive("b", b, 0)
    if a + len(y) / 2 <= 2:
        raise ValueError(
            f"a + rows / 2 is {a + len(y) / 2:.4g}, and must exceed 2 for sigma2 to have a posterior sd: "
            f"raise a ({a:.4g}) or give more rows ({len(y)})."
        )

    def reference(target):
        mean, tril, residual = least_squares(*with_prior_rows(x, y, prior_mean, prior_scale))
        after_a, after_b = a + len(y) / 2, b + residual / 2
        evidence = log_evidence(tril, 0.0, np.log(prior_scale).sum(), len(y))
        evidence += a * np.log(b) - after_a * np.log(after_b) + gammaln(after_a) - gammaln(a)
        moments = normal_inverse_gamma_moments(mean, tril, after_a, after_b)
        data = (mean, tril, after_a, after_b)
        return closed_form_reference(target, normal_inverse_gamma, evidence, moments, data)

    return Target.from_numpyro(unknown_noise_model, x, y, prior_mean, prior_scale, a, b, reference=reference)


def normal_inverse_gamma(mean, scale_tril, a, b):
    """Draw from the posterior of `linear_regression`: the variance, and the coefficients given it."""
    sigma2 = numpyro.sample("sigma2", dist.InverseGamma(a, b))
    numpyro.sample("beta", dist.MultivariateNormal(mean, scale_tril=jnp.sqrt(sigma2) * scale_tril))


def normal_inverse_gamma_moments(mean, scale_tril, a, b) -> dict[str, Moments]:
    """Return the moments of the margins.

    The entries of beta follow Student's t with 2a degrees of freedom, sigma2 InverseGamma(a, b).
    """
    expected = b / (a - 1)
    sd = np.sqrt(expected * np.sum(scale_tril**2, axis=1))
    return {"beta": Moments(mean, sd), "sigma2": Moments(expected, expected / np.sqrt(a - 2))}


def regression_data(x, y, prior_mean) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y = numbers("x", x, 2), numbers("y", y, 1)
    same_length("x", x, "y", y)
    return x, y, vector_of("prior_mean", prior_mean, x.shape[1])


def with_prior_rows(x, y, prior_mean, prior_scale) -> tuple[np.ndarray, np.ndarray]:
    """Return the data with the priors as further rows: a prior of a coefficient is an observation of it."""
    return np.concatenate([x, np.diag(1 / prior_scale)]), np.concatenate([y, prior_mean / prior_scale])
