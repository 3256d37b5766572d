"""Draws of q with both log densities: every objective but the Fisher divergence is computed from them.

Two questions decide which gradient an objective can follow: whether a draw moves with the parameters
(`is_reparameterised`), and whether the family knows log q at any z (`Family.has_log_prob`).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpyro.distributions as dist

from vi_kl.core.kept_programs import tracing
from vi_kl.core.precision import in_float64
from vi_kl.families.family import Family
from vi_kl.families.guide import GuideDistribution
from vi_kl.objectives.objective import ObjectiveError
from vi_kl.targets.price import gradients_at_once, over_draws
from vi_kl.targets.rows import row_sum_of, summed
from vi_kl.targets.target import Target, log_density

# NumPyro does not declare these draws differentiable in every parameter, but they are.
REPARAMETERISED = (dist.CirculantNormal, dist.GaussianStateSpace, dist.EulerMaruyama, dist.Levy)


class Draws(NamedTuple):
    """A batch of n draws of q with their log densities and weights.

    Attributes:
        z: the draws, of shape (n, dim).
        log_q: log q(z), of shape (n,).
        log_p: log p(z, data), of shape (n,).
        weights: the weights of means over q, of shape (n,); 1/n unless the family is stratified.
    """

    z: jax.Array
    log_q: jax.Array
    log_p: jax.Array
    weights: jax.Array


def draw(key, params, family: Family, target: Target, n: int, rows: Target | None = None) -> Draws:
    """Return n draws of q, differentiable in the parameters along every path that the family offers.

    `rows` may be a minibatch of the target, whose estimate takes the place of log p.
    """
    z, log_q, weights = family.weighted_draws(params, target, key, n)
    return Draws(z, log_q, log_p_at(target if rows is None else rows, z), weights)


def draw_without_score(key, params, family: Family, target: Target, n: int, rows: Target | None = None) -> Draws:
    """Return n draws of q, with log q differentiable through z only.

    The score of log q, whose expectation is zero, is left out ("sticking the landing").
    """
    draws = draw(key, params, family, target, n, rows)
    return draws._replace(log_q=log_q_at(jax.lax.stop_gradient(params), family, target, draws.z))


def draw_fixed(key, params, family: Family, target: Target, n: int) -> Draws:
    """Return n draws and weights as constants; log q is differentiable in the parameters at these z."""
    draws = jax.lax.stop_gradient(draw(key, jax.lax.stop_gradient(params), family, target, n))
    return draws._replace(log_q=log_q_at(params, family, target, draws.z))


def is_stratified(family: Family) -> bool:
    """Return whether the family weights its draws.

    The weights of a mixture's components move no draw, but they change the weights of the draws.
    """
    return type(family).weighted_draws is not Family.weighted_draws


def log_p_at(target: Target, z):
    by_rows = row_sum_of(target)
    if by_rows is not None:
        return summed(lambda one: one, jax.tree.leaves(target.data), by_rows, z)
    return over_draws(lambda one: log_density(target, one), z, gradients_at_once(target, len(z)))


def log_q_at(params, family: Family, target: Target, z):
    return jax.vmap(lambda one: family.log_prob(params, target, one))(z)


def with_gradient_of(value, surrogate):
    """Return `value`, with the gradient of `surrogate`."""
    return jax.lax.stop_gradient(value) + surrogate - jax.lax.stop_gradient(surrogate)


def is_reparameterised(params, family: Family, target: Target) -> bool:
    """Return whether a draw is differentiable in every parameter that it depends on.

    This is found out while tracing, and costs nothing when the program runs.

    NumPyro's samplers of mixtures, von Mises and discrete distributions cut the gradient: a part of it is missing,
    and nothing reports it.
    """
    if is_stratified(family):
        return True
    q = family.distribution(params, target)
    if not isinstance(q, GuideDistribution):
        return passes_gradients(q)
    return all(map(passes_gradients, q.distributions().values()))


def passes_gradients(distribution) -> bool:
    inner = distribution
    while not isinstance(inner, REPARAMETERISED) and hasattr(inner, "base_dist"):
        inner = inner.base_dist
    return isinstance(inner, REPARAMETERISED) or inner.has_rsample


def require_log_prob(objective: str, family: Family, instead: str) -> None:
    if not family.has_log_prob:
        raise ObjectiveError(
            f"{objective} needs log q(z) at any z, and '{family.name}' knows it cheaply at its own draws only: "
            f"{instead}."
        )


def require_reparameterised(objective: str, params, family: Family, target: Target) -> None:
    if not is_reparameterised(params, family, target):
        raise ObjectiveError(
            f"{objective} follows the gradient through draws, and the draws of '{family.name}' are not differentiable "
            f"in all of its parameters: use ForwardKL or ELBO(gradient='score'), which need no such gradient."
        )


@in_float64
def look_at_member(look: Callable, family: Family, target: Target) -> None:
    """Trace `look(params)` at the family's standard member without computing it, and let it raise its errors.

    A family on the model's own sites has no standard member, and initialising one would run its guide: it is checked
    when the loss is traced.
    """
    if family.takes_frame:
        with tracing:
            params = family.standard(jax.random.key(0), target)

            def run(params):
                look(params)
                return 0

            jax.eval_shape(run, params)
