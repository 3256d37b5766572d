"""Targets of PyMC models: PyMC's own compiled log density, closed forms, labels, refusals."""

import importlib.util
import os
import subprocess
import sys

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

import vi_kl
from vi_kl.core.errors import UnsuitableError
from vi_kl.targets import Target
from vi_kl.targets.row_sources import MissingExtraError

HAS_PYMC = importlib.util.find_spec("pymc") is not None
needs_pymc = pytest.mark.skipif(not HAS_PYMC, reason="the extra vi_kl[pymc]")
if HAS_PYMC:
    from vi_kl.targets.pymc import import_pymc, settings_kept

    with settings_kept():
        import_pymc()
        import pymc as pm

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(10, 3))
SCHOOLS, ERRORS = np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
NAMES = list("ABCDEFGH")


def positive():
    pm.Normal("y", 0, pm.HalfNormal("scale", 2), observed=ROWS[:, 0])


def interval_of_another():
    low = pm.Uniform("low", -1, 2)
    pm.Normal("y", pm.Uniform("between", low, low + 3), 1, observed=ROWS[:, 0])


def simplex():
    pm.Multinomial("y", 10, pm.Dirichlet("share", np.array([1.0, 2.0, 3.0])), observed=[2, 3, 5])


def ordered():
    cut = pm.Normal("cut", 0, 2, shape=3, transform=pm.distributions.transforms.ordered, initval=[-1, 0, 1])
    pm.OrderedLogistic("y", eta=0.3, cutpoints=cut, observed=[0, 1, 2, 3])


def correlations():
    chol, _, _ = pm.LKJCholeskyCov("chol", n=3, eta=2, sd_dist=pm.Exponential.dist(1.0))
    pm.MvNormal("y", pm.Normal("mu", 0, 1, shape=3), chol=chol, observed=ROWS)


def potential():
    k = pm.Data("k", np.arange(1, 11))
    pm.Potential("third", -0.5 * pm.Normal("mu", 0, 1.0) ** 2 * (k * 0.5).sum() / 3)


def shaped_by_data():
    x = pm.Data("x", ROWS)
    slopes = pm.Normal("slopes", 0, 1, shape=x.shape[1])
    pm.Normal("y", x @ slopes, pm.HalfNormal("scale"), observed=np.arange(10.0), shape=x.shape[0])


KINDS = {f.__name__: f for f in (positive, interval_of_another, simplex, ordered, correlations, potential)}
KINDS["shaped_by_data"] = shaped_by_data


def model_of(write):
    with pm.Model() as model:
        write()
    return model


def points(target, model, n=20):
    """Return z, and each as PyMC's functions take it."""
    z = 0.7 * np.random.default_rng(1).normal(size=(n, target.dim))
    ends = np.cumsum([site.size for site in target.sites])[:-1]
    names = [model.rvs_to_values[model[site.name]].name for site in target.sites]
    shapes = [site.unconstrained_shape for site in target.sites]
    return z, [
        {name: part.reshape(shape) for name, part, shape in zip(names, np.split(one, ends), shapes, strict=True)}
        for one in z
    ]


def varies(x) -> np.ndarray:
    """Return numbers up to a constant: PyMC rounds some of its own to 32 bits."""
    return x - np.mean(x)


@needs_pymc
@pytest.mark.parametrize("kind", KINDS)
def test_the_log_density_and_the_jacobian_are_those_that_pymc_compiles(kind):
    model = model_of(KINDS[kind])
    target = Target.from_pymc(model)
    z, given = points(target, model)
    whole, bare = model.compile_logp(), model.compile_logp(jacobian=False)
    value = np.array([whole(point) for point in given])
    log_det = value - [bare(point) for point in given]
    np.testing.assert_allclose(varies(target.log_density(z)), varies(value), rtol=0, atol=1e-10)
    with jax.enable_x64(True):
        found = jax.jit(jax.vmap(lambda z: target.density.constrain(target.data, target.unravel(z))[1]))(z)
    np.testing.assert_allclose(found, log_det, rtol=0, atol=1e-10)
    np.testing.assert_allclose(target.unconstrain(target.constrain(z)), z, rtol=0, atol=1e-10)


@needs_pymc
def test_jacobians_in_closed_form():
    """log sigma; a logit of (low, low + 3); a softmax of two numbers and minus their sum, as PyMC has it."""
    scale = Target.from_pymc(model_of(positive))
    z = np.array([[-1.0], [0.4]])
    value = stats.halfnorm(scale=2).logpdf(np.exp(z[:, 0])) + z[:, 0]
    value += [stats.norm(0, np.exp(one)).logpdf(ROWS[:, 0]).sum() for one in z[:, 0]]
    np.testing.assert_allclose(varies(scale.log_density(z)), varies(value), rtol=0, atol=1e-12)

    between = Target.from_pymc(model_of(interval_of_another))
    assert between.site_names == ("low", "between")
    share = stats.logistic.cdf(z := np.array([0.3, -0.8]))
    sites = between.constrain(z)
    np.testing.assert_allclose(sites["low"], -1 + 3 * share[0], rtol=1e-12)
    np.testing.assert_allclose(sites["between"], sites["low"] + 3 * share[1], rtol=1e-12)
    value = stats.logistic.logpdf(z).sum() + stats.norm(sites["between"], 1).logpdf(ROWS[:, 0]).sum()
    # the uniform densities cancel the widths, and log(sqrt(2 pi)) has 32 bits in each of the ten rows
    np.testing.assert_allclose(between.log_density(z), value, rtol=0, atol=2e-8)

    shares = Target.from_pymc(model_of(simplex))
    logits = np.array([0.3, -0.8, 0.5])
    p = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(shares.constrain(logits[:2])["share"], p, rtol=1e-12)
    z, p_of = RNG.normal(size=(5, 2)), lambda z: np.append(z, -z.sum())
    p = np.array([np.exp(p_of(one)) / np.exp(p_of(one)).sum() for one in z])
    # prior x likelihood ~ p^(3, 5, 8) / p, and the volume ~ p1 p2 p3
    np.testing.assert_allclose(varies(shares.log_density(z)), varies(np.log(p) @ [3, 5, 8]), rtol=0, atol=1e-12)


def schools_in_numpyro():
    mu, tau = numpyro.sample("mu", dist.Normal(0, 5)), numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("school", 8):
        shift = numpyro.sample("shift", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(mu + tau * shift, ERRORS), obs=SCHOOLS)


def schools(errors=ERRORS, name=""):
    with pm.Model(coords={"school": NAMES}, name=name) as model:
        errors = pm.Data("errors", errors, dims="school")
        mu, tau = pm.Normal("mu", 0, 5), pm.HalfCauchy("tau", 5)
        shift = pm.Normal("shift", 0, 1, dims="school")
        effect = pm.Deterministic("effect", mu + tau * shift, dims="school")
        pm.Normal("y", effect, errors, observed=SCHOOLS, dims="school")
    return model


@needs_pymc
def test_one_posterior_in_pymc_and_in_numpyro():
    """The order of z is the model's, and NumPyro's the alphabet's."""
    ours, other = Target.from_pymc(schools()), Target.from_numpyro(schools_in_numpyro)
    assert ours.site_names == ("mu", "tau", "shift")
    z = np.random.default_rng(2).normal(size=(100, 10))
    sites = ours.constrain(z)
    there = np.asarray(other.unconstrain({name: sites[name] for name in other.site_names}))
    np.testing.assert_allclose(varies(ours.log_density(z)), varies(other.log_density(there)), rtol=0, atol=1e-10)
    kl = [vi_kl.check(vi_kl.fit(t, "full_rank", key=0), key=1).reverse_kl for t in (ours, other)]
    assert abs(kl[0].value - kl[1].value) < 4 * np.hypot(kl[0].standard_error, kl[1].standard_error)


@needs_pymc
def test_names_of_axes_and_entries_come_with_the_model():
    model = schools()
    target = Target.from_pymc(model)
    fit = vi_kl.fit(target, "laplace", key=0)
    rows = list(fit.summary(1, 500).to_dataframe().index)
    assert "shift[C]" in rows
    assert "effect[H]" in rows
    assert "effect[new]" in list(fit.summary(1, 500, coords={"school": ["new", *NAMES[1:]]}).to_dataframe().index)
    pytest.importorskip("arviz_base")
    posterior = fit.to_arviz(1, 20).posterior
    assert posterior["effect"].dims == ("chain", "draw", "school")
    assert list(posterior["school"].values) == NAMES
    drawn = {name: np.asarray(posterior[name])[0] for name in ("mu", "tau", "shift", "effect")}
    effect = drawn["mu"][:, None] + drawn["tau"][:, None] * drawn["shift"]
    np.testing.assert_allclose(drawn["effect"], effect, rtol=1e-12)
    with pytest.raises(UnsuitableError, match="sample_posterior_predictive"):
        fit.predict(2)
    with model:  # the mend that the error names
        found = pm.sample_posterior_predictive(posterior.to_dataset(), progressbar=False, random_seed=1)
    assert found.posterior_predictive["y"].shape == (1, 20, 8)


@needs_pymc
def test_data_are_leaves_and_those_of_the_moment():
    model = schools()
    target = Target.from_pymc(model)
    value = float(target.log_density(np.zeros(10)))
    with model:
        pm.set_data({"errors": 2 * ERRORS})
    assert float(target.log_density(np.zeros(10))) == value
    again = Target.from_pymc(model)
    assert again.density == target.density
    expected = stats.norm(0, 2 * ERRORS).logpdf(SCHOOLS) - stats.norm(0, ERRORS).logpdf(SCHOOLS)
    assert float(again.log_density(np.zeros(10))) - value == pytest.approx(expected.sum(), rel=1e-10)
    assert any(np.array_equal(leaf, SCHOOLS) for leaf in target.closed_over)
    assert str(Target.from_pymc(schools(name="eight")).density) == "eight"


@needs_pymc
def test_numbers_that_shapes_depend_on_are_constants():
    def write():
        length = pm.Data("length", np.int64(3))
        pm.Deterministic("steps", pm.math.stack([pm.Normal("mu")]).repeat(length))

    target = Target.from_pymc(model_of(write))
    assert target.constants == ("length",)


@needs_pymc
def test_what_is_not_finite_is_named():
    def write():
        pm.Potential("limit", pm.math.log(-pm.math.exp(pm.Normal("mu"))))

    target = Target.from_pymc(model_of(write))
    with pytest.raises(UnsuitableError, match="'limit' is nan"):
        target.initial_position(0)


def discrete():
    pm.Normal("y", pm.Normal("mu") + pm.Bernoulli("kind", 0.3), 1, observed=[1.0])


def minibatch():
    rows = pm.Minibatch(ROWS[:, 0], batch_size=5)
    pm.Normal("y", pm.Normal("mu"), 1, observed=rows, total_size=10)


def nothing_free():
    pm.Normal("y", 0, 1, observed=[1.0])


@needs_pymc
@pytest.mark.parametrize(
    ("write", "words"),
    [
        (discrete, ["'kind'", "pm.Mixture", "from_numpyro"]),
        (minibatch, ["'y'", "pm.Minibatch", "all of its rows"]),
        (nothing_free, ["no free variable"]),
    ],
)
def test_what_has_no_target(write, words):
    with pytest.raises(vi_kl.ModelError) as caught:
        Target.from_pymc(model_of(write))
    for word in words:
        assert word in str(caught.value)


@needs_pymc
def test_a_model_stands_for_its_target():
    model = model_of(positive)
    fit = vi_kl.fit(model, "laplace", key=0)
    again = vi_kl.fit(Target.from_pymc(model), "laplace", key=0)
    z = np.zeros((1, 1))
    np.testing.assert_array_equal(fit.approximation.log_prob(z), again.approximation.log_prob(z))
    with pytest.raises(TypeError, match="beside the target"):
        vi_kl.fit(model, "laplace", ROWS, key=0)


class LikeBambi:
    """A model of Bambi keeps its PyMC model in its backend."""

    def __init__(self, model):
        self.backend = type("Backend", (), {"model": model})


@needs_pymc
def test_only_models_of_pymc():
    with pytest.raises(TypeError, match=r"model\.backend\.model"):
        Target.from_pymc(LikeBambi(model_of(positive)))
    with pytest.raises(TypeError, match=r"pymc\.Model, and got a function"):
        Target.from_pymc(schools_in_numpyro)


def test_without_pymc_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymc", None)
    with pytest.raises(MissingExtraError, match=r"pip install \"vi_kl\[pymc\]\""):
        Target.from_pymc(object())


@needs_pymc
def test_the_settings_of_jax_are_put_back():
    code = """
import os, sys, jax, vi_kl
assert "pymc" not in sys.modules
try:
    vi_kl.Target.from_pymc(None)
except TypeError:
    pass
assert "pymc.sampling.jax" in sys.modules
assert not jax.config.jax_enable_x64 and os.environ["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=false"
"""
    environment = os.environ | {"XLA_FLAGS": "--xla_cpu_enable_fast_math=false"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)
