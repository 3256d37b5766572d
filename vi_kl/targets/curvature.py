"""Expected curvature: the mean of minus the Hessian over draws, for log densities whose Hessian is sparse.

Requires of the target: a log density that JAX differentiates twice, in forward mode.

The structure is found once, by probing (hessian_structure.py). Then a pass over a batch of draws gives values,
gradients, and every entry of the mean Hessian, from second directional derivatives of the terms along sums of
coordinates of one colour. Terms that see many coordinates give theirs by Hessian-vector products of their sum.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int

from vi_kl.core.annotations import AnyArray
from vi_kl.core.compilation import compiled
from vi_kl.core.sparse_cholesky import SparseStructure
from vi_kl.targets import sparsity
from vi_kl.targets.price import is_cheap_with_curvature, over_draws
from vi_kl.targets.sparsity import Jacobian
from vi_kl.targets.target import Target, gradient_once_traced
from vi_kl.targets.terms import terms

DRAWS = 4  # draws in one pass
AT_ONCE = 4_000_000  # numbers of terms that are held at once


# What runs compiled ---------------------------------------------------------------------------------------------------


@compiled(unoptimized=True)
def derivatives_of_terms(target: Target, z: Float[AnyArray, " dim"], directions: Float[AnyArray, "n dim"]):
    """Return the directional derivatives of the terms at z, (n, terms)."""
    return jax.lax.map(lambda v: jax.jvp(lambda z: terms(target, z), (z,), (v,))[1], directions)


@compiled(unoptimized=lambda target, z, directions, pairs: is_cheap_with_curvature(target))
def curvature_of_terms(target: Target, z: Float[AnyArray, "draws dim"], directions, pairs: Int[AnyArray, "pairs 2"]):
    """Return log densities (draws,), gradients (draws, dim), and mean second derivatives of the terms, (pairs, terms).

    Args:
        target: the target.
        z: the draws.
        directions: sums of the coordinates of each colour, (colours, dim).
        pairs: the two colours along which to differentiate.
    """
    values, gradients = jax.vmap(gradient_once_traced, in_axes=(None, 0))(target, z)
    at_once = max(1, AT_ONCE // jax.eval_shape(terms, target, z[0]).shape[0])

    def second(pair):
        a, b = directions[pair[0]], directions[pair[1]]

        def along_both(z):
            along_a = lambda z: jax.jvp(lambda z: terms(target, z), (z,), (a,))[1]  # noqa: E731
            return jax.jvp(along_a, (z,), (b,))[1]

        return over_draws(along_both, z, at_once).mean(axis=0)

    return values, gradients, jax.lax.map(second, pairs)


@compiled(unoptimized=lambda target, z, which, directions: is_cheap_with_curvature(target))
def products_of_terms(target: Target, z: Float[AnyArray, "draws dim"], which: Bool[AnyArray, " terms"], directions):
    """Return log densities, gradients, and the mean Hessian of the sum of some terms times directions, (n, dim)."""
    values, gradients = jax.vmap(gradient_once_traced, in_axes=(None, 0))(target, z)

    def gradient(z):
        return jax.grad(lambda z: jnp.where(which, terms(target, z), 0.0).sum())(z)

    def product(v):
        return jax.vmap(lambda z: jax.jvp(gradient, (z,), (v,))[1])(z).mean(axis=0)

    return values, gradients, jax.lax.map(product, directions)


# What is known once per target ----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class NarrowTerms:
    """The terms that see few coordinates, coloured.

    Attributes:
        directions: sums of the coordinates of each colour, (colours, dim).
        pairs: the pairs of colours that meet in a term, (pairs, 2).
        seen: the coordinate of each colour that each term sees, (terms, colours); -1 for none.
        places: the terms in which each pair meets, and the places of their entries in the structure.
    """

    directions: Float[np.ndarray, "colours dim"]
    pairs: Int[np.ndarray, "pairs 2"]
    seen: Int[np.ndarray, "terms colours"]
    places: tuple[tuple[np.ndarray, np.ndarray], ...]

    @classmethod
    def of(cls, pattern: sp.csr_array, structure: SparseStructure) -> "NarrowTerms":
        colour = sparsity.colours(pattern)
        count = int(colour.max()) + 1
        seen = np.full((pattern.shape[0], count), -1)
        rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
        seen[rows, colour[pattern.indices]] = pattern.indices
        directions = (colour == np.arange(count)[:, None]).astype(float)
        pairs, places = [], []
        for a in range(count):
            for b in range(a + 1):
                meets = np.flatnonzero((seen[:, a] >= 0) & (seen[:, b] >= 0))
                if len(meets):
                    pairs.append((a, b))
                    places.append((meets, structure.places(seen[meets, a], seen[meets, b])))
        return cls(directions, np.array(pairs).reshape(-1, 2), seen, tuple(places))

    def add_up(self, second: Float[np.ndarray, "pairs terms"], size: int) -> Float[np.ndarray, " size"]:
        """Return the entries of the sum of the terms' Hessians."""
        entries = np.zeros(size)
        for (which, places), values in zip(self.places, second, strict=True):
            entries += np.bincount(places, values[which], size)
        return entries

    def concave(self, second: Float[np.ndarray, "pairs terms"]) -> Float[np.ndarray, "pairs terms"]:
        """Return the second derivatives with each term's Hessian replaced by the nearest that is negative semidefinite.

        So is their sum then.
        """
        count = len(self.directions)
        found = np.zeros_like(second)
        a, b = self.pairs.T
        for start in range(0, second.shape[1], 20_000):
            piece = slice(start, start + 20_000)
            blocks = np.zeros((second[:, piece].shape[1], count, count))
            present = (self.seen[piece][:, a] >= 0) & (self.seen[piece][:, b] >= 0)
            blocks[:, a, b] = blocks[:, b, a] = np.where(present, second[:, piece].T, 0.0)
            values, vectors = np.linalg.eigh(np.nan_to_num(blocks))
            blocks = (vectors * np.minimum(values, 0.0)[:, None, :]) @ np.swapaxes(vectors, 1, 2)
            found[:, piece] = blocks[:, a, b].T
        return found


@dataclasses.dataclass(frozen=True, eq=False)
class WideTerms:
    """The terms that see many coordinates, as one function whose Hessian is coloured.

    Attributes:
        which: which of all terms they are, (terms,).
        directions: sums of the coordinates of each colour, and each coordinate of a full row, (n, dim).
        reads: the rows of the product along each direction that are entries, and the entries' places.
    """

    which: Bool[np.ndarray, " terms"]
    directions: Float[np.ndarray, "n dim"]
    reads: tuple[tuple[np.ndarray, np.ndarray], ...]

    @classmethod
    def of(cls, which, found: Jacobian, structure: SparseStructure) -> "WideTerms":
        """Colour the Hessian whose rows are `found`; its unresolved rows are full, and read from their columns."""
        dim, full = found.pattern.shape[1], np.flatnonzero(found.unresolved)
        some = found.pattern.tolil()
        some[:, full] = False
        some = sp.csr_array(some)
        some.eliminate_zeros()
        used = np.diff(sp.csc_array(some).indptr) > 0
        colour = np.where(used, sparsity.colours(some), -1)
        directions, reads = [], []
        for one in range(int(colour.max(initial=-1)) + 1):
            entries = sp.coo_array(some[:, np.flatnonzero(colour == one)])
            columns = np.flatnonzero(colour == one)[entries.col]
            keep = columns <= entries.row  # each entry once
            directions.append((colour == one).astype(float))
            reads.append((entries.row[keep], structure.places(entries.row[keep], columns[keep])))
        for k, coordinate in enumerate(full):
            directions.append(np.eye(1, dim, coordinate)[0])
            rows = np.setdiff1d(np.arange(dim), full[:k])
            rows = rows[structure.holds(rows, np.full(len(rows), coordinate))]
            reads.append((rows, structure.places(rows, np.full(len(rows), coordinate))))
        return cls(which, np.array(directions).reshape(-1, dim), tuple(reads))

    def add_up(self, products: Float[np.ndarray, "n dim"], size: int) -> Float[np.ndarray, " size"]:
        """Return the entries of the Hessian from its products with the directions."""
        entries = np.zeros(size)
        for (rows, places), values in zip(self.reads, products, strict=True):
            entries[places] += values[rows]
        return entries


@dataclasses.dataclass(frozen=True, eq=False)
class SparseHessian:
    """The structure of a target's Hessian, and the way to compute its mean over draws.

    Attributes:
        target: the target.
        structure: the places of its entries.
        narrow: the terms that see few coordinates.
        wide: the terms whose Hessian is found by products: those that see many coordinates, or all where that takes
            fewer passes; None if there are none.
        evaluations: directional derivatives that it took to find all this.
    """

    target: Target
    structure: SparseStructure
    narrow: NarrowTerms
    wide: WideTerms | None
    evaluations: int = 0

    @property
    def by_products(self) -> bool:
        """Whether products alone give the whole Hessian."""
        return self.wide is not None and bool(self.wide.which.all())

    @property
    def passes(self) -> int:
        """The number of second directional derivatives that one Hessian takes."""
        by_pairs = 0 if self.by_products else len(self.narrow.pairs)
        return by_pairs + (0 if self.wide is None else len(self.wide.directions))

    def at(self, z: Float[np.ndarray, "draws dim"]) -> "Curvature":
        """Return values, gradients and mean curvature at draws, of which there are a multiple of DRAWS."""
        batches = np.split(z, range(DRAWS, len(z), DRAWS))
        by_pairs = None if self.by_products else joined_batches(map(self.pairs, batches))
        products = None if self.wide is None else joined_batches(map(self.products, batches))
        values, gradients, _ = by_pairs or products
        return Curvature(self, z, values, gradients, by_pairs and by_pairs[2], products and products[2])

    def pairs(self, z) -> list[np.ndarray]:
        """Return values, gradients and mean second derivatives of the narrow terms at DRAWS draws."""
        return [*map(np.asarray, curvature_of_terms(self.target, z, self.narrow.directions, self.narrow.pairs))]

    def products(self, z) -> list[np.ndarray]:
        """Return values, gradients and the mean Hessian of the wide terms at DRAWS draws, times their directions."""
        assert self.wide is not None, "asked of wide terms only"
        return [*map(np.asarray, products_of_terms(self.target, z, self.wide.which, self.wide.directions))]


def joined_batches(batches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the values, gradients and means of second derivatives of several batches as those of one."""
    values, gradients, second = zip(*batches, strict=True)
    return np.concatenate(values), np.concatenate(gradients), sum(second) / len(second)


@dataclasses.dataclass(frozen=True, eq=False)
class Curvature:
    """Log densities, gradients and the mean of minus the Hessian, at some draws.

    Attributes:
        of: the structure.
        z: the draws, (draws, dim).
        values: the log densities, (draws,).
        gradients: their gradients, (draws, dim).
        second: mean second derivatives of the narrow terms, (pairs, terms); None where products give all.
        products: the mean Hessian of the wide terms times their directions, (n, dim); None if there are none.
    """

    of: SparseHessian
    z: Float[np.ndarray, "draws dim"]
    values: Float[np.ndarray, " draws"]
    gradients: Float[np.ndarray, "draws dim"]
    second: Float[np.ndarray, "pairs terms"] | None
    products: Float[np.ndarray, "n dim"] | None

    @functools.cached_property
    def of_wide(self) -> np.ndarray:
        size = len(self.of.structure.rows)
        return np.zeros(size) if self.of.wide is None else self.of.wide.add_up(self.products, size)

    @functools.cached_property
    def entries(self) -> Float[np.ndarray, " entries"]:
        """The entries of the mean of minus the Hessian, in the structure."""
        if self.second is None:
            return -self.of_wide
        return -(self.of.narrow.add_up(self.second, len(self.of.structure.rows)) + self.of_wide)

    @functools.cached_property
    def concave_entries(self) -> Float[np.ndarray, " entries"]:
        """The entries with each narrow term made concave. Without terms that see many it is positive semidefinite."""
        second, others = self.second, self.of_wide
        if second is None:
            batches = np.split(self.z, range(DRAWS, len(self.z), DRAWS))
            second, others = joined_batches(map(self.of.pairs, batches))[2], 0.0
        size = len(self.of.structure.rows)
        return -(self.of.narrow.add_up(self.of.narrow.concave(second), size) + others)
