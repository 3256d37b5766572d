"""Minibatches of rows that are read in blocks: an unbiased estimate of a streamed target's log density from some rows.

Which rows the minibatches of many steps hold is drawn beforehand, for each of them without replacement from all rows.
One pass over the source then picks them out. So a minibatch is a random part of all rows whatever their order in the
source, and follows the law of a minibatch of rows in memory: no file has to be shuffled, and no source has to give a
row by its number. What is held is the rows of these minibatches, however many rows there are.

    log p(z, data) ~ constant(z) + N / B * sum over B rows,

with the control variate of an anchor, as minibatches of rows in memory have it (`vi_kl.targets.anchored`).
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from vi_kl.core.compilation import compiled
from vi_kl.targets.anchored import MINIBATCHES, Anchor, anchor_from, controlled, gradients_at
from vi_kl.targets.density import DerivedDensity
from vi_kl.targets.rows import RowSum
from vi_kl.targets.sites import Site, ravel
from vi_kl.targets.some_rows import scaled_up
from vi_kl.targets.streamed import StreamedDensity, in_places
from vi_kl.targets.target import Target

MOST_ROWS, FEWEST_ROWS = 1024, 32  # of a minibatch, where the model's plate does not say how many
BATCH_BYTES = 2**18  # of a minibatch, between these


class Drawn(NamedTuple):
    """The rows of a minibatch; of several, with a first axis more.

    Attributes:
        rows: {argument: rows}.
        numbers: the numbers of these rows among all rows.
    """

    rows: Any
    numbers: Any


@dataclasses.dataclass(frozen=True)
class StreamedMinibatch(DerivedDensity):
    """The estimate from drawn rows; data is (the data of a block, an `Anchor`, a `Drawn`).

    Attributes:
        by_rows: the density of a block as a sum over its rows.
        places: which leaf of the data each argument with rows is.
        num_rows: the number of all rows.
        sites: the sites.
    """

    by_rows: RowSum
    places: tuple[tuple[str, int], ...]
    num_rows: int
    sites: tuple[Site, ...]

    kept = StreamedDensity.kept

    def given(self, data):
        return data[0]

    def log_density(self, data, sites):
        given, anchor, drawn = data
        leaves = in_places(given, self.places, drawn.rows)

        def estimate(z):
            return scaled_up(self.by_rows, self.num_rows, leaves, drawn.numbers, z)

        return controlled(estimate, anchor, ravel(self.sites, sites))


def for_minibatches(target: Target, anchor: Anchor) -> Target:
    """Return what becomes the estimate of a streamed target by `given_drawn`, with the control variate of an anchor."""
    density: Any = target.density
    of_rows = StreamedMinibatch(density.density, density.by_rows, density.places, density.num_rows, target.sites)
    return Target(of_rows, (target.data, anchor, ()), target.sites)


def given_drawn(target: Target, drawn: Any) -> Target:
    """Return the estimate from a minibatch, a `Drawn`; the target as it is where there is none, ()."""
    if not isinstance(drawn, Drawn):
        return target
    given, anchor, _ = target.data
    return Target(target.density, (given, anchor, drawn), target.sites)


def batch_size(target: Target) -> int:
    """Return the number of rows of a streamed target's minibatches: that of the model's plate, if it has one."""
    density: Any = target.density
    plates = getattr(density.density, "plates", ())
    of_this_size = max(FEWEST_ROWS, min(MOST_ROWS, BATCH_BYTES // density.blocks.row_bytes))
    return min(plates[0].batch if len(plates) == 1 else of_this_size, density.num_rows)


def draw_numbers(target: Target, generator: np.random.Generator, number: int) -> np.ndarray:
    """Return the numbers of the rows of several minibatches, each drawn without replacement, (number, batch)."""
    density: Any = target.density
    size = batch_size(target)
    return np.stack([generator.choice(density.num_rows, size, replace=False, shuffle=False) for _ in range(number)])


def read_minibatches(target: Target, numbers: np.ndarray) -> Drawn:
    """Return minibatches of these rows, (number, batch), by one pass over the source."""
    density: Any = target.density
    found = density.rows_at(numbers.ravel())
    return Drawn({name: rows.reshape(*numbers.shape, *rows.shape[1:]) for name, rows in found.items()}, numbers)


def streamed_anchor_at(target: Target, z: np.ndarray, draws: np.ndarray, generator: np.random.Generator) -> Anchor:
    """Return the anchor at a point of a streamed target, as `anchor_at` does for rows in memory; it takes two passes.

    Args:
        target: a streamed target.
        z: the point, (dim,).
        draws: draws of q, (n, dim).
        generator: what draws the minibatches that are looked at.
    """
    drawn = read_minibatches(target, draw_numbers(target, generator, MINIBATCHES))
    found = gradients_of_drawn(for_minibatches(target, Anchor.nowhere(len(z))), z, draws, drawn)
    return anchor_from(target, z, *map(np.asarray, found))


@compiled(unoptimized=True)
def gradients_of_drawn(target: Target, z, draws, drawn: Drawn):
    """Return gradients of minibatches at draws, (minibatches, n, dim), and at one point, (minibatches, dim)."""
    return gradients_at(lambda one: given_drawn(target, one), drawn, z, draws)
