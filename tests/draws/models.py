"""Models of every kind that is run forward, with their arguments."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan

RNG = np.random.default_rng(7)
GROUPS = np.array([0, 0, 0, 1, 1, 2])  # ragged: three, two and one rows


def ragged(group, y=None):
    """A scalar per group, rows in groups of unequal size, and a deterministic site of each kind."""
    mu = numpyro.sample("mu", dist.Normal(0, 2))
    with numpyro.plate("groups", 3):
        theta = numpyro.sample("theta", dist.Normal(mu, 1))
        numpyro.deterministic("twice", 2 * theta)
    numpyro.deterministic("spread", theta.max() - theta.min())
    with numpyro.plate("rows", len(group)):
        numpyro.sample("y", dist.Normal(theta[group], 0.5), obs=y)


def nested(y=None):
    """Plates within plates, whose observations are vectors."""
    with numpyro.plate("columns", 3, dim=-1):
        a = numpyro.sample("a", dist.Normal(0, 1))
        with numpyro.plate("rows", 4, dim=-2):
            loc = jnp.stack([a + jnp.zeros((4, 3)), 2 * a + jnp.zeros((4, 3))], axis=-1)
            numpyro.sample("y", dist.Normal(loc, 1).to_event(1), obs=y)


def counts(x, y=None, z=None):
    """Two observed sites, of counts and of categories."""
    slope = numpyro.sample("slope", dist.Normal(0, 0.5))
    with numpyro.plate("rows", len(x)):
        numpyro.sample("y", dist.Poisson(jnp.exp(slope * x)), obs=y)
        numpyro.sample("z", dist.Categorical(logits=jnp.stack([0 * x, slope * x, 1 + slope * x], axis=-1)), obs=z)


def subsampled(x, y=None):
    """A plate that subsamples."""
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    with numpyro.plate("rows", 8, subsample_size=3):
        x = numpyro.subsample(x, event_dim=0)
        y = y if y is None else numpyro.subsample(y, event_dim=0)
        numpyro.sample("y", dist.Normal(slope * x, 0.3), obs=y)


def chain(y=None, length=5):
    """A scan with observations inside."""
    drift = numpyro.sample("drift", dist.Normal(0, 1))

    def step(level, y):
        level = numpyro.sample("level", dist.Normal(level + drift, 0.5))
        numpyro.sample("y", dist.Normal(level, 0.2), obs=y)
        return level, None

    scan(step, 0.0, y, length=length)


def factored(y=None):
    """A factor beside an observed site."""
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    numpyro.factor("penalty", -(mu**2))
    with numpyro.plate("rows", 3):
        numpyro.sample("y", dist.Normal(mu, 1), obs=y)


X = np.linspace(-1, 1, 8)
KINDS = {
    "ragged": (ragged, (GROUPS, RNG.normal(size=6)), (GROUPS,)),
    "nested": (nested, (RNG.normal(size=(4, 3, 2)),), ()),
    "counts": (counts, (X, RNG.poisson(1, 8), RNG.integers(0, 3, 8)), (X,)),
    "chain": (chain, (np.arange(5.0),), ()),
    "subsampled": (subsampled, (X, X + 0.3 * RNG.normal(size=8)), (X,)),
    "factored": (factored, (np.array([0.5, 1.0, 2.0]),), ()),
}
