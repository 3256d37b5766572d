"""The scale of a normal distribution in thousands of dimensions whose precision is sparse.

On the host, SciPy multiplies and solves with the sparse factor; a small factor is written out whole, since to make a
sparse matrix takes longer than to use it. In a compiled program products are sums over its entries, and solutions a
loop over them: right, and slow, for what is seldom done there.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from scipy.sparse.linalg import spsolve_triangular

from vi_kl.core.annotations import AnyArray, Values
from vi_kl.core.pytrees import pytree
from vi_kl.core.scales import Scale, Triangular, Vectors, namespace

SMALL = 150  # dimensions, up to which products and solutions with a whole matrix take less time


@pytree
class SparsePrecision(Scale):
    """A sparse Cholesky factor F of the precision: with the coordinates in a given order, the precision is F F'.

    S is the inverse of F' with its rows put back into the coordinates' own order, so that noise belongs to positions
    in the elimination, not to coordinates.

    Attributes:
        order: the coordinate at each position, (dim,).
        rows: the position of the row of each entry of F, (entries,).
        columns: the position of its column; entries are ordered by columns, the diagonal's first in each.
        values: the entries.
    """

    order: Int[AnyArray, " dim"]
    rows: Int[AnyArray, " entries"]
    columns: Int[AnyArray, " entries"]
    values: Float[AnyArray, " entries"]

    @classmethod
    def of(cls, order: Int[np.ndarray, " dim"], factor: sp.csc_array) -> "SparsePrecision":
        """Return the scale of a factor whose rows and columns are in this order."""
        columns = np.repeat(np.arange(len(order)), np.diff(factor.indptr))
        return cls(np.asarray(order), factor.indices.astype(np.int64), columns, factor.data)

    @property
    def dim(self) -> int:
        return self.order.shape[0]

    @property
    def diagonal(self) -> Float[AnyArray, " dim"]:
        """The diagonal of F."""
        xp = namespace(self.rows, self.values)
        on_it = xp.where(self.rows == self.columns, self.values, 0.0)
        return self.added_up(on_it[None], self.columns)[0]

    def precision_at(self, rows: Int[np.ndarray, " n"], columns: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return entries of the precision F F', by their positions."""
        if self.dim <= SMALL:
            return self.whole.covariance[rows, columns]
        factor = self.matrix_in_order
        return np.asarray(sp.csr_array(factor @ factor.T)[rows, columns]).ravel()

    def apply(self, u: Vectors) -> Vectors:
        return self.in_own_order(self.solved(u, transpose=True))

    def apply_transpose(self, v: Vectors) -> Vectors:
        return self.solved(v[..., self.order], transpose=False)

    def solve(self, x: Vectors) -> Vectors:
        return self.multiplied(x[..., self.order], transpose=True)

    def solve_transpose(self, v: Vectors) -> Vectors:
        return self.in_own_order(self.multiplied(v, transpose=False))

    @property
    def log_det(self) -> Values:
        diagonal = self.diagonal
        return -namespace(diagonal).log(diagonal).sum()

    def times(self, factor: float) -> "SparsePrecision":
        return SparsePrecision(self.order, self.rows, self.columns, self.values / factor)

    @property
    def sd(self) -> Float[AnyArray, " dim"]:
        size = max(1, 4_000_000 // self.dim)  # unit vectors at a time, each solved with
        pieces = [
            (self.apply_transpose(np.eye(min(size, self.dim - start), self.dim, start)) ** 2).sum(axis=1)
            for start in range(0, self.dim, size)
        ]
        return np.sqrt(np.concatenate(pieces))

    @property
    def conditional_sd(self) -> Float[AnyArray, " dim"]:
        return self.in_own_order(self.added_up((self.values**2)[None], self.rows)[0]) ** -0.5

    # Vectors, (..., dim), in the order of the elimination ---------------------------------------------------------

    def in_own_order(self, x: Vectors) -> Vectors:
        """Return vectors with their elements in the coordinates' own order."""
        if namespace(self.order, x) is jnp:
            return jnp.zeros_like(x).at[..., self.order].set(x)
        found = np.empty_like(x)
        found[..., self.order] = x
        return found

    def added_up(self, entries: Float[AnyArray, "n entries"], places: Int[AnyArray, " entries"]):
        """Return sums of entries by their places, (n, dim)."""
        if namespace(self.order, entries) is jnp:
            return jnp.zeros((len(entries), self.dim)).at[:, places].add(entries)
        return np.stack([np.bincount(places, row, self.dim) for row in entries])

    @property
    def matrix_in_order(self) -> sp.csc_array:
        """F as a sparse matrix."""
        starts = np.searchsorted(self.columns, np.arange(self.dim + 1))
        return sp.csc_array((np.asarray(self.values), np.asarray(self.rows), starts), shape=(self.dim, self.dim))

    @functools.cached_property
    def whole(self) -> Triangular:
        """F with its zeros, as a scale whose covariance is the precision."""
        matrix = np.zeros((self.dim, self.dim))
        matrix[self.rows, self.columns] = self.values
        return Triangular(matrix)

    def multiplied(self, x: Vectors, *, transpose: bool) -> Vectors:
        """Return F x, or F' x."""
        if namespace(self.order, self.values, x) is jnp:
            to, of = (self.columns, self.rows) if transpose else (self.rows, self.columns)
            return self.added_up(self.values * x.reshape(-1, self.dim)[:, of], to).reshape(x.shape)
        if self.dim <= SMALL:
            return self.whole.apply_transpose(x) if transpose else self.whole.apply(x)
        factor = self.matrix_in_order
        return ((factor.T if transpose else factor) @ x.reshape(-1, self.dim).T).T.reshape(x.shape)

    def solved(self, x: Vectors, *, transpose: bool) -> Vectors:
        """Return F^-1 x, or F'^-1 x."""
        if namespace(self.order, self.values, x) is jnp:
            return self.solved_entry_by_entry(x, transpose)
        if not x.size:
            return x
        if self.dim <= SMALL:
            return self.whole.solve_transpose(x) if transpose else self.whole.solve(x)
        factor = self.matrix_in_order
        matrix = sp.csr_array(factor.T) if transpose else sp.csr_array(factor)
        return spsolve_triangular(matrix, x.reshape(-1, self.dim).T, lower=not transpose).T.reshape(x.shape)

    def solved_entry_by_entry(self, x: Vectors, transpose: bool) -> Vectors:
        """Substitute within a compiled program, in one loop over the entries."""
        count = len(self.values)

        def forwards(k, x):  # the diagonal comes first in each column
            i, j = self.rows[k], self.columns[k]
            return x.at[..., i].add(
                jnp.where(i == j, x[..., i] / self.values[k] - x[..., i], -self.values[k] * x[..., j])
            )

        def backwards(k, x):  # and last, when the columns are gone through from their ends
            i, j = self.rows[count - 1 - k], self.columns[count - 1 - k]
            value = self.values[count - 1 - k]
            return x.at[..., j].add(jnp.where(i == j, x[..., j] / value - x[..., j], -value * x[..., i]))

        return jax.lax.fori_loop(0, count, backwards if transpose else forwards, x)


def has_lower_triangle(rows: np.ndarray, columns: np.ndarray, dim: int) -> bool:
    """Return whether these are the places of a lower triangular matrix, by columns, with the whole diagonal."""
    if len(rows) < dim or not len(rows):
        return dim == len(rows)
    first = np.searchsorted(columns, np.arange(dim))
    in_order = (np.diff(columns * dim + rows) > 0).all() and (rows >= columns).all()
    within = columns.min() >= 0 and rows.max() < dim
    return bool(in_order and within and (first < len(rows)).all() and (rows[first] == np.arange(dim)).all())
