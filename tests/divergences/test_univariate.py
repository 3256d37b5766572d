"""Closed forms on the line: gradients in 60 digits, conditions, infinite divergences, batches."""

import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
import pytest
from mpmath import inf, mpf
from truths import CASES, laws
from truths.univariate import FAMILIES, MODERATE_P, MODERATE_Q

from vi_kl.divergences import NoClosedForm, kl_divergence

GRADIENT = 1e-8  # relative; measured: 1e-12


def law_of(family, parameters):
    return FAMILIES[family].law(*map(mpf, parameters))


def with_moments_of_its_own(p_class):
    """Of the variable, besides those of its logarithm."""
    return p_class in (dist.Gamma, dist.Exponential, dist.Uniform)


def one_pair_of_each_law_and_target():
    """The families of one law share their programs: of each two laws, the pair with the most parameters."""
    pairs = {}
    for p_class, q_class, name in CASES:
        if name != "by_moments":
            continue
        kinds = [type(law_of(c, parameters[c])) for c, parameters in ((p_class, MODERATE_P), (q_class, MODERATE_Q))]
        pairs.setdefault((*kinds, with_moments_of_its_own(p_class)), []).append((p_class, q_class))
    return [max(group, key=lambda pair: len(MODERATE_P[pair[0]] + MODERATE_Q[pair[1]])) for group in pairs.values()]


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "pair", one_pair_of_each_law_and_target(), ids=lambda pair: f"{pair[0].__name__}-{pair[1].__name__}"
)
def test_gradients_against_derivatives_in_60_digits(pair):
    p_class, q_class = pair
    point = MODERATE_P[p_class] + MODERATE_Q[q_class]
    size = len(MODERATE_P[p_class])

    def divergence(*x):
        return kl_divergence(FAMILIES[p_class].build(*x[:size]), FAMILIES[q_class].build(*x[size:]))

    def truth(*x):
        law = FAMILIES[p_class].law(*x[:size])
        return FAMILIES[q_class].charge(law, *x[size:]) - law.entropy()

    exact = tuple(map(mpf, point))
    with jax.enable_x64(True):
        parameters = list(map(jnp.asarray, point))
        if truth(*exact) == inf:
            assert divergence(*parameters) == np.inf
            return
        slopes = jax.grad(divergence, argnums=tuple(range(len(point))))(*parameters)
    for i, slope in enumerate(slopes):
        expected = mpmath.diff(truth, exact, tuple(int(i == j) for j in range(len(point))))
        assert abs(float(slope) - expected) <= GRADIENT * abs(expected) + mpf(10) ** -14, (i, slope, expected)


# p and q from one parameter, a value with which they have a form, one with which they have none, and why
CONDITIONAL = {
    "Logistic": (lambda s: (dist.Logistic(0.5, 0.75), dist.Logistic(1.0, s)), 0.75, 1.5, "equal scales"),
    "SoftLaplace": (lambda s: (dist.SoftLaplace(0.5, 0.75), dist.SoftLaplace(1.0, s)), 0.75, 1.5, "equal scales"),
    "Gompertz": (lambda r: (dist.Gompertz(0.5, 0.75), dist.Gompertz(1.0, r)), 0.75, 1.5, "equal rates"),
    "Kumaraswamy": (lambda a: (dist.Kumaraswamy(0.75, 0.5), dist.Kumaraswamy(a, 1.0)), 0.75, 1.5, "concentration1"),
    "Dagum": (lambda k: (dist.Dagum(0.5, 0.75, 2.0), dist.Dagum(1.0, k, 2.0)), 0.75, 1.5, "sharpness and scale"),
    "Dagum's scale": (lambda s: (dist.Dagum(0.5, 2.0, 0.75), dist.Dagum(1.0, 2.0, s)), 0.75, 1.5, "and scale"),
    "Levy": (lambda m: (dist.Levy(0.75, 0.5), dist.Levy(m, 1.0)), 0.75, 0.5, "equal locations"),
    "Uniform": (lambda h: (dist.Uniform(0.0, h), dist.Kumaraswamy(0.5, 1.0)), 1.0, 0.5, r"Uniform\(0, 1\)"),
}
SHIFT = 2 / mpf(3)
EXPONENTIALS = mpmath.log(mpf(1) / 2) + 1  # of rates 1/2 and 1: log(1/2) + 2 - 1
WHERE_MET = {
    "Logistic": SHIFT * mpmath.coth(SHIFT / 2) - 2,
    "SoftLaplace": 2 * mpmath.log(mpmath.cosh(SHIFT / 2)),
    "Gompertz": EXPONENTIALS,
    "Kumaraswamy": EXPONENTIALS,
    "Dagum": EXPONENTIALS,
    "Dagum's scale": EXPONENTIALS,
    "Levy": EXPONENTIALS / 2,  # of concentration 1/2
    "Uniform": -mpf(1) / 2 + mpmath.log(2),  # of x^(-1/2) / 2
}


@pytest.mark.parametrize("name", CONDITIONAL)
def test_forms_that_hold_under_a_condition(name):
    """A value where it is met, a refusal where it is known not to be, and NaN where that is only seen later."""
    make, met, unmet, why = CONDITIONAL[name]
    expected = float(WHERE_MET[name])
    assert float(kl_divergence(*make(met))) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(NoClosedForm, match=why):
        kl_divergence(*make(unmet))
    with pytest.raises(NoClosedForm, match=why):
        kl_divergence(*make(np.array([met, unmet])))
    traced = jax.jit(lambda x: kl_divergence(*make(x)))(np.array([met, unmet]))
    np.testing.assert_allclose(traced, [expected, np.nan], rtol=1e-6)


def test_a_levy_law_that_begins_before_the_other_is_infinitely_far():
    assert kl_divergence(dist.Levy(0.5, 1.0), dist.Levy(0.75, 1.0)) == np.inf
    assert kl_divergence(dist.Uniform(0.5, 1.5), dist.Kumaraswamy(2.0, 3.0)) == np.inf


HEAVIER_THAN_Q_BEARS = {
    "no mean": lambda: (dist.HalfCauchy(1.0), dist.Gamma(2.0, 1.0)),
    "no mean, against a normal": lambda: (dist.Cauchy(0.0, 1.0), dist.Normal(0.0, 1.0)),
    "no mean, against a Laplace": lambda: (dist.Cauchy(0.0, 1.0), dist.Laplace(0.0, 1.0)),
    "no variance": lambda: (dist.StudentT(2.0, 0.0, 1.0), dist.Normal(0.0, 1.0)),
    "no mean of a Pareto": lambda: (dist.Pareto(0.5, 1.0), dist.Exponential(1.0)),
    "no mean of 1/x": lambda: (dist.Exponential(1.0), dist.InverseGamma(2.0, 1.0)),
    "no mean of exp(-x)": lambda: (dist.Laplace(0.0, 2.0), dist.Gumbel(0.0, 1.0)),
    "no mean of exp(-x), just so": lambda: (dist.Logistic(0.0, 1.0), dist.Gumbel(0.0, 1.0)),
    "a power without a mean": lambda: (dist.Weibull(1.0, 0.5), dist.InverseGamma(1.0, 1.0)),
    "below 0, against a Gamma": lambda: (dist.Uniform(-0.5, 1.0), dist.Gamma(2.0, 1.0)),
    "below 0, against a Weibull": lambda: (dist.Uniform(-0.5, 1.0), dist.Weibull(1.0, 1.5)),
    "below 0, against a log-normal": lambda: (dist.Uniform(-0.5, 1.0), dist.LogNormal(0.0, 1.0)),
    "below 0, against an inverse gamma": lambda: (dist.Uniform(-0.5, 1.0), dist.InverseGamma(2.0, 1.0)),
    "below 0, against a Pareto": lambda: (dist.Uniform(-0.5, 1.0), dist.Pareto(0.1, 1.5)),
    "below 0, against a log-uniform": lambda: (dist.Uniform(-0.5, 1.0), dist.LogUniform(0.1, 2.0)),
    "below 0, all of it": lambda: (dist.Uniform(-2.0, -1.0), dist.Exponential(1.0)),
}


# by default one for each moment that may be missing: the mean, the square, an exponential, a power, and the logarithm
ONE_OF_EACH_MOMENT = (
    "no mean",
    "no variance",
    "no mean of exp(-x)",
    "a power without a mean",
    "below 0, against a Gamma",
)


@pytest.mark.divergences
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[] if case in ONE_OF_EACH_MOMENT else pytest.mark.exhaustive)
        for case in HEAVIER_THAN_Q_BEARS
    ],
)
def test_divergences_that_are_infinite(case):
    p, q = HEAVIER_THAN_Q_BEARS[case]()
    assert kl_divergence(p, q) == np.inf


@pytest.mark.divergences
def test_infinite_and_finite_entries_of_one_batch():
    """The infinite one leaves the finite one's value and gradient alone."""
    df = jnp.array([2.0, 5.0])
    values = kl_divergence(dist.StudentT(df, 0.0, 1.0), dist.Normal(0.0, 1.0))
    alone = kl_divergence(dist.StudentT(df[1], 0.0, 1.0), dist.Normal(0.0, 1.0))
    law = laws.StudentT(mpf(5), mpf(0), mpf(1))
    truth = law.second() / 2 + mpmath.log(2 * mpmath.pi) / 2 - law.entropy()
    assert values[0] == np.inf
    assert values[1] == alone == pytest.approx(float(truth), rel=1e-6)
    slope = jax.jit(jax.grad(lambda s: kl_divergence(dist.StudentT(df, 0.0, 1.0), dist.Normal(0.0, s))[1]))(1.5)
    assert slope == pytest.approx(1 / 1.5 - 5 / 3 / 1.5**3, rel=1e-6)


BATCHED = {
    "by the logarithm's moments": (lambda x: dist.Weibull(x, 1.5), lambda x: dist.Gamma(1.0 + x, 2.0)),
    "by the variable's": (lambda x: dist.Gumbel(x, 1.5), lambda x: dist.Laplace(x, 2.0)),
    "of one family": (lambda x: dist.AsymmetricLaplace(x, 1.5, 2.0), lambda x: dist.Laplace(0.5, x)),
    "on an interval": (lambda x: dist.Uniform(0.5, 1.0 + x), lambda x: dist.LogUniform(0.25 / x, 6.0)),
    "of the unit interval": (lambda x: dist.Kumaraswamy(x, 2.5), lambda x: dist.Beta(2.5, x)),
}


# the two that take longest are for the exhaustive run
LONG = ("by the logarithm's moments", "of the unit interval")


@pytest.mark.divergences
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.exhaustive if name in LONG else []) for name in BATCHED]
)
def test_batches_broadcast_and_vmap_agrees(name):
    make_p, make_q = BATCHED[name]
    left, right = jnp.array([0.5, 1.5, 3.0]), jnp.array([0.75, 2.0])
    values = kl_divergence(make_p(left[:, None]), make_q(right))
    assert values.shape == (3, 2)
    one = jax.jit(lambda a, b: kl_divergence(make_p(a), make_q(b)))
    singles = [one(a, b) for a, b in itertools.product(left, right)]
    np.testing.assert_allclose(values.ravel(), np.array(singles), rtol=1e-6)
    mapped = jax.vmap(lambda a: kl_divergence(make_p(a), make_q(right)))(left)
    np.testing.assert_allclose(mapped, values, rtol=1e-6)


@pytest.mark.divergences
def test_vmap_over_the_distributions_themselves():
    x, ones = jnp.array([0.5, 1.5]), jnp.ones(2)
    p, q = dist.Weibull(x, 1.5 * ones), dist.Gamma(1.0 + x, 2.0 * ones)
    np.testing.assert_allclose(jax.vmap(kl_divergence)(p, q), kl_divergence(p, q), rtol=1e-6)


@pytest.mark.parametrize(
    "pair",
    [
        (dist.Gumbel, dist.Laplace),
        (dist.Gamma, dist.LogNormal),
        pytest.param((dist.Uniform, dist.Weibull), marks=pytest.mark.exhaustive),
    ],
)
def test_compiled_from_float32(pair):
    """Nothing inside may need 64-bit types when it is lowered, outside their scope."""
    p, q = pair[0](*map(jnp.float32, (0.5, 1.5))), pair[1](*map(jnp.float32, (1.0, 2.0)))
    np.testing.assert_allclose(jax.jit(kl_divergence)(p, q), kl_divergence(p, q), rtol=1e-6)
