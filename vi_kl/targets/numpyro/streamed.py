"""A NumPyro model given the rows of a source, which are read in blocks: what a streamed Target is made of."""

import dataclasses
from collections.abc import Callable

import numpy as np

from vi_kl.core.compilation import compiled
from vi_kl.core.errors import ModelError
from vi_kl.core.programs.row_sums import NotASumError
from vi_kl.targets.numpyro.indices import Indexed, indexed_axes, misses
from vi_kl.targets.numpyro.model import DATA, NumPyroModel, names_of_arguments
from vi_kl.targets.numpyro.plates import AllRows
from vi_kl.targets.numpyro.source import density_from_numpyro
from vi_kl.targets.row_sources import RowSource
from vi_kl.targets.rows import RowSum, constant_part, rows_part, sum_over_rows
from vi_kl.targets.sites import Site
from vi_kl.targets.streamed import Blocks, Rows, StreamedDensity, read_ahead, unchanged

SAME = {"float64": 1e-9, "float32": 1e-4}  # relative difference of sums over a block and over its halves by rounding
FEWEST = 2  # rows from which on what is due to each of them is told from what is due to none


def streamed_from_numpyro(
    model: Callable, args: tuple, kwargs: dict, source: RowSource, dtype: str = "float64"
) -> tuple[StreamedDensity, tuple, tuple[Site, ...]]:
    """Return the density of a model given all rows of a source, its data, and its sites.

    Call it with 64-bit types switched on.

    Raises:
        ModelError: the model cannot be fitted, or its log density is no sum over the rows; the message says why.
    """
    blocks = Blocks(source)
    twice = sorted(set(blocks.first) & set(kwargs))
    if twice:
        raise ModelError(f"Argument '{twice[0]}' is given by the source of rows and by itself too: give it once.")
    density, data, sites, by_rows, places = of_block(model, args, kwargs, blocks.first, dtype)
    refuse_dependence_on_their_number(model, args, kwargs, blocks, (data, sites, by_rows), dtype)
    return StreamedDensity(density, blocks, by_rows, places), data, sites


def misses_of_rows(density: StreamedDensity, data: tuple, sites: tuple[Site, ...]) -> list[str]:
    """Say which indices among the rows, or beside them, lie outside of what they index, a sentence or two each.

    The source is read once for it, if the model indexes anything by a column of it.
    """
    found = indexed_axes(density.density, data, sites)
    names = {name for name, _ in density.places}
    if names.isdisjoint(name for each in found for name in each.arguments):
        return misses(density, found)
    for rows, _ in read_ahead(iter(density.blocks)):
        of_block = indexed_axes(density.density, tuple(density.leaves(data, rows)), sites)
        found = [reaching_both(*pair) for pair in zip(found, of_block, strict=True)]
    return misses(density, found)


def reaching_both(one: Indexed, other: Indexed) -> Indexed:
    """Return an axis that is indexed in two blocks with the extremes of both."""
    if one.lookup.least is None or other.lookup.least is None:
        return one
    least, greatest = min(one.lookup.least, other.lookup.least), max(one.lookup.greatest, other.lookup.greatest)
    return one._replace(lookup=dataclasses.replace(one.lookup, least=least, greatest=greatest))


def of_block(model: Callable, args: tuple, kwargs: dict, rows: Rows, dtype: str = "float64"):
    """Return a model's density given one block, its data and sites, its sum over rows, and the places of these."""
    density, data, sites = density_from_numpyro(model, args, kwargs | rows, dtype)
    if density.learnable:
        raise ModelError(
            f"'{density}' has a parameter to learn ('{density.learnable[0]}'), which SVI does in minibatches, and not "
            f"of rows that are read in blocks: pass the rows as arrays, and write "
            f"numpyro.plate(..., subsample_size=...)."
        )
    fixed = sorted(set(rows) & set(density.constants))
    if fixed:
        raise ModelError(
            f"'{density}' needs the numbers of '{fixed[0]}' in Python (np.unique, int(...max())), of which only a "
            f"block is there at a time: compute what it needs of all rows before, and pass that as an argument."
        )
    places = places_of(density, rows)
    are_rows = tuple(i in dict(places).values() for i in range(len(data)))
    try:
        return density, data, sites, sum_over_rows(density, data, sites, are_rows), places
    except NotASumError as error:
        raise ModelError(
            f"Rows are read in blocks, and so the log density of '{density}' must be a sum over them: {error}. Let "
            f"each row use its own data only, and compute beforehand what is to be known of all rows (means, "
            f"scales, lagged values as columns); or pass the rows as arrays."
        ) from None


def places_of(density: NumPyroModel, rows: Rows) -> tuple[tuple[str, int], ...]:
    """Return which leaf of the data each argument with rows is."""
    names = [
        name for name, leaf in zip(names_of_arguments(density), density.static, strict=True) if leaf is DATA
    ]  # fmt: skip
    return tuple((name, names.index(name)) for name in rows)


def refuse_dependence_on_their_number(model, args, kwargs, blocks: Blocks, whole, dtype: str) -> None:
    """Refuse a model whose log density is another function of each row where there are fewer rows.

    It is so where the model computes with their number (a mean instead of a sum). The parts due to the two halves of
    the first block, each traced by itself, must add up to that of the block.

    Raises:
        ModelError: they do not, or the model has a latent variable for each row.
    """
    rows, half, near = blocks.first, blocks.size // 2, SAME[dtype]
    if not half:
        return
    data, sites, by_rows = whole
    if half < FEWEST:  # each row is there several times instead
        rows, half = {name: np.concatenate([array] * FEWEST) for name, array in rows.items()}, half * FEWEST
        _, data, sites, by_rows, _ = of_block(AllRows(model), args, kwargs, rows, dtype)
    of_half = {name: array[:half] for name, array in rows.items()}
    # with whole plates, whose minibatches may be larger than half a block
    density, first, fewer_sites, by_half, places = of_block(AllRows(model), args, kwargs, of_half, dtype)
    if fewer_sites != sites:
        names = ", ".join(f"'{site.name}'" for site in sites if site not in fewer_sites)
        raise ModelError(f"The shape of {names} depends on the number of rows, which are read in blocks.")
    second = list(first)
    for name, place in places:
        second[place] = rows[name][half : 2 * half]
    z = np.random.default_rng(0).uniform(-1, 1, (3, sum(site.size for site in sites)))
    constant, total = (np.asarray(x) for x in parts_of(list(data), z, 0, 2 * half, by_rows))
    pieces = [parts_of(list(leaves), z, begin, half, by_half) for leaves, begin in ((first, 0), (second, half))]
    same = np.allclose(constant, pieces[0][0], rtol=near, atol=near, equal_nan=True)
    added = np.asarray(pieces[0][1]) + np.asarray(pieces[1][1])
    if not (same and np.allclose(total, added, rtol=near, atol=near * np.abs(total).max(), equal_nan=True)):
        raise ModelError(
            f"The log density of '{density}' depends on the number of its rows otherwise than by their sum, and they "
            f"are read in blocks: pass their number as an argument of its own where the model computes with it."
        )


@compiled(static=("by_rows",), unoptimized=True)
def parts_of(leaves: list, z, begin, count, by_rows: RowSum):
    """Return the parts of the log density at each z that are not due to rows, and due to a block of them."""
    return constant_part(unchanged, leaves, by_rows, z), rows_part(unchanged, leaves, by_rows, z, begin, count)
