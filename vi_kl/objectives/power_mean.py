"""Power means of the importance weights w = p(z, data) / q(z): what the bounds beside the ELBO are made of.

    L = log( mean of w^power over K draws ) / power

is the Renyi bound at power = 1 - alpha, the importance-weighted ELBO at power = 1, the chi-squared upper bound at
power = 2, and the ELBO in the limit power -> 0.

The doubly reparameterised gradient. The score of log q inside the weights has mean zero in the ELBO only; here it
has a part that matters, and nearly all of the noise. Turned into a gradient through the draws a second time, it
leaves

    dL = sum_i [ (1 - power) v_i + power v_i^2 ] d_z log w_i dz_i / dparams,    v_i = w_i^power / sum_j w_j^power,

whose noise vanishes as q approaches the posterior. Tucker, Lawson, Gu & Maddison (2018) derive it for power = 1; the
same steps give every power. The first term alone is the (self-normalised) gradient of the bound of infinitely many
draws.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from vi_kl.objectives.draws import draw, draw_stuck, require_reparameterised, with_gradient_of

GRADIENTS = ("auto", "doubly_reparameterised", "total")


def log_power_mean(log_w, power: float):
    """log(mean of w^power) / power over the last axis; the mean of log w at power 0."""
    if power == 0:
        return jnp.mean(log_w, axis=-1)
    return (logsumexp(power * log_w, axis=-1) - jnp.log(log_w.shape[-1])) / power


def of_this_many(shares, power: float):
    """How much each draw's gradient counts in the bound of this many draws."""
    return (1 - power) * shares + power * shares**2


def of_infinitely_many(shares, power: float):
    """The same in the bound of infinitely many, of which these draws are a sample."""
    return (1 - power) * shares


def bound(name: str, key, params, family, target, shape, power, gradient, counts: Callable = of_this_many):
    """L for each row of draws of this shape, (rows, K), with the gradient asked for.

    Args:
        name: of the objective, for errors.
        gradient: one of `GRADIENTS`; "auto" is doubly reparameterised where the family knows log q(z) cheaply.
        counts: `of_this_many` or `of_infinitely_many`.
    """
    require_reparameterised(name, params, family, target)
    twice = family.has_log_prob if gradient == "auto" else gradient == "doubly_reparameterised"
    draws = (draw_stuck if twice else draw)(key, params, family, target, shape[0] * shape[1])
    log_w = (draws.log_p - draws.log_q).reshape(shape)
    value = log_power_mean(log_w, power)
    if not twice:
        return value
    shares = jax.lax.stop_gradient(jax.nn.softmax(power * log_w, axis=-1))
    return with_gradient_of(value, jnp.sum(counts(shares, power) * log_w, axis=-1))
