"""The quadrature underneath: integrals with known values, edges where they are needed, and honest refusals."""

import functools
import math

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints

from vi_kl.divergences.estimators.numerical import enumerate_kl, quadrature_kl
from vi_kl.divergences.estimators.quadrature import (
    NotApplicable,
    NotConverged,
    ends_of_support,
    graded,
    integrate,
    line_of,
    log_densities_on_the_line,
    panel_edges,
)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def integrate_over(function, edges, smallest=0.0):
    """Several functions of z, by densities that hand z through as log p."""
    return integrate(lambda z: (z, np.zeros_like(z)), lambda z, _: np.stack(function(z)), np.asarray(edges), smallest)


def test_several_integrals_from_one_evaluation():
    """A polynomial, a peak of width 1e-4, a kink and a jump, each within its own error and 1e-12."""
    functions = {
        (lambda z: z**6): 2 * 3**7 / 7,
        (lambda z: np.exp(-((z - 0.3) ** 2) / 2e-8)): 1e-4 * math.sqrt(2 * math.pi),
        (lambda z: abs(z - 0.1)): (2.9**2 + 3.1**2) / 2,
        (lambda z: np.where(z > 0.123, 1.0, 0.0)): 3 - 0.123,
    }
    edges = np.linspace(-3, 3, 400)  # near enough to the peak for a node to see it
    values, errors, nodes = integrate_over(lambda z: [f(z) for f in functions], edges)
    ends = 4 * 3**7 / 200  # the outermost panels, which count as error
    for value, error, expected in zip(values, errors, functions.values(), strict=True):
        assert value == pytest.approx(expected, rel=1e-10)
        assert abs(value - expected) <= error + 1e-12 * expected
        assert error < ends
    assert nodes % 20 == 0


def test_small_integrals_are_as_exact_as_large_ones():
    """An integrand of 1e-30 gets the relative accuracy that the same one of 1 has, unless told not to bother."""
    edges = np.linspace(-1, 1, 4)
    values, _, nodes = integrate_over(lambda z: [np.exp(-abs(z) / 0.01), 1e-30 * np.exp(-abs(z) / 0.01)], edges)
    assert values[0] == pytest.approx(0.02, rel=1e-12)
    assert values[1] == pytest.approx(2e-32, rel=1e-12)
    _, _, fewer = integrate_over(lambda z: [1e-30 * np.exp(-abs(z) / 0.01)], edges, smallest=1.0)
    assert fewer < nodes


def test_what_cannot_be_integrated():
    with pytest.raises(NotConverged, match="leave the floating range"):
        integrate_over(lambda z: [np.exp(np.exp(z))], np.linspace(0, 10, 5))
    with pytest.raises(NotApplicable, match="log density is NaN"):
        integrate_over(lambda z: [z], [-1.0, np.nan, 1.0])


def test_panels_resolve_both_distributions():
    """The mass of a q that p's own panels are a thousand times too wide for."""
    p, q = dist.Normal(0.0, 100.0), dist.Normal(31.4159, 0.01)
    densities = functools.partial(log_densities_on_the_line, p, q, line_of(p))
    (masses, _, _) = integrate(densities, lambda a, b: np.exp([a, b]), panel_edges(p, q))
    np.testing.assert_allclose(masses, 1, rtol=1e-12)


def test_an_edge_where_the_other_support_ends():
    """On the line of Uniform(0, 2)'s support, which is logit(x / 2), the ends of Uniform(0.5, 3) are at 0.5 only."""
    p, q = dist.Uniform(0.0, 2.0), dist.Uniform(0.5, 3.0)
    (end,) = ends_of_support(line_of(p), q)
    assert end == pytest.approx(math.log(0.25 / 0.75), rel=1e-12)
    assert end in panel_edges(p, q)
    assert ends_of_support(line_of(p), dist.Normal(0.0, 1.0)) == []
    assert ends_of_support(constraints.real, dist.Gamma(2.0, 1.0)) == [0.0]


def test_graded_edges_keep_the_given_ones_and_no_neighbours_differ_much():
    edges = np.array([0.0, 1e-6, 1.0, 1.1, 50.0])
    finer = graded(edges)
    assert set(edges) <= set(finer)
    widths = np.diff(finer)
    assert (widths > 0).all()
    ratios = widths[1:] / widths[:-1]
    assert ratios.max() <= 4 * (1 + 1e-9)
    assert ratios.min() >= 1 / (4 * (1 + 1e-9))


def test_the_error_of_kl_by_quadrature_covers_what_it_is_off():
    """Skewed, bimodal and heavy-tailed, with closed forms: Weibulls of one shape, two far modes, Cauchys."""
    shape, first, second = 1.7, 2.0, 2.5
    weibulls = dist.Weibull(first, shape), dist.Weibull(second, shape)
    ratio = (first / second) ** shape
    cases = [
        (*weibulls, ratio - 1 - math.log(ratio)),
        (dist.Cauchy(0.0, 1.0), dist.Cauchy(0.0, 3.0), math.log(16 / 12)),
    ]
    modes = dist.Normal(np.array([-50.0, 50.0]), 1.0)
    mixtures = [dist.MixtureSameFamily(dist.Categorical(probs=np.array(w)), modes) for w in ([0.2, 0.8], [0.5, 0.5])]
    cases.append((*mixtures, 0.2 * math.log(0.4) + 0.8 * math.log(1.6)))
    for p, q, truth in cases:
        estimate = quadrature_kl(p, q)
        assert abs(estimate.value - truth) <= 4 * estimate.standard_error + 1e-14
        assert estimate.standard_error < 1e-7


def test_enumeration_counts_what_q_has_elsewhere():
    """Binomial(2, 1/2) against a fair die: KL = sum p log(p / (1/6)) over three of its six faces."""
    q = dist.Categorical(probs=np.ones(6) / 6)
    expected = 0.5 * math.log(0.25 * 6) + 0.5 * math.log(0.5 * 6)
    assert enumerate_kl(dist.Binomial(2, 0.5), q).value == pytest.approx(expected, rel=1e-10)
    with pytest.raises(NotApplicable, match="no finite support"):
        enumerate_kl(dist.Poisson(1.0), dist.Poisson(1.0))
