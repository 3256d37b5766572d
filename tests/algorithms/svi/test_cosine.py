"""A fixed number of steps, whose size rises and falls: what it promises, and what it finds."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from vi_kl.algorithms import SVI
from vi_kl.algorithms.svi.cosine import CosineSchedule
from vi_kl.families import FullRank
from vi_kl.objectives import ELBO
from vi_kl.targets import Target

CONFIG = SVI(FullRank(), ELBO(16), decay="cosine", step_size=0.05, smallest_step_size=1e-4, max_steps=400, chunk=20)


def test_step_sizes_rise_to_the_largest_and_fall_to_next_to_nothing():
    schedule, sizes = CosineSchedule(CONFIG), []
    while not schedule.done:
        sizes.append(-schedule.step_size)
        schedule.record(np.zeros(20), {"a": np.zeros(1)})
    assert len(sizes) == 20
    assert np.argmax(sizes) == 2
    assert 0.97 * 0.05 < max(sizes) <= 0.05
    assert sizes[0] < 0.7 * max(sizes)
    assert (np.diff(sizes[2:]) < 0).all()
    assert 1e-4 <= sizes[-1] < 1e-3


@pytest.mark.parametrize(("slope", "converged"), [(0.0, True), (0.02, False)], ids=["flat", "falling"])
def test_a_loss_that_still_falls_has_not_converged(slope, converged):
    schedule, noise = CosineSchedule(CONFIG), np.random.default_rng(0)
    for number in range(20):
        schedule.record(noise.normal(size=20) * 0.01 - slope * number, {"a": np.zeros(1)})
    assert schedule.done
    assert schedule.status().converged == converged


def test_it_finds_a_normal_and_takes_just_its_steps(key):
    scale = np.array([[2.0, 0.0], [1.5, 0.5]])
    inverse = np.linalg.inv(scale)
    target = Target.from_log_density(lambda z: -0.5 * jnp.sum((inverse @ (z - 3.0)) ** 2), 2)
    fit = CONFIG.fit(key, target)
    assert len(fit.history.loss) == 400
    normal = fit.approximation.family.frame(fit.approximation.params).normal
    np.testing.assert_allclose(normal.loc, 3.0, atol=0.1)
    np.testing.assert_allclose(normal.covariance, scale @ scale.T, rtol=0.1, atol=0.1)


def test_an_interrupted_fit_goes_on_to_the_same_answer(key, tmp_path):
    target = Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2), 2)
    half = dataclasses.replace(CONFIG, max_steps=200)
    whole = half.fit(key, target)
    path = tmp_path / "run"
    calls = []

    def stop(fraction, sentence):
        calls.append(fraction)
        if len(calls) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half.fit(key, target, checkpoint=path, checkpoint_seconds=0, progress=stop)
    again = half.fit(key, target, checkpoint=path)
    np.testing.assert_array_equal(again.history.loss, whole.history.loss)
    np.testing.assert_array_equal(again.history.step_size, whole.history.step_size)
    for name, value in whole.approximation.params.items():
        np.testing.assert_array_equal(again.approximation.params[name], value)


def test_other_words_are_refused():
    with pytest.raises(ValueError, match='decay must be "cut" or "cosine"'):
        SVI(FullRank(), decay="linear")
