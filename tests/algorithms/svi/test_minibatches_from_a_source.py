"""SVI on rows that are read from a source: the law of its minibatches, its stated error, and refusals."""

import itertools
import tracemalloc

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats
from test_minibatches import (
    TRUE,
    X,
    exact_linear,
    exact_logistic,
    linear,
    linear_data,
    logistic,
    misses,
    stated,
)

from vi_kl.algorithms.svi import reading
from vi_kl.algorithms.svi.anchoring import Anchoring
from vi_kl.algorithms.svi.run import Run
from vi_kl.algorithms.svi.svi import SVI
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.precision import in_float64
from vi_kl.families.gaussian import FullRank
from vi_kl.objectives.forward_kl import ForwardKL
from vi_kl.objectives.objective import ObjectiveError
from vi_kl.targets import ArrayRows, ParquetRows, Target, streamed
from vi_kl.targets.anchored import Anchor
from vi_kl.targets.streamed_minibatch import (
    batch_size,
    for_minibatches,
    given_drawn,
    read_minibatches,
)
from vi_kl.targets.target import value_and_grad


def plain(x, y):
    """A logistic regression that says nothing of minibatches."""
    weights = numpyro.sample("weights", dist.Normal(0, 2.5).expand([x.shape[1]]).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=x @ weights), obs=y)


def in_order(x, y) -> dict:
    """The rows by the size of what is observed, as a file may hold them."""
    order = np.argsort(y, kind="stable")
    return {"x": x[order], "y": y[order]}


# The law of the minibatches ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_a_minibatch_is_unbiased_whatever_the_weight_of_its_anchor(monkeypatch, weight):
    """Over all subsets of rows that are read out of two blocks, against the value and the gradient given all."""
    monkeypatch.setattr(streamed, "BLOCK_BYTES", 1)
    monkeypatch.setattr(streamed, "FEWEST_ROWS", 4)
    x, y = X[:5], np.array([0, 1, 1, 0, 1])
    target = Target.from_numpyro(plain, rows=ArrayRows(x=x, y=y, piece=3))
    z, at = np.array([0.3, -0.2, 0.5]), np.array([0.1, 0.4, -0.3])
    of = in_float64(value_and_grad)
    value, gradient = of(target, at)
    anchored = for_minibatches(target, Anchor(at, value, gradient, np.asarray(weight)))
    subsets = np.array(list(itertools.combinations(range(5), 2)))[::-1]
    read = read_minibatches(target, subsets)
    np.testing.assert_array_equal(read.rows["y"], y[subsets])
    each = [jax.tree.map(lambda leaf: leaf[i], read) for i in range(len(subsets))]  # noqa: B023
    found = [of(given_drawn(anchored, one), z) for one in each]
    values, gradients = (np.mean([np.asarray(one[i]) for one in found], axis=0) for i in (0, 1))
    expected = of(Target.from_numpyro(plain, x, y), z)
    np.testing.assert_allclose(values, expected[0], rtol=1e-10)
    np.testing.assert_allclose(gradients, expected[1], rtol=1e-9, atol=1e-10)


def batches_of(num_rows: int, batch: int, **settings) -> Run:
    """A run on a linear regression whose plate asks for minibatches of this size, before its first step."""
    source = ArrayRows(**in_order(X[:num_rows], linear_data(X[:num_rows])))
    run = Run(
        SVI(FullRank(), **settings), jax.random.key(0), Target.from_numpyro(linear, rows=source, batch=batch), None
    )
    run.reading.begin(jax.random.key(1))
    return run


def test_every_row_comes_as_often_as_any_other_and_steps_know_nothing_of_one_another():
    """Across chunks too: two steps in a row share as many rows as two independent draws do.

    And neighbours in the source are no oftener in one minibatch than any other two rows.
    """
    run, number, size = batches_of(30, 6, chunk=5), 30, 6
    steps = np.concatenate([run.reading.numbers(chunk) for chunk in range(400)])
    assert steps.shape == (2000, size)
    assert all(len(set(step)) == size for step in steps)
    off = np.bincount(steps.ravel(), minlength=number) - len(steps) * size / number
    variance = len(steps) * size / number * (1 - size / number)
    # the counts add up to a constant, which makes the sum of squares chi-squared with one degree of freedom less
    assert stats.chi2(number - 1).sf((off**2).sum() / variance * (number - 1) / number) > 1e-3
    neighbours = np.mean([(np.diff(np.sort(step)) == 1).sum() for step in steps])
    chance = size * (size - 1) / number  # n - 1 pairs of neighbours, each with chance size (size - 1) / n / (n - 1)
    assert abs(neighbours - chance) < 4 * np.sqrt(chance / len(steps))
    shared = [len({*a} & {*b}) for a, b in itertools.pairwise(steps)]
    expected = stats.hypergeom(number, size, size)
    assert abs(np.mean(shared) - expected.mean()) < 4 * expected.std() / np.sqrt(len(shared))


def test_the_rows_of_a_chunk_are_those_of_its_number_whatever_a_pass_holds(monkeypatch):
    """And each chunk has other rows than the one before."""
    seen = {}
    for held in (1, 2**12, 2**25):  # one chunk, some, and all
        monkeypatch.setattr(reading, "HELD_BYTES", held)
        run, found = batches_of(1500, 20, chunk=4, max_steps=40), []
        for _ in range(10):
            run.reading.read()
            run.schedule.steps += 4
            found.append(run.reading.rows)
        seen[held] = found
        source = run.target.density.blocks.source
        for drawn in found:
            np.testing.assert_array_equal(drawn.rows["x"], source.arrays["x"][drawn.numbers])
            np.testing.assert_array_equal(drawn.rows["y"], source.arrays["y"][drawn.numbers])
    for one, *others in zip(*seen.values(), strict=True):
        for other in others:
            np.testing.assert_array_equal(one.numbers, other.numbers)
    assert len({drawn.numbers.tobytes() for drawn in found}) == 10


def test_the_plate_says_how_many_rows_a_minibatch_has():
    assert batch_size(batches_of(1500, 20).target) == 20
    rows = ArrayRows(x=X[:1500], y=X[:1500, 0] > 0)
    assert batch_size(Target.from_numpyro(plain, rows=rows)) == 1024
    wide = ArrayRows(x=np.zeros((1500, 1000)), y=X[:1500, 0] > 0)  # no more than a quarter of a megabyte
    assert batch_size(Target.from_numpyro(plain, rows=wide)) == 32
    assert batch_size(Target.from_numpyro(plain, rows=ArrayRows(x=X[:15], y=X[:15, 0] > 0))) == 15


# The answer --------------------------------------------------------------------------------------------------------


def test_svi_on_sorted_rows_of_a_memory_map_keeps_the_error_that_it_states(tmp_path):
    """Closed form; the rows are in the order of what is observed, so that a block stands for nothing but itself."""
    rows = in_order(X, linear_data(X))
    for name, array in rows.items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in rows}
    target = Target.from_numpyro(linear, rows=ArrayRows(**mapped), batch=100)
    mean, sd = exact_linear(rows["x"], rows["y"])
    fits = SVI(FullRank()).fit_many(jax.random.key(3), [target] * 4)
    errors, said = np.array([misses(fit, mean, sd) for fit in fits]), np.array([stated(fit) for fit in fits])
    assert all(fit.status.converged for fit in fits)
    assert max(len(fit.history.loss) for fit in fits) <= 3000  # with the control variate; 60,000 without
    assert np.sqrt(np.mean((errors / said[:, None, None]) ** 2)) < 1.1
    assert said.max() < 0.05


def parquet_of(folder, x, y) -> ParquetRows:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    names = [f"x{i}" for i in range(x.shape[1])]
    columns = {name: x[:, i] for i, name in enumerate(names)} | {"y": y}
    parquet.write_table(pyarrow.table(columns), folder / "rows.parquet", row_group_size=3000)
    return ParquetRows(folder / "rows.parquet", x=names, y="y")


def mapped_of(folder, x, y) -> ArrayRows:
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return ArrayRows(x=np.load(folder / "x.npy", mmap_mode="r"), y=np.load(folder / "y.npy", mmap_mode="r"))


WEIGHTS = np.array([*TRUE, 0.3, 0.0])


@pytest.mark.exhaustive
@pytest.mark.parametrize(("source", "anchored"), [(mapped_of, True), (parquet_of, True), (mapped_of, False)])
def test_it_finds_what_svi_in_memory_finds(tmp_path, monkeypatch, source, anchored):
    """A logistic regression of 20,000 rows and five columns, in eight keys, against quadrature and rows in memory."""
    if not anchored:
        monkeypatch.setattr(Anchoring, "move", lambda *args: None)
    rng = np.random.default_rng(7)
    x = rng.normal(size=(20_000, 5))
    rows = in_order(x, rng.random(20_000) < 1 / (1 + np.exp(-x @ WEIGHTS)))
    mean, sd = exact_logistic(**rows, nodes=5)
    targets = {
        "source": Target.from_numpyro(logistic, rows=source(tmp_path, **rows), batch=500),
        "memory": Target.from_numpyro(logistic, **rows, batch=500),
    }
    config, found = SVI(FullRank(), max_steps=2000 if anchored else 40_000), {}
    for name, target in targets.items():
        fits = [config.fit(jax.random.key(key), target) for key in range(8)]
        errors, said = np.array([misses(fit, mean, sd) for fit in fits]), np.array([stated(fit) for fit in fits])
        found[name] = errors
        assert np.isfinite(said).sum() >= 4
        relative = np.sqrt(np.nanmean((errors / said[:, None, None]) ** 2, axis=(0, 2)))
        print(name, anchored, relative, np.nanmedian(said), [len(fit.history.loss) for fit in fits])
        assert (relative < 1.1).all(), relative
    # the same errors, in law: means over the keys agree within their own spread, and so do the spreads
    off = stats.ttest_ind(found["source"], found["memory"], axis=0).pvalue.min()
    wide = stats.levene(found["source"].ravel(), found["memory"].ravel()).pvalue
    assert off > 1e-3 / found["source"][0].size
    assert wide > 1e-3


@pytest.mark.exhaustive
def test_a_checkpoint_goes_on_with_the_rows_that_the_run_would_have_seen(tmp_path, monkeypatch):
    """Though the run that was cut short had read some of the next chunks' rows, and a pass begins elsewhere."""
    target = batches_of(1500, 20).target
    config, key, path = SVI(FullRank(), max_steps=1000), jax.random.key(5), tmp_path / "fit.checkpoint"
    SVI(FullRank(), max_steps=300).fit(key, target, checkpoint=path)
    resumed, whole = config.fit(key, target, checkpoint=path), config.fit(key, target)
    for name, value in whole.approximation.params.items():
        np.testing.assert_array_equal(resumed.approximation.params[name], value)


def test_what_a_run_holds_does_not_grow_with_the_rows(monkeypatch):
    """Rows of a hundred numbers; a pass holds one chunk's minibatches of ten rows, and a few blocks of fifty."""
    monkeypatch.setattr(streamed, "BLOCK_BYTES", 1)
    monkeypatch.setattr(streamed, "FEWEST_ROWS", 50)
    monkeypatch.setattr(reading, "HELD_BYTES", 1)

    class Made:
        """Rows that are never all in memory."""

        def __init__(self, num_rows):
            self.num_rows = num_rows

        def __iter__(self):
            for seed in range(self.num_rows // 50):
                noise = np.random.default_rng(seed).standard_normal((50, 101))
                yield {"x": noise[:, 1:], "y": noise[:, 0]}

    def wide(x, y):
        b = numpyro.sample("b", dist.Normal(0, 1))
        with numpyro.plate("rows", len(y), subsample_size=10):
            seen, obs = numpyro.subsample(x, event_dim=1), numpyro.subsample(y, event_dim=0)
            numpyro.sample("y", dist.Normal(b * seen.sum(axis=1), 1.0), obs=obs)

    def peak(num_rows):
        run = Run(SVI(FullRank(), chunk=10), jax.random.key(0), Target.from_numpyro(wide, rows=Made(num_rows)), None)
        run.reading.begin(jax.random.key(1))
        run.reading.read()
        tracemalloc.start()
        run.reading.read()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(20_000) < peak(2000) + 0.02 * 20_000 * 101 * 8


# Refusals ----------------------------------------------------------------------------------------------------------


def test_what_minibatches_cannot_serve_says_so():
    target = batches_of(100, 10).target
    with pytest.raises(ObjectiveError, match="only the ELBO can be estimated without bias"):
        SVI(FullRank(), objective=ForwardKL()).fit(0, target)
    with pytest.raises(UnsuitableError, match="set num_restarts=1"):
        SVI(FullRank(), num_restarts=3).fit(0, target)
