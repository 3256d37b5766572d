"""A hidden Markov model: two states, summed out by the forward recursion."""

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints

from vi_kl.models.posteriordb.flat import flat
from vi_kl.models.posteriordb.port import PosteriordbModel


def hmm_example(y):
    """Define y_t in state k ~ N(mu_k, 1) with 0 < mu_1 < mu_2.

    The transition probabilities from states 1 and 2, theta1 and theta2, have flat priors.
    """
    theta = jnp.stack([numpyro.sample(name, dist.Dirichlet(jnp.ones(2))) for name in ("theta1", "theta2")])
    mu = numpyro.sample("mu", flat(constraints.positive_ordered_vector, (2,)))
    numpyro.factor("mu_prior", dist.Normal(jnp.array([3.0, 10.0]), 1.0).log_prob(mu).sum())
    emission = dist.Normal(mu, 1.0).log_prob(y[:, None])
    numpyro.factor("y", forward(jnp.log(theta), emission))


def forward(log_transition, emission):
    """Return the log of the sum over all paths; each first state has weight 1.

    Args:
        log_transition: the log transition probabilities from row to column, of shape (states, states).
        emission: the log density of the observation in each state, of shape (times, states).
    """

    def step(log_weight, log_density):
        return jax.nn.logsumexp(log_weight[:, None] + log_transition, axis=0) + log_density, None

    log_weight, _ = jax.lax.scan(step, emission[0], emission[1:])
    return jax.nn.logsumexp(log_weight)


PORTS: dict[str, PosteriordbModel] = {"hmm_example-hmm_example": PosteriordbModel(hmm_example, lambda d: (d["y"],))}
