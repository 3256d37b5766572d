"""Series: each value depends on those before it, and the log density is a loop."""

import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan

from .case import Case, of_catalogue


def autoregression(y):
    """A second-order autoregression by scan: cheap statistically, a loop of 200 steps for the machine."""
    constant = numpyro.sample("constant", dist.Normal(0, 2))
    first = numpyro.sample("first", dist.Normal(0, 1))
    second = numpyro.sample("second", dist.Normal(0, 1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(2))

    def step(before, now):
        mean = constant + first * before[0] + second * before[1]
        numpyro.sample("y", dist.Normal(mean, sigma), obs=now)
        return (now, before[0]), None

    scan(step, (y[1], y[0]), y[2:])


def autoregression_data(steps=202):
    generator = np.random.default_rng(16)
    y = [0.0, 0.0]
    for _ in range(steps - 2):
        y.append(0.3 + 1.1 * y[-1] - 0.4 * y[-2] + 0.8 * generator.standard_normal())
    return (np.array(y),)


CASES = [
    of_catalogue("hidden_markov"),
    of_catalogue("lotka_volterra"),
    Case(autoregression, autoregression_data, 4),
    of_catalogue("stochastic_volatility"),
]
