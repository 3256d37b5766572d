"""Indices among a model's data: which of its arguments count the entries of which sites, and whether they count right.

A group that is counted from 1, or a group too many, is no error in JAX: the nearest entry stands in for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from vi_kl.core.programs.lookups import Lookup, lookups
from vi_kl.targets.sites import Site

__all__ = ["Indexed", "indexed", "indexed_axes", "misses"]


class Indexed(NamedTuple):
    """An axis that is indexed by arguments.

    Attributes:
        arguments: the names of those that the indices are made of.
        axes: (site, axis) of the sites whose entries are indexed, through whatever is computed entry by entry.
        lookup: the rest.
    """

    arguments: tuple[str, ...]
    axes: tuple[tuple[str, int], ...]
    lookup: Lookup


def indexed_axes(density: Any, data: tuple, sites: tuple[Site, ...]) -> list[Indexed]:
    """Return the axes that the log density of a model indexes by whole numbers among its data.

    Args:
        density, data, sites: what the target is made of.
    """
    # of sites whose change of variables changes their shape the entries are no longer told apart
    kept = [site.name if site.shape == site.unconstrained_shape else None for site in sorted(sites, key=name_of)]
    return indexed(density, density, "log_density", data, kept) if hasattr(density, "programs") else []


def indexed(run: Any, density: Any, method: str, data: tuple, sites: Sequence[str | None]) -> list[Indexed]:
    """Return the axes that a captured program indexes by whole numbers among its data.

    Args:
        run: what has the program.
        density: what knows the names of the arguments.
        method: the program's name.
        data: the arrays that it is given, and those that it closes over.
        sites: the names of the sites whose values follow the data, in their order; None for one that is left out.
    """
    found = [(program, places) for name, program, places in run.programs if name == method]
    if not found:
        return []
    (program, places), (given, closed_over) = found[0], run.split(data)
    leaves = [*(closed_over[i] for i in places), *given]
    known = {place: np.asarray(leaf) for place, leaf in enumerate(leaves) if holds_indices(leaf)}
    if not known:
        return []
    own = {place: site for place, site in enumerate(sites, len(leaves)) if site is not None}
    constants = getattr(density, "constant_arguments", {})
    names = [*(name_among(leaf, constants) for leaf in leaves[: len(places)]), *density.names_of_data]
    idle = {place for place in range(len(places)) if is_all_alike(leaves[place])}
    results = []
    for each in lookups(program.operations, known):
        by = each.by - idle
        of = [names[place] for place in sorted(by) if place < len(leaves)]
        if len(of) == len(by):
            axes = sorted((own[place], axis) for place, axis in each.axes if place in own)
            results.append(Indexed(tuple(dict.fromkeys(of)), tuple(axes), each))
    return results


def name_among(leaf: Any, constants: Mapping[str, np.ndarray]) -> str:
    """Return the argument that an array which a program closes over is, as `int(group.max())` makes it; "" if none.

    As an index it may have another shape, and another type of whole numbers.
    """
    if not constants or not holds_indices(leaf):
        return ""
    flat = np.asarray(leaf).ravel()
    same = [name for name, x in constants.items() if holds_indices(x) and np.array_equal(x.ravel(), flat)]
    return same[0] if len(same) == 1 else ""


def is_all_alike(leaf: Any) -> bool:
    """Return whether an array is of truth values that are all the same, and so choose nothing.

    Whether a constant index counts from the end is found out while the model is traced, for each of its entries.
    """
    return getattr(leaf, "dtype", None) == np.bool_ and holds_indices(leaf) and (np.all(leaf) or not np.any(leaf))


def name_of(site: Site) -> str:
    return site.name


def holds_indices(leaf: Any) -> bool:
    """Return whether an array holds whole numbers or truth values, all of them on this machine."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return False
    kind = getattr(leaf, "dtype", np.dtype(float))
    return jax.dtypes.issubdtype(kind, np.integer) or jax.dtypes.issubdtype(kind, np.bool_)


def misses(density: Any, found: list[Indexed]) -> list[str]:
    """Say which indices among a model's data lie outside of what they index, a sentence or two each."""
    words = {}
    for arguments, axes, lookup in found:
        if lookup.is_outside:
            of = " and ".join(f"'{name}'" for name in arguments if name) or "an array that the model reads"
            what = f"'{axes[0][0]}'" if axes else "what it indexes"
            counts_from_1 = lookup.least == 1 and lookup.greatest == lookup.size
            mend = " It seems to count from 1: subtract 1." if counts_from_1 else " Is the size of a plate too small?"
            words[of, what] = (
                f"In '{density}', an index made of {of} goes from {lookup.least} to {lookup.greatest}, and {what} has "
                f"{lookup.size} entries there, counted from 0. JAX takes the nearest entry in place of one that there "
                f"is not (jnp.take: NaN), and raises no error.{mend}"
            )
    return list(words.values())
