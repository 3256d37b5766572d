"""Shapes: posteriors that no normal has, by corners, by components, or by a matrix of covariances."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from .case import Case


def laplace_product(num):
    """Twenty independent Laplace distributions, without data: a corner at the mode, where no curvature exists."""
    numpyro.sample("x", dist.Laplace(jnp.zeros(num), 1).to_event(1))


def laplace_product_data():
    return (20,)


def gaussian_process(x, y):
    """Three hyperparameters of a Gaussian process on 25 points: long tails, and every value costs a factorisation."""
    variance, length, noise = (
        numpyro.sample(name, dist.LogNormal(0.0, 2.0)) for name in ("variance", "length", "noise")
    )
    kernel = variance * jnp.exp(-0.5 * ((x[:, None] - x) / length) ** 2)
    covariance = kernel + (noise + 1e-6) * jnp.eye(len(x))
    numpyro.sample("y", dist.MultivariateNormal(jnp.zeros(len(x)), covariance), obs=y)


def gaussian_process_data(points=25):
    generator = np.random.default_rng(18)
    x = np.linspace(-1, 1, points)
    y = x + 0.2 * x**3 + 0.5 * (0.5 + x) ** 2 * np.sin(4 * x) + 0.2 * generator.standard_normal(points)
    return x, (y - y.mean()) / y.std()


def mixture(y):
    """Two normals that overlap, with ordered means: one component may be nearly empty."""
    weight = numpyro.sample("weight", dist.Beta(2, 2))
    normal = dist.Normal(0, 2).expand([2]).to_event(1)
    means = numpyro.sample("means", dist.TransformedDistribution(normal, dist.transforms.OrderedTransform()))
    sds = numpyro.sample("sds", dist.HalfNormal(2).expand([2]).to_event(1))
    with numpyro.plate("rows", len(y)):
        components = dist.Normal(means, sds)
        mixing = dist.Categorical(jnp.stack([weight, 1 - weight]))
        numpyro.sample("y", dist.MixtureSameFamily(mixing, components), obs=y)


def mixture_data(rows=150):
    generator = np.random.default_rng(19)
    second = generator.random(rows) < 0.6
    return (np.where(second, 1.5, -1.0) + np.where(second, 0.8, 1.0) * generator.standard_normal(rows),)


def areas(neighbours, expected, cases):
    """Counts in 49 areas with a conditional autoregression: the field's precision and its dependence compete."""
    intercept = numpyro.sample("intercept", dist.Normal(0, 1))
    dependence = numpyro.sample("dependence", dist.Uniform(0, 1))
    precision = numpyro.sample("precision", dist.Gamma(2, 0.5))
    field = numpyro.sample("field", dist.CAR(jnp.zeros(len(cases)), dependence, precision, neighbours))
    with numpyro.plate("of_areas", len(cases)):
        numpyro.sample("cases", dist.Poisson(expected * jnp.exp(intercept + field)), obs=cases)


def areas_data(side=7):
    generator = np.random.default_rng(20)
    line = np.eye(side, k=1) + np.eye(side, k=-1)
    neighbours = np.kron(line, np.eye(side)) + np.kron(np.eye(side), line)
    precision = 3.0 * (np.diag(neighbours.sum(axis=0)) - 0.9 * neighbours)
    field = np.linalg.solve(np.linalg.cholesky(precision).T, generator.standard_normal(side**2))
    expected = generator.uniform(2, 12, side**2)
    return neighbours, expected, generator.poisson(expected * np.exp(0.2 + field))


CASES = [
    Case(laplace_product, laplace_product_data, 20),
    Case(gaussian_process, gaussian_process_data, 3),
    Case(mixture, mixture_data, 5),
    Case(areas, areas_data, 52),
]
