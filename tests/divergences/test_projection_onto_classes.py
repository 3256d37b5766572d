"""Projection onto NumPyro classes: moments matched exactly, minima found and counted, and refusals.

The oracles are SciPy's distributions and quadrature, sums over pmf arrays, and mpmath; none of them is vi_kl's.
"""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.special
import scipy.stats

from vi_kl.core.precision import as_float64, in_float64
from vi_kl.demo.worms.data import TEETH, observed
from vi_kl.divergences import NoClosedForm, project
from vi_kl.divergences.projection.equations import (
    concentration_of_gap,
    concentration_of_length,
    dirichlet_concentration,
    inverse_digamma,
)
from vi_kl.divergences.projection.families import find_family
from vi_kl.divergences.projection.formulas import formulas
from vi_kl.divergences.projection.matching import match_moments

WEIGHTS = np.array([0.4, 0.6])
with jax.enable_x64(True):  # NumPyro keeps parameters in the precision of the moment
    HUMPS = dist.Normal(np.array([-3.0, 3.0]), np.array([0.7, 1.0]))
    TWO_HUMPS = dist.MixtureSameFamily(dist.Categorical(WEIGHTS), HUMPS)
    LEANING = dist.LogNormal(np.array([0.0, 1.5]), np.array([0.5, 0.3]))
    SKEWED = dist.MixtureSameFamily(dist.Categorical(WEIGHTS), LEANING)
CORRELATED = dist.MultivariateNormal(np.array([1.0, -2.0]), np.array([[2.0, 1.2], [1.2, 1.0]]))
CENTRES = np.array([[-3.0, 0.0], [3.0, 1.0]])
COVARIANCES = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.5], [0.5, 1.0]]])
TWO_HEAPS = dist.MixtureSameFamily(dist.Categorical(WEIGHTS), dist.MultivariateNormal(CENTRES, COVARIANCES))


def two_humps(x):
    """The log density of TWO_HUMPS."""
    return np.logaddexp(
        np.log(0.4) + scipy.stats.norm.logpdf(x, -3, 0.7), np.log(0.6) + scipy.stats.norm.logpdf(x, 3, 1)
    )


def skewed(x):
    """The log density of SKEWED."""
    return np.logaddexp(
        np.log(0.4) + scipy.stats.lognorm.logpdf(x, 0.5),
        np.log(0.6) + scipy.stats.lognorm.logpdf(x, 0.3, scale=np.exp(1.5)),
    )


def integral(function, low, high):
    """Panels of Gauss-Legendre nodes: far more than these smooth densities need."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    edges = np.linspace(low, high, 401)
    half = np.diff(edges)[:, None] / 2
    x = (edges[:-1] + edges[1:])[:, None] / 2 + half * nodes
    return float((half * weights * function(x)).sum())


def kl_on_the_line(log_p, log_q, low=-35, high=35):
    """KL of two densities given by their logarithms."""

    def integrand(x):
        values = np.exp(log_p(x))
        return np.where(values > 0, values * (log_p(x) - log_q(x)), 0.0)

    return integral(integrand, low, high)


def kl_of_positive(log_p, log_q):
    """The same over positive numbers, with log x for the variable."""
    return kl_on_the_line(lambda t: log_p(np.exp(t)) + t, lambda t: log_q(np.exp(t)) + t, -25, 40)


def kl_by_sum(p, q):
    return float(np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0) / q), 0.0)))


# The moment equations, against 40 digits


@pytest.mark.parametrize("a", [1e-3, 0.2, 1.0, 7.3, 16.5, 400.0, 3e5])
def test_equations_in_one_unknown(a):
    with mpmath.workdps(40):
        gap = mpmath.log(a) - mpmath.digamma(a)
        digamma = mpmath.digamma(a)
        length = mpmath.besseli(1, a) / mpmath.besseli(0, a)
    assert concentration_of_gap(float(gap)) == pytest.approx(a, rel=1e-12)
    # the equations that follow forget digits: float64 knows digamma(a) to 1e-16 of its size, length to 1e-16
    assert inverse_digamma(float(digamma)) == pytest.approx(a, rel=1e-14 * max(1, abs(float(digamma))))
    if a < 1000:
        assert concentration_of_length(float(length)) == pytest.approx(a, rel=1e-14 * max(10, a))


@pytest.mark.parametrize("concentration", [(0.5, 0.5), (2.0, 5.0), (0.01, 30.0), (300.0, 2000.0), (0.2, 1.0, 4.0, 9.0)])
def test_the_dirichlet_equations(concentration):
    with mpmath.workdps(40):
        mean_log = [float(mpmath.digamma(a) - mpmath.digamma(mpmath.fsum(concentration))) for a in concentration]
    solved = dirichlet_concentration(np.array(mean_log))
    # one rounding of E[log x] moves the solution by about the total concentration times 1e-16
    np.testing.assert_allclose(solved, concentration, rtol=1e-13 * max(10, sum(concentration)))


def test_many_coordinates_are_solved_at_once():
    a = np.array([[0.3, 5.0], [40.0, 1.0]])
    np.testing.assert_allclose(concentration_of_gap(np.log(a) - scipy.special.digamma(a)), a, rtol=1e-12)
    mean_log = scipy.special.digamma(a) - scipy.special.digamma(a.sum(-1, keepdims=True))
    np.testing.assert_allclose(dirichlet_concentration(mean_log), a, rtol=1e-11)


# The formulas that moments come from, against SciPy

SCIPY_TWINS = {
    "Normal": (dist.Normal(1.0, 2.0), scipy.stats.norm(1, 2)),
    "Laplace": (dist.Laplace(1.0, 2.0), scipy.stats.laplace(1, 2)),
    "Logistic": (dist.Logistic(1.0, 2.0), scipy.stats.logistic(1, 2)),
    "Gumbel": (dist.Gumbel(1.0, 2.0), scipy.stats.gumbel_r(1, 2)),
    "StudentT": (dist.StudentT(3.5, 1.0, 2.0), scipy.stats.t(3.5, 1, 2)),
    "Uniform": (dist.Uniform(-1.0, 4.0), scipy.stats.uniform(-1, 5)),
    "Gamma": (dist.Gamma(2.5, 3.0), scipy.stats.gamma(2.5, scale=1 / 3)),
    "Chi2": (dist.Chi2(3.0), scipy.stats.chi2(3)),
    "Exponential": (dist.Exponential(3.0), scipy.stats.expon(scale=1 / 3)),
    "InverseGamma": (dist.InverseGamma(3.5, 2.0), scipy.stats.invgamma(3.5, scale=2)),
    "LogNormal": (dist.LogNormal(0.3, 0.8), scipy.stats.lognorm(0.8, scale=np.exp(0.3))),
    "Weibull": (dist.Weibull(2.0, 1.5), scipy.stats.weibull_min(1.5, scale=2)),
    "Pareto": (dist.Pareto(2.0, 3.5), scipy.stats.pareto(3.5, scale=2)),
    "HalfNormal": (dist.HalfNormal(2.0), scipy.stats.halfnorm(scale=2)),
    "Beta": (dist.Beta(2.0, 3.5), scipy.stats.beta(2, 3.5)),
    "Poisson": (dist.Poisson(4.0), scipy.stats.poisson(4)),
    "GammaPoisson": (dist.GammaPoisson(3.0, 0.5), scipy.stats.nbinom(3, 0.5 / 1.5)),
    "Geometric": (dist.Geometric(0.3), scipy.stats.geom(0.3, loc=-1)),
}


@pytest.mark.parametrize("name", SCIPY_TWINS)
def test_formulas_agree_with_scipy(name):
    ours, theirs = SCIPY_TWINS[name]
    mean, variance = theirs.stats("mv")
    # the parameters above are float32 for NumPyro
    assert in_float64(moment)("mean", ours, "x") == pytest.approx(float(mean), rel=1e-6, abs=1e-6)
    assert in_float64(moment)("variance", ours, "x") == pytest.approx(float(variance), rel=1e-6)


def moment(question, distribution, statistic):
    return float(getattr(formulas(jax.tree.map(as_float64, distribution)), question)(statistic))


@pytest.mark.parametrize("name", ["Gamma", "Chi2", "Exponential", "InverseGamma", "LogNormal", "Weibull", "Pareto"])
def test_formulas_of_logarithms_agree_with_quadrature(name):
    ours, theirs = SCIPY_TWINS[name]
    mean = theirs.expect(np.log, epsabs=1e-12, epsrel=1e-12, limit=500)
    variance = theirs.expect(lambda x: (np.log(x) - mean) ** 2, epsabs=1e-12, epsrel=1e-12, limit=500)
    assert in_float64(moment)("mean", ours, "log x") == pytest.approx(mean, rel=2e-6, abs=2e-6)
    assert in_float64(moment)("variance", ours, "log x") == pytest.approx(variance, rel=2e-6)
    if name in ("Gamma", "Exponential", "LogNormal"):
        gap = np.log(theirs.mean()) - mean
        assert in_float64(moment)("log_mean_gap", ours, "x") == pytest.approx(gap, rel=2e-6)
    if name in ("InverseGamma", "LogNormal"):
        inverse = theirs.expect(lambda x: 1 / x, epsabs=1e-12, epsrel=1e-12, limit=500)
        assert in_float64(moment)("mean", ours, "1/x") == pytest.approx(inverse, rel=2e-6)
        assert in_float64(moment)("log_mean_gap", ours, "1/x") == pytest.approx(np.log(inverse) + mean, rel=2e-6)


# Forward: the member with p's moments


@pytest.fixture(scope="module")
def onto_skewed():
    """The nearest members of three families to a skewed density with two humps."""
    return {family: project(SKEWED, family) for family in (dist.Gamma, dist.LogNormal, dist.InverseGamma)}


FROZEN = {
    dist.Normal: lambda loc, scale: scipy.stats.norm(loc, scale).logpdf,
    dist.LogNormal: lambda loc, scale: scipy.stats.lognorm(scale, scale=np.exp(loc)).logpdf,
    dist.Gamma: lambda concentration, rate: scipy.stats.gamma(concentration, scale=1 / rate).logpdf,
    dist.InverseGamma: lambda concentration, rate: scipy.stats.invgamma(concentration, scale=rate).logpdf,
}
RIVALS = {
    dist.Normal: {"loc": -0.5, "scale": 4.0},
    dist.LogNormal: {"loc": 0.5, "scale": 0.8},
    dist.Gamma: {"concentration": 1.1, "rate": 0.7},
    dist.InverseGamma: {"concentration": 1.3, "rate": 2.0},
}


@pytest.mark.parametrize("family", [dist.Gamma, dist.LogNormal, dist.InverseGamma])
def test_skewed_moments_agree_and_pythagoras_holds(family, onto_skewed):
    """KL(p||q) = KL(p||nearest) + KL(nearest||q), the mark of a projection onto an exponential family."""
    nearest = onto_skewed[family]
    closest, rival = FROZEN[family](**nearest.params), FROZEN[family](**RIVALS[family])
    to_closest = kl_of_positive(skewed, closest)
    assert kl_of_positive(skewed, rival) == pytest.approx(to_closest + kl_of_positive(closest, rival), rel=1e-10)
    assert nearest.divergence == pytest.approx(to_closest, rel=1e-10)
    assert nearest.converged
    assert nearest.method.startswith("moment matching (")
    assert ("Newton" in nearest.method) == (family is not dist.LogNormal)


def test_two_humps_and_pythagoras():
    nearest = project(TWO_HUMPS, dist.Normal, base=2)
    mean = integral(lambda x: x * np.exp(two_humps(x)), -15, 15)
    variance = integral(lambda x: (x - mean) ** 2 * np.exp(two_humps(x)), -15, 15)
    assert nearest.params == pytest.approx({"loc": mean, "scale": np.sqrt(variance)}, rel=1e-12)
    closest, rival = FROZEN[dist.Normal](**nearest.params), FROZEN[dist.Normal](**RIVALS[dist.Normal])
    to_closest = kl_on_the_line(two_humps, closest)
    assert (nearest.unit, nearest.divergence) == ("bits", pytest.approx(to_closest / np.log(2), rel=1e-10))
    assert kl_on_the_line(two_humps, rival) == pytest.approx(to_closest + kl_on_the_line(closest, rival), rel=1e-10)


PMF_FAMILIES = {
    dist.Binomial: (lambda probs: scipy.stats.binom.pmf(TEETH, 10, probs), {"probs": 0.3}),
    dist.Poisson: (lambda rate: scipy.stats.poisson.pmf(TEETH, rate), {"rate": 3.0}),
    dist.Geometric: (lambda probs: scipy.stats.geom.pmf(TEETH + 1, probs), {"probs": 0.3}),
}
WHOLE_PMFS = {
    dist.Binomial: lambda probs: scipy.stats.binom.pmf(TEETH, 10, probs),
    dist.Poisson: lambda rate: scipy.stats.poisson.pmf(np.arange(120), rate),
    dist.Geometric: lambda probs: scipy.stats.geom.pmf(np.arange(1, 2000), probs),
}


@pytest.mark.parametrize("family", PMF_FAMILIES, ids=lambda family: family.__name__)
def test_pmf_arrays_and_pythagoras(family):
    pmf, rival = PMF_FAMILIES[family]
    nearest = project(observed(), family)
    to_closest = kl_by_sum(observed(), pmf(**nearest.params))
    assert nearest.divergence == pytest.approx(to_closest, rel=1e-12)
    assert nearest.standard_error == 0
    whole = WHOLE_PMFS[family]
    between = kl_by_sum(whole(**nearest.params), whole(**rival))
    assert kl_by_sum(observed(), pmf(**rival)) == pytest.approx(to_closest + between, rel=1e-11)
    assert "exact sum over 11 values" in nearest.method


def test_a_categorical_holds_every_pmf():
    nearest = project(observed(), dist.Categorical)
    np.testing.assert_allclose(nearest.params["probs"], observed(), rtol=1e-14)
    assert nearest.divergence == pytest.approx(0, abs=1e-15)


def test_a_member_is_its_own_projection():
    for p, params in (
        (dist.Gamma(2.5, 3.0), {"concentration": 2.5, "rate": 3.0}),
        (dist.Beta(2.0, 0.5), {"concentration1": 2.0, "concentration0": 0.5}),
        (dist.LogNormal(0.5, 2.0), {"loc": 0.5, "scale": 2.0}),
        (dist.Poisson(4.0), {"rate": 4.0}),
        (dist.Bernoulli(0.25), {"probs": 0.25}),
    ):
        nearest = project(p, type(p))
        assert nearest.params == pytest.approx(params, rel=1e-12)
        assert nearest.divergence == pytest.approx(0, abs=1e-15)


def test_one_class_onto_another_in_closed_form():
    """A Logistic has variance (pi scale)²/3."""
    nearest = project(dist.Logistic(1.0, 2.0), dist.Normal)
    assert nearest.params == pytest.approx({"loc": 1.0, "scale": 2 * np.pi / np.sqrt(3)}, rel=1e-12)
    assert nearest.method == "moment matching (closed form)"

    def objective(q):
        return kl_on_the_line(scipy.stats.logistic(1, 2).logpdf, q, -80, 80)

    assert nearest.divergence == pytest.approx(objective(scipy.stats.norm(**nearest.params).logpdf), rel=1e-9)


@pytest.mark.parametrize(
    ("p", "family", "params"),
    [
        (dist.StudentT(5.0, 1.0, 2.0), dist.Normal, {"loc": 1.0, "scale": 2 * np.sqrt(5 / 3)}),
        (
            dist.Gamma(4.0, 2.0),
            dist.LogNormal,
            {"loc": scipy.special.digamma(4) - np.log(2), "scale": np.sqrt(scipy.special.polygamma(1, 4))},
        ),
        (dist.Gamma(4.0, 2.0), dist.Exponential, {"rate": 0.5}),
        (dist.HalfNormal(2.0), dist.HalfNormal, {"scale": 2.0}),
        (dist.NegativeBinomialProbs(3.0, 0.25), dist.Poisson, {"rate": 1.0}),
        (dist.Binomial(10, 0.25), dist.Geometric, {"probs": 1 / 3.5}),
    ],
)
def test_matches_that_textbooks_know(p, family, params):
    match = in_float64(match_moments)(jax.tree.map(as_float64, p), find_family(family), {}, None, 0)
    assert match.params == pytest.approx(params, rel=1e-12)


# Reverse, and families that are not exponential: descents


def finite_differences(objective, params, step=1e-4):
    """Slopes and curvatures of the objective along each parameter."""
    slopes, curvatures = [], []
    for name in params:
        around = [objective({**params, name: params[name] + shift}) for shift in (-step, 0.0, step)]
        slopes.append((around[2] - around[0]) / (2 * step))
        curvatures.append((around[2] - 2 * around[1] + around[0]) / step**2)
    return np.array(slopes), np.array(curvatures)


@pytest.mark.divergences
def test_reverse_has_a_minimum_at_each_hump():
    nearest = project(TWO_HUMPS, dist.Normal, direction="reverse")

    def objective(params):
        return kl_on_the_line(FROZEN[dist.Normal](**params), two_humps)

    assert nearest.converged
    assert len(nearest.minima) == 2
    assert "2 distinct minima" in nearest.status
    assert "fixed quadrature" in nearest.method
    for (value, params), share in zip(nearest.minima, (0.6, 0.4), strict=True):
        slopes, curvatures = finite_differences(objective, params)
        np.testing.assert_allclose(slopes, 0, atol=1e-6)
        assert (curvatures > 0).all()
        assert value == pytest.approx(objective(params), abs=1e-7)
        assert value == pytest.approx(-np.log(share), abs=2e-3)  # far apart, a hump costs what it leaves out
        assert f"{value:.4g}" in nearest.status
    assert nearest.divergence == nearest.minima[0][0]
    assert nearest.params == nearest.minima[0][1]


@pytest.mark.divergences
def test_reverse_onto_a_skewed_family():
    nearest = project(SKEWED, dist.LogNormal, direction="reverse")

    def objective(params):
        return kl_of_positive(FROZEN[dist.LogNormal](**params), skewed)

    slopes, curvatures = finite_differences(objective, nearest.params)
    np.testing.assert_allclose(slopes, 0, atol=1e-6)
    assert (curvatures > 0).all()
    assert nearest.divergence == pytest.approx(objective(nearest.params), abs=1e-7)


@pytest.mark.exhaustive
def test_reverse_minima_of_a_pmf_are_those_of_a_grid():
    nearest = project(observed(), dist.Binomial, direction="reverse")
    grid = np.linspace(0.005, 0.995, 1981)
    values = np.array([kl_by_sum(scipy.stats.binom.pmf(TEETH, 10, x), observed()) for x in grid])
    inner = np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] < values[2:])) + 1
    found = sorted(params["probs"] for _, params in nearest.minima)
    np.testing.assert_allclose(found, grid[inner], atol=5e-4)
    assert nearest.divergence == pytest.approx(values.min(), abs=1e-5)
    assert nearest.divergence <= values.min()


@pytest.mark.exhaustive
def test_discrete_pairs_whose_closed_form_cannot_be_traced():
    """Reverse onto Binomials from a BetaBinomial: the sum over its values, against a grid of SciPy's."""
    nearest = project(dist.BetaBinomial(2.0, 3.0, 10), dist.Binomial, direction="reverse", fixed={"total_count": 10})
    p, grid = scipy.stats.betabinom.pmf(TEETH, 10, 2, 3), np.linspace(0.2, 0.6, 4001)
    values = [kl_by_sum(scipy.stats.binom.pmf(TEETH, 10, x), p) for x in grid]
    assert nearest.params["probs"] == pytest.approx(grid[np.argmin(values)], abs=1e-4)
    assert nearest.divergence == pytest.approx(min(values), abs=2e-6)  # NumPyro's BetaBinomial is off by 6e-7


def test_tails_that_overflow_do_not_stop_a_descent():
    """The log density of a Gumbel overflows far below it, and so does its gradient."""
    nearest = project(dist.Normal(0.0, 1.0), dist.Gumbel, direction="reverse")

    def objective(params):
        return kl_on_the_line(scipy.stats.gumbel_r(**params).logpdf, scipy.stats.norm.logpdf, -10, 60)

    slopes, curvatures = finite_differences(objective, nearest.params)
    assert nearest.converged
    np.testing.assert_allclose(slopes, 0, atol=1e-6)
    assert (curvatures > 0).all()


def test_moments_near_the_edge_of_the_support():
    """A normal cut off at 0 has density there; log x is integrable all the same."""
    nearest = project(dist.TruncatedNormal(1.0, 2.0, low=0.0), dist.Gamma)
    cut = scipy.stats.truncnorm(-0.5, np.inf, 1, 2)
    mean = integral(lambda t: np.exp(2 * t + cut.logpdf(np.exp(t))), -40, 4)
    mean_log = integral(lambda t: t * np.exp(t + cut.logpdf(np.exp(t))), -40, 4)
    a, b = nearest.params["concentration"], nearest.params["rate"]
    assert a / b == pytest.approx(mean, rel=1e-6)
    assert scipy.special.digamma(a) - np.log(b) == pytest.approx(mean_log, rel=1e-5)


@pytest.mark.divergences
def test_a_family_that_is_not_exponential_and_fixed_parameters():
    nearest = project(TWO_HUMPS, dist.StudentT, fixed={"df": 4.0})

    def objective(params):
        return kl_on_the_line(two_humps, scipy.stats.t(4, **params).logpdf)

    slopes, curvatures = finite_differences(objective, nearest.params)
    assert nearest.params.keys() == {"loc", "scale"}
    np.testing.assert_allclose(slopes, 0, atol=1e-6)
    assert (curvatures > 0).all()
    assert nearest.divergence == pytest.approx(objective(nearest.params), abs=1e-7)


@pytest.mark.exhaustive
def test_no_minimum_inside_the_family():
    """The lighter the tails the better, so the StudentT runs towards the Normal and never arrives."""
    nearest = project(TWO_HUMPS, dist.StudentT)
    assert not nearest.converged
    assert "towards the edge" in nearest.status
    assert nearest.minima == ()


# Vectors


def test_independent_coordinates_in_both_directions():
    """Forward the marginal scales, reverse the conditional ones."""
    covariance = np.array([[2.0, 1.2], [1.2, 1.0]])
    forward = project(CORRELATED, dist.Normal)
    reverse = project(CORRELATED, dist.Normal, direction="reverse")
    np.testing.assert_allclose(forward.params["scale"], np.sqrt(np.diag(covariance)), rtol=1e-6)
    np.testing.assert_allclose(reverse.params["scale"], 1 / np.sqrt(np.diag(np.linalg.inv(covariance))), rtol=1e-6)
    correlation = covariance[0, 1] / np.sqrt(np.prod(np.diag(covariance)))
    for nearest in (forward, reverse):
        np.testing.assert_allclose(nearest.params["loc"], [1, -2], rtol=1e-6)
        # either way what is lost is the mutual information of the two coordinates
        assert nearest.divergence == pytest.approx(-0.5 * np.log(1 - correlation**2), rel=1e-5)
        assert nearest.q.event_shape == (2,)


@pytest.fixture(scope="module")
def grid_over_the_plane():
    axis = np.linspace(-12, 12, 481)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    heaps = [scipy.stats.multivariate_normal(m, c).pdf(points) for m, c in zip(CENTRES, COVARIANCES, strict=True)]
    return points, np.log(WEIGHTS[0] * heaps[0] + WEIGHTS[1] * heaps[1]), (axis[1] - axis[0]) ** 2


@pytest.mark.divergences
def test_forward_onto_vectors_has_the_total_covariance(key, grid_over_the_plane):
    nearest = project(TWO_HEAPS, dist.MultivariateNormal, key=key, num_draws=20_000)
    points, log_p, area = grid_over_the_plane
    mass = np.exp(log_p) * area  # the trapezoid rule is exact for densities as smooth as these
    mean = np.einsum("ij,ijk->k", mass, points)
    covariance = np.einsum("ij,ijk,ijl->kl", mass, points - mean, points - mean)
    np.testing.assert_allclose(nearest.params["loc"], mean, rtol=1e-6)
    tril = nearest.params["scale_tril"]
    np.testing.assert_allclose(tril @ tril.T, covariance, rtol=1e-6)
    truth = (mass * (log_p - scipy.stats.multivariate_normal(mean, covariance).logpdf(points))).sum()
    assert abs(nearest.divergence - truth) <= 4 * nearest.standard_error + 1e-6


@pytest.mark.exhaustive
def test_reverse_onto_vectors(grid_over_the_plane):
    nearest = project(TWO_HEAPS, dist.Normal, direction="reverse")
    points, log_p, area = grid_over_the_plane

    def objective(params):
        log_q = scipy.stats.norm(params["loc"], params["scale"]).logpdf(points).sum(-1)
        return (np.exp(log_q) * (log_q - log_p)).sum() * area

    assert abs(nearest.divergence - objective(nearest.params)) < 1e-6
    for name in ("loc", "scale"):
        for direction in np.eye(2):
            up, down = (
                objective({**nearest.params, name: nearest.params[name] + s * direction}) for s in (1e-3, -1e-3)
            )
            assert abs(up - down) / 2e-3 < 1e-5
            assert min(up, down) > objective(nearest.params)
    assert len(nearest.minima) >= 2
    assert "Gauss-Hermite" in nearest.method


@pytest.mark.divergences
def test_reverse_in_many_dimensions():
    """Two heaps far apart: the nearest is the heavier one, at the price of the other's share."""
    heaps = dist.Normal(np.array([-3 * np.ones(5), 3 * np.ones(5)]), 1.0).to_event(1)
    nearest = project(dist.MixtureSameFamily(dist.Categorical(WEIGHTS), heaps), dist.Normal, direction="reverse")
    np.testing.assert_allclose(nearest.params["loc"], 3, atol=1e-4)
    np.testing.assert_allclose(nearest.params["scale"], 1, atol=1e-4)
    assert nearest.divergence == pytest.approx(-np.log(0.6), abs=1e-6)
    assert [value for value, _ in nearest.minima] == pytest.approx([-np.log(0.6), -np.log(0.4)], abs=1e-6)
    assert "quasi-random" in nearest.method


def test_moments_from_draws_carry_their_errors(key):
    """The logarithms of this vector are Normal; its formulas are not known here, so they are drawn."""
    p = dist.TransformedDistribution(CORRELATED, dist.transforms.ExpTransform())
    nearest = project(p, dist.LogNormal, key=key, num_draws=20_000)
    truth = {"loc": np.array([1.0, -2.0]), "scale": np.sqrt([2.0, 1.0])}
    for name, value in truth.items():
        error = nearest.params_standard_error[name]
        assert (np.abs(nearest.params[name] - value) < 4 * error).all()
        np.testing.assert_allclose(error, np.sqrt([2, 1]) / np.sqrt(20_000 * (1 if name == "loc" else 2)), rtol=0.5)
    assert "20,000 draws" in nearest.method
    # of the member found, not of the one it would be with endless draws; KL is the same between the logarithms
    z, ratio = (
        (nearest.params["loc"] - truth["loc"]) / nearest.params["scale"],
        truth["scale"] / nearest.params["scale"],
    )
    found = 0.5 * (z**2 + ratio**2 - 1 - 2 * np.log(ratio)).sum() - 0.5 * np.log(1 - 1.2**2 / 2)
    assert nearest.divergence == pytest.approx(found, abs=4 * nearest.standard_error + 1e-6)
    with pytest.raises(ValueError, match="pass key="):
        project(p, dist.LogNormal)


def test_draws_of_what_has_no_mean(key):
    """The tails of exp(x) are too heavy where x is Exponential(1.0): E[exp(x)] is infinite. With rate 1.6 it exists,
    but not its variance."""

    def exponentiated(rate):
        p = dist.Exponential(rate).expand([2]).to_event(1)
        return dist.TransformedDistribution(p, dist.transforms.ExpTransform())

    def match(rate):
        p = jax.tree.map(as_float64, exponentiated(rate))
        return in_float64(match_moments)(p, find_family(dist.Exponential), {}, key, 50_000)

    with pytest.raises(ValueError, match=r"E\[x\] seems not to exist"):
        match(np.array(0.9))
    assert "k-hat" in match(np.array(1.6)).status
    light = match(np.array(4.0))
    assert "k-hat" not in light.status
    # x is a Pareto(1, 4): its mean is 4/3
    assert (np.abs(light.params["rate"] - 0.75) < 4 * light.standard_errors["rate"]).all()


# Refusals


@pytest.mark.parametrize(
    ("p", "family", "arguments", "error", "message"),
    [
        (dist.Cauchy(0.0, 1.0), dist.Normal, {}, ValueError, r"E\[x\] is nan for p = Cauchy.*does not exist"),
        (dist.StudentT(1.5, 0.0, 1.0), dist.Normal, {}, ValueError, r"variance of x is inf.*does not exist"),
        (dist.HalfCauchy(1.0), dist.Gamma, {}, ValueError, r"E\[x\] is infinite under p"),
        (dist.Normal(0.0, 1.0), dist.Gamma, {}, ValueError, "reaches the edge of the family's support"),
        (dist.Normal(0.5, 1.0), dist.Exponential, {}, ValueError, r"KL\(p\|\|q\) is infinite for every Exponential"),
        (dist.LogNormal(0.0, 1.0), dist.Normal, {"direction": "reverse"}, ValueError, r"KL\(q\|\|p\) is infinite"),
        (observed(), dist.Poisson, {"direction": "reverse"}, ValueError, r"KL\(q\|\|p\) is infinite"),
        (observed(), dist.Normal, {}, ValueError, "p is discrete and the family is continuous"),
        (np.array([0.5, 0.1, 0.4]), dist.Bernoulli, {}, ValueError, r"KL\(p\|\|q\) is infinite for every Bernoulli"),
        (np.array([1.0, 0.0]), dist.Poisson, {}, ValueError, "No Poisson has p's moments.*rate = 0"),
        (np.tile(observed(), (3, 1)), dist.Poisson, {}, ValueError, r"p has batch shape \(3,\).*one p at a time"),
        (dist.Normal(jnp.zeros(3), 1.0), dist.Normal, {}, ValueError, r"p has batch shape \(3,\)"),
        (dist.Dirichlet(jnp.ones(3)), dist.Beta, {}, ValueError, "family over p's space"),
        (dist.Normal(0.0, 1.0), dist.Dirichlet, {}, ValueError, "Dirichlet is a family over a simplex"),
        (
            dist.Dirichlet(jnp.ones(3)),
            dist.MultivariateNormal,
            {},
            ValueError,
            "a family over vectors, and p is",
        ),
        (
            dist.MultivariateStudentT(1.5, jnp.zeros(2), jnp.eye(2)),
            dist.MultivariateNormal,
            {},
            ValueError,
            "the covariance of x is .*inf",
        ),
        (dist.Poisson(2.0), dist.Binomial, {}, ValueError, "Binomial needs its total_count"),
        (observed(), dist.Poisson, {"fixed": {"rat": 2.0}}, ValueError, r"fixed names \['rat'\]"),
        (observed(), dist.Poisson, {"fixed": {"rate": 2.0}}, ValueError, "no parameter of Poisson to be found"),
        (observed(), dist.Poisson, {"init": 2.0}, TypeError, "Poisson finds its own starts"),
        (observed(), dist.Uniform, {}, TypeError, "does not know the family Uniform.*It knows Bernoulli, Beta"),
        (observed(), dist.Multinomial, {}, TypeError, "does not know the family Multinomial"),
        (observed(), lambda x: x, {}, TypeError, "needs init"),
        (observed(), "Poisson", {}, TypeError, "must be a NumPyro distribution class"),
        (observed(), dist.Laplace, {}, TypeError, "does not know the family Laplace"),
        (CORRELATED, dist.Gumbel, {}, NoClosedForm, "Gumbel is no exponential family"),
    ],
)
def test_refusals(p, family, arguments, error, message):
    with pytest.raises(error, match=message):
        project(p, family, **arguments)


def test_the_same_call_gives_the_same_numbers():
    first, second = (project(TWO_HUMPS, dist.Normal, direction="reverse") for _ in range(2))
    assert first.params == second.params
    assert first.divergence == second.divergence
