"""Pathfinder: normals exactly, two modes in their proportion, no mode at all, and honest words about its weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import (
    eight_schools_log_evidence,
    elbo,
    hard_gaussian,
    kl_to_gaussian,
    log_gamma,
    log_gamma_elbo,
    two_bumps,
)
from scipy.special import softmax
from scipy.stats import multivariate_normal

from vi_kl.algorithms import FitError, Pathfinder, fit
from vi_kl.algorithms.algorithm import CostCounter
from vi_kl.algorithms.initialization import initialize
from vi_kl.algorithms.path import best_on_path, bfgs_update, normals_along
from vi_kl.algorithms.pathfinder import weigh
from vi_kl.core.precision import in_float64
from vi_kl.families import FullRank, Mixture
from vi_kl.families.frame import Frame
from vi_kl.models.textbook import eight_schools_centred
from vi_kl.targets import Target
from vi_kl.targets.modes import Climb


@pytest.mark.parametrize("dim", [2, 10, pytest.param(50, marks=pytest.mark.exhaustive)])
def test_a_badly_scaled_gaussian_is_found_by_one_path(dim, key):
    target, mean, precision = hard_gaussian(dim)
    found = Pathfinder(num_paths=1).fit(key, target)
    assert kl_to_gaussian(found, mean, precision) < 1e-6
    assert found.status.converged
    assert found.cost.gradient_evaluations < 5000


def test_paths_that_agree_are_one_normal(key):
    target, mean, precision = hard_gaussian(2)
    found = fit(target, "pathfinder", key=key)
    assert isinstance(found.approximation.family, FullRank)
    assert kl_to_gaussian(found, mean, precision) < 1e-6
    assert found.name == "pathfinder"


def test_two_modes_in_their_proportion(key):
    """Their weights from 1024 draws of two normals that are right: a binomial error of 0.015 at most."""
    found = Pathfinder(num_paths=8).fit(key, two_bumps())
    q = found.approximation
    locs = np.asarray(q.params["components"]["loc"])
    np.testing.assert_allclose(np.sort(locs[:, 0]), [-4, 4], atol=1e-3)
    shares = softmax(q.params["logits"])
    assert shares[np.argmax(locs[:, 0])] == pytest.approx(0.3, abs=0.02)
    assert q.family == Mixture(2)
    assert found.status.converged
    assert "mixture of 2" in str(found.status)


def test_the_mixtures_density_is_that_of_its_parts(key):
    q = Pathfinder(num_paths=8).fit(key, two_bumps()).approximation
    z, log_q = q.sample_and_log_prob(key, 50)
    with jax.enable_x64(True):
        trils = np.asarray(q.family.trils(q.params))
    parts = zip(softmax(q.params["logits"]), np.asarray(q.params["components"]["loc"]), trils, strict=True)
    expected = sum(w * multivariate_normal(loc, tril @ tril.T).pdf(z) for w, loc, tril in parts)
    np.testing.assert_allclose(log_q, np.log(expected), rtol=1e-8)
    np.testing.assert_allclose(q.log_prob(z), np.log(expected), rtol=1e-8)


@in_float64
def test_two_normals_of_one_mode_share_its_mass():
    target = two_bumps()
    frames = [Frame.of(np.full(2, at), np.eye(2) * scale) for at, scale in [(-4, 1.0), (-4, 1.1), (4, 1.0)]]
    weights, k_hat = weigh(Pathfinder(num_draws=6000), target, frames, np.random.default_rng(1), CostCounter())
    assert weights[2] == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 6000))
    assert k_hat < 0.5


def test_a_skewed_target_gets_a_normal_no_worse_than_the_modes(key):
    """The ELBO that chooses among a path's normals is estimated, here to a hundredth of a nat."""
    target, best = log_gamma(6.0, 3.0), 6 * (np.log(2.0) - 1 / 12) - 6.0 - 0.5 * np.log(6.0)
    found = log_gamma_elbo(Pathfinder(num_paths=2).fit(key, target), 6.0, 3.0)
    assert log_gamma_elbo(fit(target, "laplace", key=key), 6.0, 3.0) - 0.01 < found <= best


def test_curvature_is_exact_after_as_many_steps_as_dimensions():
    """BFGS from conjugate steps of a quadratic (Nocedal & Wright, theorem 6.4), and secants always."""
    precision = np.array([[2.0, 0.5], [0.5, 1.0]])
    vectors = np.linalg.eigh(precision)[1]
    inverse = np.eye(2)
    for step in vectors.T:
        inverse = bfgs_update(inverse, step, precision @ step)
        np.testing.assert_allclose(inverse @ precision @ step, step, rtol=1e-12)
    np.testing.assert_allclose(inverse, np.linalg.inv(precision), rtol=1e-12)
    path = [(z, -precision @ z, 0.0) for z in (np.ones(2), np.ones(2) + vectors[:, 0], np.zeros(2))]
    assert len(normals_along(path)) == 2


@in_float64
def test_a_funnel_without_a_mode_starts_where_its_mass_is(key):
    """The eight schools written centred, whose density has no top as tau goes to zero."""
    target = eight_schools_centred()
    counter = CostCounter()
    begin = initialize(target, key, counter)
    assert begin.mode is None
    assert "no mode" in begin.words
    noise = np.random.default_rng(0).normal(size=(4096, 10))
    values = np.asarray(target.log_density(begin.frame.loc + noise @ begin.frame.scale_tril.T))
    entropy = np.log(np.diag(begin.frame.scale_tril)).sum() + 5 * (1 + np.log(2 * np.pi))
    gap = eight_schools_log_evidence() - (values.mean() + entropy)
    assert 0 < gap < 2.5  # nats; the best full-rank normal is 1.28 away
    assert 1000 < counter.gradient_evaluations < 40_000


def test_it_says_when_its_weights_cannot_be_trusted(key):
    found = Pathfinder(num_paths=2).fit(key, eight_schools_centred())
    assert not found.status.converged
    assert "k-hat" in str(found.status)
    assert "num_paths" in str(found.status)
    assert elbo(found, key)[0] < eight_schools_log_evidence()


def test_same_key_same_mixture_and_its_start_is_used(key):
    first, second = (Pathfinder(num_paths=3).fit(key, two_bumps()) for _ in range(2))
    for a, b in zip(*map(jax.tree.leaves, (first.approximation.params, second.approximation.params)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.float64
    near = Pathfinder().fit(key, two_bumps(), start=np.full(2, 3.0))
    np.testing.assert_allclose(near.approximation.params["loc"], 4, atol=1e-3)
    again = Pathfinder(num_paths=2).fit(key, two_bumps(), start=near)
    np.testing.assert_allclose(again.approximation.params["loc"], 4, atol=1e-3)


def test_refusals(key):
    with pytest.raises(ValueError, match="num_paths"):
        Pathfinder(num_paths=0)
    wide = Target.from_log_density(lambda z: -jnp.sum(z**2), 1001)
    with pytest.raises(FitError, match="1000 dimensions"):
        Pathfinder().fit(key, wide)


@in_float64
def test_a_climb_of_no_steps_has_no_normal(key):
    target = two_bumps()
    climb = Climb(target, np.full(2, 4.0), max_steps=0)
    assert best_on_path(target, climb, key, CostCounter()) is None
