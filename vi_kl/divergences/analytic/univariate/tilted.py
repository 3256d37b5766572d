"""The uniform law on an interval, tilted: density proportional to exp(tilt y) on [-width, 0].

Everything is of Z(x) = (1 - exp(-x)) / x with x = tilt width, the normaliser relative to the value at the top. The
width may be infinite where the tilt is positive. Near x = 0 the expressions cancel; there a Gauss-Legendre rule of
32 nodes takes their place, which is exact to 1e-16 for |x| up to 40 and keeps every divergence a sum over nodes.
"""

import jax.numpy as jnp
import numpy as np

from vi_kl.divergences.bregman import itakura_saito, log_ratio, log_sum_exp

NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)
MODERATE = 20.0  # the rule is used while both tilts, times the width, are below


def log_width(low, high):
    """Return log(high / low), exact where they nearly agree; inf for low = 0."""
    positive = low > 0
    safe = jnp.where(positive, low, high)
    return jnp.where(positive, log_ratio(high, safe), jnp.inf)


def log_normalizer(x):
    """Return log Z(x) = log((1 - exp(-x)) / x), for any real x; -log x where exp(-x) vanishes."""
    near = abs(x) < 1e-3
    series = -x / 2 + x * x / 24 - x**4 / 2880
    safe = jnp.where(near, 1.0, x)
    # for x < 0: (exp(-x) - 1) / -x = exp(-x) (1 - exp(x)) / -x
    size = abs(safe)
    direct = jnp.log(-jnp.expm1(-size) / size) + jnp.maximum(-safe, 0)
    return jnp.where(near, series, direct)


def mean_from_top(tilt, width):
    """Return E(-y), and the variance of y."""
    x = tilt * width
    moderate = abs(x) < MODERATE
    u, weights = tilted_weights(jnp.where(moderate, x, 0.0))
    mean = (weights * (1 - u)).sum(-1)  # in units of half the width
    variance = (weights * (1 - u - mean[..., None]) ** 2).sum(-1)
    half = jnp.where(moderate, width / 2, 1.0)
    by_nodes = half * mean, half * half * variance
    far_tilt = jnp.where(moderate, 1.0, tilt)
    far_x = jnp.where(moderate, 1.0, abs(x))
    finite = far_x < 700
    bounded = jnp.where(finite, far_x, 1.0)
    rest = jnp.where(finite, bounded / jnp.expm1(bounded), 0.0)  # from the far end, in units of 1 / tilt
    spread = 1 - jnp.where(finite, bounded * bounded * jnp.exp(-bounded) / jnp.expm1(-bounded) ** 2, 0.0)
    from_end = (1 - rest) / abs(far_tilt)
    far = jnp.where(far_tilt > 0, from_end, jnp.where(far_tilt < 0, width, 0.0) - from_end)
    return jnp.where(moderate, by_nodes[0], far), jnp.where(moderate, by_nodes[1], spread / far_tilt**2)


def tilted_entropy(tilt, width):
    """Return the entropy of y: log(width Z(x)) + tilt E(-y)."""
    mean, _ = mean_from_top(tilt, width)
    x = tilt * width
    infinite = width == jnp.inf
    scale = jnp.where(infinite, -jnp.log(jnp.where(infinite, tilt, 1.0)), jnp.log(jnp.where(infinite, 1.0, width)))
    return scale + jnp.where(infinite, 0.0, log_normalizer(jnp.where(infinite, 0.0, x))) + tilt * mean


def tilted_weights(x):
    """Return the nodes, and the weights that the tilt x over the whole width gives them."""
    logits = jnp.log(WEIGHTS) + x[..., None] / 2 * NODES
    logits = logits - logits.max(-1, keepdims=True)
    weights = jnp.exp(logits)
    return jnp.asarray(NODES), weights / weights.sum(-1, keepdims=True)


def tilt_cumulant(tilt, step, width):
    """Return log E exp(step (y - E y)): the divergence between the tilts `tilt` and `tilt + step`."""
    x, change = tilt * width, step * width
    moderate = (abs(x) < MODERATE) & (abs(x + change) < 2 * MODERATE)
    one_end = ~moderate & (abs(x) >= MODERATE) & (tilt * (tilt + step) > 0)
    unbounded = width == jnp.inf
    otherwise = ~moderate & ~one_end & ~unbounded
    _, weights = tilted_weights(jnp.where(moderate, x, 0.0))
    by_nodes = log_sum_exp(weights, jnp.log(weights), jnp.where(moderate, change, 0.0)[..., None] / 2 * NODES)
    at_end = cumulant_at_one_end(*(jnp.where(one_end, v, w) for v, w in ((tilt, 1.0), (step, 0.0), (width, 30.0))))
    mean, _ = mean_from_top(*(jnp.where(otherwise, v, w) for v, w in ((tilt, 0.0), (width, 1.0))))
    ends = (jnp.where(otherwise, v, 0.0) for v in (x + change, x))
    plain = log_normalizer(next(ends)) - log_normalizer(next(ends)) + jnp.where(otherwise, step, 0.0) * mean
    return jnp.where(moderate, by_nodes, jnp.where(one_end, at_end, jnp.where(otherwise, plain, jnp.inf)))


def cumulant_at_one_end(tilt, step, width):
    """Return the cumulant if both laws are mostly exponentials at the same end, which may have an infinite width."""
    step, tilt = jnp.where(tilt > 0, step, -step), abs(tilt)
    finite = width < jnp.inf
    bounded = jnp.where(finite, width, 1.0)
    x, x_new = tilt * bounded, (tilt + step) * bounded
    far_end = bounded * step * jnp.exp(-x) / -jnp.expm1(-x)
    ends = jnp.log(-jnp.expm1(-x_new)) - jnp.log(-jnp.expm1(-x)) - far_end
    ratio = (tilt + step) / tilt
    return itakura_saito(ratio, jnp.ones_like(ratio), step / tilt) + jnp.where(finite, ends, 0.0)
