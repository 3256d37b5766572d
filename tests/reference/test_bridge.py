"""Bridge sampling against log evidences known in closed form, over repetitions: what its interval covers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import exponential_rate
from scipy.signal import lfilter
from scipy.special import gammaln, logit, logsumexp
from tiers import exhaustive_after

from vi_kl.reference.mcmc.bridge import cross_bridge, log_evidence_by_bridge, solve_bridge
from vi_kl.reference.mcmc.draws import PosteriorDraws
from vi_kl.targets import Target

REPETITIONS = 200
SCALE_TRIL = np.array([[2.0, 0, 0], [1.8, 0.5, 0], [-0.3, 0.2, 0.1]])
SHAPES = np.array([0.7, 2.0])


def gaussian(z):
    return -0.5 * jnp.sum((np.linalg.inv(SCALE_TRIL) @ (z - 1.0)) ** 2)


def gaussian_draws(rng, n):
    return 1.0 + rng.normal(size=(n, 3)) @ SCALE_TRIL.T


def log_gamma(z):
    return jnp.sum(SHAPES * z - jnp.exp(z))


def log_gamma_draws(rng, n):
    return np.log(rng.gamma(SHAPES, size=(n, 2)))


def two_modes(z):
    return jnp.logaddexp(np.log(0.3) - 0.5 * jnp.sum((z + 3) ** 2), np.log(0.7) - 0.5 * jnp.sum((z - 3) ** 2))


def two_modes_draws(rng, n):
    return np.where(rng.random((n, 1)) < 0.3, -3, 3) + rng.normal(size=(n, 2))


CASES = {
    "gaussian": (gaussian, gaussian_draws, 1.5 * np.log(2 * np.pi) + np.log(np.diag(SCALE_TRIL)).sum()),
    "skewed": (log_gamma, log_gamma_draws, gammaln(SHAPES).sum()),
    "two modes": (two_modes, two_modes_draws, np.log(2 * np.pi)),
}


def require_right_errors(errors, inside):
    """Errors in standard errors: centred on zero, of sd one, and 95% of them in the 95% interval."""
    n = len(errors)
    assert abs(np.mean(errors)) < 3 / np.sqrt(n)
    assert abs(np.std(errors) - 1) < 3 / np.sqrt(2 * n)
    assert abs(np.mean(inside) - 0.95) < 3 * np.sqrt(0.95 * 0.05 / n)


def covers(estimate, reference) -> bool:
    low, high = estimate.interval()
    return low <= reference <= high


@pytest.mark.parametrize("name", exhaustive_after(1, ["skewed", "two modes"]))
def test_independent_draws_the_interval_covers(name):
    function, draw, reference = CASES[name]
    dim = draw(np.random.default_rng(0), 1).shape[1]
    target = Target.from_log_density(function, dim)
    errors, inside = [], []
    for seed in range(REPETITIONS):
        chains = draw(np.random.default_rng(seed), 600)[None]
        estimate = log_evidence_by_bridge(target, chains, key=jax.random.key(seed), independent=True)
        errors.append((estimate.value - reference) / estimate.standard_error)
        inside.append(covers(estimate, reference))
    require_right_errors(errors, inside)


@pytest.mark.exhaustive
def test_a_gaussian_is_exact_up_to_how_well_the_covariance_is_known():
    """The warp is fitted, so a relative error of the order of dim^2 / draws remains, and no more."""
    function, draw, reference = CASES["gaussian"]
    target = Target.from_log_density(function, 3)
    errors, inside = [], []
    for seed in range(REPETITIONS):
        chains = draw(np.random.default_rng(seed), 600)[None]
        estimate = log_evidence_by_bridge(target, chains, key=jax.random.key(seed), independent=True)
        assert estimate.standard_error < 0.01
        errors.append((estimate.value - reference) / estimate.standard_error)
        inside.append(covers(estimate, reference))
    require_right_errors(errors, inside)


BEND = 1.5


def autocorrelated(rng, num_chains, length, correlation):
    """A stationary AR(1) in every coordinate, standard normal at every step, then bent to heavier tails."""
    noise = rng.normal(size=(num_chains, length, 2)) * np.sqrt(1 - correlation**2)
    noise[:, 0] = rng.normal(size=(num_chains, 2))
    u = lfilter([1.0], [1.0, -correlation], noise, axis=1)
    return u + BEND * u * np.abs(u)


def log_bent(z):
    """log density, less a constant, of z = u + BEND u |u| for u standard normal."""
    size = (-1 + jnp.sqrt(1 + 4 * BEND * jnp.abs(z))) / (2 * BEND)
    return jnp.sum(-0.5 * size**2 - jnp.log(1 + 2 * BEND * size))


@pytest.mark.exhaustive
def test_autocorrelated_chains_the_interval_covers():
    """Four chains whose draws are worth about one independent one in nine; heavier tails than a normal."""
    target, reference = Target.from_log_density(log_bent, 2), np.log(2 * np.pi)
    errors, inside = [], []
    for seed in range(REPETITIONS):
        chains = autocorrelated(np.random.default_rng(seed), 4, 1000, 0.8)
        estimate = log_evidence_by_bridge(target, chains, key=jax.random.key(seed))
        errors.append((estimate.value - reference) / estimate.standard_error)
        inside.append(covers(estimate, reference))
    require_right_errors(errors, inside)


def test_a_numpyro_model_with_a_closed_form():
    y = np.array([0.4, 1.3, 0.9, 0.1])
    a, b = 3 + len(y), 2 + y.sum()
    reference = 3 * np.log(2) - gammaln(3) + gammaln(a) - a * np.log(b)
    draws = np.log(np.random.default_rng(1).gamma(a, 1 / b, size=(1, 4000, 1)))
    target = Target.from_numpyro(exponential_rate, y)
    estimate = log_evidence_by_bridge(target, draws, key=jax.random.key(1), independent=True)
    assert estimate.standard_error < 0.005
    assert abs(estimate.value - reference) < 3 * estimate.standard_error


def test_the_root_is_the_fixed_point_of_the_iteration():
    """Meng & Wong's own iteration, written out, stays where the root is."""
    rng = np.random.default_rng(0)
    l1, l2, s1 = rng.normal(3.0, 1.0, 500), rng.normal(1.0, 1.5, 700), 0.3
    log_r = solve_bridge(l1, l2, s1)
    numerator = logsumexp(l2 - np.logaddexp(np.log(s1) + l2, np.log(1 - s1) + log_r)) - np.log(len(l2))
    denominator = logsumexp(-np.logaddexp(np.log(s1) + l1, np.log(1 - s1) + log_r)) - np.log(len(l1))
    assert abs(numerator - denominator - log_r) < 1e-9
    assert logit(s1) < 0  # unequal shares, so that a mistaken one would show


def test_a_chain_of_its_own_mind_is_noticed():
    """One of four chains sits on one mode; the same numbers of draws in proportion do not alarm."""
    target = Target.from_log_density(two_modes, 2)
    rng = np.random.default_rng(0)
    good = two_modes_draws(rng, 4000).reshape(4, 1000, 2)
    bad = good.copy()
    bad[0] = 3 + rng.normal(size=(1000, 2))
    alarms = [
        cross_bridge(target, PosteriorDraws(chains, independent=True), jax.random.key(0)).disagreement
        for chains in (good, bad)
    ]
    assert alarms[0] < 4 < alarms[1]


def test_what_cannot_be_bridged_is_refused():
    target = Target.from_log_density(gaussian, 3)
    draws = gaussian_draws(np.random.default_rng(0), 100)
    for chains, message in (
        (draws, "must have shape"),
        (draws[None, :, :2], "must have shape"),
        (draws[None, :30], "at least"),
        (np.where(draws > 3, np.nan, draws)[None], "not finite"),
        (draws[None] * [1, 0, 1], "in a plane"),
    ):
        with pytest.raises(ValueError, match=message):
            log_evidence_by_bridge(target, chains, key=jax.random.key(0))


def test_the_same_key_gives_the_same_number_and_it_says_what_it_cannot_see():
    target = Target.from_log_density(two_modes, 2)
    draws = two_modes_draws(np.random.default_rng(0), 400)[None]
    first, second, other = (log_evidence_by_bridge(target, draws, key=jax.random.key(s)) for s in (0, 0, 1))
    assert first == second != other
    assert "mode that no chain has found" in first.caveat


def test_a_mode_without_draws_is_missing():
    """What the caveat says: draws of the heavier mode alone give its mass alone."""
    target = Target.from_log_density(two_modes, 2)
    draws = 3 + np.random.default_rng(0).normal(size=(1, 2000, 2))
    estimate = log_evidence_by_bridge(target, draws, key=jax.random.key(0), independent=True)
    expected = np.log(2 * np.pi) + np.log(0.7)
    assert abs(estimate.value - expected) < 0.01
