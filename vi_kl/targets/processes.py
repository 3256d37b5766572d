"""Rows over processes: each process (`jax.distributed`) reads its own rows, and sums over rows go over all of them.

Every process makes the same target, with a source of its own rows, and makes the same calls with the same keys. Each
pass over the rows ends with one exchange of the sums, of some kilobytes, so that all have the same numbers and take the
same decisions. A process that calls for something else is found out at the next exchange, which compares what the sums
are of.
"""

import dataclasses
import zlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from vi_kl.core.errors import ViKLError
from vi_kl.core.precision import x64_types
from vi_kl.targets.row_sources import Piece, RowSource


class ProcessesDifferError(ViKLError, RuntimeError):
    """An error: processes that share a target ask for different things; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class RowsOfEachProcess:
    """A source of the rows of this process alone, where every process of `jax.distributed` has rows of its own.

        jax.distributed.initialize(...)
        own = ArrayRows(x=my_part_of_x, y=my_part_of_y)
        target = Target.from_numpyro(model, rows=RowsOfEachProcess(own))

    Attributes:
        source: the source of this process's rows; those of all processes have the same arguments, types and columns.
    """

    source: RowSource

    @property
    def num_rows(self) -> int:
        """The number of this process's rows."""
        return int(self.source.num_rows)

    def __iter__(self) -> Iterator[Piece]:
        return iter(self.source)


def from_each(array: Any) -> np.ndarray:
    """Return the arrays of all processes, which have one shape, stacked along a new first axis."""
    from jax.experimental import multihost_utils  # imported here, as it takes time, and few need it

    array = np.asarray(array)
    if jax.process_count() == 1:
        return array[None]
    with x64_types():  # numbers go as bytes: nothing rounds them on the way
        flat = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        found = np.asarray(multihost_utils.process_allgather(flat))
    return np.frombuffer(found.tobytes(), array.dtype).reshape(len(found), *array.shape)


def summed_over_processes(parts: Any, what: np.ndarray) -> Any:
    """Return the sums of a pytree of arrays over all processes, the same to the last bit in each.

    Args:
        parts: this process's arrays.
        what: the points at which they were computed, which must be the same everywhere.

    Raises:
        ProcessesDifferError: they are not.
    """
    mark = np.array([zlib.crc32(np.ascontiguousarray(what).tobytes()), len(jax.tree.leaves(parts)), what.size])
    if len({tuple(one) for one in from_each(mark).tolist()}) > 1:
        raise ProcessesDifferError(
            "The processes evaluate the log density at different points. Let each make the same calls in the same "
            "order, with the same keys, on machines of one kind with the same versions of everything."
        )
    return jax.tree.map(lambda part: from_each(part).sum(axis=0), parts)


def joined_over_processes(array: np.ndarray) -> np.ndarray:
    """Return the rows of all processes' arrays, process by process."""
    lengths = from_each(np.array(len(array)))
    longest = int(lengths.max())
    padded = np.concatenate([array, np.zeros((longest - len(array), *array.shape[1:]), array.dtype)])
    return np.concatenate([part[:length] for part, length in zip(from_each(padded), lengths, strict=True)])
