"""Rows: a log density that is a sum over the rows of its data is evaluated a block of rows at a time.

The block is so small that what is computed from it stays in the processor's cache, and it is read once for all the
draws of a batch. So a gradient takes less than half of the time, and the memory that a batch holds does not grow with
the number of rows. Nothing is asked of the model: whether its log density is such a sum is read off its operations
(`vi_kl.core.programs.row_sums`). Where it is not, or where rows are few, it is evaluated in one go.
"""

import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from vi_kl.core.kept_programs import tracing
from vi_kl.core.precision import in_float64
from vi_kl.core.programs.row_sums import Block, NotASumError, block_of_rows
from vi_kl.targets.sites import unravel

LARGE = 4_000_000  # bytes of rows, above which they do not stay in the cache from one draw to the next
BLOCK = 2**15  # numbers of a block, its own and those computed for each draw
FEWEST = 128  # rows of a block


class RowSum(NamedTuple):
    """What is known of a log density that is a sum over rows.

    Attributes:
        program: the log density's operations, a function of the data's leaves and of z.
        num_rows: the number of rows.
        are_rows: which of the leaves have them, along their first axis.
        width: the numbers that a row has.
    """

    program: ClosedJaxpr
    num_rows: int
    are_rows: tuple[bool, ...]
    width: int

    def block_size(self, num_draws: int) -> int:
        """Return the number of rows of a block, for so many draws at once."""
        size = max(FEWEST, BLOCK // (self.width + num_draws))
        return min(2 ** (size.bit_length() - 1), self.num_rows)

    def parts(self, leaves: list, block: Block, z) -> tuple[jax.Array, jax.Array]:
        """Return the parts of the log density at one z that are not due to rows, and due to a block of them.

        `leaves` holds the block's rows of those that have rows.
        """
        return block_of_rows(self.program, [*leaves, z], [*self.are_rows, False], block)


known: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
lock = threading.Lock()


def row_sum_of(target: Any) -> RowSum | None:
    """Return what is known of a target's log density as a sum over rows; None if it is none, or has few rows."""
    leaves = list(map(as_shape, jax.tree.leaves(target.data)))
    shapes = tuple((x.shape, str(x.dtype)) for x in leaves)
    if target.is_sharded or sum(x.size * x.dtype.itemsize for x in leaves) < LARGE:
        return None
    with lock:
        found = known.setdefault(target.density, {})
    key = target.sites, shapes
    if key not in found:
        found[key] = analysed(target, leaves)
    return found[key]


@in_float64
def analysed(target: Any, leaves: list[jax.ShapeDtypeStruct]) -> RowSum | None:
    """Read off the log density's operations whether it is a sum over the rows of the largest leaf."""
    with_axes = [leaf for leaf in leaves if leaf.ndim]
    num_rows = max(with_axes, key=lambda leaf: leaf.size).shape[0]
    are_rows = tuple(bool(leaf.ndim) and leaf.shape[0] == num_rows for leaf in leaves)
    row_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf, own in zip(leaves, are_rows, strict=True) if own)
    if row_bytes < LARGE:
        return None
    width = sum(leaf.size // num_rows for leaf, own in zip(leaves, are_rows, strict=True) if own)
    found = RowSum(traced(log_density, target), num_rows, are_rows, width)
    size = found.block_size(1)
    cut = [cut_shape(leaf, size) if own else leaf for leaf, own in zip(leaves, are_rows, strict=True)]

    def run(leaves, numbers, counts, z):
        return jax.grad(lambda z: sum(found.parts(leaves, Block(num_rows, size, numbers, counts), z)))(z)

    try:
        with tracing:
            of_rows = (jax.ShapeDtypeStruct((size,), kind) for kind in (int, bool))
            jax.eval_shape(run, cut, *of_rows, jax.ShapeDtypeStruct((target.dim,), float))
    except (NotASumError, TypeError, ValueError):  # the last two where an operation does not take the block's shape
        return None
    return found


def traced(function: Callable, target: Any) -> ClosedJaxpr:
    """Return `function(z, target, data)`, traced for one z, as operations on the data's leaves and on z."""
    leaves, structure = jax.tree.flatten(jax.tree.map(as_shape, target.data))

    def of_data(leaves, z):
        return function(z, target, jax.tree.unflatten(structure, leaves))

    with tracing:
        return jax.make_jaxpr(of_data)(leaves, jax.ShapeDtypeStruct((target.dim,), float))


def log_density(z, target: Any, data: Any) -> jax.Array:
    return target.density.log_density(data, unravel(target.sites, z))


def as_shape(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype if hasattr(leaf, "dtype") else np.result_type(leaf))


def cut_shape(leaf: jax.ShapeDtypeStruct, size: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype)


def summed(transform: Callable, target: Any, found: RowSum, z):
    """Return `transform` (of a function of one z, and linear in it) of the log density at each z (n, dim).

    The last block begins earlier than the others end, so that all have one size; rows that were counted do not count
    again.
    """
    leaves, size = jax.tree.leaves(target.data), found.block_size(len(z))

    def block_at(number) -> tuple[Block, list]:
        begin = number * size
        first = jnp.minimum(begin, found.num_rows - size)
        cut = [
            jax.lax.dynamic_slice_in_dim(leaf, first, size) if own else leaf
            for leaf, own in zip(leaves, found.are_rows, strict=True)
        ]
        numbers = first + jnp.arange(size)
        return Block(found.num_rows, size, numbers, numbers >= begin), cut

    def add(total, number):
        block, rows = block_at(number)
        more = jax.vmap(transform(lambda one: found.parts(rows, block, one)[1]))(z)
        return jax.tree.map(jnp.add, total, more), None

    block, rows = block_at(0)
    start = jax.vmap(transform(lambda one: found.parts(rows, block, one)[0]))(z)
    return jax.lax.scan(add, start, jnp.arange(-(-found.num_rows // size)))[0]
