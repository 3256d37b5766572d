"""Indices among a model's data: outside of what they index they are told, and names are given to what they count."""

import warnings

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
from numpyro.contrib.control_flow import scan

import vi_kl
from vi_kl import Target
from vi_kl.core.errors import ModelWarning, UnsuitableError
from vi_kl.targets.numpyro.indices import indexed_axes

GROUP, Y = np.array([0, 1, 2, 1]), np.array([0.5, 1.0, -1.0, 2.0])


def grouped(group, y=None, scale=2.0):
    mean = numpyro.sample("mean", dist.Normal(0, 1))
    with numpyro.plate("groups", 3):
        effect = numpyro.sample("effect", dist.Normal(0, 1))
    with numpyro.plate("rows", len(group)):
        numpyro.sample("y", dist.Normal(mean + scale * effect[group], 1), obs=y)


def counted(group, y):
    with numpyro.plate("groups", int(max(group))):  # needs the numbers themselves, which become a constant
        effect = numpyro.sample("effect", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(effect[group], 1), obs=y)


def of_table(data):
    effect = numpyro.sample("effect", dist.Normal(0, 1).expand([3]).to_event(1))
    numpyro.sample("y", dist.Normal(effect[data["group"]], 1), obs=data["y"])


def classes(y):
    p = numpyro.sample("p", dist.Dirichlet(jnp.ones(3)))
    numpyro.sample("y", dist.Categorical(p), obs=y)


def closed_over(y):
    effect = numpyro.sample("effect", dist.Normal(0, 1).expand([3]).to_event(1))
    numpyro.sample("y", dist.Normal(effect[GROUP + 1], 1), obs=y)


def unobserved(y):
    mean = numpyro.sample("mean", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(mean, 1).expand([len(y)]))


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        (grouped, (GROUP + 1, Y), ["made of 'group' goes from 1 to 3, and 'effect' has 3 entries", "subtract 1"]),
        (grouped, (2 * GROUP, Y), ["goes from 0 to 4", "Is the size of a plate too small?"]),
        (of_table, (pd.DataFrame({"group": GROUP + 1, "y": Y}),), ["made of 'data['group']' goes from 1 to 3"]),
        (classes, (GROUP + 1,), ["made of 'y' goes from 1 to 3"]),
        (closed_over, (Y,), ["made of an array that the model reads goes from 1 to 3, and 'effect' has 3"]),
        (unobserved, (Y,), ["'unobserved' observes nothing", "no numpyro.sample of it has obs=..."]),
        (grouped, (GROUP,), ["'grouped' observes nothing, so that its posterior is the prior: 'y' is None."]),
    ],
)
def test_a_model_that_is_most_likely_not_meant_is_told(model, arguments, words):
    with pytest.warns(ModelWarning) as told:
        Target.from_numpyro(model, *arguments)
    assert len(told) == 1
    assert all(each in str(told[0].message) for each in words)
    assert told[0].filename == __file__


def test_an_index_that_is_a_constant_of_the_model_is_known_as_its_argument():
    with pytest.warns(ModelWarning, match="made of 'group' goes from 0 to 2, and 'effect' has 2 entries"):
        target = Target.from_numpyro(counted, GROUP, Y)
    (found,) = indexed_axes(target.density, target.data, target.sites)
    assert (found.arguments, found.axes) == (("group",), (("effect", 0),))


def stepped(group, y):
    effect = numpyro.sample("effect", dist.Normal(0, 1).expand([3]).to_event(1))

    def step(level, row):
        level = numpyro.sample("level", dist.Normal(level + effect[row[0]], 1))
        numpyro.sample("y", dist.Normal(level, 1), obs=row[1])
        return level, None

    scan(step, 0.0, (group, y))


def test_an_index_within_a_scan_is_told():
    with pytest.warns(ModelWarning, match="made of 'group' goes from 1 to 3, and 'effect' has 3 entries"):
        Target.from_numpyro(stepped, GROUP + 1, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Target.from_numpyro(stepped, GROUP, Y)


def test_indices_inside_and_priors_that_are_meant_are_not_told():
    def prior():
        numpyro.sample("x", dist.Normal(0, 1))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for group in (GROUP, GROUP - 1, np.zeros(4, int)):  # -1 is the last entry, as in NumPy
            Target.from_numpyro(grouped, group, Y)
        Target.from_numpyro(classes, GROUP)
        Target.from_numpyro(prior)


def test_a_prediction_for_a_group_that_there_is_not_is_told():
    fit = vi_kl.fit(grouped, GROUP, Y, method="laplace", key=0)
    with pytest.warns(ModelWarning, match="made of 'group' goes from 2 to 5, and 'effect' has 3 entries"):
        fit.predict(0, np.array([2, 5]), n=10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit.predict(0, np.array([2, 0]), n=10)
        fit.predict(0, n=10)


def test_entries_are_called_by_the_coords_of_the_target():
    names = ["Mitte", "Łódź", "北京"]
    target = Target.from_numpyro(grouped, GROUP, Y).with_coords({"groups": names})
    entries = tuple(f"effect[{name}]" for name in names)
    assert target.coordinate_names == (*entries, "mean")
    assert target.axes == {"effect": ("groups",), "mean": ()}
    cut = Target(target.density.with_coords({"groups": names[:2]}), target.data, target.sites)
    assert cut.coordinate_names == ("effect[0]", "effect[1]", "effect[2]", "mean")
    fit = vi_kl.fit(target, "laplace", key=0)
    assert fit.summary(0, 10).names == ("mean", *entries) or fit.summary(0, 10).names == (*entries, "mean")
    tree = fit.to_arviz(0, 10)
    assert tree.posterior.coords["groups"].values.tolist() == names
    with pytest.raises(ValueError, match="the axes are groups"):
        target.with_coords({"group": names})
    with pytest.raises(ValueError, match="must hold 3 names"):
        target.with_coords({"groups": names[:2]})
    with pytest.raises(UnsuitableError, match="give coords to summary"):
        Target.from_log_density(lambda z: -z @ z, 2).with_coords({"z_dim_0": ["a", "b"]})


def test_an_axis_without_a_plate_is_called_by_its_site():
    table = pd.DataFrame({"group": GROUP, "y": Y})
    target = Target.from_numpyro(of_table, table).with_coords({"effect_dim_0": "abc"})
    assert target.coordinate_names == ("effect[a]", "effect[b]", "effect[c]")
