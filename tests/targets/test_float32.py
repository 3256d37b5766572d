"""Targets in float32: the same posterior, with its rounding measured against float64, and kept wherever targets go."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

import vi_kl
from vi_kl.algorithms.svi.svi import SVI
from vi_kl.core.errors import ModelError, ViKLError
from vi_kl.diagnostics.rounding import TOO_MUCH
from vi_kl.families.gaussian import FullRank
from vi_kl.targets import ArrayRows, Target
from vi_kl.targets.fingerprint import differences, fingerprint
from vi_kl.targets.target import value_and_grad_batch

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2000, 3))
Y = (RNG.random(2000) < 1 / (1 + np.exp(-X @ [1.0, -0.5, 0.2]))).astype(np.int8)


def logistic(x, y, batch=None):
    scale = numpyro.sample("scale", dist.HalfNormal(2.0))
    weights = numpyro.sample("weights", dist.Normal(0, scale).expand([3]).to_event(1))
    with numpyro.plate("rows", len(x), subsample_size=batch):
        seen, obs = numpyro.subsample(x, event_dim=1), numpyro.subsample(y, event_dim=0)
        numpyro.sample("y", dist.Bernoulli(logits=seen @ weights), obs=obs)


def walk_in_float32(y):
    """A model that can be traced in 32 bits only: a scan whose state is stated as float32."""
    drift = numpyro.sample("drift", dist.Normal(0, 1))
    scale = numpyro.sample("scale", dist.LogNormal(0, 1))

    def step(state, y):
        numpyro.sample("y", dist.Normal(state + drift, scale), obs=y)
        return 0.9 * drift + y, None

    scan(step, jnp.zeros((), jnp.float32), y)


def location(y):
    """Normal data with known noise."""
    mean = numpyro.sample("mean", dist.Normal(0, 1e6))
    numpyro.sample("y", dist.Normal(mean, 1), obs=y)


def rosenbrock(z, data):
    return -jnp.sum((z[0] - data) ** 2) / 2 - 5 * (z[1] - z[0] ** 2) ** 2


WALK = np.cumsum(RNG.normal(size=40)) * 0.3


def both(model, *args):
    return Target.from_numpyro(model, *args), Target.from_numpyro(model, *args, dtype="float32")


@pytest.fixture(scope="module")
def logistics():
    return both(logistic, X, Y)


MAKERS = {
    "logistic regression": lambda: both(logistic, X, Y),
    "stated in float32": lambda: both(walk_in_float32, WALK.astype(np.float32)),
    "a log density": lambda: (
        Target.from_log_density(rosenbrock, 2, data=X[:50, 0]),
        Target.from_log_density(rosenbrock, 2, data=X[:50, 0], dtype=np.float32),
    ),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_values_and_gradients_are_those_of_float64_to_seven_digits_of_each_term(make):
    wide, narrow = make()
    assert (wide.dtype, narrow.dtype) == ("float64", "float32")
    z = np.random.default_rng(1).normal(size=(20, wide.dim))
    with jax.enable_x64(True):
        (values, gradients), (exact, slopes) = (value_and_grad_batch(t, z) for t in (narrow, wide))
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, exact, rtol=2e-6, atol=1e-5)
    np.testing.assert_allclose(gradients, slopes, rtol=1e-4, atol=1e-3 * np.abs(slopes).max())
    assert (values != exact).any()


def test_sums_are_taken_in_float64():
    """A sum of 200,000 terms in float32 would be off by nats; its parts' rounding is not, and averages out."""
    x = np.random.default_rng(2).normal(size=200_000)
    wide, narrow = both(location, x)
    z = np.linspace(-0.01, 0.01, 11)[:, None]
    with jax.enable_x64(True):
        exact, found = (np.asarray(t.log_density(z)) for t in (wide, narrow))
    in_float32 = np.array([np.sum(dist.Normal(np.float32(m[0]), 1).log_prob(x.astype(np.float32))) for m in z])
    assert np.std(found - exact) < 0.003
    assert np.abs(in_float32 - exact).max() > 0.003 * 3


@pytest.mark.exhaustive
@pytest.mark.parametrize("method", [None, "full_rank", pytest.param("laplace", marks=pytest.mark.exhaustive)])
def test_fits_are_those_of_float64(logistics, method):
    """Float32's noise keeps no search from its end, and moves the answer by less than it is known."""
    means, sds, fits = [], [], []
    for target in logistics:
        fit = vi_kl.fit(target, method, key=0) if method else vi_kl.fit(target, key=0)
        assert fit.status.converged, fit.status
        z = fit.approximation.sample_and_log_prob(jax.random.key(1), 4000)[0]
        means.append(np.mean(z, axis=0))
        sds.append(np.std(z, axis=0))
        fits.append(fit)
    assert np.abs((means[1] - means[0]) / sds[0]).max() < 0.02
    assert np.abs(sds[1] / sds[0] - 1).max() < 0.02
    assert fits[1].cost.gradient_evaluations < 4 * fits[0].cost.gradient_evaluations


@pytest.mark.exhaustive
def test_svi_in_float32_finds_the_same_answer():
    """On minibatches too."""
    for batch in (None, 200):
        fits = [
            SVI(FullRank()).fit(3, target)
            for target in (Target.from_numpyro(logistic, X, Y, batch=batch, dtype=d) for d in ("float64", "float32"))
        ]
        assert all(fit.status.converged for fit in fits)
        normals = [fit.approximation.family.frame(fit.approximation.params).normal for fit in fits]
        np.testing.assert_allclose(normals[1].loc, normals[0].loc, atol=0.03 * np.min(normals[0].sd))


@pytest.mark.exhaustive
def test_a_model_stated_in_float32_is_fitted_and_checked():
    wide, narrow = both(walk_in_float32, WALK.astype(np.float32))
    assert narrow.narrow
    fits = [vi_kl.fit(target, "full_rank", key=0) for target in (wide, narrow)]
    elbos = [vi_kl.check(fit, key=1).elbo for fit in fits]
    assert abs(elbos[1].value - elbos[0].value) < 1e-3


def test_a_certificate_measures_the_rounding_and_counts_it():
    targets = both(logistic, X[:300], Y[:300])
    checks = [vi_kl.check(vi_kl.fit(t, "laplace", key=0), key=1, num_draws=2000) for t in targets]
    assert checks[0].rounding is None
    found = checks[1].rounding
    assert 0 < found.noise < 1e-3
    assert checks[1].elbo.standard_error >= found.noise
    assert "rounding of float32" in checks[1].cannot_see
    assert abs(checks[1].reverse_kl.value - checks[0].reverse_kl.value) < 5 * checks[0].reverse_kl.standard_error + 1e-4


@pytest.mark.exhaustive
def test_too_much_noise_is_said_in_place_of_a_distance():
    """Data far from zero lose in 32 bits what the posterior is about."""
    target = Target.from_numpyro(location, np.random.default_rng(3).normal(size=3000) + 3e5, dtype="float32")
    found = vi_kl.check(vi_kl.fit(target, "full_rank", key=0), key=1, num_draws=1000)
    assert found.rounding.noise > TOO_MUCH
    assert found.label == "unknown"
    assert found.verdict.startswith("In float32 the log density is off by")


def test_pickles_fingerprints_and_saved_fits_keep_it(logistics, tmp_path):
    wide, narrow = logistics
    back = pickle.loads(pickle.dumps(narrow))
    assert back.dtype == "float32"
    assert back.density == narrow.density
    assert narrow.density != wide.density
    assert not differences(fingerprint(narrow), fingerprint(back))
    assert "float32" in differences(fingerprint(narrow), fingerprint(wide))[0]
    fit = vi_kl.fit(narrow, "laplace", key=0)
    vi_kl.save(fit, tmp_path / "fit.vikl")
    assert vi_kl.load(tmp_path / "fit.vikl", narrow).target.dtype == "float32"
    with pytest.raises(ViKLError, match="computed in float32 then and is in float64 now"):
        vi_kl.load(tmp_path / "fit.vikl", wide)


@pytest.mark.landing
def test_rows_of_a_source_are_computed_in_float32_too():
    def regression(x, y):
        weights = numpyro.sample("weights", dist.Normal(0, 1).expand([3]).to_event(1))
        numpyro.sample("y", dist.Bernoulli(logits=x @ weights), obs=y)

    source, z = ArrayRows(x=X, y=Y), np.random.default_rng(4).normal(size=(3, 3))
    streamed = Target.from_numpyro(regression, rows=source, dtype="float32")
    np.testing.assert_allclose(streamed.log_density(z), both(regression, X, Y)[0].log_density(z), rtol=1e-6)
    assert streamed.dtype == "float32"


def test_other_types_and_discrete_sites_are_refused():
    def mixture(y):
        p = numpyro.sample("p", dist.Beta(1, 1))
        k = numpyro.sample("k", dist.Bernoulli(p), infer={"enumerate": "parallel"})
        numpyro.sample("y", dist.Normal(k, 1), obs=y)

    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64', not 'float16'"):
        Target.from_numpyro(location, X[:5, 0], dtype="float16")
    with pytest.raises(ModelError, match="discrete sites"):
        Target.from_numpyro(mixture, 0.3, dtype="float32")
