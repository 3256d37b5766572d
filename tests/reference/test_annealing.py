"""Annealing against log evidences known in closed form: Gaussian, skewed and two-mode targets, in both directions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import exponential_rate
from scipy import stats
from scipy.special import gammaln, logsumexp

from vi_kl.core.compilation import compile_clock
from vi_kl.reference.mcmc.annealing import anneal, combine, log_evidence_by_annealing, log_evidence_by_reverse_annealing
from vi_kl.reference.mcmc.tempering import (
    Annealing,
    AnnealingError,
    StartingDensity,
    choose_plan,
    follow,
    ready,
    starting_particles,
)
from vi_kl.targets import Target

PRECISION = np.linalg.inv(np.array([[4.0, 1.9], [1.9, 1.0]]))
SHAPES = np.array([0.7, 2.0])
FAR = np.array([6.0, 6.0])


def gaussian(z, centre):
    return -0.5 * (z - centre) @ PRECISION @ (z - centre)


def log_gamma(z, rate):
    return jnp.sum(SHAPES * z - rate * jnp.exp(z))


def two_modes(z, sd):
    """0.2 N(-FAR, sd^2) + 0.8 N(FAR, sd^2), normalised: its log evidence is zero."""
    parts = jnp.stack([-0.5 * jnp.sum(((z + FAR) / sd) ** 2), -0.5 * jnp.sum(((z - FAR) / sd) ** 2)])
    return jax.nn.logsumexp(parts + jnp.log(jnp.array([0.2, 0.8]))) - jnp.log(2 * jnp.pi * sd[0] ** 2)


def inside_only(z, data):
    """A density that vanishes outside the unit square, and is NaN there as a model's can be."""
    inside = jnp.all((z > 0) & (z < 1))
    return jnp.where(inside, 0.0, jnp.where(z[0] > 0, -jnp.inf, jnp.nan))


def nowhere(z, data):
    return jnp.where(jnp.sum(z) > 1e6, 0.0, -jnp.inf)


DENSITIES = (gaussian, log_gamma, two_modes, inside_only, nowhere)
CASES = {
    "gaussian": (gaussian, np.array([3.0, -2.0]), np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(PRECISION)[1]),
    "skewed": (log_gamma, np.array([1.0, 30.0]), np.sum(gammaln(SHAPES) - SHAPES * np.log([1.0, 30.0]))),
    "two modes": (two_modes, np.array([0.6, 0.6]), 0.0),
}


def density(z, data):
    """One of the densities, so that one program serves them all."""
    which, of_its_own = data
    return jax.lax.switch(which, DENSITIES, z, of_its_own)


def target_of(function, data=(0.0, 0.0)):
    return Target.from_log_density(density, 2, data=(np.array(DENSITIES.index(function)), np.array(data)))


def make(name):
    function, data, reference = CASES[name]
    return target_of(function, data), reference


EXHAUSTIVE = [pytest.param(name, 100, marks=pytest.mark.exhaustive) for name in CASES]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "repetitions"), [("two modes", 12), *EXHAUSTIVE])
def test_the_interval_covers(name, repetitions):
    """Over repetitions from scratch; the error has few degrees of freedom, and the interval says so."""
    target, reference = make(name)
    ranks = []
    for seed in range(repetitions):
        estimate = log_evidence_by_annealing(target, key=jax.random.key(seed), num_particles=128)
        assert estimate.degrees_of_freedom == 7
        ranks.append(stats.t.cdf((estimate.value - reference) / estimate.standard_error, 7))
    assert stats.kstest(ranks, "uniform").pvalue > 0.01
    inside = np.mean(np.abs(np.array(ranks) - 0.5) < 0.475)
    assert inside > 0.95 - 3 * np.sqrt(0.95 * 0.05 / repetitions)


FEW = Annealing(num_populations=512, num_particles=16, num_moves=1)


@pytest.mark.landing
def test_each_population_is_unbiased_and_its_log_a_lower_limit():
    """With few particles and moves: the mean of the evidences is right, and that of their logs is below (Jensen)."""
    target, reference = make("skewed")
    keys = jax.random.split(jax.random.key(0), 3)
    with jax.enable_x64(True):
        start = StartingDensity.broad(2)
        plan = choose_plan(target, start, FEW, keys[0])
        particles = starting_particles(start, FEW, keys[1])
        errors = np.asarray(follow(target, start, plan, particles, FEW, keys[2]).log_z) - reference
    assert abs(np.mean(np.exp(errors)) - 1) < 3 * stats.sem(np.exp(errors)) < 0.3
    assert np.mean(errors) < -2 * stats.sem(errors)


@pytest.mark.exhaustive
def test_from_exact_draws_back_to_the_start_is_an_upper_limit():
    """With few particles above the truth on average, with more close to it."""
    target, reference = make("skewed")
    draws = np.log(np.random.default_rng(0).gamma(SHAPES, 1 / np.array([1.0, 30.0]), size=(2000, 2)))
    keys = jax.random.split(jax.random.key(0), 2)
    with jax.enable_x64(True):
        start = StartingDensity.around(draws)
        plan = choose_plan(target, start, FEW, keys[0]).reversed(start)
        limits = -np.asarray(follow(target, start, plan, np.resize(draws, (512 * 16, 2)), FEW, keys[1]).log_z)
    assert np.mean(limits) > reference + 2 * stats.sem(limits)
    tight = log_evidence_by_reverse_annealing(target, draws, key=jax.random.key(1), num_particles=128)
    assert reference - 3 * tight.standard_error < tight.value < reference + 0.1
    assert "upper limit only if the draws" in tight.caveat


@pytest.mark.landing
def test_both_modes_are_found_in_their_proportion():
    target, _ = make("two modes")
    with jax.enable_x64(True):
        _, z = anneal(target, None, Annealing(num_particles=128), jax.random.key(0))
    shares = (z[..., 0] < 0).mean(axis=1)
    assert abs(shares.mean() - 0.2) < 3 * shares.std(ddof=1) / np.sqrt(len(shares))
    heavy = z[z[..., 0] > 0]
    # the 800 particles there, which resampling has made alike, are worth 200 draws at the least
    np.testing.assert_allclose(heavy.mean(axis=0), FAR, atol=3 * 0.6 / np.sqrt(200))
    np.testing.assert_allclose(heavy.std(axis=0), 0.6, rtol=3 / np.sqrt(2 * 200))


def test_a_mode_out_of_reach_is_missed_as_the_caveat_says():
    """A start that is narrow and sits on the light mode: the answer is that mode's mass, with a small error."""
    target, _ = make("two modes")
    start = StartingDensity(-FAR, 0.7 * np.eye(2), 50.0)
    estimate = log_evidence_by_annealing(target, key=jax.random.key(0), start=start, num_particles=128)
    assert abs(estimate.value - np.log(0.2)) < 0.1
    assert "can be missing in every population" in estimate.caveat


@pytest.mark.exhaustive
def test_a_numpyro_model_with_a_closed_form():
    y = np.array([0.4, 1.3, 0.9, 0.1])
    a, b = 3 + len(y), 2 + y.sum()
    reference = 3 * np.log(2) - gammaln(3) + gammaln(a) - a * np.log(b)
    estimate = log_evidence_by_annealing(
        Target.from_numpyro(exponential_rate, y), key=jax.random.key(1), num_particles=128
    )
    assert estimate.standard_error < 0.05
    low, high = estimate.interval(0.999)
    assert low < reference < high


def test_the_start_is_the_distribution_that_it_says():
    """Its density against SciPy's, its gradient against differences, its draws against its scale."""
    start = StartingDensity(np.array([1.0, -2.0]), np.array([[2.0, 0], [1.5, 0.3]]), 4.0)
    exact = stats.multivariate_t(start.location, start.scale_tril @ start.scale_tril.T, 4.0)
    z = starting_particles(start, Annealing(8, 5000), jax.random.key(0))
    with jax.enable_x64(True):
        density = ready(start)
        np.testing.assert_allclose(density.log_prob(z[:50]), exact.logpdf(z[:50]), rtol=1e-10)
        step = 1e-5 * np.eye(2)
        slopes = [(exact.logpdf(z[:50] + e) - exact.logpdf(z[:50] - e)) / 2e-5 for e in step]
        np.testing.assert_allclose(density.gradient(z[:50]), np.stack(slopes, axis=1), rtol=1e-5, atol=1e-6)
    u = np.linalg.solve(start.scale_tril, (z - start.location).T)
    assert stats.kstest(u[1], stats.t(4.0).cdf).pvalue > 0.01


@pytest.mark.landing
def test_new_data_of_the_same_shape_compiles_nothing_and_the_same_key_gives_the_same_number():
    function, data, _ = CASES["gaussian"]

    def estimate(data):
        return log_evidence_by_annealing(target_of(function, data), key=jax.random.key(0), num_particles=128)

    first = estimate(data)
    with compile_clock() as clock:
        estimate(data + 1)
        again = estimate(data)
    assert clock.programs == 0
    assert again == first


def test_a_bounded_support():
    estimate = log_evidence_by_annealing(target_of(inside_only), key=jax.random.key(0), num_particles=128)
    low, high = estimate.interval(0.999)
    assert low < 0.0 < high


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (StartingDensity(np.zeros(3), np.eye(3)), "location of shape"),
        (StartingDensity(np.zeros(2), -np.eye(2)), "positive diagonal"),
        (StartingDensity(np.zeros(2), np.ones((2, 2))), "lower triangular"),
        (StartingDensity(np.zeros(2), np.eye(2), 0.0), "degrees_of_freedom"),
    ],
)
def test_a_start_that_is_none_is_refused(start, message):
    with pytest.raises(ValueError, match=message):
        log_evidence_by_annealing(make("gaussian")[0], key=jax.random.key(0), start=start)


def test_a_posterior_out_of_reach_is_an_error():
    with pytest.raises(AnnealingError, match="start"):
        log_evidence_by_annealing(target_of(nowhere), key=jax.random.key(0), num_particles=128)


def test_settings_out_of_range_are_refused():
    for settings in ({"num_populations": 2}, {"num_particles": 3}, {"num_moves": 0}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            log_evidence_by_annealing(make("gaussian")[0], key=jax.random.key(0), **settings)


def test_combining_populations_is_the_log_of_their_mean():
    """Against the plain formula, at evidences that overflow as they are."""
    log_z = np.array([-1000.0, -1000.5, -999.8, -1000.2])
    estimate = combine(log_z, Annealing(4), "a method", "a caveat")
    np.testing.assert_allclose(estimate.value, logsumexp(log_z) - np.log(4))
    plain = np.exp(log_z + 1000)
    np.testing.assert_allclose(estimate.standard_error, stats.sem(plain) / plain.mean())
