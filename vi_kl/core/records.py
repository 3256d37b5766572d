"""Records: frozen dataclasses that hold figures and words, all of them computed when the record is made.

What a record derives from its other fields is a field too (`derived`), set once in `__post_init__` (`store`), so that
`dataclasses.asdict` has it, and `dataclasses.replace` computes it anew. `plain` turns a record into what JSON can
hold. A field that JSON has no use for, such as the fit that a figure was computed from, is declared by `working`.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

IN_JSON = "in_json"


def derived() -> Any:
    """A field that follows from the others: `__post_init__` sets it, and no caller can."""
    return dataclasses.field(init=False, repr=False)


def working(**options) -> Any:
    """A field for people who compute on: `plain` leaves it out. Options are those of `dataclasses.field`."""
    return dataclasses.field(metadata={IN_JSON: False}, **options)


def store(record, **values) -> None:
    """Set derived fields of a frozen record, in its own `__post_init__`."""
    for name, value in values.items():
        object.__setattr__(record, name, value)


def plain(value) -> Any:
    """Return a record, or what `dataclasses.asdict` made of it, as JSON can hold it.

    Records become dictionaries without their working fields, arrays and tuples lists; what is infinite or NaN is None.

    Raises:
        TypeError: something in it is no figure, word, array or record.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = (f.name for f in dataclasses.fields(value) if f.metadata.get(IN_JSON, True))
        return {name: plain(getattr(value, name)) for name in kept}
    if isinstance(value, Mapping):
        return {name: plain(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [plain(x) for x in value]
    if isinstance(value, np.generic) or hasattr(value, "__array__"):
        return plain(np.asarray(value).tolist())
    raise TypeError(
        f"A {type(value).__name__} has no form in JSON: a record holds numbers, words, arrays and other records, and "
        "declares what else it carries by `working()`."
    )
