"""Every source of models: one known posterior goes through fits, checks, references, explanations and files.

To add a source, write the posterior of `one_posterior.py` in it, and name it there in `SOURCES`.
"""

import concurrent.futures
import functools
import inspect
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from one_posterior import (
    LACKING,
    LOG_EVIDENCE,
    MEAN,
    NEEDED,
    ROUNDED,
    SOURCES,
    VARIANCE,
    X,
    Y,
    b_and_log_sigma,
    kl_of_normal,
    value_and_gradient,
)
from scipy import stats
from tiers import exhaustive_after

import vi_kl
from vi_kl.algorithms.map import OfTheSites
from vi_kl.algorithms.storage import StorageError
from vi_kl.targets import CAPABILITIES, Density, Target
from vi_kl.targets.deterministic import deterministic_sites
from vi_kl.targets.minibatch import with_rows
from vi_kl.targets.priors import has_proper_priors
from vi_kl.targets.target import value_and_grad, value_and_grad_batch

POINTS = np.random.default_rng(1).normal(size=(100, 2))
QUICK = ("parameters", "callback")  # one that JAX computes and one that it does not go all the way by default


def each(names, quick=()):
    """Return the sources as parameters; those that are not quick are exhaustive, and one may not be installed."""
    lacking = pytest.mark.skipif(True, reason="not installed: an extra of vi_kl")
    return [
        pytest.param(n, marks=[lacking] * (n in LACKING) + [pytest.mark.exhaustive] * (bool(quick) and n not in quick))
        for n in names
    ]


EVERY = each(SOURCES)
WHOLE_WAY = each(SOURCES, QUICK)
# what JAX computes goes this way in other tests of the default run
WHOLE_WAY_OF_A_CALLBACK = each(SOURCES, ("callback",))


@functools.cache
def target(name: str) -> Target:
    return SOURCES[name]()


@functools.cache
def fit(name: str, method: str | None):
    return vi_kl.fit(target(name), *([method] if method else []), key=0)


def is_the_log_density(name: str, found, truth) -> None:
    """Hold log densities to the truth, and their differences where a source rounds a constant."""
    np.testing.assert_allclose(found, truth, rtol=1e-13, atol=ROUNDED.get(name, 0.0))
    np.testing.assert_allclose(found - found[0], truth - truth[0], rtol=1e-12, atol=1e-12)


def kl(found) -> float:
    """The exact KL of a fit that is normal in z."""
    normal = found.approximation.distribution
    return kl_of_normal(normal.loc, normal.scale_tril)


def agrees(estimate, truth: float) -> bool:
    return abs(estimate.value - truth) < 4 * estimate.standard_error + 1e-9


# The contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_the_density_is_the_one_on_paper(name):
    value, gradient = value_and_gradient(POINTS)
    is_the_log_density(name, target(name).log_density(POINTS), value)
    with jax.enable_x64(True):
        found = value_and_grad_batch(target(name), POINTS)
        one = value_and_grad(target(name), jnp.asarray(POINTS[0]))
    is_the_log_density(name, found[0], value)
    np.testing.assert_allclose(found[1], gradient, rtol=1e-11)
    np.testing.assert_allclose(one[1], gradient[0], rtol=1e-11)


@pytest.mark.parametrize(
    "name", each(["NumPyro", "log density", "parameters", "callback", "callback, sequential", "PyMC", "Stan"])
)
def test_a_callers_own_program_in_32_bits(name):
    t = target(name)
    program = jax.jit(jax.vmap(jax.value_and_grad(lambda z: t.density.log_density(t.data, t.unravel(z)))))
    value, gradient = program(jnp.asarray(POINTS, jnp.float32))
    assert value.dtype == gradient.dtype == jnp.float32
    truth = value_and_gradient(POINTS)
    np.testing.assert_allclose(value, truth[0], rtol=1e-4)
    np.testing.assert_allclose(gradient, truth[1], rtol=1e-3)


@pytest.mark.parametrize("name", EVERY)
def test_what_every_density_is(name):
    density, again = target(name).density, SOURCES[name]().density
    assert isinstance(density, Density)
    assert density == again
    assert hash(density) == hash(again)
    assert str(density) in repr(target(name))
    assert density.description == ("" if name in NEEDED else "A slope and a scale.")  # which have no place for one
    sites = target(name).unravel(jnp.zeros(2))
    assert density.explain(target(name).data, sites).endswith(".")
    given, _ = density.split(target(name).data)
    assert [np.shape(leaf) for leaf in jax.tree.leaves(given)] == [(20,), (20,)]


@pytest.mark.parametrize("name", EVERY)
def test_sites_there_and_back(name):
    t = target(name)
    sites = t.constrain(POINTS)
    found = b_and_log_sigma(name, sites)
    np.testing.assert_allclose(found["b"], POINTS[:, 0], rtol=1e-14)
    np.testing.assert_allclose(found["log_sigma"], POINTS[:, 1], rtol=1e-12)
    np.testing.assert_allclose(t.unconstrain(sites), POINTS, rtol=1e-12)
    assert t.unconstrain({name: value[0] for name, value in sites.items()}).shape == (2,)


@pytest.mark.parametrize("name", EVERY)
def test_new_data_of_the_same_shape_need_no_new_program(name):
    other = SOURCES[name](X, Y + 1.0)
    assert other.density == target(name).density
    is_the_log_density(name, other.log_density(POINTS), value_and_gradient(POINTS, X, Y + 1.0)[0])


def subsampled(y):
    """Rows that are drawn."""
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    numpyro.deterministic("twice", 2 * loc)
    with numpyro.plate("rows", 20, subsample_size=5) as rows:
        numpyro.sample("y", dist.Normal(loc, 1), obs=y[rows])


def two_kinds(y):
    """A discrete site."""
    kind = numpyro.sample("kind", dist.Bernoulli(0.3))
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(loc + kind, 1), obs=y)


def minibatched() -> Target:
    return with_rows(Target.from_numpyro(subsampled, Y), {"rows": np.arange(5)})


OTHERS = {
    "subsampling plates": lambda: Target.from_numpyro(subsampled, Y).density,
    "a minibatch": lambda: minibatched().density,
    "discrete sites": lambda: Target.from_numpyro(two_kinds, Y).density,
    "without the Jacobian": lambda: OfTheSites(Target.from_numpyro(subsampled, Y).density),
}


def test_a_minibatch_answers_as_its_model_does():
    """What does not depend on the rows: draws of q, guides, what is computed, priors."""
    whole, part = Target.from_numpyro(subsampled, Y), minibatched()
    assert whole.density.offers("minibatches")
    assert not part.density.offers("minibatches")
    z = np.array([[0.3], [-0.5]])
    np.testing.assert_array_equal(deterministic_sites(part, z, jax.random.key(0))["twice"], 2 * z[:, 0])
    assert has_proper_priors(part)
    assert part.density.guide_model == whole.density.guide_model
    value = stats.norm.logpdf(0.3) + 4 * stats.norm.logpdf(Y[:5], 0.3).sum()
    assert float(part.log_density(z[0])) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", [*EVERY, *OTHERS])
def test_capabilities_are_those_that_the_contract_names(name):
    density = OTHERS[name]() if name in OTHERS else target(name).density
    assert density.capabilities <= CAPABILITIES.keys()
    for capability in density.capabilities:
        for member in CAPABILITIES[capability].members:
            assert hasattr(density, member), (capability, member)
    with pytest.raises(KeyError, match="minibatches"):
        density.offers("nonsense")


@pytest.mark.parametrize("name", ["NumPyro", "log density", "parameters", "parameters in a dataclass"])
def test_targets_survive_pickling(name):
    again = pickle.loads(pickle.dumps(target(name)))
    assert again.density == target(name).density
    np.testing.assert_array_equal(again.log_density(POINTS), target(name).log_density(POINTS))


def test_every_member_of_a_capability_is_documented():
    for capability in CAPABILITIES.values():
        assert capability.members
        assert capability.mend.endswith(".")
    for method in ("log_density", "constrain", "unconstrain", "explain", "split", "complete", "offers"):
        assert inspect.getdoc(getattr(Density, method))


# All the way -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHOLE_WAY)
@pytest.mark.parametrize("method", exhaustive_after(1, ["full_rank", "laplace"]))
def test_fits_are_those_of_the_numpy_density(name, method):
    found = fit(name, method)
    assert found.status.converged
    certificate = vi_kl.check(found, key=1)
    assert agrees(certificate.reverse_kl, kl(found))
    if method == "laplace":
        loc = np.asarray(found.approximation.distribution.loc)
        np.testing.assert_allclose(value_and_gradient(loc)[1], 0.0, atol=1e-6)
    else:
        assert kl(found) < kl(fit(name, "laplace"))


@pytest.mark.parametrize("name", WHOLE_WAY_OF_A_CALLBACK)
def test_the_default_fit(name):
    found = fit(name, None)
    assert found.status.converged
    certificate = vi_kl.check(found, key=2)
    assert certificate.reverse_kl.value < 0.06
    assert agrees(certificate.reverse_kl, kl(found))
    draws = b_and_log_sigma(name, found.approximation.sample(3, 4_000))
    for site, mean in MEAN.items():
        sd = np.sqrt(VARIANCE[site])
        assert abs(draws[site].mean() - mean) < 0.15 * sd  # a q that is 0.03 nats away may be off by sqrt(2 KL) sd
        assert 0.8 < draws[site].std() / sd < 1.2


@pytest.mark.parametrize("name", WHOLE_WAY)
def test_the_reference_is_the_integral(name):
    reference = vi_kl.find_reference(target(name))
    assert abs(reference.log_evidence.value - LOG_EVIDENCE) < 1e-8 + ROUNDED.get(name, 0.0)
    draws = np.asarray(reference.sample(jax.random.key(0), 20_000))
    for i, site in enumerate(MEAN):
        sd = np.sqrt(VARIANCE[site])
        assert abs(draws[:, i].mean() - MEAN[site]) < 4 * sd / np.sqrt(20_000)
        assert draws[:, i].std() == pytest.approx(sd, rel=0.03)


@pytest.mark.parametrize("name", WHOLE_WAY_OF_A_CALLBACK)
def test_the_gap_is_explained(name):
    gap = vi_kl.explain_gap(fit(name, "full_rank"), key=4)
    assert agrees(gap.total, kl(fit(name, "full_rank")))
    assert agrees(gap.family, kl(fit(name, "full_rank")))


@pytest.mark.parametrize("name", WHOLE_WAY)
def test_fits_are_kept_in_files(name, tmp_path):
    vi_kl.save(fit(name, "full_rank"), tmp_path / "fit")
    again = vi_kl.load(tmp_path / "fit", SOURCES[name]())
    q = again.approximation
    np.testing.assert_array_equal(q.log_prob(POINTS), fit(name, "full_rank").approximation.log_prob(POINTS))
    draws = q.sample(0, 3)
    assert set(draws) == set(target(name).site_names)
    with pytest.raises(StorageError, match="holds other numbers"):
        vi_kl.load(tmp_path / "fit", SOURCES[name](X, Y + 1.0))


@pytest.mark.parametrize("name", WHOLE_WAY_OF_A_CALLBACK)
def test_threads(name):
    """`compare` fits in threads of its own, and so may its caller."""
    table = vi_kl.compare(target(name), ["laplace", "full_rank"], key=5)
    assert not table.failures
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        fits = list(pool.map(lambda key: vi_kl.fit(target(name), "laplace", key=key), range(4)))
    for found in fits:
        assert kl(found) == pytest.approx(kl(fit(name, "laplace")), rel=1e-6)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["callback", "callback of parameters", "callback, sequential"])
def test_a_callback_works_in_each_of_a_hundred_runs(name):
    """In threads, where JAX's 64-bit switch does not reach: nothing may be rounded, or of another type."""
    t = target(name)
    value, gradient = value_and_gradient(POINTS)

    def run(key):
        found = vi_kl.fit(t, "full_rank", key=key)
        certificate = vi_kl.check(found, key=key, num_draws=500)
        with jax.enable_x64(True):
            values = value_and_grad_batch(t, POINTS)
        return found.status.converged and np.isfinite(certificate.k_hat), values

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(run, range(100)))
    assert sum(good for good, _ in runs) == 100
    for _, found in runs:
        np.testing.assert_allclose(found[0], value, rtol=1e-13)  # bit by bit in tests/core/test_callbacks.py
        np.testing.assert_allclose(found[1], gradient, rtol=1e-12)


# What a source does not offer ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda t: vi_kl.fit(t, "constrained", key=0), ["Constrained", "support", "'flat', a log density over z"]),
        (lambda t: vi_kl.fit(t, "coordinate_ascent", key=0), ["Coordinate ascent", "'flat'", "NumPyro model"]),
        (lambda t: vi_kl.fit(t, lambda data: None, key=0), ["Guide", "'flat'", "own families"]),
    ],
)
def test_what_is_lacking_is_said(use, words):
    with pytest.raises((ValueError, RuntimeError)) as caught:
        use(target("log density"))
    for word in words:
        assert word in str(caught.value)
