"""Names of programs: a hash of the operations, independent of anything that differs between two traces.

What the rule of a `jax.custom_jvp` or `custom_vjp` reads is part of the name: such a rule runs when a program is
differentiated, so its data cannot become arguments.
"""

import contextlib
import hashlib
import re
import types
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from vi_kl.core.code_hash import PLAIN, Reader, is_yours
from vi_kl.core.programs.replay import opened


def name_of(program: ClosedJaxpr, *more) -> str:
    """Return a hash of the operations, independent of anything that differs between two traces of one function."""
    writer = Writer()
    writer.program(program)
    writer.write(*map(str, more))
    return writer.hash.hexdigest()


class Writer:
    """A writer that takes programs into a hash."""

    def __init__(self):
        self.hash = hashlib.sha256()
        self.seen: dict[int, Any] = {}  # keeps objects alive whose ids are known

    def write(self, *words) -> None:
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode()
            self.hash.update(len(data).to_bytes(8, "little") + data)

    def program(self, program: Jaxpr | ClosedJaxpr) -> None:
        jaxpr, constants = opened(program)
        numbers = {}

        def atom(atom):
            if isinstance(atom, Literal):
                self.write("literal", atom.aval)
                self.value(atom.val)
            else:
                self.write(numbers.setdefault(atom, len(numbers)))

        for var in (*jaxpr.constvars, *jaxpr.invars):
            atom(var)
            self.write(var.aval)
        for constant in constants:
            self.value(constant)
        for eqn in jaxpr.eqns:
            self.write(eqn.primitive.name)
            for v in eqn.invars:
                atom(v)
            for name, value in sorted(eqn.params.items()):
                self.write(name)
                self.value(value)
            for v in eqn.outvars:
                atom(v)
                self.write(v.aval)
        self.write("result")
        for v in jaxpr.outvars:
            atom(v)

    def value(self, value) -> None:
        if isinstance(value, Jaxpr | ClosedJaxpr):
            self.program(value)
        elif isinstance(value, tuple | list):
            self.write(type(value).__name__, len(value))
            for entry in value:
                self.value(entry)
        elif isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
            self.value(jax.random.key_data(value))
        elif isinstance(value, np.ndarray | jax.Array) or (hasattr(value, "__array__") and hasattr(value, "aval")):
            array = np.asarray(value)
            self.write(array.dtype, array.shape, np.ascontiguousarray(array).tobytes())
        elif is_function(value):
            self.function(value)
        else:
            self.write(re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value)))

    def function(self, function) -> None:
        """Add a function, such as a rule of differentiation, by its code and all that it reads.

        JAX's wrappers of the function are looked through.
        """
        if id(function) in self.seen:
            return
        self.seen[id(function)] = function
        if hasattr(function, "callback_func"):  # a callback runs outside JAX, so that no program shows what it does
            while hasattr(function, "callback_func"):  # JAX's wrapper, and ours
                self.write("callback", getattr(function, "method", ""))
                function = function.callback_func
            reader = Reader(by_identity=True)
            reader.add(function)
            self.write(reader.hash.hexdigest())
            return
        for name in ("__wrapped__", "f", "func", "fun"):
            if hasattr(function, name):
                self.function(getattr(function, name))
        if not isinstance(function, types.FunctionType):
            self.write(type(function).__name__)
        elif is_yours(function):
            reader = Reader()
            reader.add(function)
            self.write(reader.hash.hexdigest())
        else:
            code = function.__code__
            self.write(function.__module__, function.__qualname__, code.co_code, code.co_names)
            for value in (*code.co_consts, *contents(function)):
                if is_function(value):
                    self.function(value)
                elif isinstance(value, PLAIN) or (isinstance(value, np.ndarray | jax.Array) and not is_traced(value)):
                    self.value(value)


def is_function(value) -> bool:
    return (callable(value) or hasattr(value, "f_transformed")) and not isinstance(value, type)


def contents(function) -> list:
    """Return the values that a function closes over."""
    found = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # a name that has no value yet
            found.append(cell.cell_contents)
    return found


def is_traced(value) -> bool:
    return isinstance(value, jax.core.Tracer)
