"""Regressions: one row after another is independent given a few, or a few hundred, coefficients."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from .case import Case, logistic


def cylinders(height, weight):
    """Weights of people taken for cylinders: two parameters of which the data know one product, a curved ridge."""
    ratio = numpyro.sample("ratio", dist.Beta(2, 18))
    density = numpyro.sample("density", dist.Exponential(0.5))
    sigma = numpyro.sample("sigma", dist.Exponential(1))
    with numpyro.plate("people", len(height)):
        mu = jnp.log(jnp.pi * density * ratio**2 * height**3)
        numpyro.sample("weight", dist.LogNormal(mu, sigma), obs=weight)


def cylinders_data(people=500):
    generator = np.random.default_rng(9)
    height = generator.uniform(0.4, 1.25, people)  # in mean heights
    return height, np.pi * 5.6 * 0.25**2 * height**3 * np.exp(0.2 * generator.standard_normal(people))


def logistic_regression(x, y):
    """An intercept and 300 coefficients of correlated predictors, under normal priors: many dimensions, and a mode."""
    intercept = numpyro.sample("intercept", dist.Normal(0, 2.5))
    beta = numpyro.sample("beta", dist.Normal(0, 1 / jnp.sqrt(x.shape[1])).expand([x.shape[1]]).to_event(1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Bernoulli(logits=intercept + x @ beta), obs=y)


def logistic_regression_data(rows=1_000, predictors=300, seed=10):
    generator = np.random.default_rng(seed)
    common = generator.standard_normal((rows, 1))
    x = 0.5 * common + np.sqrt(0.75) * generator.standard_normal((rows, predictors))
    beta = generator.standard_normal(predictors) / np.sqrt(predictors)
    return x, (generator.random(rows) < logistic(0.5 + x @ beta)).astype(float)


def horseshoe(x, y):
    """A sparse regression of 100 rows on 50 predictors: half-Cauchy scales of scales, and funnels in every pair."""
    tau = numpyro.sample("tau", dist.HalfCauchy(0.1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(2))
    with numpyro.plate("predictors", x.shape[1]):
        local = numpyro.sample("local", dist.HalfCauchy(1))
        raw = numpyro.sample("raw", dist.Normal(0, 1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(x @ (tau * local * raw), sigma), obs=y)


def horseshoe_data(rows=100, predictors=50):
    generator = np.random.default_rng(11)
    x = generator.standard_normal((rows, predictors))
    beta = np.zeros(predictors)
    beta[:4] = 2.0, -1.5, 1.0, 0.5
    return x, x @ beta + generator.standard_normal(rows)


def zero_inflated_poisson(x, y):
    """Counts with more noughts than a Poisson: whether and how many are two regressions that share the noughts."""
    gate = numpyro.sample("gate", dist.Normal(0, 2).expand([x.shape[1]]).to_event(1))
    rate = numpyro.sample("rate", dist.Normal(0, 2).expand([x.shape[1]]).to_event(1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.ZeroInflatedPoisson(logistic_of(x @ gate), jnp.exp(x @ rate)), obs=y)


def logistic_of(x):
    return 1 / (1 + jnp.exp(-x))


def zero_inflated_poisson_data(rows=250):
    generator = np.random.default_rng(12)
    x = np.column_stack([np.ones(rows), generator.standard_normal((rows, 2))])
    empty = generator.random(rows) < logistic(x @ np.array([-0.5, 0.8, 0.0]))
    return x, np.where(empty, 0, generator.poisson(np.exp(x @ np.array([0.3, 0.2, 0.4]))))


def ordinal_regression(x, y):
    """Answers in seven categories, of which some are rare: ordered cut points close to each other."""
    beta = numpyro.sample("beta", dist.Normal(0, 1).expand([x.shape[1]]).to_event(1))
    normal = dist.Normal(0, 1.5).expand([6]).to_event(1)
    cuts = numpyro.sample("cuts", dist.TransformedDistribution(normal, dist.transforms.OrderedTransform()))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.OrderedLogistic(x @ beta, cuts), obs=y)


def ordinal_regression_data(rows=300):
    generator = np.random.default_rng(13)
    x = generator.integers(0, 2, (rows, 3)).astype(float)
    latent = x @ np.array([-0.7, -0.9, 0.6]) + generator.logistic(size=rows)
    return x, np.searchsorted([-3.0, -1.8, -1.0, 0.4, 1.2, 3.0], latent)


CASES = [
    Case(cylinders, cylinders_data, 3),
    Case(logistic_regression, logistic_regression_data, 301),
    Case(horseshoe, horseshoe_data, 102),
    Case(zero_inflated_poisson, zero_inflated_poisson_data, 6),
    Case(ordinal_regression, ordinal_regression_data, 9),
]
