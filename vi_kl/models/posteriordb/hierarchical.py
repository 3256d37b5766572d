"""Hierarchical: the eight schools, centred and non-centred, which share one reference.

Reference: Rubin (1981), "Estimation in parallel randomized experiments".
"""

import numpyro
import numpyro.distributions as dist

from vi_kl.models.posteriordb.port import PosteriordbModel


def eight_schools_centered(sigma, y):
    """Define the centred model: each school's effect is drawn from the population, and the posterior has a funnel."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("schools", len(y)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def eight_schools_noncentered(sigma, y):
    """Define the non-centred model, with each school's effect in units of tau from mu."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("schools", len(y)):
        theta_trans = numpyro.sample("theta_trans", dist.Normal(0, 1))
        theta = numpyro.deterministic("theta", mu + tau * theta_trans)
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def effects(sites, *arguments):
    theta = sites["mu"][:, None] + sites["tau"][:, None] * sites["theta_trans"]
    return {"mu": sites["mu"], "tau": sites["tau"], "theta": theta}


def standardised_effects(reference, *arguments):
    mu, tau = reference["mu"], reference["tau"]
    return {"mu": mu, "tau": tau, "theta_trans": (reference["theta"] - mu[:, None]) / tau[:, None]}


def schools(d: dict):
    return d["sigma"].astype(float), d["y"].astype(float)


PORTS: dict[str, PosteriordbModel] = {
    "eight_schools-eight_schools_centered": PosteriordbModel(eight_schools_centered, schools),
    "eight_schools-eight_schools_noncentered": PosteriordbModel(
        eight_schools_noncentered, schools, effects, standardised_effects
    ),
}
