"""A cache on disk for reference runs, so that a comparison pays for each run once.

An entry's name is a hash of everything that the numbers depend on:

- the programs that were traced of the model, with all that it computes;
- the model: its source where Python has it, its bytecode and constants, the values that it closes over or has as
  defaults, and the same of every function of yours that it calls by name, and every global that it reads; of
  modules and of what installed packages define, the names only;
- the data: type, shape and bytes of every array;
- the settings and the key;
- the versions of Python, jax, numpyro, numpy, scipy and vi_kl, vi_kl's own source for targets and references, and the
  kind of device.

What it cannot see: a function reached through an attribute (`helpers.link(x)`, `self.link`) other than by its
name, and anything that the model reads from files or the environment.

Entries are npz files without pickle, written to a temporary file and moved into place, so that an interrupted
write leaves nothing. A file that cannot be read is as good as none, and is replaced.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import os
import platform
import site
import sys
import sysconfig
import tempfile
import types
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from vi_kl.core.programs.program import Program
from vi_kl.targets.target import Target

PACKAGES = ("jax", "jaxlib", "numpyro", "numpy", "scipy", "arviz-stats", "vi_kl")
PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))


def cache_folder(cache) -> Path | None:
    """Return the folder of the cache's entries: None for no cache, $VI_KL_CACHE or ~/.cache/vi_kl for True, or a path.

    Raises:
        TypeError: `cache` is none of these.
    """
    if cache is None or cache is False:
        return None
    if cache is True:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(os.environ.get("VI_KL_CACHE") or Path(root) / "vi_kl")
    if isinstance(cache, str | os.PathLike):
        return Path(cache).expanduser()
    raise TypeError(f"cache must be a path, True for the default folder, or None, not {type(cache).__name__}.")


def cached(folder: Path | None, name: str, compute: Callable[[], Mapping], needs: tuple[str, ...]) -> dict:
    """Return the arrays stored under `name`, or those of `compute`, which are then stored.

    Args:
        folder: the folder of the cache; None to compute without storing.
        name: the entry's name.
        compute: a function that returns {name: array of numbers, or a string}.
        needs: the arrays without which an entry counts as damaged.
    """
    if folder is None:
        return dict(compute())
    found = load(folder, name, needs)
    if found is None:
        found = {key: np.asarray(value) for key, value in compute().items()}
        store(folder, name, found)
    return found


def load(folder: Path, name: str, needs: tuple[str, ...] = ()) -> dict | None:
    """Return the arrays of an entry; None if there is none that can be read whole."""
    try:
        with np.load(folder / f"{name}.npz", allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except Exception:  # whatever NumPy, zipfile or zlib raise for a damaged file, there is no entry
        return None
    return arrays if set(needs) <= set(arrays) else None


def store(folder: Path, name: str, arrays: Mapping) -> None:
    """Write an entry; a folder that cannot be written to causes a warning, and no error."""
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=folder)
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, folder / f"{name}.npz")
    except OSError as error:
        warnings.warn(f"The reference run was not cached: {error}.", stacklevel=2)
    except BaseException:
        remove(temporary)
        raise
    if temporary is not None:
        remove(temporary)


def remove(path) -> None:
    if path is not None:
        Path(path).unlink(missing_ok=True)


# The name of an entry ------------------------------------------------------------------------------------------


def fingerprint(target: Target, settings, key) -> str:
    """Return a hash of the target, the settings, the key and the versions of what computes with them.

    Raises:
        TypeError: the model holds a value whose changes cannot be detected; the message names it.
    """
    digest = Digest()
    digest.add(versions(), "versions")
    digest.add(own_source(), "source")
    digest.add(jax.default_backend(), "device")
    digest.add(target.density, "model")
    digest.add([(site.name, site.shape, site.unconstrained_shape) for site in target.sites], "sites")
    digest.add(target.data, "data")
    digest.add(settings, "settings")
    digest.add((str(jax.random.key_impl(key)), np.asarray(jax.random.key_data(key))), "key")
    return digest.name()


@functools.cache
def versions() -> tuple:
    found = []
    for package in PACKAGES:
        try:
            found.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            found.append((package, "unknown"))
    return (("python", platform.python_version()), *found)


@functools.cache
def own_source() -> bytes:
    """Return a hash of the files that compute targets and references."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in own_files())).digest()


@functools.cache
def own_files() -> tuple[Path, ...]:
    root = Path(__file__).parent.parent
    return tuple(sorted(file for part in ("core", "targets", "reference") for file in (root / part).rglob("*.py")))


class Digest:
    """A hash of Python values, by their content and not by their identity."""

    def __init__(self):
        self.hash = hashlib.sha256()
        self.seen: dict[int, int] = {}
        self.alive: list = []  # keeps objects alive whose ids are in `seen`

    def name(self) -> str:
        return self.hash.hexdigest()[:40]

    def write(self, *words) -> None:
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode()
            self.hash.update(len(data).to_bytes(8, "little") + data)

    def add(self, value, where: str) -> None:
        """Add `value` to the hash; `where` is its name in an error message."""
        if isinstance(value, PLAIN):
            self.write(type(value).__name__, repr(value))
        elif isinstance(value, np.ndarray | np.generic | jax.Array):
            self.add_array(value)
        elif id(value) in self.seen:
            self.write("seen", self.seen[id(value)])
        else:
            self.seen[id(value)] = len(self.seen)
            self.alive.append(value)
            self.add_new(value, where)

    def add_array(self, value) -> None:
        if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
            value = jax.random.key_data(value)
        array = np.asarray(value)
        self.write("array", array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes())

    def add_new(self, value, where: str) -> None:
        match value:
            case dict():
                self.write("dict", len(value))
                for name, entry in value.items():
                    self.add(name, where)
                    self.add(entry, f"{where}[{name!r}]")
            case tuple() | list():
                self.write(type(value).__qualname__, len(value))
                for i, entry in enumerate(value):
                    self.add(entry, f"{where}[{i}]")
            case set() | frozenset():
                self.write("set", *sorted(map(repr, value)))
            case types.ModuleType():
                self.write("module", value.__name__)
            case type():
                self.add_class(value, where)
            case functools.partial():
                self.add(("partial", value.func, value.args, value.keywords), where)
            case types.MethodType():
                self.add(("method", value.__func__, value.__self__), where)
            case types.FunctionType():
                self.add_function(value, where)
            case types.CodeType():
                self.add_code(value, where)
            case Program():
                self.write("program", value.name)
            case _:
                self.add_object(value, where)

    def add_function(self, function, where: str) -> None:
        self.write("function", function.__module__, function.__qualname__)
        if is_installed(function.__module__):
            return
        self.write(source_of(function))
        self.add_code(function.__code__, where)
        self.add((function.__defaults__, function.__kwdefaults__), f"{where}'s defaults")
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # a name that has no value yet
                content = None
            self.add(content, f"{where}'s variable '{name}'")
        for name in sorted(names_in(function.__code__)):
            if name in function.__globals__:
                self.write(name)
                self.add(function.__globals__[name], f"{where}'s global '{name}'")
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None:
            self.add(wrapped, where)

    def add_code(self, code: types.CodeType, where: str) -> None:
        self.write("code", code.co_code, code.co_names, code.co_varnames)
        for constant in code.co_consts:
            self.add(constant, where)

    def add_class(self, value: type, where: str) -> None:
        self.write("class", value.__module__, value.__qualname__)
        if is_installed(value.__module__):
            return
        self.write(source_of(value))
        for name, member in sorted(vars(value).items()):
            if isinstance(member, types.FunctionType):
                self.add(member, f"{where}.{name}")

    def add_object(self, value, where: str) -> None:
        """Add an instance: its class and what it holds, as a dataclass, as a pytree, or as attributes."""
        self.add(type(value), where)
        wrapped = getattr(value, "__wrapped__", None)
        leaves, structure = jax.tree.flatten(value)
        if isinstance(wrapped, types.FunctionType):  # a function under jax.jit or the like
            self.add(wrapped, where)
        elif dataclasses.is_dataclass(value):
            self.add({f.name: getattr(value, f.name) for f in dataclasses.fields(value)}, where)
        elif not (len(leaves) == 1 and leaves[0] is value):
            self.write(structure)
            self.add(leaves, where)
        elif isinstance(getattr(value, "__dict__", None), dict) and vars(value):
            self.add(vars(value), where)
        elif " at 0x" not in repr(value):
            self.write(repr(value))
        else:
            raise TypeError(
                f"The reference run cannot be cached: {where} is a {type(value).__name__}, whose changes "
                "cannot be detected. Pass it as an array or as a plain value, or run with cache=None."
            )


def source_of(thing) -> str:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):  # source code typed in at a prompt, or a built-in
        return ""


def names_in(code: types.CodeType) -> set[str]:
    """Return the names that a function, and the functions inside it, look up."""
    inner = (names_in(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)


@functools.cache
def is_installed(module: str | None) -> bool:
    """Return whether a module's source is covered already, by the version of its package or by `own_source`."""
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    if module == "builtins" or (module or "").partition(".")[0] in sys.stdlib_module_names - {"__main__"}:
        return True
    if file is None:
        return False
    homes = [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("stdlib")]
    return Path(file) in own_files() or any(Path(file).is_relative_to(home) for home in homes)
