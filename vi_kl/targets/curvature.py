"""Expected curvature: the mean of minus the Hessian over draws, for log densities whose Hessian is sparse.

Requires of the target: a log density that JAX differentiates twice, in forward mode.

The structure is found once, by probing (sparsity.py), and held to the target's own gradients. Then a pass over a batch
of draws gives values, gradients, and every entry of the mean Hessian, from second directional derivatives of the terms
along sums of coordinates of one colour. Terms that see many coordinates give theirs by Hessian-vector products of
their sum.
"""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int

from vi_kl.core.annotations import AnyArray
from vi_kl.core.compilation import compiled
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.sparse_cholesky import SparseStructure
from vi_kl.targets import sparsity
from vi_kl.targets.price import over_draws
from vi_kl.targets.sparsity import MANY, MOST_DENSE, Jacobian
from vi_kl.targets.target import Target, log_density
from vi_kl.targets.terms import terms

DRAWS = 4  # draws in one pass
DIRECTIONS = 4  # directions probed at a time
AT_ONCE = 4_000_000  # numbers of terms that are held at once
MOST_PAIRS = 600  # pairs of colours, above which a Hessian costs more than it is worth
AGREEMENT = 1e-5  # relative, with the differences of gradients along a random direction


# What runs compiled ---------------------------------------------------------------------------------------------------


@compiled
def derivatives_of_terms(target: Target, z: Float[AnyArray, " dim"], directions: Float[AnyArray, "n dim"]):
    """Return the directional derivatives of the terms at z, (n, terms)."""
    return jax.lax.map(lambda v: jax.jvp(lambda z: terms(target, z), (z,), (v,))[1], directions)


@compiled
def curvature_of_terms(target: Target, z: Float[AnyArray, "draws dim"], directions, pairs: Int[AnyArray, "pairs 2"]):
    """Return log densities (draws,), gradients (draws, dim), and mean second derivatives of the terms, (pairs, terms).

    Args:
        target: the target.
        z: the draws.
        directions: sums of the coordinates of each colour, (colours, dim).
        pairs: the two colours along which to differentiate.
    """
    values, gradients = jax.vmap(jax.value_and_grad(log_density, argnums=1), in_axes=(None, 0))(target, z)
    at_once = max(1, AT_ONCE // jax.eval_shape(terms, target, z[0]).shape[0])

    def second(pair):
        a, b = directions[pair[0]], directions[pair[1]]

        def along_both(z):
            along_a = lambda z: jax.jvp(lambda z: terms(target, z), (z,), (a,))[1]  # noqa: E731
            return jax.jvp(along_a, (z,), (b,))[1]

        return over_draws(along_both, z, at_once).mean(axis=0)

    return values, gradients, jax.lax.map(second, pairs)


@compiled
def products_of_terms(target: Target, z: Float[AnyArray, "draws dim"], which: Bool[AnyArray, " terms"], directions):
    """Return log densities, gradients, and the mean Hessian of the sum of some terms times directions, (n, dim)."""
    values, gradients = jax.vmap(jax.value_and_grad(log_density, argnums=1), in_axes=(None, 0))(target, z)

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


# Finding it -----------------------------------------------------------------------------------------------------------


def find_sparse_hessian(target: Target, points: Float[np.ndarray, "2 dim"], seed: int = 0) -> SparseHessian:
    """Return the structure of a target's Hessian.

    Args:
        target: the target.
        points: two points in general position at which it is probed; the log density is finite there.
        seed: the seed of the random probes.

    Raises:
        UnsuitableError: the Hessian is not sparse, or cannot be found by probing; the message says why.
    """
    generator = np.random.default_rng(seed)
    ends = np.cumsum([0, *(site.size for site in target.sites)])
    parts = [np.arange(a, b) for a, b in itertools.pairwise(ends)]
    spent = [0]
    found = joined(
        sparsity.probe(functools.partial(in_batches, derivatives_of_terms, target, z, spent), parts, generator)
        for z in points
    )
    wide = found.unresolved | (found.seen > MANY)
    narrow = masked(found.pattern, ~wide)
    pattern = (narrow.T.astype(np.int32) @ narrow.astype(np.int32)).astype(bool).tocsr()
    rows = None
    if wide.any():
        rows = joined(rows_of_wide(target, z, wide, parts, generator, spent) for z in points)
        pattern = pattern + rows.pattern + full_rows(rows.unresolved)
    structure = SparseStructure.of(pattern)
    pairs = NarrowTerms.of(narrow, structure)
    products = None if rows is None else WideTerms.of(wide, rows, structure)
    if products is None:
        by_products = WideTerms.of(np.ones(len(wide), bool), full_and_others(pattern), structure)
        products = by_products if len(by_products.directions) < len(pairs.pairs) else None
    hessian = SparseHessian(target, structure, pairs, products, spent[0])
    if hessian.passes > MOST_PAIRS:
        raise UnsuitableError(f"The Hessian takes {hessian.passes} passes: it is not sparse enough.")
    require_agreement(hessian, points[0], generator)
    return hessian


def full_and_others(pattern: sp.csr_array) -> Jacobian:
    """Return the rows of a symmetric pattern, those that see many times what most see taken for full."""
    degree = np.diff(pattern.indptr)
    full = degree > max(MANY, 4 * np.median(degree))
    return Jacobian(masked(pattern, ~full), full)


def joined(found) -> Jacobian:
    return functools.reduce(lambda a, b: a | b, found)


def in_batches(function, target: Target, z, spent: list[int], directions: np.ndarray) -> np.ndarray:
    """Return `function(target, z, directions)` in batches of DIRECTIONS, the last filled up with zeros.

    Their number is added to `spent`.

    Raises:
        UnsuitableError: the log density has derivatives in reverse only.
    """
    spent[0] += len(directions)
    missing = -len(directions) % DIRECTIONS
    padded = np.pad(directions, ((0, missing), (0, 0)))
    try:
        pieces = [np.asarray(function(target, z, piece)) for piece in np.split(padded, len(padded) // DIRECTIONS)]
    except (TypeError, NotImplementedError) as error:  # JAX's own, while it traces the derivative
        raise UnsuitableError(f"The log density cannot be differentiated in forward mode: {error}") from error
    return np.concatenate(pieces)[: len(directions)]


def masked(pattern: sp.csr_array, keep: np.ndarray) -> sp.csr_array:
    """Return a pattern with other rows empty."""
    found = sp.csr_array(sp.diags_array(keep.astype(float)) @ pattern.astype(float)).astype(bool)
    found.eliminate_zeros()
    return found


def rows_of_wide(target: Target, z, wide, parts, generator, spent: list[int]) -> Jacobian:
    """Find the coordinates in each row of the Hessian of the sum of the wide terms at z.

    Raises:
        UnsuitableError: too many rows are full.
    """

    def products(target, z, directions):
        return products_of_terms(target, z[None], wide, directions)[2]

    found = sparsity.probe(functools.partial(in_batches, products, target, z, spent), parts, generator)
    found = Jacobian(found.pattern, found.unresolved | (found.seen > MANY))
    found = Jacobian(masked(found.pattern, ~found.unresolved), found.unresolved)
    if found.unresolved.sum() > MOST_DENSE:
        raise UnsuitableError(
            f"The Hessian is not sparse: {found.unresolved.sum()} of its {target.dim} rows are full, because of "
            f"{wide.sum()} terms of the log density that depend on more than {MANY} coordinates each."
        )
    return found


def full_rows(which: Bool[np.ndarray, " dim"]) -> sp.csr_array:
    """Return the pattern of a matrix in which some rows are full."""
    dim, rows = len(which), np.flatnonzero(which)
    entries = np.repeat(rows, dim), np.tile(np.arange(dim), len(rows))
    return sp.csr_array((np.ones(len(entries[0]), bool), entries), shape=(dim, dim))


def require_agreement(hessian: SparseHessian, z: Float[np.ndarray, " dim"], generator) -> None:
    """Raise an error unless the assembled Hessian agrees with differences of gradients along a random direction."""
    v = generator.standard_normal(len(z))
    step = 1e-4
    seen = hessian.at(z + step * np.array([-2.0, -1.0, 1.0, 2.0])[:, None] * v)
    at_z = hessian.at(np.tile(z, (DRAWS, 1)))
    g = seen.gradients
    differences = (8 * (g[2] - g[1]) - (g[3] - g[0])) / (12 * step)
    product = -hessian.structure.product(at_z.entries, v)
    off = np.linalg.norm(product - differences) / np.linalg.norm(differences)
    if not off < AGREEMENT:
        raise UnsuitableError(
            f"The sparse Hessian does not agree with the gradients of the log density (relative difference {off:.1g}): "
            f"some dependence was not found, or second derivatives are not what the gradients' differences are."
        )
