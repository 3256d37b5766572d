"""Sparse factors against dense linear algebra."""

import jax
import numpy as np
import pytest
import scipy.sparse as sp

from vi_kl.core.gaussian import Gaussian
from vi_kl.core.precision import in_float64
from vi_kl.core.scales import Triangular
from vi_kl.core.sparse_cholesky import SparseStructure
from vi_kl.core.sparse_precision import SMALL, SparsePrecision


def pattern(kind: str, dim: int = 40) -> sp.csr_array:
    """An arrow, whose first coordinate meets all; a chain; independent coordinates; and one in which all meet."""
    found = sp.eye_array(dim, dtype=bool).tolil()
    if kind == "arrow":
        found[0, :] = True
    if kind == "chain":
        found.setdiag(True, 1)
    if kind == "full":
        found[:, :] = True
    return sp.csr_array(found)


KINDS = ("arrow", "chain", "independent", "full")
DIMS = (40, SMALL + 1)  # a factor that is written out whole, and one that is kept sparse


def example(kind: str, seed: int = 0, dim: int = 40):
    """A structure, the entries of a positive definite matrix in it on badly different scales, and the dense matrix."""
    structure = SparseStructure.of(pattern(kind, dim))
    rng = np.random.default_rng(seed)
    entries = rng.uniform(-0.4, 0.4, len(structure.rows)) / structure.dim
    entries[structure.diagonal] = 1.0
    sd = 10.0 ** rng.uniform(-3, 3, structure.dim)
    entries = entries * sd[structure.rows] * sd[structure.columns]
    dense = np.empty((structure.dim, structure.dim))
    dense[np.ix_(structure.order, structure.order)] = structure.matrix(entries).toarray()
    return structure, entries, dense


@pytest.mark.parametrize("kind", KINDS)
def test_entries_stand_where_two_coordinates_meet(kind):
    structure, entries, dense = example(kind)
    rows, columns = np.nonzero(pattern(kind).toarray())
    np.testing.assert_array_equal(entries[structure.places(rows, columns)], dense[rows, columns])
    np.testing.assert_array_equal(dense, dense.T)
    v = np.random.default_rng(1).normal(size=structure.dim)
    np.testing.assert_allclose(structure.product(entries, v), dense @ v, rtol=1e-12)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_scale_is_that_of_the_dense_matrix(kind, dim):
    structure, entries, dense = example(kind, dim=dim)
    scale = SparsePrecision.of(structure.order, structure.factor(entries))
    units = np.sqrt(np.diag(dense))
    covariance = np.linalg.inv(dense / np.outer(units, units)) / np.outer(units, units)
    np.testing.assert_allclose(
        scale.covariance * np.outer(units, units), covariance * np.outer(units, units), atol=1e-12
    )
    np.testing.assert_allclose(scale.sd, np.sqrt(np.diag(covariance)), rtol=1e-10)
    np.testing.assert_allclose(scale.conditional_sd, 1 / units, rtol=1e-10)
    assert scale.log_det == pytest.approx(-0.5 * np.linalg.slogdet(dense)[1], abs=1e-10)
    rng = np.random.default_rng(2)
    u = rng.normal(size=(3, structure.dim))
    np.testing.assert_allclose(scale.solve(scale.apply(u)), u, atol=1e-9)
    np.testing.assert_allclose(scale.solve_transpose(scale.apply_transpose(u)), u, atol=1e-9)
    matrix = scale.matrix
    np.testing.assert_allclose(scale.apply(u) * units, u @ matrix.T * units, atol=1e-9)
    np.testing.assert_allclose(scale.apply_transpose(u * units), (u * units) @ matrix, atol=1e-9)
    at = structure.order[structure.rows], structure.order[structure.columns]
    np.testing.assert_allclose(
        scale.precision_at(structure.rows, structure.columns) / (units[at[0]] * units[at[1]]),
        dense[at] / (units[at[0]] * units[at[1]]),
        atol=1e-12,
    )
    assert scale.times(2.0).log_det == pytest.approx(scale.log_det + structure.dim * np.log(2.0))


@pytest.mark.parametrize("kind", KINDS)
@in_float64
def test_compiled_operations_are_those_of_the_host(kind):
    structure, entries, _ = example(kind)
    normal = Gaussian(np.arange(40.0), SparsePrecision.of(structure.order, structure.factor(entries)))
    u = np.random.default_rng(3).normal(size=(2, 40))
    host = normal.unwhiten(u)
    compiled = jax.jit(lambda normal, u: (normal.unwhiten(u), normal.log_prob(normal.unwhiten(u)), normal.log_det))
    z, log_prob, log_det = compiled(normal, u)
    spread = normal.sd
    np.testing.assert_allclose((z - host) / spread, 0.0, atol=1e-9)
    np.testing.assert_allclose(log_prob, normal.log_prob(host), rtol=1e-9)
    assert float(log_det) == pytest.approx(normal.log_det)
    back = jax.jit(lambda scale, v: scale.apply_transpose(v))(normal.scale, u / spread)
    np.testing.assert_allclose(back, normal.scale.apply_transpose(u / spread), atol=1e-9)


def test_kl_to_another_scale_is_that_of_dense_factors():
    structure, entries, _ = example("arrow")
    sparse = Gaussian(np.zeros(40), SparsePrecision.of(structure.order, structure.factor(entries)))
    other = Gaussian(sparse.sd, Triangular(1.1 * sparse.scale.tril))
    dense_one = Gaussian(np.zeros(40), Triangular(sparse.scale.tril))
    assert sparse.kl(other) == pytest.approx(dense_one.kl(other))


@pytest.mark.parametrize("wrong", [-1.0, 0.0, np.nan, np.inf])
def test_what_is_not_positive_definite_has_no_factor(wrong):
    structure, entries, _ = example("arrow")
    entries[structure.diagonal[7]] = wrong
    assert structure.factor(entries) is None


def test_an_indefinite_matrix_with_a_positive_diagonal_has_no_factor():
    structure = SparseStructure.of(pattern("chain", 2))
    entries = np.where(structure.rows == structure.columns, 1.0, 2.0)
    assert structure.factor(entries) is None


def test_a_full_row_is_eliminated_last_and_fills_nothing():
    structure, entries, _ = example("arrow")
    assert structure.order[-1] == 0 or len(structure.factor(entries).data) == len(entries)
    large = SparseStructure.of(pattern("arrow", 5000))
    assert large.order[-1] == 0
