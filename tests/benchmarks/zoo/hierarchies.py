"""Hierarchies: groups whose parameters have a distribution that is learned too."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from .case import Case, logistic


def varying_slopes(cafe, afternoon, wait, num_cafes):
    """Intercepts and slopes of 20 groups with a learned correlation: an LKJ prior, and centred groups."""
    loc = numpyro.sample("loc", dist.Normal(jnp.array([5.0, -1.0]), jnp.array([2.0, 0.5])).to_event(1))
    spread = numpyro.sample("spread", dist.Exponential(1.0).expand([2]).to_event(1))
    sigma = numpyro.sample("sigma", dist.Exponential(1.0))
    correlation = numpyro.sample("correlation", dist.LKJCholesky(2, 2.0))
    with numpyro.plate("cafes", num_cafes):
        effects = numpyro.sample("effects", dist.MultivariateNormal(loc, scale_tril=spread[:, None] * correlation))
    mean = effects[cafe, 0] + effects[cafe, 1] * afternoon
    with numpyro.plate("rows", len(wait)):
        numpyro.sample("wait", dist.Normal(mean, sigma), obs=wait)


def varying_slopes_data(num_cafes=20, visits=10):
    generator = np.random.default_rng(5)
    covariance = np.array([[1.0, -0.35], [-0.35, 0.25]])
    effects = generator.multivariate_normal([3.5, -1.0], covariance, num_cafes)
    cafe = np.repeat(np.arange(num_cafes), visits)
    afternoon = np.tile([0.0, 1.0], num_cafes * visits // 2)
    wait = effects[cafe, 0] + effects[cafe, 1] * afternoon + 0.5 * generator.standard_normal(len(cafe))
    return cafe, afternoon, wait, num_cafes


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


def eight_schools_centred(sigma, y):
    """A funnel: the groups' spread may be nought, and the density has no mode."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("schools", len(y)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def eight_schools_non_centred(sigma, y):
    """The same posterior written for samplers: near normal, but for the long left tail of log tau."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("schools", len(y)):
        eps = numpyro.sample("eps", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(mu + tau * eps, sigma), obs=y)


def eight_schools_data():
    """Return the standard errors and effects of coaching in eight schools (Rubin, 1981, table 1)."""
    sigma = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    return sigma, np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])


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


def item_response(y):
    """Answers of 100 people to 20 items, with two parameters an item: products of latent numbers."""
    people, items = y.shape
    mu = numpyro.sample("mu", dist.Normal(0, 2))
    spread = numpyro.sample("spread", dist.HalfNormal(2))
    spread_of_slopes = numpyro.sample("spread_of_slopes", dist.HalfNormal(1))
    with numpyro.plate("of_people", people):
        ability = numpyro.sample("ability", dist.Normal(0, 1))
    with numpyro.plate("of_items", items):
        difficulty = numpyro.sample("difficulty", dist.Normal(mu, spread))
        slope = numpyro.sample("slope", dist.LogNormal(0, spread_of_slopes))
    numpyro.sample("y", dist.Bernoulli(logits=slope * (ability[:, None] - difficulty)).to_event(2), obs=y)


def item_response_data(people=100, items=20):
    generator = np.random.default_rng(8)
    ability = generator.standard_normal((people, 1))
    difficulty, slope = 0.3 + generator.standard_normal(items), np.exp(0.4 * generator.standard_normal(items))
    return ((generator.random((people, items)) < logistic(slope * (ability - difficulty))).astype(float),)


CASES = [
    Case(varying_slopes, varying_slopes_data, 46),
    Case(baseball, baseball_data, 20),
    Case(eight_schools_centred, eight_schools_data, 10),
    Case(eight_schools_non_centred, eight_schools_data, 10),
    Case(weibull_survival, weibull_survival_data, 204),
    Case(negative_binomial, negative_binomial_data, 35),
    Case(item_response, item_response_data, 143),
]
