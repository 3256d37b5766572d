"""Programs: what a user's function computes, without the data that it closes over.

A function that reads its data from a global, a default, a closure or its object is not identified by itself: the same
function computes something else once they are replaced. So it is traced at once, every array that it has closed over
becomes an argument, and what is left, the operations, is the program. Programs that consist of the same operations are
one object, whatever functions they were traced from, and so whatever was compiled for one serves the others:

    program, constants = capture(function, example)      # a pytree of arrays, or of their shapes
    program(constants, argument)                         # what function(argument) was then

Python numbers are part of the program: another number is another program.

JAX remembers how a function of yours under `jax.jit`, or the body of a loop, was traced, by the function alone, and
would read an old global into a new program. Where there is such a function the program is traced once more, in a
context in which nothing is remembered (what it was traced to stays in JAX's caches, with the data that it closes over,
until they are full or `jax.clear_caches()`). Not seen: a global that the rule of a `jax.custom_jvp` or `custom_vjp`
reads, where it is replaced before the program is differentiated for the first time.
"""

import contextlib
import dataclasses
import functools
import itertools
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun

from vi_kl.core.errors import ViKLError
from vi_kl.core.kept_programs import tracing
from vi_kl.core.programs.callbacks import Bitwise, NarrowedCallbacks, has_callbacks
from vi_kl.core.programs.names import name_of
from vi_kl.core.programs.replay import Replay, all_constants, identity, inner_programs, needed_operations, opened
from vi_kl.core.programs.widened import Widened, as_type


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A pure function of constants and arguments. Two programs are equal only if they are the same object.

    Attributes:
        operations: the traced operations, a function of the constants and then of the arguments' leaves.
        num_constants: the number of arrays that the traced function has closed over.
        inputs, outputs: the structures of the arguments and of the result.
        name: a hash of the operations.
        narrow: whether the function could be traced in 32 bits only, and was widened.
    """

    operations: ClosedJaxpr
    num_constants: int
    inputs: Any
    outputs: Any
    name: str
    narrow: bool = False

    def __call__(self, constants, *arguments):
        leaves, structure = jax.tree.flatten(arguments)
        if structure != self.inputs:
            raise TypeError(
                f"The arguments have the structure {structure}, and the program was made for {self.inputs}."
            )
        values = [require_shape(x, var.aval) for x, var in zip((*constants, *leaves), self.variables, strict=True)]
        if jax.config.jax_enable_x64:
            values = [as_type(x, var.aval.dtype) for x, var in zip(values, self.variables, strict=True)]
            found = jaxpr_as_fun(self.operations)(*values)
        else:  # a caller's own program
            found = NarrowedCallbacks({}).run(self.operations, values)
        return jax.tree.unflatten(self.outputs, found)

    @property
    def variables(self):
        """The variables of the constants and then of the arguments' leaves."""
        return self.operations.jaxpr.invars

    @property
    def shapes(self) -> tuple:
        """The arguments, as `jax.ShapeDtypeStruct`s."""
        return jax.tree.unflatten(self.inputs, [as_shape(v.aval) for v in self.variables[self.num_constants :]])

    @property
    def constant_shapes(self) -> list:
        """The constants, as `jax.ShapeDtypeStruct`s."""
        return [as_shape(v.aval) for v in self.variables[: self.num_constants]]

    def __deepcopy__(self, memo):
        return self

    def __repr__(self):
        return f"Program({self.name[:8]})"


def require_shape(value, aval):
    if np.shape(value) != aval.shape:
        raise TypeError(f"An array has shape {np.shape(value)}, and the program was made for {aval.shape}.")
    return value


# Programs of the same operations are one object, as long as a target or something compiled holds it.
known: weakref.WeakValueDictionary[str, Program] = weakref.WeakValueDictionary()
lock = threading.Lock()


def capture(function: Callable, *examples) -> tuple[Program, list]:
    """Return the program of `function` and the arrays that it closes over.

    Call it with 64-bit types switched on.

    A function that cannot be traced in 64 bits (it states 32-bit types that conflict with the others) is traced in
    32 and computed in 64 (`Widened`): its program is `narrow`.

    Args:
        function: a function of pytrees of arrays.
        examples: the function's arguments, or `jax.ShapeDtypeStruct`s in their places.
    """
    shapes = jax.tree.map(shape_of, examples)
    leaves, inputs = jax.tree.flatten(shapes)
    with tracing:
        try:
            traced, result = traced_program(function, shapes)
        except Exception as error:
            if not jax.config.jax_enable_x64:
                raise
            try:
                with jax.enable_x64(False):
                    traced, result = traced_program(function, jax.tree.map(narrowed, shapes))
            except Exception:
                raise error from None
            return intern(traced, leaves, inputs, jax.tree.structure(result), Widened)
        rewrite = Bitwise if has_callbacks(traced) else Replay
        return intern(traced, leaves, inputs, jax.tree.structure(result), rewrite)


def in_either_precision(function: Callable, *args):
    """Return `function(*args)`, computed in 32 bits if it raises an error in 64.

    If both fail, the error in 64 bits is raised; but an error of vi_kl's own, which says what to do, takes precedence.
    """
    try:
        return function(*args)
    except Exception as error:  # a user's own errors are of any type
        try:
            with jax.enable_x64(False):
                return function(*args)
        except Exception as other:
            raise (other if isinstance(other, ViKLError) and not isinstance(error, ViKLError) else error) from None


def traced_program(function, shapes):
    # every trace gets its own function: JAX remembers by the function how it was traced
    return trace_afresh(lambda *args: jax.make_jaxpr(lambda *x: function(*x), return_shape=True)(*args), *shapes)


def intern(traced: ClosedJaxpr, leaves, inputs, outputs, rewrite: type[Replay] = Replay) -> tuple[Program, list]:
    """Return the one program of these operations, and the constants."""
    found = {identity(constant): constant for constant in all_constants(traced)}

    def run(constants, arguments):
        return rewrite(dict(zip(found, constants, strict=True))).run(traced, arguments)

    if rewrite is Replay and not found:
        operations = ClosedJaxpr(traced.jaxpr.replace(constvars=[], eqns=needed_operations(traced.jaxpr)), [])
    else:
        operations = jax.make_jaxpr(run)([shape_of(constant) for constant in found.values()], leaves)
    program = interned(operations, len(found), inputs, outputs, rewrite.__name__, rewrite is Widened)
    return program, list(found.values())


def interned(operations: ClosedJaxpr, num_constants: int, inputs, outputs, how: str, narrow: bool) -> Program:
    """Return the one program of these operations; `how` says how they are computed, which its name depends on."""
    name = name_of(operations, num_constants, inputs, outputs, how)
    with lock:
        program = known.get(name)
        if program is None:
            program = known[name] = Program(operations, num_constants, inputs, outputs, name, narrow)
    return program


def narrowed(shape: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    if jax.dtypes.issubdtype(shape.dtype, jax.dtypes.extended):
        return shape
    return jax.ShapeDtypeStruct(shape.shape, jax.dtypes.canonicalize_dtype(shape.dtype))


def as_shape(aval) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)


def shape_of(leaf) -> jax.ShapeDtypeStruct:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf))


def kept(constant):
    """Return a constant as data: a copy, since a NumPy array may be written to later."""
    if isinstance(constant, jax.core.Tracer) or jax.dtypes.issubdtype(constant.dtype, jax.dtypes.extended):
        return constant
    if isinstance(constant, jax.Array):
        return constant if len(constant.sharding.device_set) > 1 else np.asarray(constant)
    return np.array(constant)


# Tracing anew ----------------------------------------------------------------------------------------------------


def trace_afresh(trace: Callable, *args):
    """Return `trace(*args)`, with nothing remembered of older traces.

    The result, or its first entry, is a traced program.
    """
    try:
        result = trace(*args)
    except Exception:  # exceptions of any type: what was remembered may not even fit the new data
        with nothing_remembered():
            return trace(*args)
    traced = result[0] if isinstance(result, tuple) else result
    if not any(map(is_foreign, inner_functions(traced))):
        return result
    with nothing_remembered():
        return trace(*args)


def abstractly(run: Callable, data) -> None:
    """Trace `run(data)`, in 32 bits where it cannot be traced in 64. Nothing is computed."""
    with tracing:
        in_either_precision(lambda: trace_afresh(jax.make_jaxpr(lambda data: run(data)), data))


def nothing_remembered():
    """Return a context in which JAX finds none of its remembered traces."""
    if not hasattr(jax, "make_user_context"):
        return contextlib.nullcontext()
    return remembering()(next(numbers))


numbers = itertools.count(1)


@functools.cache
def remembering():
    return jax.make_user_context(None)


def inner_functions(program: Jaxpr | ClosedJaxpr):
    """Yield the programs inside a program, at any depth."""
    for eqn in opened(program)[0].eqns:
        for inner in inner_programs(eqn):
            yield inner
            yield from inner_functions(inner)


def is_foreign(program: Jaxpr | ClosedJaxpr) -> bool:
    """Return whether a program was traced from a user's own function, which may read what can be replaced."""
    info = opened(program)[0].debug_info
    file = getattr(info, "func_filename", None)
    return file is None or not file.startswith(homes())


@functools.cache
def homes() -> tuple[str, ...]:
    return tuple(str(Path(package.__file__).parent) + "/" for package in (jax, numpyro))
