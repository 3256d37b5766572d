"""NaN in, NaN out: divergences and entropies, and their slopes, are NaN where a parameter is NaN or out of range.

NumPyro checks parameters only where it is asked to, and while a function is traced it cannot. A closed form chooses
between branches by comparisons, which are all false for NaN, so that it may return a number. Instead of guarding each
form, what leaves the registry is checked against the parameters that went in.

If a formula uses all of a matrix, as KL's do, only the diagonal is checked: NaN elsewhere propagates by
itself.
"""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.mixtures import MixtureGeneral, MixtureSameFamily

from vi_kl.divergences.sets import innermost

SUMS_TO_ONE = 1e-5  # how far off the probabilities of a distribution may add up; coarser types than float32: 1e-2
MATRICES = tuple(
    type(c) for c in (constraints.lower_cholesky, constraints.corr_cholesky, constraints.positive_definite,
                      constraints.positive_semidefinite, constraints.corr_matrix)
)  # fmt: skip
COVARIANCES = ("covariance_matrix", "precision_matrix", "scale_matrix", "rate_matrix", "scale_tril")
COMPARED = (
    constraints.greater_than, constraints.less_than, constraints.interval, constraints.integer_interval,
    constraints.integer_greater_than, type(constraints.boolean),
)  # fmt: skip


def held_to_parameters(value, *distributions, every_entry: bool = False):
    """Return the value, or NaN with NaN derivatives where a parameter of the distributions is invalid.

    Args:
        every_entry: whether to check all entries of matrices, for values that are not computed from all of them.
    """
    valid = all_of(valid for distribution in distributions for _, valid in checks(distribution, every_entry))
    if valid is not True:
        valid = all_last(valid, np.ndim(valid) - value.ndim)  # reduce what a distribution holds beyond its batch
        value = nan_unless(valid, value)
    traced = (leaf for leaf in jax.tree.leaves(distributions) if isinstance(leaf, jax.core.Tracer))
    leaves = [leaf for leaf in traced if is_floating(leaf) and (every_entry or leaf.ndim < value.ndim + 2)]
    return anchored(value, leaves) if leaves else value


@jax.custom_jvp
def nan_unless(valid, value):
    """Return the value where it is valid, else NaN with NaN derivatives.

    A choice, unlike a product, also keeps XLA from fusing the sum of the values with half of what computes them.
    """
    return jnp.where(valid, value, jnp.nan)


@nan_unless.defjvp
def nan_unless_derivative(primals, tangents):
    (valid, value), (_, tangent) = primals, tangents
    return nan_unless(valid, value), tangent * jnp.where(valid, 1.0, jnp.nan).astype(tangent.dtype)


def invalid_parameters(distribution) -> list[str]:
    """Return the names of the parameters that are known to be invalid."""
    return [
        name
        for name, valid in checks(distribution)
        if valid is not True and not isinstance(valid, jax.core.Tracer) and not np.all(valid)
    ]


def all_of(conditions):
    kept = [condition for condition in conditions if condition is not True]
    return functools.reduce(operator.and_, kept) if kept else True


def checks(distribution, every_entry=False):
    """Yield pairs (name of a parameter, whether it is valid)."""
    inner = functools.partial(checks, every_entry=every_entry)
    match distribution:
        case dist.ExpandedDistribution():
            yield from inner(distribution.base_dist)
        case dist.MaskedDistribution():
            return  # what is masked does not count; the form for masks checks the rest
        case dist.Independent():
            axes = distribution.reinterpreted_batch_ndims
            yield from ((name, all_last(valid, axes)) for name, valid in inner(distribution.base_dist))
        case MixtureSameFamily():
            yield from inner(distribution.mixing_distribution)
            yield from ((name, all_last(valid, 1)) for name, valid in inner(distribution.component_distribution))
        case MixtureGeneral():
            for part in (distribution.mixing_distribution, *distribution.component_distributions):
                yield from inner(part)
        case _:
            yield from own_checks(distribution, every_entry)
            if not isinstance(distribution, dist.TransformedDistribution):
                base = getattr(distribution, "base_dist", None)
                yield from inner(base) if isinstance(base, dist.Distribution) else ()
            elif not distribution.arg_constraints:
                yield from inner(distribution.base_dist)
                yield from transform_checks(distribution)


def transform_checks(distribution):
    for transform in distribution.transforms:
        for leaf in jax.tree.leaves(transform):
            if is_floating(leaf):
                yield type(transform).__name__, all_last(judged(is_number, leaf), distribution.event_dim)


def own_checks(distribution, every_entry):
    given = vars(distribution)
    derived = derived_matrices(given)
    for name, constraint in distribution.arg_constraints.items():
        value = given.get(name)
        if not isinstance(value, jax.Array | np.ndarray | np.generic | float | int) or name in derived:
            continue  # it is absent, or a sparse matrix
        test, axes = test_of(constraint)
        if isinstance(distribution, dist.Delta) and name == "v":
            axes = distribution.event_dim
        if isinstance(distribution, dist.MatrixNormal) and name == "loc":
            axes = 2  # NumPyro calls it a vector
        if isinstance(distribution, dist.VonMises) and name == "concentration":
            test = constraints.nonnegative  # with concentration 0 it is uniform on the circle
        if isinstance(distribution, dist.GaussianCopula) and test not in WHOLE_EVENTS:
            axes = 1  # the marginals' parameters, one for each coordinate
        yield name, all_last(judged(test, value), axes)
        if every_entry and test is has_positive_diagonal:
            yield name, all_last(judged(is_number, value), axes + 2)
    if {"low", "high"} <= given.keys():
        below = operator.le if isinstance(distribution, dist.DiscreteUniform) else operator.lt
        yield "low, high", judged(below, given["low"], given["high"])


def derived_matrices(given) -> list[str]:
    """Return the forms of a covariance matrix but for the one that was given, which NumPyro keeps first."""
    return [name for name, value in given.items() if name in COVARIANCES and value is not None][1:]


def test_of(constraint):
    """Return a test of an array for a parameter's constraint, and how many of its axes are still one event."""
    base = innermost(constraint)
    repeated = 0 if base is constraint else constraint.event_dim - base.event_dim
    if isinstance(base, COMPARED):
        return base, repeated
    if isinstance(base, type(constraints.simplex)):
        return is_simplex, repeated
    if isinstance(base, MATRICES):
        return has_positive_diagonal, repeated
    if isinstance(base, type(constraints.ordered_vector)):
        return is_ascending, repeated
    try:
        return is_number, constraint.event_dim
    except NotImplementedError:  # it depends on the distribution
        return is_number, 0


def is_number(x):
    return x == x


def is_simplex(x):
    tolerance = SUMS_TO_ONE if x.dtype.itemsize >= 4 else 1e-2
    return (x >= 0).all(-1) & (abs(x.sum(-1) - 1) <= tolerance)


def has_positive_diagonal(x):
    xp = jnp if isinstance(x, jax.Array) else np
    return (xp.diagonal(x, axis1=-2, axis2=-1) > 0).all(-1)


def is_ascending(x):
    return (x[..., 1:] > x[..., :-1]).all(-1) & (x[..., 0] == x[..., 0])


WHOLE_EVENTS = (is_simplex, has_positive_diagonal, is_ascending)


def judged(test, *values):
    """Return the test of values; True if it is known to hold for all of them."""
    if not all(map(is_near, values)):
        return test(*map(jnp.asarray, values))
    result = test(*map(np.asarray, values))
    return True if np.all(result) else np.asarray(result)


def is_near(value) -> bool:
    """Return whether NumPy can read a value without waiting for another device or for a value that is being traced."""
    if not isinstance(value, jax.Array):
        return True
    return not isinstance(value, jax.core.Tracer) and all(d.platform == "cpu" for d in value.devices())


def is_floating(leaf) -> bool:
    return isinstance(leaf, float) or (hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating))


def all_last(valid, count):
    if valid is True or count <= 0:
        return valid
    axes = tuple(range(-min(count, np.ndim(valid)), 0))
    return valid.all(axes) if axes else valid


@jax.custom_jvp
def anchored(value, leaves):
    """Return the value, whose derivative by parameters that are NaN is NaN.

    It is for values that depend on none of them.
    """
    return value


@anchored.defjvp
def anchored_derivative(primals, tangents):
    (value, leaves), (tangent, slopes) = primals, tangents
    for leaf, slope in zip(leaves, slopes, strict=True):
        tangent = tangent + in_batch(jnp.where(jnp.isnan(leaf), jnp.nan, 0.0) * slope, value).astype(value.dtype)
    return anchored(value, leaves), tangent


def in_batch(terms, value):
    """Return the terms summed over events, as far as the shapes show them."""
    terms = terms.sum(tuple(range(value.ndim, terms.ndim))) if terms.ndim > value.ndim else terms
    sizes = zip(reversed(terms.shape), reversed(value.shape), strict=False)
    return terms if all(size in (1, whole) for size, whole in sizes) else terms.sum()
