"""Log densities of named parameters: how a tree is read, what the function gets, and what is refused by name."""

import collections
import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from numpyro.infer.autoguide import AutoNormal
from scipy import stats

import vi_kl
from vi_kl.core.errors import ModelError
from vi_kl.targets import (
    CorrCholesky,
    GreaterThan,
    Interval,
    LessThan,
    Ordered,
    Parameter,
    Positive,
    Simplex,
    Target,
    UnitInterval,
)

pytestmark = pytest.mark.usefixtures("compiled_quickly")
Pair = collections.namedtuple("Pair", "low high")


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Layer:
    w: jax.Array
    b: jax.Array


@dataclasses.dataclass
class Unregistered:
    w: float = 0.0


def total(tree):
    return -0.5 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))


# How a tree is read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        ({"mu": 0.0, "sigma": Positive(1.0), "w": np.zeros((3, 2))}, ("mu", "sigma", "w")),
        ({"group": {"mu": 0.0, "share": UnitInterval(0.5)}, "b": 1.5}, ("b", "group.mu", "group.share")),
        ((np.zeros(2), Positive([1.0, 2.0])), ("0", "1")),
        ([0.0, {"a": 0.0}], ("0", "1.a")),
        (Pair(0.0, Positive(1.0)), ("high", "low")),
        ({"at": (Layer(np.zeros((2, 2)), 0.0), Layer(0.0, 0.0))}, ("at.0.b", "at.0.w", "at.1.b", "at.1.w")),
        (np.zeros(3), ("z",)),
        (Positive(1.0), ("z",)),
        ({1: 0.0, 2: 0.0}, ("1", "2")),
        ({"a": None, "b": np.float32(1.0)}, ("b",)),
    ],
)  # fmt: skip
def test_sites_are_named_by_the_keys_on_their_way(tree, names):
    seen = []

    def f(got):
        seen.append(jax.tree.structure(got))
        return total(got)

    target = Target.from_log_density(f, tree)
    assert target.site_names == names
    assert set(seen) == {jax.tree.structure(tree)}


def test_the_function_gets_the_tree_in_its_supports_and_shapes():
    tree = {"w": np.zeros((3, 2), np.float32), "scale": (Positive(2.0), Interval(0.0, -1.0, 3.0))}
    shapes = {}

    def f(p, data):
        shapes.update(w=p["w"].shape, dtype=p["w"].dtype, first=p["scale"][0].shape)
        return jnp.sum(p["w"] * data) - p["scale"][0] + 2.0 * p["scale"][1]

    target = Target.from_log_density(f, tree, data=np.ones((3, 2)))
    assert shapes == {"w": (3, 2), "dtype": np.float64, "first": ()}
    assert target.coordinate_names[:2] == ("scale.0", "scale.1")
    z = np.linspace(-1, 1, 8)  # scale.0, scale.1, w
    share = 1 / (1 + np.exp(-z[1]))
    truth = z[2:].sum() - np.exp(z[0]) + 2 * (-1 + 4 * share) + z[0] + np.log(4 * share * (1 - share))
    assert float(target.log_density(z)) == pytest.approx(truth, rel=1e-13)
    sites = target.constrain(z)
    assert sites["w"].shape == (3, 2)
    np.testing.assert_allclose(target.unconstrain(sites), z, rtol=1e-12)


def test_bounds_that_are_arrays_are_data():
    """Two targets that differ in their bounds share every program."""

    def make(bound):
        return Target.from_log_density(total, {"a": GreaterThan(bound + 1.0, bound), "b": LessThan(bound - 1.0, bound)})

    one, other = make(np.array([0.0, 5.0])), make(np.array([-3.0, 2.0]))
    assert one.density == other.density
    for target, bound in ((one, [0.0, 5.0]), (other, [-3.0, 2.0])):
        sites = target.constrain(np.zeros(4))
        np.testing.assert_allclose(sites["a"], np.array(bound) + 1)
        np.testing.assert_allclose(sites["b"], np.array(bound) - 1)
        again = pickle.loads(pickle.dumps(target))
        np.testing.assert_array_equal(again.log_density(np.ones(4)), target.log_density(np.ones(4)))


def test_a_dimension_is_what_it_was():
    for dim in (2, 2.0, np.int64(2), np.array(2)):
        assert Target.from_log_density(lambda z: -jnp.sum(z**2), dim).site_names == ("z",)
    for dim, kind in ((0, ValueError), (2.5, ValueError), ("2", TypeError), (None, TypeError), (True, TypeError)):
        with pytest.raises(kind, match="dim"):
            Target.from_log_density(total, dim)


# What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({}, ["no leaf", "Positive(1.0)"]),
        ((), ["no leaf"]),
        ({"a": None}, ["no leaf"]),
        ({"mu": 0.0, "sigma": Positive(-1.0)}, ["'sigma'", "-1.", "outside"]),
        ({"sigma": Positive(0.0)}, ["'sigma'", "outside"]),
        ({"g": {"p": UnitInterval(1.5)}}, ["'g.p'", "1.5", "outside"]),
        ({"p": Simplex([0.5, 0.6])}, ["'p'", "outside"]),
        ({"p": Simplex(1.0)}, ["'p'", "shape ()", "1 axes"]),
        ({"o": Ordered([2.0, 1.0])}, ["'o'", "outside"]),
        ({"c": CorrCholesky(np.ones((2, 2)))}, ["'c'", "outside"]),
        ({"c": CorrCholesky(np.zeros((3, 2)))}, ["'c'"]),
        ({"a": GreaterThan([1.0, 2.0, 3.0], np.zeros(2))}, ["'a'", "(3,)", "fit"]),
        ({"mu": np.nan}, ["'mu'", "nan", "outside"]),
        ({"mu": np.array([0.0, np.inf])}, ["'mu'", "outside"]),
        ({"n": 1}, ["'n'", "int64", "1.0"]),
        ({"n": np.zeros(3, int)}, ["'n'", "int64"]),
        ({"n": Positive(2)}, ["'n'", "int64"]),
        ({"flag": True}, ["'flag'", "bool"]),
        ({"c": 1j}, ["'c'", "complex", "imaginary"]),
        ({"a": "high"}, ["'a'", "str"]),
        ({"a": np.array(["x"])}, ["'a'"]),
        ({"a": Positive([1.0, "x"])}, ["'a'"]),
        ({"a": lambda: 0}, ["'a'", "function"]),
        ({"a": Unregistered()}, ["'a'", "Unregistered", "register_dataclass"]),
        (Unregistered(), ["Unregistered", "register_dataclass"]),
        ({"a": Positive({"b": 1.0})}, ["'a'", "dict"]),
        ({"a": np.zeros((0, 2))}, ["'a'", "no entries"]),
        ({"a": Parameter(1.0, constraints.positive_integer)}, ["'a'", "discrete"]),
        ({"a": Parameter(1.0, constraints.boolean)}, ["'a'", "discrete"]),
        ({"a": Parameter([1.0, 0.0], constraints.sphere)}, ["'a'", "biject_to"]),
        ({"a": Parameter(1.0, dist.Gamma(1.0, 1.0))}, ["'a'", "distribution", "support"]),
        ({"a": Parameter(1.0, "positive")}, ["'a'", "str", "constraints.positive"]),
        ({"a": {"b": 0.0}, "a.b": 0.0}, ["2 parameters", "'a.b'", "Rename"]),
        ({"a": 0.0, 1: 0.0}, ["keys", "strings"]),
        (dist.Normal, ["DistributionMeta"]),
    ],
)  # fmt: skip
def test_examples_that_are_none(tree, words):
    messages = set()
    for _ in range(2):
        with pytest.raises(ModelError) as caught:
            Target.from_log_density(total, tree)
        messages.add(str(caught.value))
    assert len(messages) == 1
    for word in words:
        assert word in next(iter(messages))


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (lambda p: None, "None"),
        (lambda p: p["a"], "shape (2,)"),
        (lambda p: jnp.sum(p["a"]) + 1j, "complex"),
        (lambda p: p, "dict"),
        (lambda p: 1, "int"),
        (lambda p: jnp.sum(p["a"]) * np.random.default_rng().normal(), "changes"),
    ],
)
def test_functions_that_are_no_log_density(function, word):
    with pytest.raises(ModelError, match=word.replace("(", r"\(").replace(")", r"\)")):
        Target.from_log_density(function, {"a": np.zeros(2)})
    with pytest.raises(TypeError, match="data="):
        Target.from_log_density(lambda p, data: 0.0, {"a": 0.0})
    with pytest.raises(KeyError):  # the function's own
        Target.from_log_density(lambda p: p["b"], {"a": 0.0})


def test_a_density_that_is_finite_nowhere_says_where(key):
    target = Target.from_log_density(lambda p: jnp.log(-p["sigma"]), {"sigma": Positive(1.0)})
    with pytest.raises(ValueError, match="sigma = "):
        target.initial_position(key)


# What such a target can do ---------------------------------------------------------------------------------------

WAITS = np.array([0.5, 1.5, 0.3])


def of_rate(p, waits):
    """A rate with a Gamma(3, 2) prior, of exponential waits: the posterior is Gamma(6, 4.3)."""
    return 2 * jnp.log(p["rate"]) - 2 * p["rate"] + jnp.sum(jnp.log(p["rate"]) - p["rate"] * waits)


RATE = Target.from_log_density(of_rate, {"rate": Positive(1.0)}, data=WAITS)
POSTERIOR = stats.gamma(6, scale=1 / 4.3)


def rate_guide(waits):
    a = numpyro.param("a", 3.0, constraint=constraints.positive)
    numpyro.sample("rate", dist.Gamma(a, 2.0 + jnp.sum(waits)))


@pytest.mark.parametrize(
    "method",
    [
        "coordinate_ascent",
        pytest.param("constrained", marks=pytest.mark.exhaustive),
        pytest.param(rate_guide, marks=pytest.mark.exhaustive),
    ],
)
def test_what_asks_for_supports_and_guides_finds_the_exact_posterior(method):
    found = vi_kl.fit(RATE, method, key=0)
    z = np.log([[0.5], [1.4], [3.0]])
    exact = POSTERIOR.logpdf(np.exp(z[:, 0])) + z[:, 0]
    atol = 1e-6 if method == "coordinate_ascent" else 0.02
    np.testing.assert_allclose(found.approximation.log_prob(z), exact, atol=atol)


@pytest.mark.exhaustive
def test_automatic_guides(key):
    """Made for the same posterior as a NumPyro model; a log-normal is the best of these."""
    found = vi_kl.fit(RATE, AutoNormal, key=key)
    normal = vi_kl.fit(RATE, "full_rank", key=key)
    z = np.log([[1.0], [1.4], [2.0]])
    np.testing.assert_allclose(found.approximation.log_prob(z), normal.approximation.log_prob(z), atol=0.05)


def test_start_and_draws_are_by_name(key):
    found = vi_kl.fit(RATE, "laplace", key=key, start={"rate": 1.3})
    draws = found.approximation.sample(key, 7)
    assert set(draws) == {"rate"}
    assert draws["rate"].shape == (7,)
