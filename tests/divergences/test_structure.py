"""Structure: masks, transforms that are shared or only look so, point masses; and what registers with any class."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import transforms
from scipy import stats

from vi_kl.divergences import NoClosedForm, entropy, kl_divergence

SHIFTED = 0.125  # KL between unit normals that are 1/2 apart


def normal(loc=0.0):
    return dist.Normal(loc, 1.0)


MASKS = {
    "True": (lambda: (dist.MaskedDistribution(normal(), True), normal(0.5)), SHIFTED),
    "False, with the batch shape": (lambda: (normal(jnp.zeros(3)).mask(False), normal(0.5)), np.zeros(3)),
    "False, expanded": (lambda: (normal().expand([3]).mask(False), normal(0.5)), np.zeros(3)),
    "of p": (lambda: (normal().mask(jnp.array([True, False])), normal(0.5)), [SHIFTED, 0]),
    "of q": (lambda: (normal(), normal(0.5).mask(jnp.array([True, False]))), [SHIFTED, 0]),
    "of both": (
        lambda: (normal().mask(jnp.array([True, False])), normal(0.5).mask(jnp.array([[True], [False]]))),
        [[SHIFTED, 0], [0, 0]],
    ),
    "of vectors": (
        lambda: (
            normal(jnp.zeros((2, 3))).to_event(1).mask(jnp.array([True, False])),
            normal(0.5 * jnp.ones(3)).to_event(1),
        ),
        [3 * SHIFTED, 0],
    ),
    "within vectors": (
        lambda: (
            normal(jnp.zeros(2)).mask(jnp.array([True, False])).to_event(1),
            normal(0.5 * jnp.ones(2)).to_event(1),
        ),
        SHIFTED,
    ),
    "then expanded": (
        lambda: (normal().mask(jnp.array([True, False])).expand([3, 2]), normal(0.5)),
        [[SHIFTED, 0]] * 3,
    ),
    "of an infinite one": (lambda: (normal().mask(jnp.array([True, False])), dist.Gamma(2.0, 1.0)), [np.inf, 0]),
    "of a point mass": (lambda: (dist.Delta(1.0).mask(jnp.array([True, False])), normal()), [np.inf, 0]),
    "against a point mass": (lambda: (dist.Delta(1.0), normal().mask(jnp.array([True, False]))), [np.inf, 0]),
}


@pytest.mark.parametrize("case", MASKS)
def test_what_is_masked_counts_nothing(case):
    make, expected = MASKS[case]
    value = kl_divergence(*make())
    assert value.shape == np.shape(expected)
    np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.divergences
def test_masks_may_be_traced_and_stop_gradients():
    mask = jnp.array([True, False])
    value = jax.jit(lambda m: kl_divergence(normal().mask(m), normal(0.5)))(mask)
    np.testing.assert_allclose(value, [SHIFTED, 0], rtol=1e-6)
    slopes = jax.grad(lambda loc: kl_divergence(normal(loc).mask(mask), normal()).sum())(jnp.array([2.0, 3.0]))
    np.testing.assert_allclose(slopes, [2.0, 0.0])


def test_a_mask_does_not_make_a_form():
    with pytest.raises(NoClosedForm, match=r"KL\(Gumbel \|\| Logistic\)"):
        kl_divergence(dist.Gumbel(0.0, 1.0).mask(jnp.array([True, False])), dist.Logistic(0.0, 1.0))


def pushed(transform, locs=(1.0, -1.0), wrap=normal):
    return [dist.TransformedDistribution(wrap(loc), transform) for loc in locs]


def vector(loc):
    return normal(loc * jnp.ones(2)).to_event(1)


AFTER_FOLDING = [transforms.AbsTransform(), transforms.AffineTransform(1.0, 2.0)]
NOT_SHARED = {
    "folded": lambda: [dist.FoldedDistribution(normal(loc)) for loc in (1.0, -1.0)],
    "folded, by hand": lambda: pushed(transforms.AbsTransform()),
    "folded inside a composition": lambda: pushed(transforms.ComposeTransform(AFTER_FOLDING)),
    "projected onto a ball": lambda: pushed(transforms.L1BallTransform(), wrap=vector),
    "other parameters": lambda: [pushed(transforms.AffineTransform(x, 2.0))[0] for x in (0.0, 1.0)],
    "another transform": lambda: [pushed(t)[0] for t in (transforms.ExpTransform(), transforms.SoftplusTransform())],
    "temperatures that differ": lambda: [dist.RelaxedBernoulliLogits(t, 1.0) for t in (0.5, 0.75)],
}


@pytest.mark.parametrize("case", NOT_SHARED)
def test_transforms_that_are_not_injective_or_not_the_same_have_no_form(case):
    """|N(1, 1)| and |N(-1, 1)| are one law; the divergence of what was folded would be 2."""
    with pytest.raises(NoClosedForm):
        kl_divergence(*NOT_SHARED[case]())


SHARED = {
    "positive powers": (lambda: pushed(transforms.PowerTransform(2.0), wrap=lambda x: dist.Gamma(2 + x, 1.0)), None),
    "an event shape of its own": (lambda: pushed(transforms.StickBreakingTransform(), wrap=vector), 4.0),
    "numbers that the transform takes as vectors": (
        lambda: pushed(transforms.StickBreakingTransform(), wrap=lambda x: normal(x * jnp.ones(2))),
        4.0,
    ),
    "ordered, in batches": (
        lambda: pushed(transforms.OrderedTransform(), wrap=lambda x: normal(x * jnp.ones((3, 2)))),
        [4.0] * 3,
    ),
    "batches of the transform": (lambda: pushed(transforms.AffineTransform(jnp.zeros(3), 2.0)), [2.0] * 3),
    "a named class and its making": (
        lambda: (dist.LogNormal(1.0, 1.0), pushed(transforms.ExpTransform())[1]),
        2.0,
    ),
}


@pytest.mark.parametrize("case", SHARED)
def test_an_injective_transform_of_both_changes_nothing(case):
    make, expected = SHARED[case]
    if expected is None:
        expected = kl_divergence(dist.Gamma(3.0, 1.0), dist.Gamma(1.0, 1.0))
    value = kl_divergence(*make())
    assert value.shape == np.shape(expected)
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_parameters_of_a_transform_that_are_being_traced():
    """One traced object is the same as itself; of two, nobody knows."""

    def divergence(a, b):
        return kl_divergence(*(pushed(transforms.AffineTransform(x, 2.0), (m,))[0] for x, m in ((a, 1.0), (b, -1.0))))

    assert jax.jit(lambda a: divergence(a, a))(1.0) == 2
    with pytest.raises(NoClosedForm):
        jax.jit(divergence)(1.0, 1.0)


MINUS_LOG_PMF = {
    "binomial": (lambda: dist.Binomial(5, np.float64(0.3)), [0, 2, 5, 6, -1], stats.binom(5, 0.3)),
    "Bernoulli": (lambda: dist.Bernoulli(np.float64(0.3)), [0, 1, 2], stats.bernoulli(0.3)),
    "Poisson": (lambda: dist.Poisson(np.float64(2.3)), [0, 3, 40, -1, 0.5], stats.poisson(2.3)),
    "geometric": (lambda: dist.GeometricProbs(np.float64(0.3)), [0, 4, -2], stats.geom(0.3, loc=-1)),
    "categorical": (
        lambda: dist.Categorical(np.array([0.2, 0.3, 0.5])),
        [0, 2, 3],
        stats.rv_discrete(values=([0, 1, 2], [0.2, 0.3, 0.5])),
    ),
}


@pytest.mark.parametrize("name", MINUS_LOG_PMF)
def test_a_point_mass_against_a_pmf(name):
    """Infinite outside the support."""
    make, points, law = MINUS_LOG_PMF[name]
    with np.errstate(divide="ignore"):
        expected = [-law.logpmf(x) for x in points]
    with jax.enable_x64(True):
        values = kl_divergence(dist.Delta(np.array(points)), make())
        assert values.shape == np.shape(points)
        np.testing.assert_allclose(values, expected, rtol=1e-12)
    np.testing.assert_allclose(kl_divergence(dist.Delta(np.array(points)), make()), expected, rtol=2e-7)


@pytest.mark.divergences
def test_a_point_mass_against_counts_of_several_kinds():
    probs = np.array([0.2, 0.3, 0.5])
    value = kl_divergence(dist.Delta(np.array([2, 0, 1]), event_dim=1), dist.Multinomial(3, probs))
    assert value == pytest.approx(-stats.multinomial(3, probs).logpmf([2, 0, 1]), rel=1e-6)
    traced = jax.jit(lambda v: kl_divergence(dist.Delta(v), dist.Poisson(2.5)))(3.0)
    assert traced == pytest.approx(-stats.poisson(2.5).logpmf(3), rel=1e-6)


BETWEEN_KINDS = {
    "point, density": lambda: (dist.Delta(jnp.zeros(3)), normal(jnp.zeros((2, 1)))),
    "density, point": lambda: (normal(jnp.zeros((2, 1))), dist.Delta(jnp.zeros(3))),
    "pmf, point": lambda: (dist.Poisson(2.0 * jnp.ones((2, 1))), dist.Delta(jnp.array([0, 1, 2]))),
}


@pytest.mark.parametrize("case", BETWEEN_KINDS)
def test_a_point_mass_is_infinitely_far_from_what_is_spread_out(case):
    value = kl_divergence(*BETWEEN_KINDS[case]())
    assert value.shape == (2, 3)
    assert np.all(value == np.inf)


def test_point_masses_keep_their_digits_and_their_events():
    assert kl_divergence(dist.Delta(0.1), dist.Delta(0.1)) == 0
    assert kl_divergence(dist.Delta(0.1), dist.Delta(0.1 + 1e-12)) == np.inf
    rows = jnp.array([[0.0, 1.0], [0.0, 2.0]])
    value = kl_divergence(dist.Delta(rows, event_dim=1), dist.Delta(rows[0], event_dim=1))
    np.testing.assert_array_equal(value, [0.0, np.inf])
    assert entropy(dist.Delta(rows, event_dim=1)).shape == (2,)
