"""Evaluation of closed forms in float64, returned in the caller's dtype.

Written without cancellation, the forms keep more than 12 of float64's 16 digits in the worst cases known, so that a
caller in JAX's default float32 gets the exact value rounded once. This works inside jit, grad and vmap; the
switch is scoped and leaves the caller's setting alone.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.core.compilation import compiled
from vi_kl.core.precision import x64_types
from vi_kl.divergences.bregman import FULL, SINGLE

SMALL = 10_000  # numbers


def computed_in_float64(*event_dims: int, digits: bool = False, forward: bool = False):
    """Compile a function of parameter arrays in float64; return its result in their common dtype.

    Args:
        event_dims: the number of last axes of each positional argument that belong to one distribution; the axes
            before them are batches, which broadcast. The function returns one number per batch entry, and keyword
            arguments are part of its code.
        digits: whether the function takes a keyword `digits`, the number of digits that the result needs (see bregman).
        forward: whether the derivative is computed in forward mode, for one number per distribution at a time: loops
            of a length that depends on the arrays have no other.

    The derivative, too, is computed inside the float64 scope, as one gradient per batch entry: JAX runs the
    backward pass outside it, where it could no longer create float64 arrays.
    """

    def decorate(function):
        values = functools.cache(functools.partial(value_program, function))
        gradients = functools.cache(functools.partial(slopes_program if forward else gradient_program, function))

        @functools.wraps(function)
        def wrapped(*arrays, **static):
            dtype = jnp.result_type(float, *arrays)  # Python numbers and NumPy arrays follow JAX's default
            if digits:
                static["digits"] = FULL if dtype == jnp.float64 else SINGLE
            arrays, shapes = with_common_batch_shape(arrays, event_dims)
            traced = tuple(i for i, array in enumerate(arrays) if isinstance(array, jax.Array))
            keywords = tuple(sorted(static.items()))
            return evaluate_in_float64(values(*keywords), gradients(traced, *keywords), arrays, shapes, traced, dtype)

        return wrapped

    return decorate


def value_program(function, *static):
    """Return one program for all callers, whichever of the arguments they differentiate."""
    return compiled(of_float64_arrays(functools.partial(function, **dict(static))), unoptimized=is_small)


def gradient_program(function, differentiated, *static):
    keywords = dict(static)

    def total(*arrays):
        return function(*arrays, **keywords).sum()  # batch entries do not depend on each other

    return (
        compiled(of_float64_arrays(jax.grad(total, argnums=differentiated)), unoptimized=is_small)
        if differentiated
        else None
    )


def slopes_program(function, differentiated, *static):
    """Return the gradients in forward mode, for arrays with one number per distribution."""
    keywords = dict(static)

    def slopes(*arrays):
        def along(i):
            tangents = [jnp.ones_like(a) if j == i else jnp.zeros_like(a) for j, a in enumerate(arrays)]
            return jax.jvp(lambda *values: function(*values, **keywords), arrays, tuple(tangents))[1]

        return tuple(along(i) for i in differentiated)

    return compiled(of_float64_arrays(slopes), unoptimized=is_small) if differentiated else None


def of_float64_arrays(function):
    """Return a function of the arrays in float64; large ones are converted inside its program, which saves a copy."""
    return lambda *arrays: function(*(array.astype(jnp.float64) for array in arrays))


def is_small(*arrays) -> bool:
    """Return whether compiling takes longer than computing will."""
    return all(isinstance(array.size, int) and array.size <= SMALL for array in arrays)


def evaluate_in_float64(value, gradient, arrays, shapes, traced, dtype):
    """Return the value with its derivative by the JAX arrays; the others keep their own digits and are constants."""
    # JAX keeps the function below as long as what it is traced in: it must not hold references to traced values
    constants = [None if i in traced else array for i, array in enumerate(arrays)]

    def in_order(parameters):
        values = dict(zip(traced, parameters, strict=True))
        given = [float64_if_small(values.get(i, array)) for i, array in enumerate(constants)]
        return [
            a if i in traced or a.shape == shapes[i] else jnp.broadcast_to(a, shapes[i]) for i, a in enumerate(given)
        ]

    @jax.custom_jvp
    def evaluate(*parameters):
        with x64_types():
            return value(*in_order(parameters)).astype(dtype)

    @evaluate.defjvp
    def derivative(parameters, tangents):
        with x64_types():
            slopes = [slope.astype(dtype) for slope in gradient(*in_order(parameters))]
        result = evaluate(*parameters)
        terms = [slope * tangent for slope, tangent in zip(slopes, tangents, strict=True)]
        return result, sum(term.sum(tuple(range(result.ndim, term.ndim))) for term in terms).astype(dtype)

    return evaluate(*(arrays[i] for i in traced))


def float64_if_small(array):
    """Return the array, in float64 if it is small, so that callers in both precisions share a program."""
    return array if isinstance(array, jax.Array) and not is_small(array) else jnp.asarray(array, dtype=jnp.float64)


def with_common_batch_shape(arrays, event_dims):
    """Return the arrays with their batch axes broadcast against each other, and the resulting shapes.

    NumPy arrays remain NumPy arrays; see `broadcast` for a symbolic batch shape, which `jax.export` allows.
    """
    arrays = [as_floats(array) for array in arrays]
    shapes = [(a.shape[: a.ndim - dims], a.shape[a.ndim - dims :]) for a, dims in zip(arrays, event_dims, strict=True)]
    batch = jnp.broadcast_shapes(*(shape for shape, _ in shapes))
    shapes = [batch + event for _, event in shapes]
    return [broadcast(array, shape) for array, shape in zip(arrays, shapes, strict=True)], shapes


def broadcast(array, shape):
    """Return the array broadcast to a shape.

    NumPy arrays remain NumPy arrays; if the shape is symbolic, they get the event's axes only.
    """
    if isinstance(array, jax.Array):
        return jnp.broadcast_to(array, shape)
    if all(isinstance(size, int) for size in shape):
        return np.broadcast_to(array, shape)
    return np.broadcast_to(array, [size if isinstance(size, int) else 1 for size in shape])


def as_floats(array):
    """Return JAX arrays as floating JAX arrays; anything else as a float64 NumPy array."""
    if not isinstance(array, jax.Array):
        return np.asarray(array, dtype=np.float64)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))
