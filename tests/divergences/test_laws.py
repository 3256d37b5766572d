"""The truths of the line are true: each expectation by integrating the density, each density against NumPyro's."""

import jax
import mpmath
import numpy as np
import numpyro.distributions as dist
import pytest
from mpmath import inf, log, mpf
from truths import laws, univariate

DIGITS = 20
TOLERANCE = mpf(10) ** -12  # of the integrals, which mpmath gives to about 15 digits

LAWS = {
    "normal": laws.Normal(mpf("0.7"), mpf("1.3")),
    "asymmetric Laplace": laws.AsymmetricLaplace(mpf("0.4"), mpf("0.5"), mpf("1.25")),
    "logistic": laws.Logistic(mpf("-0.3"), mpf("0.8")),
    "hyperbolic secant": laws.SoftLaplace(mpf("0.6"), mpf("0.75")),
    "Gumbel": laws.Gumbel(mpf("0.5"), mpf("0.9")),
    "Cauchy": laws.Cauchy(mpf("0.5"), mpf("2.5")),
    "Student": laws.StudentT(mpf("4.5"), mpf("0.3"), mpf("1.5")),
    "Student without a variance": laws.StudentT(mpf("1.75"), mpf("0.3"), mpf("1.5")),
    "uniform": laws.Uniform(mpf("0.5"), mpf("2.25")),
    "uniform from 0": laws.Uniform(mpf(0), mpf("0.75")),
    "uniform about 0": laws.Uniform(mpf(-1), mpf("0.75")),
    "gamma": laws.GeneralizedGamma(mpf("2.5"), mpf(1), mpf("0.4")),
    "exponential": laws.GeneralizedGamma(mpf(1), mpf(1), mpf("0.4")),
    "inverse gamma": laws.GeneralizedGamma(mpf("3.5"), mpf(-1), mpf("1.7")),
    "Weibull": laws.GeneralizedGamma(mpf(1), mpf("1.6"), mpf("0.8")),
    "log-normal": laws.LogNormal(mpf("0.3"), mpf("0.6")),
    "beta": laws.Beta(mpf("2.5"), mpf("0.75")),
    "Kumaraswamy": laws.Beta(mpf(1), mpf("2.5"), mpf("1.5")),
    "beta prime": laws.BetaPrime(mpf("1.5"), mpf("2.5"), mpf("1.25"), mpf("0.7")),
    "half-Cauchy": laws.BetaPrime(mpf("0.5"), mpf("0.5"), mpf(2), mpf("0.7")),
    "Pareto": laws.Pareto(mpf("0.8"), mpf("3.5")),
    "power law": laws.PowerLaw(mpf("0.5"), mpf(3), mpf("-2.5")),
    "log-uniform": laws.PowerLaw(mpf("0.5"), mpf(3), mpf(-1)),
}
MGF_OF = (laws.Normal, laws.AsymmetricLaplace, laws.Logistic, laws.SoftLaplace, laws.Gumbel, laws.Cauchy,
          laws.StudentT, laws.Uniform)  # fmt: skip
ABOVE_OF = (laws.Normal, laws.AsymmetricLaplace, laws.Logistic, laws.Gumbel, laws.Cauchy, laws.Uniform)
POWERS = [mpf(k) for k in ("-1", "0.25", "2", "1", "4")]


def expectations(name, law):
    """What the law claims, each with the function whose expectation it is."""
    yield "total", mpf(1), lambda x: mpf(1)
    yield "entropy", law.entropy(), lambda x: -law.log_density(x)
    if law.positive:
        yield "log_mean", law.log_mean(), log
        yield "log_second", law.log_second(), lambda x: log(x) ** 2
        for k in POWERS:
            yield f"power({k})", law.power(k), lambda x, k=k: x**k
    elif not isinstance(law, laws.Cauchy):
        yield "mean", law.mean(), lambda x: x
    if not law.positive:
        yield "second", law.second(), lambda x: x * x
    if isinstance(law, MGF_OF) or name in ("gamma", "exponential"):
        for t in (mpf("-0.7"), mpf("0.4"), mpf(3)):
            yield f"mgf({t})", law.mgf(t), lambda x, t=t: mpmath.exp(t * x)
    if isinstance(law, ABOVE_OF) or name == "exponential":
        for m in (mpf("-1.5"), mpf("0.7"), mpf("2.5")):
            yield f"above({m})", law.above(m), lambda x, m=m: max(x - m, 0)
            yield f"below({m})", law.below(m), lambda x, m=m: max(m - x, 0)


CLAIMS = {
    f"{name}, {what}": (law, value, function)
    for name, law in LAWS.items()
    for what, value, function in expectations(name, law)
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_expectations_by_integrating_the_density(claim):
    law, value, function = CLAIMS[claim]

    def integrand(x):
        log_density = law.log_density(x)
        return mpmath.exp(log_density) * function(x)

    with mpmath.workdps(DIGITS):
        if value == inf:
            assert diverges(law, integrand)
            return
        integral = mpmath.quad(integrand, pieces(law))
    assert abs(integral - value) <= TOLERANCE * max(abs(value), 1)


def pieces(law):
    """The support, cut where densities or expectations have kinks, and where most of the probability is."""
    # further down a Gumbel has less than 1e-100, the exponential of an exponential
    low = mpf(-5) if isinstance(law, laws.Gumbel) else law.low
    inner = [mpf(x) for x in ("-1.5", "0", "0.4", "0.7", "2.5", "8")]
    return [low, *(x for x in inner if low < x < law.high), law.high]


def diverges(law, integrand):
    """Towards one end the integrand, times the distance to it, does not die away."""
    ends = [1 / mpf(10) ** k for k in (10, 20)] if law.low == 0 else []
    ends = [ends] if ends else []
    if law.high == inf:
        ends.append([mpf(200), mpf(400)])
    if law.low == -inf and not isinstance(law, laws.Gumbel):
        ends.append([mpf(-200), mpf(-400)])
    return any(abs(near * integrand(near)) <= abs(far * integrand(far)) * (1 + mpf("0.01")) for near, far in ends)


def points_inside(law):
    if mpmath.isfinite(law.high):
        return [law.low + (law.high - law.low) * share for share in (mpf("0.125"), mpf("0.5"), mpf("0.875"))]
    return [(law.low if mpmath.isfinite(law.low) else -2) + mpf(x) for x in ("0.25", "1", "3.5")]


@pytest.mark.parametrize("family", univariate.FAMILIES, ids=lambda family: family.__name__)
def test_densities_are_those_of_numpyro(family):
    """To 1e-5, as NumPyro's are in float32 here and there; the parameters mean the same."""
    member, parameters = univariate.FAMILIES[family], univariate.MODERATE_P[family]
    law = member.law(*map(mpf, parameters))
    points = points_inside(law)
    with jax.enable_x64(True):
        distribution = member.build(*map(np.float64, parameters))
        assert type(distribution) is family
        log_densities = distribution.log_prob(np.array(points, dtype=np.float64))
        assert np.all(distribution.support(np.array(points, dtype=np.float64)))
    np.testing.assert_allclose(log_densities, [float(law.log_density(x)) for x in points], rtol=1e-5)


def test_the_claims_are_of_every_law():
    """A law without an example would go unchecked."""
    kinds = {kind for kind in vars(laws).values() if isinstance(kind, type) and issubclass(kind, laws.Law)}
    assert kinds - {type(law) for law in LAWS.values()} == {laws.Law}
    assert dist.Normal in univariate.FAMILIES
