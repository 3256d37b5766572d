"""Replay of a traced program, operation by operation, with constants or types replaced.

`Replay` gives every array constant of a program, and of the programs inside it (functions under `jax.jit`, bodies of
loops), a value from outside: what a function closes over becomes an argument. `Widened` also computes in 64 bits what
was traced in 32.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal


def inner_programs(eqn) -> Iterator[Jaxpr | ClosedJaxpr]:
    """Yield the programs among an operation's parameters: a loop's body, the branches of a condition."""
    for parameter in eqn.params.values():
        for entry in parameter if isinstance(parameter, tuple | list) else (parameter,):
            if isinstance(entry, Jaxpr | ClosedJaxpr):
                yield entry


def opened(program: Jaxpr | ClosedJaxpr) -> tuple[Jaxpr, list]:
    return (program.jaxpr, list(program.consts)) if isinstance(program, ClosedJaxpr) else (program, [])


def all_constants(program: Jaxpr | ClosedJaxpr) -> Iterator:
    """Yield every array constant that a program and those inside it need, in the order in which they occur."""
    jaxpr, constants = opened(program)
    operations = needed_operations(jaxpr)
    used = {
        v for atoms in (jaxpr.outvars, *(eqn.invars for eqn in operations)) for v in atoms if type(v) is not Literal
    }
    yield from (constant for var, constant in zip(jaxpr.constvars, constants, strict=True) if var in used)
    for eqn in operations:
        for inner in inner_programs(eqn):
            yield from all_constants(inner)


def holds_constants(eqn) -> bool:
    return any(True for inner in inner_programs(eqn) for _ in all_constants(inner))


def needed_operations(jaxpr: Jaxpr) -> list:
    """Return the operations that the result depends on, and those with side effects."""
    wanted = {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    needed = []
    for eqn in reversed(jaxpr.eqns):
        if eqn.effects or any(v in wanted for v in eqn.outvars):
            wanted.update(v for v in eqn.invars if not isinstance(v, Literal))
            needed.append(eqn)
    return needed[::-1]


def identity(constant):
    """Return a value that distinguishes two constants without looking at their numbers."""
    if isinstance(constant, jax.Array) or not hasattr(constant, "__array__"):
        return id(constant)
    array = np.asarray(constant)  # each use of a NumPy array may be another constant of the same memory
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype


def fixed_and_carried(params) -> tuple[int, int]:
    """Return how many of a scan's arguments are constant from step to step, and how many are carried on."""
    if "ft_in" in params:  # since jax 0.12
        fixed, carried, _ = params["ft_in"].unpack()
        return len(fixed), len(carried)
    return params["num_consts"], params["num_carry"]


class Replay:
    """A runner of programs with their constants replaced.

    Args:
        values: {identity of a constant: its new value}; a constant that is not among them stays as it is.
    """

    def __init__(self, values: dict):
        self.values = values

    def run(self, program: Jaxpr | ClosedJaxpr, arguments) -> list:
        jaxpr, constants = opened(program)
        values = dict(zip(jaxpr.constvars, map(self.constant, constants), strict=True))
        values.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom):
            return self.literal(atom) if isinstance(atom, Literal) else values[atom]

        for eqn in needed_operations(jaxpr):
            with eqn.ctx.manager:
                found = self.apply(eqn, [read(atom) for atom in eqn.invars])
            values.update(zip(eqn.outvars, found, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def constant(self, constant):
        return self.values.get(identity(constant), constant)

    def literal(self, atom: Literal):
        return atom.val

    def is_kept(self, eqn) -> bool:
        """Return whether an operation can be applied as it stands."""
        return not holds_constants(eqn)

    def apply(self, eqn, arguments) -> list:
        special = None if self.is_kept(eqn) else getattr(self, f"apply_{eqn.primitive.name}", None)
        return self.bind(eqn, arguments) if special is None else special(eqn.params, arguments)

    def bind(self, eqn, arguments) -> list:
        found = eqn.primitive.bind(*arguments, **eqn.primitive.get_bind_params(eqn.params))
        return found if eqn.primitive.multiple_results else [found]

    def apply_jit(self, params, arguments):
        return self.run(params["jaxpr"], arguments)

    apply_pjit = apply_jit

    def apply_closed_call(self, params, arguments):
        return self.run(params["call_jaxpr"], arguments)

    apply_core_call = apply_closed_call

    def apply_remat2(self, params, arguments):
        again = jax.checkpoint(
            lambda *a: self.run(params["jaxpr"], a), policy=params["policy"], prevent_cse=params["prevent_cse"]
        )
        return again(*arguments)

    apply_checkpoint = apply_remat2

    def apply_scan(self, params, arguments):
        ends = np.cumsum(fixed_and_carried(params))
        fixed, carry, rows = (arguments[a:b] for a, b in zip((0, *ends), (*ends, None), strict=True))

        def step(carry, row):
            found = self.run(params["jaxpr"], [*fixed, *carry, *row])
            return self.like(found[: len(carry)], carry), found[len(carry) :]

        options = {name: params[name] for name in ("length", "reverse", "unroll", "_split_transpose") if name in params}
        carry, rows = jax.lax.scan(step, list(carry), list(rows), **options)
        return [*carry, *rows]

    def apply_while(self, params, arguments):
        ends = np.cumsum([params["cond_nconsts"], params["body_nconsts"]])
        of_cond, of_body, start = (arguments[a:b] for a, b in zip((0, *ends), (*ends, None), strict=True))
        return jax.lax.while_loop(
            lambda state: self.run(params["cond_jaxpr"], [*of_cond, *state])[0],
            lambda state: self.like(self.run(params["body_jaxpr"], [*of_body, *state]), state),
            list(start),
        )

    def apply_cond(self, params, arguments):
        which, *rest = arguments
        branches = [lambda *a, branch=branch: self.run(branch, a) for branch in params["branches"]]
        return jax.lax.switch(which, branches, *rest)

    def like(self, found, carry) -> list:
        """Return what a loop hands on, in the types that it began with."""
        return [jax.lax.convert_element_type(x, jnp.result_type(y)) for x, y in zip(found, carry, strict=True)]
