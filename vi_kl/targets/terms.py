"""Terms of a log density: the vector of numbers that add up to it.

A log density is a sum: over the rows of the data, the elements of a prior, the coordinates of a change of variables.
Most terms depend on few coordinates, and so most second derivatives are zero; `sparsity.py` finds out which are not.

The terms are read off the traced program, whatever source it comes from. Operations that are linear in what depends
on z (sums, additions, products with data, indexing) are undone from the result backwards; what they were applied to
are the terms, each times its coefficient. `jax.linear_transpose` undoes any of them.

Requires of the target: nothing. A log density that is not a sum, or that is summed up inside a loop, is one term.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, Literal
from jaxtyping import Array, Float

from vi_kl.core.annotations import AnyArray
from vi_kl.core.compilation import compiled
from vi_kl.core.programs.replay import Replay
from vi_kl.targets.target import Target

CALLS = ("jit", "pjit", "closed_call", "core_call")
LINEAR_IN_ALL = frozenset(
    [
        "add",
        "sub",
        "add_any",
        "neg",
        "reduce_sum",
        "reshape",
        "broadcast_in_dim",
        "squeeze",
        "expand_dims",
        "transpose",
        "concatenate",
        "rev",
        "copy",
        "cumsum",
        "reduce_window_sum",
        "convert_element_type",
        "real",
    ]
)  # linear in all of their operands together
LINEAR_IN_FIRST = frozenset(["div", "gather", "slice", "dynamic_slice", "pad"])  # pad: its padding must not depend on z
LINEAR_IN_EACH = frozenset(["mul", "dot_general"])  # linear in one operand, if the other does not depend on z


class Inlined(Replay):
    """A runner of programs that leaves no function calls in them."""

    def is_kept(self, eqn):
        return eqn.primitive.name not in CALLS


@compiled  # so that a program within which it is called finds it traced
def terms(target: Target, z: Float[AnyArray, " dim"]) -> Float[Array, " terms"]:
    """Return the numbers that add up to the log density at z, up to a constant.

    It can be traced, differentiated and batched.
    """
    data, structure = jax.tree.flatten(target.data)

    def density(*arguments):
        return target.density.log_density(jax.tree.unflatten(structure, arguments[:-1]), target.unravel(arguments[-1]))

    traced = jax.make_jaxpr(density)(*data, z)
    flat = jax.make_jaxpr(lambda *arguments: Inlined({}).run(traced, arguments))(*data, z)
    found = [jnp.ravel(value * coefficient) for value, coefficient in peeled(flat, [*data, z])]
    return jnp.concatenate(found) if found else jnp.zeros(1)


def peeled(program, arguments: list) -> Iterator[tuple[Array, Array]]:
    """Yield (values, coefficients), of one shape, whose products add up to the program's single result.

    Args:
        program: operations without function calls; the last argument is z.
        arguments: the values of its arguments.
    """
    jaxpr = program.jaxpr
    values = dict(zip(jaxpr.constvars, program.consts, strict=True))
    values.update(zip(jaxpr.invars, arguments, strict=True))
    run_forwards(jaxpr, values)
    depends = dependent(jaxpr)
    result = jaxpr.outvars[0]
    if isinstance(result, Literal) or result not in depends:
        return
    coefficients = {result: jnp.ones_like(values[result])}
    for eqn in reversed(jaxpr.eqns):
        wanted = [v for v in eqn.outvars if v in coefficients]
        moving = [i for i, v in enumerate(eqn.invars) if not isinstance(v, Literal) and v in depends]
        if not wanted or not moving:
            continue
        if not is_linear(eqn, moving):
            yield from ((values[v], coefficients[v]) for v in wanted)
            continue
        for i, found in zip(moving, undone(eqn, moving, values, coefficients[wanted[0]]), strict=True):
            var = eqn.invars[i]
            coefficients[var] = coefficients[var] + found if var in coefficients else found
    if jaxpr.invars[-1] in coefficients:
        yield values[jaxpr.invars[-1]], coefficients[jaxpr.invars[-1]]


def run_forwards(jaxpr: Jaxpr, values: dict) -> None:
    """Compute the value of every variable, into `values`."""
    runner = Replay({})
    for eqn in jaxpr.eqns:
        found = runner.bind(eqn, [read(values, atom) for atom in eqn.invars])
        values.update(zip(eqn.outvars, found, strict=True))


def read(values: dict, atom):
    return atom.val if isinstance(atom, Literal) else values[atom]


def dependent(jaxpr: Jaxpr) -> set:
    """Return the variables that depend on the last argument by real numbers."""
    found = {jaxpr.invars[-1]}
    for eqn in jaxpr.eqns:
        if any(not isinstance(v, Literal) and v in found for v in eqn.invars):
            found.update(v for v in eqn.outvars if jnp.issubdtype(v.aval.dtype, jnp.floating))
    return found


def is_linear(eqn, moving: list[int]) -> bool:
    """Return whether an operation is linear in those of its operands, by their places, that depend on z."""
    name = eqn.primitive.name
    if name == "convert_element_type":
        return jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.floating)
    if name in LINEAR_IN_ALL:
        return True
    if name in LINEAR_IN_FIRST:
        return moving == [0]
    if name in LINEAR_IN_EACH:
        return len(moving) == 1
    return name == "select_n" and 0 not in moving


def undone(eqn, moving: list[int], values: dict, coefficient) -> list:
    """Return the coefficients of the operands at these places, for the coefficient of the operation's result."""

    def linear(*operands):
        arguments = [read(values, atom) for atom in eqn.invars]
        for i, operand in zip(moving, operands, strict=True):
            arguments[i] = operand
        found = Replay({}).bind(eqn, arguments)[0]
        return found - shift if is_affine else found

    # additions of what does not depend on z, and paddings, shift the result and no coefficient
    is_affine = len(moving) < len(eqn.invars) and eqn.primitive.name in (
        "add", "sub", "add_any", "concatenate", "pad", "select_n"
    )  # fmt: skip
    operands = [jnp.zeros_like(values[eqn.invars[i]]) for i in moving]
    shift = 0.0
    if is_affine:
        shift = linear(*operands)
    return list(jax.linear_transpose(linear, *operands)(coefficient))
