"""Sources of rows: data of more rows than fit into memory, read a block at a time.

A source of rows is any object that can be iterated over again and again, and knows its number of rows:

    num_rows    the number of rows, an int
    __iter__    yields {argument of the model: array}, pieces of any number of rows, the same ones each time

Each array has its rows along the first axis. The pieces add up to `num_rows` rows, and every piece has the same
arguments, types and columns. `Target.from_numpyro(model, rows=source)` reads it. Two sources are built in:

    ArrayRows(x=x, y=y)             whatever can be sliced: NumPy memory maps, arrays of Zarr, HDF5, dask or xarray
    ParquetRows("trips.parquet", x=["a", "b"], y="c")   columns of Parquet files, by row groups (needs pyarrow)
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from vi_kl.core.errors import ModelError, ViKLError

__all__ = ["ArrayRows", "ParquetRows", "RowSource"]

PIECE = 65_536  # rows that the sources below read at a time

Piece = Mapping[str, np.ndarray]  # {argument: rows}


@runtime_checkable
class RowSource(Protocol):
    """What can be iterated over again and again, each time for the same rows, in pieces {argument: array}.

    Attributes:
        num_rows: the number of rows of all pieces together.
    """

    @property
    def num_rows(self) -> int:
        """The number of rows of all pieces together."""

    def __iter__(self) -> Iterator[Piece]:
        """Yield the pieces."""


class ArrayRows:
    """Rows of arrays that are sliced a piece at a time, and need not lie in memory.

    Args:
        piece: the number of rows that are read at a time; the length of a chunk is a good one where data are chunked.
        **arrays: an array for each of the model's arguments that have rows: a NumPy array or memory map
            (`np.load(file, mmap_mode="r")`), or whatever else has a `shape` and gives its rows as `array[a:b]`, as
            arrays of Zarr, HDF5 (h5py), dask and xarray do.

    Attributes:
        num_rows: the number of rows.

    Raises:
        ValueError: the arrays differ in their numbers of rows; the message names them.
    """

    def __init__(self, *, piece: int = PIECE, **arrays: Any):
        lengths = {name: array.shape[0] for name, array in arrays.items()}
        if len({*lengths.values()}) != 1:
            raise ModelError(f"The arrays of ArrayRows must have the same number of rows, one or more: {lengths}.")
        self.arrays, self.piece = arrays, piece
        self.num_rows: int = next(iter(lengths.values()))

    def __iter__(self) -> Iterator[Piece]:
        for first in range(0, self.num_rows, self.piece):
            yield {name: np.asarray(array[first : first + self.piece]) for name, array in self.arrays.items()}


class ParquetRows:
    """Rows of Parquet files, read by row groups; needs pyarrow (`pip install "vi_kl[parquet]"`).

    Args:
        files: a file, a folder of them (`*.parquet`, in the order of their names), or a list of files.
        piece: the number of rows that are read at a time.
        **columns: a column for each of the model's arguments that have rows, which becomes a vector; or a list of
            columns, which becomes a matrix with a column for each.

    Attributes:
        num_rows: the number of rows of all files.

    Raises:
        ModelError: there is no such file, or a column is missing, has missing values, or holds no numbers; the message
            names it.
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(
        self,
        files: str | os.PathLike | Sequence[str | os.PathLike],
        *,
        piece: int = PIECE,
        **columns: str | Sequence[str],
    ):
        parquet = pyarrow_parquet()
        given = [files] if isinstance(files, str | os.PathLike) else list(files)
        self.files = [path for one in given for path in files_of(Path(one))]
        self.columns, self.piece = columns, piece
        self.num_rows = 0
        for path in self.files:
            with parquet.ParquetFile(path) as file:
                lacking = {*self.names} - {*file.schema_arrow.names}
                if lacking:
                    there = ", ".join(file.schema_arrow.names)
                    raise ModelError(f"{path} has no column {', '.join(sorted(lacking))}; it has {there}.")
                self.num_rows += file.metadata.num_rows

    @property
    def names(self) -> list[str]:
        """The names of the columns that are read."""
        lists = [[names] if isinstance(names, str) else list(names) for names in self.columns.values()]
        return list(dict.fromkeys(name for names in lists for name in names))

    def __iter__(self) -> Iterator[Piece]:
        parquet = pyarrow_parquet()
        for path in self.files:
            with parquet.ParquetFile(path, pre_buffer=False) as file:  # else it holds all that it will read
                for batch in file.iter_batches(self.piece, columns=self.names):
                    found = {name: numbers_of(batch.column(name), name, path) for name in self.names}
                    yield {
                        argument: found[names] if isinstance(names, str) else np.column_stack([found[n] for n in names])
                        for argument, names in self.columns.items()
                    }


class MissingExtraError(ViKLError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


def pyarrow_parquet():
    """Return the module that reads Parquet."""
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError(
            'ParquetRows needs pyarrow, which is not installed: pip install "vi_kl[parquet]".'
        ) from error
    return parquet


def files_of(path: Path) -> list[Path]:
    """Return the Parquet files that a path stands for."""
    found = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not found or not found[0].exists():
        raise ModelError(f"There is no Parquet file at {path}.")
    return found


def numbers_of(column: Any, name: str, path: Path) -> np.ndarray:
    """Return a column as numbers.

    Raises:
        ModelError: it has missing values, or is of another type.
    """
    if column.null_count:
        raise ModelError(f"Column '{name}' of {path} has missing values: drop or fill those rows first.")
    found = column.to_numpy(zero_copy_only=False)
    if found.dtype.kind not in "fiub":
        raise ModelError(f"Column '{name}' of {path} holds {column.type}, and must hold numbers or booleans.")
    return found
