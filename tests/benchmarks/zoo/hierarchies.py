"""Hierarchies: groups whose parameters have a distribution that is learned too."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from .case import Case, of_catalogue


def baseball(at_bats, hits):
    """Chances of 18 players, partially pooled by a beta with a Pareto concentration: a heavy tail in few data."""
    mean = numpyro.sample("mean", dist.Uniform(0, 1))
    concentration = numpyro.sample("concentration", dist.Pareto(1.0, 1.5))
    with numpyro.plate("players", len(hits)):
        chance = numpyro.sample("chance", dist.Beta(mean * concentration, (1 - mean) * concentration))
        numpyro.sample("hits", dist.Binomial(at_bats, probs=chance), obs=hits)


def baseball_data():
    """Return at bats and hits of 18 players in 1970, up to 26 April (Efron & Morris, 1975, table 1)."""
    hits = np.array([18, 17, 16, 15, 14, 14, 13, 12, 11, 11, 10, 10, 10, 10, 10, 9, 8, 7])
    return np.full(len(hits), 45), hits


def weibull_survival(group, x, time, observed, num_groups):
    """Survival times of 200 groups, four in ten censored: non-centred frailties, two times each."""
    intercept = numpyro.sample("intercept", dist.Normal(0, 2))
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    shape = numpyro.sample("shape", dist.LogNormal(0, 0.5))
    tau = numpyro.sample("tau", dist.HalfNormal(1))
    with numpyro.plate("groups", num_groups):
        eps = numpyro.sample("eps", dist.Normal(0, 1))
    scale = jnp.exp(intercept + slope * x + tau * eps[group])
    with numpyro.plate("rows", len(time)):
        with numpyro.handlers.mask(mask=observed):
            numpyro.sample("time", dist.Weibull(scale, shape), obs=time)
        numpyro.factor("survival", jnp.where(observed, 0.0, -((time / scale) ** shape)))


def weibull_survival_data(num_groups=200, repeats=2):
    generator = np.random.default_rng(6)
    group = np.repeat(np.arange(num_groups), repeats)
    x = generator.standard_normal(len(group))
    scale = np.exp(0.5 + 0.4 * x + 0.6 * generator.standard_normal(num_groups)[group])
    time = scale * generator.weibull(1.3, len(group))
    end = generator.uniform(0.5, 4.0, len(group))
    return group, x, np.minimum(time, end), time <= end, num_groups


def negative_binomial(group, x, y, num_groups):
    """Overdispersed counts of 30 groups with centred intercepts: dispersion and spread compete."""
    mu = numpyro.sample("mu", dist.Normal(0, 2))
    tau = numpyro.sample("tau", dist.HalfNormal(1))
    slopes = numpyro.sample("slopes", dist.Normal(0, 1).expand([x.shape[1]]).to_event(1))
    concentration = numpyro.sample("concentration", dist.Exponential(0.5))
    with numpyro.plate("groups", num_groups):
        intercept = numpyro.sample("intercept", dist.Normal(mu, tau))
    with numpyro.plate("rows", len(y)):
        rate = jnp.exp(intercept[group] + x @ slopes)
        numpyro.sample("y", dist.NegativeBinomial2(rate, concentration), obs=y)


def negative_binomial_data(num_groups=30, repeats=8):
    generator = np.random.default_rng(7)
    group = np.repeat(np.arange(num_groups), repeats)
    x = generator.standard_normal((len(group), 2))
    rate = np.exp(1 + 0.5 * generator.standard_normal(num_groups)[group] + x @ np.array([0.4, -0.3]))
    return group, x, generator.poisson(rate * generator.gamma(1.5, 1 / 1.5, len(group))), num_groups


CASES = [
    of_catalogue("varying_slopes"),
    Case(baseball, baseball_data, 20),
    of_catalogue("eight_schools_centred"),
    of_catalogue("eight_schools_noncentred", "eight_schools_non_centred"),
    Case(weibull_survival, weibull_survival_data, 204),
    Case(negative_binomial, negative_binomial_data, 35),
    of_catalogue("item_response"),
]
