"""The structure of a target's Hessian: found by probing its terms, and held to the target's own gradients.

Terms that see few coordinates are told apart from those that see many, and each kind gets its colours (sparsity.py).
Where products with the Hessian of all terms take fewer passes than pairs of colours, they take their place.
"""

import functools
import itertools

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float

from vi_kl.core.errors import UnsuitableError
from vi_kl.core.sparse_cholesky import SparseStructure
from vi_kl.targets import sparsity
from vi_kl.targets.curvature import (
    DRAWS,
    NarrowTerms,
    SparseHessian,
    WideTerms,
    derivatives_of_terms,
    products_of_terms,
)
from vi_kl.targets.sparsity import MANY, MOST_DENSE, Jacobian
from vi_kl.targets.target import Target

DIRECTIONS = 4  # directions probed at a time
MOST_PAIRS = 600  # pairs of colours, above which a Hessian costs more than it is worth
AGREEMENT = 1e-5  # relative, with the differences of gradients along a random direction


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
