"""Normals cut down to intervals: densities exp(-slope y - curvature y^2 / 2) on [low, high].

y = 0 is where p's density is largest, and one unit of y is p's scale before it was cut, so that numbers stay moderate
however far out in a tail the interval is. Every integral is a Gauss-Legendre rule over the part of the interval where
the density is above exp(-DEPTH) of its maximum. On that part 64 nodes are exact to the last digits: both
exp(-DEPTH u) and a normal density over nine standard deviations to both sides are polynomials of degree 127 there.

KL(p||q) is that from q cut down to p's interval, plus -log of the probability that q gives this interval (Nielsen,
Entropy 24:421, 2022). For laws that nearly agree the first is a divergence of log-sum-exp over one rule that resolves
both, which does not cancel. Only changes of the location and of the scale that undo each other cancel,
far out in a tail, at `slope` standard deviations: this costs a factor of slope^2 in the last digit.
"""

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.divergences.analytic.truncations.interval_mass import log_inverse_share
from vi_kl.divergences.bregman import log_sum_exp
from vi_kl.divergences.float64 import computed_in_float64

NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)
DEPTH = 42.0  # exp(-42) = 6e-19
NEAR = 0.03  # below it, two laws are so alike that one rule resolves both; above it, the plain formula keeps its digits


@computed_in_float64(*[0] * 8)
def truncated_normal_kl(loc_p, scale_p, low_p, high_p, loc_q, scale_q, low_q, high_q):
    """Return KL between two normals, each on its own interval, which may be infinite.

    It is +inf if q's interval does not contain p's.
    """
    nested = (low_p >= low_q) & (high_p <= high_q)
    low_q, high_q = jnp.where(nested, low_q, low_p), jnp.where(nested, high_q, high_p)
    top, slope, (low, high) = around_mode(loc_p, scale_p, low_p, high_p)
    ratio, d = scale_p / scale_q, (scale_p - scale_q) / scale_q
    curvature, bend = ratio * ratio, d * (2 + d)  # q's curvature, and its difference from p's, which is 1
    tilt = bend * slope + ratio * ((loc_p - loc_q) / scale_q)
    slope_q = ratio * ((top - loc_q) / scale_q)
    one = jnp.ones_like(slope)
    below, above = distance(low_q, low_p, scale_p), distance(high_p, high_q, scale_p)
    log_mass, nodes, weights = rule(
        jnp.stack([slope, slope_q, slope_q, slope_q]),
        jnp.stack([one, curvature, curvature, curvature]),
        jnp.stack([low, low, low - below, high]),
        jnp.stack([high, high, low, high + above]),
        jnp.stack([high - low, high - low, below, above]),
    )
    mean, square = (weights[0] * nodes[0]).sum(-1), (weights[0] * nodes[0] ** 2).sum(-1)
    plain = log_mass[1] - log_mass[0] + tilt * mean + 0.5 * bend * square
    near = plain < NEAR
    changes = (jnp.where(near, change, 0.0) for change in (tilt, bend))
    cut = jnp.where(near, by_common_rule(slope, *changes, low, high), plain)
    return jnp.where(nested, cut + log_inverse_share(*log_mass[1:]), jnp.inf)


@computed_in_float64(*[0] * 4)
def truncated_normal_entropy(loc, scale, low, high):
    _, slope, (low, high) = around_mode(loc, scale, low, high)
    log_mass, nodes, weights = rule(slope, jnp.ones_like(slope), low, high, high - low)
    return jnp.log(scale) + log_mass + (weights * (slope[..., None] + 0.5 * nodes) * nodes).sum(-1)


def around_mode(loc, scale, low, high):
    """Return where the density is largest, how fast it falls there, and the ends of the interval from there."""
    top = jnp.clip(loc, low, high)
    ends = -distance(low, top, scale), distance(top, high, scale)
    return top, (top - loc) / scale, ends


def distance(low, high, scale):
    """Return (high - low) / scale.

    It is inf, with no derivative, where an end is infinite, and 0 where both are the same.
    """
    finite = (abs(low) < jnp.inf) & (abs(high) < jnp.inf)
    difference = jnp.where(finite, high, 0.0) - jnp.where(finite, low, 0.0)
    return jnp.where(finite, difference / scale, jnp.where(low == high, 0.0, jnp.inf))


def rule(slope, curvature, low, high, width):
    """Return log of the integral of exp(-slope y - curvature y^2 / 2) from low to high, with nodes and weights.

    The weights sum to 1.

    `width` is high - low, known more exactly than their difference; if it is 0, the logarithm is -inf.
    """
    some = width > 0
    low, high, width = jnp.where(some, low, 0.0), jnp.where(some, high, 1.0), jnp.where(some, width, 1.0)
    mode = jax.lax.stop_gradient(jnp.clip(-slope / curvature, low, high))  # used only as the point to expand around
    steepness = slope + curvature * mode
    reach_left, reach_right = reach(-steepness, curvature), reach(steepness, curvature)
    left, right = jnp.minimum(mode - low, reach_left), jnp.minimum(high - mode, reach_right)
    whole = (mode - low <= reach_left) & (high - mode <= reach_right)
    span = jnp.where(whole, jnp.where(whole, width, 1.0), left + right)
    steps = span[..., None] * (0.5 * (1 + NODES)) - left[..., None]
    exponents = np.log(WEIGHTS) - steps * (steepness[..., None] + 0.5 * curvature[..., None] * steps)
    largest = jax.lax.stop_gradient(exponents.max(-1, keepdims=True))
    weights = jnp.exp(exponents - largest)
    total = weights.sum(-1)
    log_mass = largest[..., 0] + jnp.log(0.5 * span * total) - mode * (slope + 0.5 * curvature * mode)
    return jnp.where(some, log_mass, -jnp.inf), mode[..., None] + steps, weights / total[..., None]


def reach(slope, curvature):
    """Return the distance at which exp(-slope y - curvature y^2 / 2) has fallen to exp(-DEPTH)."""
    root = jnp.sqrt(slope * slope + 2 * curvature * DEPTH)
    rising = 2 * DEPTH / (slope + root)
    return jax.lax.stop_gradient(jnp.where(slope > 0, rising, (root - slope) / curvature))


def by_common_rule(slope, tilt, bend, low, high):
    """Return the divergence from slope and curvature 1 to slope + tilt and 1 + bend, on one interval."""
    left = jnp.minimum(-low, jnp.maximum(reach(-slope, 1.0), reach(-slope - tilt, 1 + bend)))
    right = jnp.minimum(high, jnp.maximum(reach(slope, 1.0), reach(slope + tilt, 1 + bend)))
    nodes = (left + right)[..., None] * (0.5 * (1 + NODES)) - left[..., None]
    log_weights = jax.nn.log_softmax(np.log(WEIGHTS) - nodes * (slope[..., None] + 0.5 * nodes), axis=-1)
    change = -nodes * (tilt[..., None] + 0.5 * bend[..., None] * nodes)
    return log_sum_exp(jnp.exp(log_weights), log_weights, change)
