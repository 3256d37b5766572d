"""Truths in closed form: float64 wherever they were made, draws that follow the posterior, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from programs import exponential_rate
from scipy import stats

from vi_kl.core.compilation import compile_clock
from vi_kl.reference import Moments, closed_form_reference
from vi_kl.targets import Target

Y = np.array([0.4, 1.3, 0.9, 0.1])


def made_in_float32(target):
    return closed_form_reference(target, {"rate": dist.Gamma(7.0, 4.75)}, 0.0)


def test_density_is_exact_though_its_maker_works_in_float32():
    assert not jax.config.jax_enable_x64
    target = Target.from_numpyro(exponential_rate, Y)
    target = target.with_reference(made_in_float32(target))
    z = np.linspace(-1, 2, 7)[:, None]
    density = target.reference.log_density(z)
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
    reference = closed_form_reference(target, {"rate": exact}, 0.0)
    draws = np.exp(reference.sample(jax.random.key(1), 20_000)[:, 0])
    uniform = np.asarray(exact.cdf(draws))
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    np.testing.assert_allclose(reference.moments["rate"].mean, exact.mean, rtol=1e-6)


def test_sites_must_match():
    target = Target.from_numpyro(exponential_rate, Y)
    with pytest.raises(ValueError, match="rate"):
        closed_form_reference(target, {"speed": dist.Gamma(7.0, 2.5)}, 0.0)


def test_shapes_must_match():
    target = Target.from_numpyro(exponential_rate, Y)
    with pytest.raises(ValueError, match=r"site 'rate' in the shape \(2,\), the target \(\)"):
        closed_form_reference(target, {"rate": dist.Gamma(np.array([7.0, 2.0]), 2.5)}, 0.0)


# Posteriors that are all normal say so --------------------------------------------------------------------------


def three_normals(scale):
    """No data: the posterior is the prior. Sites in an order that is not z's."""
    numpyro.sample("single", dist.Normal(3.0, scale))
    numpyro.sample("pair", dist.Normal(jnp.array([1.0, 2.0]), jnp.array([0.1, 0.2])).to_event(1))
    numpyro.sample("joint", dist.MultivariateNormal(jnp.array([5.0, 6.0]), JOINT))


JOINT = np.array([[2.0, 0.9], [0.9, 0.5]])


@pytest.mark.landing
def test_normal_sites_are_put_together_in_the_order_of_z():
    target = Target.from_numpyro(three_normals, np.array(0.3))
    posterior = {
        "single": dist.Normal(3.0, 0.3),
        "pair": dist.Normal(jnp.array([1.0, 2.0]), jnp.array([0.1, 0.2])).to_event(1),
        "joint": dist.MultivariateNormal(jnp.array([5.0, 6.0]), JOINT),
    }
    reference = closed_form_reference(target, posterior, 0.0)
    mean, covariance = reference.normal
    np.testing.assert_allclose(mean, [5, 6, 1, 2, 3])  # joint, pair, single
    expected = np.zeros((5, 5))
    expected[:2, :2], expected[2:, 2:] = JOINT, np.diag([0.01, 0.04, 0.09])
    np.testing.assert_allclose(covariance, expected, rtol=1e-6, atol=1e-12)  # float32 parameters
    z = reference.sample(jax.random.key(2), 20_000)
    white = np.linalg.solve(np.linalg.cholesky(covariance), (z - mean).T)
    for coordinate in white:
        assert stats.kstest(coordinate, "norm").pvalue > 1e-3
    assert np.abs(np.cov(white) - np.eye(5)).max() < 4 * np.sqrt(2 / 20_000)
    exact = stats.multivariate_normal(mean, covariance).logpdf(z[:50])
    np.testing.assert_allclose(reference.log_density(z[:50]), exact, rtol=1e-9)


def test_other_posteriors_do_not():
    target = Target.from_numpyro(exponential_rate, Y)
    assert closed_form_reference(target, {"rate": dist.Gamma(7.0, 2.5)}, 0.0).normal is None


# Posteriors given as programs: dependent sites ------------------------------------------------------------------

A, B = 6.0, 2.0


def rate_then_waiting_time(a, b):
    """No data: the posterior is this joint density itself, and the evidence is 1."""
    rate = numpyro.sample("rate", dist.Gamma(a, b))
    numpyro.sample("wait", dist.Exponential(rate))


def waiting_time_then_rate(a, b):
    """The same joint density the other way round: a Lomax margin, and the conjugate posterior given it."""
    lomax = dist.TransformedDistribution(dist.Pareto(b, a), dist.transforms.AffineTransform(-b, 1.0))
    wait = numpyro.sample("wait", lomax)
    numpyro.sample("rate", dist.Gamma(a + 1, b + wait))


def moments_of_both(a, b):
    return {
        "rate": Moments(np.asarray(a / b), np.asarray(np.sqrt(a) / b)),
        "wait": Moments(np.asarray(b / (a - 1)), np.asarray(b / (a - 1) * np.sqrt(a / (a - 2)))),
    }


def program_target(a=A, b=B):
    a, b = np.array(a), np.array(b)
    target = Target.from_numpyro(rate_then_waiting_time, a, b)
    reference = closed_form_reference(target, waiting_time_then_rate, 0.0, moments_of_both(a, b), (a, b))
    return target.with_reference(reference)


def test_program_density_is_the_joint_density():
    """Both sites are skewed and dependent, and z holds their logarithms."""
    target = program_target()
    z = np.random.default_rng(0).normal(size=(200, 2))
    rate, wait = np.exp(z.T)
    exact = stats.gamma(A, scale=1 / B).logpdf(rate) + stats.expon(scale=1 / rate).logpdf(wait) + z.sum(axis=1)
    density = target.reference.log_density(z)
    assert density.dtype == np.float64
    np.testing.assert_allclose(density, exact, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(target.log_density(z), exact, rtol=1e-12, atol=1e-12)


def test_program_draws_follow_margins_and_conditional():
    reference = program_target().reference
    z = reference.sample(jax.random.key(4), 20_000)
    rate, wait = np.exp(z.T)
    assert stats.kstest(rate, stats.gamma(A, scale=1 / B).cdf).pvalue > 1e-3
    assert stats.kstest(wait, stats.lomax(A, scale=B).cdf).pvalue > 1e-3
    assert stats.kstest(rate * wait, "expon").pvalue > 1e-3  # wait given rate
    assert np.array_equal(z, reference.sample(jax.random.key(4), 20_000))
    assert reference.distributions is None
    assert reference.normal is None


def test_program_with_new_data_compiles_nothing():
    def use(reference):
        return reference.log_density(reference.sample(jax.random.key(4), 10))

    before = use(program_target().reference)
    with compile_clock() as clock:
        after = use(program_target(a=9.0, b=0.5).reference)
    assert clock.programs == 0
    assert not np.allclose(before, after)


def draws_only_the_rate(a, b):
    numpyro.sample("rate", dist.Gamma(a, b))


def draws_two_waits(a, b):
    numpyro.sample("rate", dist.Gamma(a, b))
    numpyro.sample("wait", dist.Exponential(a).expand([2]))


def observes(a, b):
    rate = numpyro.sample("rate", dist.Gamma(a, b))
    numpyro.sample("wait", dist.Exponential(rate), obs=b)


@pytest.mark.parametrize(
    ("program", "moments", "words"),
    [
        (waiting_time_then_rate, None, "Give `moments` too"),
        (waiting_time_then_rate, {"rate": Moments(np.array(1.0), np.array(1.0))}, r"`moments` names .*\['rate'\]"),
        (draws_only_the_rate, moments_of_both(A, B), r"The posterior names .*\['rate'\]"),
        (draws_two_waits, moments_of_both(A, B), r"site 'wait' in the shape \(2,\), the target \(\)"),
        (observes, moments_of_both(A, B), r"observes \['wait'\]"),
    ],
)
def test_programs_that_are_no_posterior_are_refused(program, moments, words):
    target = Target.from_numpyro(rate_then_waiting_time, np.array(A), np.array(B))
    with pytest.raises(ValueError, match=words):
        closed_form_reference(target, program, 0.0, moments, (np.array(A), np.array(B)))
