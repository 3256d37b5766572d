"""The forward divergence KL(posterior||q) to given draws of the posterior by maximum likelihood.

    target = with_draws(target, draws)          # z of shape (n, dim), or {site: (n, ...)} as NumPyro's MCMC has it
    fit = SVI(FullRank(), ForwardKLToDraws()).fit(key, target)

Requires of the target: draws, by `with_draws`. Requires of the family: log q at any z. Use it to see what a family
can do at best in the forward direction, or to put a long sampler run into a density. Its optimum is that of the draws:
with n of them a family of k parameters ends about k / 2n nats from the best member.

The draws travel with the target, among the arrays that compiled programs take as arguments, because an objective is
a part of the program: new draws of the same number compile nothing.

Reference: Kullback & Leibler (1951); White (1982), "Maximum likelihood estimation of misspecified models".
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from vi_kl.core.precision import in_float64
from vi_kl.objectives.draws import log_q_at, require_log_prob
from vi_kl.objectives.objective import Objective, ObjectiveError, check_count
from vi_kl.reference.mcmc.draws import PosteriorDraws
from vi_kl.targets.arguments import of_a_target
from vi_kl.targets.target import Target


@jax.tree_util.register_pytree_node_class
class TargetWithDraws(Target):
    """A target that carries draws of its posterior.

    Attributes:
        draws: z of shape (n, dim).
    """

    def __init__(self, density, data, sites, reference=None, draws: Any = None):
        super().__init__(density, data, sites, reference)
        self.draws = draws

    def with_reference(self, reference) -> "TargetWithDraws":
        return TargetWithDraws(self.density, self.data, self.sites, reference, self.draws)

    def tree_flatten(self):
        return (self.data, self.draws), (self.density, self.sites)

    @classmethod
    def tree_unflatten(cls, static, children):
        return cls(static[0], children[0], static[1], draws=children[1])


@of_a_target
@in_float64
def with_draws(
    target: Target, draws: Float[ArrayLike, "n dim"] | Mapping[str, Any] | PosteriorDraws
) -> TargetWithDraws:
    """Return the target with draws of its posterior attached, for `ForwardKLToDraws`.

    Args:
        target: the posterior.
        draws: z of shape (n, dim); {site: array of shape (n, *site shape)} in the space in which the model sees them;
            or the `PosteriorDraws` of a reference, `target.reference.draws(key, n)`.

    Raises:
        ValueError: the shapes or sites are not the target's, there are fewer than 2 draws, or some are not finite in z.
    """
    if isinstance(draws, PosteriorDraws):
        draws = draws.z
    z = np.asarray(target.unconstrain(draws) if isinstance(draws, Mapping) else draws, dtype=float)
    if z.ndim != 2 or z.shape[1] != target.dim or len(z) < 2:
        raise ValueError(
            f"draws must be z of shape (n, {target.dim}) with n at least 2, or a dict of sites with a leading axis of "
            f"draws; this is z of shape {z.shape}."
        )
    bad = np.flatnonzero(~np.isfinite(z).all(axis=1))
    if len(bad):
        name = target.coordinate_names[int(np.argmin(np.isfinite(z[bad[0]])))]
        raise ValueError(
            f"{len(bad)} of {len(z)} draws are not finite in z, the first of them draw {bad[0]}, at '{name}': a value "
            f"at or beyond the bound of its support, or a missing one. Drop them, or find out how they came about."
        )
    return TargetWithDraws(target.density, target.data, target.sites, target._reference, z)


@dataclasses.dataclass(frozen=True)
class ForwardKLToDraws(Objective):
    """A loss, -mean of log q over `num_draws` of the target's draws, taken at random with replacement.

    This is the cross-entropy, KL(posterior||q) plus the posterior's entropy in z, in nats; value and gradient have no
    bias. No log density is evaluated.

    Attributes:
        num_draws: the number of draws of each evaluation.
    """

    num_draws: int = 64

    def __post_init__(self):
        check_count("num_draws", self.num_draws)

    @property
    def density_evaluations(self):
        return 0

    def require(self, family, target):
        if not isinstance(target, TargetWithDraws):
            raise ObjectiveError(
                "ForwardKLToDraws needs draws of the posterior: fit vi_kl.objectives.with_draws(target, draws). "
                "Without any, ForwardKL weights draws of q instead."
            )
        require_log_prob("ForwardKLToDraws", family, "use a family with has_log_prob")

    def __call__(self, key, params, family, target):
        self.require(family, target)
        chosen = jax.random.randint(key, (self.num_draws,), 0, len(target.draws))
        return -jnp.mean(log_q_at(params, family, target, jnp.asarray(target.draws)[chosen]))
