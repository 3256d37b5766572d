"""A saved fit comes back to the last bit, for its own target only, and without running code from the file."""

import dataclasses
import functools
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from numpyro.infer.autoguide import AutoNormal
from programs import exponential_rate, linear_regression
from tiers import exhaustive_after

import vi_kl
from vi_kl.algorithms import SVI, Cost, Fit, History, Laplace, Status
from vi_kl.algorithms.storage import StorageError, describe, known_classes
from vi_kl.core import array_files, serialization
from vi_kl.core.errors import UnsuitableError
from vi_kl.families import Approximation, Flow, FullRank, Guide, LowRank, MeanField, Mixture
from vi_kl.families.guide import guide_family
from vi_kl.objectives import ELBO
from vi_kl.targets import Target

X = np.linspace(-1, 1, 8)
Y = np.array([0.4, 1.3, 0.9])
LINE = Target.from_numpyro(linear_regression, X, 2 * X)
RATE = Target.from_numpyro(exponential_rate, Y)
ROOT = Path(__file__).parent.parent


def exponential_guide(y):
    a = numpyro.param("a", 3.0, constraint=dist.constraints.positive)
    b = numpyro.param("b", 2.0, constraint=dist.constraints.positive)
    numpyro.sample("rate", dist.Gamma(a, b))


def short(family, **options):
    return SVI(family, ELBO(2), max_steps=40, chunk=20, **options)


def assert_same(loaded: Fit, fit: Fit, key):
    params = loaded.approximation.params, fit.approximation.params
    for a, b in zip(*map(jax.tree.leaves, params), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert jax.tree.structure(params[0]) == jax.tree.structure(params[1])
    for a, b in zip(*(f.approximation.sample_and_log_prob(key, 50) for f in (loaded, fit)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert loaded.status == fit.status
    assert loaded.cost == fit.cost
    np.testing.assert_array_equal(loaded.history.loss, fit.history.loss)
    np.testing.assert_array_equal(loaded.history.step_size, fit.history.step_size)


def unfitted(family, key):
    """A fit that is made of numbers of its own, quicker than by fitting."""
    config = SVI(family, ELBO(3, "total"), tolerance=0.1, max_steps=17)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: x + 0.1 / 3, family.init(key, LINE))
    status, history = Status(False, "Not fitted."), History(np.array([1.5, np.nan]), np.array([0.1, 0.1]))
    return Fit(Approximation(family, params, LINE), status, history, Cost(7, 3, 0.25, 1 / 3), config)


def test_a_file_says_what_it_is_without_its_target(key, tmp_path):
    fit = unfitted(FullRank(), key)
    vi_kl.save(fit, tmp_path / "fit.vikl", made={"model": "line.py:line", "seed": 3})
    found = describe(tmp_path / "fit.vikl")
    assert (found.method, found.family, found.status, found.cost) == (fit.name, "full_rank", fit.status, fit.cost)
    assert (found.dim, found.num_steps) == (LINE.dim, 2)
    assert found.sites == {site.name: site.shape for site in LINE.sites}
    assert found.data == ("float64[8]", "float64[8]")
    assert found.versions["vi_kl"] == vi_kl.__version__
    assert found.made == {"model": "line.py:line", "seed": 3}
    assert_same(vi_kl.load(tmp_path / "fit.vikl", LINE), fit, key)  # and is no other fit for it
    (tmp_path / "fit.vikl").write_bytes((tmp_path / "fit.vikl").read_bytes()[:-99])
    with pytest.raises(StorageError, match=r"fit\.vikl"):
        describe(tmp_path / "fit.vikl")


@pytest.mark.parametrize(
    "make", [Laplace().fit, MeanField(), FullRank(), Flow(hidden=3)], ids=lambda m: type(m).__name__
)
def test_a_fit_comes_back_to_the_last_bit(make, key, tmp_path):
    fit = make(key, LINE) if callable(make) else unfitted(make, key)
    vi_kl.save(fit, tmp_path / "fit.vikl")
    loaded = vi_kl.load(tmp_path / "fit.vikl", LINE)
    assert_same(loaded, fit, key)
    assert loaded.algorithm == fit.algorithm
    assert loaded.approximation.family == fit.approximation.family
    assert loaded.target is LINE


LOAD_ELSEWHERE = """
import sys
import jax, numpy as np
sys.path.insert(0, "tests")
from programs import exponential_rate
import vi_kl
target = vi_kl.Target.from_numpyro(exponential_rate, np.array([0.4, 1.3, 0.9]))
z, _ = vi_kl.load(sys.argv[1], target).approximation.sample_and_log_prob(jax.random.key(5), 3)
print([x.hex() for x in np.ravel(z).tolist()])
"""


@pytest.mark.landing
def test_another_process_draws_the_same(key, tmp_path):
    fit = Laplace().fit(key, RATE)
    vi_kl.save(fit, tmp_path / "fit.vikl")
    command = [sys.executable, "-c", LOAD_ELSEWHERE, str(tmp_path / "fit.vikl")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    z, _ = fit.approximation.sample_and_log_prob(jax.random.key(5), 3)
    assert done.stdout.strip() == str([x.hex() for x in np.ravel(z).tolist()])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("storage") / "fit.vikl"
    vi_kl.save(Laplace().fit(jax.random.key(0), LINE), path)
    return path


def wider_prior(x, y):
    slope = numpyro.sample("slope", dist.Normal(0, 10.001))
    intercept = numpyro.sample("intercept", dist.Normal(0, 10))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(intercept + slope * x, 0.5), obs=y)


def two_slopes(x, y):
    slope = numpyro.sample("slope", dist.Normal(0, 10).expand([2]).to_event(1))
    numpyro.sample("y", dist.Normal(slope[0] + slope[1] * x, 0.5), obs=y)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            Target.from_numpyro(linear_regression, X, 2 * X + 1e-13),
            r"data array 1, of shape \(8,\), holds",
        ),
        (Target.from_numpyro(linear_regression, X[:7], X[:7]), r"data array 0 was <f8\[8\] then and is <f8\[7\] now"),
        (Target.from_numpyro(wider_prior, X, 2 * X), "log density at z = 0 was .* the model has changed"),
        (Target.from_numpyro(two_slopes, X, 2 * X), r"'intercept' had shape \(\) then and was absent now.*'slope' had"),
    ],
    ids=["numbers", "shape", "model", "sites"],
)
def test_another_target_is_refused(saved, target, words):
    with pytest.raises(StorageError, match=f"another target: .*{words}"):
        vi_kl.load(saved, target)


def test_without_its_target_a_fit_can_be_drawn_from_in_z(saved, key):
    path, fit = saved, vi_kl.load(saved, LINE)
    alone = vi_kl.load(path)
    z, log_q = alone.approximation.sample_and_log_prob(key, 8)
    np.testing.assert_array_equal(z, fit.approximation.sample_and_log_prob(key, 8)[0])
    np.testing.assert_allclose(log_q, fit.approximation.log_prob(z), rtol=1e-9)
    for use in (lambda: alone.sample(key, 3), lambda: vi_kl.check(alone, key=key), lambda: vi_kl.save(alone, path)):
        with pytest.raises(UnsuitableError, match=r"without 'linear_regression'.*vi_kl.load\(path, target\)"):
            use()


def test_the_same_model_and_data_made_again_are_the_same_target(saved):
    assert vi_kl.load(saved, Target.from_numpyro(linear_regression, X.copy(), 2 * X)).status.converged


def test_a_guide_is_given_again(key, tmp_path):
    path = tmp_path / "guide.vikl"
    fit = vi_kl.fit(RATE, short(Guide(exponential_guide)), key=key)
    vi_kl.save(fit, path)
    with pytest.raises(StorageError, match="family=exponential_guide"):
        vi_kl.load(path, RATE)
    for given in (exponential_guide, Guide(exponential_guide)):
        loaded = vi_kl.load(path, RATE, family=given)
        assert_same(loaded, fit, key)
        assert loaded.algorithm.family == loaded.approximation.family
    with pytest.raises(StorageError, match=r"has parameters.*rate_auto_loc"):
        vi_kl.load(path, RATE, family=AutoNormal)


@pytest.mark.exhaustive
def test_an_autoguide_is_given_again(key, tmp_path):
    fit = short(guide_family(AutoNormal, RATE)).fit(key, RATE)
    vi_kl.save(fit, tmp_path / "auto.vikl")
    assert_same(vi_kl.load(tmp_path / "auto.vikl", RATE, family=AutoNormal), fit, key)


@dataclasses.dataclass(frozen=True)
class Mine(MeanField):
    width: float = 1.0

    name = "mine"


def test_classes_of_ones_own_are_given(key, tmp_path):
    path = tmp_path / "mine.vikl"
    fit = short(Mine(2.0)).fit(key, RATE)
    vi_kl.save(fit, path)
    with pytest.raises(StorageError, match=r"`Mine` of .*test_storage.*classes=\[Mine\]"):
        vi_kl.load(path, RATE)
    assert vi_kl.load(path, RATE, classes=[Mine]).approximation.family == Mine(2.0)


def test_what_is_code_is_not_saved(key, tmp_path):
    path = tmp_path / "fit.vikl"
    fit = short(MeanField(), optimizer=optax.adam(0.1)).fit(key, RATE)
    with pytest.raises(StorageError, match=r"algorithm.optimizer.* is a function.*optimizer=None") as raised:
        vi_kl.save(fit, path)
    assert not list(tmp_path.iterdir())
    assert "dataclasses.replace(fit" in str(raised.value)
    vi_kl.save(dataclasses.replace(fit, algorithm=dataclasses.replace(fit.algorithm, optimizer=None)), path)
    assert_same(vi_kl.load(path, RATE), fit, key)


def test_a_damaged_file_says_so(saved, tmp_path):
    whole = saved.read_bytes()
    for length in (0, 100, len(whole) // 2, len(whole) - 5):
        (tmp_path / "part").write_bytes(whole[:length])
        with pytest.raises(StorageError, match="damaged"):
            vi_kl.load(tmp_path / "part", LINE)
    with pytest.raises(FileNotFoundError):
        vi_kl.load(tmp_path / "nowhere", LINE)


def test_a_file_of_a_later_format_is_refused(tmp_path):
    serialization.write(tmp_path / "later", {"format": 99, "vi_kl": "9.9", "family": None})
    with pytest.raises(StorageError, match=r"by vi_kl 9\.9 in format 99.*upgrade"):
        vi_kl.load(tmp_path / "later", LINE)


JUNK = [None, -1, "text", {}, True, [], {"list": []}, {"dict": []}, {"dict": [[1]]}, {"float": "x"}, {"tuple": 3}]
JUNK += [{"array": "0"}, {"array": "99"}, {"array": 3}, {"key": "threefry2x32", "array": "0"}, {"nothing": 1}]
JUNK += [{"class": "MeanField", "module": "m", "fields": {"x": 1}}, {"class": [], "module": {}, "fields": {}}]
JUNK += [{"class": "Status", "module": "m", "fields": {"converged": "yes", "message": 3}}]


def parts_of(document):
    """Yield (path, setter) of every value in JSON."""
    waiting = [((name,), document, name) for name in document]
    while waiting:
        path, holder, name = waiting.pop()
        yield path, holder, name
        inside = holder[name]
        keys = list(inside) if isinstance(inside, dict) else range(len(inside)) if isinstance(inside, list) else ()
        waiting += [((*path, key), inside, key) for key in keys]


@pytest.mark.parametrize("junk", exhaustive_after(4, JUNK), ids=str)
def test_documents_that_say_something_else_are_refused_or_change_nothing(junk, saved, tmp_path, key):
    """Every value of the document in turn; what is the same answer after all may be loaded."""
    with np.load(saved) as stored:
        arrays = {name: stored[name] for name in stored.files}
    words = json.loads(arrays.pop("document").tobytes())
    whole = vi_kl.load(saved, LINE)
    paths = [path for path, *_ in parts_of(words) if path[0] not in ("vi_kl", "target")]
    assert len(paths) > 30
    for path in paths:
        crafted = json.loads(json.dumps(words))
        holder, name = next((h, n) for p, h, n in parts_of(crafted) if p == path)
        holder[name] = junk
        document = np.frombuffer(json.dumps(crafted).encode(), np.uint8)
        array_files.write_arrays(tmp_path / "crafted", {"document": document, **arrays})
        try:
            loaded = vi_kl.load(tmp_path / "crafted", LINE)
        except StorageError:
            continue
        assert_params_are_those_of(loaded, whole)


def assert_params_are_those_of(loaded, whole):
    assert type(loaded.approximation.family) is type(whole.approximation.family)
    params = loaded.approximation.params, whole.approximation.params
    assert jax.tree.structure(params[0]) == jax.tree.structure(params[1])
    for a, b in zip(*map(jax.tree.leaves, params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert isinstance(loaded.status.converged, bool)
    assert isinstance(loaded.status.message, str)
    assert np.isfinite(loaded.cost.seconds)


@pytest.mark.parametrize("number", [0, -7, True, 1.0, None])
def test_numbers_that_are_no_format_are_refused(number, saved, tmp_path):
    stored = serialization.Archive(saved)
    document = {name: stored.get(name, known_classes(())) for name in stored.words} | {"format": number}
    serialization.write(tmp_path / "fit", document)
    with pytest.raises(StorageError, match="holds no fit"):
        vi_kl.load(tmp_path / "fit", LINE)


@pytest.mark.parametrize("family", [MeanField(), Flow(hidden=4), Mixture(2), LowRank(1)], ids=str)
def test_parameters_of_another_family_are_refused(family, saved, tmp_path):
    stored = serialization.Archive(saved)
    document = {name: stored.get(name, known_classes(())) for name in stored.words} | {"family": family}
    serialization.write(tmp_path / "fit", document)
    with pytest.raises(StorageError, match=rf"holds no {family.name} of this target: '{family.name}' has parameters"):
        vi_kl.load(tmp_path / "fit", LINE)


def test_numbers_that_are_not_finite_are_neither_saved_nor_loaded(key, saved, tmp_path):
    fit = unfitted(MeanField(), key)
    params = {**fit.approximation.params, "loc": np.array([0.0, np.nan])}
    fit = dataclasses.replace(fit, approximation=Approximation(MeanField(), params, LINE))
    with pytest.raises(StorageError, match=r"not worth saving: parameter \['loc'\] is not finite"):
        vi_kl.save(fit, tmp_path / "fit")
    stored = serialization.Archive(saved)
    document = {name: stored.get(name, known_classes(())) for name in stored.words}
    document["params"] = {**document["params"], "loc": np.array([np.inf, 0.0])}
    serialization.write(tmp_path / "fit", document)
    with pytest.raises(StorageError, match=r"parameter \['loc'\] is not finite"):
        vi_kl.load(tmp_path / "fit", LINE)


def capped(z, end):
    return jnp.sum(jnp.where(jnp.abs(z) > end, -9.0, -0.5 * z**2))


@pytest.mark.parametrize(("end", "other"), [(3.0, 4.0), (8.0, 9.0), (0.05, 0.04)])
def test_a_target_that_differs_elsewhere_is_another(end, other, tmp_path, key):
    """The origin and its surroundings do not tell them apart."""
    make = lambda end: Target.from_log_density(functools.partial(capped, end=end), 3)  # noqa: E731
    family = MeanField()
    params = {"loc": np.zeros(3), "log_scale": np.zeros(3)}
    fit = Fit(Approximation(family, params, make(end)), Status(True, ""), History(), Cost(0), short(family))
    vi_kl.save(fit, tmp_path / "fit")
    vi_kl.load(tmp_path / "fit", make(end))
    with pytest.raises(StorageError, match=r"the model has changed|hold other numbers"):
        vi_kl.load(tmp_path / "fit", make(other))


def test_there_is_no_pickle_in_it(saved):
    with zipfile.ZipFile(saved) as file:
        for name in file.namelist():
            np.lib.format.read_array(file.open(name), allow_pickle=False)


def test_an_interrupted_write_leaves_the_old_file(saved, tmp_path, monkeypatch):
    path = tmp_path / "fit.vikl"
    path.write_bytes(saved.read_bytes())
    monkeypatch.setattr(array_files.np, "savez", lambda file, **arrays: file.write(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        serialization.write(path, {"anything": 1})
    assert path.read_bytes() == saved.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["fit.vikl"]


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 2**70, 0.1, float("inf"), -0.0, "text", [1, [2.5]], (1, (2,)), {"a": {"b": (None,)}}, {1: "one"},
        np.arange(6.0).reshape(2, 3), np.float32(0.5), np.array(3), np.array([np.nan, -0.0]), np.zeros((0, 2)),
        vi_kl.families.family.Frame.around(np.zeros(2), 0.5), ELBO(3, "total"),
    ],
    ids=repr,
)  # fmt: skip
def test_values_come_back(value, tmp_path):
    serialization.write(tmp_path / "value", {"value": value})
    classes = {kind.__qualname__: kind for kind in (vi_kl.families.family.Frame, ELBO)}
    found = serialization.Archive(tmp_path / "value").get("value", classes)
    assert jax.tree.structure(found) == jax.tree.structure(value)
    assert type(found) is type(value) or isinstance(value, np.generic)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(value), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.array_equal(np.signbit(a), np.signbit(b)) if isinstance(b, float) else True
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None)


def test_random_keys_come_back(key, tmp_path):
    for one in (key, jax.random.key(3, impl="rbg")):
        serialization.write(tmp_path / "key", {"key": one})
        found = serialization.Archive(tmp_path / "key").get("key")
        assert jax.random.key_impl(found) == jax.random.key_impl(one)
        np.testing.assert_array_equal(jax.random.normal(found, (3,)), jax.random.normal(one, (3,)))


def test_jax_arrays_keep_their_type(tmp_path):
    with jax.enable_x64(True):
        serialization.write(tmp_path / "arrays", {"double": jnp.ones(2), "single": jnp.ones(2, jnp.float32)})
    stored = serialization.Archive(tmp_path / "arrays")
    assert (stored.get("double").dtype, stored.get("single").dtype) == (np.float64, np.float32)
