"""Monte Carlo: its intervals cover the truth, its control variate pays, and it says what it cannot do."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import integrate, stats
from scipy.special import digamma, gammaln

from vi_kl.divergences import estimate_kl
from vi_kl.divergences.estimators import monte_carlo
from vi_kl.divergences.estimators.control_variate import capped_ratio, controlled_mean, shortfall
from vi_kl.divergences.estimators.monte_carlo import (
    draws_and_log_densities,
    mean_log_ratio,
    supports_allow_control,
)

REPETITIONS = 1000
NUM_DRAWS = 2000


def normal_kl(loc_p, scale_p, loc_q, scale_q):
    return np.log(scale_q / scale_p) + (scale_p**2 + (loc_p - loc_q) ** 2) / (2 * scale_q**2) - 0.5


def gamma_kl(a, b, c, d):
    return (a - c) * digamma(a) - gammaln(a) + gammaln(c) + c * np.log(b / d) + a * (d - b) / b


def geometric_kl(p, q):
    failures = np.arange(400)
    pmf_p, pmf_q = (s * (1 - s) ** failures for s in (p, q))
    return np.sum(pmf_p * np.log(pmf_p / pmf_q))


def multivariate_kl(loc, scale_tril):
    """From a standard normal."""
    inverse = np.linalg.inv(scale_tril @ scale_tril.T)
    return 0.5 * (np.trace(inverse) + loc @ inverse @ loc - len(loc)) + np.log(np.diag(scale_tril)).sum()


def by_scipy(p, q):
    edges = np.linspace(-25, 25, 51)  # no mode between two nodes of one piece; farther out there is 1e-20
    return sum(integrate.quad(lambda x: p(x) * np.log(p(x) / q(x)), *piece)[0] for piece in itertools.pairwise(edges))


def two_modes(x):
    return 0.3 * stats.norm.pdf(x, -2, 0.5) + 0.7 * stats.norm.pdf(x, 2, 1)


def broad(x):
    return stats.norm.pdf(x, 0.5, 2.5)


def mixture():
    weights, locs, scales = np.array([0.3, 0.7]), np.array([-2.0, 2.0]), np.array([0.5, 1.0])
    return dist.MixtureSameFamily(dist.Categorical(weights), dist.Normal(locs, scales))


def normals(*parameters):
    return dist.Normal(*parameters[:2]), dist.Normal(*parameters[2:]), normal_kl(*parameters)


LOC, TRIL = np.array([0.2, -0.1, 0.3]), np.array([[1.0, 0, 0], [0.5, 0.8, 0], [-0.3, 0.2, 1.2]])
CASES = {
    "very wide q": lambda: normals(0.0, 1.0, 0.0, 5.0),
    "barely wide q": lambda: normals(0.0, 1.0, 0.0, 1.1),
    "narrow q": lambda: normals(0.0, 1.0, 0.3, 0.8),
    "near-equal": lambda: normals(0.0, 1.0, 1e-3, 1.0005),
    "skewed": lambda: (dist.Exponential(3.0), dist.Exponential(1.0), gamma_kl(1, 3, 1, 1)),
    "skewed, of two shapes": lambda: (dist.Gamma(2.0, 3.0), dist.Exponential(1.0), gamma_kl(2, 3, 1, 1)),
    "heavy-tailed": lambda: (dist.Cauchy(0.0, 1.0), dist.Cauchy(1.0, 1.0), np.log(5 / 4)),
    "discrete": lambda: (dist.GeometricProbs(0.4), dist.GeometricProbs(0.3), geometric_kl(0.4, 0.3)),
    "bimodal p": lambda: (mixture(), dist.Normal(0.5, 2.5), by_scipy(two_modes, broad)),
    "bimodal q": lambda: (dist.Normal(0.5, 2.5), mixture(), by_scipy(broad, two_modes)),
    "vector": lambda: (
        dist.MultivariateNormal(jnp.zeros(3), scale_tril=jnp.eye(3)),
        dist.MultivariateNormal(LOC, scale_tril=TRIL),
        multivariate_kl(LOC, TRIL),
    ),
    "wide q": lambda: normals(0.0, 1.0, 0.0, 2.0),  # the last, as the tests after those of the cases use it again
}


# these programs run long enough to be worth what the rest of this folder goes without
OPTIMISED = {"xla_backend_optimization_level": 2, "xla_llvm_disable_expensive_passes": False}


@functools.lru_cache(maxsize=1)  # each is 32 MB
def repeated(name):
    """Log ratios of a case at draws from p, and at draws from q, for many keys at once; and the true divergence."""

    def once(key):
        at_p, at_q = jax.random.split(key)
        _, log_p, log_q = draws_and_log_densities(p, q, at_p, NUM_DRAWS)
        _, log_q_there, log_p_there = draws_and_log_densities(q, p, at_q, NUM_DRAWS)
        return log_p - log_q, log_p_there - log_q_there

    with jax.enable_x64(True):
        p, q, truth = CASES[name]()
        program = jax.jit(jax.vmap(once), compiler_options=OPTIMISED)
        at_p, at_q = program(jax.random.split(jax.random.key(20261123), REPETITIONS))
        return np.asarray(at_p), np.asarray(at_q), truth


@pytest.fixture
def without_k_hat(monkeypatch):
    """No interval depends on k-hat, which takes most of the time of an estimate."""
    monkeypatch.setattr(monte_carlo, "pareto_k", lambda log_weights: -np.inf)


# one of each nature by default: the variance of q/p infinite and not, near-equal, skewed, counts, two modes. Of
# several dimensions only the log ratios are seen, and a Gamma's draws take longer than all else
EXHAUSTIVE = (
    "very wide q",
    "barely wide q",
    "narrow q",
    "heavy-tailed",
    "bimodal q",
    "vector",
    "skewed, of two shapes",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.exhaustive if name in EXHAUSTIVE else []) for name in CASES]
)
def test_intervals_cover_the_truth_and_the_control_variate_pays(name, without_k_hat):
    """Nominal 95% intervals cover 93 to 97% of 1,000 times, whether or not the variance of q/p is finite."""
    at_p, at_q, truth = repeated(name)
    estimates = [mean_log_ratio(*ratios, "") for ratios in zip(at_p, at_q, strict=True)]
    intervals = np.array([estimate.interval(0.95) for estimate in estimates])
    assert 0.93 <= np.mean((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])) <= 0.97
    values, plain = np.array([e.value for e in estimates]), at_p.mean(1)
    assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(REPETITIONS)
    assert values.std() < 0.97 * plain.std()


@pytest.mark.divergences
def test_intervals_of_plain_means_cover_too(without_k_hat):
    """With too few draws for the control variate."""
    at_p, _, truth = repeated("wide q")
    intervals = np.array([mean_log_ratio(ratios[:500], None, "").interval(0.95) for ratios in at_p])
    assert 0.93 <= np.mean((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])) <= 0.97


def test_the_uncapped_ratio_would_not_do():
    """The estimator k3, whose failure is the reason for the cap: for wide q its intervals cover far too seldom."""
    at_p, _, truth = repeated("wide q")
    k3 = at_p + np.expm1(-at_p)
    off = np.abs(k3.mean(1) - truth) / (k3.std(1, ddof=1) / np.sqrt(NUM_DRAWS))
    assert np.mean(off < 1.96) < 0.8
    assert mean_log_ratio(at_p[0], None, "").k_hat > 0.5


def test_both_sides_of_the_control_have_the_same_mean():
    """min(q/p, 2) under p and min(1, 2 p/q) under q, by quadrature: for wide, narrow and two-mode q."""
    x = np.linspace(-40, 40, 400_001)
    for p, q in [
        (stats.norm.pdf(x), stats.norm.pdf(x, 0, 3)),
        (stats.norm.pdf(x), two_modes(x)),
        (two_modes(x), broad(x)),
    ]:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            log_ratio = np.where(p > 0, np.log(p) - np.log(q), -np.inf)
            log_ratio = np.where(q > 0, log_ratio, np.inf)
        under_p = integrate.trapezoid(p * capped_ratio(log_ratio), x)
        under_q = integrate.trapezoid(q * shortfall(log_ratio), x)
        assert under_p == pytest.approx(under_q, abs=1e-6)
        assert under_p < -0.01


def test_regression_removes_what_the_control_explains():
    rng = np.random.default_rng(0)
    control = rng.normal(size=1000)
    value, error = controlled_mean(3.0 + 2.0 * control, control, np.zeros(1000))
    assert value == pytest.approx(3.0, abs=1e-12)
    assert error < 1e-12
    noise = rng.normal(size=1000)
    value, error = controlled_mean(3.0 + 2.0 * control + 0.1 * noise, control, np.zeros(1000))
    assert error == pytest.approx(0.1 / np.sqrt(1000), rel=0.1)
    assert abs(value - 3) < 4 * error
    assert controlled_mean(noise, np.zeros(1000), np.zeros(1000))[0] == pytest.approx(noise.mean())


def test_a_q_that_reaches_beyond_p_does_not_bias_it(key):
    """Half of q lies where p has nothing: E of q/p is a half, and k3 would be off by 0.5."""
    p, q = dist.HalfNormal(1.0), dist.Normal(0.0, 1.0)
    assert not supports_allow_control(p, q)
    estimate = estimate_kl(p, q, key=key, method="monte_carlo", num_draws=20_000)
    assert estimate.value == pytest.approx(np.log(2), rel=1e-6)
    assert supports_allow_control(q, p)


def test_what_an_estimate_says_of_itself(key):
    p, q, truth = CASES["wide q"]()
    estimate = estimate_kl(p, q, key=key, method="monte_carlo", num_draws=20_000)
    assert abs(estimate.value - truth) < 4 * estimate.standard_error
    assert estimate.method == "Monte Carlo, 20,000 draws from each of p and q"
    assert estimate.num_draws == 20_000
    assert estimate.k_hat == pytest.approx(0.75, abs=0.15)  # the ratio's tail: 1 - 1/4
    assert "go unseen" in estimate.caveat
    assert "heavy a tail" not in estimate.caveat
    assert estimate == estimate_kl(p, q, key=key, method="monte_carlo", num_draws=20_000)
    few = estimate_kl(p, q, key=key, method="monte_carlo", num_draws=50)
    assert (few.method, few.k_hat) == ("Monte Carlo, 50 draws", None)


def test_log_ratios_of_infinite_mean_are_noticed(key):
    """x^2 under a Cauchy has a tail of shape 2."""
    estimate = estimate_kl(dist.Cauchy(0.0, 1.0), dist.Normal(0.0, 1.0), key=key, method="monte_carlo")
    assert "heavy a tail (k-hat 1.9" in estimate.caveat or "heavy a tail (k-hat 2.0" in estimate.caveat


def test_where_q_has_no_density(key):
    estimate = estimate_kl(dist.Poisson(3.0), dist.Binomial(3, 0.5), key=key, method="monte_carlo", num_draws=100)
    assert estimate.value == np.inf
    assert "of them where q has no density" in estimate.method
    assert estimate.caveat == ""


@pytest.mark.divergences
def test_draws_that_floating_point_has_merged_are_refused(key):
    """Beta(0.01, 0.01) holds a third of its mass closer to 1 than 1e-16: a mean over draws is off by a third."""
    with pytest.raises(ValueError, match="floating point cannot tell them from"):
        estimate_kl(dist.Beta(0.01, 0.01), dist.Uniform(0.0, 1.0), key=key, method="monte_carlo", num_draws=2000)
