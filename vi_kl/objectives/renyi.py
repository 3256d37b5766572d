"""The Renyi bound: minimising its negative minimises the Renyi divergence of order alpha, D_alpha(q||posterior).

    L_alpha(q) = 1 / (1 - alpha) log E_q[ (p(z, data) / q(z))^(1 - alpha) ] = log evidence - D_alpha(q||posterior)

Requires of the family: draws that are differentiable in the parameters. Requires of the target: a differentiable log
density. Use it to choose between seeking a mode and covering the mass: at alpha -> 1 it is the ELBO; below 1 q grows
wider, and covers more, the lower alpha is; above 1 q shrinks. With finitely many draws the bound is biased towards
the ELBO (at one draw it is the ELBO), the more so the higher the dimension. Minimising it over q is minimising the
alpha divergence, a monotone function of it.

Reference: Li & Turner (2016), "Renyi divergence variational inference", eqs. 5 and 13.
"""

import dataclasses
import math
from typing import Literal

from vi_kl.objectives.draws import look_at_member, require_reparameterised
from vi_kl.objectives.objective import Objective, check_choice, check_count
from vi_kl.objectives.power_mean import GRADIENTS, bound


@dataclasses.dataclass(frozen=True)
class Renyi(Objective):
    """A loss, -log(mean of (p/q)^(1 - alpha)) / (1 - alpha) over `num_draws` draws of q, in nats.

    Attributes:
        alpha: the order, above 0; 1 is the ELBO. (At 0 the bound of infinitely many draws is the log evidence
            whatever q is: see `IWELBO`. For the upper bounds of negative orders see `ChiSquared`.)
        num_draws: the number of draws of each evaluation. The bias towards the ELBO falls as one over their number.
        gradient: "doubly_reparameterised" has no noise at the optimum; "total" is the plain one; "auto" is the first
            wherever the family knows log q(z) cheaply.
    """

    alpha: float = 0.5
    num_draws: int = 16
    gradient: Literal["auto", "doubly_reparameterised", "total"] = "auto"

    def __post_init__(self):
        if not (0 < self.alpha < math.inf):
            raise ValueError(
                f"alpha must be a finite order above 0, got {self.alpha!r}. IWELBO is the bound at alpha 0, "
                f"ChiSquared is one of a negative order."
            )
        check_count("num_draws", self.num_draws)
        check_choice("gradient", self.gradient, GRADIENTS)

    @property
    def density_evaluations(self):
        return self.num_draws

    def require(self, family, target):
        look_at_member(lambda params: require_reparameterised("Renyi", params, family, target), family, target)

    def __call__(self, key, params, family, target):
        return -bound("Renyi", key, params, family, target, self.num_draws, 1 - self.alpha, self.gradient)
