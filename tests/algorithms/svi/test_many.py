"""Many fits at once: what each would be alone, one compilation, and failures that stay in their own place."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import exponential_rate, linear_regression

from vi_kl.algorithms import SVI, Algorithm, FitError, Laplace
from vi_kl.algorithms.svi import many as module
from vi_kl.algorithms.svi import run as run_module
from vi_kl.core.compilation import compile_clock
from vi_kl.families import FullRank, MeanField
from vi_kl.objectives import ELBO
from vi_kl.targets import Target

X = np.linspace(-1, 1, 8)
QUICK = SVI(FullRank(), ELBO(4), step_size=0.1, tolerance=0.005, chunk=20, max_steps=1500)


def regressions(n, seed=3):
    """One design, other responses: from easy to hard to reach, so that fits end at different steps."""
    generator = np.random.default_rng(seed)
    first = Target.from_numpyro(linear_regression, X, X)
    responses = [i * X + 3.0 * i + 0.5 * generator.normal(size=len(X)) for i in range(n)]
    return [Target(first.density, (first.data[0], y), first.sites) for y in responses]


@pytest.fixture
def three_lanes(monkeypatch):
    monkeypatch.setattr(module, "LANES", 3)


@pytest.mark.landing
def test_each_is_what_it_would_be_alone(three_lanes, key):
    """In three lanes, so that lanes are taken over and some idle at the end."""
    targets = regressions(7)
    with compile_clock() as clock:
        together = QUICK.fit_many(key, targets)
    assert clock.programs <= 5  # one gradient, many gradients, the first state, the chunk, and parameters in z
    for one_key, target, found in zip(jax.random.split(key, 7), targets, together, strict=True):
        alone = QUICK.fit(one_key, target)
        np.testing.assert_allclose(found.history.loss, alone.history.loss, rtol=1e-8)
        np.testing.assert_array_equal(found.history.step_size, alone.history.step_size)
        assert found.status == alone.status
        assert found.cost.gradient_evaluations == alone.cost.gradient_evaluations
        assert found.target is target
        for name, values in alone.approximation.params.items():
            np.testing.assert_allclose(found.approximation.params[name], values, rtol=1e-9, atol=1e-12)
    assert len({len(fit.history.loss) for fit in together}) > 1


@pytest.mark.landing
def test_more_targets_compile_nothing(three_lanes, key):
    QUICK.fit_many(key, regressions(4))
    with compile_clock() as clock:
        QUICK.fit_many(key, regressions(11))
    assert clock.programs == 0


@pytest.mark.exhaustive
def test_each_finds_its_own_posterior(three_lanes, key):
    """Linear regression with known noise, whose posterior is normal."""
    targets = regressions(7)
    design = np.stack([np.ones_like(X), X], axis=1)
    covariance = np.linalg.inv(design.T @ design / 0.25 + np.eye(2) / 100)
    for target, found in zip(targets, QUICK.fit_many(key, targets), strict=True):
        mean = covariance @ design.T @ target.data[1] / 0.25
        sd = np.sqrt(np.diag(covariance))
        assert (np.abs(found.approximation.params["loc"] - mean) < 0.05 * sd).all()


def breaks(z, bad):
    return jnp.where(bad > 0, jnp.where(z[0] < 3.0, 4.0 * z[0], jnp.nan), -0.5 * z[0] ** 2)


def nowhere(z, bad):
    return jnp.where(bad > 0, jnp.nan, -0.5 * z[0] ** 2)


@pytest.mark.parametrize(
    ("function", "kind", "words"),
    [(breaks, FitError, r"at step \d+ of mean_field"), (nowhere, ValueError, "No starting point")],
)
def test_a_failure_stays_in_its_place(function, kind, words, three_lanes, key):
    targets = [Target.from_log_density(function, 1, data=np.float64(bad)) for bad in (0, 0, 1, 0, 1)]
    config = dataclasses.replace(QUICK, family=MeanField())
    found = config.fit_many(key, targets)
    assert [isinstance(fit, kind) for fit in found] == [False, False, True, False, True]
    with pytest.raises(kind, match=words):
        raise found[2]
    for good in (0, 1, 3):
        assert np.exp(found[good].approximation.params["log_scale"]) == pytest.approx(1.0, abs=0.1)


@pytest.mark.exhaustive
def test_targets_of_several_structures_are_fitted_one_by_one(key):
    targets = [regressions(1)[0], Target.from_numpyro(exponential_rate, np.array([0.4, 1.3, 0.9]))]
    config = dataclasses.replace(QUICK, max_steps=50)
    found = config.fit_many(key, targets)
    alone = [config.fit(k, target) for k, target in zip(jax.random.split(key), targets, strict=True)]
    for a, b in zip(found, alone, strict=True):
        np.testing.assert_array_equal(a.history.loss, b.history.loss)


def test_the_default_is_a_loop(key):
    seen = []
    targets = [Target.from_log_density(ridge, 2), *regressions(2)]
    found = Laplace().fit_many(key, targets, progress=lambda done, words: seen.append((done, words)))
    assert isinstance(found[0], FitError)
    np.testing.assert_array_equal(
        found[2].approximation.params["loc"],
        Laplace().fit(jax.random.split(key, 3)[2], targets[2]).approximation.params["loc"],
    )
    assert seen[-1] == (1.0, "3 of 3 fits done")


def ridge(z):
    return -0.5 * (z[0] - z[1]) ** 2


@pytest.mark.parametrize("config", [QUICK, Laplace()], ids=["svi", "laplace"])
def test_no_targets_no_fits(config: Algorithm, key):
    assert config.fit_many(key, []) == []


def test_progress_and_shares_of_the_seconds(three_lanes, key):
    seen = []
    found = QUICK.fit_many(key, regressions(5), progress=lambda done, words: seen.append((done, words)))
    assert seen[-1] == (1.0, "5 of 5 fits done")
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len({fit.cost.seconds for fit in found}) == 1
    assert found[0].cost.run_seconds > 0


def test_numbers_out_of_their_range_stay_in_their_place_too(three_lanes, key, monkeypatch):
    """A start that overflows for one of three targets, as the climbs of hierarchies did."""
    targets, honest = regressions(3), run_module.initialize

    def overflows(target, *args, **kwargs):
        if target is targets[1]:
            raise OverflowError(34, "Numerical result out of range")
        return honest(target, *args, **kwargs)

    monkeypatch.setattr(run_module, "initialize", overflows)
    fits = QUICK.fit_many(key, targets)
    assert [isinstance(fit, FitError) for fit in fits] == [False, True, False]
    assert "OverflowError" in str(fits[1])
