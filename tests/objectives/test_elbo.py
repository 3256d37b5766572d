"""The ELBO as a loss: value and gradient against closed forms, for both gradient estimators."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_kl.families import MeanField
from vi_kl.objectives import ELBO
from vi_kl.target import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")

SD = np.array([0.5, 2.0])
MEAN = np.array([1.0, -3.0])


def normal(z):
    """An unnormalised normal: log evidence = log(2 pi 0.5 2.0) + 7."""
    return 7.0 - 0.5 * jnp.sum(((z - MEAN) / SD) ** 2)


TARGET = Target.from_log_density(normal, 2)
LOG_EVIDENCE = 7.0 + np.log(2 * np.pi * SD.prod())
PARAMS = {"loc": np.array([0.3, -2.0]), "log_scale": np.array([-0.2, 0.4])}


def exact_loss(params):
    """KL(q||p) - log evidence for two normals with independent coordinates."""
    scale = jnp.exp(params["log_scale"])
    kl = jnp.sum(jnp.log(SD / scale) + 0.5 * (scale**2 + (params["loc"] - MEAN) ** 2) / SD**2 - 0.5)
    return kl - LOG_EVIDENCE


@pytest.mark.parametrize("gradient", ["sticking_the_landing", "total"])
def test_value_and_gradient_are_unbiased(gradient):
    objective = ELBO(num_draws=100, gradient=gradient)
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 400)
        evaluate = jax.jit(jax.vmap(jax.value_and_grad(objective, 1), in_axes=(0, None, None, None)), static_argnums=2)
        values, gradients = evaluate(keys, jax.tree.map(jnp.asarray, PARAMS), MeanField(), TARGET)
        expected, expected_gradient = jax.value_and_grad(exact_loss)(jax.tree.map(jnp.asarray, PARAMS))

    def close(draws, truth):
        error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
        assert np.all(np.abs(draws.mean(axis=0) - truth) < 4 * error + 1e-12)

    close(np.asarray(values), float(expected))
    for name in PARAMS:
        close(np.asarray(gradients[name]), np.asarray(expected_gradient[name]))


def test_sticking_the_landing_has_no_noise_at_the_answer():
    exact = {"loc": jnp.asarray(MEAN), "log_scale": jnp.log(jnp.asarray(SD))}
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda x: x.astype(float), exact)

        def slope(gradient):
            objective = ELBO(4, gradient)
            by_params = jax.grad(lambda params: objective(jax.random.key(1), params, MeanField(), TARGET))
            return jax.jit(by_params)(exact)

        stuck, total = slope("sticking_the_landing"), slope("total")
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(stuck)) < 1e-5
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(total)) > 1e-2


@pytest.mark.parametrize("bad", [{"num_draws": 0}, {"gradient": "reinforce"}])
def test_nonsense_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        ELBO(**bad)
