"""Some of the rows: a random part of them stands for all where a gradient of all is dear, to find where to start.

Their sum is scaled up to that of all rows, so that the density is about as narrow as the posterior, and its mode a few
sds of it away. Searches begin there, at a share of the price, and end on all rows. No figure rests on a part of the
rows.
"""

import dataclasses
import weakref

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.core.precision import in_float64
from vi_kl.core.programs.row_sums import Block
from vi_kl.targets.density import DerivedDensity
from vi_kl.targets.price import power_of_two, price_of
from vi_kl.targets.rows import RowSum, row_sum_of
from vi_kl.targets.sites import Site, ravel
from vi_kl.targets.target import Target

PER_DIMENSION = 100  # rows for each dimension, the fewest that say where the mode is
MOST_OF_ALL = 1 / 8  # the largest part of the rows with which it is worth to begin on them

known: weakref.WeakKeyDictionary[Target, Target | None] = weakref.WeakKeyDictionary()


@dataclasses.dataclass(frozen=True)
class SomeRows(DerivedDensity):
    """The density given a part of the rows, their sum scaled up to all.

    Its data are the data of all rows, the leaves of the part, and the numbers of its rows.

    Attributes:
        by_rows: the log density as a sum over rows.
        num_rows: the number of all rows.
        sites: the sites.
    """

    by_rows: RowSum
    num_rows: int
    sites: tuple[Site, ...]

    def given(self, data):
        return data[0]

    def log_density(self, data, sites):
        _, leaves, numbers = data
        return scaled_up(self.by_rows, self.num_rows, leaves, numbers, ravel(self.sites, sites))


def scaled_up(by_rows: RowSum, num_rows: int, leaves: list, numbers, z) -> jax.Array:
    """Return the log density at one z given some of the rows, their sum scaled up to that of all.

    Args:
        by_rows: the log density as a sum over rows.
        num_rows: the number of all rows.
        leaves: the data, with these rows in the places of all.
        numbers: the numbers of these rows.
        z: the point.
    """
    block = Block(by_rows.num_rows, len(numbers), numbers, jnp.ones(len(numbers), bool))
    constant, linear = by_rows.parts(leaves, block, z)
    return constant + num_rows / len(numbers) * linear


def some_rows(target: Target) -> Target | None:
    """Return the target given a random part of its rows, the same at each call; None where they cost little."""
    if target not in known:
        known[target] = drawn_rows(target)
    return known[target]


def part_of_rows(some: Target) -> float:
    """Return which part of all rows `some_rows` has drawn."""
    return len(some.data[2]) / some.density.num_rows


@in_float64
def drawn_rows(target: Target) -> Target | None:
    density, streamed = target.density, target.density.is_streamed
    by_rows = density.by_rows if streamed else row_sum_of(target)
    if by_rows is None:
        return None
    num_rows = density.num_rows if streamed else by_rows.num_rows
    size = power_of_two(max(PER_DIMENSION * target.dim, num_rows * price_of(target).share))
    if size > MOST_OF_ALL * num_rows:
        return None
    numbers = np.sort(np.random.default_rng(0).choice(num_rows, size, replace=False))
    if streamed:
        density, part = density.density, density.leaves(target.data, density.rows_at(numbers))
    else:
        leaves = zip(jax.tree.leaves(target.data), by_rows.are_rows, strict=True)
        part = [np.asarray(leaf)[numbers] if own else leaf for leaf, own in leaves]
    return Target(SomeRows(density, by_rows, num_rows, target.sites), (target.data, part, numbers), target.sites)
