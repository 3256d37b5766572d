"""What is no distribution is refused by name: densities of another mass than 1, samplers that contradict them."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints, transforms

from vi_kl.divergences import estimate_f_divergence, estimate_kl, kl_divergence
from vi_kl.divergences.density import log_density
from vi_kl.divergences.estimators.normalisation import NotNormalised, check_normalised

NORMAL = dist.Normal(0.0, 1.0)


class Scaled(dist.Distribution):
    """A distribution whose density is multiplied by a factor, or whose draws are shifted."""

    pytree_data_fields = ("inner", "factor", "shift")

    def __init__(self, inner, factor=1.0, shift=0.0):
        self.inner, self.factor, self.shift = inner, factor, shift
        super().__init__(inner.batch_shape, inner.event_shape)

    @property
    def support(self):
        return self.inner.support

    def sample(self, key, sample_shape=()):
        return self.inner.sample(key, sample_shape) + jnp.asarray(self.shift).astype(self.inner.sample(key).dtype)

    def log_prob(self, value):
        return self.inner.log_prob(value) + jnp.log(self.factor)


def vector(factor):
    return Scaled(dist.MultivariateNormal(np.zeros(5), np.eye(5)), factor)


# a distribution that is none, a right one over the same space, and the methods that meet it
WRONG = {
    "twice a density": (lambda: Scaled(NORMAL, 2.0), lambda: NORMAL, ("auto", "quadrature", "monte_carlo")),
    "half of a density": (lambda: Scaled(NORMAL, 0.5), lambda: NORMAL, ("auto", "quadrature", "importance_sampling")),
    "draws from elsewhere": (lambda: Scaled(NORMAL, 1.0, 3.0), lambda: NORMAL, ("monte_carlo",)),
    "squares of a normal": (
        lambda: dist.TransformedDistribution(NORMAL, transforms.PowerTransform(2.0)),
        lambda: dist.Gamma(2.0, 1.0),
        ("auto", "monte_carlo"),
    ),
    "a censored one": (
        lambda: dist.LeftCensoredDistribution(NORMAL, True),
        lambda: dist.Logistic(0.0, 1.0),
        ("auto", "monte_carlo"),
    ),
    "a masked one": (lambda: NORMAL.mask(np.array(False)), lambda: dist.Logistic(0.0, 1.0), ("monte_carlo",)),
    "a vector": (lambda: vector(1.5), lambda: dist.MultivariateNormal(np.zeros(5), 2 * np.eye(5)), ("auto",)),
    "counts": (lambda: Scaled(dist.Poisson(3.0), 0.7), lambda: dist.Poisson(4.0), ("auto", "monte_carlo")),
}
IN_THE_DEFAULT_RUN = {"twice a density", "draws from elsewhere", "a vector", "counts"}


@pytest.mark.divergences
@pytest.mark.parametrize(
    "case", [c if c in IN_THE_DEFAULT_RUN else pytest.param(c, marks=pytest.mark.exhaustive) for c in WRONG]
)
def test_what_is_no_distribution_is_named(case, key):
    wrong, right, methods = WRONG[case]
    for method in methods:
        settings = {"key": key, "method": method, "num_draws": 5000}
        with pytest.raises(ValueError, match=r"q, \w+.* (adds up to|fall where|mass of q)"):
            estimate_kl(right(), wrong(), **settings)
        if method != "importance_sampling":  # which holds p to its mean weight
            with pytest.raises(ValueError, match=r"p, \w+.* (adds up to|fall where)"):
                estimate_kl(wrong(), right(), **settings)
    if "vector" not in case:
        with pytest.raises(NotNormalised):
            estimate_f_divergence(wrong(), right(), "jensen_shannon", key=key, method="monte_carlo", num_draws=5000)


RIGHT = {
    "a normal": lambda: Scaled(NORMAL),
    "heavy tails": lambda: Scaled(dist.Cauchy(3.0, 2.0)),
    "skewed": lambda: Scaled(dist.Gamma(0.3, 2.0)),
    "two far modes": lambda: Scaled(
        dist.MixtureSameFamily(dist.Categorical(probs=np.array([0.3, 0.7])), dist.Normal(np.array([-50.0, 5.0]), 1.0))
    ),
    "twenty dimensions": lambda: Scaled(dist.Laplace(np.zeros(20), 1.0).to_event(1)),
    "a simplex": lambda: Scaled(dist.Dirichlet(np.array([0.5, 2.0, 7.0]))),
    "counts": lambda: Scaled(dist.NegativeBinomial2(20.0, 0.7)),
    "pairs of counts": lambda: Scaled(dist.Poisson(np.array([2.0, 3.0])).to_event(1)),
}


@pytest.mark.parametrize("case", RIGHT)
def test_a_distribution_passes(case):
    with jax.enable_x64(True):
        check_normalised(p=RIGHT[case]())


@pytest.mark.divergences
def test_draws_that_rounding_puts_on_the_edge(key):
    """1 + x is 1 for one in ten thousand draws x of Gamma(1/4, 1): no infinity, and no number either."""
    p = dist.TransformedDistribution(dist.Gamma(0.25, 1.0), transforms.AffineTransform(1.0, 1.0))
    with pytest.raises(ValueError, match="of the draws of p, TransformedDistribution, lie at the edge"):
        estimate_kl(p, dist.Pareto(1.0, 1.0), key=key, method="monte_carlo")


def test_improper_ones_are_refused_by_every_way_in(key):
    flat = dist.ImproperUniform(constraints.real, (), ())
    for method in ("auto", "closed_form", "quadrature", "monte_carlo", "quasi_monte_carlo", "importance_sampling"):
        with pytest.raises(ValueError, match="q, ImproperUniform, is no probability distribution"):
            estimate_kl(NORMAL, flat, key=key, method=method)
    with pytest.raises(ValueError, match="q, ImproperUniform"):
        kl_divergence(NORMAL, flat)
    with pytest.raises(ValueError, match="p, ImproperUniform"):
        kl_divergence(flat, NORMAL)
    with pytest.raises(ValueError, match="q, ImproperUniform"):
        kl_divergence(dist.Delta(0.0), flat)
    with pytest.raises(ValueError, match="ImproperUniform"):
        estimate_f_divergence(NORMAL, flat, "hellinger", key=key)


# densities that are put together from those of their parts, and points with the densities worked out by hand
DENSITIES = {
    "separate uniforms": (
        lambda: dist.MixtureGeneral(
            dist.Categorical(probs=np.array([0.3, 0.7])), [dist.Uniform(0.0, 1.0), dist.Uniform(2.0, 3.0)]
        ),
        [-0.5, 0.5, 1.5, 2.5, 3.5],
        [0, 0.3, 0, 0.7, 0],
    ),
    "a folded uniform": (
        lambda: dist.FoldedDistribution(dist.Uniform(-1.0, 2.0)),
        [-0.5, 0.5, 1.5, 2.5],
        [0, 2 / 3, 1 / 3, 0],
    ),
    "absolute values": (
        lambda: dist.TransformedDistribution(dist.Uniform(-1.0, 2.0), transforms.AbsTransform()),
        [-0.5, 0.5, 1.5, 2.5],
        [0, 2 / 3, 1 / 3, 0],
    ),
    "twice absolute values": (
        lambda: dist.TransformedDistribution(
            dist.Uniform(-1.0, 2.0), [transforms.AbsTransform(), transforms.AffineTransform(0.0, 2.0)]
        ),
        [-0.5, 1.0, 3.0, 5.0],
        [0, 1 / 3, 1 / 6, 0],
    ),
    "a scaled uniform": (
        lambda: dist.TransformedDistribution(dist.Uniform(0.0, 1.0), transforms.AffineTransform(1.0, -2.0)),
        [-1.5, -0.5, 0.5, 1.5],
        [0, 0.5, 0.5, 0],
    ),
    "scaled counts": (
        lambda: dist.TransformedDistribution(dist.Bernoulli(0.3), transforms.AffineTransform(1.0, 2.0)),
        [0.0, 1.0, 2.0, 3.0],
        [0, 0.7, 0, 0.3],
    ),
    "a component without weight": (
        lambda: dist.MixtureGeneral(
            dist.Categorical(probs=np.array([1.0, 0.0])), [dist.Uniform(0.0, 1.0), dist.Uniform(0.0, 3.0)]
        ),
        [0.5, 1.5],
        [1, 0],
    ),
}


@pytest.mark.parametrize("case", DENSITIES)
def test_densities_are_put_together_from_their_parts(case):
    make, points, expected = DENSITIES[case]
    values = jax.jit(lambda x: jnp.exp(log_density(make(), x)))(jnp.array(points))
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.divergences
def test_densities_over_vectors_and_batches():
    """The same as NumPyro's inside, of the same shape; -inf outside."""
    ordered = dist.TransformedDistribution(dist.Normal(np.zeros(3), 1.0).to_event(1), transforms.OrderedTransform())
    both = jax.jit(lambda d, x: (log_density(d, x), d.log_prob(x)))
    x = np.array([[-1.0, 0.5, 0.7], [2.0, 3.0, 9.0]])
    np.testing.assert_allclose(*both(ordered, x), rtol=1e-6)
    assert np.all(np.isneginf(both(ordered, x[:, ::-1])[0]))
    batch = dist.TransformedDistribution(dist.Beta(2.0, np.ones((2, 3))), transforms.AffineTransform(-1.0, 2.0))
    x = np.linspace(-0.9, 0.9, 24).reshape(4, 2, 3)
    for event_dims in range(3):
        joint = batch.to_event(event_dims) if event_dims else batch
        ours, numpyros = both(joint, x)
        assert ours.shape == (4, *joint.batch_shape)
        np.testing.assert_allclose(ours, numpyros, rtol=1e-5)
        assert np.all(np.isneginf(both(joint, x + 2)[0]))
