"""Truncated distributions beyond the adversarial draws: densities integrated, edges, batches, gradients, refusals."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
import pytest
from mpmath import mpf
from scipy import integrate, stats
from truths.truncated_gamma import truncated_gammas
from truths.truncation import BELOW, of_one_base, truncated_normals

from vi_kl.divergences import NoClosedForm, entropy, kl_divergence

Left, Right, TwoSided = (
    dist.LeftTruncatedDistribution,
    dist.RightTruncatedDistribution,
    dist.TwoSidedTruncatedDistribution,
)
LAWS = {
    dist.Normal: (lambda loc, scale: dist.Normal(loc, scale), stats.norm),
    dist.Laplace: (lambda loc, scale: dist.Laplace(loc, scale), stats.laplace),
    dist.Logistic: (lambda loc, scale: dist.Logistic(loc, scale), stats.logistic),
    dist.Cauchy: (lambda loc, scale: dist.Cauchy(loc, scale), stats.cauchy),
    dist.SoftLaplace: (lambda loc, scale: dist.SoftLaplace(loc, scale), stats.hypsecant),
    dist.StudentT: (lambda loc, scale: dist.StudentT(3.5, loc, scale), stats.t(3.5).dist),
}
SHAPES = {dist.StudentT: (3.5,)}


def truncation(base, low=-np.inf, high=np.inf):
    """By the class that has the finite ends; the base itself where there is none."""
    ends = {name: end for name, end in (("low", low), ("high", high)) if np.isfinite(end)}
    return dist.TruncatedDistribution(base, **ends)


def in_float64(p, q):
    with jax.enable_x64(True):
        return float(kl_divergence(p, q))


def by_quadrature(p, q, interval_p, interval_q):
    """From SciPy's densities, each divided by the probability of its interval."""
    log_share = [
        np.log(law.sf(low) - law.sf(high) if low > law.median() else law.cdf(high) - law.cdf(low))
        for law, (low, high) in ((p, interval_p), (q, interval_q))
    ]

    def integrand(x):
        with np.errstate(over="ignore"):
            log_p, log_q = p.logpdf(x) - log_share[0], q.logpdf(x) - log_share[1]
        return np.exp(log_p) * (log_p - log_q) if np.isfinite(log_p) else 0.0  # SciPy's densities underflow

    middle = np.clip(p.median(), *interval_p)
    pieces = [integrate.quad(integrand, *ends, epsabs=1e-13, epsrel=1e-11, limit=400) for ends in
              ((interval_p[0], middle), (middle, interval_p[1])) if ends[0] < ends[1]]  # fmt: skip
    value, error = np.sum(pieces, axis=0)
    assert error < 1e-8 * value, "quadrature itself is not accurate enough"
    return value


INTERVALS = {
    "left": ((-0.5, np.inf), (-1.5, np.inf)),
    "right": ((-np.inf, 1.25), (-np.inf, 2.0)),
    "both": ((0.25, 1.5), (-1.0, 2.5)),
    "both in left": ((2.0, 2.5), (1.0, np.inf)),
    "left in the line": ((0.75, np.inf), (-np.inf, np.inf)),
}


@pytest.mark.parametrize("ends", INTERVALS)
@pytest.mark.parametrize("base", LAWS, ids=lambda base: base.__name__)
def test_one_base_against_integrals_of_scipy_densities(base, ends):
    make, law = LAWS[base]
    frozen = law(*SHAPES.get(base, ()), loc=0.5, scale=1.5)
    interval_p, interval_q = INTERVALS[ends]
    value = in_float64(truncation(make(0.5, 1.5), *interval_p), truncation(make(0.5, 1.5), *interval_q))
    assert value == pytest.approx(by_quadrature(frozen, frozen, interval_p, interval_q), rel=1e-8)


NORMALS = {
    "skewed: a tail of p": ((0.0, 1.0), (3.0, np.inf), (2.0, 2.0), (1.0, np.inf)),
    "two modes apart": ((-3.0, 0.5), (-4.0, 4.0), (3.0, 0.75), (-5.0, 4.0)),
    "opposite slopes": ((-2.0, 1.0), (0.0, 1.0), (3.0, 1.0), (0.0, 1.0)),
    "narrow in wide": ((0.0, 0.01), (-1.0, 1.0), (0.0, 10.0), (-np.inf, np.inf)),
    "right": ((1.0, 2.0), (-np.inf, 0.0), (0.0, 1.0), (-np.inf, 1.0)),
}


@pytest.mark.parametrize("name", NORMALS)
def test_normals_against_integrals_of_scipy_densities(name):
    first, interval_p, second, interval_q = NORMALS[name]
    value = in_float64(truncation(dist.Normal(*first), *interval_p), truncation(dist.Normal(*second), *interval_q))
    truth = by_quadrature(stats.norm(*first), stats.norm(*second), interval_p, interval_q)
    assert value == pytest.approx(truth, rel=1e-8)


def test_the_formula_of_the_truths_against_an_integral_in_30_digits():
    loc_p, scale_p, low_p, high_p, loc_q, scale_q, low_q, high_q = map(mpf, (0.5, 2, -1, 3, -0.25, 1.5, -2, 3.5))

    def density(loc, scale, low, high):
        total = mpmath.quad(lambda x: mpmath.npdf(x, loc, scale), [low, high])
        return lambda x: mpmath.npdf(x, loc, scale) / total

    p, q = density(loc_p, scale_p, low_p, high_p), density(loc_q, scale_q, low_q, high_q)
    integral = mpmath.quad(lambda x: p(x) * mpmath.log(p(x) / q(x)), [low_p, high_p])
    formula = truncated_normals(loc_p, scale_p, low_p, high_p, loc_q, scale_q, low_q, high_q)
    assert abs(formula / integral - 1) < mpf(10) ** -30


EXTREMES = {
    "1000 scales out": (0.0, 1.0, 1000.0, np.inf, 0.0, 1.0, 999.5, np.inf),
    "1000 scales out, another location": (0.0, 1.0, 1000.0, np.inf, 1e-6, 1.0, 1000.0, np.inf),
    "1000 scales out, another scale": (0.0, 1.0, 1000.0, 1001.0, 0.0, 1.0 + 1e-9, 1000.0, 1001.0),
    "scales far apart": (0.0, 1e-6, -1.0, 1.0, 0.0, 1e6, -1.0, 1.0),
    "scales far apart, the other way": (0.0, 1e3, -1.0, 1.0, 0.5, 1e-3, -2.0, np.inf),
    "next to uniform": (0.0, 1e8, -1.0, 1.0, 0.0, 3e8, -1.0, 1.0),
    "next to nothing cut": (0.0, 1.0, -8.0, 8.0, 0.0, 1.0, -np.inf, np.inf),
    "q elsewhere": (0.0, 1.0, -1.0, 1.0, 500.0, 1.0, -2.0, 600.0),
    "half-normal and nearly exponential": (0.0, 1.0, 0.0, np.inf, -60.0, 7.0, 0.0, np.inf),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_normals_at_extremes_in_60_digits(name):
    loc_p, scale_p, low_p, high_p, loc_q, scale_q, low_q, high_q = EXTREMES[name]
    p = truncation(dist.Normal(np.float64(loc_p), np.float64(scale_p)), low_p, high_p)
    q = truncation(dist.Normal(np.float64(loc_q), np.float64(scale_q)), low_q, high_q)
    with mpmath.workdps(60):
        truth = float(truncated_normals(*map(mpf, EXTREMES[name])))
    assert in_float64(p, q) == pytest.approx(truth, rel=1e-12, abs=0)


@pytest.mark.parametrize("base", BELOW, ids=lambda base: base.__name__)
def test_far_out_and_next_to_nothing_between_the_intervals(base):
    make, _ = LAWS[base]
    interval = (200.0, 201.0, 200.0 - 2.0**-30, 201.0)
    value = in_float64(TwoSided(make(0.0, 1.0), *interval[:2]), TwoSided(make(0.0, 1.0), *interval[2:]))
    shape = map(mpf, SHAPES.get(base, ()))
    truth = of_one_base(BELOW[base], mpf(0), mpf(1), *map(mpf, interval), *shape)
    assert value == pytest.approx(float(truth), rel=1e-12, abs=0)


def test_cut_at_the_mean_it_is_a_half_normal():
    """Which has a closed form of its own."""
    with jax.enable_x64(True):
        p, q = (Left(dist.Normal(0.0, scale), 0.0) for scale in (1.0, 1.3))
        truth = kl_divergence(dist.HalfNormal(1.0), dist.HalfNormal(1.3))
        assert kl_divergence(p, q) == pytest.approx(float(truth), rel=1e-12)
        assert entropy(p) == pytest.approx(float(entropy(dist.HalfNormal(1.0))), rel=1e-12)


@pytest.mark.parametrize("base", LAWS, ids=lambda base: base.__name__)
def test_infinite_where_p_reaches_beyond_and_zero_against_itself(base):
    make, _ = LAWS[base]
    law = make(0.5, 1.5)
    narrow, wide = TwoSided(law, 0.0, 1.0), TwoSided(law, 0.0, 2.0)
    for p, q in ((wide, narrow), (Left(law, 0.0), wide), (Right(law, 1.0), Left(law, -5.0)), (law, Left(law, 0.0))):
        assert kl_divergence(p, q) == np.inf
    for p in (narrow, Left(law, 0.0), Right(law, 1.0)):
        assert kl_divergence(p, p) == 0


def test_supports_decide_where_the_bases_differ():
    laplace, normal = dist.Laplace(0.0, 1.0), dist.Normal(0.0, 1.0)
    assert kl_divergence(Left(laplace, 0.0), Left(normal, 1.0)) == np.inf
    with pytest.raises(NoClosedForm, match="their bases differ: Laplace and Normal"):
        kl_divergence(Left(laplace, 1.0), Left(normal, 0.0))


@pytest.mark.parametrize("base", [b for b in LAWS if b is not dist.Normal], ids=lambda base: base.__name__)
def test_other_parameters_are_refused_or_nan_where_they_are_traced(base):
    make, _ = LAWS[base]
    with pytest.raises(NoClosedForm, match=f"truncations of a {base.__name__}.*loc, scale"):
        kl_divergence(Left(make(0.0, 1.0), 1.0), Left(make(0.0, 2.0), 0.0))
    traced = jax.jit(lambda scale: kl_divergence(Left(make(0.0, 1.0), 1.0), Left(make(0.0, scale), 0.0)))
    values = [traced(scale) for scale in (1.0, 2.0)]
    assert np.isfinite(values[0])
    assert np.isnan(values[1])
    mixed = kl_divergence(Left(make(0.0, 1.0), 1.0), Left(make(0.0, jnp.array([1.0, 2.0])), jnp.array([0.0, 1.5])))
    np.testing.assert_allclose(mixed, [values[0], np.inf], rtol=1e-6)


def test_an_entropy_that_is_not_known_is_refused():
    with pytest.raises(NoClosedForm, match="truncated Cauchy"):
        entropy(Left(dist.Cauchy(0.0, 1.0), 0.0))


@pytest.mark.divergences
@pytest.mark.parametrize("base", [dist.Normal, dist.Cauchy], ids=lambda base: base.__name__)
def test_batches_broadcast_and_transformations_agree(base):
    make, _ = LAWS[base]
    low_p, low_q = jnp.linspace(0.0, 2.0, 3), jnp.linspace(-1.0, 0.5, 2)

    def divergence(a, b):
        return kl_divergence(TwoSided(make(0.0, 1.0), a, 3.0), Left(make(0.0, 1.0), b))

    values = divergence(low_p[:, None], low_q)
    assert values.shape == (3, 2)
    assert values[0, 1] == np.inf
    one_by_one = jax.vmap(jax.vmap(divergence, (None, 0)), (0, None))
    np.testing.assert_allclose(jax.jit(one_by_one)(low_p, low_q), values, rtol=1e-6)
    expanded = kl_divergence(
        TwoSided(make(0.0, 1.0), low_p[:, None], 3.0).expand([4, 3, 1]), Left(make(0.0, jnp.ones(2)), low_q)
    )
    np.testing.assert_allclose(expanded, np.broadcast_to(values, (4, 3, 2)), rtol=1e-6)


@functools.cache
def gradient_of(function, size):
    """Compiled once for the near pairs and the far ones."""
    return jax.jit(jax.grad(function, argnums=tuple(range(size))))


def slopes(function, parameters):
    """The gradient in float64."""
    with jax.enable_x64(True):
        return [float(x) for x in gradient_of(function, len(parameters))(*map(float, parameters))]


def truth_slopes(truth, parameters):
    point = [mpf(x) for x in parameters]
    return [
        float(mpmath.diff(lambda x, i=i: truth(*point[:i], x, *point[i + 1 :]), point[i])) for i in range(len(point))
    ]


GRADIENTS = {
    "near": (0.3, 1.5, -1.0, 2.0, 0.301, 1.5015, -1.001, 2.001),
    "far": (0.3, 1.5, -1.0, 2.0, -2.0, 0.5, -4.0, 3.0),
    "in a tail": (0.0, 1.0, 12.0, 14.0, 1.0, 1.25, 11.0, 20.0),
}


def of_normals(loc_p, scale_p, low_p, high_p, loc_q, scale_q, low_q, high_q):
    p, q = dist.Normal(loc_p, scale_p), dist.Normal(loc_q, scale_q)
    return kl_divergence(TwoSided(p, low_p, high_p), TwoSided(q, low_q, high_q))


@pytest.mark.divergences
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_normals_against_derivatives_in_60_digits(name):
    found = slopes(of_normals, GRADIENTS[name])
    expected = truth_slopes(truncated_normals, GRADIENTS[name])
    # a slope that is nothing next to the others keeps no digits of its own
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


@pytest.mark.exhaustive
@pytest.mark.parametrize("base", BELOW, ids=lambda base: base.__name__)
def test_gradients_of_one_base_against_derivatives_in_60_digits(base):
    shape = SHAPES.get(base, ())

    def divergence(loc, scale, low_p, high_p, low_q, high_q, *shape):
        law = base(*shape, loc, scale)
        return kl_divergence(TwoSided(law, low_p, high_p), TwoSided(law, low_q, high_q))

    point = (0.3, 1.5, 1.0, 2.0, -1.0, 2.5, *shape)
    expected = truth_slopes(lambda *values: of_one_base(BELOW[base], *values), point)
    np.testing.assert_allclose(slopes(divergence, point), expected, rtol=1e-9)


@pytest.mark.exhaustive
@pytest.mark.parametrize("base", LAWS, ids=lambda base: base.__name__)
def test_gradients_with_infinite_and_with_common_ends_are_finite(base):
    make, _ = LAWS[base]

    def divergence(loc, scale, low):
        return kl_divergence(TwoSided(make(loc, scale), low, 2.0), Right(make(loc, scale), 2.0))

    found = jax.jit(jax.grad(divergence, argnums=(0, 1, 2)))(0.5, 1.5, -1.0)
    assert np.all(np.isfinite(found))
    assert found[2] > 0  # a narrower p is further from q


def gamma_truncation(shape, rate, low, high):
    ends = {name: end for name, end in (("low", low), ("high", high)) if 0 < end < np.inf}
    parameters = np.float64(shape), np.float64(rate)
    return dist.TruncatedGamma(*parameters, **ends) if ends else dist.Gamma(*parameters)


GAMMAS = {
    "left": ((2.0, 3.0, 0.5, np.inf), (2.5, 2.0, 0.25, np.inf)),
    "right": ((0.5, 3.0, 0.0, 0.75), (3.0, 1.0, 0.0, 2.0)),
    "both": ((2.0, 3.0, 0.5, 4.0), (2.0, 0.5, 0.25, 5.0)),
    "in a plain gamma": ((20.0, 3.0, 8.0, 9.0), (2.0, 3.0, 0.0, np.inf)),
}


@pytest.mark.parametrize("name", GAMMAS)
def test_gammas_against_integrals_of_scipy_densities(name):
    first, second = GAMMAS[name]
    laws = [stats.gamma(shape, scale=1 / rate) for shape, rate, *_ in (first, second)]
    value = in_float64(gamma_truncation(*first), gamma_truncation(*second))
    assert value == pytest.approx(by_quadrature(*laws, first[2:], second[2:]), rel=1e-8)


GAMMA_EXTREMES = {
    "small shapes": ((1e-3, 1.0, 0.0, 2.0), (1.5e-3, 10.0, 0.0, 3.0)),
    "small shapes, nearly equal": ((1e-3, 1.0, 0.0, 2.0), (1.0000001e-3, 1.0, 0.0, 2.0)),
    "large shapes": ((1e4, 1.0, 9.9e3, 1.01e4), (1.0001e4, 1.0, 9.8e3, 1.02e4)),
    "next to nothing in between": ((2.0, 1.0, 1.0, 3.0), (2.0, 1.0, 1.0 - 2.0**-40, 3.0)),
    "far out": ((2.0, 1.0, 800.0, np.inf), (2.5, 1.25, 700.0, np.inf)),
    "narrow": ((2.0, 1.0, 1.0, 1.0 + 2.0**-20), (7.0, 30.0, 0.5, 2.0)),
    "far apart": ((100.0, 1.0, 0.0, 500.0), (0.1, 50.0, 0.0, np.inf)),
}


@pytest.mark.parametrize("name", GAMMA_EXTREMES)
def test_gammas_at_extremes_in_60_digits(name):
    first, second = GAMMA_EXTREMES[name]
    truth = truncated_gammas(*map(mpf, (*first, *second)))
    value = in_float64(gamma_truncation(*first), gamma_truncation(*second))
    assert value == pytest.approx(float(truth), rel=1e-12, abs=0)


def test_the_formula_of_the_gammas_truths_against_an_integral_in_30_digits():
    first, second = (tuple(map(mpf, row)) for row in ((2.5, 3.0, 0.5, 4.0), (2.0, 0.5, 0.25, 5.0)))

    def log_density(shape, rate, low, high):
        def kernel(x):
            return (shape - 1) * mpmath.log(x) - rate * x

        log_total = mpmath.log(mpmath.quad(lambda x: mpmath.exp(kernel(x)), [low, high]))
        return lambda x: kernel(x) - log_total

    p, q = log_density(*first), log_density(*second)
    integral = mpmath.quad(lambda x: mpmath.exp(p(x)) * (p(x) - q(x)), [first[2], first[3]])
    assert abs(truncated_gammas(*first, *second) / integral - 1) < mpf(10) ** -30


def test_a_gamma_cut_at_zero_is_a_gamma():
    """Which has a closed form of its own; and its subclasses are its equals."""
    with jax.enable_x64(True):
        p, q = dist.Gamma(2.0, 3.0), dist.Chi2(3.0)
        cut_p, cut_q = dist.LeftTruncatedGamma(p, 0.0), dist.LeftTruncatedGamma(q, 0.0)
        truth = float(kl_divergence(p, q))
        assert kl_divergence(cut_p, q) == pytest.approx(truth, rel=1e-12)
        assert kl_divergence(cut_p, cut_q) == pytest.approx(truth, rel=1e-12)
        assert entropy(cut_p) == pytest.approx(float(entropy(p)), rel=1e-12)


@pytest.mark.divergences
def test_gammas_that_reach_beyond_and_batches():
    base = dist.Gamma(jnp.array([0.5, 2.0, 30.0]), 1.5)
    narrow, wide = dist.TwoSidedTruncatedGamma(base, 0.5, 2.0), dist.LeftTruncatedGamma(base, 0.25)
    np.testing.assert_array_equal(kl_divergence(wide, narrow), np.full(3, np.inf))
    np.testing.assert_array_equal(kl_divergence(base, wide), np.full(3, np.inf))
    np.testing.assert_array_equal(kl_divergence(narrow, narrow), np.zeros(3))
    other = dist.RightTruncatedGamma(dist.Gamma(jnp.array([[1.0], [2.0]]), 1.0), 4.0)
    values = kl_divergence(narrow, other)
    assert values.shape == (2, 3)
    truth = truncated_gammas(*map(mpf, (30.0, 1.5, 0.5, 2.0, 2.0, 1.0, 0.0, 4.0)))
    assert values[1, 2] == pytest.approx(float(truth), rel=1e-6)


def of_gammas(shape_p, rate_p, low_p, high_p, shape_q, rate_q, low_q, high_q):
    p, q = dist.Gamma(shape_p, rate_p), dist.Gamma(shape_q, rate_q)
    return kl_divergence(dist.TwoSidedTruncatedGamma(p, low_p, high_p), dist.TwoSidedTruncatedGamma(q, low_q, high_q))


@pytest.mark.divergences
@pytest.mark.parametrize(
    "point",
    [(2.0, 3.0, 0.5, 1.25, 2.002, 3.001, 0.499, 1.2501), (0.3, 3.0, 0.5, 1.25, 5.0, 1.0, 0.125, 3.0)],
    ids=["near", "far"],
)
def test_gradients_of_gammas_against_derivatives_in_60_digits(point):
    expected = truth_slopes(truncated_gammas, point)
    np.testing.assert_allclose(slopes(of_gammas, point), expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())
