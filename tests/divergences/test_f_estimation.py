"""estimate_f_divergence: each method against known answers, coverage of the intervals, and what it refuses."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from vi_kl.core.precision import as_float64
from vi_kl.divergences import (
    NoClosedForm,
    chi_squared,
    estimate_f_divergence,
    hellinger,
    jensen_shannon,
    renyi,
)
from vi_kl.divergences.estimators.monte_carlo import draws_and_log_densities
from vi_kl.divergences.estimators.quadrature import NotApplicable, NotConverged
from vi_kl.divergences.f_divergences import sampling

GAMMAS = dist.Gamma(2.0, 3.0), dist.Gamma(2.5, 3.0)
NORMALS = dist.Normal(0.0, 1.0), dist.Normal(1.0, 2.0)
UNIFORMS = dist.Uniform(0.0, 2.0), dist.Uniform(1.0, 4.0)
MODES = dist.MixtureSameFamily(
    dist.Categorical(probs=np.array([0.3, 0.7])), dist.Normal(np.array([-4.0, 2.0]), np.array([0.01, 1.0]))
)
KINDS = [
    ("squared_hellinger", {}),
    ("hellinger", {}),
    ("bhattacharyya", {}),
    ("chi_squared", {}),
    ("renyi", {"order": -0.5}),
    ("renyi", {"order": 0.0}),
    ("renyi", {"order": 0.3}),
    ("renyi", {"order": 1.0}),
    ("renyi", {"order": 1.4}),
    ("alpha", {"alpha": 0.3}),
    ("alpha", {"alpha": 0.0}),
    ("alpha", {"alpha": 1.4}),
]


@pytest.mark.divergences
@pytest.mark.parametrize("pair", [GAMMAS, NORMALS, (dist.Beta(2.0, 300.0), dist.Beta(1.5, 250.0))])
def test_quadrature_agrees_with_the_closed_forms(pair):
    """Within its own error; orders where the integral is infinite must not pass for a number."""
    for kind, parameter in KINDS:
        exact = estimate_f_divergence(*pair, kind, method="closed_form", **parameter)
        if np.isinf(exact.value):
            with pytest.raises(NotConverged):
                estimate_f_divergence(*pair, kind, method="quadrature", **parameter)
            continue
        estimate = estimate_f_divergence(*pair, kind, method="quadrature", **parameter)
        assert abs(estimate.value - exact.value) <= 10 * estimate.standard_error + 1e-13 * abs(exact.value)
        assert estimate.standard_error < 1e-8
        assert estimate.unit == exact.unit


def grid_sum(function, log_p, log_q, edges):
    """The trapezium rule over pieces of 200,001 points each."""
    total = 0.0
    for low, high in itertools.pairwise(edges):
        x, step = np.linspace(low, high, 200_001, retstep=True)
        values = function(np.exp(log_p(x)), np.exp(log_q(x)))
        total += step * (values.sum() - (values[0] + values[-1]) / 2)
    return total


@pytest.mark.divergences
def test_bimodal_with_a_narrow_mode():
    """A mode of width 0.01 in a density eight wide, against finer grids around it."""
    q = dist.Normal(0.0, 3.0)
    edges = [-40, -5, -4.1, -3.9, 0, 20, 40]

    def log_p(x):
        return np.logaddexp(np.log(0.3) + stats.norm(-4, 0.01).logpdf(x), np.log(0.7) + stats.norm(2, 1).logpdf(x))

    expected = {
        "total_variation": lambda f, g: abs(f - g) / 2,
        "squared_hellinger": lambda f, g: (np.sqrt(f) - np.sqrt(g)) ** 2 / 2,
        "chi_squared": lambda f, g: (f - g) ** 2 / g,
        "jensen_shannon": lambda f, g: (entropy_part(f, g) + entropy_part(g, f)) / 2,
    }
    for kind, function in expected.items():
        estimate = estimate_f_divergence(MODES, q, kind)
        truth = grid_sum(function, log_p, stats.norm(0, 3).logpdf, edges)
        assert "quadrature" in estimate.method
        assert estimate.value == pytest.approx(truth, abs=1e-8 * (1 + truth))


def entropy_part(f, g):
    return np.where(f > 0, f * np.log(np.where(f > 0, f, 1) * 2 / (f + g)), 0.0)


@pytest.mark.divergences
def test_densities_that_end_inside_each_other():
    """U(0, 2) and U(1, 4): half of p meets a third of it in q's density."""
    overlap, p, q = 1.0, 1 / 2, 1 / 3
    for method, tolerance in (("quadrature", 0), ("monte_carlo", 4)):
        estimates = {
            kind: estimate_f_divergence(*UNIFORMS, kind, method=method, key=jax.random.key(1))
            for kind in ("total_variation", "squared_hellinger", "jensen_shannon", "bhattacharyya", "chi_squared")
        }
        m = (p + q) / 2
        truth = {
            "total_variation": 1 - overlap * q,
            "squared_hellinger": 1 - overlap * np.sqrt(p * q),
            "bhattacharyya": -np.log(overlap * np.sqrt(p * q)),
            "jensen_shannon": (p * np.log(p / m) + q * np.log(q / m) + (1 / 2 + 2 / 3) * np.log(2)) / 2,
            "chi_squared": np.inf,
        }
        for kind, value in truth.items():
            allowed = tolerance * estimates[kind].standard_error + 1e-10
            assert estimates[kind].value == value or abs(estimates[kind].value - value) <= allowed, (kind, method)


def test_near_equal_densities_keep_their_digits():
    """N(0, 1) and N(1e-6, 1): second-order divergences of 1e-12 to nine digits, which 1 - overlap would not have."""
    p, q = dist.Normal(0.0, 1.0), dist.Normal(1e-6, 1.0)
    for kind, expected in (("jensen_shannon", 1e-12 / 8), ("chi_squared", 1e-12), ("squared_hellinger", 1e-12 / 8)):
        assert estimate_f_divergence(p, q, kind, method="quadrature").value == pytest.approx(expected, rel=1e-9)


def test_heavy_tails():
    """Half the variation between Cauchys at 0 and d is 2/pi arctan(d/4) of the line; their chi-squared is d^2/2."""
    p, q = dist.Cauchy(0.0, 1.0), dist.Cauchy(2.0, 1.0)
    variation = estimate_f_divergence(p, q, "total_variation")
    assert variation.value == pytest.approx(2 / np.pi * np.arctan(1 / 1), abs=4 * variation.standard_error + 1e-10)
    assert estimate_f_divergence(p, q, "chi_squared").value == pytest.approx(2.0, abs=1e-8)


@pytest.mark.divergences
def test_infinite_divergences_do_not_pass_for_numbers(key):
    assert estimate_f_divergence(dist.Normal(0.0, 2.0), NORMALS[0], "chi_squared").value == np.inf
    heavy = dist.StudentT(3.0), NORMALS[0]
    with pytest.raises(NotConverged, match="floating range"):
        estimate_f_divergence(*heavy, "chi_squared", method="quadrature")
    estimate = estimate_f_divergence(*heavy, "chi_squared", key=key, num_draws=2000)
    assert "may be infinite" in estimate.caveat
    assert "quadrature did not converge" in estimate.method
    with pytest.raises(ValueError, match="leaves the floating range at some"):
        estimate_f_divergence(dist.Cauchy(0.0, 1.0), NORMALS[0], "chi_squared", key=key)


def test_a_finite_support_is_summed():
    p, q = dist.Binomial(5, 0.3), dist.Binomial(7, 0.2)
    pmfs = stats.binom(5, 0.3).pmf(np.arange(8)), stats.binom(7, 0.2).pmf(np.arange(8))
    for kind, function in (("jensen_shannon", jensen_shannon), ("chi_squared", chi_squared), ("hellinger", hellinger)):
        estimate = estimate_f_divergence(p, q, kind)
        assert "exact sum" in estimate.method
        assert estimate.value == pytest.approx(float(function(*pmfs)), rel=1e-7)
    assert estimate_f_divergence(q, p, "chi_squared").value == np.inf
    assert estimate_f_divergence(q, p, "renyi", order=0.5).value == pytest.approx(
        float(renyi(*pmfs[::-1], 0.5)), rel=1e-7
    )
    assert estimate_f_divergence(q, p, "renyi", order=0.0).value == pytest.approx(0.0, abs=1e-12)
    assert estimate_f_divergence(p, q, "renyi", order=0.0).value == pytest.approx(
        -np.log1p(-stats.binom(7, 0.2).sf(5)), rel=1e-6
    )


def test_pmf_arrays_are_summed_exactly():
    p, q = [0.5, 0.5], [0.25, 0.75]
    estimate = estimate_f_divergence(p, q, "renyi", order=2, base=2)
    assert (estimate.unit, estimate.standard_error, estimate.method) == ("bits", 0.0, "exact sum over 2 values")
    assert estimate.value == pytest.approx(np.log2(4 / 3), rel=1e-14)
    assert estimate_f_divergence(p, q, "total_variation").value == pytest.approx(0.25, rel=1e-14)


COVERED = {
    "jensen_shannon of skewed": (GAMMAS, "jensen_shannon", {}, 400),
    "hellinger of bimodal": ((MODES, dist.Normal(0.0, 3.0)), "hellinger", {}, 400),
    "total variation of counts": ((dist.Poisson(3.0), dist.Poisson(2.5)), "total_variation", {}, 400),
    "chi-squared of a wide q": (NORMALS, "chi_squared", {}, 1000),
    "renyi of far apart": ((dist.Normal(0.0, 1.0), dist.Normal(4.0, 1.0)), "renyi", {"order": 0.5}, 4000),
}


def log_densities_for_many_keys(p, q, key, count):
    """log p and log q at the draws that `log_densities_at_draws` makes for each of 1,000 keys: (1000, 2, count)."""

    def once(key):
        first, second = jax.random.split(key)
        _, log_p, log_q = draws_and_log_densities(p, q, first, count)
        _, log_q_at_q, log_p_at_q = draws_and_log_densities(q, p, second, count)
        return jnp.stack([log_p, log_p_at_q]), jnp.stack([log_q, log_q_at_q])

    with jax.enable_x64(True):
        p, q = (jax.tree.map(as_float64, distribution) for distribution in (p, q))
        return map(np.asarray, jax.jit(jax.vmap(once))(jax.random.split(key, 1000)))


# of the two that are functions of a mean, one by default
@pytest.mark.divergences
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.exhaustive if n == "hellinger of bimodal" else []) for n in COVERED]
)
def test_monte_carlo_covers_the_truth(key, name, monkeypatch):
    """Nominal 95% intervals cover 93 to 97% of 1,000 times."""
    (p, q), kind, parameter, num_draws = COVERED[name]
    if name == "total variation of counts":
        counts = np.arange(60)
        truth = np.abs(stats.poisson(3.0).pmf(counts) - stats.poisson(2.5).pmf(counts)).sum() / 2
    else:
        truth = estimate_f_divergence(p, q, kind, **parameter).value
    first = estimate_f_divergence(
        p, q, kind, key=jax.random.split(key, 1000)[0], method="monte_carlo", num_draws=num_draws, **parameter
    )
    made = zip(*log_densities_for_many_keys(p, q, key, num_draws // 2), strict=True)
    monkeypatch.setattr(sampling, "log_densities_at_draws", lambda *_: next(made))
    covered = 0
    for repetition in range(1000):
        arguments = {"key": key, "method": "monte_carlo", "num_draws": num_draws, **parameter}
        estimate = estimate_f_divergence(p, q, kind, **arguments)
        assert repetition or estimate.value == pytest.approx(first.value, rel=1e-12)  # the same draws, made at once
        low, high = estimate.interval(0.95)
        covered += low <= truth <= high
    assert 930 <= covered <= 970


def test_vectors_are_estimated_from_draws_and_say_so(key):
    """Against the closed form of the same distributions, in dimension 3."""
    p, q = (dist.Normal(m * np.ones(3), 1.0).to_event(1) for m in (0.0, 0.4))
    first, second = (estimate_f_divergence(p, q, "chi_squared", key=key, method="monte_carlo") for _ in range(2))
    assert first == second
    assert abs(first.value - np.expm1(3 * 0.16)) <= 4 * first.standard_error
    assert "half from p and half from q" in first.method
    assert first.num_draws == 100_000
    assert first.k_hat is not None
    assert estimate_f_divergence(p, q, "jensen_shannon", key=key).k_hat is None  # bounded: no tail to judge


def test_a_small_error_from_few_draws_whatever_the_tails(key):
    """Cauchy and Normal: q/p has no finite variance, but total variation is bounded under draws from both."""
    pair = dist.Cauchy(0.0, 1.0), dist.Normal(0.0, 1.0)
    exact = estimate_f_divergence(*pair, "total_variation", method="quadrature")
    estimate = estimate_f_divergence(*pair, "total_variation", method="monte_carlo", key=key, num_draws=10_000)
    assert estimate.standard_error < 0.005
    assert estimate.agrees_with(exact, 4)


def test_what_cannot_be_estimated(key):
    with pytest.raises(ValueError, match=r"Jensen-Shannon divergence.*pass key=jax.random.key\(0\)"):
        estimate_f_divergence(dist.Poisson(3.0), dist.Poisson(4.0), "jensen_shannon")
    with pytest.raises(ValueError, match="kind must be one of 'jensen_shannon'"):
        estimate_f_divergence(*NORMALS, "kolmogorov")
    with pytest.raises(ValueError, match="'renyi' needs order=; given: nothing"):
        estimate_f_divergence(*NORMALS, "renyi")
    with pytest.raises(ValueError, match="takes neither order= nor alpha=; given: alpha=2"):
        estimate_f_divergence(*NORMALS, "hellinger", alpha=2)
    with pytest.raises(ValueError, match="An infinite order has no integral"):
        estimate_f_divergence(*NORMALS, "renyi", order=np.inf)
    with pytest.raises(ValueError, match="total variation is a plain number"):
        estimate_f_divergence(*NORMALS, "total_variation", base=2)
    with pytest.raises(ValueError, match="method must be"):
        estimate_f_divergence(*NORMALS, "hellinger", method="magic")
    with pytest.raises(ValueError, match=r"batch shapes of p and q are \(2,\) and \(\)"):
        estimate_f_divergence(dist.Normal(jnp.zeros(2), 1.0), NORMALS[1], "hellinger")
    with pytest.raises(ValueError, match="p is discrete and q is continuous"):
        estimate_f_divergence(dist.Poisson(3.0), NORMALS[0], "hellinger")
    with pytest.raises(ValueError, match="num_draws must be at least 4"):
        estimate_f_divergence(*NORMALS, "hellinger", method="monte_carlo", key=key, num_draws=2)
    with pytest.raises(NoClosedForm):
        estimate_f_divergence(*GAMMAS, "jensen_shannon", method="closed_form")
    with pytest.raises(NotApplicable, match="no finite support"):
        estimate_f_divergence(*NORMALS, "hellinger", method="enumeration")
    with pytest.raises(NotApplicable, match="not a density of one variable"):
        estimate_f_divergence(dist.Poisson(3.0), dist.Poisson(4.0), "hellinger", method="quadrature")
