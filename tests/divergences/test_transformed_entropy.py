"""Entropies of transformed distributions, against those of the classes that they are."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import transforms

from vi_kl.divergences import NoClosedForm, entropy, estimate_entropy

NORMAL = dist.Normal(jnp.array([0.3, -1.0]), jnp.array([0.5, 2.0]))
AFFINE = transforms.AffineTransform(jnp.float32(1.0), jnp.float32(-3.0))
EXP = transforms.ExpTransform()
CASES = {
    "an affine map": (dist.TransformedDistribution(NORMAL, AFFINE), dist.Normal(0.0, 3 * NORMAL.scale)),
    "an exponential": (dist.TransformedDistribution(NORMAL, EXP), dist.LogNormal(NORMAL.loc, NORMAL.scale)),
    "an exponential of an affine map": (
        dist.TransformedDistribution(NORMAL, [AFFINE, EXP]), dist.LogNormal(1 - 3 * NORMAL.loc, 3 * NORMAL.scale)
    ),
    "an affine map of an exponential": (
        dist.TransformedDistribution(NORMAL, [EXP, transforms.AffineTransform(0.0, 2.0)]),
        dist.LogNormal(NORMAL.loc + np.log(2), NORMAL.scale),
    ),
    "a composition": (
        dist.TransformedDistribution(NORMAL, transforms.ComposeTransform([AFFINE, EXP])),
        dist.LogNormal(1 - 3 * NORMAL.loc, 3 * NORMAL.scale),
    ),
    "a vector": (
        dist.TransformedDistribution(NORMAL.to_event(1), [AFFINE, EXP]),
        dist.LogNormal(1 - 3 * NORMAL.loc, 3 * NORMAL.scale).to_event(1),
    ),
    "a triangular map": (
        dist.TransformedDistribution(
            dist.Normal(jnp.zeros(2), 1.0).to_event(1),
            transforms.LowerCholeskyAffine(jnp.ones(2), jnp.array([[2.0, 0.0], [1.0, 3.0]])),
        ),
        dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.array([[2.0, 0.0], [1.0, 3.0]])),
    ),
    "a permutation": (
        dist.TransformedDistribution(NORMAL.to_event(1), transforms.PermuteTransform(jnp.array([1, 0]))),
        NORMAL.to_event(1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_entropy_of_the_class_that_it_is(name):
    p, same = CASES[name]
    value = entropy(p)
    assert value.shape == p.batch_shape
    np.testing.assert_allclose(value, entropy(same), rtol=2e-6)


def test_an_exponential_of_anything_with_a_mean():
    p = dist.TransformedDistribution(dist.Laplace(0.5, 0.2), EXP)
    estimate = estimate_entropy(p, method="quadrature")
    assert float(entropy(p)) == pytest.approx(estimate.value, abs=1e-6)


def test_gradients_and_jit():
    slope = jax.jit(jax.grad(lambda s: entropy(dist.TransformedDistribution(dist.Normal(0.3, s), [AFFINE, EXP]))))
    assert slope(2.0) == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (dist.TransformedDistribution(NORMAL, transforms.SigmoidTransform()), "of its SigmoidTransform is not known"),
        (dist.TransformedDistribution(NORMAL, [EXP, EXP]), "before its last exponential"),
        (dist.TransformedDistribution(dist.Cauchy(0.0, 1.0), EXP), "no finite mean"),
        (dist.TransformedDistribution(dist.StudentT(3.0), AFFINE), ""),
    ],
)
def test_others_are_refused(p, words):
    if words:
        with pytest.raises(NoClosedForm, match=words):
            entropy(p)
    else:
        assert np.isfinite(entropy(p))
