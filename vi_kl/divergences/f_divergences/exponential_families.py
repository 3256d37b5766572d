"""The exponential families: how two members' parameters mix, their KL, and the largest ratio of densities.

The KL divergences are those of the closed forms in `analytic`. Natural parameters are never formed where a form
relative to p's own parameters keeps more digits.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import gammaln

from vi_kl.divergences.analytic.categorical import logits_kl
from vi_kl.divergences.analytic.gaussian.log_det import tril_of
from vi_kl.divergences.analytic.gaussian.triangular import cholesky_kl
from vi_kl.divergences.analytic.positive import gamma_kl
from vi_kl.divergences.analytic.real_line import normal_kl
from vi_kl.divergences.analytic.simplex import dirichlet_divergence
from vi_kl.divergences.bregman import FULL, generalized_kl, log_ratio
from vi_kl.divergences.f_divergences.exponential_family import Family, between, between_logs


def mix_normal(order, p, q):
    (loc_p, scale_p), (loc_q, scale_q) = p, q
    ratio = scale_p / scale_q
    precision = 1 + (1 - order) * (ratio - 1) * (ratio + 1)  # the precision of m, in units of p's
    inside = precision > 0
    precision = jnp.where(inside, precision, 1.0)
    shift = (1 - order) * ratio * (ratio / precision) * (loc_q - loc_p)
    return (loc_p + shift, scale_p / jnp.sqrt(precision)), inside


def largest_normal_ratio(p, q):
    (loc_p, scale_p), (loc_q, scale_q) = p, q
    wider = scale_q > scale_p
    spread = jnp.where(wider, (scale_q - scale_p) * (scale_q + scale_p), 1.0)
    inner = log_ratio(scale_q, scale_p) + 0.5 * (loc_p - loc_q) ** 2 / spread
    same = (scale_p == scale_q) & (loc_p == loc_q)
    return jnp.where(wider, inner, jnp.where(same, 0.0, jnp.inf))


def mix_vector(order, p, q):
    """Return the parameters of m, and whether it exists.

    In p's units the precision of m is M = 1 + (1 - a) (C'C - 1), C = L_q^-1 L_p, and U^-T is a factor of 1/M.

    U is the upper Cholesky factor of M, which is the lower one of M turned upside down.
    """
    (loc_p, loc_q), (tril_p, tril_q) = (p[0], q[0]), (jnp.tril(p[1]), jnp.tril(q[1]))
    weight = (1 - order)[..., None, None]
    columns = jnp.concatenate([tril_p - tril_q, (loc_q - loc_p)[..., None]], axis=-1)
    scaled = lax.linalg.triangular_solve(tril_q, columns, left_side=True, lower=True)
    change, z = scaled[..., :-1], scaled[..., -1:]
    transposed, identity = jnp.swapaxes(change, -1, -2), jnp.eye(loc_p.shape[-1], dtype=loc_p.dtype)
    precision = identity + weight * (change + transposed + transposed @ change)
    inside = jnp.isfinite(jnp.linalg.cholesky(lax.stop_gradient(precision))).all((-2, -1))
    precision = jnp.where(inside[..., None, None], precision, identity)
    upper = jnp.flip(jnp.linalg.cholesky(jnp.flip(precision, (-2, -1))), (-2, -1))
    inverse = lax.linalg.triangular_solve(upper, jnp.broadcast_to(identity, upper.shape), left_side=True, lower=False)
    factor = jnp.swapaxes(inverse, -1, -2)  # lower triangular, and factor factor' = 1/M
    pull = z + transposed @ z  # C'z, the p-scaled pull of q's mean
    shift = weight * (tril_p @ (factor @ (jnp.swapaxes(factor, -1, -2) @ pull)))
    return (loc_p + shift[..., 0], tril_p @ factor), inside


def loc_and_factor(form, loc, matrix):
    """Return the mean and the Cholesky factor; `form` is that of given_parameters.py, the matrix that was given."""
    return loc, jnp.tril(tril_of(matrix, form))


def mix_concentrations(order, p, q):
    """Return the mixed parameters if these are natural and positive: gamma shapes and rates."""
    mixed = tuple(between(order, x, y) for x, y in zip(p, q, strict=True))
    inside = jnp.all(jnp.stack([x > 0 for x in mixed]), axis=0)
    return mixed, inside


def mix_dirichlet(order, p, q):
    mixed = between(order[..., None], p[0], q[0])
    return (mixed,), (mixed > 0).all(-1)


def largest_gamma_ratio(p, q):
    (shape_p, rate_p), (shape_q, rate_q) = p, q
    shape, rate = shape_p - shape_q, rate_p - rate_q
    constant = shape_p * jnp.log(rate_p) - shape_q * jnp.log(rate_q) + gammaln(shape_q) - gammaln(shape_p)
    peak = shape * (jnp.log(jnp.where(shape > 0, shape, 1.0) / jnp.where(rate > 0, rate, 1.0)) - 1)
    bounded = (shape >= 0) & (rate >= 0) & ((rate > 0) | (shape == 0))
    same = (shape == 0) & (rate == 0)
    return jnp.where(same, 0.0, jnp.where(bounded, constant + jnp.where(shape > 0, peak, 0.0), jnp.inf))


def largest_dirichlet_ratio(p, q):
    (p,), (q,) = p, q
    excess = p - q
    total = excess.sum(-1, keepdims=True)
    share = jnp.where(excess > 0, excess / jnp.where(total > 0, total, 1.0), 1.0)
    constant = (gammaln(q) - gammaln(p)).sum(-1) + gammaln(p.sum(-1)) - gammaln(q.sum(-1))
    peak = jnp.where(excess > 0, excess * jnp.log(share), 0.0).sum(-1)
    value = jnp.where((excess >= 0).all(-1), constant + peak, jnp.inf)
    return jnp.where((excess == 0).all(-1), 0.0, value)


def mix_poisson(order, p, q):
    (p,), (q,) = p, q
    return (p * jnp.exp((1 - order) * log_ratio(q, p)),), jnp.ones(jnp.shape(p), bool)


def largest_poisson_ratio(p, q):
    """Return the log ratio at zero counts, the only place where a smaller rate is the likelier one."""
    (p,), (q,) = p, q
    return jnp.where(p <= q, q - p, jnp.inf)


def two_outcomes(form, array):
    """Return the log probabilities of failure and success on a new last axis."""
    if form == "logits":
        return (jnp.stack([jax.nn.log_sigmoid(-array), jax.nn.log_sigmoid(array)], -1),)
    return (jnp.stack([safe_log1p(-array), jnp.log(array)], -1),)


def safe_log1p(x):
    return jnp.where(x > -1, jnp.log1p(jnp.where(x > -1, x, 0.0)), -jnp.inf)


def geometric_outcomes(form, array):
    """Return the log probability of failure, and the probability of success."""
    if form == "logits":
        return jax.nn.log_sigmoid(-array), jax.nn.sigmoid(array)
    return safe_log1p(-array), array


def mix_geometric(order, p, q):
    """Return the mixed geometric, whose natural parameter is the log probability of failure."""
    log_failure = between_logs(order, p[0], q[0])
    inside = log_failure < 0
    return (log_failure, -jnp.expm1(jnp.where(inside, log_failure, -1.0))), inside


def geometric_kl(p, q):
    """Return KL of one trial times the 1/success expected trials."""
    failure_p, failure_q = jnp.exp(p[0]), jnp.exp(q[0])
    difference = p[1] - q[1]
    trial = generalized_kl(p[1], q[1], difference) + generalized_kl(failure_p, failure_q, -difference)
    return trial / p[1]


def largest_geometric_ratio(p, q):
    return jnp.where(p[1] >= q[1], log_ratio(p[1], q[1]), jnp.inf)


def categories(form, array):
    if form == "logits":
        return (jax.nn.log_softmax(array, axis=-1),)
    positive = array > 0
    logs = jnp.where(positive, jnp.log(jnp.where(positive, array, 1.0)), -jnp.inf)
    return (logs - jnp.log(array.sum(-1, keepdims=True)),)


def mix_categories(order, p, q):
    mixed = between_logs(order[..., None], p[0], q[0])
    return (mixed,), (mixed > -jnp.inf).any(-1) & (mixed < jnp.inf).all(-1)


def largest_categories_ratio(p, q):
    (p,), (q,) = p, q
    positive = p > -jnp.inf
    return jnp.maximum(jnp.where(positive, p - jnp.where(positive, q, 0.0), -jnp.inf).max(-1), 0.0)


def on_tuples(divergence, **settings):
    """Return a function of (*p, *q) as one of (p, q), without its float64 scope, which is open already."""
    inner = getattr(divergence, "__wrapped__", divergence)
    return lambda p, q: inner(*p, *q, **settings)


NORMAL = Family((0, 0), mix_normal, on_tuples(normal_kl, digits=FULL), largest_normal_ratio)
VECTOR = Family((1, 2), mix_vector, on_tuples(cholesky_kl), canonical=loc_and_factor)
GAMMA = Family((0, 0), mix_concentrations, on_tuples(gamma_kl, digits=FULL), largest_gamma_ratio)
DIRICHLET = Family((1,), mix_dirichlet, on_tuples(dirichlet_divergence), largest_dirichlet_ratio)
POISSON = Family((0,), mix_poisson, on_tuples(generalized_kl), largest_poisson_ratio)
GEOMETRIC = Family((0,), mix_geometric, geometric_kl, largest_geometric_ratio, geometric_outcomes)
TRIALS = Family((0,), mix_categories, on_tuples(logits_kl), largest_categories_ratio, two_outcomes)
CATEGORIES = Family((1,), mix_categories, on_tuples(logits_kl), largest_categories_ratio, categories)
