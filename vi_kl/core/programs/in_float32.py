"""A program computed in float32, but for its sums and single numbers, which stay in float64.

A log density is a sum of very many terms. Each is computed in 32 bits, to seven digits; their sum in 32 bits would lose
what distinguishes two points, a few nats out of a million. Sums are taken in float64 therefore, and so is what is made
of single numbers: the sum of the sites' log densities, and the parameters that are single numbers.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from vi_kl.core.programs.program import Program, interned
from vi_kl.core.programs.replay import Replay, inner_programs, opened
from vi_kl.core.programs.widened import KEPT, Retyped, as_type

NARROW_FLOATS = {np.dtype(np.float64): np.dtype(np.float32), np.dtype(np.complex128): np.dtype(np.complex64)}


class NarrowedFloats(Retyped):
    """A runner of 64-bit programs whose floats are all of 32 bits; integers keep theirs."""

    traced_wide = True
    types = NARROW_FLOATS


class InFloat32(NarrowedFloats):
    """A runner of 64-bit programs in 32 bits, but for sums and single numbers."""

    def __init__(self, values: dict):
        super().__init__(values)
        self.narrow = NarrowedFloats({})

    def kind(self, aval):
        """Return the type of a value."""
        return aval.dtype if aval.shape == () else self.type(aval.dtype)

    def run(self, program, arguments):
        variables = opened(program)[0].invars
        return Replay.run(
            self, program, [as_type(x, self.kind(v.aval)) for x, v in zip(arguments, variables, strict=True)]
        )

    def constant(self, constant):
        value = Replay.constant(self, constant)
        return as_type(value, self.type(value.dtype)) if np.shape(value) else value

    def literal(self, atom: Literal):
        return np.asarray(atom.val, self.kind(atom.aval))

    def apply(self, eqn, arguments):
        found = self.computed(eqn, arguments)
        return [as_type(x, self.kind(v.aval)) for x, v in zip(found, eqn.outvars, strict=True)]

    def computed(self, eqn, arguments):
        name, has_inner = eqn.primitive.name, any(True for _ in inner_programs(eqn))
        own_rule = name in ("custom_jvp_call", "custom_vjp_call") or (has_inner and hasattr(self, f"apply_{name}"))
        if own_rule or any(kept in name for kept in KEPT):
            return super().apply(eqn, arguments)
        if name == "reduce_sum" or all(v.aval.shape == () for v in (*eqn.invars, *eqn.outvars)):
            return self.bind(eqn, [as_type(x, v.aval.dtype) for x, v in zip(arguments, eqn.invars, strict=True)])
        return self.narrow.apply(
            eqn, [as_type(x, self.type(v.aval.dtype)) for x, v in zip(arguments, eqn.invars, strict=True)]
        )


def in_float32(program: Program) -> Program:
    """Return the program of the same constants and arguments whose inside is computed in 32 bits.

    Its arguments and its results have the types that they had.
    """

    def run(constants, arguments):
        found = InFloat32({}).run(program.operations, [*constants, *arguments])
        kinds = [v.aval.dtype for v in program.operations.jaxpr.outvars]
        return [as_type(jnp.asarray(x), kind) for x, kind in zip(found, kinds, strict=True)]

    shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in program.variables]
    number = program.num_constants
    operations = jax.make_jaxpr(run)(shapes[:number], shapes[number:])
    return interned(operations, number, program.inputs, program.outputs, "InFloat32", program.narrow)
