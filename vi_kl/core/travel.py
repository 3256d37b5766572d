"""Travel: values as bytes on their way to another process and back.

Standard pickle writes a function as the name under which an import finds it. Where none does (a lambda, a function
inside another, a notebook's cell), cloudpickle, if it is installed, writes the function itself.

Both sides know what was sent. So an answer refers to it by number, and holds no second copy: a fit that comes back is
of the target that was sent, the same object.
"""

import dataclasses
import importlib.util
import io
import pickle
import sys
import types
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vi_kl.core.aligned import LARGE, empty_aligned
from vi_kl.core.errors import ViKLError

PLAIN = (bool, int, float, complex, str, bytes, type, np.generic, types.NoneType)


class CannotTravelError(ViKLError, TypeError):
    """An error: a value cannot be sent to another process; the message names it, and the mend."""


def to_bytes(value: Any, shared: Sequence = ()) -> bytes:
    """Return a value as bytes.

    Args:
        value: anything that pickle writes, besides functions and classes of any origin if cloudpickle is installed.
        shared: objects that the reader has too, in the same order: they are written as their places.

    Raises:
        CannotTravelError: no import finds a function of it, and cloudpickle is not installed; or it cannot be pickled.
    """
    try:
        return written(ByName, value, shared)
    except NotImportableError as error:
        if not has_cloudpickle():
            raise CannotTravelError(
                f"{in_words(error.thing)} cannot be sent to another process: no import finds it there. Put it into a "
                f"file of its own and import it, or `pip install cloudpickle` on both sides."
            ) from None
    return written(by_value(), value, shared)


def from_bytes(data: bytes, shared: Sequence = ()) -> Any:
    """Return the value that `to_bytes` was given; in 64 bits, so that nothing is rounded."""
    with jax.enable_x64(True):
        return Reader(io.BytesIO(data), shared).load()


def written(kind: type, value: Any, shared: Sequence) -> bytes:
    file = io.BytesIO()
    try:
        kind(file, shared).dump(value)
    except NotImportableError:
        raise
    except (pickle.PicklingError, AttributeError, TypeError) as error:  # what pickle says to locks, files, generators
        raise CannotTravelError(f"{in_words(value)} cannot be sent to another process: {error}.") from error
    return file.getvalue()


class NotImportableError(Exception):
    """Raised while pickling, at a function or class that no import finds."""

    def __init__(self, thing):
        super().__init__()
        self.thing = thing


class Reader(pickle.Unpickler):
    """The standard unpickler, for what `ByName` and `by_value` write."""

    def __init__(self, file, shared: Sequence):
        super().__init__(file)
        self.shared = shared

    def persistent_load(self, place: int):
        return self.shared[place]


class ByPlace:
    """A part of a pickler: what both sides have is written as its place among them."""

    def __init__(self, file, shared: Sequence):
        super().__init__(file, protocol=5)  # type: ignore[call-arg]
        self.places = {id(one): place for place, one in enumerate(shared)}

    def persistent_id(self, thing):
        return self.places.get(id(thing))


class ByName(ByPlace, pickle.Pickler):
    """The standard pickler, which stops at what no import finds."""

    def reducer_override(self, thing):
        if isinstance(thing, types.FunctionType | type) and not is_importable(thing):
            raise NotImportableError(thing)
        return reduced(thing)


def by_value() -> type:
    """Return a pickler that writes functions themselves where no import finds them."""
    import cloudpickle

    class ByValue(ByPlace, cloudpickle.Pickler):
        def reducer_override(self, thing):
            found = reduced(thing)
            return super().reducer_override(thing) if found is NotImplemented else found

    return ByValue


def has_cloudpickle() -> bool:
    return importlib.util.find_spec("cloudpickle") is not None


def reduced(thing):
    """Return how to make again what pickle does not make as it should; NotImplemented for all else."""
    if isinstance(thing, BaseException):
        return remade_error, (type(thing), thing.args, vars(thing))
    if type(thing) is np.ndarray and thing.nbytes >= LARGE and not thing.dtype.hasobject:
        return aligned_array, (thing.tobytes(), thing.dtype, thing.shape)
    return NotImplemented


def remade_error(kind: type, arguments: tuple, state: dict) -> BaseException:
    """Return an error without calling its class, whose arguments may not be those of the message."""
    error = kind.__new__(kind, *arguments)
    vars(error).update(state)
    return error


def aligned_array(data: bytes, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array that XLA reads in place: targets that share it go on sharing it, and make no copies."""
    array = empty_aligned(shape, dtype)
    array[...] = np.frombuffer(data, dtype).reshape(shape)
    return array


def is_importable(thing: Any) -> bool:
    """Return whether another process finds a function or class by its name.

    What stands in the script that is run it finds where that has a file, as a pool's processes run it again; but those
    of a cluster do not, so that cloudpickle, if it is installed, takes it along.
    """
    if thing.__module__ == "builtins":
        return True
    found: Any = sys.modules.get(thing.__module__ or "")
    if thing.__module__ == "__main__" and (has_cloudpickle() or not hasattr(found, "__file__")):
        return False
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is thing


def in_words(thing: Any) -> str:
    """Return what a value is called in an error message."""
    if isinstance(thing, types.FunctionType):
        code = thing.__code__
        return f"The function '{thing.__qualname__}' ({code.co_filename}, line {code.co_firstlineno})"
    name = getattr(thing, "__qualname__", None)
    return f"'{thing.__module__}.{name}'" if name else f"A {type(thing).__name__}"


def parts(value: Any) -> list:
    """Return the objects that a value consists of, those of its copy in another process in the same order.

    These are the entries of containers, the fields of dataclasses, and what the method `parts` of an object gives.
    """
    if isinstance(value, PLAIN):
        return []
    if isinstance(value, list | tuple):
        return [part for entry in value for part in parts(entry)]
    if isinstance(value, dict):
        return parts(list(value.values()))
    if hasattr(value, "parts"):
        return [value, *value.parts()]
    if dataclasses.is_dataclass(value):
        return [value, *parts([getattr(value, field.name) for field in dataclasses.fields(value)])]
    return [value]
