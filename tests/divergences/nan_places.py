"""Where a NaN can be put into a distribution: its floating parameters, those of its parts included."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences import NoClosedForm


def places(distribution):
    """Paths of attribute names and indices to the floating parameters, with their values."""
    found = []
    if isinstance(distribution, dist.MaskedDistribution):
        return found  # what is masked counts nothing
    for name in distribution.arg_constraints:
        value = vars(distribution).get(name)
        if name == "total_count" and "concentration" in vars(distribution):
            continue  # a second name of that
        if value is not None and is_floating(value):
            found.append(((name,), np.asarray(value)))
    if isinstance(distribution, dist.TransformedDistribution | dist.GaussianCopula) and distribution.arg_constraints:
        return found  # what is inside follows from them
    base = vars(distribution).get("base_dist")
    if isinstance(base, dist.Distribution):
        found += [(("base_dist", *path), value) for path, value in places(base)]
    for i, transform in enumerate(vars(distribution).get("transforms", ())):
        names = [name for name, value in vars(transform).items() if is_floating(value)]
        found += [(("transforms", i, name), np.asarray(getattr(transform, name))) for name in names]
    return found


def is_floating(value):
    """SciPy's sparse matrices are no arrays."""
    return isinstance(value, float) or (hasattr(value, "__array__") and jnp.issubdtype(value.dtype, jnp.floating))


def with_value(thing, path, value):
    """A copy with another value at the path."""
    thing = copy.copy(thing)
    step, *rest = path
    if isinstance(thing, list):
        thing[step] = with_value(thing[step], rest, value) if rest else value
    else:
        vars(thing)[step] = with_value(vars(thing)[step], rest, value) if rest else value
    return thing


def spoilt(value):
    """The value with a NaN in its last entry."""
    array = np.array(value, dtype=np.float32)
    array.reshape(-1)[-1] = np.nan
    if array.ndim >= 2:  # also below the diagonal, where nothing looks at it first
        array = np.array(value, dtype=np.float32)
        array[..., -1, 0] = np.nan
    return array


def program(function, *distributions):
    """Value and gradient of a function of distributions, for one NaN after the other in their parameters.

    Returns:
        The paths, (values, gradients) with one row per NaN.
    """
    found = places_of(distributions)
    values = [np.asarray(value, dtype=np.float32) for _, _, value in found]

    def of_values(values):
        changed = list(distributions)
        for (i, path, _), value in zip(found, values, strict=True):
            changed[i] = with_value(changed[i], path, value)
        return function(*changed).sum()

    count = len(values)
    stacks = [np.stack([spoilt(v) if k == j else v for k in range(count)]) for j, v in enumerate(values)]
    if not count:
        return [], (np.zeros(0), [])
    return found, jax.jit(jax.vmap(jax.value_and_grad(of_values)))(stacks)


def places_of(distributions):
    """(which distribution, path, value) of every place; none beside one that is masked, where nothing counts either."""
    if any(isinstance(d, dist.MaskedDistribution) for d in distributions):
        return []
    return [(i, path, value) for i, d in enumerate(distributions) for path, value in places(d)]


def failures(function, *distributions):
    """The places from which a NaN reaches neither the value nor its own gradient; none where it is not traceable."""
    try:
        found, (values, gradients) = program(function, *distributions)
    except NoClosedForm as error:
        if "is being traced" not in str(error):
            raise
        return []  # a form that has to know its parameters: `failures_without_tracing` has it
    missed = []
    for k, (i, path, _) in enumerate(found):
        if not np.isnan(values[k]):
            missed.append(("pq"[i], path, "value", float(values[k])))
        if not np.isnan(np.asarray(gradients[k][k])).any():
            missed.append(("pq"[i], path, "gradient", np.asarray(gradients[k][k]).tolist()))
    return missed


def failures_without_tracing(function, *distributions):
    """The same where the values are known: NaN, or an error that says so."""
    missed = []
    for i, path, value in places_of(distributions):
        changed = list(distributions)
        changed[i] = with_value(distributions[i], path, spoilt(value))
        try:
            result = function(*changed)
        except ValueError as error:
            if "NaN" not in str(error):
                missed.append(("pq"[i], path, str(error)))
            continue
        if not np.isnan(np.asarray(result)).any():  # in its batch entry
            missed.append(("pq"[i], path, np.asarray(result).tolist()))
    return missed
