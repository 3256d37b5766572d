"""The price of one evaluation of a target: what it computes and what it holds in memory, and what follows from both.

Memory: draws are evaluated in batches, of which the largest may hold MEMORY bytes. Where a batch of the usual size
would hold more, it is divided.

Work: fits and certificates take thousands of evaluations, whatever one costs, as long as one is cheap. Where it is
not, they take the share of them that FULL_PRICE pays for, and say so. The posterior of many rows is near a normal, and
then a few hundred draws tell as much as thousands do of another.

Both follow from the operations of the log density alone, so that results do not depend on how busy a machine is.
"""

import math
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from vi_kl.core.precision import in_float64
from vi_kl.core.programs.measure import Size, size_of
from vi_kl.targets.captured import Captured
from vi_kl.targets.rows import as_shape, row_sum_of, traced

VALUES = 512  # long batches are evaluated in pieces of this one shape, so that they are compiled once
ROWS = 64  # the same for gradients, which are asked for a few hundred at a time
CHUNK = 8192  # draws, of which twice as many are usually weighed

MEMORY = 1_000_000_000  # bytes, the most that one batch of evaluations may hold besides the data
FULL_PRICE = 500_000  # operations of an evaluation, up to which the usual number of draws is taken
LONG_BATCH = 200_000_000  # operations, beyond which a batch of dear evaluations is no faster for being longer
SHORTEST_BATCH = 16  # draws, with which a matrix of data is still read seldom enough
MOST_NUMBERS = 8_200_000  # held by the usual number of draws: all of them up to 500 dimensions, and then a share
CHEAP, CHEAP_WITH_GRADIENT, CHEAP_WITH_CURVATURE = 5_000, 40_000, 150_000  # operations, see `is_cheap`
FUSED = 2  # the most that XLA was seen to hold, relative to what would be held if all that can be were fused
ADJOINTS = 3  # the most that a gradient holds, relative to everything that its log density writes


class Price(NamedTuple):
    """The price of one evaluation.

    Attributes:
        operations: a weighted count of the log density's operations; each takes about half a nanosecond.
        value_bytes: memory that one value holds in a batch, besides the data, where all rows are evaluated in one go.
        gradient_bytes: the same of a value with its gradient.
    """

    operations: float
    value_bytes: int
    gradient_bytes: int

    @property
    def share(self) -> float:
        """The share of the usual number of draws that is worth its price; 1 if an evaluation is cheap."""
        return min(1.0, FULL_PRICE / self.operations) if self.operations else 1.0


known: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
lock = threading.Lock()


def price_of(target: Any) -> Price:
    """Return the price of one evaluation of a target, which depends on its density and the shapes of its data."""
    shapes = tuple((x.shape, str(x.dtype)) for x in map(as_shape, jax.tree.leaves(target.data)))
    with lock:
        prices = known.setdefault(target.density, {})
    key = target.sites, shapes, target.is_sharded
    if key not in prices:
        prices[key] = measured(target)
    return prices[key]


@in_float64
def measured(target: Any) -> Price:
    """Measure the price of one evaluation; the gradient is traced only where its memory could matter."""
    if target.density.is_streamed:
        return price_by_blocks(target.density)
    value = size_of_value(target)
    value_bytes, gradient_bytes = FUSED * value.kept, ADJOINTS * value.written
    if gradient_bytes * ROWS > MEMORY:
        gradient_bytes = min(gradient_bytes, FUSED * traced_size(target, jax.value_and_grad).kept)
    return Price(value.operations, value_bytes, gradient_bytes)


def price_by_blocks(density: Any) -> Price:
    """Return the price of a density whose rows are read in blocks, from that of a block."""
    by_rows = density.by_rows
    block = size_of(by_rows.program, [False] * len(by_rows.are_rows) + [True])
    part = by_rows.block_size(1) / by_rows.num_rows
    operations = block.operations * density.num_rows / by_rows.num_rows
    return Price(operations, math.ceil(FUSED * part * block.kept), math.ceil(ADJOINTS * part * block.written))


def size_of_value(target: Any) -> Size:
    """Return the size of a log density, from its program if it is kept as one."""
    if isinstance(target.density, Captured):
        for name, program, _ in target.density.programs:
            if name == "log_density":
                fixed = len(program.variables) - len(target.sites)
                return size_of(program.operations, [False] * fixed + [True] * len(target.sites))
    return traced_size(target)


def traced_size(target: Any, transform: Callable = lambda f: f) -> Size:
    """Return the size of `transform` of the log density, traced for one z."""
    program = traced(target.density, target.data, target.sites, transform)
    return size_of(program, [False] * (len(program.jaxpr.invars) - 1) + [True])


# How a target is compiled, by its price --------------------------------------------------------------------------


def is_cheap(target: Any) -> bool:
    """Return whether batches of values are so cheap that XLA's optimisations take longer than they save.

    They save about half a nanosecond for an operation. A fit and its check take some 50,000 values, 100 batches of
    gradients, and 100 of curvatures. Optimising takes .1 to 1 s for a program of values, and the more the more
    derivatives it has: 3 s for one of curvatures with special functions.
    """
    return price_of(target).operations <= CHEAP


def is_cheap_with_gradient(target: Any) -> bool:
    """Return the same for batches of values with their gradients."""
    return price_of(target).operations <= CHEAP_WITH_GRADIENT


def is_cheap_with_curvature(target: Any) -> bool:
    """Return the same for batches of second derivatives."""
    return price_of(target).operations <= CHEAP_WITH_CURVATURE


# How many evaluations, and how many at once -----------------------------------------------------------------------


def values_at_once(target: Any, most: int) -> int:
    """Return how many of `most` values may be computed at once."""
    return that_fit(price_of(target).value_bytes, most)


def gradients_at_once(target: Any, most: int) -> int:
    """Return how many of `most` values with their gradients may be computed at once."""
    return that_fit(price_of(target).gradient_bytes, most)


def that_fit(bytes_each: int, most: int) -> int:
    """Return how many of `most` fit into memory: all of them, or a power of two."""
    fits = max(1.0, MEMORY / max(bytes_each, 1))
    return most if most <= fits else power_of_two(fits)


def values_in_a_piece(target: Any, most: int) -> int:
    """Return the length of the pieces in which many values are computed, up to `most`.

    Where they are computed a block of rows at a time, a piece of any length fits into memory.
    """
    piece = piece_of(target, most)
    return piece if row_sum_of(target) is not None else values_at_once(target, piece)


def gradients_in_a_piece(target: Any, most: int) -> int:
    """Return the same for values with their gradients."""
    piece = piece_of(target, most)
    return piece if row_sum_of(target) is not None else gradients_at_once(target, piece)


def piece_of(target: Any, most: int) -> int:
    """Return the length of the pieces in which many draws are evaluated, up to `most`.

    The last piece is filled up. So pieces of dear evaluations are short, where longer ones would be no faster.
    """
    price = price_of(target)
    long = most if price.share == 1 else max(SHORTEST_BATCH, LONG_BATCH / price.operations)
    return most if most <= long else power_of_two(long)


def power_of_two(number: float) -> int:
    """Return the largest power of two that is not above a number, which is at least 1."""
    return 2 ** int(math.log2(number))


def over_draws(function: Callable, z: Any, at_once: int) -> Any:
    """Map a function over draws z (n, dim) inside a program, so many at once; a gradient of it holds no more."""
    if len(z) <= at_once:
        return jax.vmap(function)(z)
    return jax.lax.map(jax.checkpoint(function), z, batch_size=at_once)


def rows_held(most: int, numbers: int) -> int:
    """Return the most rows of so many numbers each that are held at once: `most`, or a power of two."""
    return most if most * numbers <= MOST_NUMBERS else power_of_two(max(1.0, MOST_NUMBERS / numbers))


def share_of(target: Any) -> float:
    """Return the share of the usual number of draws that is worth its price, and whose numbers can be held."""
    return min(price_of(target).share, MOST_NUMBERS / (2 * CHUNK * target.dim))


def part_of_draws(share: float, usual: int, fewest: int) -> int:
    """Return the number of draws to take: the usual one, or a power of two near a share of it, but not too few."""
    return usual if share >= 1 else max(min(fewest, usual), power_of_two(max(1.0, usual * share)))


def affordable(target: Any, usual: int, fewest: int) -> int:
    """Return how many evaluations, draws or the like are worth their price: the usual number, or less, if dear."""
    return part_of_draws(share_of(target), usual, fewest)
