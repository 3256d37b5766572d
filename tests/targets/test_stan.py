"""Targets of Stan programs: SciPy's log densities, Jacobians by differences, layouts, what is computed, refusals."""

import importlib.util
import json
import pickle
import shutil

import jax
import numpy as np
import pytest
from scipy import stats

import vi_kl
from vi_kl.core.errors import ModelError, UnsuitableError
from vi_kl.targets import Target
from vi_kl.targets.deterministic import deterministic_sites
from vi_kl.targets.row_sources import MissingExtraError
from vi_kl.targets.stan import library
from vi_kl.targets.stan.model import Call, array_for, columns_of, given_data

needs_stan = pytest.mark.skipif(importlib.util.find_spec("httpstan") is None, reason="the extra vi_kl[stan]")
RNG = np.random.default_rng(0)
PROGRAM = """
data { int<lower=1> N; array[2] matrix[2, 3] a; array[N] int y; }
parameters {
  array[2] vector<lower=0>[3] v;
  array[2] matrix<lower=-1, upper=2>[2, 3] m;
  simplex[4] s;
  ordered[3] o;
  cholesky_factor_corr[3] L;
  real<offset=3, multiplier=2> r;
}
transformed parameters { matrix[3, 3] C = L * L'; }
model {
  for (k in 1:2) { v[k] ~ exponential(k); to_vector(m[k]) ~ normal(to_vector(a[k]), k); }
  s ~ dirichlet([1, 2, 3, 4]');
  o ~ normal(0, 2);
  L ~ lkj_corr_cholesky(1);
  r ~ normal(1, 2);
  y ~ poisson_log(r);
  if (r > 50) reject("r is too large: ", r);
}
generated quantities { array[N] int again; for (n in 1:N) again[n] = poisson_log_rng(r); }
"""
DATA = {"N": 4, "a": RNG.normal(size=(2, 2, 3)), "y": [1, 2, 0, 3]}


@pytest.fixture(scope="module")
def target():
    return Target.from_stan(PROGRAM, DATA | {"unused": "text"})


@pytest.fixture(scope="module")
def z(target):
    return np.random.default_rng(1).normal(size=(6, target.dim))


def free(x) -> np.ndarray:
    """The coordinates that move freely, in the order of z or another: volumes do not depend on it."""
    below = x["L"][np.tril_indices(3, -1)]
    return np.concatenate([x["v"].ravel(), x["m"].ravel(), x["s"][:3], x["o"], below, x["r"][None]])


def log_det(target, z) -> float:
    """The log determinant of the constraining map, by central differences."""
    steps = 1e-5 * np.eye(target.dim)
    ahead, behind = (target.constrain(z + sign * steps) for sign in (1, -1))
    columns = [
        free({name: ahead[name][i] for name in ahead}) - free({name: behind[name][i] for name in behind})
        for i in range(target.dim)
    ]
    return np.linalg.slogdet(np.array(columns) / 2e-5)[1]


@needs_stan
def test_the_log_density_is_scipys_with_a_jacobian_by_differences(target, z):
    values = target.constrain(z)
    for i, one in enumerate(z):
        x = {name: values[name][i] for name in values}
        expected = sum(stats.expon.logpdf(x["v"][k], scale=1 / (k + 1)).sum() for k in range(2))
        expected += sum(stats.norm.logpdf(x["m"][k], DATA["a"][k], k + 1).sum() for k in range(2))
        expected += stats.dirichlet.logpdf(x["s"], [1, 2, 3, 4]) + stats.norm.logpdf(x["o"], 0, 2).sum()
        expected += stats.norm.logpdf(x["r"], 1, 2) + stats.poisson.logpmf(DATA["y"], np.exp(x["r"])).sum()
        # uniform over correlation matrices of three, whose volume is pi^2 / 2; of L, its factor, by its diagonal
        expected += np.log(x["L"][1, 1]) - np.log(np.pi**2 / 2)
        assert float(target.log_density(one)) == pytest.approx(expected + log_det(target, one), abs=1e-6)
        with jax.enable_x64(True):
            found = target.density.constrain(target.data, target.unravel(one))[1]
        assert float(found) == pytest.approx(log_det(target, one), abs=1e-6)


@needs_stan
def test_gradients_are_those_of_differences(target, z):
    def value(z):
        return -2.0 * target.density.log_density(target.data, target.unravel(z))

    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(value))(z[0])
    steps = 1e-5 * np.eye(target.dim)
    differences = -2.0 * (target.log_density(z[0] + steps) - target.log_density(z[0] - steps)) / 2e-5
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-6)


@needs_stan
def test_sites_have_their_shapes_bounds_and_inverse(target, z):
    x = target.constrain(z)
    assert {name: value.shape[1:] for name, value in x.items()} == {
        "v": (2, 3), "m": (2, 2, 3), "s": (4,), "o": (3,), "L": (3, 3), "r": (),
    }  # fmt: skip
    assert (x["v"] > 0).all()
    assert ((x["m"] > -1) & (x["m"] < 2)).all()
    np.testing.assert_allclose(x["s"].sum(axis=1), 1, rtol=1e-14)
    assert (np.diff(x["o"]) > 0).all()
    np.testing.assert_allclose((x["L"] ** 2).sum(axis=2), 1, rtol=1e-14)
    np.testing.assert_allclose(target.unconstrain(x), z, atol=1e-12)


@needs_stan
def test_what_the_program_computes_comes_with_draws(target, z):
    z = np.repeat(z[:1], 4_000, axis=0)
    found = deterministic_sites(target, z, jax.random.key(2))
    assert target.density.deterministic == ("C", "again")
    L, r = (target.constrain(z[0])[name] for name in ("L", "r"))
    np.testing.assert_allclose(found["C"][0], L @ L.T, atol=1e-14)
    mean, rate = found["again"].mean(axis=0), np.exp(r)
    assert (np.abs(mean - rate) < 4.5 * np.sqrt(rate / len(z))).all()
    assert len(np.unique(found["again"][:, 0])) > 3  # each draw has random numbers of its own


@needs_stan
def test_a_rejected_point_is_minus_infinity_and_explained(target, z):
    z = np.array(z[0])
    z[-1] = 60.0
    assert target.log_density(z) == -np.inf
    with jax.enable_x64(True):
        assert "r is too large" in target.density.explain(target.data, target.unravel(z))


@needs_stan
def test_targets_survive_pickling_and_files_and_text_are_one_program(target, z, tmp_path):
    again = pickle.loads(pickle.dumps(target))
    np.testing.assert_array_equal(again.log_density(z), target.log_density(z))
    (tmp_path / "program.stan").write_text(PROGRAM)
    (tmp_path / "data.json").write_text(json.dumps(DATA | {"a": DATA["a"].tolist()}))
    other = Target.from_stan(tmp_path / "program.stan", tmp_path / "data.json")
    assert other.density == target.density
    np.testing.assert_array_equal(other.log_density(z), target.log_density(z))


@needs_stan
def test_other_data_at_each_point_of_a_batch(target, z):
    """Data with leading axes: each row of z with its own."""
    call = next(call for call in Call.made.values() if call.kind == "log_density" and "a" in call.names)
    given = [np.asarray(x) for x in target.density.split(target.data)[0]]
    shifted = [np.stack([x, x + 1]) if name == "a" else x[None] for name, x in zip(call.names, given, strict=True)]
    value, gradient = call(z[:2], *shifted)
    for i in range(2):
        alone = Target.from_stan(PROGRAM, DATA | {"a": DATA["a"] + i})
        assert value[i] == alone.log_density(z[i])
    assert gradient.shape == (2, target.dim)


@needs_stan
@pytest.mark.parametrize(
    ("program", "data", "words"),
    [
        (PROGRAM, {"N": 4}, "not given: a, y"),
        (PROGRAM, DATA | {"N": 4.5}, "'N' are declared as int, and have values such as 4.5"),
        (PROGRAM, DATA | {"N": -1}, "N is -1, but must be greater than or equal to 1"),
        (PROGRAM, DATA | {"y": [1, 2]}, "dims declared=(4); dims found=(2)"),
        ("parameters { real x; } model { x ~ nomal(0, 1); }", None, "nomal_lpdf"),
        ("model { }", None, "nothing to fit"),
    ],
)
def test_mistakes_are_named(program, data, words):
    with pytest.raises(ModelError) as caught:
        Target.from_stan(program, data)
    assert words in str(caught.value)


@needs_stan
def test_what_is_lacking_is_said(target):
    with pytest.raises(UnsuitableError, match="generated quantities"):
        vi_kl.fit(target, "laplace", key=0).predict(1)


# Without Stan ----------------------------------------------------------------------------------------------------


def test_a_missing_package_and_a_missing_compiler_are_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install \"vi_kl\[stan\]\""):
        Target.from_stan("parameters { real x; }")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"no C\+\+ compiler.*apt install g\+\+.*CXX"):
        library.compiler()


def test_entries_stand_where_their_names_say():
    entries = ["m.1.1", "m.2.1", "m.1.2", "m.2.2", "x"]
    assert columns_of(entries, {"m": (2, 2), "x": ()}) == (("m", (2, 2), (0, 2, 1, 3)), ("x", (), (4,)))
    with pytest.raises(ModelError, match=r"'c\.real' is part of a tuple or of a complex number"):
        columns_of(["c.real", "c.imag"], {"c": (2,)})


@pytest.mark.parametrize(
    ("value", "kind", "dimensions", "words"),
    [
        ([[1], [1, 2]], "real", 2, "different lengths"),
        (["a"], "real", 1, "no numbers"),
        ([1.0], "real", 2, "2 dimensions, and have shape (1,)"),
        ([1.5], "int", 1, "such as 1.5"),
        (1.0, ["real", "int"], 0, "tuple or complex"),
    ],
)
def test_data_that_do_not_fit_are_named(value, kind, dimensions, words):
    with pytest.raises(ModelError, match="'x'") as caught:
        array_for("x", value, {"type": kind, "dimensions": dimensions})
    assert words in str(caught.value)


def test_data_get_the_declared_type():
    assert array_for("x", [1.0, 2.0], {"type": "int", "dimensions": 1}).dtype == np.int64
    assert array_for("x", [1, 2], {"type": "real", "dimensions": 1}).dtype == np.float64
    assert array_for("x", np.float32([1, 2]), {"type": "real", "dimensions": 1}).dtype == np.float32


def test_files_of_data_that_are_none_are_named(tmp_path):
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "broken.json").write_text("{")
    for data, error, words in (
        (tmp_path / "list.json", ModelError, "holds a list"),
        (tmp_path / "broken.json", ModelError, "is no JSON"),
        (tmp_path / "none.json", FileNotFoundError, "There is no file"),
        (3, TypeError, "and not a int"),
    ):
        with pytest.raises(error, match=words):
            given_data(data)
    with pytest.raises(FileNotFoundError, match=r"no file none\.stan"):
        Target.from_stan("none.stan")
