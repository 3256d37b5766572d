"""The misfit of a flow's density and its gradient: both its value and its gradient against JAX's second derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiers import exhaustive_after

from vi_kl.algorithms.misfit import OfDimension, misfit, random_sensitivities
from vi_kl.families import Coupling, Skewed

pytestmark = pytest.mark.usefixtures("compiled_quickly")


@pytest.fixture(autouse=True)
def in_64_bits():
    with jax.enable_x64(True):
        yield


def member(family, dim, generator):
    """A member whose parameters are far from those of the identity."""
    standard = family.standard(jax.random.key(0), OfDimension(dim))
    return jax.tree.map(lambda x: np.asarray(x) + 0.2 * generator.normal(size=x.shape), standard)


def largest_share(found, true):
    """The largest difference between two pytrees, as a share of the largest entry of the leaf."""
    shares = jax.tree.map(lambda a, b: float(np.abs(a - b).max() / np.abs(b).max()), found, true)
    return max(jax.tree.leaves(shares))


FAMILIES = [Coupling(num_layers=2, hidden=4), Coupling("affine", num_layers=2, hidden=4), Skewed()]


@pytest.mark.parametrize("family", exhaustive_after(2, FAMILIES), ids=["numpy", "jax", "skewed"])
def test_value_and_gradient_are_those_of_second_derivatives(family):
    generator = np.random.default_rng(0)
    n, dim = 40, 3
    params = member(family, dim, generator)
    z, weights = generator.normal(size=(n, dim)), generator.uniform(size=n)
    log_p, slopes = -0.65 * (z**2).sum(axis=1), -1.3 * z

    def loss(params, offset):
        q = family.distribution(params, OfDimension(dim))
        log_q, slopes_q = jax.vmap(jax.value_and_grad(q.log_prob))(z)
        squares = (log_p - log_q - offset) ** 2 + jnp.sum((slopes - slopes_q) ** 2, axis=-1)
        return jnp.sum(weights * 2 * dim * (jnp.sqrt(1 + squares / dim) - 1))

    true, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(params, 0.3)
    value, *found = misfit(family, params, 0.3, z, log_p, slopes, weights)
    assert value == pytest.approx(float(true), rel=1e-12)
    assert largest_share(tuple(found), gradients) < 1e-7


def test_mean_square_of_random_sensitivities_is_the_diagonal_of_the_gauss_newton_matrix():
    """Over 800 draws of the signs, each entry within five standard errors."""
    family, generator = FAMILIES[0], np.random.default_rng(0)
    n, dim, repeats = 12, 3, 800
    params = member(family, dim, generator)
    z, weights = generator.normal(size=(n, dim)), generator.uniform(size=n)

    def seen(params):
        log_q, slopes_q = jax.vmap(jax.value_and_grad(family.distribution(params, OfDimension(dim)).log_prob))(z)
        return jnp.sqrt(weights)[:, None] * jnp.column_stack([log_q, slopes_q])

    true = jax.tree.map(lambda jacobian: (jacobian**2).sum(axis=(0, 1)), jax.jit(jax.jacobian(seen))(params))
    draws = [random_sensitivities(family, params, z, weights, generator) for _ in range(repeats)]
    squares = jax.tree.map(lambda *leaves: np.stack(leaves) ** 2, *draws)
    for found, expected in zip(jax.tree.leaves(squares), jax.tree.leaves(true), strict=True):
        error = found.std(axis=0) / np.sqrt(repeats)
        assert np.all(np.abs(found.mean(axis=0) - expected) < 5 * error + 1e-6 * np.max(expected))
