"""A program that was traced in 32 bits, computed in 64; and the other way round.

`Widened` is for models that state 32-bit types (`jnp.zeros(n, dtype=jnp.float32)` as the state of a scan) and cannot be
traced otherwise. Every float32 becomes a float64; integers stay as they are. What was rounded while it was traced stays
rounded: constants, to 24 bits. The noise of the result is that of 64 bits, so it can be differenced.

`Narrowed` is for callers that ask for a target's log density in a program of their own, in 32 bits.
"""

import types
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from vi_kl.core.programs.replay import Replay, inner_programs, opened

WIDE = {np.dtype(np.float32): np.dtype(np.float64), np.dtype(np.complex64): np.dtype(np.complex128)}
# these operations work on bits, or leave JAX: they get the types that they were traced with
KEPT = (
    "bitcast_convert_type", "reduce_precision", "nextafter", "threefry2x32", "random_", "rng_", "ffi_call", "callback",
)  # fmt: skip


NARROW = {np.dtype(wide): np.dtype(narrow) for wide, narrow in (
    ("float64", "float32"), ("complex128", "complex64"), ("int64", "int32"), ("uint64", "uint32"),
)}  # fmt: skip


def as_type(value, dtype):
    if jax.dtypes.issubdtype(dtype, jax.dtypes.extended) or jnp.result_type(value) == dtype:
        return value
    return jax.lax.convert_element_type(value, dtype)


class Retyped(Replay):
    """A runner of programs that replaces some types by others."""

    traced_wide = False
    types: Mapping = types.MappingProxyType({})

    def type(self, dtype):
        return self.types.get(dtype, dtype) if isinstance(dtype, np.dtype) else dtype

    def run(self, program, arguments):
        jaxpr = getattr(program, "jaxpr", program)
        declared = [self.type(v.aval.dtype) for v in jaxpr.invars]
        return super().run(program, [as_type(x, dtype) for x, dtype in zip(arguments, declared, strict=True)])

    def constant(self, constant):
        value = super().constant(constant)
        return as_type(value, self.type(value.dtype))

    def literal(self, atom: Literal):
        return np.asarray(atom.val, self.type(atom.aval.dtype))

    def apply(self, eqn, arguments):
        name, has_inner = eqn.primitive.name, any(True for _ in inner_programs(eqn))
        if has_inner and hasattr(self, f"apply_{name}"):
            return getattr(self, f"apply_{name}")(eqn.params, arguments)
        if name in ("custom_jvp_call", "custom_vjp_call"):
            return (self.custom_jvp if name == "custom_jvp_call" else self.custom_vjp)(eqn, arguments)
        if any(kept in name for kept in KEPT):
            return self.as_traced(eqn, arguments)
        params = {name: self.parameter(value) for name, value in eqn.params.items()}
        found = eqn.primitive.bind(*arguments, **eqn.primitive.get_bind_params(params))
        return found if eqn.primitive.multiple_results else [found]

    def parameter(self, value):
        """Return a parameter of an operation with its types replaced.

        A parameter is a type, or a program such as what a scatter does with two numbers.
        """
        if isinstance(value, Jaxpr | ClosedJaxpr):
            shapes = [jax.ShapeDtypeStruct(v.aval.shape, self.type(v.aval.dtype)) for v in opened(value)[0].invars]
            program = jax.make_jaxpr(lambda *arguments: self.run(value, arguments))(*shapes)
            return program if isinstance(value, ClosedJaxpr) else program.jaxpr
        if isinstance(value, tuple) and any(isinstance(entry, Jaxpr | ClosedJaxpr) for entry in value):
            entries = map(self.parameter, value)
            return type(value)(*entries) if hasattr(value, "_fields") else tuple(entries)
        return self.type(value)

    def as_traced(self, eqn, arguments):
        """Return an operation's result, computed in the types that it was traced with, in the new types."""
        found = self.bind(eqn, [as_type(x, v.aval.dtype) for x, v in zip(arguments, eqn.invars, strict=True)])
        return [as_type(x, self.type(v.aval.dtype)) for x, v in zip(found, eqn.outvars, strict=True)]

    def derivative(self, eqn, transform, *more):
        """Return the program, as traced, of `transform` (jvp, vjp) of an operation that has its own rule."""
        shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
        with jax.enable_x64(self.traced_wide):
            return jax.make_jaxpr(lambda *args: transform(lambda *x: self.bind(eqn, x), *args))(shapes, *more)

    def custom_jvp(self, eqn, arguments):
        moving = [v.aval.dtype.kind in "fc" for v in eqn.invars]

        @jax.custom_jvp
        def function(*some):
            return self.run(eqn.params["call_jaxpr"], merge(moving, some, arguments))

        @function.defjvp
        def rule(values, tangents):
            def jvp(f, x, t):
                return jax.jvp(lambda *s: f(*merge(moving, s, x)), select(moving, x), t)

            shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in select(moving, eqn.invars)]
            program = self.derivative(eqn, jvp, shapes)
            found = self.run(program, [*merge(moving, values, arguments), *tangents])
            return found[: len(found) // 2], found[len(found) // 2 :]

        return function(*select(moving, arguments))

    def custom_vjp(self, eqn, arguments):
        moving = [v.aval.dtype.kind in "fc" for v in eqn.invars]

        @jax.custom_vjp
        def function(*some):
            return self.run(eqn.params["call_jaxpr"], merge(moving, some, arguments))

        def forward(*some):
            return function(*some), some

        def backward(values, cotangents):
            def vjp(f, x, t):
                return list(jax.vjp(lambda *s: f(*merge(moving, s, x)), *select(moving, x))[1](t))

            shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.outvars]
            program = self.derivative(eqn, vjp, shapes)
            return tuple(self.run(program, [*merge(moving, values, arguments), *cotangents]))

        function.defvjp(forward, backward)
        return function(*select(moving, arguments))


class Widened(Retyped):
    """A runner of 32-bit programs in 64 bits."""

    types = WIDE

    def literal(self, atom: Literal):
        if atom.aval.dtype != np.float32:
            return super().literal(atom)
        # the shortest decimal that rounds to this number is usually what was written
        return np.asarray(float(str(np.float32(atom.val))), np.float64)


class Narrowed(Retyped):
    """A runner of 64-bit programs in 32 bits."""

    traced_wide = True
    types = NARROW


def select(which, entries) -> list:
    return [entry for chosen, entry in zip(which, entries, strict=True) if chosen]


def merge(which, some, entries) -> list:
    """Return the entries, with the chosen ones replaced in order."""
    some = iter(some)
    return [next(some) if chosen else entry for chosen, entry in zip(which, entries, strict=True)]
