"""Coordinate ascent: the textbook's fixed points, exact answers where there are any, and refusals by site."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from oracles import elbo, two_bumps
from scipy.special import betaln, gammaln

from vi_kl.algorithms import CoordinateAscent, FitError, fit
from vi_kl.models.textbook import logistic_regression
from vi_kl.targets import Target

GENERATOR = np.random.default_rng(2)
Y = GENERATOR.normal(1.5, 0.8, size=12)
X = np.stack([np.ones(15), GENERATOR.normal(size=15)], axis=1)
RESPONSE = X @ [1.0, -2.0] + 0.5 * GENERATOR.normal(size=15)
COUNTS = np.array([3.0, 0.0, 7.0, 2.0])


def unknown_normal(y):
    precision = numpyro.sample("precision", dist.Gamma(2.0, 3.0))
    mean = numpyro.sample("mean", dist.Normal(0.5, 1 / jnp.sqrt(0.7 * precision)))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mean, 1 / jnp.sqrt(precision)), obs=y)


def regression(x, y):
    alpha = numpyro.sample("alpha", dist.Gamma(1.5, 2.0))
    noise = numpyro.sample("noise", dist.InverseGamma(2.0, 1.0))
    weights = numpyro.sample("weights", dist.Normal(0, 1 / jnp.sqrt(alpha)).expand([2]).to_event(1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(x @ weights, jnp.sqrt(noise)), obs=y)


def counts(y):
    scale = numpyro.sample("scale", dist.Gamma(2.0, 1.0))
    with numpyro.plate("rows", len(y)):
        rate = numpyro.sample("rate", dist.Gamma(3.0, scale))
        numpyro.sample("y", dist.Poisson(rate), obs=y)


def coins(y):
    with numpyro.plate("coins", len(y)):
        p = numpyro.sample("p", dist.Beta(2.0, 3.0))
        numpyro.sample("y", dist.Binomial(10, p), obs=y)


def logistic_mean(y):
    a = numpyro.sample("a", dist.Normal(0, 1))
    level = numpyro.sample("level", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(level + jnp.tanh(a), 1.0), obs=y)


def factors(found):
    """{site: NumPyro distribution} of a fit."""
    return found.approximation.distribution.site_distributions()


@pytest.mark.landing
def test_a_normal_of_unknown_mean_and_precision(key):
    """Bishop, equations 10.26 to 10.30, iterated here."""
    found = fit(Target.from_numpyro(unknown_normal, Y), "coordinate_ascent", key=key)
    n, k0, m0, a0, b0 = len(Y), 0.7, 0.5, 2.0, 3.0
    mean, a, ratio = (k0 * m0 + Y.sum()) / (k0 + n), a0 + (n + 1) / 2, 1.0
    for _ in range(200):
        variance = 1 / ((k0 + n) * ratio)
        b = b0 + 0.5 * (((Y - mean) ** 2).sum() + n * variance + k0 * ((mean - m0) ** 2 + variance))
        ratio = a / b
    q = factors(found)
    np.testing.assert_allclose([q["precision"].concentration, q["precision"].rate], [a, b], rtol=1e-5)
    np.testing.assert_allclose([q["mean"].loc, q["mean"].scale], [mean, np.sqrt(variance)], rtol=1e-5)
    value, error = elbo(found, key)
    assert -found.history.loss[-1] == pytest.approx(value, abs=4 * error)
    assert found.status.converged


@pytest.mark.exhaustive
def test_linear_regression_with_unknown_noise_and_prior_precision(key):
    """Bishop, equations 10.94 to 10.100, with an inverse gamma noise variance."""
    found = CoordinateAscent().fit(key, Target.from_numpyro(regression, X, RESPONSE))
    alpha, beta = 1.0, 1.0
    for _ in range(500):
        covariance = np.linalg.inv(alpha * np.eye(2) + beta * X.T @ X)
        mean = beta * covariance @ X.T @ RESPONSE
        b_alpha = 2.0 + 0.5 * (mean @ mean + np.trace(covariance))
        b_noise = 1.0 + 0.5 * (((RESPONSE - X @ mean) ** 2).sum() + np.trace(X @ covariance @ X.T))
        alpha, beta = 2.5 / b_alpha, (2.0 + 7.5) / b_noise
    q = factors(found)
    np.testing.assert_allclose(q["weights"].loc, mean, rtol=1e-4)
    np.testing.assert_allclose(q["weights"].covariance_matrix, covariance, rtol=1e-4)
    np.testing.assert_allclose([q["alpha"].concentration, q["alpha"].rate], [2.5, b_alpha], rtol=1e-4)
    np.testing.assert_allclose([q["noise"].concentration, q["noise"].rate], [9.5, b_noise], rtol=1e-4)
    assert (np.diff(found.history.loss) < 1e-9).all()


def test_a_conjugate_prior_is_exact_in_one_sweep(key):
    """Beta-binomial coins: the posterior, and the ELBO is the log evidence."""
    heads = np.array([2.0, 9.0, 5.0])
    found = CoordinateAscent().fit(key, Target.from_numpyro(coins, heads))
    q = factors(found)["p"]
    np.testing.assert_allclose(q.concentration1, 2 + heads, rtol=1e-5)
    np.testing.assert_allclose(q.concentration0, 13 - heads, rtol=1e-5)
    choose = gammaln(11) - gammaln(heads + 1) - gammaln(11 - heads)
    evidence = (choose + betaln(2 + heads, 13 - heads) - betaln(2, 3)).sum()
    assert -found.history.loss[0] == pytest.approx(evidence, abs=1e-7)
    assert len(found.history.loss) == 2


@pytest.mark.exhaustive
def test_a_hierarchy_of_counts(key):
    """rate_i ~ Gamma(3 + y_i, 1 + E[scale]) and scale ~ Gamma(2 + 3n, 1 + sum of E[rate])."""
    found = CoordinateAscent().fit(key, Target.from_numpyro(counts, COUNTS))
    scale = 1.0
    for _ in range(200):
        scale = (2 + 12) / (1 + ((3 + COUNTS) / (1 + scale)).sum())
    q = factors(found)
    np.testing.assert_allclose(q["rate"].concentration, 3 + COUNTS, rtol=1e-4)
    np.testing.assert_allclose(q["rate"].rate, 1 + scale, rtol=1e-4)
    np.testing.assert_allclose(q["scale"].concentration / q["scale"].rate, scale, rtol=1e-4)
    assert found.approximation.sample(key, 7)["rate"].shape == (7, 4)


@pytest.mark.landing
def test_refusals_name_the_site(key):
    with pytest.raises(FitError, match="'intercept' given the other sites is not normal"):
        CoordinateAscent().fit(key, logistic_regression(50, 1))
    with pytest.raises(FitError, match="'a' given the other sites is not normal"):
        CoordinateAscent().fit(key, Target.from_numpyro(logistic_mean, np.array(0.7)))
    with pytest.raises(FitError, match="NumPyro model"):
        CoordinateAscent().fit(key, two_bumps())


def test_stopping_early_is_not_called_convergence(key):
    found = CoordinateAscent(max_steps=1).fit(key, Target.from_numpyro(counts, COUNTS))
    assert not found.status.converged
    assert "max_steps" in str(found.status)
    assert found.cost.density_evaluations > 0
