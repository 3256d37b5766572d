"""The forward divergence KL(posterior||q), by self-normalised importance sampling from q itself.

    KL(p||q) = E_p[log p(z|data) - log q(z)],   d KL = -E_p[d log q(z)]  ~  -sum_i v_i d log q(z_i),   v_i = w_i / sum w

Requires of the family: log q at any z (its draws need not be differentiable). Requires of the target: a log density,
of which no gradient is taken. Use it for a q that covers the posterior's mass where the ELBO's settles in a part of
it: the best q has the posterior's own moments, where the family can have them. It sees only where q draws, so start
from a q that is wide enough, and in more than some ten dimensions expect few draws to carry all the weight:
`ForwardKLToDraws` has no such limit where draws of the posterior are at hand.

References: Bornschein & Bengio (2015), "Reweighted wake-sleep" (the wake-phase update of q); Naesseth, Lindsten & Blei
(2020) on its bias, which falls as one over the number of draws.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from vi_kl.objectives.draws import draw_fixed, require_log_prob, with_gradient_of
from vi_kl.objectives.objective import Objective, check_count


@dataclasses.dataclass(frozen=True)
class ForwardKL(Objective):
    """A loss, an estimate of KL(posterior||q) in nats from `num_draws` weighted draws of q.

    The value, sum v log(n v), is never negative and never above log n, so it is too low where q is far away. The
    gradient takes 1/n off each weight: the score of q has mean zero, so this changes no expectation, and it leaves no
    noise where q is the posterior.

    Attributes:
        num_draws: the number of draws of each evaluation.
    """

    num_draws: int = 64

    def __post_init__(self):
        check_count("num_draws", self.num_draws, 2)

    @property
    def density_evaluations(self):
        return self.num_draws

    def require(self, family, target):
        require_log_prob("ForwardKL", family, "use ELBO, or a family with has_log_prob")

    def __call__(self, key, params, family, target):
        draws = draw_fixed(key, params, family, target, self.num_draws)
        log_w = jax.lax.stop_gradient(draws.log_p - draws.log_q)
        log_shares = log_w - logsumexp(log_w, b=draws.weights)  # relative to the draws' weights, which are mostly 1/n
        shares = draws.weights * jnp.exp(log_shares)
        # a draw with p = 0 has share 0, and 0 log 0 = 0
        value = jnp.sum(jnp.where(shares > 0, shares * log_shares, 0.0))
        return with_gradient_of(value, -jnp.sum((shares - draws.weights) * draws.log_q))
