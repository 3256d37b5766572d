"""Cholesky factors of sparse matrices, by SciPy's SuperLU.

A positive definite matrix A whose rows and columns are put in a good order has a sparse factor F with F F' = A. The
order is found once for a pattern: by minimum degree, the rows that meet most others last. SuperLU factors a symmetric
matrix in a given order, without pivoting, to L D L'.
"""

import dataclasses
import functools

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from scipy.sparse.linalg import splu

FULL_DEGREE = 10  # a row that meets more than this times sqrt(dim) others is eliminated last, without looking for where
SYMMETRIC = {"diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}


def elimination_order(pattern: sp.csr_array) -> Int[np.ndarray, " dim"]:
    """Return the order in which to eliminate the coordinates of a symmetric pattern, (dim,), to keep its factor sparse.

    Args:
        pattern: a sparse matrix (dim, dim) whose entries that are stored are those that may not be zero.
    """
    dim = pattern.shape[0]
    degree = np.diff(pattern.indptr)
    full = np.flatnonzero(degree > FULL_DEGREE * np.sqrt(dim))  # they would take minimum degree minutes
    others = np.setdiff1d(np.arange(dim), full)
    last = full[np.argsort(degree[full], kind="stable")]
    if not len(others):
        return last
    part = sp.csc_array(pattern)[others][:, others]
    part.data = np.full(len(part.data), -1.0)
    dominant = sp.csc_matrix(part + sp.diags_array(1.0 + np.diff(part.indptr)))
    order = np.argsort(splu(dominant, permc_spec="MMD_AT_PLUS_A", **SYMMETRIC).perm_c)
    return np.concatenate([others[order], last])


@dataclasses.dataclass(frozen=True, eq=False)
class SparseStructure:
    """The places at which a symmetric matrix may have entries that are not zero, and the order in which it is factored.

    Attributes:
        order: the coordinate at each position of the elimination, (dim,).
        rows: the position of the row of each entry of the lower triangle, (entries,), the diagonal included.
        columns: the position of its column. Entries are ordered by columns, and by rows within them.
    """

    order: Int[np.ndarray, " dim"]
    rows: Int[np.ndarray, " entries"]
    columns: Int[np.ndarray, " entries"]

    @property
    def degree(self) -> Int[np.ndarray, " dim"]:
        """The number of others that each coordinate meets, in the coordinates' own order."""
        found = np.zeros(self.dim, int)
        ends = np.concatenate([self.rows, self.columns])
        found[self.order] = np.bincount(ends, minlength=self.dim) - 2  # the diagonal is at both ends
        return found

    @classmethod
    def of(cls, pattern: sp.csr_array) -> "SparseStructure":
        """Return the structure of a pattern (dim, dim), made symmetric, with the diagonal."""
        dim = pattern.shape[0]
        whole = (pattern + pattern.T + sp.eye_array(dim, dtype=bool)).astype(bool).tocsr()
        order = elimination_order(whole)
        ordered = sp.csc_array(whole[order][:, order])
        lower = sp.csc_array(sp.tril(ordered, format="csc"))
        lower.sort_indices()
        return cls(order, lower.indices.astype(int), np.repeat(np.arange(dim), np.diff(lower.indptr)))

    @property
    def dim(self) -> int:
        return len(self.order)

    @functools.cached_property
    def position(self) -> Int[np.ndarray, " dim"]:
        """The position of each coordinate."""
        return np.argsort(self.order)

    @functools.cached_property
    def diagonal(self) -> Int[np.ndarray, " dim"]:
        """The place of each position's entry of the diagonal."""
        return np.flatnonzero(self.rows == self.columns)

    def places(self, i: Int[np.ndarray, "*n"], j: Int[np.ndarray, "*n"]) -> Int[np.ndarray, "*n"]:
        """Return the places of the entries of two coordinates each, which must be entries of the structure."""
        a, b = self.position[i], self.position[j]
        return np.searchsorted(self.columns * self.dim + self.rows, np.minimum(a, b) * self.dim + np.maximum(a, b))

    def holds(self, i: Int[np.ndarray, " n"], j: Int[np.ndarray, " n"]) -> np.ndarray:
        """Return whether two coordinates each have an entry, (n,)."""
        found = np.minimum(self.places(i, j), len(self.rows) - 1)
        a, b = self.position[i], self.position[j]
        return (self.columns[found] == np.minimum(a, b)) & (self.rows[found] == np.maximum(a, b))

    @functools.cached_property
    def whole(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The whole matrix by columns: where each of its entries stands in the lower triangle, and SciPy's indices."""
        below = self.rows != self.columns
        place = np.concatenate([np.arange(len(self.rows)), np.flatnonzero(below)])
        rows = np.concatenate([self.rows, self.columns[below]])
        columns = np.concatenate([self.columns, self.rows[below]])
        by_column = np.lexsort((rows, columns))
        starts = np.searchsorted(columns[by_column], np.arange(self.dim + 1))
        return place[by_column], rows[by_column].astype(np.int32), starts.astype(np.int32)

    def matrix(self, entries: Float[np.ndarray, " entries"]) -> sp.csc_matrix:
        """Return the matrix with these entries, its rows and columns in the order of the elimination."""
        place, rows, starts = self.whole
        return sp.csc_matrix((entries[place], rows, starts), shape=(self.dim, self.dim))

    def product(
        self, entries: Float[np.ndarray, " entries"], v: Float[np.ndarray, " dim"]
    ) -> Float[np.ndarray, " dim"]:
        """Return the product of the matrix with these entries and v, both in the coordinates' own order."""
        found = np.empty(self.dim)
        found[self.order] = self.matrix(entries) @ v[self.order]
        return found

    def factor(self, entries: Float[np.ndarray, " entries"]) -> sp.csc_array | None:
        """Return the lower triangular F with F F' = A; None if A is not positive definite.

        A is taken in units of its own diagonal, so that scales do not matter.
        """
        diagonal = entries[self.diagonal]
        if not np.isfinite(entries).all() or (diagonal <= 0).any():
            return None
        sd = np.sqrt(diagonal)
        try:
            found = splu(self.matrix(entries / (sd[self.rows] * sd[self.columns])), permc_spec="NATURAL", **SYMMETRIC)
        except RuntimeError:  # SuperLU's word for singular
            return None
        pivots = found.U.diagonal()
        if (found.perm_r != np.arange(self.dim)).any() or (pivots <= 1e-14).any():
            return None
        factor = sp.csc_array(found.L)
        factor.data *= sd[factor.indices] * np.repeat(np.sqrt(pivots), np.diff(factor.indptr))
        factor.sort_indices()
        return factor
