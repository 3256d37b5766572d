"""Data frames, Series, Datasets and dicts of columns as arguments: their numbers are data, their text is asked for."""

import argparse

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from vi_kl.targets import Target
from vi_kl.targets.numpyro.model import ModelError

HEIGHT = np.array([1.0, 2.5, 3.0])
FRAME = pd.DataFrame({
    "height": HEIGHT, "age": pd.array([1, None, 3], dtype="Int64"), "name": ["ann", "bob", "cid"],
    "sex": pd.Categorical(["m", "f", "m"]),
})  # fmt: skip
PLAIN = {"height": HEIGHT, "name": np.array(["ann", "bob", "cid"])}


def normal(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(loc, 1).expand(jnp.shape(y)), obs=y)


def by_name(data):
    normal(data["height"])


def by_attribute(data):
    normal(data.height)


def by_values(data):
    normal(data["height"].values)


def by_list(data):
    normal(data[["height", "height"]].values[:, 0])


def by_group(data):
    normal(data.groupby("sex", observed=True)["height"].mean().to_numpy()[data["sex"].cat.codes.to_numpy()])


def by_names(data):
    normal(data["height"][np.unique(data["name"], return_inverse=True)[1]])


@pytest.mark.parametrize(
    ("model", "data", "arrays"),
    [
        (by_name, FRAME, 2), (by_attribute, FRAME, 2), (by_list, FRAME, 2), (by_values, FRAME, 0), (by_name, PLAIN, 1),
        (by_name, {"height": FRAME["height"], "name": FRAME["name"]}, 1), (by_names, PLAIN, 1),
        (by_name, xr.Dataset({"height": ("row", HEIGHT)}), 1),
    ],
)  # fmt: skip
def test_the_columns_that_a_model_asks_for(model, data, arrays):
    target = Target.from_numpyro(model, data)
    assert target.density.num_arguments == arrays
    expected = stats.norm.logpdf(0.3) + stats.norm.logpdf(HEIGHT, 0.3).sum()
    np.testing.assert_allclose(target.log_density(np.array([0.3])), expected, rtol=1e-12)


def test_a_model_that_needs_the_table_itself_gets_it():
    target = Target.from_numpyro(by_group, FRAME)
    expected = stats.norm.logpdf(0.3) + stats.norm.logpdf([2.0, 2.5, 2.0], 0.3).sum()
    np.testing.assert_allclose(target.log_density(np.array([0.3])), expected, rtol=1e-12)
    other = Target.from_numpyro(by_group, FRAME.assign(height=HEIGHT + 1))
    assert other.density != target.density
    assert Target.from_numpyro(by_group, FRAME.copy()).density == target.density


def test_a_matrix_and_a_series():
    def linear(x, y):
        slope = numpyro.sample("slope", dist.Normal(0, 1).expand([2]).to_event(1))
        numpyro.sample("y", dist.Normal(x @ slope, 1), obs=y)

    x = pd.DataFrame({"a": HEIGHT, "b": HEIGHT**2})
    target = Target.from_numpyro(linear, x, FRAME["height"])
    z = np.array([0.4, -0.2])
    expected = stats.norm.logpdf(z).sum() + stats.norm.logpdf(HEIGHT, x.to_numpy() @ z).sum()
    np.testing.assert_allclose(target.log_density(z), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("name", FRAME, ["column 'name'", "factorize"]),
        ("sex", FRAME, ["column 'sex'", "factorize"]),
        ("name", PLAIN, ["argument 'data['name']'", "factorize"]),
        ("heigth", FRAME, ["no column 'heigth'", "'height'"]),
    ],
)
def test_text_is_refused_only_where_it_is_used(name, data, words):
    with pytest.raises(ModelError) as raised:
        Target.from_numpyro(lambda data: normal(data[name]), data)
    for word in words:
        assert word in str(raised.value)
    others = {"name", "sex"} - {name}
    assert not any(f"'{other}'" in str(raised.value) for other in others) or name == "heigth"


def squared(x, y, *, more=None):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(loc + x**2, 1), obs=y)


def test_an_argument_of_a_wrong_kind_is_called_by_its_name():
    with pytest.raises(ModelError, match=r"argument 'x' is a list of numbers: pass np.array\(x\)"):
        Target.from_numpyro(squared, [1.0, 2.0], HEIGHT[:2])
    with pytest.raises(ModelError, match=r"computes with argument 'x', which JAX cannot hold"):
        Target.from_numpyro(squared, np.array(["ann", "bob", "cid"]), HEIGHT)


def test_nullable_numbers_hold_nan_where_they_are_missing():
    with pytest.raises(ModelError, match="1 NaN"):
        Target.from_numpyro(lambda data: normal(data["age"]), FRAME)


def test_options_in_a_namespace():
    def model(y, options):
        assert options.robust
        normal(y * options.scale)

    options = argparse.Namespace(robust=True, scale=2.0)
    target = Target.from_numpyro(model, HEIGHT, options)
    options.scale = 3.0
    expected = stats.norm.logpdf(0.3) + stats.norm.logpdf(2 * HEIGHT, 0.3).sum()
    np.testing.assert_allclose(target.log_density(np.array([0.3])), expected, rtol=1e-12)
    assert Target.from_numpyro(model, HEIGHT, argparse.Namespace(robust=True, scale=2.0)).density == target.density
    assert Target.from_numpyro(model, HEIGHT, options).density != target.density
