"""Callbacks of 64-bit numbers, called from threads of which JAX's 64-bit switch knows nothing.

A density that is computed outside JAX (`jax.pure_callback`, as a compiled model would be) is called from a thread of
the runtime's own. There JAX takes numbers of 64 bits for a mistake and rounds them to 32, so that the program gets
another type than it was compiled for. So what goes to a callback and comes from it is handed over as it lies in memory,
two numbers of 32 bits for each, which nobody rounds.

A function that takes one point at a time (`vmap_method` "sequential", or none given) gets its batch in one call, whose
rows are gone through in Python: a call of its own for each costs JAX some 0.4 ms, whatever the function does.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from vi_kl.core.programs.replay import inner_programs, opened
from vi_kl.core.programs.widened import NARROW, Narrowed, Retyped

PLAIN = (np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.uint64))
AT_ONCE = ("expand_dims", "broadcast_all", "legacy_vectorized")  # the function itself takes leading axes


def has_callbacks(program: Jaxpr | ClosedJaxpr) -> bool:
    """Whether a program, or one inside it, calls a function outside JAX."""
    for eqn in opened(program)[0].eqns:
        if eqn.primitive.name == "pure_callback" or any(map(has_callbacks, inner_programs(eqn))):
            return True
    return False


class Bitwise(Retyped):
    """Runs a program with its callbacks' 64-bit numbers handed over bit by bit, in its derivatives too."""

    traced_wide = True

    def as_traced(self, eqn, arguments):
        if eqn.primitive.name != "pure_callback":
            return super().as_traced(eqn, arguments)
        callback = BitwiseCallback(eqn)

        @jax.jit  # one operation of the program, for `NarrowedCallbacks` to know it by
        def bitwise_callback(*arguments):
            arguments = [as_bits(x) for x in arguments]
            found = callback.called(callback, list(map(bits_shape, callback.outputs)), arguments)
            return [from_bits(x, shape.dtype) for x, shape in zip(found, callback.outputs, strict=True)]

        return bitwise_callback(*(jnp.asarray(x, v.aval.dtype) for x, v in zip(arguments, eqn.invars, strict=True)))


class NarrowedCallbacks(Narrowed):
    """Runs a 64-bit program in 32 bits, its callbacks too: they compute in 64, from and to rounded numbers."""

    def apply_jit(self, params, arguments):
        callback = bitwise_callback_of(params["jaxpr"])
        if callback is None:
            return super().apply_jit(params, arguments)
        shapes = [jax.ShapeDtypeStruct(s.shape, NARROW.get(s.dtype, s.dtype)) for s in callback.outputs]
        return callback.called(callback.rounded, shapes, list(arguments))

    apply_pjit = apply_jit


def bitwise_callback_of(program: Jaxpr | ClosedJaxpr) -> "BitwiseCallback | None":
    for eqn in opened(program)[0].eqns:
        function = getattr(eqn.params.get("callback"), "callback_func", None)
        if isinstance(function, BitwiseCallback):
            return function
    return None


class BitwiseCallback:
    """What the runtime calls: it puts the numbers together, calls the function, and takes its results apart.

    Attributes:
        callback_func: the function, of NumPy arrays of the types and (but for leading axes) the shapes of `inputs`.
        inputs, outputs: shapes and types of one call.
        method: `vmap_method` of the function.
        sharding: as `jax.pure_callback` takes it.
    """

    def __init__(self, eqn):
        self.callback_func = eqn.params["callback"]
        self.inputs = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
        self.outputs = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.outvars]
        self.method, self.sharding = eqn.params["vmap_method"], eqn.params["sharding"]

    def called(self, function, shapes, arguments):
        """The operation that calls `function`, this callback or one like it."""
        method = self.method if self.method in AT_ONCE else "expand_dims"
        return jax.pure_callback(function, shapes, *arguments, sharding=self.sharding, vmap_method=method)

    def __call__(self, *arguments):
        arguments = [joined(np.asarray(x), shape.dtype) for x, shape in zip(arguments, self.inputs, strict=True)]
        return [parted(x) for x in self.results(arguments)]

    def rounded(self, *arguments):
        arguments = [np.asarray(x, shape.dtype) for x, shape in zip(arguments, self.inputs, strict=True)]
        return [x.astype(NARROW.get(x.dtype, x.dtype)) for x in self.results(arguments)]

    def results(self, arguments: list[np.ndarray]) -> list[np.ndarray]:
        with jax.enable_x64(True):
            if self.method in AT_ONCE:
                return self.result(arguments)
            leading = [x.shape[: x.ndim - len(s.shape)] for x, s in zip(arguments, self.inputs, strict=True)]
            batch = np.broadcast_shapes(*leading)
            if not batch:
                return self.result(arguments)
            whole = [
                np.broadcast_to(x, (*batch, *shape.shape)) for x, shape in zip(arguments, self.inputs, strict=True)
            ]
            rows = [self.result([np.array(x[i]) for x in whole]) for i in np.ndindex(batch)]
            return [
                np.reshape([row[i] for row in rows], (*batch, *shape.shape)).astype(shape.dtype)
                for i, shape in enumerate(self.outputs)
            ]

    def result(self, arguments: list[np.ndarray]) -> list[np.ndarray]:
        found = self.callback_func(*arguments)
        return [np.asarray(x, shape.dtype) for x, shape in zip(found, self.outputs, strict=True)]


def as_bits(x):
    return jax.lax.bitcast_convert_type(x, jnp.uint32) if x.dtype in PLAIN else x


def from_bits(x, dtype):
    return jax.lax.bitcast_convert_type(x, dtype) if dtype in PLAIN else x


def bits_shape(aval) -> jax.ShapeDtypeStruct:
    if aval.dtype in PLAIN:
        return jax.ShapeDtypeStruct((*aval.shape, 2), np.uint32)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)


def joined(x: np.ndarray, dtype) -> np.ndarray:
    return np.asarray(np.asarray(x, order="C").view(dtype)[..., 0]) if dtype in PLAIN else x


def parted(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, order="C")[..., None].view(np.uint32) if x.dtype in PLAIN else x
