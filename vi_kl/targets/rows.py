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
from vi_kl.targets.sites import Site, unravel

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
    if target.is_sharded or target.density.is_streamed or sum(map(size_in_bytes, leaves)) < LARGE:
        return None
    with lock:
        found = known.setdefault(target.density, {})
    key = target.sites, shapes
    if key not in found:
        found[key] = of_largest_leaf(target, leaves)
    return found[key]


def of_largest_leaf(target: Any, leaves: list[jax.ShapeDtypeStruct]) -> RowSum | None:
    """Return the log density as a sum over the rows of the largest leaf, if they are many and it is one."""
    num_rows = max((leaf for leaf in leaves if leaf.ndim), key=lambda leaf: leaf.size).shape[0]
    are_rows = tuple(bool(leaf.ndim) and leaf.shape[0] == num_rows for leaf in leaves)
    if sum(size_in_bytes(leaf) for leaf, own in zip(leaves, are_rows, strict=True) if own) < LARGE:
        return None
    try:
        return sum_over_rows(target.density, target.data, target.sites, are_rows)
    except (NotASumError, TypeError, ValueError):  # the last two where an operation does not take the block's shape
        return None


@in_float64
def sum_over_rows(density: Any, data: Any, sites: tuple[Site, ...], are_rows: tuple[bool, ...]) -> RowSum:
    """Read off a log density's operations that it is a sum over rows.

    Args:
        density, data, sites: what a target is made of.
        are_rows: which of the data's leaves have rows, along their first axis.

    Raises:
        NotASumError: it is no such sum, or cannot be seen to be one.
    """
    leaves = list(map(as_shape, jax.tree.leaves(data)))
    pairs = list(zip(leaves, are_rows, strict=True))
    num_rows = next(leaf.shape[0] for leaf, own in pairs if own)
    width = sum(leaf.size // num_rows for leaf, own in pairs if own)
    found = RowSum(traced(density, data, sites), num_rows, are_rows, width)
    size = found.block_size(1)
    cut = [jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype) if own else leaf for leaf, own in pairs]

    def run(leaves, numbers, counts, z):
        return jax.grad(lambda z: sum(found.parts(leaves, Block(num_rows, size, numbers, counts), z)))(z)

    of_rows = (jax.ShapeDtypeStruct((size,), kind) for kind in (int, bool))
    with tracing:
        jax.eval_shape(run, cut, *of_rows, jax.ShapeDtypeStruct((sum(site.size for site in sites),), float))
    return found


def traced(density: Any, data: Any, sites: tuple[Site, ...], transform: Callable = lambda f: f) -> ClosedJaxpr:
    """Return `transform` of the log density, traced for one z, as operations on the data's leaves and on z."""
    leaves, structure = jax.tree.flatten(jax.tree.map(as_shape, data))

    def of_data(leaves, z):
        whole = jax.tree.unflatten(structure, leaves)
        return transform(lambda z: density.log_density(whole, unravel(sites, z)))(z)

    with tracing:
        return jax.make_jaxpr(of_data)(leaves, jax.ShapeDtypeStruct((sum(site.size for site in sites),), float))


def as_shape(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype if hasattr(leaf, "dtype") else np.result_type(leaf))


def size_in_bytes(leaf: jax.ShapeDtypeStruct) -> int:
    return leaf.size * leaf.dtype.itemsize


# What runs compiled ----------------------------------------------------------------------------------------------


def summed(transform: Callable, leaves: list, found: RowSum, z):
    """Return `transform` (of a function of one z, and linear in it) of the log density at each z (n, dim)."""
    total = constant_part(transform, leaves, found, z)
    return jax.tree.map(jnp.add, total, rows_part(transform, leaves, found, z, 0, found.num_rows))


def constant_part(transform: Callable, leaves: list, found: RowSum, z):
    """Return the part of `summed` that is not due to rows."""
    size = min(1, found.num_rows)
    rows = [leaf[:size] if own else leaf for leaf, own in zip(leaves, found.are_rows, strict=True)]
    block = Block(found.num_rows, size, jnp.arange(size), jnp.ones(size, bool))
    return jax.vmap(transform(lambda one: found.parts(rows, block, one)[0]))(z)


def rows_part(transform: Callable, leaves: list, found: RowSum, z, begin, count):
    """Return the part of `summed` that is due to the first `count` of the rows, whose numbers begin at `begin`.

    The last block begins earlier than the others end, so that all have one size; rows that were counted do not count
    again.
    """
    size = found.block_size(len(z))

    def of_block(number):
        start = number * size
        first = jnp.minimum(start, found.num_rows - size)
        places = first + jnp.arange(size)
        rows = [
            jax.lax.dynamic_slice_in_dim(leaf, first, size) if own else leaf
            for leaf, own in zip(leaves, found.are_rows, strict=True)
        ]
        block = Block(found.num_rows, size, begin + places, (places >= start) & (places < count))
        return jax.vmap(transform(lambda one: found.parts(rows, block, one)[1]))(z)

    def add(total, number):
        # a gradient of it computes the block again, and so holds no more than one
        return jax.tree.map(jnp.add, total, jax.checkpoint(of_block)(number)), None

    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(of_block, 0))
    return jax.lax.scan(add, zeros, jnp.arange(-(-found.num_rows // size)))[0]
