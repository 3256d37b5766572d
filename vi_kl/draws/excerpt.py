"""Which rows of a long summary are shown, and in words what is left out.

Latent sites come first, the short ones whole; a site that the model computes is shown if there is room for all of it,
for its entries are often as many as the rows of the data.
"""

import itertools
from collections.abc import Collection, Sequence

import numpy as np

from vi_kl.core.written_numbers import significant

__all__ = ["MOST_ROWS", "in_words", "shown"]

MOST_ROWS = 60  # of a table that people read
FIRST_ROWS = 20  # of a site that is too long
MOST_SITES = 6  # that are named among those left out


def by_site(names: Sequence[str]) -> dict[str, list[int]]:
    """Return {site: the places of its rows}."""
    found: dict[str, list[int]] = {}
    for site, places in itertools.groupby(range(len(names)), key=lambda i: names[i].partition("[")[0]):
        found.setdefault(site, []).extend(places)
    return found


def shown(names: Sequence[str], computed: Collection[str] = (), most: int = MOST_ROWS) -> list[int]:
    """Return the places of the rows that are shown.

    Args:
        names: the name of each row: `mu`, `theta[3]`.
        computed: the sites that the model computes from others.
        most: the most rows.
    """
    if len(names) <= most:
        return list(range(len(names)))
    sites, room, found = by_site(names), most, []
    order = sorted(sites, key=lambda site: (site in computed, len(sites[site])))
    latent = sum(site not in computed for site in sites)
    for i, site in enumerate(order):
        own = sites[site]
        if len(own) > room:
            own = [] if site in computed else own[: min(FIRST_ROWS, room // (latent - i))]
        found += own
        room -= len(own)
    return sorted(found)


def in_words(names: Sequence[str], places: Collection[int], mean: np.ndarray, sd: np.ndarray) -> str:
    """Say which rows are not among those at these places, and what their means and sds are; "" if all are."""
    kept = set(places)
    left = {site: [i for i in rows if i not in kept] for site, rows in by_site(names).items()}
    left = {site: rows for site, rows in left.items() if rows}
    if not left:
        return ""
    parts = [one_site(names, rows, mean, sd) for rows in list(left.values())[:MOST_SITES]]
    rest = list(left.values())[MOST_SITES:]
    if rest:
        parts.append(f"{sum(map(len, rest)):,} values of {len(rest):,} other sites")
    return f"Not shown: {'; '.join(parts)}."


def one_site(names: Sequence[str], rows: list[int], mean: np.ndarray, sd: np.ndarray) -> str:
    if len(rows) == 1:
        return names[rows[0]]
    words = f"{names[rows[0]]} to {names[rows[-1]]}, {len(rows):,} values"
    means, sds = mean[rows], sd[rows]
    if not (np.isfinite(means).all() and np.isfinite(sds).all()):
        return words
    return f"{words} with means from {extent(means)} and sds from {extent(sds)}"


def extent(values: np.ndarray) -> str:
    return f"{significant(values.min(), 2)} to {significant(values.max(), 2)}"
