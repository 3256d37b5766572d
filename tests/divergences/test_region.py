"""Where distributions have their probability: images of supports through transforms, against draws and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints, transforms

from vi_kl.divergences import (
    NoClosedForm,
    estimate_f_divergence,
    estimate_kl,
    kl_divergence,
    mixture_kl_bounds,
    project,
)
from vi_kl.divergences.region import is_discrete, region_of
from vi_kl.divergences.support import reaches_beyond

INF = np.inf


def transformed(base, *steps):
    return dist.TransformedDistribution(base, list(steps))


def affine(loc, scale, **domain):
    return transforms.AffineTransform(loc, scale, **domain)


def composed(*parts):
    return transforms.ComposeTransform(list(parts))


def tanh():
    return composed(affine(0.0, 2.0), transforms.SigmoidTransform(), affine(-1.0, 2.0))


def mixture(weights, *components, **support):
    return dist.MixtureGeneral(dist.Categorical(probs=np.array(weights)), list(components), **support)


def same_family(components):
    count = components.batch_shape[-1]
    return dist.MixtureSameFamily(dist.Categorical(probs=np.full(count, 1 / count)), components)


class Twice(transforms.Transform):
    """Of a user, who says nothing of its codomain."""

    domain = constraints.real

    def __call__(self, x):
        return 2 * x

    def _inverse(self, y):
        return y / 2

    def log_abs_det_jacobian(self, x, y, intermediates=None):
        return jnp.full(jnp.shape(x), jnp.log(2.0))

    def tree_flatten(self):
        return (), ((), {})


# distribution -> its lowest and highest value, worked out by hand, and whether it is known to reach them
ON_THE_LINE = {
    "scaled beta": (lambda: transformed(dist.Beta(2.0, 3.0), affine(-1.0, 2.0)), -1, 1, True),
    "mirrored gamma": (lambda: transformed(dist.Gamma(2.0, 3.0), affine(1.0, -2.0)), -INF, 1, True),
    "shifted, then exp": (
        lambda: transformed(dist.Exponential(1.0), affine(1.0, 1.0), transforms.ExpTransform()),
        np.e,
        INF,
        True,
    ),
    "tanh of a normal": (lambda: transformed(dist.Normal(0.0, 1.0), tanh()), -1, 1, True),
    "tanh of a uniform": (lambda: transformed(dist.Uniform(-1.0, 2.0), tanh()), np.tanh(-1), np.tanh(2), True),
    "inverse powers": (lambda: transformed(dist.Uniform(1.0, 2.0), transforms.PowerTransform(-2.0)), 0.25, 1, True),
    "squares of a gamma": (lambda: transformed(dist.Gamma(2.0, 1.0), transforms.PowerTransform(2.0)), 0, INF, True),
    "log of a beta": (lambda: transformed(dist.Beta(2.0, 1.0), transforms.ExpTransform().inv), -INF, 0, True),
    "logit of a uniform": (
        lambda: transformed(dist.Uniform(0.25, 0.5), transforms.SigmoidTransform().inv),
        -np.log(3),
        0,
        True,
    ),
    "softplus of a half-normal": (
        lambda: transformed(dist.HalfNormal(1.0), transforms.SoftplusTransform()),
        np.log(2),
        INF,
        True,
    ),
    "inverse of softplus": (
        lambda: transformed(dist.Uniform(np.log(2), 5.0), transforms.SoftplusTransform().inv),
        0,
        np.log(np.expm1(5)),
        True,
    ),
    "inverse of several": (
        lambda: transformed(dist.Uniform(-0.5, 0.5), tanh().inv),
        -np.arctanh(0.5),
        np.arctanh(0.5),
        True,
    ),
    "absolute values": (lambda: transformed(dist.Uniform(-1.0, 2.0), transforms.AbsTransform()), 0, 2, True),
    "folded away from 0": (lambda: dist.FoldedDistribution(dist.Uniform(-3.0, -1.0)), 1, 3, True),
    "onto an interval": (
        lambda: transformed(dist.Normal(0.0, 1.0), transforms.biject_to(constraints.interval(2.0, 3.0))),
        2,
        3,
        True,
    ),
    "nested": (
        lambda: transformed(transformed(dist.Beta(1.0, 1.0), affine(0.0, 3.0)), affine(-1.0, 2.0)),
        -1,
        5,
        True,
    ),
    "truncated, then scaled": (
        lambda: transformed(dist.TruncatedNormal(0.0, 1.0, low=-1.0, high=2.0), affine(0.0, -1.0)),
        -2,
        1,
        True,
    ),
    "separate uniforms": (lambda: mixture([0.3, 0.7], dist.Uniform(0.0, 1.0), dist.Uniform(2.0, 3.0)), 0, 3, True),
    "a component without weight": (
        lambda: mixture([1.0, 0.0], dist.Uniform(0.0, 1.0), dist.Uniform(2.0, 3.0)),
        0,
        1,
        True,
    ),
    "components of different kinds": (
        lambda: mixture([0.5, 0.5], dist.Beta(1.0, 2.0), dist.HalfNormal(1.0), support=constraints.real),
        0,
        INF,
        True,
    ),
    "a family of scaled betas": (
        lambda: same_family(transformed(dist.Beta(2.0, np.ones(2)), affine(np.array([0.0, 2.0]), 1.0))),
        0,
        3,
        True,
    ),
    "an expanded one": (lambda: transformed(dist.Beta(2.0, 3.0), affine(-1.0, 2.0)).expand((2,)), -1, 1, True),
    "a transform of a user": (lambda: transformed(dist.Uniform(0.0, 1.0), Twice()), -INF, INF, False),
    "powers of what may be negative": (
        lambda: transformed(dist.Normal(0.0, 1.0), transforms.PowerTransform(3.0)),
        0,
        INF,
        False,
    ),
    "shifted counts": (lambda: transformed(dist.Poisson(3.0), affine(1.0, 1.0)), 1, INF, True),
    "Levy": (lambda: dist.Levy(0.5, 1.0), 0.5, INF, True),
}


@pytest.mark.parametrize("case", ON_THE_LINE)
def test_the_ends_of_an_image(case):
    make, low, high, exact = ON_THE_LINE[case]
    region = region_of(make())
    np.testing.assert_allclose([region.hull.low, region.hull.high], [low, high], rtol=1e-6, atol=1e-6)
    assert region.exact == exact
    traced = jax.jit(lambda d: [jnp.asarray(x, float) for x in (region_of(d).hull.low, region_of(d).hull.high)])(make())
    if "component without weight" not in case:  # while weights are traced, none is known to be 0
        np.testing.assert_allclose(traced, [low, high], rtol=1e-5, atol=1e-5)


# dimensions of sets, and their names
SETS = {
    "ordered": (lambda: transformed(dist.Normal(np.zeros(3), 1.0).to_event(1), transforms.OrderedTransform()), 3),
    "stick-breaking": (
        lambda: transformed(dist.Normal(np.zeros(2), 1.0).to_event(1), transforms.StickBreakingTransform()),
        2,
    ),
    "simplex": (lambda: dist.Dirichlet(np.ones(3)), 2),
    "a moved simplex": (lambda: transformed(dist.Dirichlet(np.ones(3)), affine(0.0, 2.0)), 2),
    "correlations": (lambda: dist.LKJ(3, 1.0), 3),
    "covariances": (lambda: dist.Wishart(4.0, np.eye(3)), 6),
    "matrices": (lambda: dist.MatrixNormal(np.zeros((3, 3)), np.eye(3), np.eye(3)), 9),
    "summing to 0": (lambda: dist.ZeroSumNormal(1.0, (3,)), 2),
    "vectors": (lambda: transformed(dist.MultivariateNormal(np.zeros(3), np.eye(3)), affine(1.0, -2.0)), 3),
    "counts": (lambda: dist.Multinomial(5, np.ones(3) / 3), 0),
}


@pytest.mark.parametrize("case", SETS)
def test_the_dimension_of_a_set(case):
    make, dimension = SETS[case]
    assert region_of(make()).dimension == dimension


@pytest.mark.divergences
def test_a_smaller_set_in_a_larger_one_is_infinitely_far():
    """In either direction; sets of one dimension may be the same."""
    simplex, moved = dist.Dirichlet(np.ones(3)), SETS["a moved simplex"][0]()
    normal = dist.MultivariateNormal(np.zeros(3), np.eye(3))
    for thin in (simplex, moved):
        assert kl_divergence(thin, normal) == INF
        assert kl_divergence(normal, thin) == INF
    assert kl_divergence(SETS["covariances"][0](), SETS["matrices"][0]()) == INF
    assert kl_divergence(SETS["correlations"][0](), SETS["covariances"][0]()) == INF
    assert reaches_beyond(simplex, moved) is None
    half = transformed(dist.Dirichlet(np.ones(3)), affine(0.0, 0.5))
    assert kl_divergence(transformed(dist.Dirichlet(np.full(3, 2.0)), affine(0.0, 0.5)), half) > 0  # by their bases


SHIFT = 1.0
# p, q, and KL(p||q): by substitution, the first four are of the untransformed pairs
KNOWN = {
    "a scaled beta": (
        lambda: (transformed(dist.Beta(2.0, 3.0), affine(-1.0, 2.0)), dist.Uniform(-1.0, 1.0)),
        lambda: estimate_kl(dist.Beta(2.0, 3.0), dist.Beta(1.0, 1.0)).value,
    ),
    "a scaled gamma": (
        lambda: (transformed(dist.Gamma(2.0, 3.0), affine(0.0, 2.0)), dist.Gamma(2.0, 1.5)),
        lambda: 0.0,
    ),
    "a shifted exponential": (
        lambda: (transformed(dist.Exponential(1.0), affine(1.0, 1.0)), dist.Pareto(1.0, 1.0)),
        lambda: 2 * 0.596347362323194 - 1,  # -1 + 2 E log x, and E log x = e E1(1)
    ),
    "a squashed normal": (
        lambda: (
            transformed(dist.Normal(0.0, 2.0), transforms.SigmoidTransform(), affine(-1.0, 2.0)),
            dist.Uniform(-1.0, 1.0),
        ),
        lambda: estimate_kl(dist.Normal(0.0, 2.0), dist.Logistic(0.0, 1.0)).value,
    ),
    "a shifted half-normal": (
        lambda: (transformed(dist.HalfNormal(1.0), affine(SHIFT, 1.0)), dist.HalfNormal(2.0)),
        lambda: np.log(2) + (1 + 2 * np.sqrt(2 / np.pi) + 1) / 8 - 0.5,  # E x^2 of 1 + |z|
    ),
    "separate uniforms": (
        lambda: (mixture([0.3, 0.7], dist.Uniform(0.0, 1.0), dist.Uniform(2.0, 3.0)), dist.Uniform(0.0, 3.0)),
        lambda: np.log(3) + 0.3 * np.log(0.3) + 0.7 * np.log(0.7),
    ),
    "half of a uniform": (
        lambda: (transformed(dist.Uniform(0.0, 1.0), affine(0.0, 0.5)), dist.Uniform(0.0, 1.0)),
        lambda: np.log(2),
    ),
    "a folded uniform": (
        lambda: (dist.FoldedDistribution(dist.Uniform(-1.0, 2.0)), dist.Uniform(0.0, 2.0)),
        lambda: 2 / 3 * np.log(4 / 3) + 1 / 3 * np.log(2 / 3),  # density 2/3 up to 1, 1/3 from there
    ),
    "a mirrored gamma, both": (
        lambda: (
            transformed(dist.Gamma(2.0, 3.0), affine(0.0, -1.0)),
            transformed(dist.Weibull(1.0, 1.5), affine(0.0, -1.0)),
        ),
        lambda: estimate_kl(dist.Gamma(2.0, 3.0), dist.Weibull(1.0, 1.5)).value,
    ),
    "a mixture in the place of q": (
        lambda: (dist.Uniform(0.0, 1.0), mixture([0.5, 0.5], dist.Uniform(0.0, 1.0), dist.Uniform(0.0, 3.0))),
        lambda: np.log(1.5),
    ),
}
METHODS = ("auto", "monte_carlo", "importance_sampling")
IN_THE_DEFAULT_RUN = {"a scaled beta", "a shifted half-normal", "separate uniforms"}


@pytest.mark.divergences
@pytest.mark.parametrize(
    "case", [c if c in IN_THE_DEFAULT_RUN else pytest.param(c, marks=pytest.mark.exhaustive) for c in KNOWN]
)
def test_known_divergences_of_transformed_and_mixed_distributions(case, key):
    pair, truth = (make() for make in KNOWN[case])
    for method in METHODS:
        estimate = estimate_kl(*pair, key=key, method=method, num_draws=20_000)
        assert abs(estimate.value - truth) <= 5 * estimate.standard_error + 1e-9, (method, estimate, truth)
        assert estimate.standard_error < 0.05


def test_no_infinity_is_claimed_for_them_in_closed_form():
    for make, truth in KNOWN.values():
        try:
            value = float(kl_divergence(*make()))
        except NoClosedForm:
            continue
        assert value == pytest.approx(truth(), rel=1e-5, abs=1e-6)


def test_proven_infinities_through_transforms():
    """Of the same distributions, the other way round, and beyond."""
    for name in ("half of a uniform", "a shifted half-normal"):
        p, q = KNOWN[name][0]()
        assert kl_divergence(q, p) == INF
        assert estimate_kl(q, p).value == INF
    beta = KNOWN["a scaled beta"][0]()[0]
    assert kl_divergence(beta, dist.Uniform(-0.5, 1.0)) == INF
    assert kl_divergence(dist.Normal(0.0, 1.0), beta) == INF
    assert jax.jit(kl_divergence)(dist.Normal(0.0, 1.0), beta) == INF
    assert kl_divergence(KNOWN["separate uniforms"][0]()[0], dist.Uniform(0.0, 2.0)) == INF


def test_ends_that_rounding_moved_prove_nothing():
    """0.1 + 0.2 exceeds 0.3 in float64 by one part in 1e16."""
    p = transformed(dist.Uniform(0.0, 1.0), affine(0.1, 0.2))
    with pytest.raises(NoClosedForm):
        kl_divergence(p, dist.Uniform(0.1, 0.3))
    assert estimate_kl(p, dist.Uniform(0.1, 0.3)).value == pytest.approx(0.0, abs=1e-9)


def test_the_other_divergences_follow(key):
    """Jensen-Shannon and total variation of a uniform and its lower half; Hellinger of scaled betas."""
    half, whole = KNOWN["half of a uniform"][0]()
    m, js = 0.75, lambda m: 0.5 * np.log(2 / (2 * m)) + 0.25 * np.log(1 / (2 * m)) + 0.25 * np.log(2)
    assert estimate_f_divergence(half, whole, "jensen_shannon").value == pytest.approx(js(m), abs=1e-9)
    assert estimate_f_divergence(half, whole, "total_variation").value == pytest.approx(0.5, abs=1e-9)
    drawn = estimate_f_divergence(half, whole, "jensen_shannon", method="monte_carlo", key=key, num_draws=20_000)
    assert abs(drawn.value - js(m)) < 5 * drawn.standard_error


@pytest.mark.divergences
def test_bounds_and_projections_follow():
    parts = [transformed(dist.Uniform(0.0, 1.0), affine(0.0, 0.5)), dist.Uniform(0.0, 1.0)]
    with pytest.raises(NoClosedForm):  # not an infinite bound
        mixture_kl_bounds(mixture([0.5, 0.5], *parts, support=constraints.real), dist.Uniform(0.0, 1.0))
    doubled = transformed(dist.Gamma(4.0, 2.0), affine(0.0, 2.0))
    found = project(doubled, dist.Gamma)
    assert found.params["concentration"] == pytest.approx(4.0, rel=1e-6)
    assert found.params["rate"] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.divergences
def test_counts_without_probability_beyond_prove_nothing():
    """A rate of 0 leaves all of it at 0, whatever the support."""
    q = dist.BetaBinomial(1.0, 1.0, 3)
    value = estimate_kl(dist.Poisson(0.0), q, key=jax.random.key(0), num_draws=100)
    assert value.value == pytest.approx(np.log(4), rel=1e-5)
    assert np.isnan(jax.jit(kl_divergence)(dist.Poisson(0.0), q))  # while it is traced nothing can be raised
    assert jax.jit(kl_divergence)(dist.Poisson(1e-30), q) == INF
    with pytest.raises(NoClosedForm):
        kl_divergence(dist.GeometricProbs(1.0), q)


@pytest.mark.divergences
def test_transformed_counts_are_a_pmf(key):
    """Without a Jacobian; against counts, not against densities."""
    p, q = (transformed(dist.Poisson(rate), affine(1.0, 2.0)) for rate in (3.0, 4.0))
    assert is_discrete(p)
    truth = float(kl_divergence(dist.Poisson(3.0), dist.Poisson(4.0)))
    assert kl_divergence(p, q) == pytest.approx(truth, rel=1e-6)
    drawn = estimate_kl(p, q, key=key, method="monte_carlo", num_draws=20_000)
    assert abs(drawn.value - truth) < 5 * drawn.standard_error
    with pytest.raises(ValueError, match="p is discrete and q is continuous"):
        kl_divergence(p, dist.Normal(0.0, 1.0))
    shifted = transformed(dist.Poisson(3.0), affine(1.0, 1.0))
    assert kl_divergence(dist.Poisson(3.0), shifted) == INF
