"""The (negative) evidence lower bound: minimising it minimises KL(q||posterior).

    ELBO(q) = E_q[log p(z, data) - log q(z)] = log evidence - KL(q||posterior)

In coding terms, -ELBO / ln 2 is the number of bits that sending the data costs with q in place of the posterior
(bits-back coding), so every bit of KL is a bit on the line.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from vi_kl.objectives.objective import Objective
from vi_kl.target.target import log_density


@dataclasses.dataclass(frozen=True)
class ELBO(Objective):
    """loss = mean of log q(z) - log p(z, data) over `num_draws` reparameterised draws of q.

    Attributes:
        num_draws: draws per evaluation.
        gradient: "sticking_the_landing" leaves out the score of log q, whose expectation is zero; its variance
            vanishes as q approaches the posterior (Roeder, Wu & Duvenaud 2017). "total" keeps it. "auto" sticks
            the landing wherever the family knows log q(z) cheaply.
    """

    num_draws: int = 8
    gradient: Literal["auto", "sticking_the_landing", "total"] = "auto"

    def __post_init__(self):
        if self.num_draws < 1:
            raise ValueError(f"num_draws must be at least 1, got {self.num_draws}.")
        if self.gradient not in ("auto", "sticking_the_landing", "total"):
            raise ValueError(f"gradient must be 'auto', 'sticking_the_landing' or 'total', not {self.gradient!r}.")

    @property
    def density_evaluations(self):
        return self.num_draws

    def __call__(self, key, params, family, target):
        stick = family.has_log_prob if self.gradient == "auto" else self.gradient == "sticking_the_landing"

        z, log_q, weights = family.weighted_draws(params, target, key, self.num_draws)
        if stick:
            fixed = jax.lax.stop_gradient(params)
            log_q = jax.vmap(lambda one: family.log_prob(fixed, target, one))(z)
        log_p = jax.vmap(lambda one: log_density(target, one))(z)
        return jnp.sum(weights * (log_q - log_p))
