"""A mixture: 1,000 observations of two normals, kept apart by the order of their means."""

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints

from vi_kl.models.posteriordb.flat import flat
from vi_kl.models.posteriordb.port import PosteriordbModel


def low_dim_gauss_mix(y):
    """Define y_n ~ theta N(mu_1, sigma_1) + (1 - theta) N(mu_2, sigma_2) with mu_1 < mu_2."""
    mu = numpyro.sample("mu", flat(constraints.ordered_vector, (2,)))
    numpyro.factor("mu_prior", dist.Normal(0.0, 2.0).log_prob(mu).sum())
    sigma = numpyro.sample("sigma", dist.HalfNormal(2).expand([2]).to_event(1))
    theta = numpyro.sample("theta", dist.Beta(5, 5))
    log_weights = jnp.log(jnp.stack([theta, 1 - theta]))
    components = log_weights + dist.Normal(mu, sigma).log_prob(y[:, None])
    numpyro.factor("y", jnp.logaddexp(components[:, 0], components[:, 1]).sum())


PORTS: dict[str, PosteriordbModel] = {
    "low_dim_gauss_mix-low_dim_gauss_mix": PosteriordbModel(low_dim_gauss_mix, lambda d: (d["y"],))
}
