"""Truths in closed form: float64 wherever they were made, draws that follow the posterior, and refusals."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from programs import exponential_rate
from scipy import stats

from vi_kl.target import Target
from vi_kl.truth import closed_form_truth

Y = np.array([0.4, 1.3, 0.9, 0.1])


def made_in_float32(target):
    return closed_form_truth(target, {"rate": dist.Gamma(7.0, 4.75)}, 0.0)


def test_density_is_exact_though_its_maker_works_in_float32():
    assert not jax.config.jax_enable_x64
    target = Target.from_numpyro(exponential_rate, Y)
    target = target.with_truth(made_in_float32(target))
    z = np.linspace(-1, 2, 7)[:, None]
    density = target.truth.log_density(z)
    assert density.dtype == np.float64
    exact = stats.gamma(7, scale=1 / 4.75)  # both parameters are float32 numbers
    np.testing.assert_allclose(density, exact.logpdf(np.exp(z[:, 0])) + z[:, 0], rtol=1e-12)


@pytest.mark.parametrize(
    "exact",
    [dist.Gamma(7.0, 2.5), dist.HalfNormal(2.0), dist.LogNormal(0.3, 0.4)],
    ids=lambda q: type(q).__name__,
)
def test_draws_follow_the_distribution_by_numpy_or_by_its_own_sampler(exact):
    target = Target.from_numpyro(exponential_rate, Y)
    truth = closed_form_truth(target, {"rate": exact}, 0.0)
    draws = np.exp(truth.sample(jax.random.key(1), 20_000)[:, 0])
    uniform = np.asarray(exact.cdf(draws))
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    np.testing.assert_allclose(truth.moments["rate"].mean, exact.mean, rtol=1e-6)


def test_sites_must_match():
    target = Target.from_numpyro(exponential_rate, Y)
    with pytest.raises(ValueError, match="rate"):
        closed_form_truth(target, {"speed": dist.Gamma(7.0, 2.5)}, 0.0)
