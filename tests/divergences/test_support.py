"""Infinite because p reaches where q has no probability: told from the supports, where no form knows better."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import transforms

from vi_kl.divergences import NoClosedForm, estimate_kl, kl_divergence
from vi_kl.divergences.registry import CLOSED_FORMS


def vector(base=dist.Normal):
    return base(jnp.ones((2, 1, 3)), 1.0).to_event(1)


def ordered():
    return dist.TransformedDistribution(dist.Normal(jnp.zeros(3), 1.0).to_event(1), transforms.OrderedTransform())


def simplex():
    return dist.Dirichlet(jnp.ones(3))


def between(low, high):
    return dist.TruncatedNormal(0.0, 1.0, low=low, high=high)


def above(low):
    return dist.LeftTruncatedDistribution(dist.Cauchy(0.0, 1.0), low)


BEYOND = {
    "line, half-line": lambda: (dist.Logistic(0.0, jnp.ones(3)), dist.HalfCauchy(1.0)),
    "line, interval": lambda: (dist.StudentT(3.0, 0.0, 1.0), dist.Kumaraswamy(1.0, jnp.ones((4, 1)))),
    "line, tail": lambda: (dist.Gumbel(0.0, 1.0), above(jnp.zeros(3))),
    "half-line, interval": lambda: (dist.HalfNormal(1.0), between(0.0, jnp.ones(3))),
    "half-line, further tail": lambda: (dist.HalfCauchy(1.0), above(0.5)),
    "interval, part of it": lambda: (dist.Uniform(0.0, jnp.array([2.0, 3.0])), between(0.5, 1.5)),
    "interval, beyond above": lambda: (dist.Uniform(0.0, 2.0), between(-1.0, 1.5)),
    "counts, fewer": lambda: (dist.Poisson(jnp.ones(3)), dist.BetaBinomial(1.0, 2.0, 7)),
    "counts, 0 or 1": lambda: (dist.GeometricProbs(0.5), dist.BernoulliProbs(0.5)),
    "vectors, simplex": lambda: (vector(), simplex()),
    "simplex, vectors": lambda: (simplex(), vector()),
    "vectors, ordered": lambda: (vector(), ordered()),
    "ordered, simplex": lambda: (ordered(), simplex()),
    "simplex, ordered": lambda: (simplex(), ordered()),
    "vectors, positive ones": lambda: (
        dist.MultivariateNormal(jnp.zeros(3), scale_tril=jnp.eye(3)),
        vector(dist.Gamma),
    ),
    "numbers of vectors": lambda: (vector(), vector(dist.Gamma)),
}


@pytest.mark.parametrize("case", BEYOND)
def test_beyond_the_support(case):
    p, q = BEYOND[case]()
    shape = np.broadcast_shapes(p.batch_shape, q.batch_shape)
    for value in (kl_divergence(p, q), jax.jit(kl_divergence)(p, q)):
        assert value.shape == shape
        assert value.dtype == np.float32
        assert np.all(value == np.inf)
    wider = kl_divergence(p.expand((5, *shape)), q)
    assert wider.shape == (5, *shape)
    assert np.all(wider == np.inf)
    with jax.enable_x64(True):
        assert kl_divergence(*BEYOND[case]()).dtype == np.float64


@pytest.mark.divergences
def test_the_pairs_of_this_table_have_no_form_of_their_own():
    """Otherwise the table would test those."""
    pairs = [tuple(type(d) for d in make()) for make in BEYOND.values()]
    scalar = [pair for pair in pairs if dist.Independent not in pair]
    assert not CLOSED_FORMS.keys() & set(scalar)


def test_an_atom_has_no_density():
    """A hurdle at 0 before a gamma, against densities; the density itself is only thinner under the hurdle."""
    hurdle, gamma = dist.HurdleGamma(0.3, 2.0, 1.0), dist.Gamma(2.0, 1.0)
    assert kl_divergence(hurdle, dist.HalfCauchy(1.0)) == np.inf
    assert kl_divergence(hurdle, dist.Normal(0.0, 1.0)) == np.inf
    assert estimate_kl(gamma, hurdle).value == pytest.approx(-np.log(0.7), rel=1e-6)


def test_under_vmap_the_mapped_axis_is_not_counted_twice():
    ones = jnp.ones(3)
    p = dist.Normal(jnp.zeros(3), ones)
    assert jax.vmap(kl_divergence)(p, dist.Gamma(ones, ones)).shape == (3,)
    assert jax.vmap(lambda p: kl_divergence(p, dist.Beta(2.0, jnp.ones(4))))(p).shape == (3, 4)
    assert jax.vmap(lambda p: kl_divergence(dist.Delta(0.5), p))(p).shape == (3,)


LOWS = np.array([0.0, -1.0])


def test_a_batch_that_is_partly_beyond_has_no_form():
    with pytest.raises(NoClosedForm):
        kl_divergence(dist.Uniform(LOWS, 1.0), between(0.0, 2.0))
    traced = jax.jit(lambda low: kl_divergence(dist.Uniform(low, 1.0), between(0.0, 2.0)))(LOWS)
    np.testing.assert_array_equal(traced, [np.nan, np.inf])


INSIDE = {
    "half-line, line": lambda: (dist.HalfCauchy(1.0), dist.Logistic(0.0, 1.0)),
    "interval, half-line": lambda: (dist.Beta(2.0, 3.0), dist.HalfCauchy(1.0)),
    "the same": lambda: (dist.Gamma(2.0, 3.0), dist.HalfCauchy(1.0)),
    "ordered, vectors": lambda: (ordered(), vector()),
}


@pytest.mark.parametrize("case", INSIDE)
def test_within_the_support_nothing_is_known(case):
    with pytest.raises(NoClosedForm):
        kl_divergence(*INSIDE[case]())


def test_a_pmf_and_a_density_cannot_be_compared():
    with pytest.raises(ValueError, match="p is discrete and q is continuous"):
        kl_divergence(dist.Poisson(1.0), dist.Normal(0.0, 1.0))
    with pytest.raises(ValueError, match="p is continuous and q is discrete"):
        kl_divergence(dist.Beta(1.0, 2.0), dist.Bernoulli(0.5))


def test_event_and_batch_shapes_must_fit_before_anything_is_infinite():
    with pytest.raises(ValueError, match=r"event shape \(3,\) and q has \(2,\)"):
        kl_divergence(dist.Normal(jnp.zeros(3), 1.0).to_event(1), dist.Dirichlet(jnp.ones(2)))
    with pytest.raises(ValueError, match=r"do not broadcast: \(2,\) and \(3,\)"):
        kl_divergence(dist.Normal(jnp.zeros(2), 1.0), dist.Beta(jnp.ones(3), 1.0))


def test_a_support_that_numpyro_forgets_under_jit():
    """A Levy law's, with its lower end."""
    p, q = dist.Weibull(1.0, 2.0), dist.Levy(0.5, 1.0)
    assert kl_divergence(p, q) == np.inf
    assert jax.jit(kl_divergence)(p, q) == np.inf
