"""The importance-weighted evidence lower bound (IWELBO): q as a proposal for importance sampling.

    IWELBO_K(q) = E[ log mean of p(z_k, data) / q(z_k) over K draws of q ]

lies between the ELBO (K = 1) and the log evidence (K -> infinity), and rises with K.

Requires of the family: draws that are differentiable in the parameters. Requires of the target: a differentiable log
density. Use it where draws will be weighted or resampled afterwards, or where a wider q is wanted than the ELBO's.
What is minimised is not the divergence of q itself but that of the density that resampling one of K draws of q
has; for large K it tends to the variance of the weights (the chi-squared divergence from q) over 2K, so that the loss
says less and less about q.

References: Burda, Grosse & Salakhutdinov (2016), "Importance weighted autoencoders"; Tucker et al. (2018), "Doubly
reparameterized gradient estimators for Monte Carlo objectives"; Domke & Sheldon (2018).
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from vi_kl.objectives.draws import look_at_member, require_reparameterised
from vi_kl.objectives.objective import Objective, check_choice, check_count
from vi_kl.objectives.power_mean import GRADIENTS, bound


@dataclasses.dataclass(frozen=True)
class IWELBO(Objective):
    """A loss, -log(mean of p/q over `num_importance` draws of q), averaged over `num_draws` such sets, in nats.

    Attributes:
        num_importance: K, the number of draws inside the logarithm; 1 is the ELBO.
        num_draws: the number of independent sets of K draws of each evaluation.
        gradient: "doubly_reparameterised" has no noise at the optimum; "total" is the plain one, which is lost in
            its noise as K grows; "auto" is the first wherever the family knows log q(z) cheaply.
    """

    num_importance: int = 8
    num_draws: int = 4
    gradient: Literal["auto", "doubly_reparameterised", "total"] = "auto"

    def __post_init__(self):
        check_count("num_importance", self.num_importance)
        check_count("num_draws", self.num_draws)
        check_choice("gradient", self.gradient, GRADIENTS)

    @property
    def density_evaluations(self):
        return self.num_draws * self.num_importance

    def require(self, family, target):
        look_at_member(lambda params: require_reparameterised("IWELBO", params, family, target), family, target)

    def __call__(self, key, params, family, target):
        def one(key):
            return bound("IWELBO", key, params, family, target, self.num_importance, 1.0, self.gradient)

        return -jnp.mean(jax.vmap(one)(jax.random.split(key, self.num_draws)))
