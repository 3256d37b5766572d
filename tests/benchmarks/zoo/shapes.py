"""Shapes: posteriors that no normal has, by corners, by components, or by a matrix of covariances."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from .case import Case, of_catalogue


def laplace_product(num):
    """Twenty independent Laplace distributions, without data: a corner at the mode, where no curvature exists."""
    numpyro.sample("x", dist.Laplace(jnp.zeros(num), 1).to_event(1))


def laplace_product_data():
    return (20,)


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
    of_catalogue("gaussian_process"),
    of_catalogue("mixture"),
    Case(areas, areas_data, 52),
]
