"""Sets of numbers, vectors and matrices, as far as they are known, and those that NumPyro's constraints describe."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints

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
