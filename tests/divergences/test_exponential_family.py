"""Closed forms of power divergences and total variation: quadrature of the definition, 60-digit log normalisers."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
import pytest
from mpmath import mpf
from scipy import integrate, special, stats

from vi_kl.divergences import (
    NoClosedForm,
    alpha_divergence,
    bhattacharyya,
    chi_squared,
    hellinger,
    jensen_shannon,
    kl_divergence,
    renyi,
    squared_hellinger,
    total_variation,
)

mpmath.mp.dps = 60

ORDERS = [0.1, 0.5, 0.999, 1.0, 1.3, 2.0, 4.0]

# NumPyro's distributions, with the same in SciPy and where most of both lies


def gamma(a, b):
    return dist.Gamma(a, b), stats.gamma(a, scale=1 / b)


def normal(m, s):
    return dist.Normal(m, s), stats.norm(m, s)


PAIRS = {
    "normal": (normal(0.3, 1.2), normal(-0.5, 1.5), (-60, -8, 8, 60)),
    "narrower normal": (normal(0.3, 1.3), normal(-0.5, 1.2), (-60, -8, 8, 60)),
    "log-normal": (
        (dist.LogNormal(0.3, 0.6), stats.lognorm(0.6, scale=math.exp(0.3))),
        (dist.LogNormal(0.0, 0.7), stats.lognorm(0.7)),
        (0, 0.1, 1, 10, 1e4),
    ),
    "half-normal": (
        (dist.HalfNormal(1.0), stats.halfnorm(scale=1.0)),
        (dist.HalfNormal(1.3), stats.halfnorm(scale=1.3)),
        (0, 10, 60),
    ),
    "gamma": (gamma(2.5, 3.0), gamma(2.2, 2.6), (0, 0.2, 2, 60)),
    "gamma without a mode": (gamma(0.7, 3.0), gamma(0.5, 2.8), (0, 1e-8, 1e-4, 0.1, 2, 60)),
    "chi-squared from exponential": (
        (dist.Exponential(0.7), stats.expon(scale=1 / 0.7)),
        (dist.Chi2(2.2), stats.chi2(2.2)),
        (0, 1e-6, 0.1, 5, 150),
    ),
    "inverse gamma": (
        (dist.InverseGamma(3.5, 2.0), stats.invgamma(3.5, scale=2.0)),
        (dist.InverseGamma(3.0, 1.8), stats.invgamma(3.0, scale=1.8)),
        (0, 0.05, 0.5, 5, 100, np.inf),
    ),
    "beta": (
        (dist.Beta(2.5, 2.4), stats.beta(2.5, 2.4)),
        (dist.Beta(2.0, 2.2), stats.beta(2.0, 2.2)),
        (0, 1e-3, 0.5, 1 - 1e-3, 1),
    ),
}


def integral(function, points):
    """By the tanh-sinh rule, which endpoint singularities do not disturb."""
    ends = np.array(points)
    return integrate.tanhsinh(function, ends[:-1], ends[1:], rtol=1e-13).integral.sum()


def definition(order, p, q):
    """What is integrated for Renyi's divergence."""
    if order == 1:
        return lambda x: -special.entr(p.pdf(x)) - p.pdf(x) * np.where(p.pdf(x) > 0, q.logpdf(x), 0.0)
    return lambda x: np.exp(order * p.logpdf(x) + (1 - order) * q.logpdf(x))


@pytest.fixture
def float64():
    """Results in float64 instead of the caller's dtype, to see all their digits."""
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", PAIRS)
def test_renyi_is_its_definition(float64, name):
    """Within quadrature's own accuracy, which an order close to 1 divides by its distance to 1."""
    (p, p_truth), (q, q_truth), points = PAIRS[name]
    for order in ORDERS:
        with np.errstate(all="ignore"):
            total = integral(definition(order, p_truth, q_truth), points)
        expected = total if order == 1 else np.log(total) / (order - 1)
        assert float(renyi(p, q, order)) == pytest.approx(expected, rel=3e-9 if order == 0.999 else 1e-9), order


@pytest.mark.parametrize("name", PAIRS)
def test_the_others_are_their_definitions(float64, name):
    (p, p_truth), (q, q_truth), points = PAIRS[name]

    def total(power):
        return integral(lambda x: np.exp(power * p_truth.logpdf(x) + (1 - power) * q_truth.logpdf(x)), points)

    overlap = total(0.5)
    assert float(squared_hellinger(p, q)) == pytest.approx(1 - overlap, rel=1e-9)
    assert float(hellinger(p, q)) == pytest.approx(np.sqrt(1 - overlap), rel=1e-9)
    assert float(bhattacharyya(p, q)) == pytest.approx(-np.log(overlap), rel=1e-9)
    assert float(chi_squared(p, q)) == pytest.approx(total(2) - 1, rel=1e-9)
    for alpha in (0.2, 0.8, 1.5):
        power = total(alpha)
        assert float(alpha_divergence(p, q, alpha)) == pytest.approx((power - 1) / (alpha * (alpha - 1)), rel=1e-8)
    assert float(alpha_divergence(p, q, 0)) == pytest.approx(float(renyi(q, p, 1)), rel=1e-14)


COUNTS = {
    "poisson": (dist.Poisson(3.0), dist.Poisson(2.5), stats.poisson(3.0), stats.poisson(2.5)),
    "geometric": (
        dist.GeometricProbs(0.3),
        dist.GeometricLogits(-1.0),
        stats.geom(0.3, loc=-1),
        stats.geom(1 / (1 + math.e), loc=-1),
    ),
    "binomial": (
        dist.Binomial(7, 0.3),
        dist.Binomial(7, logits=0.2),
        stats.binom(7, 0.3),
        stats.binom(7, 1 / (1 + math.exp(-0.2))),
    ),
    "bernoulli": (dist.Bernoulli(0.3), dist.Bernoulli(0.6), stats.bernoulli(0.3), stats.bernoulli(0.6)),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_summed_to_the_same(float64, name):
    """Against the sums over the first 150 counts, beyond which nothing is left of either."""
    p, q, p_truth, q_truth = COUNTS[name]
    counts = np.arange({"bernoulli": 2, "binomial": 8}.get(name, 150))
    log_p, log_q = p_truth.logpmf(counts), q_truth.logpmf(counts)
    for order in ORDERS:
        if order == 1:
            expected = np.sum(np.exp(log_p) * (log_p - log_q))
        else:
            expected = np.log(np.exp(order * log_p + (1 - order) * log_q).sum()) / (order - 1)
        assert float(renyi(p, q, order)) == pytest.approx(expected, rel=1e-11 if order != 0.999 else 1e-9), order


@pytest.mark.divergences
def test_vectors_add_up_from_independent_parts(float64):
    """A rotation of independent Normals: both the sum of their divergences and the definition agree with it."""
    angle, scale_p, scale_q = 0.7, np.array([1.0, 0.4]), np.array([1.3, 0.5])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    loc_p, loc_q = np.array([0.2, -1.0]), np.array([-0.3, -0.8])
    p, q = (
        dist.MultivariateNormal(rotation @ m, covariance_matrix=rotation @ np.diag(s**2) @ rotation.T)
        for m, s in ((loc_p, scale_p), (loc_q, scale_q))
    )
    parts = dist.Normal(loc_p, scale_p), dist.Normal(loc_q, scale_q)
    for order in [*ORDERS, -0.5, 2.4]:
        expected = float(np.sum(renyi(*parts, order)))
        assert float(renyi(p, q, order)) == pytest.approx(expected, rel=1e-12)
        assert float(renyi(*(d.to_event(1) for d in parts), order)) == pytest.approx(expected, rel=1e-14)
    straight = dist.MultivariateNormal(loc_q, covariance_matrix=np.diag(scale_q**2))
    assert float(renyi(parts[0].to_event(1), straight, 2)) == pytest.approx(float(renyi(p, q, 2)), rel=1e-12)


def test_a_dirichlet_is_its_definition(float64):
    """The integral over the triangle, by a product rule in the first share and the second's part of the rest."""
    a, b = np.array([2.5, 3.5, 3.0]), np.array([2.0, 3.0, 2.6])
    p, q = stats.dirichlet(a), stats.dirichlet(b)
    nodes, weights = np.polynomial.legendre.leggauss(80)
    angle, weights = (nodes + 1) * np.pi / 4, weights * np.pi / 4
    share, weights = np.sin(angle) ** 2, weights * np.sin(2 * angle)  # smooth at both ends
    first, rest = share[:, None], (1 - share)[:, None] * share
    points = np.stack([np.broadcast_to(first, rest.shape), rest, 1 - first - rest]).reshape(3, -1)
    measure = (weights * (1 - share))[:, None] * weights
    log_p, log_q = p.logpdf(points / points.sum(0)), q.logpdf(points / points.sum(0))
    for order in (0.5, 2.0):
        affinity = measure.ravel() @ np.exp(order * log_p + (1 - order) * log_q)
        value = float(renyi(dist.Dirichlet(a), dist.Dirichlet(b), order))
        assert value == pytest.approx(np.log(affinity) / (order - 1), rel=1e-9)


# near-equal parameters, in 60 digits


def normaliser(kind, *eta):
    if kind == "normal":
        return -(eta[0] ** 2) / (4 * eta[1]) - mpmath.log(-2 * eta[1]) / 2
    if kind == "gamma":
        return mpmath.loggamma(eta[0]) - eta[0] * mpmath.log(eta[1])
    if kind == "dirichlet":
        return sum(mpmath.loggamma(x) for x in eta) - mpmath.loggamma(sum(eta))
    return mpmath.exp(eta[0]) if kind == "poisson" else -mpmath.log(1 - mpmath.exp(eta[0]))


def natural(kind, values):
    values = [mpf(float(x)) for x in values]
    if kind == "normal":
        return values[0] / values[1] ** 2, -1 / (2 * values[1] ** 2)
    return {"poisson": lambda v: (mpmath.log(v[0]),), "geometric": lambda v: (mpmath.log(1 - v[0]),)}.get(kind, tuple)(
        values
    )


def inside(kind, eta):
    return all(x > 0 for x in eta) if kind in ("gamma", "dirichlet") else eta[-1] < 0 or kind == "poisson"


def truth(kind, p, q, order):
    """The textbook formula; None where the integral diverges, or is within a thousandth of it."""
    p, q, order = natural(kind, p), natural(kind, q), mpf(order)
    mixed = [order * x + (1 - order) * y for x, y in zip(p, q, strict=True)]
    shy = [m + (m - x) / 1000 for m, x in zip(mixed, p, strict=True)]
    if not (inside(kind, mixed) and inside(kind, shy)):
        return None
    log_affinity = normaliser(kind, *mixed) - order * normaliser(kind, *p) - (1 - order) * normaliser(kind, *q)
    return float(log_affinity / (order - 1))


MAKE = {
    "normal": dist.Normal,
    "gamma": dist.Gamma,
    "dirichlet": lambda *a: dist.Dirichlet(np.array(a)),
    "poisson": dist.Poisson,
    "geometric": dist.GeometricProbs,
}


@pytest.mark.parametrize("kind", MAKE)
def test_near_equal_parameters_keep_their_digits(float64, kind):
    """Concentrations up to 1e8, parameters equal to down to 1e-7, orders from 0.01 to 50 and next to 1."""
    rng = np.random.default_rng(3)
    size = {"poisson": 1, "geometric": 1, "dirichlet": 3}.get(kind, 2)
    checked = 0
    for _ in range(150):
        p = np.exp(rng.uniform(-3, 18 if kind in ("gamma", "dirichlet") else 3, size))
        p = 1 / (1 + p) if kind == "geometric" else p
        q = p * np.exp(10 ** rng.uniform(-7, -0.5) * rng.normal(size=size))
        order = float(rng.choice([10 ** rng.uniform(-2, 0), 1 + 10 ** rng.uniform(-5, -1), 10 ** rng.uniform(0, 1.7)]))
        expected = truth(kind, p, q, order) if np.all(q < 1) or kind != "geometric" else None
        if expected is not None:
            checked += 1
            value = float(renyi(MAKE[kind](*p), MAKE[kind](*q), order))
            assert value == pytest.approx(expected, rel=1e-9, abs=1e-300), (p, q, order)
    assert checked > 100


def vector_truth(p, q, order):
    """The textbook formula in 60 digits, of (loc, tril) pairs; None where the mixed precision is nearly singular."""
    order = mpf(order)
    precisions = [mpmath.inverse(mpmath.matrix(t.tolist()) * mpmath.matrix(t.tolist()).T) for _, t in (p, q)]
    shifts = [s * mpmath.matrix(m[:, None].tolist()) for s, (m, _) in zip(precisions, (p, q), strict=True)]
    mixed = order * precisions[0] + (1 - order) * precisions[1]
    if min(mpmath.eigsy(mixed, eigvals_only=True)) < min(mpmath.eigsy(precisions[0], eigvals_only=True)) / 1000:
        return None

    def log_normaliser(precision, shift):
        return (shift.T * mpmath.inverse(precision) * shift)[0] / 2 - mpmath.log(mpmath.det(precision)) / 2

    ends = [log_normaliser(*end) for end in zip(precisions, shifts, strict=True)]
    log_affinity = log_normaliser(mixed, order * shifts[0] + (1 - order) * shifts[1])
    return float((log_affinity - order * ends[0] - (1 - order) * ends[1]) / (order - 1))


def test_near_equal_vectors_keep_their_digits(float64):
    """Correlated Gaussians on scales from 0.01 to 100, equal to down to 1e-7."""
    rng = np.random.default_rng(4)
    checked = 0
    for _ in range(40):
        tril = np.tril(rng.normal(size=(3, 3)), -1) + np.diag(np.exp(rng.normal(size=3)) + 0.2)
        tril = np.diag(10 ** rng.uniform(-2, 2, 3)) @ tril
        step, order = 10 ** rng.uniform(-7, -0.5), float(rng.choice([0.1, 0.5, 1.2, 2.0, 5.0]))
        p = rng.normal(size=3), tril
        q = p[0] + step * np.diag(tril) * rng.normal(size=3), np.tril(tril * np.exp(step * rng.normal(size=(3, 3))))
        expected = vector_truth(p, q, order)
        if expected is not None:
            checked += 1
            value = renyi(*(dist.MultivariateNormal(m, scale_tril=t) for m, t in (p, q)), order)
            assert float(value) == pytest.approx(expected, rel=1e-12), (step, order)
    assert checked > 25


# where there is no finite value, and the other ends of the scale


@pytest.mark.divergences
def test_infinite_where_the_mixed_parameters_leave_the_family():
    wide, narrow = dist.Normal(0.0, 2.0), dist.Normal(0.0, 1.0)
    assert chi_squared(wide, narrow) == renyi(wide, narrow, 2) == renyi(wide, narrow, np.inf) == np.inf
    assert renyi(narrow, wide, -0.34) == -np.inf
    assert np.isfinite(renyi(wide, narrow, 1.33))
    assert renyi(wide, narrow, 1.34) == np.inf  # the precision of m, 1 + (1 - a) (2^2 - 1), ends at 4/3
    assert chi_squared(dist.Gamma(1.0, 1.0), dist.Gamma(1.0, 3.0)) == np.inf
    assert chi_squared(dist.Beta(0.5, 1.0), dist.Beta(1.5, 1.0)) == np.inf
    vectors = [dist.MultivariateNormal(jnp.zeros(2), jnp.diag(jnp.array(v))) for v in ([1.0, 4.0], [1.0, 1.0])]
    assert chi_squared(*vectors) == np.inf
    assert np.isfinite(renyi(*vectors, 1.3))
    assert chi_squared(dist.Bernoulli(0.3), dist.Bernoulli(0.0)) == np.inf
    assert squared_hellinger(dist.Bernoulli(1.0), dist.Bernoulli(0.0)) == 1
    assert renyi(dist.Categorical(jnp.array([0.5, 0.5, 0.0])), dist.Categorical(jnp.ones(3) / 3), 0) == pytest.approx(
        math.log(1.5), rel=1e-6
    )


@pytest.mark.parametrize(
    ("p", "q", "p_truth", "q_truth", "points"),
    [
        (dist.Normal(0.3, 1.0), dist.Normal(-0.5, 1.5), stats.norm(0.3, 1.0), stats.norm(-0.5, 1.5), (-9, 9)),
        (dist.Gamma(2.5, 3.0), dist.Gamma(2.0, 2.0), stats.gamma(2.5, scale=1 / 3), stats.gamma(2, scale=0.5), (0, 9)),
        (dist.Beta(2.5, 3.0), dist.Beta(2.0, 2.2), stats.beta(2.5, 3.0), stats.beta(2.0, 2.2), (0, 1)),
    ],
)
def test_the_largest_log_ratio_of_densities(float64, p, q, p_truth, q_truth, points):
    """On a grid of 1e6 points, whose best is within a millionth of the maximum."""
    x = np.linspace(*points, 1_000_001)[1:-1]
    expected = np.max(p_truth.logpdf(x) - q_truth.logpdf(x))
    assert float(renyi(p, q, np.inf)) == pytest.approx(expected, rel=1e-8)
    assert float(renyi(p, q, 1e7)) == pytest.approx(expected, rel=1e-5)  # the limit, from below
    assert float(renyi(q, p, -np.inf)) == pytest.approx(-expected, rel=1e-8)


def test_the_largest_log_ratio_of_counts(float64):
    counts = np.arange(60)
    cases = [
        (dist.Poisson(2.0), dist.Poisson(2.6), stats.poisson(2.0), stats.poisson(2.6)),
        (dist.Geometric(0.4), dist.Geometric(0.3), stats.geom(0.4, loc=-1), stats.geom(0.3, loc=-1)),
    ]
    for p, q, p_truth, q_truth in cases:
        expected = np.max(p_truth.logpmf(counts) - q_truth.logpmf(counts))
        assert float(renyi(p, q, np.inf)) == pytest.approx(expected, rel=1e-12)
        assert float(renyi(q, p, np.inf)) == np.inf


@pytest.mark.divergences
def test_order_one_is_kl_and_the_limit_of_its_neighbours(float64):
    for (p, _), (q, _), _ in PAIRS.values():
        orders = 1 - 1e-7, 1.0, 1 + 1e-7
        below, at, above = (float(renyi(p, q, order)) for order in orders)
        assert below == pytest.approx(at, rel=1e-5)
        assert above == pytest.approx(at, rel=1e-5)
        assert below < at < above
    assert float(renyi(*(pair[0] for pair in PAIRS["gamma"][:2]), 1)) == pytest.approx(
        float(kl_divergence(*(pair[0] for pair in PAIRS["gamma"][:2]))), rel=1e-14
    )


# total variation and Jensen-Shannon


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (normal(0.3, 1.2), normal(-0.5, 1.5)),
        (normal(0.3, 1.2), normal(0.3, 1.5)),
        (normal(0.3, 1.2), normal(-0.5, 1.2)),
        (normal(-3.0, 0.2), normal(4.0, 0.1)),
        ((dist.LogNormal(0.3, 0.6), stats.norm(0.3, 0.6)), (dist.LogNormal(0.0, 0.7), stats.norm(0.0, 0.7))),
        ((dist.Exponential(0.7), stats.expon(scale=1 / 0.7)), (dist.Exponential(2.0), stats.expon(scale=0.5))),
    ],
)
def test_total_variation_is_its_definition(float64, p, q):
    """On a grid of a million points: the kinks leave the trapezium rule 1e-9."""
    x, step = np.linspace(-12, 40, 2_000_001, retstep=True)
    expected = np.abs(p[1].pdf(x) - q[1].pdf(x)).sum() * step / 2
    assert float(total_variation(p[0], q[0])) == pytest.approx(expected, abs=2e-5 if p[1].a == 0 else 1e-9)
    assert float(total_variation(q[0], p[0])) == pytest.approx(float(total_variation(p[0], q[0])), rel=1e-13)


def test_total_variation_of_near_equal_normals(float64):
    """To first order |mean difference| / sqrt(2 pi), and the scales' part 2 d phi(1)."""
    assert float(total_variation(dist.Normal(0.0, 1.0), dist.Normal(1e-9, 1.0))) == pytest.approx(
        1e-9 / math.sqrt(2 * math.pi), rel=1e-12
    )
    scales = float(total_variation(dist.Normal(0.0, 1.0), dist.Normal(0.0, 1 + 1e-6)))
    assert scales == pytest.approx(2e-6 * stats.norm.pdf(1), rel=1e-5)
    assert total_variation(dist.Normal(0.0, 1.0), dist.Normal(0.0, 1.0)) == 0


@pytest.mark.divergences
def test_finite_distributions_are_as_their_pmfs():
    p, q = np.array([0.1, 0.2, 0.7]), np.array([0.3, 0.3, 0.4])
    pairs = [(dist.Categorical(probs=jnp.asarray(p)), dist.Categorical(logits=jnp.log(q)), p, q)]
    pairs.append(
        (dist.Bernoulli(0.3), dist.Bernoulli(logits=0.4), [0.7, 0.3], [special.expit(-0.4), special.expit(0.4)])
    )
    for left, right, p, q in pairs:
        for function in (jensen_shannon, total_variation, hellinger, chi_squared, lambda x, y: renyi(x, y, np.inf)):
            assert float(function(left, right)) == pytest.approx(float(function(p, q)), rel=1e-6)
    assert float(jensen_shannon(*pairs[0][:2], base=2)) == pytest.approx(
        float(jensen_shannon(*pairs[0][2:], base=2)), rel=1e-6
    )


# conventions


def test_float32_callers_get_the_exact_value_rounded_once():
    values = [np.float32(x) for x in (10.0, 3.0, 10.001, 3.0003)]
    p, q = dist.Gamma(*map(jnp.asarray, values[:2])), dist.Gamma(*map(jnp.asarray, values[2:]))
    value = renyi(p, q, 0.5)
    assert value.dtype == jnp.float32
    assert float(value) == pytest.approx(truth("gamma", values[:2], values[2:], 0.5), rel=1e-6)


@pytest.mark.divergences
def test_batches_expansion_and_independence():
    loc = jnp.array([[0.0], [1.0]])
    p, q = dist.Normal(loc, 1.0), dist.Normal(jnp.zeros(3), jnp.array([1.0, 1.5, 2.0]))
    batch = renyi(p, q, 0.7)
    assert batch.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        single = renyi(dist.Normal(loc[i, 0], 1.0), dist.Normal(0.0, q.scale[j]), 0.7)
        assert float(batch[i, j]) == pytest.approx(float(single), rel=1e-6)
    gammas = dist.Gamma(jnp.array([2.0, 3.0]), 1.0), dist.Gamma(jnp.array([2.5, 2.5]), 1.2)
    joint = renyi(*(d.to_event(1) for d in gammas), 0.5)
    assert float(joint) == pytest.approx(float(renyi(*gammas, 0.5).sum()), rel=1e-6)
    assert renyi(dist.Poisson(1.0).expand([4]), dist.Poisson(2.0), 2).shape == (4,)
    assert float(renyi(dist.Binomial(5, 0.3), dist.Binomial(5, 0.4), 2)) == pytest.approx(
        5 * float(renyi(dist.Bernoulli(0.3), dist.Bernoulli(0.4), 2)), rel=1e-6
    )


@pytest.mark.divergences
def test_derivatives_under_jit_and_vmap():
    """Normals of equal scale: R_a = a (m - n)^2 / (2 s^2), and its derivative in m; 1e-5 for float32."""

    def divergence(m):
        return renyi(dist.Normal(m, 2.0), dist.Normal(0.5, 2.0), 3.0)

    means = jnp.array([-1.0, 0.0, 2.0])
    np.testing.assert_allclose(jax.jit(jax.vmap(divergence))(means), 3 * (means - 0.5) ** 2 / 8, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(divergence)))(means), 3 * (means - 0.5) / 4, rtol=1e-5)
    slope = jax.grad(lambda s: hellinger(dist.Gamma(s, 1.0), dist.Gamma(2.0, 1.0)))
    assert float(slope(2.0)) == 0
    ends = [hellinger(dist.Gamma(3.0 + h, 1.0), dist.Gamma(2.0, 1.0)) for h in (0.01, -0.01)]
    assert float(slope(3.0)) == pytest.approx(float(ends[0] - ends[1]) / 0.02, rel=1e-4)


def test_what_has_no_closed_form():
    with pytest.raises(NoClosedForm, match="between Gamma and Normal"):
        renyi(dist.Gamma(2.0, 3.0), dist.Normal(0.0, 1.0), 2)
    with pytest.raises(NoClosedForm, match=r"Normal and LogNormal.*estimate_f_divergence"):
        hellinger(dist.Normal(0.0, 1.0), dist.LogNormal(0.0, 1.0))
    with pytest.raises(NoClosedForm, match="numbers of trials differ"):
        chi_squared(dist.Binomial(5, 0.3), dist.Binomial(6, 0.3))
    with pytest.raises(NoClosedForm, match="Jensen-Shannon"):
        jensen_shannon(dist.Normal(0.0, 1.0), dist.Normal(1.0, 1.0))
    with pytest.raises(NoClosedForm, match="total variation"):
        total_variation(dist.Gamma(2.0, 3.0), dist.Gamma(2.0, 2.0))
    with pytest.raises(NoClosedForm, match="infinite order"):
        renyi(
            dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)), dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)), np.inf
        )


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"p has event shape \(2,\)"):
        renyi(dist.Dirichlet(jnp.ones(2)), dist.Normal(0.0, 1.0), 2)
    with pytest.raises(ValueError, match=r"do not broadcast: \(2,\) and \(3,\)"):
        renyi(dist.Normal(jnp.zeros(2), 1.0), dist.Normal(jnp.zeros(3), 1.0), 2)
    with pytest.raises(TypeError, match="p is a distribution"):
        total_variation(dist.Bernoulli(0.5), [0.5, 0.5])
    with pytest.raises(TypeError, match="axis belong to pmf arrays"):
        total_variation(dist.Bernoulli(0.5), dist.Bernoulli(0.4), axis=0)
