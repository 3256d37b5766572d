"""The map from unconstrained variables onto the values that a distribution takes, for integrals over them."""

import numpy as np
from numpyro.distributions import biject_to, constraints

from vi_kl.divergences.region import region_of
from vi_kl.divergences.sets import Region, region_of_constraint


def values_of(distribution):
    """Return the set of values as a NumPyro constraint.

    It is None if the set is unknown or has no map from unconstrained variables.

    The values must be concrete, and not traced. On the line the set is the smallest interval around them.
    """
    region = region_of(distribution)
    constraint = named(region, distribution) if region.pieces is None else interval(region)
    if constraint is None:
        return None
    missing = distribution.event_dim - constraint.event_dim
    constraint = constraints.independent(constraint, missing) if missing else constraint
    try:
        biject_to(constraint).inverse_shape(distribution.event_shape)
    except NotImplementedError:
        return None
    return constraint


def named(region: Region, distribution):
    """Return the set itself; if it is repeated along more axes, NumPyro's constraint for that."""
    if region.named is not None or region.dimension is None or distribution.support is None:
        return region.named
    repeated = region == region_of_constraint(distribution.support, distribution.event_shape)
    return distribution.support if repeated else None


def interval(region: Region):
    """Return the interval of each entry; None if some have an end and others have none."""
    hull = region.hull
    low, high = (float(end) if np.ndim(end) == 0 else np.asarray(end) for end in (hull.low, hull.high))
    unbounded = np.isinf(low), np.isinf(high)
    if any(some.any() != some.all() for some in map(np.asarray, unbounded)):
        return None
    if all(np.all(some) for some in unbounded):
        return constraints.real
    if np.all(unbounded[1]):
        return constraints.positive if np.all(low == 0) else constraints.greater_than(low)
    if np.all(unbounded[0]):
        return constraints.less_than(high)
    return constraints.unit_interval if np.all(low == 0) and np.all(high == 1) else constraints.interval(low, high)


def ends_inside(distribution, constraint) -> np.ndarray:
    """Return where pieces of a distribution on the line end inside an interval: there its density may jump."""
    pieces = region_of(distribution).pieces or ()
    ends = np.array([end for piece in pieces for end in (piece.low, piece.high)], dtype=float).ravel()
    return np.unique(ends[np.isfinite(ends) & np.asarray(constraint(ends), dtype=bool)])
