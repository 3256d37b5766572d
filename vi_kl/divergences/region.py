"""The set of values that a distribution takes, as far as it is known.

NumPyro's `support` is only a superset for some classes: that of a transformed distribution is where its last
transform may lead, whatever its base; that of a mixture is its first component's. Here images are computed through the
transforms, and each region says whether the distribution gives probability to all of it.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.mixtures import MixtureGeneral, MixtureSameFamily

CENSORED = (dist.LeftCensoredDistribution, dist.RightCensoredDistribution, dist.IntervalCensoredDistribution)
COUNTS = type(constraints.boolean), constraints.integer_interval, constraints.integer_greater_than


@dataclasses.dataclass(frozen=True)
class Interval:
    """An interval from `low` to `high`, each of which rounding may have moved by as much as its error."""

    low: object
    high: object
    low_error: object = 0.0
    high_error: object = 0.0


@dataclasses.dataclass(frozen=True)
class Region:
    """A set in which a distribution has its probability.

    Attributes:
        pieces: the intervals whose union holds each entry of a product set; None for other sets.
        named: the constraint that describes a set of vectors or matrices that is not a product, or a set around
            it; None if there is none.
        exact: whether the distribution reaches everything between the ends of the pieces, or all of the named set.
        dimension: the dimension of the set as a manifold: 0 for counts and points; None if it is unknown.
    """

    pieces: tuple[Interval, ...] | None = None
    named: constraints.Constraint | None = None
    exact: bool = False
    dimension: int | None = None

    @property
    def hull(self) -> Interval:
        """The interval from the lowest to the highest piece."""
        return functools.reduce(joined, self.pieces)

    @property
    def is_whole(self) -> bool:
        """Return whether the region is all of the space of numbers, vectors or matrices."""
        if not self.exact or not self.pieces:
            return False
        return any(is_always(piece.low, -np.inf) and is_always(piece.high, np.inf) for piece in self.pieces)


def joined(one: Interval, other: Interval) -> Interval:
    xp = arrays_of(one.low, one.high, other.low, other.high)
    errors = (xp.maximum(getattr(one, n), getattr(other, n)) for n in ("low_error", "high_error"))
    return Interval(xp.minimum(one.low, other.low), xp.maximum(one.high, other.high), *errors)


def is_always(value, number) -> bool:
    return not isinstance(value, jax.core.Tracer) and bool(np.all(np.asarray(value) == number))


def arrays_of(*values):
    """Return NumPy, which keeps all digits, for concrete values, and jax.numpy for those being traced."""
    return jnp if any(isinstance(value, jax.core.Tracer) for value in values) else np


UNKNOWN = Region()


def region_of(distribution) -> Region:
    """Return where a distribution has its probability; `UNKNOWN` if nothing can be said."""
    from vi_kl.divergences.images import image_of  # imported here, since the images of regions are regions

    match distribution:
        case dist.ExpandedDistribution() | dist.MaskedDistribution():
            return region_of(distribution.base_dist)
        case dist.Independent():
            return independent(distribution)
        case MixtureSameFamily() | MixtureGeneral():
            return union(distribution)
        case dist.Delta():
            return Region((Interval(distribution.v, distribution.v),), exact=True, dimension=0)
        case dist.Levy():  # it forgets its support under jit
            return Region((Interval(distribution.loc, np.inf),), exact=True, dimension=1)
        case dist.TransformedDistribution() if is_chain(distribution):
            try:
                return image_of(distribution)
            except NotImplementedError:  # the transform does not declare its codomain
                return UNKNOWN
    support = distribution.support
    if support is None:
        return UNKNOWN
    region = region_of_constraint(support, distribution.event_shape)
    if has_an_atom(distribution):
        return dataclasses.replace(region, dimension=None)
    return dataclasses.replace(region, exact=False) if isinstance(distribution, CENSORED) else region


def is_chain(distribution) -> bool:
    """Return whether the support that NumPyro gives is nothing but the codomain of the last transform."""
    inherited = type(distribution).support is dist.TransformedDistribution.support
    return inherited or isinstance(distribution, dist.FoldedDistribution)


def independent(distribution) -> Region:
    base = region_of(distribution.base_dist)
    copies = math.prod(distribution.event_shape[: distribution.reinterpreted_batch_ndims])
    dimension = None if base.dimension is None else base.dimension * copies
    # the named set is then that of the last axes only
    exact = base.exact and base.named is None
    return dataclasses.replace(base, dimension=dimension, named=None, exact=exact)


def union(mixture) -> Region:
    """Return the union of the components that have a positive weight."""
    if isinstance(mixture, MixtureSameFamily):
        regions = split(region_of(mixture.component_distribution), mixture)
    else:
        regions = [region_of(component) for component in mixture.component_distributions]
    regions, certain = with_weight(regions, mixture.mixing_distribution.probs)
    first, exact = regions[0], certain and all(region.exact for region in regions)
    dimension = first.dimension if len({region.dimension for region in regions}) == 1 else None
    if all(region.pieces for region in regions):
        return Region(distinct([piece for region in regions for piece in region.pieces]), None, exact, dimension)
    same = first.named is not None and all(type(region.named) is type(first.named) for region in regions)
    return Region(None, first.named if same else None, exact and same, dimension)


def with_weight(regions, weights):
    """Return the regions with a positive weight, and whether that is known."""
    if len(regions) == 1:
        return regions, True
    if isinstance(weights, jax.core.Tracer):
        return regions, False
    positive = (np.asarray(weights) > 0).reshape(-1, len(regions))
    some = [region for region, kept in zip(regions, positive.any(0), strict=True) if kept]
    return (some, bool((positive.any(0) == positive.all(0)).all())) if some else (regions, False)


def distinct(pieces) -> tuple[Interval, ...]:
    """Return the pieces without repetitions, as far as they are known."""
    kept = {}
    for piece in pieces:
        ends = ends_and_errors(piece)
        plain = all(not isinstance(end, jax.core.Tracer) and np.ndim(end) == 0 for end in ends)
        kept.setdefault(tuple(map(float, ends)) if plain else id(piece), piece)
    return tuple(kept.values())


def split(region: Region, mixture) -> list[Region]:
    """Return the region of each component; one for all if they do not differ."""
    count, axis = mixture.mixture_size, mixture.mixture_dim
    ends = [end for piece in region.pieces or () for end in ends_and_errors(piece)]
    if all(np.ndim(end) < -axis or np.shape(end)[axis] == 1 for end in ends):
        squeezed = [end if np.ndim(end) < -axis else end.squeeze(axis) for end in ends]
        return [dataclasses.replace(region, pieces=intervals(squeezed) if region.pieces else None)]

    def entry(end, k):
        if np.ndim(end) < -axis:
            return end
        return end[(..., min(k, end.shape[axis] - 1)) + (slice(None),) * (-axis - 1)]

    return [dataclasses.replace(region, pieces=intervals([entry(e, k) for e in ends])) for k in range(count)]


def ends_and_errors(piece: Interval) -> tuple:
    return piece.low, piece.high, piece.low_error, piece.high_error


def intervals(ends) -> tuple[Interval, ...]:
    return tuple(Interval(*ends[i : i + 4]) for i in range(0, len(ends), 4))


def region_of_constraint(support, event_shape) -> Region:
    """Return the region that a constraint describes."""
    constraint = innermost(support)
    dims = constraint.event_dim if not isinstance(constraint, type(constraints.dependent)) else 0
    inner = event_shape[len(event_shape) - dims :]
    copies = math.prod(event_shape[: len(event_shape) - dims])
    ends = ends_of(constraint)
    if ends is not None:
        dimension = 0 if isinstance(constraint, COUNTS) else copies
        return Region((Interval(*ends),), None, True, dimension)
    count = next((count for kind, count in DIMENSIONS.items() if isinstance(constraint, kind)), None)
    if count is None:
        return UNKNOWN
    single = len(event_shape) == dims
    return Region(None, constraint if single else None, single, copies * count(constraint, inner))


def innermost(support):
    """Return the constraint on each entry of an event."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support


def ends_of(constraint):
    """Return the smallest and the largest value of a set on the line; None if it is not an interval."""
    match constraint:
        case _ if isinstance(constraint, type(constraints.real)):
            return -np.inf, np.inf
        case _ if isinstance(constraint, type(constraints.boolean)):
            return 0, 1
        case constraints.interval() | constraints.integer_interval():
            return constraint.lower_bound, constraint.upper_bound
        case constraints.greater_than() | constraints.integer_greater_than():
            return constraint.lower_bound, np.inf
        case constraints.less_than():
            return -np.inf, constraint.upper_bound
    return None


def triangle(_, shape):
    return shape[-1] * (shape[-1] + 1) // 2


def triangle_without_diagonal(_, shape):
    return shape[-1] * (shape[-1] - 1) // 2


# how many free numbers a point of such a set has
DIMENSIONS = {
    type(constraints.simplex): lambda _, shape: shape[-1] - 1,
    type(constraints.sphere): lambda _, shape: shape[-1] - 1,
    constraints.zero_sum: lambda c, shape: math.prod(n - 1 for n in shape[len(shape) - c.event_dim :]),
    type(constraints.ordered_vector): lambda _, shape: shape[-1],
    type(constraints.positive_ordered_vector): lambda _, shape: shape[-1],
    type(constraints.l1_ball): lambda _, shape: shape[-1],
    type(constraints.lower_cholesky): triangle,
    type(constraints.positive_definite): triangle,
    type(constraints.corr_cholesky): triangle_without_diagonal,
    type(constraints.corr_matrix): triangle_without_diagonal,
    constraints.multinomial: lambda _, shape: 0,
}


def has_an_atom(distribution) -> bool:
    """Return whether a distribution is a hurdle before a density: neither a density nor a pmf."""
    if isinstance(distribution, dist.ExpandedDistribution):
        return has_an_atom(distribution.base_dist)
    return isinstance(distribution, dist.HurdleProbs) and not is_discrete(distribution.base_dist)


def is_discrete(distribution) -> bool:
    """Return whether a distribution is a pmf.

    A transformed one is if its base is, whatever NumPyro says of its support.
    """
    match distribution:
        case dist.TransformedDistribution():
            return is_discrete(distribution.base_dist)
        case dist.ExpandedDistribution() | dist.Independent() | dist.MaskedDistribution():
            return is_discrete(distribution.base_dist)
        case MixtureSameFamily():
            return is_discrete(distribution.component_distribution)
        case MixtureGeneral():
            return all(is_discrete(component) for component in distribution.component_distributions)
        case dist.Levy():
            return False
    return distribution.support is not None and bool(distribution.support.is_discrete)
