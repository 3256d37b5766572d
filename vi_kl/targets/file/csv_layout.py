"""How a file of CSV is laid out: its separator, the names of its columns, and which of its lines are comments.

Lines that begin with # are comments above the header, and so are those below it that have fewer entries than it has
names (a label may begin with # too). The last comment is the header itself where the line below it, of as many
entries, holds a number: so numpy.savetxt writes it, and genome browsers do.
"""

import csv
import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Layout", "layout_of"]

SEPARATORS = ",;\t"
MARK = "#"
NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*$")


@dataclasses.dataclass(frozen=True)
class Layout:
    """What has to be known of a file of CSV before it is read.

    Attributes:
        separator: what stands between entries.
        names: the names of the columns.
        comments: the numbers of the lines that are comments or, above the header, empty; counted from 0.
        named_by_comment: whether the names are those of the last comment.
    """

    separator: str
    names: tuple[str, ...]
    comments: tuple[int, ...]
    named_by_comment: bool


def layout_of(path: Path) -> Layout:
    """Return the layout of a file of CSV."""
    with open(path, encoding="utf-8-sig") as file:
        above = []
        for first in file:
            if first.strip() and not first.startswith(MARK):
                break
            above.append(first)
        else:
            first = ""
        separator = max(SEPARATORS, key=first.count)
        entries = split(first, separator)
        comments = [split(line.lstrip(MARK), separator) for line in above if line.strip()]
        is_data = any(map(NUMBER.match, entries)) and bool(comments) and len(comments[-1]) == len(entries)
        names = comments[-1] if is_data else entries
        below = comments_among(file, len(above) + 1, separator, len(names))
    return Layout(separator, tuple(names), (*range(len(above)), *below), is_data)


def comments_among(lines: Iterable[str], start: int, separator: str, columns: int) -> list[int]:
    """Return the numbers of those of the lines, counted from `start`, that are comments."""
    marked = ((i, line) for i, line in enumerate(lines, start) if line.startswith(MARK))
    return [i for i, line in marked if len(split(line, separator)) < columns]


def split(line: str, separator: str) -> list[str]:
    return [entry.strip() for entry in next(csv.reader([line.rstrip("\r\n")], delimiter=separator), [])]
