"""The best sparse normal, against closed forms, quadrature, and the dense normal that another algorithm finds."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from benchmarks.zoo.hierarchies import weibull_survival, weibull_survival_data
from oracles import elbo
from scipy import stats
from scipy.special import logsumexp
from tiers import exhaustive_after

import vi_kl
from vi_kl import Target
from vi_kl.algorithms import NaturalGradient, SampleAverageApproximation, VariationalNewton
from vi_kl.algorithms.newton_steps import Outer
from vi_kl.core.errors import UnsuitableError, ViKLError
from vi_kl.core.precision import in_float64
from vi_kl.families import FullRank, SparseNormal

GROUPS, ROWS, SD = 150, 4, 1.0


def hierarchy(group, y):
    """A hierarchy whose groups are normal given mu and tau."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfNormal(2))
    with numpyro.plate("groups", GROUPS):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
    numpyro.sample("y", dist.Normal(theta[group], SD).to_event(1), obs=y)


def slopes(group, x, y):
    """Correlated intercepts and slopes, of which the correlation settles slowly."""
    sds = numpyro.sample("sds", dist.HalfNormal(1).expand([2]).to_event(1))
    factor = numpyro.sample("factor", dist.LKJCholesky(2, 2.0))
    with numpyro.plate("groups", 40):
        both = numpyro.sample("both", dist.MultivariateNormal(jnp.zeros(2), scale_tril=sds[:, None] * factor))
    numpyro.sample("y", dist.Poisson(jnp.exp(both[group, 0] + both[group, 1] * x)).to_event(1), obs=y)


def chain(dim: int, shift=0.0):
    """A normal chain in time, its mean and its dense covariance."""
    precision = np.diag(np.full(dim, 2.2)) + np.diag(np.full(dim - 1, -1.0), 1) + np.diag(np.full(dim - 1, -1.0), -1)
    mean = np.linspace(-2, 3, dim) + shift
    target = Target.from_log_density(
        lambda z, m: -0.1 * jnp.sum((z - m) ** 2) - 0.5 * jnp.sum(jnp.diff(z - m) ** 2)
        - 0.5 * (z[0] - m[0]) ** 2 - 0.5 * (z[-1] - m[-1]) ** 2, dim, data=mean,
    )  # fmt: skip
    return target, mean, np.linalg.inv(precision)


@pytest.mark.parametrize("dim", exhaustive_after(1, [120, 2]))
def test_a_normal_posterior_is_found_exactly(dim):
    target, mean, covariance = chain(dim)
    fit = vi_kl.fit(target, "sparse_normal", key=0)
    assert fit.status.converged
    normal = SparseNormal().normal(fit.approximation.params)
    np.testing.assert_allclose(normal.loc, mean, atol=1e-8)
    np.testing.assert_allclose(normal.covariance, covariance, atol=1e-8)
    assert len(fit.approximation.params["values"]) <= 3 * dim


@in_float64
def hierarchy_target():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(GROUPS), ROWS)
    y = rng.normal(rng.normal(1.0, 0.8, GROUPS)[group], SD)
    return Target.from_numpyro(hierarchy, group, y), y.reshape(GROUPS, ROWS).mean(axis=1)


def exact_moments(means):
    """The log evidence up to the rows' own constant, and moments of mu and log tau, by quadrature over log tau.

    Given tau the group means are Normal(mu, tau^2 + SD^2 / ROWS), and mu is integrated out in closed form.
    """
    log_tau = np.linspace(-2.0, 1.0, 4001)
    tau = np.exp(log_tau)
    variance = tau**2 + SD**2 / ROWS
    precision = GROUPS / variance + 1 / 25
    mu = means.sum() / variance / precision
    log_p = (
        -0.5 * GROUPS * np.log(2 * np.pi * variance) - 0.5 * (means**2).sum() / variance + 0.5 * mu**2 * precision
        - 0.5 * np.log(25 * precision) + stats.halfnorm(scale=2).logpdf(tau) + log_tau
    )  # fmt: skip
    weights = np.exp(log_p - logsumexp(log_p))
    mean_mu = weights @ mu
    sd_mu = np.sqrt(weights @ (1 / precision + mu**2) - mean_mu**2)
    mean_tau = weights @ log_tau
    return mean_mu, sd_mu, mean_tau, np.sqrt(weights @ log_tau**2 - mean_tau**2)


def test_a_hierarchy_against_quadrature():
    """Reverse KL puts the scale's mean and sd off by some hundredths of an sd; the groups' and mu's are right."""
    target, means = hierarchy_target()
    fit = vi_kl.fit(target, "sparse_normal", key=0)
    assert fit.status.converged
    assert fit.cost.gradient_evaluations < 3_000
    normal = SparseNormal().normal(fit.approximation.params)
    names = list(target.coordinate_names)
    mean_mu, sd_mu, mean_tau, sd_tau = exact_moments(means)
    at = names.index("mu"), names.index("tau")
    assert abs(normal.loc[at[0]] - mean_mu) < 0.03 * sd_mu
    assert normal.sd[at[0]] == pytest.approx(sd_mu, rel=0.03)
    assert abs(normal.loc[at[1]] - mean_tau) < 0.15 * sd_tau
    assert normal.sd[at[1]] == pytest.approx(sd_tau, rel=0.15)
    certificate = vi_kl.check(fit, key=1)
    assert certificate.reverse_kl.value < 0.2
    assert certificate.k_hat < 0.7


@pytest.mark.exhaustive
def test_it_is_the_dense_normal_of_another_algorithm_where_coordinates_settle_slowly():
    """Correlations of a hierarchy: steps alone would end nats below the best normal, and say that they converged."""
    rng = np.random.default_rng(3)
    group, x = np.repeat(np.arange(40), 6), rng.normal(size=240)
    both = rng.multivariate_normal([0, 0], [[0.5, 0.3], [0.3, 0.4]], 40)
    target = Target.from_numpyro(slopes, group, x, rng.poisson(np.exp(both[group, 0] + both[group, 1] * x)))
    sparse = VariationalNewton().fit(0, target)
    dense = SampleAverageApproximation(FullRank(), num_draws=512, max_draws=512).fit(0, target)
    elbos = {}
    for name, fit in (("sparse", sparse), ("dense", dense)):
        z, log_q = fit.sample_and_log_prob(1, 20_000)
        ratio = target.log_density(z) - log_q
        elbos[name] = ratio.mean(), ratio.std() / np.sqrt(len(ratio))
    error = np.hypot(elbos["sparse"][1], elbos["dense"][1])
    assert elbos["sparse"][0] > elbos["dense"][0] - 3 * error - VariationalNewton().tolerance


def test_saved_and_loaded_it_draws_the_same_and_a_damaged_factor_is_refused(tmp_path):
    target, *_ = chain(120)
    fit = vi_kl.fit(target, "sparse_normal", key=0)
    vi_kl.save(fit, tmp_path / "fit.vikl")
    loaded = vi_kl.load(tmp_path / "fit.vikl", target)
    for ours, theirs in zip(fit.sample_and_log_prob(4, 7), loaded.sample_and_log_prob(4, 7), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    good = fit.approximation.params
    for name, wrong in (
        ("order", np.zeros_like(good["order"])),
        ("rows", good["rows"][::-1]),
        ("columns", good["columns"] + 1),
        ("values", -good["values"]),
        ("values", np.where(good["values"] > 0, np.nan, good["values"])),
        ("loc", good["loc"][:-1]),
        ("values", good["values"].astype(int)),
    ):
        with pytest.raises(ValueError, match=r"factor|finite|shape"):
            SparseNormal().require_params({**good, name: wrong}, target)
    SparseNormal().require_params(good, target)


def test_draws_and_densities_are_those_of_the_distribution():
    target, mean, covariance = chain(120)
    fit = vi_kl.fit(target, "sparse_normal", key=0)
    z, log_q = fit.sample_and_log_prob(3, 4000)
    expected = stats.multivariate_normal(mean, covariance)
    np.testing.assert_allclose(log_q, expected.logpdf(z), rtol=1e-8)
    np.testing.assert_allclose(fit.log_prob(z[:5]), log_q[:5], rtol=1e-10)
    sd = np.sqrt(np.diag(covariance))
    assert np.abs((z.mean(axis=0) - mean) / sd).max() < 5 / np.sqrt(4000)
    np.testing.assert_allclose(z.std(axis=0) / sd, 1.0, atol=5 / np.sqrt(2 * 4000))


def test_what_it_cannot_fit_it_refuses_by_name():
    with pytest.raises(ViKLError, match="not finite"):
        VariationalNewton().fit(0, Target.from_log_density(lambda z: jnp.where(z.sum() > -1e9, jnp.nan, 0.0), 3))
    with pytest.raises(UnsuitableError, match="VariationalNewton"):
        vi_kl.SVI(SparseNormal()).fit(0, chain(5)[0])


def test_stopped_early_it_says_so_and_what_to_raise():
    target, _ = hierarchy_target()
    fit = dataclasses.replace(VariationalNewton(), max_gradients=100).fit(0, target)
    assert not fit.status.converged
    assert "raise max_gradients (now 100)" in str(fit.status)


def test_a_move_of_nothing_teaches_no_curvature():
    outer = Outer(np.eye(2))
    outer.correct(np.zeros(2), np.zeros(2))
    np.testing.assert_array_equal(outer.curvature, np.eye(2))
    outer.correct(np.array([1.0, 0.0]), np.array([4.0, 0.0]))  # BFGS: the secant equation holds along the move
    np.testing.assert_allclose(outer.curvature @ [1.0, 0.0], [4.0, 0.0])


@pytest.mark.exhaustive
def test_frailties_with_censoring_do_not_use_up_their_gradients(key):
    """The ELBO and its gradient rest on different draws: steps that only their noise refuses end that noise."""
    target = Target.from_numpyro(weibull_survival, *weibull_survival_data())
    fit = VariationalNewton().fit(key, target)
    assert fit.status.converged
    assert fit.cost.gradient_evaluations < 15_000
    further = NaturalGradient(num_draws=1024, max_draws=1024, enough=0.03).fit(key, target, start=fit)
    (value, error), (best, _) = elbo(fit, key), elbo(further, key)
    assert best - value < 0.1 + 4 * error  # with the same noise
