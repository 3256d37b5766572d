"""What people type first: forgiven where it can only mean one thing, explained where it cannot."""

import inspect
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer.autoguide import AutoNormal

import vi_kl
from vi_kl.algorithms import Laplace
from vi_kl.algorithms.arguments import plain
from vi_kl.algorithms.fitting import OPTIONS, choose_algorithm
from vi_kl.algorithms.registry import METHODS
from vi_kl.core.random_keys import as_key
from vi_kl.divergences import estimate_kl
from vi_kl.targets.numpyro.model import OPTIONS_OF_PREDICT
from vi_kl.workflows.compare import OPTIONS as OPTIONS_OF_COMPARE
from vi_kl.workflows.compare_models import compare_models

pytestmark = pytest.mark.usefixtures("compiled_quickly")
X, Y = np.arange(4.0), np.array([0.1, 2.2, 3.9, 6.3])
KEY = jax.random.key(0)


def line(x, y=None):
    slope = numpyro.sample("slope", dist.Normal(0, 3))
    numpyro.sample("y", dist.Normal(slope * x, 1), obs=y)


@pytest.fixture(scope="module")
def target():
    return vi_kl.Target.from_numpyro(line, X, y=Y)


@pytest.fixture(scope="module")
def fit(target):
    return vi_kl.fit(target, "laplace", key=0)


@pytest.fixture(scope="module")
def certificate(fit):
    return vi_kl.check(fit, key=1)


# Keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [0, np.int64(0), np.uint8(0), np.array(0), jnp.array(0), jax.random.PRNGKey(0), np.asarray(jax.random.PRNGKey(0))],
)
def test_whatever_stands_for_a_key_is_that_key(given):
    assert jax.random.key_data(as_key(given)).tolist() == jax.random.key_data(KEY).tolist()


@pytest.mark.parametrize("seed", [-1, 2**40, 2**64 - 1])
def test_an_integer_is_the_same_key_in_32_and_in_64_bits(seed):
    with jax.enable_x64(True):
        wide = jax.random.key_data(as_key(seed)).tolist()
    assert jax.random.key_data(as_key(seed)).tolist() == wide != jax.random.key_data(KEY).tolist()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "missing"), (0.5, "float"), ("0", "str"), (True, "True"), (2**70, "64 bits"),
        (jax.random.split(KEY), r"2 keys.*key\[0\]"), (np.zeros(3), "array of float64"), ([0], "list"),
    ],
)  # fmt: skip
def test_what_is_no_key_is_named(given, words):
    with pytest.raises((TypeError, ValueError), match=words):
        as_key(given)


def test_every_function_takes_an_integer_for_a_key(target, fit, certificate):
    assert vi_kl.fit(target, "laplace", key=KEY).approximation.params.keys() == fit.approximation.params.keys()
    assert Laplace().fit(0, target).name == Laplace().fit_many(np.int64(0), [target])[0].name == "laplace"
    np.testing.assert_array_equal(fit.sample(3, 2)["slope"], fit.approximation.sample(jax.random.key(3), 2)["slope"])
    assert np.isfinite(target.initial_position(0)).all()
    assert vi_kl.check(fit, 1).elbo == vi_kl.check(fit, key=np.int32(1)).elbo == certificate.elbo
    reference = vi_kl.find_reference(fit, key=0)
    assert reference.draws(0, 3).z.shape == (3, 1)
    assert vi_kl.explain_gap(fit, reference, key=0).total.value < 1e-9
    few = {"num_draws": 100, "on_failure": "keep"}
    one, same = (vi_kl.sample(fit, key=key, **few) for key in (np.int32(2), jax.random.key(2)))
    np.testing.assert_array_equal(one.chains, same.chains)
    first, second = (estimate_kl(dist.Gamma(2, 3), dist.LogNormal(0, 1), method="monte_carlo", key=k) for k in (0, KEY))
    assert first == second


# Targets --------------------------------------------------------------------------------------------------------


def test_a_model_in_the_place_of_a_target(target, fit):
    for made in (
        vi_kl.fit(line, X, y=Y, method="laplace", key=0), vi_kl.fit(line, "Laplace", X, y=Y, key=0),
        vi_kl.fit(line, X, Y, method=Laplace, key=0), vi_kl.fit(fit, "laplace", key=0),
        vi_kl.fit(target, "laplace", KEY),
    ):  # fmt: skip
        np.testing.assert_allclose(made.sample(0, 3)["slope"], fit.sample(0, 3)["slope"], rtol=1e-9)


def test_comparisons_of_anything_with_a_target(target, fit):
    for table in (
        vi_kl.compare(fit, ["laplace"], key=0), vi_kl.compare(target, "laplace", key=0),
        vi_kl.compare(["laplace"], target, key=0), vi_kl.compare(line, Laplace(), X, y=Y, key=0),
    ):  # fmt: skip
        assert [one.name for one in table.fits] == ["laplace"]


# Methods --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("meanfield", "mean_field"), ("mean-field", "mean_field"), ("Mean Field", "mean_field"), ("ADVI", "mean_field"),
        ("fullrank", "full_rank"), ("AutoMultivariateNormal", "full_rank"), ("Laplace approximation", "laplace"),
        ("normalizing flow", "flow"), ("CAVI", "coordinate_ascent"), ("auto", "automatic"),
    ],
)  # fmt: skip
def test_spelling_and_other_peoples_names(target, given, name):
    assert choose_algorithm(target, given).name == METHODS[name].make().name


def test_no_name_means_two_methods():
    names = [plain(x) for method in METHODS.values() for x in (method.name, *method.synonyms)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t, f, c: vi_kl.fit(t, "flwo", key=0), "Did you mean 'flow'"),
        (lambda t, f, c: vi_kl.compare(t, ["laplase"], key=0), "Did you mean 'laplace'"),
        (lambda t, f, c: vi_kl.fit(t, "xyz", key=0), "The methods are"),
        (lambda t, f, c: vi_kl.fit(t, 3, key=0), "not an int 3"),
        (lambda t, f, c: vi_kl.fit(t, vi_kl.SVI("mean_field"), key=0), "family must be a Family, such as MeanField"),
        (lambda t, f, c: vi_kl.fit(t, vi_kl.SVI(vi_kl.MeanField), key=0), r"write MeanField\(\)"),
        (lambda t, f, c: vi_kl.fit(t, key=0, strat=1), "Did you mean 'start'"),
        (lambda t, f, c: vi_kl.fit(t, kee=0), "fit has no argument 'kee'. Did you mean 'key'"),
        (lambda t, f, c: vi_kl.fit(line, X, y=Y, metod="laplace", key=0), "'metod'. Did you mean 'method' of fit"),
        (lambda t, f, c: vi_kl.fit(line, X, yy=Y, key=0), "'yy'. Did you mean 'y'"),
        (lambda t, f, c: vi_kl.compare(t, metods=["laplace"], key=0), "'metods'. Did you mean 'methods'"),
        (lambda t, f, c: vi_kl.compare(line, X, metods=["laplace"], key=0), "'metods'. Did you mean 'methods' of comp"),
        (lambda t, f, c: vi_kl.calibrate(line, X, metod="laplace", key=0), "'metod'. Did you mean 'method' of calib"),
        (lambda t, f, c: vi_kl.check(f, short_chain=True, key=0), "'short_chain'. Did you mean 'short_chains'"),
        (lambda t, f, c: vi_kl.sample(f, num_draw=3, key=0), "'num_draw'. Did you mean 'num_draws'"),
        (lambda t, f, c: vi_kl.explain_gap(f, num_drawss=3, key=0), "Did you mean 'num_draws'"),
        (lambda t, f, c: vi_kl.find_reference(t, num_draw=3), "'num_draw'. Did you mean 'num_draws'"),
        (lambda t, f, c: vi_kl.reference_run(t, kee=3), "reference_run has no argument 'kee'. Did you mean 'key'"),
        (lambda t, f, c: vi_kl.save(f, "fit.vikl", mde={}), "'mde'. Did you mean 'made'"),
        (lambda t, f, c: compare_models({"a": t}, metod="laplace", key=0), "'metod'. Did you mean 'method'"),
        (lambda t, f, c: vi_kl.Target.from_numpyro(line, X, yy=Y), "'yy'. Did you mean 'y'"),
        (lambda t, f, c: vi_kl.Target.from_log_density(len, dims=2), "'dims'. Did you mean 'dim'"),
        (
            lambda t, f, c: vi_kl.SVI(vi_kl.MeanField(), max_step=3),
            "SVI has no setting 'max_step'. Did you mean 'max",
        ),
        (
            lambda t, f, c: vi_kl.families.Mixture(components=3),
            "Mixture has no setting 'components'. Did you mean 'n",
        ),
        (lambda t, f, c: vi_kl.objectives.ELBO(num_draw=3), "ELBO has no setting 'num_draw'. Did you mean 'num_draws'"),
        (lambda t, f, c: f.summary(0, probabilites=(0.5,)), "'probabilites'. Did you mean 'probabilities'"),
        (lambda t, f, c: f.predict(0, X, site=["y"]), "'site'. Did you mean 'sites' of predict"),
        (lambda t, f, c: f.predict(0, nn=3), "'nn'. Did you mean 'n' of predict"),
        (lambda t, f, c: f.to_arviz(0, predictiv=True), "'predictiv'. Did you mean 'predictive'"),
        (lambda t, f, c: f.resample(0, 9, on_failur="keep"), "'on_failur'. Did you mean 'on_failure'"),
        (lambda t, f, c: vi_kl.fit(t, "laplace", X, key=0), "has its data already"),
        (lambda t, f, c: vi_kl.fit(line, key=0), r"line\(x, y=None\) cannot be called .* missing a required argument"),
        (lambda t, f, c: vi_kl.fit(t, "laplace"), "random key is required and missing"),
        (lambda t, f, c: vi_kl.fit(KEY, t), "target first; the key is given by name"),
        (lambda t, f, c: vi_kl.fit(c, key=0), "got a Certificate"),
        (lambda t, f, c: vi_kl.fit("laplace", t, key=0), "got a str 'laplace'"),
        (lambda t, f, c: vi_kl.fit(AutoNormal, t, key=0), "target first, then the method, which AutoNormal is"),
        (lambda t, f, c: vi_kl.fit(lambda z: -jnp.sum(z**2), X, key=0), "Target.from_log_density"),
        (lambda t, f, c: vi_kl.compare(t, key=0), "methods is empty"),
        (lambda t, f, c: vi_kl.compare(KEY, ["laplace"]), "target first"),
        (lambda t, f, c: vi_kl.check(KEY, f), "check.fit, key=key"),
        (lambda t, f, c: vi_kl.check(f), "random key is required and missing"),
        (lambda t, f, c: vi_kl.check(t, key=0), "fit it first"),
        (lambda t, f, c: vi_kl.check(c, key=0), "not a Certificate"),
        (lambda t, f, c: vi_kl.check(f, key=0, num_draws=-3), "num_draws must be at least"),
        (lambda t, f, c: vi_kl.check(f, "exact", key=0), "reference must be a ReferencePosterior"),
        (lambda t, f, c: vi_kl.explain_gap(t, key=0), "explain_gap takes a Fit"),
        (lambda t, f, c: vi_kl.sample(t, key=0), "sample takes a Fit"),
        (lambda t, f, c: vi_kl.sample(f), "random key is required and missing"),
        (lambda t, f, c: vi_kl.sample(f, key=0, certificate=f), "certificate must be a Certificate"),
        (lambda t, f, c: f.sample(KEY, 0), "number of draws, must be at least 1, got 0"),
        (lambda t, f, c: f.sample(KEY, -2), "at least 1"),
        (lambda t, f, c: f.sample(KEY, 2.5), "whole number"),
        (lambda t, f, c: f.sample(1000, KEY), "key comes first"),
        (lambda t, f, c: f.sample_and_log_prob(KEY, "10"), "whole number"),
        (lambda t, f, c: vi_kl.reference_run(line, key=0), "reference_run takes a Target"),
        (lambda t, f, c: vi_kl.reference_run(t), "random key is required"),
        (lambda t, f, c: vi_kl.reference.reference_by_quadrature(c), "reference_by_quadrature takes a Target"),
        (lambda t, f, c: vi_kl.reference.gaussian_reference(line), "gaussian_reference takes a Target"),
        (lambda t, f, c: vi_kl.calibrate(t, observed="y", key=0), "calibrate takes the model"),
        (lambda t, f, c: vi_kl.calibrate(line, X, key=0), "observed is empty"),
        (lambda t, f, c: vi_kl.calibrate(line, X, observed="y", key=0, num_data_sets=12.5), "whole number"),
        (lambda t, f, c: vi_kl.save("fit.vikl", f), "the fit comes first"),
        (lambda t, f, c: vi_kl.load("fit.vikl", line), "takes a Target first"),
        (lambda t, f, c: Laplace().fit(t, 0), "the key first"),
        (lambda t, f, c: Laplace().fit(0, c), "got a Certificate"),
        (lambda t, f, c: vi_kl.Target.from_numpyro(t), "must be a NumPyro model"),
        (lambda t, f, c: vi_kl.Target.from_numpyro(lambda x: None, 1), "no NumPyro model.*from_log_density"),
    ],
)
def test_wrong_calls_are_explained(target, fit, certificate, call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call(target, fit, certificate)


@pytest.mark.parametrize(
    ("function", "options"),
    [(vi_kl.fit, OPTIONS), (vi_kl.compare, OPTIONS_OF_COMPARE[1:]), (vi_kl.Fit.predict, OPTIONS_OF_PREDICT)],
)
def test_names_that_a_misspelt_argument_may_mean_are_those_of_the_function(function, options):
    parameters = inspect.signature(function).parameters.values()
    assert tuple(each.name for each in parameters if each.kind is each.KEYWORD_ONLY) == options


def test_a_misspelt_name_at_the_top_is_guessed_by_python():
    done = subprocess.run([sys.executable, "-c", "import vi_kl; vi_kl.calibate"], capture_output=True, text=True)
    assert "Did you mean: 'calibrate'?" in done.stderr


def test_every_public_function_with_a_key_has_been_tried():
    """A new one belongs into the tests above."""
    public = [getattr(vi_kl, name) for name in vi_kl.__all__]
    taking = {f.__name__ for f in public if inspect.isfunction(f) and "key" in inspect.signature(f).parameters}
    assert taking == {
        "fit",
        "check",
        "compare",
        "calibrate",
        "explain_gap",
        "reference_run",
        "find_reference",
        "sample",
    }
