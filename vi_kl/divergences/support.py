"""Divergences that are infinite because p reaches where q has no probability, told from the supports alone.

Every family is taken to give probability to all of its support, as NumPyro's do for parameters inside their ranges.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution, ExpandedDistribution, constraints

UNBOUNDED = -np.inf, np.inf
# subsets of the space of vectors that have no volume in it
THIN = tuple(type(c) for c in (constraints.simplex, constraints.sphere, constraints.zero_sum(1)))
# subsets that have one, and are not all of it
PARTS = tuple(type(c) for c in (constraints.ordered_vector, constraints.positive_ordered_vector, constraints.l1_ball))


def reaches_beyond(p, q):
    """Whether p reaches beyond q's support: True or False, an array where it depends on bounds, None if unknown."""
    left, right = p.support, q.support
    vectors = beyond_vectors(innermost(left), innermost(right))
    if vectors is not None:
        return vectors
    left, right = bounds(left), bounds(right)
    if left is None or right is None:
        return None
    beyond = (left[0] < right[0]) | (left[1] > right[1])
    events = len(p.event_shape)
    return beyond.any(tuple(range(-min(events, beyond.ndim), 0))) if events and jnp.ndim(beyond) else beyond


def beyond_vectors(left, right):
    """The same for sets of vectors; None where they are not, or where it is not known."""
    everything = type(constraints.real_vector.base_constraint), constraints.real.__class__
    if isinstance(left, everything) and isinstance(right, THIN + PARTS):
        return True
    if isinstance(left, THIN) and isinstance(right, everything + PARTS):
        return True
    if isinstance(left, PARTS) and isinstance(right, THIN):
        return True
    return None


def innermost(support):
    """The constraint on each entry of an event."""
    while isinstance(support, type(constraints.independent(constraints.real, 1))):
        support = support.base_constraint
    return support


def bounds(support):
    """The smallest and the largest value of a set on the line; None where it is no interval."""
    support = innermost(support)
    if support is constraints.real or isinstance(support, type(constraints.real)):
        return UNBOUNDED
    if support is constraints.boolean or isinstance(support, type(constraints.boolean)):
        return 0, 1
    low, high = (getattr(support, name, None) for name in ("lower_bound", "upper_bound"))
    if low is None and high is None:
        return None
    return UNBOUNDED[0] if low is None else low, UNBOUNDED[1] if high is None else high


def infinite(p, q):
    """+inf in the batch shape of the pair."""
    return jnp.full(jnp.broadcast_shapes(batch_shape(p), batch_shape(q)), jnp.inf)


def batch_shape(distribution):
    """That of the parameters where the event is a number: under vmap, a distribution still declares the mapped axis."""
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
    """Without the axes that belong to one distribution, as those of the probabilities of categories do."""
    shape = jnp.shape(getattr(distribution, name))
    try:
        event_dim = distribution.arg_constraints[name].event_dim
    except NotImplementedError:  # it depends on the distribution, and the events of this one are numbers
        event_dim = 0
    return shape[: len(shape) - event_dim]
