"""Models that cannot be simulated are refused by name; the posteriors are those of the model with its data."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from procedures import normal_mean, regression

import vi_kl
from vi_kl.targets import Positive, Target
from vi_kl.targets.numpyro.model import ModelError
from vi_kl.workflows.calibration.simulate import simulate

X = np.linspace(0, 2, 5)


@pytest.mark.landing
def test_targets_are_the_posteriors_of_the_simulated_data(key):
    simulation = simulate(regression, (X,), {}, ("y",), key, 3)
    z = np.array([[0.3, -0.2], [1.0, 2.0]])
    for y, target in zip(simulation.data["y"], simulation.targets, strict=True):
        np.testing.assert_allclose(
            target.log_density(z), Target.from_numpyro(regression, X, y).log_density(z), rtol=1e-12
        )
        assert target.data[1] is simulation.targets[0].data[1]  # the design is not copied
        assert jax.tree.structure(target) == jax.tree.structure(simulation.targets[0])
    assert str(simulation.targets[0].density) == "regression"


def test_data_sites_keep_their_places_whatever_the_order_of_their_names(key):
    def two(n, b=None, a=None):
        mu = numpyro.sample("mu", dist.Normal(0, 1))
        numpyro.sample("b", dist.Normal(mu, 1).expand([n]).to_event(1), obs=b)
        numpyro.sample("a", dist.Normal(mu, 3).expand([n]).to_event(1), obs=a)

    simulation = simulate(two, (4,), {}, ("b", "a"), key, 2)
    for a, b, target in zip(simulation.data["a"], simulation.data["b"], simulation.targets, strict=True):
        expected = Target.from_numpyro(two, 4, b, a).log_density(np.array([0.7]))
        assert float(target.log_density(np.array([0.7]))) == pytest.approx(float(expected), rel=1e-12)


def improper(y=None):
    mu = numpyro.sample("mu", dist.ImproperUniform(dist.constraints.real, (), (2,)))
    numpyro.sample("y", dist.Normal(mu, 1), obs=y)


def with_factor(y=None):
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    numpyro.factor("penalty", -(mu**2))
    numpyro.sample("y", dist.Normal(mu, 1), obs=y)


def with_other_data(w, y=None):
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    numpyro.sample("w", dist.Normal(mu, 1), obs=w)
    numpyro.sample("y", dist.Normal(mu, 1), obs=y)


def scaled(y=None):
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    with numpyro.handlers.scale(scale=10.0):
        numpyro.sample("y", dist.Normal(mu, 1), obs=y)


def discrete(y=None):
    kind = numpyro.sample("kind", dist.Poisson(2.0))
    numpyro.sample("mu", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(kind, 1), obs=y)


def with_deterministic(y=None):
    mu = numpyro.deterministic("twice", 2 * numpyro.sample("mu", dist.Normal(0, 1)))
    numpyro.sample("y", dist.Normal(mu, 1), obs=y)


def sized_by_an_array(n, y=None):
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(mu, 1).expand([int(n[0])]).to_event(1), obs=y)


@pytest.mark.parametrize(
    ("model", "args", "observed", "words"),
    [
        (normal_mean, (4,), "Y", r"observed names 'Y', which is not a site.*one of \['mu', 'y'\]"),
        (normal_mean, (4, np.zeros(4)), "y", "Site 'y' is observed already.*y=None"),
        (with_deterministic, (), "twice", "'twice', which is a numpyro.deterministic site"),
        (with_other_data, (np.zeros(3),), "y", "Site 'w' is observed, but not named"),
        (with_factor, (), "y", "'penalty'.*numpyro.factor"),
        (improper, (), "y", "Latent site 'mu' has an improper prior"),
        (scaled, (), "y", "site 'y' is scaled"),
        (discrete, (), "y", "'kind'"),
        (normal_mean, (4,), ("y", "mu"), "no latent site"),
    ],
)  # fmt: skip
def test_what_cannot_be_simulated_is_refused_by_name(model, args, observed, words):
    with pytest.raises(ModelError, match=words):
        vi_kl.calibrate(model, *args, observed=observed, key=jax.random.key(0))


@pytest.mark.landing
def test_an_array_that_the_model_needs_as_a_number_is_a_constant():
    simulation = simulate(sized_by_an_array, (np.array([3]),), {}, ("y",), jax.random.key(0), 4)
    assert simulation.data["y"].shape == (4, 3)
    assert len(simulation.targets[0].constants) == 1


scale = np.array(1.0)


def scaled_by_a_global():
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(mu, scale))


def test_data_are_simulated_by_the_model_as_it_is_now():
    spread = []
    for new in (1e-6, 1.0):
        globals()["scale"] = np.array(new)
        simulation = simulate(scaled_by_a_global, (), {}, ("y",), jax.random.key(0), 50)
        spread.append(np.std(simulation.data["y"] - simulation.latent["mu"]))
    assert spread[0] < 1e-5
    assert 0.6 < spread[1] < 1.4  # 4 standard errors of 50 draws


def test_an_autoguide_of_the_model_without_data_is_refused():
    guide = numpyro.infer.autoguide.AutoNormal(normal_mean)
    for method in (guide, vi_kl.families.Guide(guide), vi_kl.SVI(vi_kl.families.Guide(guide))):
        with pytest.raises(ValueError, match="Give the class, AutoNormal"):
            vi_kl.calibrate(normal_mean, 4, observed="y", method=method, key=jax.random.key(0))


def test_only_functions_are_models():
    with pytest.raises(TypeError, match="must be a NumPyro model"):
        vi_kl.calibrate(4, observed="y", key=jax.random.key(0))


class Waits:
    """A model of another source, which says by name that it can be run forwards: Exponential(1) rates, three waits."""

    def simulator(self, args, kwargs, observed):
        assert (args, kwargs, observed) == ((3,), {}, ("waits",))
        return self

    def draw(self, key, num):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        rate = rng.exponential(size=num)
        return {"rate": rate, "waits": rng.exponential(1 / rate[:, None], size=(num, 3))}

    def posteriors(self, data):
        def log_density(p, waits):
            return jnp.sum(jnp.log(p["rate"]) - p["rate"] * waits) - p["rate"]

        return [Target.from_log_density(log_density, {"rate": Positive(1.0)}, data=row) for row in data["waits"]]


def test_any_source_that_can_be_run_forwards():
    simulation = simulate(Waits(), (3,), {}, ("waits",), jax.random.key(0), 5)
    assert simulation.latent["rate"].shape == (5,)
    assert len({target.density for target in simulation.targets}) == 1
    waits, z = simulation.data["waits"][2], 0.4
    truth = 4 * z - np.exp(z) * (1 + waits.sum())
    assert float(simulation.targets[2].log_density(np.array([z]))) == pytest.approx(truth, rel=1e-12)
    with pytest.raises(TypeError, match="simulator"):
        simulate(np.zeros(3), (), {}, ("y",), jax.random.key(0), 5)
