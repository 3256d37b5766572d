"""Values as files, without pickle: plain values as JSON, with arrays beside them, in one npz that is written whole.

What can be stored: None, booleans, numbers, strings, arrays of numbers, random keys, dicts, lists, tuples, and
dataclasses and NamedTuples of these. A file names the classes it holds; only those that the reader is given are made
from it, so that reading a file runs no code that came with it.
"""

import dataclasses
import json
import sys
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vi_kl.core.array_files import ArchiveError, ArrayFile, write_arrays

DOCUMENT = "document"


def write(path, document: dict) -> None:
    """Store a document, replacing the file at `path` only when all of it has been written.

    Args:
        path: the file's path; its folder must exist.
        document: {name: value}.

    Raises:
        ArchiveError: a value cannot be stored.
        OSError: the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    words = json.dumps({name: encode(value, name, arrays) for name, value in document.items()})
    write_arrays(path, {DOCUMENT: np.frombuffer(words.encode(), np.uint8), **arrays})


class Archive:
    """A stored document, whose values are made when they are asked for.

    Args:
        path: the path of a file that `write` has written.

    Raises:
        ArchiveError: it is no such file, or is damaged.
        FileNotFoundError: there is no such file.
        OSError: it cannot be opened.
    """

    def __init__(self, path):
        self.path = Path(path).expanduser()
        with ArrayFile(self.path) as file:
            document = file[DOCUMENT]
            try:
                words = json.loads(document.tobytes())
                names = arrays_of(words)
            except (ValueError, RecursionError) as error:
                raise file.damaged(error, "the document") from None
            if not isinstance(words, dict):
                raise file.damaged(TypeError("no names"), "the document")
            self.words: dict[str, Any] = words
            self.arrays = {name: file[name] for name in names}

    def get(self, name: str, classes: Mapping[str, type] | None = None) -> Any:
        """Return the value stored under `name`, or None; `classes` are those that may be made, by name."""
        if name not in self.words:
            return None
        try:
            return decode(self.words[name], self.arrays, classes or {})
        except ArchiveError:
            raise
        except Exception as error:  # of any type that Python or JAX raise for a value that is not what it says
            raise ArchiveError(f"{self.path} is damaged: '{name}' cannot be read ({error}).") from None


def arrays_of(words) -> list[str]:
    """Return the names of the arrays that JSON refers to, in order."""
    waiting, found = [words], {}
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("array"), str):
                found[value["array"]] = True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return list(found)


# Values to JSON --------------------------------------------------------------------------------------------------


def encode(value, where: str, arrays: dict, other: Callable | None = None):
    """Return `value` as JSON, and put its arrays into `arrays`.

    Args:
        where: the name of the value in an error message.
        arrays: {name: array}, to which the value's arrays are added.
        other: `other(value, where)` returns JSON for what cannot be stored; by default that is an error.
    """

    def inner(entry, where):
        return encode(entry, where, arrays, other)

    match value:
        case None | bool() | str():
            return value
        case float() if type(value) is float:
            return value if np.isfinite(value) else {"float": repr(value)}
        case int() if type(value) is int:
            return value
        case np.ndarray() | np.generic() | jax.Array():
            return encode_array(value, where, arrays)
        case dict():
            return {"dict": [[inner(k, where), inner(v, f"{where}[{k!r}]")] for k, v in value.items()]}
        case list():
            return {"list": [inner(entry, f"{where}[{i}]") for i, entry in enumerate(value)]}
        case tuple() if type(value) is tuple:
            return {"tuple": [inner(entry, f"{where}[{i}]") for i, entry in enumerate(value)]}
    fields = fields_of(value)
    if fields is not None:
        kind = type(value)
        entries = {name: inner(entry, f"{where}.{name}") for name, entry in fields.items()}
        return {"class": kind.__qualname__, "module": kind.__module__, "fields": entries}
    if other is not None:
        return other(value, where)
    what = "a function" if callable(value) else f"a {type(value).__name__}"
    raise ArchiveError(f"{where} is {what}, which cannot be saved.")


def fields_of(value) -> dict | None:
    """Return the fields of a dataclass or a NamedTuple, or None."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return value._asdict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    return None


def encode_array(value, where: str, arrays: dict):
    if isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        data = encode_array(jax.random.key_data(value), where, arrays)
        return {"key": str(jax.random.key_impl(value)), **data}
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise ArchiveError(f"{where} is an array of {array.dtype}, which cannot be saved.")
    name = str(len(arrays))
    arrays[name] = array
    return {"array": name}


# JSON to values --------------------------------------------------------------------------------------------------


def decode(words, arrays: Mapping, classes: Mapping[str, type]):
    """Return the value that `encode` was given."""

    def inner(words):
        return decode(words, arrays, classes)

    match words:
        case {"float": text}:
            return float(text)
        case {"key": impl, "array": name}:
            return jax.random.wrap_key_data(arrays[name], impl=impl)
        case {"array": name}:
            return arrays[name]
        case {"dict": entries}:
            return {inner(key): inner(value) for key, value in entries}
        case {"list": entries}:
            return [inner(entry) for entry in entries]
        case {"tuple": entries}:
            return tuple(inner(entry) for entry in entries)
        case {"class": name, "module": module, "fields": fields}:
            return make(name, module, {field: inner(value) for field, value in fields.items()}, classes)
        case dict():
            raise ArchiveError(f"The file holds something that this version of vi_kl does not know: {words}.")
        case _:
            return words


def make(name: str, module: str, fields: dict, classes: Mapping[str, type]):
    """Return an instance of one of the classes that may be made."""
    kind = classes.get(name) or imported_tuple(name, module)
    if kind is None:
        raise ArchiveError(
            f"The file holds a `{name}` of {module}, which is not one of vi_kl's own classes: "
            f"pass it to load as classes=[{name}]."
        )
    try:
        made = kind(**fields)
    except Exception as error:  # whatever the class says to fields that do not suit it
        raise ArchiveError(f"`{name}` is not what it was when the file was saved: {error}.") from None
    for field, value in fields.items():
        if not may_be(value, annotations_of(kind).get(field, Any)):
            raise ArchiveError(f"`{name}.{field}` is {str(value)[:40]!r}, which it cannot be.")
    return made


def annotations_of(kind: type) -> dict[str, Any]:
    """Return {field: type} of a class, without those that cannot be found out."""
    try:
        return typing.get_type_hints(kind)
    except (NameError, TypeError, AttributeError):  # a type that only a checker imports
        return {}


def may_be(value, annotation) -> bool:
    """Return whether a value is of a type, for the plain types and their unions; True for any other type."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return any(may_be(value, each) for each in typing.get_args(annotation))
    if annotation in (None, type(None)):
        return value is None
    if annotation is float:
        return isinstance(value, float | int | np.floating | np.integer) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)
    return isinstance(value, annotation) if annotation in (bool, str) else True


def imported_tuple(name: str, module: str) -> type | None:
    """Return a NamedTuple class of an imported module, or None.

    Such classes are plain containers, such as the states of optimisers.
    """
    kind = getattr(sys.modules.get(module), name, None)
    is_named = isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")
    return kind if is_named else None
