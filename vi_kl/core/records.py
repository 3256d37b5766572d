"""Records: frozen dataclasses that hold figures and words, all of them computed when the record is made.

What follows from the other fields is a field too, with `init=False`, which `__post_init__` sets by `store`: so
`dataclasses.asdict` has it, nobody can give another, and `dataclasses.replace` computes it anew. `plain` turns a record
into what JSON can hold. A field that JSON has no use for, such as a fit, has the metadata WORKING.
"""

import dataclasses
import html
import importlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

WORKING = {"in_json": False}  # metadata of a field for people who compute on: `plain` leaves it out


class Readable:
    """A result that is a line at the prompt, and whole where it is printed or shown by a notebook.

    A dataclass that is one has `repr=False`, for it would write a `__repr__` of its own.
    """

    @property
    def headline(self) -> str:
        """What there is to say in one line."""
        raise NotImplementedError

    def __repr__(self):
        return f"<{type(self).__name__}: {self.headline}>"

    def _repr_html_(self):
        return f'<pre style="white-space: pre-wrap">{html.escape(str(self))}</pre>'


def facts_in_html(title: str, facts: Mapping[str, Any]) -> str:
    """Return a title and a row for each fact, as a notebook shows them; what is None is left out."""
    rows = (
        f'<tr><th style="text-align: left">{html.escape(name)}</th>'
        f'<td style="text-align: left">{html.escape(str(fact))}</td></tr>'
        for name, fact in facts.items()
        if fact is not None
    )
    return f"<p><b>{html.escape(title)}</b></p><table>{''.join(rows)}</table>"


def rendered_by(name: str) -> Any:
    """Return a function of `vi_kl.report`, which stands above all records, for a record's method to call.

    Records know the name of what renders them, and import it when they are asked to be rendered.
    """
    return getattr(importlib.import_module("vi_kl.report"), name)


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
        kept = (f.name for f in dataclasses.fields(value) if f.metadata.get("in_json", True))
        return {name: plain(getattr(value, name)) for name in kept}
    if isinstance(value, Mapping):
        return {name: plain(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [plain(x) for x in value]
    if isinstance(value, np.generic) or hasattr(value, "__array__"):
        return plain(np.asarray(value).tolist())
    raise TypeError(
        f"A {type(value).__name__} has no form in JSON: a record holds numbers, words, arrays and other records, and "
        "marks what else it carries as WORKING."
    )
