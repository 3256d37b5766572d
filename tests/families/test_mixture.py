"""Mixtures: gradients of the weights against quadrature, and a posterior of two modes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vi_kl.algorithms import SVI
from vi_kl.families import Mixture
from vi_kl.families.frame import Frame
from vi_kl.objectives import ELBO
from vi_kl.targets import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")

CENTRES, SDS, SHARES = np.array([-3.0, 3.0]), np.array([1.0, 0.7]), np.array([0.4, 0.6])


def two_modes(z):
    """A normalised mixture, its modes six sds apart."""
    parts = -0.5 * ((z[0] - CENTRES) / SDS) ** 2 - np.log(SDS * np.sqrt(2 * np.pi)) + np.log(SHARES)
    return jax.nn.logsumexp(parts)


TARGET = Target.from_log_density(two_modes, 1)


def kl_on_nodes(params, family):
    """KL(q||posterior) by the trapezoidal rule."""
    nodes = jnp.linspace(-16.0, 16.0, 4001)[:, None]
    q = family.distribution(params, TARGET)
    log_q = jax.vmap(q.log_prob)(nodes)
    return jnp.sum(jnp.exp(log_q) * (log_q - jax.vmap(two_modes)(nodes))) * (nodes[1, 0] - nodes[0, 0])


@pytest.mark.parametrize("gradient", [pytest.param("total", marks=pytest.mark.exhaustive), "sticking_the_landing"])
def test_gradients_are_unbiased_those_of_the_weights_too(gradient):
    family, objective = Mixture(3), ELBO(30, gradient)
    with jax.enable_x64(True):
        params = family.standard(jax.random.key(1), TARGET)
        params = {**params, "logits": jnp.array([0.3, -0.6, 0.2])}
        exact_kl, exact = jax.jit(jax.value_and_grad(kl_on_nodes), static_argnums=1)(params, family)
        keys = jax.random.split(jax.random.key(2), 400)
        evaluate = jax.jit(jax.vmap(jax.value_and_grad(objective, 1), in_axes=(0, None, None, None)), static_argnums=2)
        values, slopes = evaluate(keys, params, family, TARGET)
    pairs = [(values, exact_kl), *zip(jax.tree.leaves(slopes), jax.tree.leaves(exact), strict=True)]
    for draws, reference in pairs:
        draws = np.asarray(draws)
        error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
        assert np.all(np.abs(draws.mean(axis=0) - np.asarray(reference)) < 4.5 * error + 1e-9)
    assert np.abs(exact["logits"]).max() > 0.02  # or unbiasedness would say nothing about the weights


@pytest.mark.exhaustive
def test_two_modes_are_both_found_from_a_frame_that_covers_them():
    frame = Frame.of(np.array([0.6]), np.array([[3.1]]))
    fit = SVI(Mixture(2), ELBO(8)).fit(jax.random.key(0), TARGET, start=frame)
    with jax.enable_x64(True):
        kl = float(jax.jit(kl_on_nodes, static_argnums=1)(fit.approximation.params, Mixture(2)))
    assert abs(kl) < 1e-3
    shares = np.asarray(jax.nn.softmax(fit.approximation.params["logits"]))
    np.testing.assert_allclose(np.sort(shares), SHARES, atol=0.01)


@pytest.mark.exhaustive
def test_weighted_draws_cover_every_component_with_its_share():
    family = Mixture(3, "diagonal")
    with jax.enable_x64(True):
        params = {**family.standard(jax.random.key(1), TARGET), "logits": jnp.array([0.5, -1.0, 0.0])}
        z, log_q, weights = map(np.asarray, family.weighted_draws(params, TARGET, jax.random.key(0), 7))
        shares = np.asarray(jax.nn.softmax(params["logits"]))
        expected = family.distribution(params, TARGET).log_prob(z)
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-12)
    np.testing.assert_allclose([weights[k::3].sum() for k in range(3)], shares, rtol=1e-12)
    np.testing.assert_allclose(log_q, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="num_draws=2"):
        family.weighted_draws(params, TARGET, jax.random.key(0), 2)


SLANTED = {
    "logits": np.log([0.2, 0.5, 0.3]),
    "components": {
        "loc": np.array([[-2.0, 1.0], [0.5, 0.0], [1.0, 4.0]]),
        "log_scale": np.log([[0.5, 1.0], [1.5, 0.3], [0.8, 0.6]]),
        "below": np.array([[0.7], [-1.2], [0.4]]),
    },
}


def in_two_dimensions(z):
    return -0.5 * jnp.sum(z**2)


PLANE = Target.from_log_density(in_two_dimensions, 2)


def test_smooth_draws_are_the_quantiles_of_their_noise():
    """Mapped back by the mixture's distribution function and its conditional one, they are the noise again."""
    with jax.enable_x64(True):
        key, family = jax.random.key(3), Mixture(3)
        params = jax.tree.map(jnp.asarray, SLANTED)
        z = np.asarray(jax.jit(family.smooth_draws, static_argnums=3)(params, PLANE, key, 200))
        noise = np.asarray(jax.random.normal(key, (200, 2), dtype=float))
        trils = np.asarray(family.trils(params))
    weights, loc = np.exp(SLANTED["logits"]), SLANTED["components"]["loc"]
    first = stats.norm(loc[:, 0], trils[:, 0, 0])
    given = weights * first.pdf(z[:, :1])
    given /= given.sum(axis=1, keepdims=True)
    means = loc[:, 1] + trils[:, 1, 0] * (z[:, :1] - loc[:, 0]) / trils[:, 0, 0]
    second = stats.norm(means, trils[:, 1, 1])
    np.testing.assert_allclose(stats.norm.ppf(first.cdf(z[:, :1]) @ weights), noise[:, 0], atol=1e-9)
    np.testing.assert_allclose(stats.norm.ppf((given * second.cdf(z[:, 1:])).sum(axis=1)), noise[:, 1], atol=1e-9)


def test_smooth_draws_of_components_that_are_alike_do_not_move_with_the_weights():
    """Then the weights mean nothing; each plain draw would leap at some weight, from one component to the other."""
    with jax.enable_x64(True):
        draws = jax.jit(
            lambda logits: Mixture(2).smooth_draws({**alike, "logits": logits}, PLANE, jax.random.key(4), 32)
        )
        alike = {"components": jax.tree.map(lambda leaf: jnp.tile(leaf[:1], (2, 1)), SLANTED["components"])}
        np.testing.assert_allclose(draws(jnp.array([0.0, 0.0])), draws(jnp.array([0.0, 3.0])), atol=1e-12)


@pytest.mark.exhaustive
def test_components_that_a_posterior_does_not_need_do_not_keep_a_fit_from_ending():
    fits = [SVI(Mixture(3), ELBO(12)).fit(jax.random.key(seed), PLANE) for seed in range(20)]
    assert all(fit.status.converged for fit in fits)
    assert max(fit.cost.gradient_evaluations for fit in fits) < 20_000
