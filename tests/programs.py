"""NumPyro models that several tests use."""

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist


def linear_regression(x, y):
    slope = numpyro.sample("slope", dist.Normal(0, 10))
    intercept = numpyro.sample("intercept", dist.Normal(0, 10))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(intercept + slope * x, 0.5), obs=y)


def exponential_rate(y):
    """Gamma(3, 2) prior on a rate, exponential data: the posterior is Gamma(3 + n, 2 + sum)."""
    rate = numpyro.sample("rate", dist.Gamma(3.0, 2.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Exponential(rate), obs=y)


def every_support(y):
    """One latent site for each kind of support, the upper bound of one depending on another."""
    positive = numpyro.sample("positive", dist.LogNormal(0, 1))
    numpyro.sample("unit", dist.Beta(2, 3))
    numpyro.sample("real", dist.Normal(0, 1).expand([2]).to_event(1))
    numpyro.sample("simplex", dist.Dirichlet(jnp.array([1.0, 2.0, 3.0])))
    numpyro.sample("ordered", dist.TransformedDistribution(
        dist.Normal(0, 1).expand([3]).to_event(1), dist.transforms.OrderedTransform()
    ))  # fmt: skip
    numpyro.sample("below", dist.Uniform(0, positive))
    numpyro.sample("correlation", dist.LKJCholesky(3, 1.5))
    numpyro.sample("y", dist.Normal(positive, 1), obs=y)


def two_sites(y):
    rate = numpyro.sample("rate", dist.Gamma(3.0, 2.0))
    share = numpyro.sample("share", dist.Beta(2.0, 2.0))
    numpyro.sample("y", dist.Exponential(rate * share), obs=y)


def two_site_guide(y):
    a = numpyro.param("a", 3.0, constraint=dist.constraints.positive)
    rate = numpyro.sample("rate", dist.Gamma(a, 2.0))
    numpyro.sample("share", dist.Beta(1.0 + rate, 2.0))  # depends on the other site
