"""Closed forms are evaluated in float64 and returned in the caller's dtype.

Written without cancellation they keep more than 12 of float64's 16 digits in the worst cases known, so that a
caller in JAX's default float32 gets the exact value rounded once. This works inside jit, grad and vmap; the
switch is scoped and leaves the caller's setting alone.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.compilation import compiled
from vi_kl.divergences.bregman import FULL, SINGLE

SMALL = 10_000  # numbers


def in_wide_precision(*event_dims: int, digits: bool = False):
    """Jit a function of parameter arrays in float64; return its result in their common dtype.

    Args:
        event_dims: per positional argument, how many of its last axes belong to one distribution; the axes
            before them are batches, which broadcast. The function returns one number per batch entry, and keyword
            arguments are part of its code.
        digits: whether the function takes a keyword `digits`, how many of them the result needs: see bregman.

    The derivative, too, is computed inside the float64 scope, as one gradient per batch entry: JAX runs the
    backward pass outside it, where it could no longer create float64 arrays.
    """

    def decorate(function):
        values = functools.cache(functools.partial(value_program, function))
        gradients = functools.cache(functools.partial(gradient_program, function))

        @functools.wraps(function)
        def wrapped(*arrays, **static):
            dtype = jnp.result_type(float, *arrays)  # Python numbers and NumPy arrays follow JAX's default
            if digits:
                static["digits"] = FULL if dtype == jnp.float64 else SINGLE
            arrays = with_common_batch_shape(arrays, event_dims)
            traced = tuple(i for i, array in enumerate(arrays) if isinstance(array, jax.Array))
            keywords = tuple(sorted(static.items()))
            return evaluate_wide(values(*keywords), gradients(traced, *keywords), arrays, traced, dtype)

        return wrapped

    return decorate


def value_program(function, *static):
    """One for all callers, whichever of the arguments they differentiate."""
    return compiled(functools.partial(function, **dict(static)), seldom=is_small)


def gradient_program(function, differentiated, *static):
    keywords = dict(static)

    def total(*arrays):
        return function(*arrays, **keywords).sum()  # batch entries do not depend on each other

    return compiled(jax.grad(total, argnums=differentiated), seldom=is_small) if differentiated else None


def is_small(*arrays) -> bool:
    """Whether compiling takes longer than computing will."""
    return all(jax.core.is_constant_dim(array.size) and array.size <= SMALL for array in arrays)


def evaluate_wide(value, gradient, arrays, traced, dtype):
    """The value with its derivative by the JAX arrays; the others keep their own digits and are constants."""
    # JAX keeps the function below for as long as what it is traced in: it must not hold on to what is traced
    constants = [None if i in traced else array for i, array in enumerate(arrays)]

    def widened(parameters):
        values = dict(zip(traced, parameters, strict=True))
        return [jnp.asarray(values.get(i, array), dtype=jnp.float64) for i, array in enumerate(constants)]

    @jax.custom_jvp
    def evaluate(*parameters):
        with jax.enable_x64(True):
            return value(*widened(parameters)).astype(dtype)

    @evaluate.defjvp
    def derivative(parameters, tangents):
        with jax.enable_x64(True):
            slopes = [slope.astype(dtype) for slope in gradient(*widened(parameters))]
        result = evaluate(*parameters)
        terms = [slope * tangent for slope, tangent in zip(slopes, tangents, strict=True)]
        return result, sum(term.sum(tuple(range(result.ndim, term.ndim))) for term in terms).astype(dtype)

    return evaluate(*(arrays[i] for i in traced))


def with_common_batch_shape(arrays, event_dims):
    """The arrays with their batch axes broadcast against each other; NumPy arrays remain NumPy arrays."""
    arrays = [as_floats(array) for array in arrays]
    shapes = [(a.shape[: a.ndim - dims], a.shape[a.ndim - dims :]) for a, dims in zip(arrays, event_dims, strict=True)]
    batch = jnp.broadcast_shapes(*(shape for shape, _ in shapes))  # JAX's, for symbolic sizes too
    broadcast = [jnp if isinstance(array, jax.Array) else np for array in arrays]
    return [
        xp.broadcast_to(array, batch + event) for xp, array, (_, event) in zip(broadcast, arrays, shapes, strict=True)
    ]


def as_floats(array):
    """JAX arrays as floating JAX arrays; anything else as a float64 NumPy array."""
    if not isinstance(array, jax.Array):
        return np.asarray(array, dtype=np.float64)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))
