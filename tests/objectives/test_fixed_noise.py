"""Fixed noise: its moments, the loss and gradient on it, and what it makes exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import qmc

from vi_kl.core.random_keys import numpy_generator
from vi_kl.families import FullRank, MeanField, Skewed
from vi_kl.families.frame import Frame
from vi_kl.objectives import sobol
from vi_kl.objectives.fixed_noise import FixedNoiseELBO
from vi_kl.objectives.noise import matched_noise
from vi_kl.targets import Target


@pytest.mark.parametrize(("dim", "n"), [(1, 64), (3, 64), (10, 128), (40, 256)])
def test_mean_and_covariance_of_the_noise_are_exact(dim, n, key):
    u = matched_noise(numpy_generator(key), n, dim)
    assert u.shape == (n, dim)
    np.testing.assert_allclose(u.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(u.T @ u / n, np.eye(dim), atol=1e-12)


def test_few_draws_have_exact_variances(key):
    u = matched_noise(numpy_generator(key), 64, 50)
    np.testing.assert_allclose(np.mean(u**2, axis=0), 1, rtol=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 40, 300])
@pytest.mark.parametrize("numbers_are_found", [True, False])
def test_points_are_those_of_scipy_bit_by_bit(dim, numbers_are_found, monkeypatch):
    if not numbers_are_found:
        monkeypatch.setattr(sobol, "direction_numbers", lambda: None)
    for n in (1, 2, 256):
        ours, theirs = np.random.default_rng(dim), np.random.default_rng(dim)
        np.testing.assert_array_equal(sobol.sobol_points(ours, n, dim), qmc.Sobol(dim, rng=theirs).random(n))
        assert ours.random() == theirs.random()


def test_it_integrates_better_than_random_noise(key):
    """E cosh(a u) = exp(a^2 / 2), with all even moments in it."""
    exact = np.exp(0.5)
    fixed = [np.cosh(matched_noise(numpy_generator(k), 256, 3)).mean() - exact for k in jax.random.split(key, 20)]
    rng = np.random.default_rng(0)
    random = [np.cosh(rng.standard_normal((256, 3))).mean() - exact for _ in range(20)]
    assert np.std(fixed) < 0.35 * np.std(random)  # 0.28: as good as thirteen times the draws


def log_gammas(z):
    return jnp.sum(jnp.array([3.0, 8.0]) * z - jnp.exp(z)) - 0.3 * z[0] * z[1]


@pytest.mark.parametrize(
    ("family", "in_frame"),
    [(MeanField(), True), (MeanField(), False), (FullRank(), True), (FullRank(), False), (Skewed(), True)],
)  # the last without NumPy
def test_the_gradient_is_that_of_the_loss(family, in_frame, key):
    target = Target.from_log_density(log_gammas, 2)
    frame = Frame.of([0.5, 2.0], np.array([[0.5, 0.0], [0.2, 0.3]]))
    with jax.enable_x64(True):
        loss = FixedNoiseELBO(
            family,
            family.standard(key, target),
            family.units(frame) if in_frame else None,
            target,
            matched_noise(numpy_generator(key), 64, 2),
        )
        x = loss.start + 0.1 * np.arange(len(loss.start))
        value, gradient = loss(x)
        z, log_q = loss.draws(x)
        assert value == pytest.approx(np.mean(log_q - np.asarray(target.log_density(z))), rel=1e-12)
        np.testing.assert_allclose(gradient, approx_fprime(x, lambda y: loss(y)[0], 1e-6), rtol=1e-4, atol=1e-6)
        assert loss.evaluations == 64 * (1 + len(x) + 1)


def test_the_standard_member_in_the_posteriors_own_frame_is_stationary(key):
    """For a normal posterior the best normal is found on any such noise, without Monte-Carlo error."""
    tril = np.array([[2.0, 0, 0], [-30.0, 5.0, 0], [0.1, 0.02, 0.003]])
    mean = np.array([1.0, -200.0, 0.5])
    precision = np.linalg.inv(tril @ tril.T)
    target = Target.from_log_density(lambda z: -0.5 * (z - mean) @ precision @ (z - mean), 3)
    with jax.enable_x64(True):
        for family in (FullRank(), MeanField()):
            params, units = family.standard(key, target), family.units(Frame.of(mean, tril))
            gradient = FixedNoiseELBO(family, params, units, target, matched_noise(numpy_generator(key), 64, 3))(
                np.zeros(6 + 3 * (family.name == "full_rank"))
            )[1]
            np.testing.assert_allclose(gradient, 0, atol=1e-6)
