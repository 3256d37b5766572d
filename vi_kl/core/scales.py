"""Scales of distributions around a point: square roots S of a covariance S S'.

A scale says how to multiply and solve with S, and nothing else of a distribution depends on how it is stored. To store
one in another way (a sparse factor of the precision, a few common factors), write a subclass of `Scale` with the six
methods that have no default; the defaults of the others are right for any scale, and form a dense matrix.

Vectors are rows: every operation takes arrays of shape (..., dim) and works along their last axis. On the host the
arrays are NumPy's. While JAX traces one of them the same operations are JAX's, so that a scale is a pytree that may be
an argument of a compiled program.
"""

import abc
from types import ModuleType

import jax
import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np
from jaxtyping import Float
from scipy.linalg import blas

from vi_kl.core.annotations import AnyArray, Values
from vi_kl.core.cholesky import tril_of_root
from vi_kl.core.pytrees import pytree

Vectors = Float[AnyArray, "*batch dim"]
Matrix = Float[AnyArray, "dim dim"]


def namespace(*arrays: AnyArray) -> ModuleType:
    """Return jax.numpy where JAX traces one of these arrays, else NumPy, which has nothing to compile."""
    return jnp if any(isinstance(array, jax.core.Tracer) for array in arrays) else np


class Scale(abc.ABC):
    """A square root S of a covariance S S'."""

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """The number of coordinates."""

    @abc.abstractmethod
    def apply(self, u: Vectors) -> Vectors:
        """Return S u."""

    @abc.abstractmethod
    def apply_transpose(self, v: Vectors) -> Vectors:
        """Return S' v: gradients with respect to z = S u, in terms of u."""

    @abc.abstractmethod
    def solve(self, x: Vectors) -> Vectors:
        """Return S^-1 x."""

    @abc.abstractmethod
    def solve_transpose(self, v: Vectors) -> Vectors:
        """Return S'^-1 v."""

    @property
    @abc.abstractmethod
    def log_det(self) -> Values:
        """The log of |det S|."""

    @abc.abstractmethod
    def times(self, factor: float) -> "Scale":
        """Return the scale `factor` S."""

    def matmul(self, matrix: Float[AnyArray, "dim k"]) -> Float[AnyArray, "dim k"]:
        """Return the product S @ matrix."""
        return self.apply(matrix.T).T

    @property
    def matrix(self) -> Matrix:
        """S as a matrix."""
        return self.apply(np.eye(self.dim)).T

    @property
    def tril(self) -> Matrix:
        """The lower triangular L, with a positive diagonal, such that L L' = S S'."""
        return tril_of_root(np.asarray(self.matrix))

    @property
    def covariance(self) -> Matrix:
        """S S' as a matrix."""
        matrix = self.matrix
        return matrix @ matrix.T

    @property
    def precision(self) -> Matrix:
        """The inverse of S S' as a matrix."""
        columns = self.solve(np.eye(self.dim))  # row i is S^-1 e_i
        return columns @ columns.T

    @property
    def sd(self) -> Float[AnyArray, " dim"]:
        """The sd of each coordinate: the root of the diagonal of S S'."""
        return (self.matrix**2).sum(axis=1) ** 0.5

    @property
    def conditional_sd(self) -> Float[AnyArray, " dim"]:
        """The sd of each coordinate given all others: 1 / sqrt of the diagonal of the inverse of S S'."""
        return 1 / (self.solve(np.eye(self.dim)) ** 2).sum(axis=1) ** 0.5


@pytree
class Diagonal(Scale):
    """The standard deviations of independent coordinates.

    Attributes:
        sds: the standard deviations, of shape (dim,).
    """

    sds: Float[AnyArray, " dim"]

    @property
    def dim(self) -> int:
        return self.sds.shape[0]

    def apply(self, u: Vectors) -> Vectors:
        return self.sds * u

    def apply_transpose(self, v: Vectors) -> Vectors:
        return self.sds * v

    def solve(self, x: Vectors) -> Vectors:
        return x / self.sds

    def solve_transpose(self, v: Vectors) -> Vectors:
        return v / self.sds

    @property
    def log_det(self) -> Values:
        return namespace(self.sds).log(self.sds).sum()

    def times(self, factor: float) -> "Diagonal":
        return Diagonal(factor * self.sds)

    def matmul(self, matrix: Float[AnyArray, "dim k"]) -> Float[AnyArray, "dim k"]:
        return self.sds[:, None] * matrix

    @property
    def matrix(self) -> Matrix:
        return namespace(self.sds).diag(self.sds)

    @property
    def tril(self) -> Matrix:
        return self.matrix

    @property
    def precision(self) -> Matrix:
        return namespace(self.sds).diag(1 / self.sds**2)

    @property
    def sd(self) -> Float[AnyArray, " dim"]:
        return self.sds

    @property
    def conditional_sd(self) -> Float[AnyArray, " dim"]:
        return self.sds


@pytree
class Root(Scale):
    """Any square matrix, such as a symmetric root, or directions times lengths.

    Attributes:
        root: the matrix S, of shape (dim, dim).
    """

    root: Matrix

    @property
    def dim(self) -> int:
        return self.root.shape[0]

    def apply(self, u: Vectors) -> Vectors:
        return self.root @ u if u.ndim == 1 else u @ self.root.T

    def apply_transpose(self, v: Vectors) -> Vectors:
        return v @ self.root

    def solve(self, x: Vectors) -> Vectors:
        return self.solve_columns(x, transpose=False)

    def solve_transpose(self, v: Vectors) -> Vectors:
        return self.solve_columns(v, transpose=True)

    def solve_columns(self, x: Vectors, *, transpose: bool) -> Vectors:
        """Solve with all vectors as the columns of one matrix."""
        return self.solved(x.reshape(-1, self.dim).T, transpose).T.reshape(x.shape) if x.size else x

    def solved(self, columns: AnyArray, transpose: bool) -> AnyArray:
        """Return S^-1, or S'^-1, times a matrix."""
        return namespace(self.root, columns).linalg.solve(self.root.T if transpose else self.root, columns)

    @property
    def log_det(self) -> Values:
        return namespace(self.root).linalg.slogdet(self.root)[1]

    def times(self, factor: float) -> "Root":
        return type(self)(factor * self.root)

    def matmul(self, matrix: Float[AnyArray, "dim k"]) -> Float[AnyArray, "dim k"]:
        return self.root @ matrix

    @property
    def matrix(self) -> Matrix:
        return self.root


@pytree
class Triangular(Root):
    """A Cholesky factor of the covariance: lower triangular, with a positive diagonal."""

    def solved(self, columns: AnyArray, transpose: bool) -> AnyArray:
        if namespace(self.root, columns) is jnp:
            return jax.scipy.linalg.solve_triangular(self.root, columns, lower=True, trans="T" if transpose else "N")
        if not np.diagonal(self.root).all():
            raise np.linalg.LinAlgError("a scale is singular: its diagonal has a zero")
        # SciPy's solve_triangular calls LAPACK's trtrs, for which OpenBLAS starts threads however small the matrix is:
        # on a busy machine milliseconds instead of a microsecond. BLAS reads columns first, and so the transpose of a
        # matrix without copying it. Numbers that are not finite come back as such.
        return blas.dtrsm(1.0, self.root.T, columns, lower=0, trans_a=int(not transpose))

    @property
    def log_det(self) -> Values:
        xp = namespace(self.root)
        return xp.log(xp.diagonal(self.root)).sum()

    @property
    def tril(self) -> Matrix:
        return self.root


@pytree
class Inverse(Scale):
    """The inverse S = R^-1 of another scale, for a precision R' R.

    It is also a quick way to whiten many vectors in a compiled program: a product with R is far quicker there than
    solving with S.

    Attributes:
        of: the scale R.
    """

    of: Scale

    @property
    def dim(self) -> int:
        return self.of.dim

    def apply(self, u: Vectors) -> Vectors:
        return self.of.solve(u)

    def apply_transpose(self, v: Vectors) -> Vectors:
        return self.of.solve_transpose(v)

    def solve(self, x: Vectors) -> Vectors:
        return self.of.apply(x)

    def solve_transpose(self, v: Vectors) -> Vectors:
        return self.of.apply_transpose(v)

    @property
    def log_det(self) -> Values:
        return -self.of.log_det

    def times(self, factor: float) -> "Inverse":
        return Inverse(self.of.times(1 / factor))


def scale_of(factor: AnyArray) -> Diagonal | Triangular:
    """Return the scale of these standard deviations, of shape (dim,), or this Cholesky factor, of shape (dim, dim)."""
    return Diagonal(factor) if factor.ndim == 1 else Triangular(factor)
