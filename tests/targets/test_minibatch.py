"""Minibatches: the mean over all subsets of rows is the density of all rows, and what would be biased is refused."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.infer.autoguide import AutoNormal
from scipy import stats

from vi_kl.families.guide import guide_family
from vi_kl.targets import ArrayRows, Target
from vi_kl.targets.minibatch import draw_rows, minibatch, with_rows
from vi_kl.targets.numpyro.model import ModelError
from vi_kl.targets.target import log_density

pytestmark = pytest.mark.usefixtures("compiled_quickly")
Y = np.array([0.3, 1.9, -0.4, 2.2, 0.8])


def regression(y, batch=None):
    """A global mean, a latent level for each row, bounded by a global scale, and data: indexed and by `subsample`."""
    loc = numpyro.sample("loc", dist.Normal(0, 2))
    scale = numpyro.sample("scale", dist.Exponential(1.0))
    with numpyro.plate("rows", len(y), subsample_size=batch) as rows:
        level = numpyro.sample("level", dist.Uniform(-scale, scale))
        mix = numpyro.sample("mix", dist.Dirichlet(jnp.ones(3)))
        numpyro.factor("push", 0.3 * y[rows] * loc)
        numpyro.sample("y", dist.Normal(loc + level + mix[:, 0], 1), obs=numpyro.subsample(y, event_dim=0))


def crossed(y, rows=None, columns=None):
    """Two subsampling plates, with a latent variable in each and in both."""
    loc = numpyro.sample("loc", dist.Normal(0, 2))
    plate_rows = numpyro.plate("rows", y.shape[0], subsample_size=rows, dim=-2)
    plate_columns = numpyro.plate("columns", y.shape[1], subsample_size=columns, dim=-1)
    with plate_rows:
        a = numpyro.sample("a", dist.Normal(loc, 1))
    with plate_columns:
        b = numpyro.sample("b", dist.LogNormal(0, 1))
    with plate_rows as i, plate_columns as j:
        c = numpyro.sample("c", dist.Normal(0, b))
        numpyro.sample("y", dist.Normal(a + c, 1), obs=y[i[:, None], j])


def panel(y, batch=None):
    """A plate inside a scan: random walks of several individuals."""
    size = y.shape[1]

    def step(x, y):
        with numpyro.plate("individuals", size, subsample_size=batch) as rows:
            x = numpyro.sample("x", dist.Normal(0.5 * x, scale))
            numpyro.sample("y", dist.Normal(x, 1), obs=y[rows])
        return x, None

    scale = numpyro.sample("scale", dist.LogNormal(0, 1))
    with numpyro.plate("individuals", size, subsample_size=batch):
        start = numpyro.sample("start", dist.Normal(0, 1))
    scan(step, start, y)


def estimates(target, z, rows: dict):
    """Values and gradients of the estimate at z, for many choices of rows."""
    one = lambda rows: jax.value_and_grad(lambda z: log_density(with_rows(target, rows), z))(z)  # noqa: E731
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))({k: jnp.asarray(v) for k, v in rows.items()}))


def full(target, z):
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, jax.jit(jax.value_and_grad(lambda z: log_density(target, z)))(z))


@pytest.mark.landing
def test_a_subsampled_model_is_the_posterior_given_all_rows():
    whole, target = Target.from_numpyro(regression, Y), Target.from_numpyro(regression, Y, batch=2)
    z = np.random.default_rng(0).normal(size=(3, target.dim))
    assert (whole.subsampled, target.subsampled) == (False, True)
    assert whole.sites == target.sites
    np.testing.assert_allclose(target.log_density(z), whole.log_density(z), rtol=1e-12)
    for name, value in target.constrain(z).items():
        np.testing.assert_allclose(value, whole.constrain(z)[name], rtol=1e-12)
    np.testing.assert_allclose(target.unconstrain(target.constrain(z)), z, rtol=1e-8)


@pytest.mark.landing
def test_the_mean_over_all_subsets_is_the_density_of_all_rows():
    target = Target.from_numpyro(regression, Y, batch=2)
    z = np.random.default_rng(1).normal(size=target.dim)
    subsets = np.array(list(itertools.combinations(range(len(Y)), 2)))
    values, gradients = estimates(target, z, {"rows": subsets})
    value, gradient = full(target, z)
    assert values.std() > 0.1
    np.testing.assert_allclose(values.mean(), value, rtol=1e-12)
    np.testing.assert_allclose(gradients.mean(0), gradient, rtol=1e-11, atol=1e-12)


@pytest.mark.landing
def test_crossed_subsampling_plates():
    y = np.random.default_rng(2).normal(size=(4, 3))
    target = Target.from_numpyro(crossed, y, rows=2, columns=2)
    z = np.random.default_rng(3).normal(size=target.dim)
    pairs = list(itertools.product(itertools.combinations(range(4), 2), itertools.combinations(range(3), 2)))
    rows = {"rows": np.array([i for i, _ in pairs]), "columns": np.array([j for _, j in pairs])}
    values, gradients = estimates(target, z, rows)
    value, gradient = full(Target.from_numpyro(crossed, y), z)
    np.testing.assert_allclose(values.mean(), value, rtol=1e-12)
    np.testing.assert_allclose(gradients.mean(0), gradient, rtol=1e-11, atol=1e-12)


@pytest.mark.landing
def test_a_plate_inside_a_scan():
    y = np.random.default_rng(9).normal(size=(6, 4))
    target = Target.from_numpyro(panel, y, batch=2)
    z = np.random.default_rng(10).normal(size=target.dim)
    values, gradients = estimates(target, z, {"individuals": np.array(list(itertools.combinations(range(4), 2)))})
    value, gradient = full(Target.from_numpyro(panel, y), z)
    np.testing.assert_allclose(values.mean(), value, rtol=1e-12)
    np.testing.assert_allclose(gradients.mean(0), gradient, rtol=1e-11, atol=1e-12)
    sites = target.constrain(z)
    assert sites["x"].shape == (6, 4)
    np.testing.assert_allclose(target.unconstrain(sites), z, rtol=1e-9)


@pytest.mark.parametrize(("size", "batch"), [(6, 2), (5, 4), (4, 4)])
def test_rows_are_drawn_without_replacement_and_all_subsets_alike(size, batch):
    draws = jax.jit(jax.vmap(lambda key: draw_rows(key, size, batch)))(jax.random.split(jax.random.key(4), 6000))
    sets = np.sort(draws, axis=1)
    assert (np.diff(sets, axis=1) > 0).all()
    assert sets.min() == 0
    assert sets.max() == size - 1
    subsets = list(itertools.combinations(range(size), batch))
    counts = [int((sets == subset).all(axis=1).sum()) for subset in subsets]
    assert sum(counts) == 6000
    assert len(subsets) == 1 or stats.chisquare(counts).pvalue > 1e-3


def test_many_rows_are_drawn_at_the_cost_of_the_batch():
    program = jax.jit(lambda key: draw_rows(key, 10**9, 50)).lower(jax.random.key(0)).compile()
    rows = np.asarray(program(jax.random.key(5)))
    assert len(set(rows.tolist())) == 50
    assert program.memory_analysis().temp_size_in_bytes < 10**5


@pytest.mark.exhaustive
def test_minibatches_are_deterministic_given_the_key_and_traceable():
    target = Target.from_numpyro(regression, Y, batch=2)
    z = jnp.zeros(target.dim)
    one = lambda key: log_density(minibatch(target, key), z)  # noqa: E731
    keys = jax.random.split(jax.random.key(6), 20)
    many = np.asarray(jax.jit(jax.vmap(one))(keys))
    assert len(set(many.tolist())) > 3
    np.testing.assert_allclose(jax.jit(lambda keys: jax.lax.map(one, keys))(keys), many, rtol=1e-6)


def test_stochastic_gradients_reach_the_posterior_given_all_rows():
    """Normal mean with known variance: mean-field on minibatches of 8 of 60 rows."""
    y = np.random.default_rng(7).normal(1.5, 1.0, 60)

    def model(y):
        loc = numpyro.sample("loc", dist.Normal(0, 3))
        with numpyro.plate("rows", len(y), subsample_size=8) as rows:
            numpyro.sample("y", dist.Normal(loc, 1), obs=y[rows])

    target = Target.from_numpyro(model, y)

    def loss(params, key):
        rows, base = jax.random.split(key)
        part = minibatch(target, rows)
        z = params[0] + jnp.exp(params[1]) * jax.random.normal(base, (16, 1))
        return -jax.vmap(lambda z: log_density(part, z))(z).mean() - params[1]

    def step(params, both):
        key, rate = both
        params = params - rate * jax.grad(loss)(params, key)
        return params, params

    with jax.enable_x64(True):
        keys, rates = jax.random.split(jax.random.key(8), 4000), 0.02 / (1 + jnp.arange(4000) / 20)
        path = np.asarray(jax.jit(lambda: jax.lax.scan(step, jnp.array([0.0, -1.0]), (keys, rates))[1])())
    precision = len(y) + 1 / 9
    answer = path[2000:].mean(axis=0)
    np.testing.assert_allclose(answer[0], y.sum() / precision, atol=0.2 / np.sqrt(precision))
    np.testing.assert_allclose(np.exp(answer[1]), 1 / np.sqrt(precision), rtol=0.05)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "guide", ["automatic", pytest.param("made for the model", marks=pytest.mark.exhaustive), "written"]
)
def test_guides_see_all_rows(guide):
    def model(y):
        loc = numpyro.sample("loc", dist.Normal(0, 2))
        with numpyro.plate("rows", len(y), subsample_size=2) as rows:
            level = numpyro.sample("level", dist.Normal(loc, 1))
            numpyro.sample("y", dist.Normal(level, 1), obs=y[rows])

    def written(y):
        numpyro.sample("loc", dist.Normal(numpyro.param("m", 0.5), 1))
        with numpyro.plate("rows", len(y), subsample_size=2) as rows:
            centre = numpyro.param("centre", jnp.arange(5.0))
            numpyro.sample("level", dist.Normal(centre[rows], 1))

    target = Target.from_numpyro(model, Y)
    guides = {"automatic": AutoNormal, "made for the model": AutoNormal(model), "written": written}
    family = guide_family(guides[guide], target)
    with jax.enable_x64(True):
        params = family.init(jax.random.key(0), target)
        z, log_q = jax.jit(lambda: family.sample_and_log_prob(params, target, jax.random.key(1), 3))()
        again = jax.jit(jax.vmap(lambda one: family.log_prob(params, target, one)))(z)
    assert z.shape == (3, 6)
    np.testing.assert_allclose(log_q, again, rtol=1e-10)
    if guide == "written":
        expected = stats.norm.logpdf(z, np.array([0, 1, 2, 3, 4, 0.5]), 1).sum(axis=1)
        np.testing.assert_allclose(log_q, expected, rtol=1e-10)


# Refusals ---------------------------------------------------------------------------------------------------------


def mean_of_rows(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    with numpyro.plate("rows", len(y), subsample_size=2) as rows:
        numpyro.sample("y", dist.Normal(loc + y[rows].mean(), 1), obs=y[rows])


def latent_used_outside(y):
    with numpyro.plate("rows", len(y), subsample_size=2) as rows:
        level = numpyro.sample("level", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(level, 1), obs=y[rows])
    numpyro.sample("total", dist.Normal(level.sum(), 1), obs=1.0)


def data_outside(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    with numpyro.plate("rows", len(y), subsample_size=2) as rows:
        numpyro.sample("y", dist.Normal(loc, 1), obs=y[rows])
    numpyro.factor("outside", -((y[rows] - loc) ** 2).sum())


def not_indexed(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    with numpyro.plate("rows", len(y), subsample_size=2):
        numpyro.sample("y", dist.Normal(loc, 1), obs=y)


def given_a_minibatch(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    with numpyro.plate("rows", 100, subsample_size=len(y)):
        numpyro.sample("y", dist.Normal(loc + y, 1), obs=y)


def observed_minibatch(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    with numpyro.plate("rows", 100, subsample_size=len(y)):
        numpyro.sample("y", dist.Normal(loc, 1), obs=y)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (mean_of_rows, ["'y'", "other rows", "inside the plate"]),
        (latent_used_outside, ["'total'", "other rows"]),
        (data_outside, ["'outside'", "other rows"]),
        (not_indexed, ["'rows' with 2 of 5 rows", "y[rows]"]),
        (given_a_minibatch, ["'rows' (5 of 100 rows)", "whole data"]),
        (observed_minibatch, ["'rows' (5 of 100 rows)", "whole data"]),
    ],
)
def test_what_a_minibatch_cannot_estimate_is_refused_by_name(model, words):
    with pytest.raises(ModelError) as raised:
        Target.from_numpyro(model, Y)
    for word in words:
        assert word in str(raised.value)


def test_minibatch_needs_a_subsampling_plate():
    with pytest.raises(ValueError, match="subsample_size"):
        minibatch(Target.from_numpyro(regression, Y), jax.random.key(0))


def fixed_number(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    with numpyro.plate("rows", len(y), subsample_size=10):
        numpyro.sample("y", dist.Normal(loc, 1), obs=numpyro.subsample(y, event_dim=0))


def test_a_minibatch_of_more_rows_than_there_are_is_refused_when_the_target_is_made():
    with pytest.raises(ModelError, match=r"10 rows .* only 9: write subsample_size=None there .* up to 9\."):
        Target.from_numpyro(fixed_number, np.zeros(9))
    assert not Target.from_numpyro(fixed_number, np.zeros(10)).subsampled
    # two thirds of the rows of a source, though half of them are looked at by themselves
    assert Target.from_numpyro(fixed_number, rows=ArrayRows(y=np.zeros(15))).dim == 1
