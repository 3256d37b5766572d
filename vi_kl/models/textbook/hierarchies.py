"""Hierarchies: groups whose parameters have a distribution that is learned too.

The eight schools ask how much eight coaching programmes raise test scores. Written centred, the posterior has a
funnel, which most methods do badly at; written non-centred, it is the same model and an easy posterior. Models and
data are posteriordb's. The cafés' waiting times and the answers to a test are simulated, each from its own seed.

Reference: Rubin (1981), "Estimation in parallel randomized experiments"; McElreath (2020), "Statistical Rethinking",
chapter 14, for the cafés; Birnbaum (1968), "Some latent trait models", for item response.
"""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from vi_kl.models.posteriordb.hierarchical import eight_schools_centered, eight_schools_noncentered
from vi_kl.models.textbook.classic import Classic, logistic

EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
STANDARD_ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def eight_schools_data() -> tuple[np.ndarray, np.ndarray]:
    """Return the standard errors and effects of coaching in eight schools (Rubin, 1981, table 1)."""
    return STANDARD_ERRORS, EFFECTS


def varying_slopes_model(cafe, afternoon, wait, num_cafes):
    """Define intercepts and slopes of groups with a learned correlation: an LKJ prior, and centred groups."""
    loc = numpyro.sample("loc", dist.Normal(jnp.array([5.0, -1.0]), jnp.array([2.0, 0.5])).to_event(1))
    spread = numpyro.sample("spread", dist.Exponential(1.0).expand([2]).to_event(1))
    sigma = numpyro.sample("sigma", dist.Exponential(1.0))
    correlation = numpyro.sample("correlation", dist.LKJCholesky(2, 2.0))
    with numpyro.plate("cafes", num_cafes):
        effects = numpyro.sample("effects", dist.MultivariateNormal(loc, scale_tril=spread[:, None] * correlation))
    mean = effects[cafe, 0] + effects[cafe, 1] * afternoon
    with numpyro.plate("rows", len(wait)):
        numpyro.sample("wait", dist.Normal(mean, sigma), obs=wait)


def varying_slopes_data(num_cafes=20, visits=10) -> tuple:
    """Return simulated waiting times (seed 5): café, whether it is afternoon, minutes, and the number of cafés."""
    generator = np.random.default_rng(5)
    covariance = np.array([[1.0, -0.35], [-0.35, 0.25]])
    effects = generator.multivariate_normal([3.5, -1.0], covariance, num_cafes)
    cafe = np.repeat(np.arange(num_cafes), visits)
    afternoon = np.tile([0.0, 1.0], num_cafes * visits // 2)
    wait = effects[cafe, 0] + effects[cafe, 1] * afternoon + 0.5 * generator.standard_normal(len(cafe))
    return cafe, afternoon, wait, num_cafes


def item_response_model(y):
    """Define a two-parameter logistic model: each item has a difficulty and a slope, each person an ability."""
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


def item_response_data(people=100, items=20) -> tuple:
    """Return simulated answers (seed 8) of people (rows) to items (columns): 1 where they are right."""
    generator = np.random.default_rng(8)
    ability = generator.standard_normal((people, 1))
    difficulty, slope = 0.3 + generator.standard_normal(items), np.exp(0.4 * generator.standard_normal(items))
    return ((generator.random((people, items)) < logistic(slope * (ability - difficulty))).astype(float),)


CLASSICS = {
    "eight_schools_centred": Classic(eight_schools_centered, eight_schools_data),
    "eight_schools_noncentred": Classic(eight_schools_noncentered, eight_schools_data),
    "varying_slopes": Classic(varying_slopes_model, varying_slopes_data),
    "item_response": Classic(item_response_model, item_response_data),
}
