"""What a function reads besides its arguments: replaced later, it changes the next target and not the one at hand."""

import copy
import functools
import pickle
import types

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

import vi_kl
from vi_kl.algorithms.storage import StorageError
from vi_kl.core.compilation import compile_clock
from vi_kl.reference import cache
from vi_kl.targets.minibatch import with_rows
from vi_kl.targets.target import value_and_grad

PRECISION = 0.5  # of the prior on the mean; observations have precision 1
Y = np.random.default_rng(1).normal(2.0, 1.0, 12)
y = Y
settings = types.SimpleNamespace(y=Y)
tables = {"y": [Y]}
NEW = -Y[::-1] - 1.0


def normal_mean(data):
    loc = numpyro.sample("loc", dist.Normal(0.0, PRECISION**-0.5))
    numpyro.sample("y", dist.Normal(loc, 1.0), obs=data)


def log_joint(z, data):
    return -0.5 * PRECISION * z[0] ** 2 - 0.5 * jnp.sum((data - z[0]) ** 2)


class Holder:
    def __init__(self, data):
        self.y = data

    def method(self):
        normal_mean(self.y)

    def __call__(self):
        normal_mean(self.y)

    def log_density(self, z):
        return log_joint(z, self.y)


def inner():
    return y


@jax.jit
def jitted_residual(loc):
    return y - loc


def residuals_step(carry, i):
    return carry + (jnp.asarray(y)[i] - carry) * 0.0, jnp.asarray(y)[i]


def reads_global(data):
    def model():
        normal_mean(y)

    globals()["y"] = data
    return model, lambda z: log_joint(z, y)


def reads_nested_function(data):
    globals()["y"] = data
    return lambda: normal_mean(inner()), lambda z: log_joint(z, inner())


def reads_module_attribute(data):
    settings.y = data
    return lambda: normal_mean(settings.y), lambda z: log_joint(z, settings.y)


def reads_dict_of_lists(data):
    tables["y"] = [data]
    return lambda: normal_mean(tables["y"][0]), lambda z: log_joint(z, tables["y"][0])


def has_default(data):
    def model(y=data):
        normal_mean(y)

    return model, lambda z, y=data: log_joint(z, y)


def is_partial(data):
    return functools.partial(normal_mean, data), functools.partial(lambda data, z: log_joint(z, data), data)


def is_method(data):
    holder = Holder(data)
    return holder.method, holder.log_density


def is_object(data):
    return Holder(data), Holder(data).log_density


def has_cell(data):
    return lambda: normal_mean(data), lambda z: log_joint(z, data)


def has_jax_array(data):
    data = jnp.asarray(data)
    return lambda: normal_mean(data), lambda z: log_joint(z, data)


def under_jit(data):
    """A helper under `jax.jit`, which JAX itself would not look at again."""
    globals()["y"] = data

    def model():
        loc = numpyro.sample("loc", dist.Normal(0.0, PRECISION**-0.5))
        numpyro.sample("y", dist.Normal(jitted_residual(loc), 1.0), obs=0.0)

    return model, lambda z: -0.5 * PRECISION * z[0] ** 2 - 0.5 * jnp.sum(jitted_residual(z[0]) ** 2)


def body_of_a_loop(data):
    """The body of a `lax.scan`, which JAX remembers too."""
    globals()["y"] = data

    def rows():
        return jax.lax.scan(residuals_step, 0.0, jnp.arange(len(y)))[1]

    return lambda: normal_mean(rows()), lambda z: log_joint(z, rows())


WAYS = [
    reads_global, reads_nested_function, reads_module_attribute, reads_dict_of_lists, has_default, is_partial,
    is_method, is_object, has_cell, has_jax_array, under_jit, body_of_a_loop,
]  # fmt: skip


def posterior_mean(data):
    return np.sum(data) / (PRECISION + len(data))


def mean_of(target):
    """The top of a log density that is quadratic with curvature -(PRECISION + n)."""
    slope = vi_kl_gradient(target)
    return float(slope) / (PRECISION + 12)


def vi_kl_gradient(target):
    with jax.enable_x64(True):
        return value_and_grad(target, jnp.zeros(1))[1][0]


@pytest.fixture(autouse=True)
def old_data():
    yield
    globals()["y"] = settings.y = Y
    tables["y"] = [Y]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("kind", ["numpyro", "log_density"])
def test_new_data_are_new_data_and_nothing_is_compiled_again(way, kind):
    def make(data):
        model, density = way(data)
        return vi_kl.Target.from_numpyro(model) if kind == "numpyro" else vi_kl.Target.from_log_density(density, 1)

    old = make(Y)
    assert mean_of(old) == pytest.approx(posterior_mean(Y), rel=1e-6)
    with compile_clock() as clock:
        new = make(NEW)
        assert mean_of(new) == pytest.approx(posterior_mean(NEW), rel=1e-6)
        assert mean_of(old) == pytest.approx(posterior_mean(Y), rel=1e-6)
    assert clock.programs == 0
    assert old.density == new.density


def test_data_written_to_in_place_are_new_data():
    data = Y.copy()
    model = has_cell(data)[0]
    old = vi_kl.Target.from_numpyro(model)
    data[:] = NEW
    assert mean_of(old) == pytest.approx(posterior_mean(Y), rel=1e-6)
    assert mean_of(vi_kl.Target.from_numpyro(model)) == pytest.approx(posterior_mean(NEW), rel=1e-6)


def test_another_number_or_another_way_is_another_program():
    scale = 1.0

    def model():
        loc = numpyro.sample("loc", dist.Normal(0.0, PRECISION**-0.5))
        numpyro.sample("y", dist.Normal(loc, scale), obs=Y)

    old = vi_kl.Target.from_numpyro(model)
    scale = 2.0
    new = vi_kl.Target.from_numpyro(model)
    assert float(vi_kl_gradient(old)) == pytest.approx(Y.sum(), rel=1e-6)
    assert float(vi_kl_gradient(new)) == pytest.approx(Y.sum() / 4, rel=1e-6)


def test_fit_certificate_and_file_see_the_new_data(tmp_path):
    def model():
        normal_mean(y)

    old = vi_kl.Target.from_numpyro(model)
    fit = vi_kl.fit(old, "laplace", key=jax.random.key(0))
    vi_kl.save(fit, tmp_path / "old.vikl")
    vi_kl.load(tmp_path / "old.vikl", vi_kl.Target.from_numpyro(model))
    globals()["y"] = NEW
    new = vi_kl.Target.from_numpyro(model)
    with pytest.raises(StorageError, match="closes over hold other numbers"):
        vi_kl.load(tmp_path / "old.vikl", new)
    names = [cache.fingerprint(target, "settings", jax.random.key(0)) for target in (old, new)]
    assert names[0] != names[1]
    with compile_clock() as clock:
        refit = vi_kl.fit(new, "laplace", key=jax.random.key(0))
    assert clock.programs == 0
    for each, data in ((fit, Y), (refit, NEW)):
        assert float(each.approximation.distribution.mean[0]) == pytest.approx(posterior_mean(data), rel=1e-6)


def test_minibatches_read_the_data_of_their_own_target():
    def model():
        loc = numpyro.sample("loc", dist.Normal(0.0, PRECISION**-0.5))
        with numpyro.plate("rows", 12, subsample_size=3) as rows:
            numpyro.sample("y", dist.Normal(loc, 1.0), obs=jnp.asarray(y)[rows])

    old = vi_kl.Target.from_numpyro(model)
    globals()["y"] = NEW
    new = vi_kl.Target.from_numpyro(model)
    rows = {"rows": np.array([0, 4, 7])}
    with jax.enable_x64(True):
        for target, data in ((old, Y), (new, NEW)):
            assert mean_of(target) == pytest.approx(posterior_mean(data), rel=1e-6)
            slope = value_and_grad(with_rows(target, rows), jnp.zeros(1))[1][0]
            assert float(slope) == pytest.approx(4 * data[rows["rows"]].sum(), rel=1e-6)


def test_discrete_sites_are_summed_out_given_the_data_of_their_own_target():
    def model():
        loc = numpyro.sample("loc", dist.Normal(0.0, 1.0))
        kind = numpyro.sample("kind", dist.Bernoulli(0.3))
        numpyro.sample("y", dist.Normal(loc + 2.0 * kind, 1.0), obs=y)

    def exact(data, z=0.4):
        from scipy.stats import norm

        both = [np.log(p) + norm(z + shift, 1).logpdf(data).sum() for p, shift in ((0.7, 0.0), (0.3, 2.0))]
        return norm(0, 1).logpdf(z) + np.logaddexp(*both)

    old = vi_kl.Target.from_numpyro(model)
    globals()["y"] = NEW
    new = vi_kl.Target.from_numpyro(model)
    assert float(old.log_density(np.array([0.4]))) == pytest.approx(exact(Y), rel=1e-9)
    with compile_clock() as clock:
        assert float(new.log_density(np.array([0.4]))) == pytest.approx(exact(NEW), rel=1e-9)
    assert clock.programs == 0


def shifted_by_global():
    loc = numpyro.sample("loc", dist.Normal(0.0, 1.0))
    numpyro.deterministic("shifted", loc + y)


def test_deterministic_sites_are_computed_from_the_data_of_their_own_target():
    global y
    draws = []
    for data in (Y, NEW):
        y = data
        fit = vi_kl.fit(vi_kl.Target.from_numpyro(shifted_by_global), "laplace", key=0)
        y = np.zeros(3)  # after it was made
        draws.append(fit.sample(1, 5))
        np.testing.assert_allclose(draws[-1]["shifted"], draws[-1]["loc"][:, None] + data, rtol=1e-12)
    np.testing.assert_allclose(draws[0]["loc"], draws[1]["loc"], rtol=1e-12)


def test_bounds_of_a_support_that_are_closed_over():
    top = np.array(3.0)

    def model():
        numpyro.sample("x", dist.Uniform(0.0, top))

    old = vi_kl.Target.from_numpyro(model)
    top = np.array(8.0)
    new = vi_kl.Target.from_numpyro(model)
    assert float(old.constrain(np.zeros(1))["x"]) == pytest.approx(1.5)
    assert float(new.constrain(np.zeros(1))["x"]) == pytest.approx(4.0)
    assert float(new.unconstrain({"x": 4.0})[0]) == pytest.approx(0.0, abs=1e-9)


def test_numpyros_own_scan_reads_the_new_data():
    def model():
        loc = numpyro.sample("loc", dist.Normal(0.0, PRECISION**-0.5))

        def step(carry, i):
            numpyro.sample("y", dist.Normal(loc, 1.0), obs=jnp.asarray(y)[i])
            return carry, None

        scan(step, 0.0, jnp.arange(12))

    old = vi_kl.Target.from_numpyro(model)
    globals()["y"] = NEW
    assert mean_of(vi_kl.Target.from_numpyro(model)) == pytest.approx(posterior_mean(NEW), rel=1e-6)
    assert mean_of(old) == pytest.approx(posterior_mean(Y), rel=1e-6)


def test_what_takes_a_run_of_the_function_itself_says_that_it_has_changed():
    old = vi_kl.Target.from_numpyro(global_model)
    assert "finite" in old.density.explain(old.data, {"loc": jnp.zeros(())})
    globals()["y"] = NEW
    with jax.enable_x64(True):
        assert "make the target anew" in old.density.explain(old.data, {"loc": jnp.zeros(())})


def global_model():
    normal_mean(y)


def test_copies_and_pickles_hold_what_was_closed_over():
    target = vi_kl.Target.from_numpyro(global_model)
    stored = pickle.dumps(target)
    globals()["y"] = NEW
    for again in (copy.deepcopy(target), pickle.loads(stored)):
        assert again.density == target.density
        assert mean_of(again) == pytest.approx(posterior_mean(Y), rel=1e-6)


weights = np.array([1.0, -1.0])


def two_normals():
    numpyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))


def weighted_guide():
    m = numpyro.param("m", 0.5)
    numpyro.sample("x", dist.Normal(m + jnp.asarray(weights), 1.0).to_event(1))


@pytest.mark.landing
def test_a_fit_keeps_what_its_guide_closes_over_and_the_next_one_compiles_nothing():
    """N(m + w, 1) twice, nearest to N(0, 1) twice: m = -mean(w), KL = the variance of w."""
    target, fits, drawn = vi_kl.Target.from_numpyro(two_normals), [], []
    method = vi_kl.algorithms.SVI(vi_kl.families.Guide(weighted_guide), step_size=0.1, max_steps=300, chunk=100)
    for i, new in enumerate((np.array([1.0, -1.0]), np.array([3.0, 1.0]))):
        globals()["weights"] = new
        with compile_clock() as clock:
            fits.append(method.fit(jax.random.key(0), target))
            drawn.append(fits[-1].approximation.sample_and_log_prob(jax.random.key(1), 5))
        assert (clock.programs == 0) == (i == 1)
        assert float(fits[-1].approximation.params["m"]) == pytest.approx(-new.mean(), abs=0.2)  # of a short fit
    for fit, (z, log_q) in zip(fits, drawn, strict=True):
        again = fit.approximation.sample_and_log_prob(jax.random.key(1), 5)
        np.testing.assert_array_equal(again[0], z)
        np.testing.assert_allclose(fit.approximation.log_prob(z), log_q, rtol=1e-12)


def test_a_saved_fit_of_a_guide_is_not_loaded_for_other_numbers(tmp_path):
    globals()["weights"] = np.array([1.0, -1.0])
    target = vi_kl.Target.from_numpyro(two_normals)
    method = vi_kl.algorithms.SVI(vi_kl.families.Guide(weighted_guide), step_size=0.1, max_steps=100, chunk=100)
    vi_kl.save(method.fit(jax.random.key(0), target), tmp_path / "guide.vikl")
    assert vi_kl.load(tmp_path / "guide.vikl", target, family=weighted_guide).approximation.params
    globals()["weights"] = np.array([3.0, 1.0])
    with pytest.raises(StorageError, match="weighted_guide"):
        vi_kl.load(tmp_path / "guide.vikl", target, family=weighted_guide)


def test_a_log_density_with_data_of_its_own_and_some_that_it_closes_over():
    def make(closed):
        def function(z, data):
            return -0.5 * jnp.sum((z - data["mean"]) ** 2 * closed)

        return vi_kl.Target.from_log_density(function, 2, data={"mean": np.array([1.0, 2.0])})

    targets = make(np.array([1.0, 4.0])), make(np.array([9.0, 1.0]))
    assert [float(t.log_density(np.zeros(2))) for t in targets] == pytest.approx([-8.5, -6.5])
    assert targets[0].density == targets[1].density
