"""Shapes: posteriors that no normal has, by long tails or by a component that may be nearly empty.

Both data sets are simulated, each from its own seed.

Reference: Rasmussen & Williams (2006), "Gaussian Processes for Machine Learning", chapter 5; Betancourt (2017),
"Identifying Bayesian mixture models".
"""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from vi_kl.models.textbook.classic import Classic


def gaussian_process_model(x, y):
    """Define a Gaussian process on a line by its variance, its length scale and the noise."""
    variance, length, noise = (
        numpyro.sample(name, dist.LogNormal(0.0, 2.0)) for name in ("variance", "length", "noise")
    )
    kernel = variance * jnp.exp(-0.5 * ((x[:, None] - x) / length) ** 2)
    covariance = kernel + (noise + 1e-6) * jnp.eye(len(x))
    numpyro.sample("y", dist.MultivariateNormal(jnp.zeros(len(x)), covariance), obs=y)


def gaussian_process_data(points=25) -> tuple:
    """Return simulated points on a line (seed 18), and their standardised values."""
    generator = np.random.default_rng(18)
    x = np.linspace(-1, 1, points)
    y = x + 0.2 * x**3 + 0.5 * (0.5 + x) ** 2 * np.sin(4 * x) + 0.2 * generator.standard_normal(points)
    return x, (y - y.mean()) / y.std()


def mixture_model(y):
    """Define a mixture of two normals with ordered means."""
    weight = numpyro.sample("weight", dist.Beta(2, 2))
    normal = dist.Normal(0, 2).expand([2]).to_event(1)
    means = numpyro.sample("means", dist.TransformedDistribution(normal, dist.transforms.OrderedTransform()))
    sds = numpyro.sample("sds", dist.HalfNormal(2).expand([2]).to_event(1))
    with numpyro.plate("rows", len(y)):
        components = dist.Normal(means, sds)
        mixing = dist.Categorical(jnp.stack([weight, 1 - weight]))
        numpyro.sample("y", dist.MixtureSameFamily(mixing, components), obs=y)


def mixture_data(rows=150) -> tuple:
    """Return simulated draws (seed 19) from two normals that overlap."""
    generator = np.random.default_rng(19)
    second = generator.random(rows) < 0.6
    return (np.where(second, 1.5, -1.0) + np.where(second, 0.8, 1.0) * generator.standard_normal(rows),)


CLASSICS = {
    "gaussian_process": Classic(gaussian_process_model, gaussian_process_data),
    "mixture": Classic(mixture_model, mixture_data),
}
