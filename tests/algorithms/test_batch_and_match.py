"""Score matching: its updates against their definitions, its fixed points by quadrature, and truthful stopping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import hard_gaussian, kl_to_gaussian, log_gamma, moments, two_bumps
from scipy.optimize import brentq, minimize_scalar

from vi_kl.algorithms import BatchAndMatch, FitError, GaussianScoreMatching, fit
from vi_kl.algorithms.score_matching import Average, distance, match_batch, match_scores
from vi_kl.core.gaussian import Gaussian
from vi_kl.families.frame import Frame
from vi_kl.targets import Target

GENERATOR = np.random.default_rng(5)
SQUARE = GENERATOR.normal(size=(3, 3))
Q = Gaussian.of_covariance(GENERATOR.normal(size=3), SQUARE @ SQUARE.T + np.eye(3))
Z, SCORES = GENERATOR.normal(size=(2, 4, 3))


def test_batch_and_match_solves_its_equation():
    """Equations 9 to 12 of the paper: S U S + S = V, and the mean."""
    weight = 2.5
    new = match_batch(Q, Z, SCORES, weight)
    spread = [np.cov(x, rowvar=False, bias=True) for x in (Z, SCORES)]
    z, score = Z.mean(axis=0), SCORES.mean(axis=0)
    u = weight * spread[1] + weight / (1 + weight) * np.outer(score, score)
    v = Q.covariance + weight * spread[0] + weight / (1 + weight) * np.outer(Q.loc - z, Q.loc - z)
    np.testing.assert_allclose(new.covariance @ u @ new.covariance + new.covariance, v, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(new.loc, (Q.loc + weight * (new.covariance @ score + z)) / (1 + weight), rtol=1e-12)


def test_score_matching_matches_a_single_score():
    new = match_scores(Q, Z[:1], SCORES[:1], 1e12)
    np.testing.assert_allclose(np.linalg.solve(new.covariance, new.loc - Z[0]), SCORES[0], rtol=1e-8)
    assert np.linalg.eigvalsh(new.covariance).min() > 0


def test_score_matching_goes_to_the_nearest_that_does():
    """In one dimension the normals with this score at z are a family of one parameter, searched here."""
    q, z, score = Gaussian.of_covariance(np.array([0.3]), np.array([[1.7]])), 1.1, -0.8

    def kl(log_variance):
        variance = np.exp(log_variance)
        return (1.7 + (0.3 - z - variance * score) ** 2) / variance + log_variance

    variance = np.exp(minimize_scalar(kl, bracket=(-2, 2)).x)
    new = match_scores(q, np.array([[z]]), np.array([[score]]), 1e12)
    assert new.covariance[0, 0] == pytest.approx(variance, rel=1e-6)
    assert new.loc[0] == pytest.approx(z + variance * score, rel=1e-6)


@pytest.mark.parametrize("dim", [2, pytest.param(50, marks=pytest.mark.exhaustive)])
def test_batch_and_match_finds_a_badly_scaled_gaussian_from_a_bad_start(dim, key):
    target, mean, precision = hard_gaussian(dim)
    found = BatchAndMatch().fit(key, target, start=Frame.around(np.zeros(dim), 0.1))
    assert kl_to_gaussian(found, mean, precision) < 1e-8
    assert found.status.converged
    assert found.cost.gradient_evaluations < 5000


@pytest.mark.parametrize("method", ["batch_and_match", "gaussian_score_matching"])
def test_a_gaussian_from_its_own_frame(method, key):
    target, mean, precision = hard_gaussian(3)
    found = fit(target, method, key=key)
    assert found.name == method
    assert kl_to_gaussian(found, mean, precision) < 1e-8
    assert found.cost.gradient_evaluations < 700


def test_batch_and_match_on_a_skewed_target(key):
    """E_q[score] = 0 and Var_q[score] = 1/s^2: for log-gamma a^2 s^2 (exp(s^2) - 1) = 1, m = log(a/b) - s^2/2."""
    found = BatchAndMatch(tolerance=0.004).fit(key, log_gamma(2.0, 3.0))
    loc, covariance = moments(found)
    variance = brentq(lambda v: 4 * v * np.expm1(v) - 1, 1e-3, 10)
    assert found.status.converged
    assert np.sqrt(covariance[0, 0] / variance) == pytest.approx(1, abs=0.016)  # four standard errors
    assert (loc[0] - np.log(2 / 3) + variance / 2) / np.sqrt(variance) == pytest.approx(0, abs=0.016)


def test_gaussian_score_matching_on_a_skewed_target(key):
    """Where its updates are zero on average, by Gauss-Hermite quadrature of single updates."""
    found = GaussianScoreMatching(tolerance=0.004).fit(key, log_gamma(2.0, 3.0))
    q = Gaussian.of_covariance(*moments(found))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    z = (q.loc + nodes * np.sqrt(q.covariance[0, 0]))[:, None]
    each = [match_scores(q, one[None], 2.0 - 3.0 * np.exp(one)[None], 1e12) for one in z]
    weights = weights / weights.sum()
    assert found.status.converged
    assert sum(w * one.loc for w, one in zip(weights, each, strict=True)) == pytest.approx(q.loc, abs=0.01)
    ratio = sum(w * one.covariance for w, one in zip(weights, each, strict=True)) / q.covariance
    assert ratio == pytest.approx(1, abs=0.02)


def test_two_modes_get_one_of_them(key):
    loc, covariance = moments(BatchAndMatch().fit(key, two_bumps()))
    np.testing.assert_allclose(np.abs(loc), 4, atol=0.02)
    np.testing.assert_allclose(covariance, np.eye(2), atol=0.05)


def test_status_is_truthful(key):
    short = BatchAndMatch(batch_size=2, max_steps=40).fit(key, log_gamma(0.5, 2.0))
    assert not short.status.converged
    assert "max_steps" in str(short.status)
    far = GaussianScoreMatching(max_steps=60).fit(key, hard_gaussian(2)[0], start=Frame.around(np.zeros(2), 0.1))
    assert not far.status.converged


def test_the_average_knows_its_error():
    """Independent normals: the standard error of the late two thirds."""
    average = Average()
    for loc in np.random.default_rng(0).normal(size=3000):
        average.add(Gaussian.of_covariance(np.array([loc]), np.eye(1)))
    assert average.error() == pytest.approx(1 / np.sqrt(2000), rel=0.7)  # ten batches: a quarter of itself is one sd
    assert distance(
        Gaussian.of_covariance(np.ones(1), 4 * np.eye(1)), Gaussian.of_covariance(np.zeros(1), np.eye(1))
    ) == pytest.approx(1.0)


def test_same_key_same_answer(key):
    first, second = (BatchAndMatch().fit(key, log_gamma()) for _ in range(2))
    for a, b in zip(*map(jax.tree.leaves, (first.approximation.params, second.approximation.params)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.float64
    assert first.cost.gradient_evaluations == second.cost.gradient_evaluations > 0


def test_refusals(key):
    with pytest.raises(ValueError, match="even"):
        BatchAndMatch(batch_size=3)
    with pytest.raises(FitError, match="400 dimensions"):
        BatchAndMatch().fit(key, Target.from_log_density(lambda z: -jnp.sum(z**2), 401))
    bounded = Target.from_log_density(lambda z: jnp.where(z[0] < 0.0, z[0], jnp.nan), 1)
    with pytest.raises(FitError, match="not finite"):
        BatchAndMatch().fit(key, bounded, start=Frame.around(np.zeros(1), 1.0))
