"""Parameters without a prior (`numpyro.param`): what a target says of them, and the posterior at given values."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from scipy import stats

import vi_kl
from vi_kl.core.errors import FitError, ModelError, UnsuitableError
from vi_kl.reference import reference_run
from vi_kl.targets import Target
from vi_kl.workflows.calibration import calibrate

Y = np.array([0.3, 1.9, -0.4, 2.2, 0.8])


def levels(y, batch=None):
    """Levels around a learned mean: two scalar parameters, and a tree of them as a network's weights are."""
    loc = numpyro.param("loc", lambda key: 0.5 + 0 * jax.random.normal(key))
    scale = numpyro.param("scale", 2.0, constraint=constraints.positive)
    net = numpyro.param("net$params", {"slope": np.float32(1.5), "shift": np.zeros(2, np.float32)})
    with numpyro.plate("rows", len(y), subsample_size=batch) as rows:
        level = numpyro.sample("level", dist.Normal(loc, scale))
        numpyro.sample("y", dist.Normal(net["slope"] * level + net["shift"].sum(), 1), obs=y[rows])


VALUES = {"loc": 0.2, "scale": 0.7, "net$params": {"slope": -1.0, "shift": np.array([0.1, 0.3])}}


def test_a_target_says_what_is_to_be_learned_and_is_the_posterior_at_given_values():
    target = Target.from_numpyro(levels, Y)
    assert target.learned == {}
    assert {name: np.shape(x) for name, x in target.to_learn.items() if name != "net$params"} == {
        "loc": (),
        "scale": (),
    }
    np.testing.assert_allclose([target.to_learn["loc"], target.to_learn["scale"]], [0.5, 2.0], rtol=1e-12)
    given = target.with_learned(VALUES)
    assert given.to_learn == {}
    assert jax.tree.structure(given.learned) == jax.tree.structure(VALUES)
    for found, value in zip(jax.tree.leaves(given.learned), jax.tree.leaves(VALUES), strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-12)
    z = np.random.default_rng(0).normal(size=(3, 5))
    expected = stats.norm.logpdf(z, 0.2, 0.7).sum(axis=1) + stats.norm.logpdf(Y, 0.4 - z, 1).sum(axis=1)
    np.testing.assert_allclose(given.log_density(z), expected, rtol=1e-10)
    assert "to learn: loc, net$params, scale" in repr(target)
    assert "learned: loc, net$params, scale" in repr(given)


def test_minibatches_of_a_model_with_parameters_estimate_its_density():
    from vi_kl.targets.minibatch import with_rows

    target, rows = Target.from_numpyro(levels, Y, batch=2), np.array([1, 3])
    with jax.enable_x64(True):
        given = target.with_learned(VALUES)
        found = with_rows(given, {"rows": rows}).log_density(np.arange(5.0))
    z = np.arange(5.0)[rows]
    expected = stats.norm.logpdf(z, 0.2, 0.7).sum() + stats.norm.logpdf(Y[rows], 0.4 - z, 1).sum()
    np.testing.assert_allclose(found, 5 / 2 * expected, rtol=1e-10)


def test_a_value_that_a_handler_gives_is_no_parameter():
    fixed = numpyro.handlers.substitute(levels, data=VALUES)
    target = Target.from_numpyro(fixed, Y)
    assert (target.to_learn, target.learned) == ({}, {})
    given = Target.from_numpyro(levels, Y).with_learned(VALUES)
    np.testing.assert_allclose(target.log_density(np.ones(5)), given.log_density(np.ones(5)), rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"loc": 0.2}, ["['loc']", "'net$params'", "'scale'"]),
        (VALUES | {"scale": -0.1}, ["'scale'", "outside its constraint"]),
        (VALUES | {"loc": np.zeros(2)}, ["'loc'", "shape"]),
    ],
)
def test_values_that_do_not_fit_are_refused(values, words):
    with pytest.raises(ModelError) as raised:
        Target.from_numpyro(levels, Y).with_learned(values)
    assert all(word in str(raised.value) for word in words)


def out_of_bounds(y):
    share = numpyro.param("share", 1.5, constraint=constraints.unit_interval)
    numpyro.sample("y", dist.Normal(numpyro.sample("loc", dist.Normal(share, 1)), 1), obs=y)


def test_a_first_value_outside_the_constraint_is_refused():
    with pytest.raises(ModelError, match="'share' is outside its constraint"):
        Target.from_numpyro(out_of_bounds, Y)


def test_what_needs_a_posterior_says_that_parameters_are_to_be_learned_first():
    target = Target.from_numpyro(levels, Y)
    for error, ask in [
        (FitError, lambda: vi_kl.fit(target, "laplace", key=0)),
        (FitError, lambda: vi_kl.compare(target, ["mean_field"], key=0)),
        (UnsuitableError, lambda: vi_kl.find_reference(target)),
        (UnsuitableError, lambda: reference_run(target, key=0)),
    ]:
        with pytest.raises(error, match=r"still to be learned: loc, net.params, scale.*fit.target"):
            ask()
    with pytest.raises(UnsuitableError, match="with_learned needs parameters without a prior"):
        Target.from_numpyro(lambda: numpyro.sample("x", dist.Normal(0, 1))).with_learned({})
    with pytest.raises(ModelError, match="'loc' without a prior"):
        calibrate(levels, Y, observed=["y"], method="laplace", key=0)


def subsampled(y):
    """A parameter for each row, of which a plate hands out those of its rows."""
    with numpyro.plate("rows", len(y), subsample_size=2):
        centre = numpyro.param("centre", jnp.arange(5.0), event_dim=0)
        level = numpyro.sample("level", dist.Normal(centre, 1))
        numpyro.sample("y", dist.Normal(level, 1), obs=numpyro.subsample(y, event_dim=0))


def test_a_parameter_of_each_row():
    from vi_kl.targets.minibatch import with_rows

    target = Target.from_numpyro(subsampled, Y).with_learned({"centre": np.arange(5.0) + 1})
    rows = np.array([0, 4])
    found = with_rows(target, {"rows": rows}).log_density(np.zeros(5))
    expected = stats.norm.logpdf(0, rows + 1, 1).sum() + stats.norm.logpdf(Y[rows], 0, 1).sum()
    np.testing.assert_allclose(found, 5 / 2 * expected, rtol=1e-10)
