"""The chi-squared upper bound of the evidence (CUBO): minimising it minimises chi^2(posterior||q).

    CUBO_n(q) = 1/n log E_q[ (p(z, data) / q(z))^n ]  >=  log evidence,
    CUBO_2(q) - log evidence = 1/2 log(1 + chi^2(posterior||q)) = 1/2 D_2(posterior||q)

Requires of the family: draws that are differentiable in the parameters, and tails at least as heavy as the
posterior's (else the divergence is infinite for every member). Requires of the target: a differentiable log density.
Use it for a q that covers the posterior, such as a proposal for importance sampling: the variance of the weights is
what is minimised.

What the estimate cannot promise: the logarithm of a mean is biased downwards, and the mean rests on the few draws
with the largest weights, so one evaluation, or the average of many, may well lie below the log evidence. The upper
bound is a statement about the expectation inside the logarithm only. In more than a handful of dimensions, or far
from the posterior, the gradient follows the one heaviest draw of each evaluation.

Reference: Dieng, Tran, Ranganath, Paisley & Blei (2017), "Variational inference via chi upper bound minimization".
"""

import dataclasses
import math
from typing import Literal

from vi_kl.objectives.draws import look_at_member, require_reparameterised
from vi_kl.objectives.objective import Objective, check_choice, check_count
from vi_kl.objectives.power_mean import GRADIENTS, bound


@dataclasses.dataclass(frozen=True)
class ChiSquared(Objective):
    """A loss, log(mean of (p/q)^order) / order over `num_draws` draws of q, in nats.

    Attributes:
        num_draws: the number of draws of each evaluation.
        order: the order n, above 1; 2 is chi^2.
        gradient: "doubly_reparameterised" estimates the gradient of the exact bound by weighted draws: its bias
            falls as one over their number, and at one draw it is the ELBO's gradient. "total" is the gradient of the
            estimate itself, which with few draws points away from the posterior. "auto" is the first wherever the
            family knows log q(z) cheaply.
    """

    num_draws: int = 64
    order: float = 2.0
    gradient: Literal["auto", "doubly_reparameterised", "total"] = "auto"

    def __post_init__(self):
        check_count("num_draws", self.num_draws, 2)
        if not (1 < self.order < math.inf):
            raise ValueError(f"order must be finite and above 1, got {self.order!r}. IWELBO is the bound of order 1.")
        check_choice("gradient", self.gradient, GRADIENTS)

    @property
    def density_evaluations(self):
        return self.num_draws

    def require(self, family, target):
        look_at_member(lambda params: require_reparameterised("ChiSquared", params, family, target), family, target)

    def __call__(self, key, params, family, target):
        return bound("ChiSquared", key, params, family, target, self.num_draws, self.order, self.gradient, True)
