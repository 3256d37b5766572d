"""Callbacks of 64-bit numbers, called from threads that do not see JAX's 64-bit switch.

A density that is computed outside JAX (`jax.pure_callback`, as a compiled model would be) is called from a thread of
the runtime's own. There JAX rounds numbers of 64 bits to 32, so that the program gets another type than it was compiled
for. So what goes to a callback and comes from it is passed as it lies in memory, as two numbers of 32 bits for each,
which are not rounded.

A function that takes one point at a time (`vmap_method` "sequential", or none given) gets its batch in one call, whose
rows are looped over in Python: a call of its own for each row costs JAX some 0.4 ms, whatever the function does.

JAX copies what it passes to a callback, and copies of more than 100 KiB wait for a thread of the runtime, of which
there are as many as cores. If all of them are in callbacks, each waits for its arguments, for ever. So arguments are
passed in pieces that are small enough to be copied at once.
"""

import dataclasses

import jax
import jax.custom_batching
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from vi_kl.core.programs.replay import inner_programs, opened
from vi_kl.core.programs.widened import NARROW, Narrowed, Retyped

PLAIN = (np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.uint64))
PIECE = 16_384  # numbers of 32 bits: 64 KiB
AT_ONCE = ("expand_dims", "broadcast_all", "legacy_vectorized")  # the function itself takes leading axes


def has_callbacks(program: Jaxpr | ClosedJaxpr) -> bool:
    """Return whether a program, or one inside it, calls a function outside JAX."""
    for eqn in opened(program)[0].eqns:
        if eqn.primitive.name == "pure_callback" or any(map(has_callbacks, inner_programs(eqn))):
            return True
    return False


class Bitwise(Retyped):
    """A program whose callbacks' 64-bit numbers are passed bit by bit, in its derivatives too."""

    traced_wide = True

    def as_traced(self, eqn, arguments):
        if eqn.primitive.name != "pure_callback":
            return super().as_traced(eqn, arguments)
        callback = BitwiseCallback(eqn)

        @jax.jit  # one operation of the program, for `NarrowedCallbacks` to know it by
        def bitwise_callback(*arguments):
            return operation(callback, wide=True)(*arguments)

        return bitwise_callback(*(jnp.asarray(x, v.aval.dtype) for x, v in zip(arguments, eqn.invars, strict=True)))


class NarrowedCallbacks(Narrowed):
    """A 64-bit program that runs in 32 bits, with callbacks that compute in 64 bits, from and to rounded numbers."""

    def apply_jit(self, params, arguments):
        callback = bitwise_callback_of(params["jaxpr"])
        if callback is None:
            return super().apply_jit(params, arguments)
        return operation(callback, wide=False)(*arguments)

    apply_pjit = apply_jit


def bitwise_callback_of(program: Jaxpr | ClosedJaxpr) -> "BitwiseCallback | None":
    for eqn in opened(program)[0].eqns:
        function = getattr(eqn.params.get("callback"), "callback_func", None)
        if isinstance(function, HandOver):
            return function.callback_func
        for inner in inner_programs(eqn):
            if eqn.primitive.name == "custom_vmap_call":
                return bitwise_callback_of(inner)
    return None


def operation(callback: "BitwiseCallback", wide: bool, batch: tuple[int, ...] = ()):
    """Return the callback as a function of JAX arrays, with leading axes of these lengths, or of length one.

    Args:
        callback: the callback.
        wide: whether its arrays are of 64 bits, or of 32 and rounded.
        batch: the lengths of the leading axes.
    """

    @jax.custom_batching.custom_vmap
    def call(*arguments):
        return handed_over(callback, wide, batch, arguments)

    @call.def_vmap
    def mapped(length, is_mapped, *arguments):
        arguments = [x if along else x[None] for x, along in zip(arguments, is_mapped, strict=True)]
        found = operation(callback, wide, (length, *batch))(*arguments)
        return found, [True] * len(found)

    return call


def handed_over(callback: "BitwiseCallback", wide: bool, batch: tuple[int, ...], arguments) -> list:
    """Call the function once, with all rows of the batch."""
    outputs = [callback.narrowed(shape, wide) for shape in callback.outputs]
    shapes = [jax.ShapeDtypeStruct((*batch, *shape.shape), shape.dtype) for shape in outputs]
    pieces = [split(as_bits(x)) for x in arguments]
    described = tuple((x.shape, x.dtype, len(some)) for x, some in zip(arguments, pieces, strict=True))
    function = HandOver(callback, batch, described, wide)
    flat = [piece for some in pieces for piece in some]
    found = jax.pure_callback(
        function, list(map(bits_shape, shapes)), *flat, sharding=callback.sharding, vmap_method="sequential"
    )
    return [from_bits(x, shape.dtype) for x, shape in zip(found, shapes, strict=True)]


def split(x) -> list:
    """Return an array in flat pieces of up to `PIECE` entries."""
    flat = x.reshape(-1)
    return [flat[start : start + PIECE] for start in range(0, max(flat.size, 1), PIECE)]


@dataclasses.dataclass(frozen=True)
class HandOver:
    """A function that the runtime calls: it joins the arguments, calls the callback, and takes the results apart.

    Attributes:
        callback_func: the callback.
        batch: the lengths of the leading axes.
        arguments: the shape, type and number of pieces of each argument.
        wide: whether results are of 64 bits, or of 32 and rounded.
    """

    callback_func: "BitwiseCallback"
    batch: tuple[int, ...]
    arguments: tuple
    wide: bool

    def __call__(self, *pieces):
        arguments, start = [], 0
        for shape, dtype, count in self.arguments:
            bits = np.concatenate([np.asarray(piece) for piece in pieces[start : start + count]])
            arguments.append((bits.view(dtype) if dtype in PLAIN else bits).reshape(shape))
            start += count
        found = self.callback_func(self.batch, arguments)
        if not self.wide:
            found = [x.astype(NARROW.get(x.dtype, x.dtype)) for x in found]
        return [parted(x) for x in found]


class BitwiseCallback:
    """A function outside JAX, as one of NumPy arrays with leading axes.

    Attributes:
        callback_func: the function, of NumPy arrays of the types and (but for leading axes) the shapes of `inputs`.
        inputs, outputs: shapes and types of one call.
        method: `vmap_method` of the function.
        sharding: the sharding that `jax.pure_callback` takes.
    """

    def __init__(self, eqn):
        self.callback_func = eqn.params["callback"]
        self.inputs = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
        self.outputs = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.outvars]
        self.method, self.sharding = eqn.params["vmap_method"], eqn.params["sharding"]

    @staticmethod
    def narrowed(shape: jax.ShapeDtypeStruct, wide: bool) -> jax.ShapeDtypeStruct:
        return shape if wide else jax.ShapeDtypeStruct(shape.shape, NARROW.get(shape.dtype, shape.dtype))

    def __call__(self, batch: tuple[int, ...], arguments: list[np.ndarray]) -> list[np.ndarray]:
        """Return the results, (*batch, ...), for arguments whose leading axes are of these lengths or of length one."""
        arguments = [np.asarray(x, shape.dtype) for x, shape in zip(arguments, self.inputs, strict=True)]
        whole = [np.broadcast_to(x, (*batch, *s.shape)) for x, s in zip(arguments, self.inputs, strict=True)]
        with jax.enable_x64(True):
            if not batch or self.method == "expand_dims":
                return self.result(arguments)
            if self.method in AT_ONCE:
                return self.result(whole)
            rows = [self.result([np.array(x[i]) for x in whole]) for i in np.ndindex(batch)]
        return [
            np.array([row[i] for row in rows], shape.dtype).reshape(*batch, *shape.shape)
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


def parted(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, order="C")[..., None].view(np.uint32) if x.dtype in PLAIN else x
