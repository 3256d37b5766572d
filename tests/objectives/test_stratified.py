"""Families that weight their draws, a mixture's by its components' shares: every objective follows the weights too."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from expectations import TARGETS, assert_means, estimates, log_density, normal_log_density
from jax.scipy.special import logsumexp
from test_elbo import MIXTURE, TwoNormals

from vi_kl.objectives import ELBO, IWELBO, ChiSquared, ForwardKL, ObjectiveError, Renyi

pytestmark = pytest.mark.usefixtures("compiled_quickly")


@dataclasses.dataclass(frozen=True)
class Stratified(TwoNormals):
    """Half of the draws from each component."""

    def weighted_draws(self, params, target, key, n):
        which = np.arange(n) % 2
        u = jax.random.normal(key, (n, 1), dtype=float)
        z = params["loc"][which][:, None] + np.array([0.7, 1.0])[which][:, None] * u
        share = jax.nn.sigmoid(params["logit"])
        weights = jnp.stack([share, 1 - share])[which] / (n / 2)
        return z, jax.vmap(self.distribution(params, target).log_prob)(z), weights


def on_a_grid(params, statistic):
    """A figure from log q, log p and the log of the step, on a grid of z."""
    z = np.linspace(-12.0, 12.0, 6001)
    share = jax.nn.sigmoid(params["logit"])
    parts = [share, 1 - share], params["loc"], (0.7, 1.0)
    log_q = jnp.logaddexp(*(jnp.log(w) + normal_log_density(z, m, s) for w, m, s in zip(*parts, strict=True)))
    log_p = jax.vmap(lambda z: log_density(z[None], TARGETS["two_modes"].data))(z)
    return statistic(log_q, log_p, np.log(z[1] - z[0]))


def elbo(log_q, log_p, step):
    return jnp.sum(jnp.exp(log_q + step) * (log_q - log_p))


def power_mean(power):
    return lambda log_q, log_p, step: logsumexp(log_q + power * (log_p - log_q) + step) / power


def minus_half(log_q, log_p, step):
    return -power_mean(0.5)(log_q, log_p, step)


def forward(log_q, log_p, step):
    log_p -= logsumexp(log_p + step)
    return jnp.sum(jnp.exp(log_p + step) * (log_p - log_q))


@pytest.mark.parametrize(
    ("objective", "statistic", "num_keys"),
    [
        (ELBO(8), elbo, 5_000),
        (ChiSquared(2_000), power_mean(2.0), 100),
        pytest.param(ELBO(8, "score"), elbo, 5_000, marks=pytest.mark.exhaustive),
        pytest.param(Renyi(0.5, 2_000), minus_half, 100, marks=pytest.mark.exhaustive),
        pytest.param(ForwardKL(2_000), forward, 100, marks=pytest.mark.exhaustive),
    ],
    ids=["elbo", "chi_squared", "score", "renyi", "forward_kl"],
)
def test_value_and_gradient_are_those_of_the_mixture(objective, statistic, num_keys):
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, MIXTURE)
        expected = jax.jit(jax.value_and_grad(lambda params: on_a_grid(params, statistic)))(params)
    assert_means(estimates(objective, "two_modes", num_keys, Stratified(), MIXTURE), expected, at_most=0.05)


def test_what_weighted_draws_do_not_allow_is_said():
    with pytest.raises(ObjectiveError, match="'two_normals', which weights its draws, has the gradient 'total' only"):
        IWELBO(2, 1, "doubly_reparameterised")(jax.random.key(0), MIXTURE, Stratified(), TARGETS["two_modes"])
