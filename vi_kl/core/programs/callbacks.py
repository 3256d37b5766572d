"""Callbacks of 64-bit numbers, called from threads of which JAX's 64-bit switch knows nothing.

A density that is computed outside JAX (`jax.pure_callback`, as a compiled model would be) is called from a thread of
the runtime's own. There JAX takes numbers of 64 bits for a mistake and rounds them to 32, so that the program gets
another type than it was compiled for. So what goes to a callback and comes from it is handed over as it lies in memory,
two numbers of 32 bits for each, which nobody rounds.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from vi_kl.core.programs.replay import inner_programs, opened
from vi_kl.core.programs.widened import Retyped

PLAIN = (np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.uint64))


def has_wide_callbacks(program: Jaxpr | ClosedJaxpr) -> bool:
    """Whether a program, or one inside it, calls back with 64-bit numbers."""
    for eqn in opened(program)[0].eqns:
        if eqn.primitive.name == "pure_callback" and any(v.aval.dtype in PLAIN for v in (*eqn.invars, *eqn.outvars)):
            return True
        if any(map(has_wide_callbacks, inner_programs(eqn))):
            return True
    return False


class Bitwise(Retyped):
    """Runs a program with its callbacks' 64-bit numbers handed over bit by bit, in its derivatives too."""

    traced_wide = True

    def as_traced(self, eqn, arguments):
        if eqn.primitive.name != "pure_callback":
            return super().as_traced(eqn, arguments)
        callback = BitwiseCallback(
            eqn.params["callback"],
            tuple(v.aval.dtype for v in eqn.invars),
            tuple(v.aval.dtype for v in eqn.outvars),
        )
        shapes = [bits_shape(v.aval) for v in eqn.outvars]
        options = {name: eqn.params[name] for name in ("sharding", "vmap_method")}
        arguments = [as_bits(jnp.asarray(x, v.aval.dtype)) for x, v in zip(arguments, eqn.invars, strict=True)]
        found = jax.pure_callback(callback, shapes, *arguments, **options)
        return [from_bits(x, v.aval.dtype) for x, v in zip(found, eqn.outvars, strict=True)]


class BitwiseCallback:
    """What the runtime calls: it puts the numbers together, calls the function, and takes its results apart."""

    def __init__(self, callback_func, inputs: tuple, outputs: tuple):
        self.callback_func, self.inputs, self.outputs = callback_func, inputs, outputs

    def __call__(self, *arguments):
        arguments = [joined(np.asarray(x), dtype) for x, dtype in zip(arguments, self.inputs, strict=True)]
        with jax.enable_x64(True):
            found = self.callback_func(*arguments)
            return [parted(np.asarray(x, dtype)) for x, dtype in zip(found, self.outputs, strict=True)]


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
