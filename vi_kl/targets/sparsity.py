"""Sparsity: which second derivatives of a log density are not zero, found by probing its terms.

A term of the log density (terms.py) sees few coordinates. Which ones, directional derivatives tell: along a direction
with one random number for each coordinate of a class, and along the same numbers times the coordinates' places in the
class, the ratio is the place, if the term sees one coordinate of the class alone; a third direction confirms it.
Classes are taken finer until all terms are resolved. So it takes some tens of directional derivatives, however many
dimensions there are, and the program needs only to be differentiable.

Then coordinates are coloured so that no term sees two of one colour. One second directional derivative along the sums
of two colours is then, in each term, one entry of that term's Hessian: few passes give all of them.

Terms that see many coordinates (a loop that sums up by itself, a Gaussian process) are taken together: what is probed
there is their gradient, each of whose elements sees the coordinates of one row of their Hessian.

A dependence that vanishes at both of two random points would be missed. So users hold the assembled Hessian to a
Hessian-vector product along a random direction (hessian_structure.py).

Reference: Curtis, Powell & Reid (1974), "On the estimation of sparse Jacobian matrices", for the colouring.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int

MANY = 24  # coordinates, of which a term that sees more is taken together with others of its kind
FEW = 48  # the size of a part of z up to which its coordinates are probed one at a time
CLASSES = (4, 8, 16, 32, 64)  # numbers of classes in which larger parts are probed
MOST_DENSE = 64  # rows of the wide terms' Hessian that may be full
SAME = 1e-8  # relative difference of two ratios that are the same but for rounding

Derivatives = Callable[[Float[np.ndarray, "n dim"]], Float[np.ndarray, "n rows"]]


@dataclasses.dataclass(frozen=True)
class Jacobian:
    """Which coordinates each row of a vector function sees.

    Attributes:
        pattern: a boolean sparse matrix (rows, dim); rows that are not resolved are empty.
        unresolved: whether a row sees more coordinates than could be told apart, (rows,).
    """

    pattern: sp.csr_array
    unresolved: Bool[np.ndarray, " rows"]

    def __or__(self, other: "Jacobian") -> "Jacobian":
        both = (self.pattern + other.pattern).astype(bool).tocsr()
        return Jacobian(both, self.unresolved | other.unresolved)

    @property
    def seen(self) -> Int[np.ndarray, " rows"]:
        """How many coordinates each row sees."""
        return np.diff(self.pattern.indptr)


def probe(derivatives: Derivatives, parts: list[np.ndarray], generator: np.random.Generator) -> Jacobian:
    """Find which coordinates each row of a function sees, at one point.

    Args:
        derivatives: directions (n, dim) -> the directional derivatives of each row, (n, rows).
        parts: the coordinates in groups that are probed apart, such as the sites of a model; together all of them.
        generator: the source of the random numbers of the probes.
    """
    dim = sum(map(len, parts))
    singles = np.concatenate([part for part in parts if len(part) <= FEW] or [np.empty(0, int)]).astype(int)
    found = [probe_singly(derivatives, singles, dim)]
    unresolved = np.zeros(found[0].shape[0], bool)
    for part in parts:
        if len(part) > FEW:
            entries, left = probe_by_classes(derivatives, part, dim, generator)
            found.append(entries)
            unresolved |= left
    pattern = functools.reduce(lambda a, b: a + b, found).astype(bool).tocsr()
    keep = sp.diags_array((~unresolved).astype(float))
    pattern = (keep @ pattern).astype(bool).tocsr()
    pattern.eliminate_zeros()
    return Jacobian(pattern, unresolved)


def probe_singly(derivatives: Derivatives, coordinates: np.ndarray, dim: int) -> sp.csr_array:
    """Return the pattern in a few coordinates, each probed by a direction of its own."""
    if not len(coordinates):
        return sp.csr_array((derivatives(np.zeros((1, dim))).shape[1], dim), dtype=bool)
    directions = np.zeros((len(coordinates), dim))
    directions[np.arange(len(coordinates)), coordinates] = 1.0
    which, rows = np.nonzero(derivatives(directions))
    shape = derivatives(directions[:1]).shape[1], dim
    return sp.csr_array((np.ones(len(rows), bool), (rows, coordinates[which])), shape=shape)


def probe_by_classes(derivatives: Derivatives, part: np.ndarray, dim: int, generator):
    """Return the pattern in many coordinates, and whether a row is unresolved, (rows,).

    A row is resolved by a division into classes if it sees at most one coordinate of each.
    """
    rows, coordinates, pending = [], [], None
    for count in CLASSES:
        # neighbours first, which differ in chains; then at random
        labels = np.arange(len(part)) % count if count == CLASSES[0] else generator.integers(0, count, len(part))
        single, place = places_in_classes(derivatives, part, labels, count, dim, generator)
        pending = np.ones(single.shape[1], bool) if pending is None else pending
        resolved = pending & single.all(axis=0)
        classes, which = np.nonzero((place >= 0) & resolved)
        rows.append(which)
        coordinates.append(part[place[classes, which]])
        pending &= ~resolved
        if not pending.any():
            break
    entries = np.concatenate(rows), np.concatenate(coordinates)
    return sp.csr_array((np.ones(len(entries[0]), bool), entries), shape=(len(pending), dim)), pending


def places_in_classes(derivatives: Derivatives, part, labels, count: int, dim: int, generator):
    """Return, for each class and row, whether it sees at most one coordinate of it, and which, -1 for none.

    Both are of shape (classes, rows); the coordinate is given by its place in `part`.
    """
    single, place = [], []
    for label in range(count):
        members = np.flatnonzero(labels == label)
        directions = np.zeros((3, dim))
        directions[:, part[members]] = generator.uniform(1.0, 2.0, (3, len(members)))
        directions[1, part[members]] = directions[0, part[members]] * (1.0 + np.arange(len(members)))
        plain, numbered, other = derivatives(directions)
        seen = (plain != 0) | (numbered != 0) | (other != 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = numbered / plain
            number = np.where(np.isfinite(ratio), np.round(ratio), 0.0).astype(int)
            inside = (number >= 1) & (number <= len(members)) & (np.abs(ratio - number) < SAME * number)
            where = np.where(inside, number - 1, 0)
            if len(members):
                expected = (directions[2] / np.where(directions[0] == 0, 1.0, directions[0]))[part[members]][where]
                inside &= np.abs(other / plain - expected) < SAME * expected
                where = members[where]
        single.append(~seen | inside)
        place.append(np.where(seen & inside, where, -1))
    return np.array(single), np.array(place)


def colours(pattern: sp.csr_array) -> Int[np.ndarray, " dim"]:
    """Return a colour for each column, so that no row sees two columns of one colour.

    Greedy, those columns first that meet most others.
    """
    ones = pattern.astype(np.int32)
    meets = (ones.T @ ones).tocsr()
    found = np.full(pattern.shape[1], -1)
    for column in np.argsort(-np.diff(meets.indptr), kind="stable"):
        taken = found[meets.indices[meets.indptr[column] : meets.indptr[column + 1]]]
        free = np.ones(len(taken) + 1, bool)
        free[taken[(taken >= 0) & (taken <= len(taken))]] = False
        found[column] = np.argmax(free)
    return found
