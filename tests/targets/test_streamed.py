"""Rows read in blocks: the same density as that of arrays, posteriors known in closed form, and refusals."""

import sys
import tracemalloc
import warnings

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer.autoguide import AutoNormal
from tiers import exhaustive_after

import vi_kl
from vi_kl import Target
from vi_kl.core.errors import ModelError, ModelWarning, UnsuitableError
from vi_kl.core.precision import in_float64
from vi_kl.families.guide import GuideError
from vi_kl.reference import reference_run
from vi_kl.targets import price, rows, streamed
from vi_kl.targets.row_sources import ArrayRows, MissingExtraError, ParquetRows
from vi_kl.targets.some_rows import part_of_rows, some_rows
from vi_kl.targets.target import log_density_in_chunks, value_and_grad_batch

N, SIZE, PIECE = 230, 50, 37  # rows of a source, of a block, and of what the source gives at a time


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(streamed, "BLOCK_BYTES", 1)
    monkeypatch.setattr(streamed, "FEWEST_ROWS", SIZE)


def grouped(x, y, group, num_groups, prior_sd):
    """Rows that pick among latent variables, in types of their own, beside arguments that have no rows."""
    scale = numpyro.sample("scale", dist.HalfNormal(1))
    u = numpyro.sample("u", dist.Normal(0, prior_sd).expand([num_groups]).to_event(1))
    b = numpyro.sample("b", dist.Normal(0, prior_sd[:2]).to_event(1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(x @ b + u[group] + 0.01 * jnp.arange(len(y)), scale), obs=y)


def data(n=N):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((n, 2)).astype(np.float32)
    return {"x": x, "y": generator.standard_normal(n), "group": generator.integers(0, 7, n).astype(np.int8)}


class Halves:
    """A source of one's own, which is all that the contract asks for."""

    num_rows = N

    def __iter__(self):
        yield {name: array[: N // 2] for name, array in data().items()}
        yield {name: array[N // 2 :] for name, array in data().items()}


@pytest.mark.parametrize("source", exhaustive_after(1, [Halves(), ArrayRows(**data(), piece=PIECE)]))
def test_blocks_give_the_log_density_of_the_arrays(source):
    rest = {"num_groups": 7, "prior_sd": np.linspace(1.0, 2.0, 7)}
    whole = Target.from_numpyro(grouped, **data(), **rest)
    target = Target.from_numpyro(grouped, rows=source, **rest)
    assert target.site_names == whole.site_names
    z = np.random.default_rng(1).standard_normal((70, target.dim))
    for of in (log_density_in_chunks, value_and_grad_batch):
        for one, other in zip(map(np.asarray, in_float64(of)(target, z)), in_float64(of)(whole, z), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(target.log_density(z[0]), whole.log_density(z[0]), rtol=1e-10)
    np.testing.assert_allclose(target.constrain(z)["scale"], whole.constrain(z)["scale"], rtol=1e-12)


# A posterior in closed form ----------------------------------------------------------------------------------------


def regression(x, y):
    b = numpyro.sample("b", dist.Normal(0, 10).expand([3]).to_event(1))
    numpyro.sample("y", dist.Normal(x @ b, 0.5), obs=y)


@pytest.mark.parametrize("in_memory", [False, True])
def test_the_default_finds_a_posterior_that_the_sufficient_statistics_give(in_memory, monkeypatch):
    """Linear regression with a known sd: the posterior is a normal, and so is Laplace's, which climbs on some rows."""
    monkeypatch.setattr(price, "FULL_PRICE", 500)
    monkeypatch.setattr(streamed, "FEWEST_ROWS", 1500)  # three blocks
    generator = np.random.default_rng(2)
    x = generator.standard_normal((4000, 3))
    y = x @ [1.0, -2.0, 0.5] + 0.5 * generator.standard_normal(4000)
    monkeypatch.setattr(rows, "LARGE", 1000)
    given = {"x": x, "y": y} if in_memory else {"rows": ArrayRows(x=x, y=y, piece=999)}
    target = Target.from_numpyro(regression, **given)
    fit = vi_kl.fit(target, key=0, progress=False)
    precision = x.T @ x / 0.25 + np.eye(3) / 100
    mean = np.linalg.solve(precision, x.T @ y / 0.25)
    np.testing.assert_allclose(fit.approximation.params["loc"], mean, atol=1e-4 / np.sqrt(precision.max()))
    q = fit.approximation.family.normal(fit.approximation.params)
    np.testing.assert_allclose(q.scale.precision, precision, rtol=1e-5)
    assert part_of_rows(some_rows(target)) < 1 / 8
    certificate = vi_kl.check(fit, key=1, progress=False)
    assert certificate.reverse_kl.value < 1e-5
    assert "begin on 256 random rows and end on all" in certificate.cannot_see


@pytest.mark.landing
def test_a_pass_holds_a_few_blocks_at_a_time():
    class Drawn:
        """Rows that are never all in memory."""

        num_rows = 100 * SIZE

        def __iter__(self):
            for seed in range(100):
                noise = np.random.default_rng(seed).standard_normal((SIZE, 101))
                yield {"x": noise[:, 1:], "y": noise[:, 0]}

    def wide(x, y):
        b = numpyro.sample("b", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(b * x.sum(axis=1), 1.0), obs=y)

    target = Target.from_numpyro(wide, rows=Drawn())
    target.log_density(np.zeros(1))
    tracemalloc.start()
    target.log_density(np.zeros(1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.3 * Drawn.num_rows * 101 * 8


# Refusals ----------------------------------------------------------------------------------------------------------


def centred(x, y, group):
    numpyro.sample(
        "y", dist.Normal((x - x.mean(axis=0)) @ numpyro.sample("b", dist.Normal(jnp.zeros(2), 1.0)), 1), obs=y
    )


def averaged(x, y, group):
    b = numpyro.sample("b", dist.Normal(jnp.zeros(2), 1.0))
    numpyro.factor("fit", -((y - x @ b) ** 2).mean())


def counted(x, y, group):
    b = numpyro.sample("b", dist.Normal(jnp.zeros(2), 1.0))
    u = numpyro.sample("u", dist.Normal(0, 1).expand([int(group.max()) + 1]))
    numpyro.sample("y", dist.Normal(x @ b + u[group], 1.0), obs=y)


def with_a_latent_for_each_row(x, y, group):
    u = numpyro.sample("u", dist.Normal(0, 1).expand([len(y)]))
    numpyro.sample("y", dist.Normal(u, 1.0), obs=y)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (centred, "a sum over the rows beside the rows"),
        (averaged, "depends on the number of its rows"),
        (counted, "needs the numbers of 'group' in Python"),
        (with_a_latent_for_each_row, "must be a sum over them"),
    ],
)
def test_models_whose_rows_are_not_apart(model, words):
    with pytest.raises(ModelError, match=words):
        Target.from_numpyro(model, rows=ArrayRows(**data()))


def line(x, y):
    slope = numpyro.sample("slope", dist.Normal(0, 5))
    scale = numpyro.sample("scale", dist.HalfNormal(1))
    with numpyro.plate("rows", len(x)):
        numpyro.sample("y", dist.Normal(slope * x, scale), obs=y)


def in_their_mean(x, y):
    slope = numpyro.sample("slope", dist.Normal(0, 5))
    numpyro.factor("fit", dist.Normal(slope * x, 1.0).log_prob(y).sum() / len(x))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_few_rows_are_a_source_too(n):
    x = np.arange(1.0, n + 1)
    z = np.array([[0.3, -0.4], [1.0, 0.2]])
    target, whole = Target.from_numpyro(line, rows=ArrayRows(x=x, y=x + 0.1)), Target.from_numpyro(line, x, x + 0.1)
    found, expected = (np.asarray(in_float64(log_density_in_chunks)(each, z)) for each in (target, whole))
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    if n > 1:  # the mean of one is its sum
        with pytest.raises(ModelError, match="number of its rows"):
            Target.from_numpyro(in_their_mean, rows=ArrayRows(x=x, y=x + 0.1))


def test_sources_that_are_none():
    class Short(Halves):
        num_rows = N + 1

    class Changing(Halves):
        def __iter__(self):
            for i, piece in enumerate(super().__iter__()):
                yield piece | {"y": piece["y"].astype(np.float32 if i else float)}

    rest = {"num_groups": 7, "prior_sd": np.ones(7)}
    with pytest.raises(ModelError, match="says that it has 231 rows, and gave 230"):
        Target.from_numpyro(grouped, rows=Short(), **rest).log_density(np.zeros(10))
    with pytest.raises(ModelError, match=r"'y' float64, .* first, then .*'y' float32"):
        Target.from_numpyro(grouped, rows=Changing(), **rest).log_density(np.zeros(10))
    with pytest.raises(ModelError, match="'y' is given by the source of rows and by itself"):
        Target.from_numpyro(grouped, rows=Halves(), y=np.zeros(N), **rest)
    with pytest.raises(ModelError, match="the same number of rows"):
        ArrayRows(x=np.zeros(3), y=np.zeros(4))


def test_what_runs_the_density_in_a_program_of_its_own_says_what_can_be_done():
    target = Target.from_numpyro(regression, rows=ArrayRows(x=np.ones((N, 3)), y=np.zeros(N)))
    with pytest.raises(UnsuitableError, match=r"reads its rows in blocks .* Fit it by the default"):
        reference_run(target, key=0, progress=False)
    with pytest.raises(GuideError, match=r"whose rows are read in blocks, .* own families .* or pass the rows"):
        vi_kl.fit(target, AutoNormal, key=0, progress=False)


def test_an_argument_called_rows_that_is_no_source_is_the_models():
    def model(rows):
        numpyro.sample("y", dist.Normal(numpyro.sample("b", dist.Normal(0, 1)), 1.0), obs=rows)

    assert Target.from_numpyro(model, rows=np.zeros(3)).dim == 1


# Parquet -----------------------------------------------------------------------------------------------------------


def test_parquet_rows(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = data()
    columns = {"a": rows["x"][:, 0], "b": rows["x"][:, 1], "y": rows["y"], "group": rows["group"]}
    for i, part in enumerate((slice(0, 100), slice(100, N))):
        table = pyarrow.table({name: column[part] for name, column in columns.items()})
        parquet.write_table(table, tmp_path / f"{i}.parquet", row_group_size=30)
    source = ParquetRows(tmp_path, x=["a", "b"], y="y", group="group", piece=PIECE)
    assert source.num_rows == N
    found = list(source)
    for name, array in rows.items():
        np.testing.assert_array_equal(np.concatenate([piece[name] for piece in found]), array)
        assert found[0][name].dtype == array.dtype
    with pytest.raises(ModelError, match="has no column c; it has a, b, y, group"):
        ParquetRows(tmp_path / "0.parquet", x="c")
    with pytest.raises(ModelError, match="There is no Parquet file"):
        ParquetRows(tmp_path / "other", x="a")
    parquet.write_table(pyarrow.table({"a": pyarrow.array([1.0, None])}), tmp_path / "missing.parquet")
    with pytest.raises(ModelError, match=r"Column 'a' of .* has missing values"):
        list(ParquetRows(tmp_path / "missing.parquet", a="a"))


def test_without_pyarrow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"vi_kl\[parquet\]"):
        ParquetRows("rows.parquet", x="a")


def picked(rate, group, y):
    effect = numpyro.sample("effect", dist.Normal(0, 1).expand([3]).to_event(1))
    numpyro.sample("y", dist.Exponential(jnp.exp(effect[group]) * rate), obs=y)


def rows_with(**changes):
    """Rows of which the last has these values."""
    rows = {"group": np.arange(N) % 3, "y": 1.0 + np.arange(N) % 5}
    for name, value in changes.items():
        rows[name][-1] = value
    return ArrayRows(piece=PIECE, **rows)


def test_an_index_of_any_block_that_lies_outside_is_told():
    with pytest.warns(ModelWarning, match="made of 'group' goes from 0 to 3, and 'effect' has 3 entries") as told:
        Target.from_numpyro(picked, 1.0, rows=rows_with(group=3))
    assert len(told) == 1
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Target.from_numpyro(picked, 1.0, rows=rows_with())


@pytest.mark.parametrize(
    ("value", "words"),
    [(-1.0, "'y' is not finite in 1 place.*inside the support"), (np.nan, "'y' holds 1 NaN value")],
)
def test_an_observation_of_a_later_block_that_cannot_be_is_named_with_its_rows(value, words):
    target = Target.from_numpyro(picked, 1.0, rows=rows_with(y=value))
    with pytest.raises(UnsuitableError, match=rf"{words}.* The first are among rows 201 to 230 of the source\."):
        vi_kl.fit(target, "laplace", key=0)
