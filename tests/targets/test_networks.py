"""Networks of `numpyro.contrib.module` in a model: weights are learned, or have priors and are ordinary sites.

Each is a linear map, so that the learned weights have a closed form.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.example_libraries import stax
from numpyro.contrib import module

import vi_kl
from vi_kl.algorithms import SVI
from vi_kl.core.errors import ModelError
from vi_kl.families import MeanField
from vi_kl.targets import Target

X = np.random.default_rng(0).normal(size=(25, 2))
Y = X @ [1.0, -2.0] + 0.5 + np.random.default_rng(1).normal(size=25)


def flax_network(prior=None):
    linen = pytest.importorskip("flax.linen", reason="flax is not installed")
    if prior is not None:
        return lambda: module.random_flax_module("net", linen.Dense(1), prior, input_shape=(2,))
    return lambda: module.flax_module("net", linen.Dense(1), input_shape=(2,))


def nnx_network(prior=None):
    nnx = pytest.importorskip("flax.nnx", reason="flax is not installed")
    made = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    if prior is not None:
        return lambda: module.random_nnx_module("net", made, prior)
    return lambda: module.nnx_module("net", made)


def eqx_network(prior=None):
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed")
    made = eqx.nn.Linear(2, 1, key=jax.random.key(0))
    if prior is not None:
        net = lambda: module.random_eqx_module("net", made, prior)  # noqa: E731
    else:
        net = lambda: module.eqx_module("net", made)  # noqa: E731
    return lambda: jax.vmap(net())


def regression(x, y, network):
    """Noise that is latent, so that there is a posterior, around what a network makes of x."""
    noise = numpyro.sample("noise", dist.LogNormal(0, 0.1))
    numpyro.sample("y", dist.Normal(network()(x)[:, 0], noise), obs=y)


def stax_network():
    return lambda: numpyro.module("net", stax.Dense(1), (2,))


@pytest.mark.exhaustive
@pytest.mark.parametrize("network", [stax_network, flax_network, nnx_network, eqx_network])
def test_weights_are_learned(network):
    made = network()
    target = Target.from_numpyro(lambda x, y: regression(x, y, made), X, Y)
    assert list(target.to_learn) == ["net$params"]
    fit = vi_kl.fit(target, SVI(MeanField()), key=0)
    (weights,) = fit.learned.values()
    # least squares have the largest evidence, whatever the noise
    inputs = np.column_stack([X, np.ones(25)])
    best = np.linalg.lstsq(inputs, Y, rcond=None)[0]
    given = np.sort(np.concatenate([np.ravel(x) for x in jax.tree.leaves(weights)]))
    standard_errors = np.sqrt(np.diag(np.linalg.inv(inputs.T @ inputs)))
    np.testing.assert_allclose(given, np.sort(best), atol=0.2 * standard_errors.min())
    predicted = fit.predict(jax.random.key(1), np.zeros((3, 2)), None, n=500)["y"]
    np.testing.assert_allclose(predicted.mean(), best[2], atol=0.2)


@pytest.mark.parametrize("network", [flax_network, nnx_network, eqx_network])
def test_weights_with_priors_are_sites(network):
    made = network(dist.Normal(0, 3))
    target = Target.from_numpyro(lambda x, y: regression(x, y, made), X, Y)
    assert target.to_learn == {}
    assert target.dim == 4
    assert all(name == "noise" or name.startswith("net/") for name in target.site_names)
    z = np.zeros(4)
    expected = 3 * dist.Normal(0, 3).log_prob(0.0) + dist.Normal(0, 0.1).log_prob(0.0)
    np.testing.assert_allclose(target.log_density(z), expected + dist.Normal(0, 1).log_prob(Y).sum(), rtol=1e-6)


def stateful(y):
    state = numpyro.primitives.mutable("net$state", {"mean": jnp.zeros(())})
    numpyro.sample("y", dist.Normal(numpyro.sample("loc", dist.Normal(0, 1)) + state["mean"], 1), obs=y)


def test_a_network_that_keeps_a_state_is_refused():
    with pytest.raises(ModelError, match=r"'net.state', as batch normalisation"):
        Target.from_numpyro(stateful, Y)
