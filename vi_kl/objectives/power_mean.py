"""Power means of the importance weights w = p(z, data) / q(z), from which the bounds other than the ELBO are computed.

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

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from vi_kl.objectives.draws import draw, draw_without_score, is_stratified, require_reparameterised, with_gradient_of
from vi_kl.objectives.objective import ObjectiveError

GRADIENTS = ("auto", "doubly_reparameterised", "total")


def bound(name: str, key, params, family, target, num_draws, power, gradient, of_infinitely_many=False):
    """Return L over `num_draws` draws, with the gradient asked for.

    Args:
        name: the objective's name, for errors.
        gradient: one of `GRADIENTS`; "auto" is doubly reparameterised where the family allows it.
        of_infinitely_many: whether to follow the gradient of the bound of infinitely many draws, which these
            estimate, instead of the gradient of the bound of `num_draws` draws.
    """
    require_reparameterised(name, params, family, target)
    twice = gradient == "doubly_reparameterised"
    if gradient == "auto":
        twice = family.has_log_prob and (of_infinitely_many or not is_stratified(family))
    elif twice and is_stratified(family) and not of_infinitely_many:
        raise ObjectiveError(f"{name} over '{family.name}', which weights its draws, has the gradient 'total' only.")
    draws = (draw_without_score if twice else draw)(key, params, family, target, num_draws)
    log_w = draws.log_p - draws.log_q
    value = log_power_mean(log_w, draws.weights, power)
    if not twice:
        return value
    if of_infinitely_many:
        return with_gradient_of(value, (1 - power) * value)
    shares = jax.lax.stop_gradient(jax.nn.softmax(power * log_w))
    return with_gradient_of(value, jnp.sum(((1 - power) * shares + power * shares**2) * log_w))


def log_power_mean(log_w, weights, power: float):
    """Return log(mean of w^power) / power, with weights; at power 0 the mean of log w."""
    if power == 0:
        return jnp.sum(weights * log_w)
    return logsumexp(power * log_w, b=weights) / power
