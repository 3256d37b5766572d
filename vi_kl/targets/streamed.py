"""Streamed targets: the log density of more rows than fit into memory, as a sum over blocks that are read in turn.

Requires of the model that its log density is a constant plus a sum over the rows, which is read off its operations
(`vi_kl.core.programs.row_sums`), and does not depend on the number of rows in any other way, which is tried out.

The model is traced for one block. Each pass over the source evaluates the log density, and its gradient, at all the
points of a batch: block after block by one compiled program, the last block filled up with rows that do not count,
while a thread reads the next. Peak memory is that of a few blocks, whatever the number of rows.

The sum is formed outside compiled code, so what runs the log density within a program of its own (NUTS, guides) refuses
such a target, and says what can be done. SVI runs on minibatches of the rows (`vi_kl.targets.streamed_minibatch`).
"""

import contextlib
import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.core.aligned import empty_aligned
from vi_kl.core.compilation import compiled
from vi_kl.core.errors import ModelError, UnsuitableError
from vi_kl.targets.density import DerivedDensity
from vi_kl.targets.processes import RowsOfEachProcess, from_each, joined_over_processes, summed_over_processes
from vi_kl.targets.row_sources import RowSource
from vi_kl.targets.rows import RowSum, constant_part, rows_part

BLOCK_BYTES = 2**23  # of a block, about
FEWEST_ROWS = 1024  # of a block
AHEAD = 2  # blocks that are read ahead
MOST_POINTS = 1024  # at which the log density is evaluated in one pass
POINTS = 64  # of these, at which it is evaluated at once

Rows = dict[str, np.ndarray]  # a block's arrays, {argument: rows}


@dataclasses.dataclass(frozen=True, eq=False)
class StreamedDensity(DerivedDensity):
    """The log density given all rows of a source, which are read in blocks.

    Its data are those of the density given the first block alone.

    Attributes:
        blocks: the rows.
        by_rows: the density of a block as a sum over its rows.
        places: which leaf of the data each argument with rows is.
    """

    blocks: "Blocks"
    by_rows: RowSum
    places: tuple[tuple[str, int], ...]

    kept: ClassVar[frozenset[str]] = frozenset({"supports", "priors"})
    is_streamed: ClassVar[bool] = True

    def __eq__(self, other):
        return self is other

    def __hash__(self):
        return object.__hash__(self)

    @property
    def num_rows(self) -> int:
        """The number of all rows."""
        return self.blocks.of_all

    @property
    def source(self) -> str:
        return f"{self.density.source} whose rows are read in blocks"

    @property
    def mends(self) -> dict[str, str]:
        mend = "Fit one of vi_kl's own families ('full_rank', 'mixture', 'flow'), or pass the rows as arrays."
        return {**self.density.mends, "numpyro_guides": mend}

    @property
    def programs(self) -> tuple:
        return self.density.programs

    def log_density(self, data, sites):
        raise UnsuitableError(
            f"'{self}' reads its rows in blocks (rows=...), which takes no part in a compiled program, and this method "
            f"runs the log density inside of one. Fit it by the default (vi_kl.fit(target, key=key)), 'laplace', "
            f"'full_rank', 'mean_field', or in minibatches by vi_kl.SVI(...), 'mixture' or 'flow', and check it by "
            f"vi_kl.check; or pass the rows as arrays, in the narrowest type that holds them."
        )

    def explain(self, data: Any, sites: dict) -> str:
        """Say what the given density says of the first block in which the sum is not finite, and where that is."""
        z, begin = jnp.concatenate([jnp.ravel(x) for x in sites.values()])[None], self.blocks.begin
        for rows, count in read_ahead(iter(self.blocks)):
            leaves, which = self.leaves(data, rows), np.array([begin, count])
            if not np.isfinite(np.asarray(sum_of_block(leaves, z, which, by_rows=self.by_rows, with_gradient=False))):
                for name, array in rows.items():  # those of an earlier block, in which nothing is wrong, do not count
                    array[count:] = self.blocks.first[name][count:]
                leaves = self.leaves(data, rows)
                words = self.density.explain(jax.tree.unflatten(jax.tree.structure(data), leaves), sites)
                return f"{words} The first are among rows {begin + 1:,} to {begin + count:,} of the source."
            begin += count
        return self.density.explain(data, sites)

    def leaves(self, data: Any, rows: Rows) -> list:
        """Return the leaves of the data with a block's rows in their places."""
        return in_places(data, self.places, rows)

    def evaluate(self, data: Any, z: np.ndarray, with_gradient: bool) -> Any:
        """Return the log density at each z (n, dim), and its gradient if asked for, as NumPy arrays.

        The source is read once for MOST_POINTS points.
        """
        passes = [self.one_pass(data, z[i : i + MOST_POINTS], with_gradient) for i in range(0, len(z), MOST_POINTS)]
        return jax.tree.map(lambda *parts: np.concatenate(parts), *passes)

    def one_pass(self, data: Any, z: np.ndarray, with_gradient: bool) -> Any:
        each = 1 if len(z) == 1 else POINTS  # one program for one point, and one for any other number
        padded = np.pad(z, ((0, -len(z) % each), (0, 0)), mode="edge")
        points = [jnp.asarray(padded[i : i + each]) for i in range(0, len(padded), each)]
        options = {"by_rows": self.by_rows, "with_gradient": with_gradient}
        leaves, begin = jax.tree.leaves(data), self.blocks.begin
        fixed = [jax.tree.map(np.asarray, constant(leaves, piece, **options)) for piece in points]
        total = jax.tree.map(np.zeros_like, fixed)
        for rows, count in read_ahead(iter(self.blocks)):
            leaves, which = self.leaves(data, rows), np.array([begin, count])  # Python's numbers would be compiled in
            parts = [sum_of_block(leaves, piece, which, **options) for piece in points]
            total = jax.tree.map(lambda a, b: a + np.asarray(b), total, parts)
            begin += count
        if self.blocks.are_shared:
            total = summed_over_processes(total, padded)
        total = jax.tree.map(np.add, fixed, total)
        return jax.tree.map(lambda *pieces: np.concatenate(pieces)[: len(z)], *total)

    def rows_at(self, numbers: np.ndarray) -> Rows:
        """Return the rows of these numbers, in their order, by one pass; a number may come several times."""
        order = np.argsort(numbers, kind="stable")
        ascending = numbers[order]
        found = {name: np.empty((len(numbers), *shape), dtype) for name, (shape, dtype) in self.blocks.kinds.items()}
        begin = self.blocks.begin
        for rows, count in read_ahead(iter(self.blocks)):
            here = slice(*np.searchsorted(ascending, [begin, begin + count]))
            for name, array in rows.items():
                found[name][order[here]] = array[ascending[here] - begin]
            begin += count
        if self.blocks.are_shared:
            own = order[slice(*np.searchsorted(ascending, [self.blocks.begin, begin]))]
            for array in found.values():
                array[order] = joined_over_processes(array[own])
        return found


def in_places(data: Any, places: tuple[tuple[str, int], ...], rows: Any) -> list:
    """Return the leaves of a block's data with the rows of each argument in the place of the block's."""
    leaves = jax.tree.leaves(data)
    for name, place in places:
        leaves[place] = rows[name]
    return leaves


def unchanged(function: Callable) -> Callable:
    return function


@compiled(static=("by_rows", "with_gradient"))
def constant(leaves: list, z, by_rows: RowSum, with_gradient: bool):
    """Return the part of the log density at each z that is not due to rows, with its gradient if asked for."""
    return constant_part(jax.value_and_grad if with_gradient else unchanged, leaves, by_rows, z)


@compiled(static=("by_rows", "with_gradient"))
def sum_of_block(leaves: list, z, which, by_rows: RowSum, with_gradient: bool):
    """Return the part of the log density at each z that is due to a block, with its gradient if asked for.

    `which` holds the number of the block's first row, and how many of its rows count.
    """
    return rows_part(jax.value_and_grad if with_gradient else unchanged, leaves, by_rows, z, which[0], which[1])


# Blocks of one shape ---------------------------------------------------------------------------------------------


class Blocks:
    """The rows of a source in blocks of one shape.

    Iteration yields ({argument: rows}, how many of them count); the last block is filled up with its last row.

    Args:
        source: the source of rows.

    Attributes:
        num_rows: the number of the source's rows.
        row_bytes: the bytes of a row.
        are_shared: whether other processes have further rows.
        of_all: the number of rows of all processes.
        begin: the number of rows of the processes before this one.
        first: the first block, of the first process.
        size: the rows of a block.

    Raises:
        ModelError: the source gives no arrays, or arrays of different lengths.
    """

    def __init__(self, source: RowSource):
        self.source, self.num_rows = source, int(source.num_rows)
        piece = next(iter(source), {})
        if not piece or self.num_rows < 1:
            raise ModelError(f"The source of rows ({type(source).__name__}) has none.")
        self.kinds = kinds_of(piece, None)
        self.row_bytes = sum(dtype.itemsize * int(np.prod(shape)) for shape, dtype in self.kinds.values())
        self.size = min(self.num_rows, max(FEWEST_ROWS, BLOCK_BYTES // self.row_bytes))
        self.are_shared = isinstance(source, RowsOfEachProcess)
        numbers = from_each(np.array([self.num_rows, self.size])) if self.are_shared else np.array([[self.num_rows, 0]])
        self.of_all = int(numbers[:, 0].sum())
        self.begin = int(numbers[: jax.process_index(), 0].sum()) if self.are_shared else 0
        self.size = int(numbers[:, 1].min()) if self.are_shared else self.size  # one program, and one price, for all
        with contextlib.closing(iter(self)) as blocks:
            self.first = next(blocks)[0]
        if self.are_shared:
            self.first = {name: from_each(array)[0] for name, array in self.first.items()}

    def __iter__(self) -> Iterator[tuple[Rows, int]]:
        seen = held = 0
        block = self.empty()
        for piece in self.source:
            kinds_of(piece, self.kinds)
            length, taken = len(next(iter(piece.values()))), 0
            seen += length
            while taken < length:
                more = min(self.size - held, length - taken)
                for name, array in block.items():
                    array[held : held + more] = piece[name][taken : taken + more]
                held, taken = held + more, taken + more
                if held == self.size:
                    yield block, held
                    block, held = self.empty(), 0
        if seen != self.num_rows:
            raise ModelError(f"The source of rows says that it has {self.num_rows:,} rows, and gave {seen:,}.")
        if held:
            for array in block.values():
                array[held:] = array[held - 1]
            yield block, held

    def empty(self) -> Rows:
        return {name: empty_aligned((self.size, *shape), dtype) for name, (shape, dtype) in self.kinds.items()}


def kinds_of(piece: Any, expected: dict | None) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return the shape of a row and the type of each of a piece's arrays, after checking them.

    Raises:
        ModelError: they are not those expected, or the arrays differ in their numbers of rows.
    """
    arrays = {name: np.asarray(array) for name, array in piece.items()}
    lengths = {name: array.shape[0] if array.ndim else None for name, array in arrays.items()}
    if len({*lengths.values()}) != 1 or None in lengths.values():
        raise ModelError(f"A piece of the source of rows has arrays of different numbers of rows: {lengths}.")
    kinds = {name: (array.shape[1:], array.dtype) for name, array in arrays.items()}
    for name, (_, dtype) in kinds.items():
        if dtype.kind not in "fiub":
            raise ModelError(f"The rows of '{name}' are of type {dtype}, and must be numbers or booleans.")
    if expected is not None and kinds != expected:
        raise ModelError(
            f"The pieces of the source of rows differ: {in_words(expected)} first, then {in_words(kinds)}."
        )
    return kinds


def in_words(kinds: dict) -> str:
    return ", ".join(f"'{name}' {dtype}{list(shape) or ''}" for name, (shape, dtype) in kinds.items())


def read_ahead(blocks: Iterator) -> Iterator:
    """Yield what an iterator yields, while a thread reads on; an error of its own is raised here."""
    read: queue.Queue = queue.Queue(AHEAD)
    abandoned = threading.Event()

    def put(item) -> None:
        while not abandoned.is_set():
            with contextlib.suppress(queue.Full):
                return read.put(item, timeout=0.1)

    def work() -> None:
        try:
            for block in blocks:
                put((block, None))
                if abandoned.is_set():
                    return
            put((None, None))
        except BaseException as error:
            put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            block, error = read.get()
            if error is not None:
                raise error
            if block is None:
                return
            yield block
    finally:
        abandoned.set()
