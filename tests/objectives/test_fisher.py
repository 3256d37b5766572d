"""The Fisher divergence against its closed form for normals, quadrature for a skewed posterior, and its optimum."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from expectations import assert_means, estimates, evaluate, exact, log_weight, nodes
from test_elbo import EXACT, MIXTURE, TwoNormals

from vi_kl.families import FullRank
from vi_kl.families.gaussian import full_rank_params, scale_tril
from vi_kl.objectives import Fisher, ObjectiveError
from vi_kl.targets import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")

PRECISION = np.linalg.inv(np.array([[1.0, 0.6], [0.6, 0.5]]))
MEAN = np.array([1.0, -2.0])


def normal(z):
    return -0.5 * (z - MEAN) @ PRECISION @ (z - MEAN)


def fisher_of_normals(params):
    """E |L'(grad log q - grad log p)|^2 = |L' P L - I|^2 + |L' P (m - mu)|^2."""
    tril = scale_tril(params)
    spread = tril.T @ PRECISION @ tril - jnp.eye(2)
    return jnp.sum(spread**2) + jnp.sum((tril.T @ PRECISION @ (params["loc"] - MEAN)) ** 2)


def test_a_normal_posterior_has_the_closed_form():
    with jax.enable_x64(True):
        params = full_rank_params(np.array([0.7, -1.5]), np.array([[0.8, 0.0], [0.5, 0.6]]))
        expected = jax.jit(jax.value_and_grad(fisher_of_normals))(params)
        keys = jax.random.split(jax.random.key(5), 20_000)
        found = evaluate(keys, params, Target.from_log_density(normal, 2), FullRank(), Fisher(4))
    assert_means(jax.tree.map(np.asarray, found), expected, at_most=0.15)


def by_quadrature(params, which):
    u, log_mass = nodes(3001)
    slope = jax.vmap(jax.grad(functools.partial(log_weight, params, which)))
    return jnp.sum(jnp.exp(log_mass) * slope(jnp.asarray(u)) ** 2)


@pytest.mark.landing
def test_skewed_and_two_mode_posteriors_are_as_by_quadrature():
    for name in ("log_gamma", "two_modes"):
        assert_means(estimates(Fisher(8), name, 10_000), exact(by_quadrature, name), at_most=0.15)
    value, slopes = estimates(Fisher(8), "normal", 10_000, params=EXACT)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves((value, slopes))) < 1e-12


def test_what_is_no_image_of_noise_is_refused_before_a_fit_and_in_the_loss():
    target = Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2), 1)
    with pytest.raises(ObjectiveError, match="'two_normals' is not an image of normal noise"):
        Fisher().require(TwoNormals(), target)
    with pytest.raises(ObjectiveError, match="'two_normals' is not an image of normal noise"):
        Fisher()(jax.random.key(0), MIXTURE, TwoNormals(), target)
    Fisher().require(FullRank(), target)
    with pytest.raises(ValueError, match="num_draws"):
        Fisher(0)
