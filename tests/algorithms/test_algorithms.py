"""Every algorithm: the known answer, a skewed target, determinism, a truthful status, and its refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import exponential_rate

from vi_kl.algorithms import SVI, FitError, Laplace, MomentMatching, fit
from vi_kl.algorithms.choose import choose_algorithm
from vi_kl.families import Flow, MeanField
from vi_kl.families.gaussian import scale_tril
from vi_kl.objectives import ELBO
from vi_kl.target import Target
from vi_kl.truth import truth_by_quadrature

COVARIANCE = np.array([[1.0, 0.8 * 0.1], [0.8 * 0.1, 0.01]])
MEAN = np.array([2.0, -1.0])
PRECISION = np.linalg.inv(COVARIANCE)


def gaussian(z):
    return -0.5 * (z - MEAN) @ PRECISION @ (z - MEAN)


GAUSSIAN = Target.from_log_density(gaussian, 2, truth=truth_by_quadrature)
RATE = Target.from_numpyro(exponential_rate, np.array([0.4, 1.3, 0.9]), truth=truth_by_quadrature)
ALL = ["mean_field", "full_rank", "flow", "laplace", "moment_matching"]


def kl_to_gaussian(q):
    with jax.enable_x64(True):
        mean, tril = np.asarray(q.params["loc"]), np.asarray(scale_tril(q.params))
    shift = mean - MEAN
    trace = np.trace(PRECISION @ tril @ tril.T)
    log_det = np.linalg.slogdet(COVARIANCE)[1] - 2 * np.log(np.diag(tril)).sum()
    return 0.5 * (trace + shift @ PRECISION @ shift - 2 + log_det)


@pytest.mark.parametrize("method", ["full_rank", "laplace"])
def test_full_rank_methods_find_a_gaussian(method, key):
    found = fit(GAUSSIAN, method, key=key)
    assert found.status.converged
    assert kl_to_gaussian(found.approximation) < 1e-4


def test_moment_matching_finds_a_gaussian_within_its_draws(key):
    found = fit(GAUSSIAN, "moment_matching", key=key)
    assert kl_to_gaussian(found.approximation) < 5 * 5 / (2 * 100_000)  # 5 parameters, (n_params / 2n) expected


def test_mean_field_finds_its_own_optimum(key):
    """The best factorised normal has precisions PRECISION_ii, and is off by 1/2 log(prod PRECISION_ii |S|)."""
    params = fit(GAUSSIAN, "mean_field", key=key).approximation.params
    np.testing.assert_allclose(np.exp(params["log_scale"]), 1 / np.sqrt(np.diag(PRECISION)), rtol=0.03)
    # twice the Monte-Carlo error of 0.05 posterior sd that the fit stops at
    assert (np.abs(params["loc"] - MEAN) < 0.1 * np.sqrt(np.diag(COVARIANCE))).all()


def test_laplace_is_the_mode_and_curvature_of_a_skewed_target(key):
    """Gamma(6, b) in z = log rate: mode log(6/b), second derivative -6."""
    b = 2 + np.array([0.4, 1.3, 0.9]).sum()
    params = fit(RATE, "laplace", key=key).approximation.params
    np.testing.assert_allclose(params["loc"], [np.log(6 / b)], rtol=1e-8)
    np.testing.assert_allclose(np.exp(params["log_scale"]), [1 / np.sqrt(6)], rtol=1e-8)


@pytest.mark.parametrize("method", ALL)
def test_same_key_same_answer_and_the_ledger_is_filled_in(method, key):
    first, second = (fit(GAUSSIAN, method, key=key) for _ in range(2))
    for a, b in zip(*map(jax.tree.leaves, (first.approximation.params, second.approximation.params)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.float64
    assert first.cost.gradient_evaluations == second.cost.gradient_evaluations
    assert first.cost.seconds > 0
    assert (first.cost.peak_memory is None) == (not jax.local_devices()[0].memory_stats())
    assert (first.cost.gradient_evaluations > 0) == (method != "moment_matching")
    assert str(first.status)


def test_laplace_refuses_a_flat_direction(key):
    def ridge(z):
        return -0.5 * (z[0] - z[1]) ** 2

    with pytest.raises(FitError, match="does not curve down along 'z"):
        Laplace().fit(key, Target.from_log_density(ridge, 2))


def test_moment_matching_needs_a_truth(key):
    with pytest.raises(FitError, match="exact posterior"):
        MomentMatching().fit(key, Target.from_log_density(gaussian, 2))


def test_choosing():
    assert choose_algorithm(GAUSSIAN).name == "full_rank"
    wide = Target.from_log_density(lambda z: -jnp.sum(z**2), 101)
    assert choose_algorithm(wide).name == "mean_field"
    assert choose_algorithm(GAUSSIAN, Flow()).name == "iaf"
    assert choose_algorithm(GAUSSIAN, SVI(MeanField(), ELBO(3))).objective.num_draws == 3
    with pytest.raises(ValueError, match="full_rank"):
        choose_algorithm(GAUSSIAN, "fullrank")
    with pytest.raises(TypeError, match="NumPyro guide"):
        choose_algorithm(GAUSSIAN, 3)
