"""A hash of what user-defined code reads besides its arguments, as far as that can be seen.

It serves classes that are part of compiled programs (a family, an objective, a kernel of your own). Programs are
distinguished by the fields of such classes; a global that a method reads is not a field, and a program compiled with
its old value would continue with it. The hash covers globals, variables of enclosing functions, defaults, and
attributes of your modules and classes, and the same of every function of yours that is called by name. Models,
guides and log densities need no such hash: they are traced, and what they read is their data.
"""

import functools
import hashlib
import site
import sys
import sysconfig
import types
import uuid
from pathlib import Path

import jax
import numpy as np

PROCESS = uuid.uuid4().hex  # an identity says nothing in another process
PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic)


def reads(value) -> str:
    """Return a hash of what the methods of `value` read; it is empty unless `value` is of a user-defined class."""
    if not is_yours(type(value)):
        return ""
    reader = Reader()
    reader.add_class(type(value))
    return reader.hash.hexdigest()


def is_yours(thing) -> bool:
    """Return whether a thing is defined in code that is neither vi_kl's nor an installed package's."""
    return is_your_module((getattr(thing, "__module__", None) or "builtins").partition(".")[0])


@functools.cache
def is_your_module(root: str) -> bool:
    if root == "__main__":
        return True
    if root == "vi_kl" or root in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(root), "__file__", None)
    homes = (*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("stdlib"))
    return file is None or not any(Path(file).is_relative_to(home) for home in homes)


class Reader:
    """A reader that takes values into a hash, each object once.

    Args:
        by_identity: whether objects and functions of installed packages count by identity, and not by their names,
            which requires that the values live as long as the hash is used.
    """

    def __init__(self, by_identity: bool = False):
        self.by_identity = by_identity
        self.hash = hashlib.sha256()
        self.seen: set[int] = set()

    def write(self, *words) -> None:
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode()
            self.hash.update(len(data).to_bytes(8, "little") + data)

    def add(self, value, names=()) -> None:
        """Add a value to the hash; `names` are the names that the reader of this value looks up."""
        if isinstance(value, PLAIN):
            self.write(type(value).__name__, repr(value))
        elif isinstance(value, jax.core.Tracer):
            self.write("traced")
        elif isinstance(value, np.ndarray | jax.Array):
            self.add_array(value)
        elif id(value) not in self.seen:
            self.seen.add(id(value))
            self.add_new(value, names)

    def add_array(self, value) -> None:
        if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
            value = jax.random.key_data(value)
        array = np.asarray(value)
        self.write(array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes())

    def add_new(self, value, names) -> None:
        match value:
            case dict():
                for name, entry in value.items():
                    self.write(repr(name))
                    self.add(entry)
            case tuple() | list():
                self.write(len(value))
                for entry in value:
                    self.add(entry)
            case functools.partial():
                self.add((value.func, value.args, value.keywords))
            case types.MethodType():
                self.add((value.__func__, value.__self__))
            case types.FunctionType():
                self.add_function(value)
            case types.ModuleType() if is_your_module(value.__name__.partition(".")[0]):
                self.add({name: vars(value)[name] for name in sorted(names) if name in vars(value)})
            case type():
                self.add_class(value)
            case _:
                self.write(
                    type(value).__qualname__, (PROCESS, id(value)) if self.by_identity and self.is_opaque(value) else ""
                )
                if is_yours(type(value)) or hasattr(value, "__wrapped__"):
                    self.add({**getattr(value, "__dict__", {}), "__wrapped__": getattr(value, "__wrapped__", None)})

    @staticmethod
    def is_opaque(value) -> bool:
        """Return whether the content of an object, of an installed package or of C, cannot be seen."""
        return not is_yours(type(value)) and not isinstance(value, types.ModuleType | types.BuiltinFunctionType)

    def add_function(self, function) -> None:
        self.write(function.__module__, function.__qualname__)
        if not is_yours(function):
            self.write((PROCESS, id(function)) if self.by_identity and function.__closure__ else "")
            return
        names = names_in(function.__code__)
        self.write(function.__code__.co_code)
        self.add((function.__defaults__, function.__kwdefaults__))
        for cell in function.__closure__ or ():
            try:
                self.add(cell.cell_contents, names)
            except ValueError:  # a name that has no value yet
                self.write("empty")
        for name in sorted(names & function.__globals__.keys()):
            self.write(name)
            self.add(function.__globals__[name], names)

    def add_class(self, kind: type) -> None:
        self.write(kind.__module__, kind.__qualname__)
        if not is_yours(kind):
            return
        for base in kind.__bases__:
            self.add(base)
        for name, member in sorted(vars(kind).items()):
            if not name.startswith("__") or name in ("__call__", "__init__", "__post_init__"):
                self.write(name)
                inner = getattr(member, "fget", None) or getattr(member, "func", None) or member
                self.add(getattr(inner, "__func__", inner))


def names_in(code: types.CodeType) -> set[str]:
    """Return the names that a function, and the functions inside it, look up."""
    inner = (names_in(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)
