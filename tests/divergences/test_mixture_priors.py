"""A batch of Gaussians against one mixture: bounds and estimates around the truth, batched, jitted, differentiated."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from vi_kl.divergences import NoClosedForm, estimate_kl, mixture_kl_bounds, mixture_prior_kl, mixture_prior_kl_bounds

KEY = jax.random.key(0)
WEIGHTS = jnp.array([0.25, 0.75])
LOCS, SCALES = jnp.array([[0.0, 0.5], [3.0, -1.0], [1.0, 1.0]]), jnp.array([[0.5, 1.0], [1.0, 0.3], [2.0, 0.7]])
CENTRES, WIDTHS = jnp.array([[0.0, 0.0], [2.0, -1.0]]), jnp.array([[1.0, 1.0], [0.5, 0.8]])


def diagonal(loc, scale):
    return dist.Normal(loc, scale).to_event(1)


def vector(loc, scale):
    return dist.MultivariateNormal(loc, scale_tril=scale[..., None] * jnp.eye(2))


def mixture(make, centres=CENTRES):
    return dist.MixtureSameFamily(dist.Categorical(WEIGHTS), make(centres, WIDTHS))


@pytest.mark.divergences
@pytest.mark.parametrize(
    "make",
    [pytest.param(diagonal, id="independent"), pytest.param(vector, id="multivariate", marks=pytest.mark.exhaustive)],
)
def test_the_truth_lies_between_the_bounds_and_within_the_error(make):
    p, q = make(LOCS, SCALES), mixture(make)
    bounds = mixture_prior_kl_bounds(p, q)
    estimate = mixture_prior_kl(p, q, KEY, num_draws=4000)
    assert bounds.lower.shape == bounds.upper.shape == estimate.value.shape == (3,)
    for i in range(3):
        truth = estimate_kl(make(LOCS[i], SCALES[i]), q, key=KEY).value
        assert bounds.lower[i] - 1e-5 <= truth <= bounds.upper[i] + 1e-5
        assert abs(estimate.value[i] - truth) < 4 * estimate.standard_error[i] + 1e-3
        alone = mixture_kl_bounds(make(LOCS[i], SCALES[i]), q, "variational")
        assert bounds.upper[i] == pytest.approx(alone.upper, rel=1e-5)
        assert bounds.lower[i] == pytest.approx(alone.lower, rel=1e-4, abs=1e-5)


@pytest.mark.exhaustive
def test_one_component_is_no_mixture():
    """Both sides of the upper bound are then the closed form."""
    q = dist.MixtureSameFamily(dist.Categorical(jnp.ones(1)), dist.Normal(jnp.zeros(1), 2.0))
    bounds = mixture_prior_kl_bounds(dist.Normal(jnp.array([0.0, 1.0]), 1.0), q)
    np.testing.assert_allclose(bounds.upper, np.log(2) - 3 / 8 + np.array([0, 1 / 8]), rtol=1e-6)
    assert (bounds.lower <= bounds.upper).all()


@pytest.mark.divergences
def test_it_is_a_loss():
    """Jitted, with the gradient by q(z|x) and by the prior, against finite differences of the bound."""

    def loss(loc, centres):
        return mixture_prior_kl_bounds(diagonal(loc, SCALES), mixture(diagonal, centres)).upper.sum()

    slopes = jax.jit(jax.grad(loss, argnums=(0, 1)))(LOCS, CENTRES)
    step = jnp.zeros((3, 2)).at[1, 0].set(1e-2)
    difference = float(loss(LOCS + step, CENTRES) - loss(LOCS - step, CENTRES)) / 2e-2
    assert slopes[0][1, 0] == pytest.approx(difference, rel=1e-2)
    assert np.isfinite(slopes[1]).all()
    assert (np.abs(slopes[1]) > 0).all()

    def sampled(centres):
        return mixture_prior_kl(diagonal(LOCS, SCALES), mixture(diagonal, centres), KEY).value.sum()

    assert np.isfinite(jax.jit(jax.grad(sampled))(CENTRES)).all()


@pytest.mark.divergences
def test_the_functions_themselves_are_jitted():
    p, q = diagonal(LOCS, SCALES), mixture(diagonal)
    bounds = jax.jit(mixture_prior_kl_bounds)(p, q)
    assert bounds.method == "variational"
    np.testing.assert_allclose(bounds.upper, mixture_prior_kl_bounds(p, q).upper, rtol=1e-6)


def test_others_are_refused():
    with pytest.raises(NoClosedForm, match="MixtureSameFamily of such"):
        mixture_prior_kl_bounds(dist.Gamma(1.0, 1.0), mixture(diagonal))
    with pytest.raises(NoClosedForm, match="MixtureSameFamily of such"):
        mixture_prior_kl_bounds(diagonal(LOCS, SCALES), mixture(vector))
    with pytest.raises(ValueError, match="event shape"):
        mixture_prior_kl_bounds(diagonal(jnp.zeros(3), 1.0), mixture(diagonal))
