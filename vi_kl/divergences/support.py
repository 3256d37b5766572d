"""Infinite divergences, found from the two regions alone: p reaches where q has no probability.

Every family is assumed to give probability to all of its support, as NumPyro's do for parameters inside their ranges.
If that is not so (counts whose rate is 0, say), or if the region of p is only known to lie inside another,
nothing is claimed.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution, ExpandedDistribution, HurdleLogits, constraints

from vi_kl.divergences.density import log_density
from vi_kl.divergences.region import has_an_atom, is_discrete, region_of
from vi_kl.divergences.sets import Region

# subsets of the space of vectors that have a volume in it, and are not all of it
PARTS = tuple(type(c) for c in (constraints.ordered_vector, constraints.positive_ordered_vector, constraints.l1_ball))


def reaches_beyond(p, q):
    """Return whether p reaches beyond q's support.

    It is True or False, an array if it depends on bounds, and None if it is unknown.
    """
    left, right = region_of(p), region_of(q)
    if None not in (left.dimension, right.dimension) and left.dimension != right.dimension:
        return True  # the smaller set is negligible in the larger one
    if has_an_atom(p) and right.dimension == 1 and q.event_shape == ():
        return atom_of(p) > 0
    if left.is_whole and isinstance(right.named, PARTS):
        return True
    if not (left.exact and left.pieces and right.pieces):
        return None
    if is_discrete(p):
        return counts_beyond(p, left, right)
    beyond = ends_beyond(left, right)
    beyond = beyond[0] | beyond[1]
    events = len(p.event_shape)
    return beyond.any(tuple(range(-min(events, np.ndim(beyond)), 0))) if events and np.ndim(beyond) else beyond


def atom_of(hurdle):
    """Return the probability of 0, or a number that is 0 where that is."""
    while isinstance(hurdle, ExpandedDistribution):
        hurdle = hurdle.base_dist
    return jax.nn.sigmoid(hurdle.gate_logits) if isinstance(hurdle, HurdleLogits) else hurdle.gate


def lies_within(p, q) -> bool:
    """Return whether p is known not to reach beyond q: draws that do are then due to rounding at an edge."""
    left, right = region_of(p), region_of(q)
    if None in (left.dimension, right.dimension) or left.dimension != right.dimension or not right.exact:
        return False
    if right.is_whole:
        return True
    if right.named is not None:
        return type(left.named) is type(right.named)
    if not (left.pieces and right.pieces and len(right.pieces) == 1):
        return False
    return not any(np.any(beyond) for beyond in ends_beyond(left, right))


def ends_beyond(left: Region, right: Region):
    """Return whether the ends of the first lie beyond those of the second, by more than rounding."""
    one, other = left.hull, right.hull
    below = one.low + one.low_error + other.low_error < other.low
    above = one.high - one.high_error - other.high_error > other.high
    return below, above


def counts_beyond(p, left: Region, right: Region):
    """Return whether a pmf of numbers reaches beyond: it has to give probability to the nearest count beyond."""
    if p.event_shape:
        return None
    below, above = ends_beyond(left, right)
    beyond = below & has_probability(p, jnp.ceil(right.hull.low) - 1, below)
    return beyond | (above & has_probability(p, jnp.floor(right.hull.high) + 1, above))


def has_probability(p, count, asked):
    """Return whether p gives the count any probability; counts that are not asked about may be infinite."""
    return log_density(p, jnp.where(asked, count, 0.0)) > -jnp.inf


def infinite(p, q):
    """Return +inf in the batch shape of the pair."""
    return jnp.full(jnp.broadcast_shapes(batch_shape(p), batch_shape(q)), jnp.inf)


def batch_shape(distribution):
    """Return the batch shape of the parameters.

    Under vmap, a distribution still declares the mapped axis.
    """
    names = list(distribution.arg_constraints)
    parts = [getattr(distribution, name, None) for name in ("base_dist", "transforms", "_mask")]
    is_wrapper = isinstance(parts[0], Distribution)
    if distribution.event_shape or isinstance(distribution, ExpandedDistribution) or not (names or is_wrapper):
        return distribution.batch_shape
    shapes = [parameter_shape(distribution, name) for name in names]
    if is_wrapper:
        shapes += [batch_shape(parts[0]), *map(jnp.shape, jax.tree.leaves(parts[1:]))]
    return jnp.broadcast_shapes(*shapes)


def parameter_shape(distribution, name):
    """Return a parameter's shape without the axes that belong to one distribution, as those of categories."""
    shape = jnp.shape(getattr(distribution, name))
    try:
        event_dim = distribution.arg_constraints[name].event_dim
    except NotImplementedError:  # it depends on the distribution, and the events of this one are numbers
        event_dim = 0
    return shape[: len(shape) - event_dim]
