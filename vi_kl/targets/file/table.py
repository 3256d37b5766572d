"""Data in a file, by column: CSV, parquet, JSON, npz, netCDF.

A column is an array of numbers, or a number. Text becomes codes, 0, 1, 2, ... in the order in which its labels appear,
but no and yes are 0 and 1 whichever comes first. A column of numbers with stray text in it is refused, and so are
dates. Nothing is coded before it is asked for.
"""

import dataclasses
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vi_kl.core.suggestions import guess
from vi_kl.targets.file.csv_layout import layout_of
from vi_kl.targets.file.errors import FileError, listed

MOSTLY = 0.5  # the share of a column's entries that are numbers, from which on text among them is a mistake
SHOWN = 3  # labels in a remark
UNTRUE_AND_TRUE = {("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t")}
WITH_COMMA = re.compile(r"\s*[+-]?\d+(,\d+)?\s*$")
# 12,5; 1.234,5 or 1,234.5 or 1'234; 12 %, 12.5 EUR
OTHER_NUMBER = re.compile(
    r"\s*[+-]?[€$£]?(\d+,\d+|\d{1,3}([.,' ]\d{3})+([.,]\d+)?|\d+([.,]\d+)?\s?(%|[€$£]|EUR|USD))\s*$"
)
# 2024-03-01, with or without a time of day; 1.3.2024, 01/03/24
DATE = re.compile(r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ]\d{1,2}:\d{2}.*)?|\d{1,2}([-/.])\d{1,2}\3(\d{2}|\d{4}))\s*$")


@dataclasses.dataclass(frozen=True)
class Table:
    """Named columns of a file.

    Attributes:
        path: the file.
        raw: {name: the column as it was read}.
        is_frame: whether the columns are of one length, as those of CSV and parquet.
    """

    path: Path
    raw: Mapping[str, Any]
    is_frame: bool = False

    @property
    def rows(self) -> int | None:
        """The number of rows, if all columns have the same."""
        return len(next(iter(self.raw.values()), ())) if self.is_frame else None

    def column(self, name: str, known: Sequence[str] | None = None) -> tuple[Any, list[str] | None]:
        """Return a column as numbers, and the labels of its codes if it is text.

        Args:
            name: the column's name.
            known: the labels of codes that are to be used again.

        Raises:
            FileError: there is no such column, it has no form as numbers, or it has labels that are not known.
        """
        if name not in self.raw:
            raise FileError(
                f"{self.path.name} has no column '{name}'.{guess(name, self.raw)} Its columns are {listed(self.raw)}."
            )
        found = as_array(self.raw[name], self.about(name))
        return coded(found, known, self.about(name)) if found.dtype.kind in "OUST" else (plain_number(found), None)

    def names_of_rows(self) -> dict[str, list[str]]:
        """Return {column: its labels} of the columns of text in which every row has a label of its own."""
        found = {}
        for name in self.raw:
            try:
                codes, labels = self.column(name)
            except FileError:  # whoever asks for that column is told
                continue
            if labels is not None and len(labels) == np.size(codes):
                found[name] = labels
        return found

    def missing(self, names: Sequence[str]) -> str:
        """Say which of the columns lack values, a sentence each."""
        words = []
        for name in names:
            values, _ = self.column(name)
            values = np.ravel(np.asarray(values))
            rows = np.flatnonzero(np.isnan(values)) if values.dtype.kind == "f" else np.empty(0, int)
            if len(rows):
                count = "1 value is" if len(rows) == 1 else f"{len(rows):,} values are"
                words.append(f"In {self.about(name)} {count} missing, the first in row {rows[0] + 1:,}.")
        return " ".join(words)

    def about(self, name: str) -> str:
        """Return how a column is called in messages."""
        return f"column '{name}' of {self.path.name}"


def read_table(path: str | Path) -> Table:
    """Read a file of data.

    Args:
        path: the file, whose ending says what it is: one of FORMATS.

    Raises:
        FileError: there is no such file, its ending is unknown, a package is missing, or it is damaged.
    """
    path = Path(path).expanduser()
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise FileError(f"{path} ends in '{path.suffix}': data are read from {', '.join(FORMATS)}.")
    if not path.is_file():
        raise FileError(f"There is no file {path}." if not path.is_dir() else f"{path} is a folder: name a file in it.")
    try:
        raw = FORMATS[ending](path)
    except FileError:
        raise
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not in UTF-8 (byte {error.start + 1} is of no character): save it so.") from error
    except ImportError as error:
        raise FileError(f"{path} cannot be read: {str(error).splitlines()[0]} {PACKAGES.get(ending, '')}") from error
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        said = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise FileError(f"{path} cannot be read as {ending[1:]}: {said}. {PACKAGES.get(ending, '')}".strip()) from error
    found = Table(path, raw, is_frame=ending in (".csv", ".tsv", ".parquet"))
    if found.rows == 0:
        raise FileError(f"{path} has no rows. Its columns are {listed(raw)}.")
    return found


def columns_of_frame(frame) -> dict[str, Any]:
    return {str(name): frame[name] for name in frame.columns}


def read_csv(path: Path) -> dict[str, Any]:
    import pandas as pd

    layout = layout_of(path)
    twice = [name for i, name in enumerate(layout.names) if name and name in layout.names[:i]]
    if twice:
        raise FileError(f"{path} has two columns '{twice[0]}': rename one of them.")
    header: dict[str, Any] = {"header": None, "names": list(layout.names)} if layout.named_by_comment else {}
    frame = pd.read_csv(path, sep=layout.separator, skipinitialspace=True, skiprows=list(layout.comments), **header)
    columns = columns_of_frame(frame.rename(columns=str.strip))
    return columns if layout.separator == "," else {name: with_points(column) for name, column in columns.items()}


def with_points(column):
    """Return a column of text whose entries are numbers with decimal commas as numbers, and any other as it is."""
    import pandas as pd

    text = column.dropna()
    if pd.api.types.is_numeric_dtype(column) or not len(text) or not all(WITH_COMMA.match(str(x)) for x in text):
        return column
    return column.str.replace(",", ".").astype(float)


def read_parquet(path: Path) -> dict[str, Any]:
    import pandas as pd

    return columns_of_frame(pd.read_parquet(path))


def read_json(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(document, list) and document and all(isinstance(row, dict) for row in document):
        import pandas as pd

        return columns_of_frame(pd.DataFrame(document))
    if not isinstance(document, dict):
        raise FileError(f'{path} must hold named lists and numbers, such as {{"N": 2, "y": [1.5, 2.0]}}.')
    return document


def read_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def read_netcdf(path: Path) -> dict[str, Any]:
    import xarray

    with xarray.open_dataset(path) as dataset:
        return {str(name): dataset[name].to_numpy() for name in (*dataset.data_vars, *dataset.coords)}


FORMATS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
    ".json": read_json,
    ".npz": read_npz,
    ".nc": read_netcdf,
}
PACKAGES = {
    ".parquet": "pandas reads parquet by pyarrow: pip install pyarrow.",
    ".nc": "xarray reads netCDF 4 by h5netcdf: pip install xarray h5netcdf.",
}


def as_array(raw, about: str) -> np.ndarray:
    """Return a column as an array of numbers, truth values or text.

    Raises:
        FileError: it holds dates, or lists of different lengths, or something else.
    """
    kind = getattr(getattr(raw, "dtype", None), "kind", "")
    if kind in "mM" and kind:
        raise FileError(f"The {about} holds dates: turn them into numbers first, such as days since the first.")
    if hasattr(getattr(raw, "dtype", None), "numpy_dtype") and kind in "iufb":  # pandas' numbers that may be missing
        return raw.to_numpy(dtype=float if raw.isna().any() else raw.dtype.numpy_dtype, na_value=np.nan)
    try:
        array = np.asarray(raw)
    except ValueError:
        raise FileError(f"The {about} has lists of different lengths: pad them, and give their lengths too.") from None
    if array.dtype.kind == "O" and are_numbers_with_gaps(array):
        return array.astype(float)
    if array.dtype.kind == "O" and any(isinstance(entry, dict | list) for entry in array.ravel()[:1]):
        raise FileError(f"The {about} holds neither numbers nor text, but a {type(array.ravel()[0]).__name__}.")
    if array.dtype.kind not in "biufOUST":
        raise FileError(f"The {about} is of type {array.dtype}, and a model needs real numbers.")
    return array


def are_numbers_with_gaps(array: np.ndarray) -> bool:
    """Return whether an array of objects is one of numbers or truth values, some of them missing, as null in JSON."""
    kinds = {type(entry) for entry in array.ravel()}
    return bool(kinds & {bool, int, float}) and kinds <= {bool, int, float, type(None)}


def plain_number(array: np.ndarray) -> Any:
    """Return an array; or the number of one without axes, as it is in Python, where sizes are part of a model."""
    return array.item() if array.ndim == 0 else array


def refuse_no_labels(labels: Sequence[str], about: str) -> None:
    """Refuse text that is dates or numbers in another notation, which CSV and JSON do not tell from other text.

    Raises:
        FileError: each label is a date, or each is a number.
    """
    other = [label for label in labels if OTHER_NUMBER.match(label)]
    if other and all(OTHER_NUMBER.match(label) or WITH_COMMA.match(label) for label in labels):
        raise FileError(f"The {about} holds numbers in a form that is not read ({other[0]}): write them as 1234.5.")
    if labels and all(DATE.match(label) for label in labels):
        raise FileError(
            f"The {about} holds dates ({labels[0]}): turn them into numbers first, such as days since the first, or, "
            f"where each is a group, into other labels (day 1, day 2)."
        )


def coded(text: np.ndarray, known: Sequence[str] | None, about: str) -> tuple[np.ndarray, list[str]]:
    """Return text as codes, and their labels.

    Raises:
        FileError: an entry is missing, most are numbers, or one is not known.
    """
    import pandas as pd

    entries = pd.Series(np.ravel(text)).astype(object)
    present = entries.notna()
    numeric = pd.to_numeric(entries, errors="coerce").notna() & present
    if (present & ~numeric).any() and numeric.sum() >= MOSTLY * present.sum():
        row = int(np.flatnonzero(present & ~numeric)[0])
        raise FileError(
            f"The {about} holds numbers, and text in {int((present & ~numeric).sum()):,} of {len(entries):,} rows, "
            f"the first in row {row + 1:,}: {str(entries[row])!r}. Mend it there, or leave the entry empty if it is "
            f"missing."
        )
    if not present.all():
        row = int(np.flatnonzero(~present)[0])
        raise FileError(f"The {about} is text, and row {row + 1:,} has none: fill it, or leave the row out.")
    codes, labels = pd.factorize(entries.astype(str))
    names = [str(label) for label in labels]
    if known is None:
        known = in_order(names)
    else:
        new = [name for name in names if name not in known]
        if new:
            raise FileError(
                f"The {about} has {listed(map(repr, new[:SHOWN]))}, which the data of the fit do not have; they have "
                f"{listed(list(known)[:SHOWN])} and so on."
            )
    places = np.array([list(known).index(name) for name in names], dtype=np.int64)
    return places[codes].reshape(np.shape(text)), list(known)


def in_order(labels: Sequence[str]) -> list[str]:
    """Return labels in the order of their codes: as they appear, but yes after no, as 1 is after 0."""
    backwards = tuple(label.casefold() for label in reversed(labels)) in UNTRUE_AND_TRUE
    return list(labels)[::-1] if backwards else list(labels)


def remark(about: str, labels: Sequence[str]) -> str:
    """Say how a column of text is coded."""
    if tuple(map(str.casefold, labels)) in UNTRUE_AND_TRUE:
        return f"The {about} is text: {labels[0]} is 0, and {labels[1]} is 1"
    shown = ", ".join(labels[:SHOWN]) + (", ..." if len(labels) > SHOWN else "")
    return f"The {about} is text, and coded as 0 to {len(labels) - 1} in order of appearance: {shown}"
