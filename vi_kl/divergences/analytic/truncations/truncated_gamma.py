"""Gammas cut down to intervals: in y = log(x / x0) the density exp(shape y - rate x0 e^y), on [low, high].

x0 is where p's density in y is largest. The density is log-concave in y, with an exponential tail to the left, one
that falls faster to the right, and a normal shape between for large shapes. Every integral is a Gauss-Legendre rule,
on the part where the density is above exp(-DEPTH) of its maximum, between the maximum and EDGES. Divergences follow
from these as in `truncated_normal`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.divergences.analytic.truncations.interval_mass import log_inverse_share
from vi_kl.divergences.bregman import em, log_ratio, log_sum_exp
from vi_kl.divergences.float64 import computed_in_float64

NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)
DEPTH = 42.0  # exp(-42) = 6e-19
EDGES = np.array([-36.0, -10, -3, 0, 1.5, 3, 4.5, 6])  # in log(rate x): between them 32 nodes resolve exp(-rate x)
NEAR = 0.03  # below it, two laws are so alike that one rule resolves both; above it, the plain formula keeps its digits


@computed_in_float64(*[0] * 8)
def truncated_gamma_kl(shape_p, rate_p, low_p, high_p, shape_q, rate_q, low_q, high_q):
    """Return KL between two gammas, each on its own interval of positive numbers; +inf if q's does not contain p's."""
    nested = (low_p >= low_q) & (high_p <= high_q)
    low_q, high_q = jnp.where(nested, low_q, low_p), jnp.where(nested, high_q, high_p)
    top, (low, high) = around_mode(shape_p, rate_p, low_p, high_p)
    width, below, above = log_width(low_p, high_p), log_width(low_q, low_p), log_width(high_p, high_q)
    top_p, top_q = rate_p * top, rate_q * top
    log_mass, nodes, weights = rule(
        jnp.stack([shape_p, shape_q, shape_q, shape_q]),
        jnp.stack([top_p, top_q, top_q, top_q]),
        jnp.stack([low, low, low - below, high]),
        jnp.stack([high, high, low, high + above]),
        jnp.stack([width, width, below, above]),
    )
    shape, rate = shape_q - shape_p, (rate_q - rate_p) * top
    mean = (weights[0] * ((shape - rate)[..., None] * nodes[0] - rate[..., None] * em(nodes[0]))).sum(-1)
    plain = log_mass[1] - log_mass[0] - mean
    near = plain < NEAR
    changes = (jnp.where(near, change, 0.0) for change in (shape, rate))
    cut = jnp.where(near, by_common_rule(shape_p, top_p, *changes, low, high, width), plain)
    return jnp.where(nested, cut + log_inverse_share(*log_mass[1:]), jnp.inf)


@computed_in_float64(*[0] * 4)
def truncated_gamma_entropy(shape, rate, low, high):
    """Return the entropy in y plus the mean of log x."""
    top, ends = around_mode(shape, rate, low, high)
    log_mass, nodes, weights = rule(shape, rate * top, *ends, log_width(low, high))
    exponents = log_density(nodes, shape[..., None], (rate * top)[..., None])
    return log_mass + jnp.log(top) + (weights * (nodes - exponents)).sum(-1)


def log_density(y, shape, top):
    """Return shape y - top (e^y - 1), where `top` is rate x0."""
    return (shape - top) * y - top * em(y)


def around_mode(shape, rate, low, high):
    """Return where the density of log x is largest, and the ends of the interval from there."""
    top = jnp.clip(shape / rate, low, high)
    return top, (-log_width(low, top), log_width(top, high))


def log_width(low, high):
    """Return log(high / low).

    It is inf, with no derivative, where low is 0 or high infinite, and 0 where both are the same.
    """
    finite = (low > 0) & (high < jnp.inf)
    ratio = log_ratio(jnp.where(finite, high, 1.0), jnp.where(finite, low, 1.0))
    return jnp.where(finite, ratio, jnp.where(low == high, 0.0, jnp.inf))


def rule(shape, top, low, high, width):
    """Return log of the integral of the density from low to high, with nodes and weights that sum to 1.

    `width` is high - low, known more exactly than their difference; if it is 0, the logarithm is -inf.
    """
    some = width > 0
    low, high, width = jnp.where(some, low, 0.0), jnp.where(some, high, 1.0), jnp.where(some, width, 1.0)
    mode = jax.lax.stop_gradient(jnp.clip(jnp.log(shape) - jnp.log(top), low, high))  # only to expand around
    local = top * jnp.exp(mode)
    left = jnp.where(mode == high, width - (high - mode), mode - low)
    right = jnp.where(mode == low, width - (mode - low), high - mode)
    left, right = jnp.minimum(left, reach_left(shape, local)), jnp.minimum(right, reach_right(shape, local))
    steps, lengths = segments(left, right, local)
    weights = lengths * jnp.exp(log_density(steps, shape[..., None], local[..., None]))
    total = weights.sum(-1)
    log_mass = log_density(mode, shape, top) + jnp.log(total)
    return jnp.where(some, log_mass, -jnp.inf), mode[..., None] + steps, weights / total[..., None]


def segments(left, right, local):
    """Return nodes from -left to right around a mode, and their weights, which are 0 in segments of no length."""
    left, right = left[..., None], right[..., None]
    edges = EDGES - jax.lax.stop_gradient(jnp.log(local))[..., None]
    edges = jnp.concatenate([-left, jnp.clip(edges, -left, 0.0), jnp.clip(edges, 0.0, right), right], -1)
    spans = jnp.diff(edges)[..., None]
    steps = edges[..., :-1, None] + spans * (0.5 * (1 + NODES))
    return (x.reshape(*x.shape[:-2], -1) for x in (steps, 0.5 * spans * WEIGHTS))


def reach_left(shape, local):
    """Return a distance left of the mode at which the density has fallen to exp(-DEPTH).

    It may be larger than needed: em(-r) >= r^2 / (2 + r).
    """
    slope = jnp.maximum(shape - local, 0.0)
    linear, root = DEPTH - 2 * slope, jnp.sqrt((DEPTH - 2 * slope) ** 2 + 8 * DEPTH * (slope + local))
    far, near = (linear + root) / (2 * (slope + local)), 4 * DEPTH / (root - linear)
    return jax.lax.stop_gradient(jnp.where(linear > 0, far, near))


def reach_right(shape, local):
    """Return a distance right of the mode at which the density has fallen to exp(-DEPTH).

    It uses em(r) >= r^2 / 2, and 0.44 e^r from r = 1.5 on.
    """
    slope = jnp.maximum(local - shape, 0.0)
    quadratic = 2 * DEPTH / (slope + jnp.sqrt(slope * slope + 2 * local * DEPTH))
    exponential = jnp.maximum(1.5, jnp.log(DEPTH / local) + 0.83)
    return jax.lax.stop_gradient(jnp.minimum(quadratic, exponential))


def by_common_rule(shape, top, shape_change, top_change, low, high, width):
    """Return the divergence between two laws on one interval, from the changes of shape and rate x0."""
    shape_q, top_q = shape + shape_change, top + top_change
    left = jnp.where(high == 0, width, -low)
    right = jnp.where(low == 0, width, high)
    left = jnp.minimum(left, jnp.maximum(reach_left(shape, top), reach_left(shape_q, top_q)))
    right = jnp.minimum(right, jnp.maximum(reach_right(shape, top), reach_right(shape_q, top_q)))
    nodes, lengths = segments(left, right, top)
    log_weights = jnp.where(lengths > 0, jnp.log(jnp.where(lengths > 0, lengths, 1.0)), -jnp.inf)
    log_weights = jax.nn.log_softmax(log_weights + log_density(nodes, shape[..., None], top[..., None]), axis=-1)
    change = (shape_change - top_change)[..., None] * nodes - top_change[..., None] * em(nodes)
    return log_sum_exp(jnp.exp(log_weights), log_weights, change)
