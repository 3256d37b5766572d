"""Models whose posteriors are known, and procedures that are right, or wrong in a way that is known."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from vi_kl.algorithms import Algorithm, Fit, FitError, Solution, Status
from vi_kl.families import Approximation, FullRank

PRIOR_SD = 2.0


def normal_mean(n, y=None):
    """The posterior of mu is normal with precision 1/4 + n and mean sum(y) over that."""
    mu = numpyro.sample("mu", dist.Normal(0, PRIOR_SD))
    with numpyro.plate("rows", n):
        numpyro.sample("y", dist.Normal(mu, 1), obs=y)


def exponential(n, y=None):
    """The posterior of the rate is Gamma(1 + n, 1 + sum)."""
    rate = numpyro.sample("rate", dist.Gamma(1.0, 1.0))
    with numpyro.plate("rows", n):
        numpyro.sample("y", dist.Exponential(rate), obs=y)


def regression(x, y=None):
    """The posterior of b is normal, its covariance the same for all y."""
    b = numpyro.sample("b", dist.Normal(0, 1).expand([2]).to_event(1))
    with numpyro.plate("rows", len(x)):
        numpyro.sample("y", dist.Normal(b[0] + b[1] * x, 0.5), obs=y)


@dataclasses.dataclass(frozen=True)
class Normal(Algorithm):
    """The exact posterior of `normal_mean`, or one that is wrong: its sd scaled, its mean shifted by posterior sds.

    Attributes:
        prior: the prior instead, whatever the data.
        fails_above: data sets of a higher mean fail.
    """

    scale: float = 1.0
    shift: float = 0.0
    prior: bool = False
    fails_above: float = np.inf

    name = "normal"

    def find(self, key, target, *, start, progress, counter):
        y = np.asarray(target.data[0])
        if y.mean() > self.fails_above:
            raise FitError(f"The mean {y.mean():.1f} is too high.")
        precision = 1 / PRIOR_SD**2 + len(y)
        mean, sd = (0.0, PRIOR_SD) if self.prior else (y.sum() / precision, precision**-0.5)
        loc, log_scale = np.array([mean + self.shift * sd]), np.log([self.scale * sd])
        params = {"loc": loc, "log_scale": log_scale, "below": np.empty(0)}
        return Solution(Approximation(FullRank(), params, target), Status(True, "Exact."))


@dataclasses.dataclass(frozen=True)
class Distorted(Algorithm):
    """Another algorithm's full-rank normals, with their sds scaled and their means shifted by as many sds."""

    inner: Algorithm
    scale: float = 1.0
    shift: float = 0.0

    name = "distorted"

    def find(self, key, target, *, start, progress, counter):
        fit = self.distort(self.inner.fit(key, target))
        counter.add(fit.cost)
        return Solution(fit.approximation, fit.status, fit.history)

    def find_many(self, keys, targets, progress):
        return [self.distort(fit) for fit in self.inner.find_many(keys, targets, progress)]

    def distort(self, fit: Fit) -> Fit:
        params = fit.approximation.params
        loc = params["loc"] + self.shift * np.exp(params["log_scale"])
        params = params | {"loc": loc, "log_scale": params["log_scale"] + np.log(self.scale)}
        q = Approximation(fit.approximation.family, params, fit.target)
        return dataclasses.replace(fit, approximation=q, algorithm=self)


def amortised(n, y=None):
    """A guide that looks at the data by the model's own name for them."""
    weight = numpyro.param("weight", jnp.array(0.5))
    scale = numpyro.param("scale", jnp.array(1.0), constraint=dist.constraints.positive)
    numpyro.sample("mu", dist.Normal(weight * jnp.mean(y), scale))
