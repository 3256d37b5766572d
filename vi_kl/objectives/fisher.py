"""The Fisher divergence, by score matching: the mean squared difference of grad log q and grad log p.

    F(q) = E_q | J' (grad log q(z) - grad log p(z, data)) |^2,   J = dz/du for q's noise u

For a normal q, J J' is its covariance, so this is the covariance-weighted divergence of batch-and-match: it has no
units, and does not change when z is scaled or rotated. The evidence drops out of it.

Requires of the family: an image of normal noise (`push`). Requires of the target: a twice differentiable log density
(the gradient of the loss costs about two of the ELBO's). Use it where the family holds the posterior, or nearly: the
loss is then zero at the optimum, whatever the evidence, and its gradient there has no noise. Where it does not, the
weighted divergence shrinks q (a mean-field q of a correlated posterior more than the ELBO's), and a q that covers
two modes in the wrong proportions is not seen.

References: Hyvarinen (2005); Cai, Modi, Pillaud-Vivien, Margossian, Gower, Blei & Saul (2024), "Batch and match:
black-box variational inference with a score-based divergence", eq. 2.
"""

import dataclasses

import jax
import jax.numpy as jnp

from vi_kl.objectives.draws import look_at_member
from vi_kl.objectives.objective import Objective, ObjectiveError, check_count
from vi_kl.targets.target import log_density


@dataclasses.dataclass(frozen=True)
class Fisher(Objective):
    """A loss, the mean of |gradient, in q's noise, of log q - log p|^2 over `num_draws` draws; it has no unit.

    Attributes:
        num_draws: the number of draws of each evaluation.
    """

    num_draws: int = 8

    def __post_init__(self):
        check_count("num_draws", self.num_draws)

    @property
    def density_evaluations(self):
        return self.num_draws

    def require(self, family, target):
        look_at_member(lambda params: push_of(params, family, target), family, target)

    def __call__(self, key, params, family, target):
        push = push_of(params, family, target)

        def log_ratio(u):
            z, log_q = push(u)
            return log_q - log_density(target, z)

        noise = jax.random.normal(key, (self.num_draws, noise_dim(family, target)), dtype=float)
        slopes = jax.vmap(jax.grad(log_ratio))(noise)
        return jnp.mean(jnp.sum(slopes**2, axis=-1))


def push_of(params, family, target):
    push = family.push(params, target)
    if push is None:
        raise ObjectiveError(
            f"Fisher compares slopes in q's noise, and '{family.name}' is not an image of normal noise: use ELBO."
        )
    return push


def noise_dim(family, target) -> int:
    """Return the length of the family's noise: `dim`, unless the family overrides it."""
    return family.noise_dim(target) if hasattr(family, "noise_dim") else target.dim
