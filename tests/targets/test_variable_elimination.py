"""Discrete sites in plates and chains, summed out by funsor: the closed form of mixtures, the forward algorithm."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from scipy import special, stats

from vi_kl.targets import Target
from vi_kl.targets.numpyro.enumeration import discrete_posterior
from vi_kl.targets.numpyro.model import ModelError

needs_funsor = pytest.mark.skipif(importlib.util.find_spec("funsor") is None, reason="the extra vi_kl[enum]")
pytestmark = [
    pytest.mark.usefixtures("compiled_quickly"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # funsor's and its dependencies' own
]
Y = np.random.default_rng(1).normal(size=30) * 2


def mixture(y):
    weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(3)))
    loc = numpyro.sample("loc", dist.Normal(0, 2).expand([3]).to_event(1))
    with numpyro.plate("rows", len(y)):
        kind = numpyro.sample("kind", dist.Categorical(weights))
        numpyro.sample("y", dist.Normal(loc[kind], 1), obs=y)


def hidden_markov(y):
    stay = numpyro.sample("stay", dist.Dirichlet(jnp.ones((2, 2))).to_event(1))
    loc = numpyro.sample("loc", dist.Normal(0, 2).expand([2]).to_event(1))

    def step(state, y):
        state = numpyro.sample("state", dist.Categorical(stay[state]))
        numpyro.sample("y", dist.Normal(loc[state], 1), obs=y)
        return state, None

    scan(step, 0, y)


def undeclared(y):
    loc = numpyro.sample("loc", dist.Normal(0, 2).expand([2]))
    with numpyro.plate("rows", len(y)):
        kind = numpyro.sample("kind", dist.Categorical(jnp.ones(2) / 2))
        numpyro.sample("y", dist.Normal(loc[kind], 1), obs=y)


def summed_by_hand(y):
    with numpyro.plate("rows", len(y)):
        kind = numpyro.sample("kind", dist.Categorical(jnp.ones(2) / 2))
    loc = numpyro.sample("loc", dist.Normal(0, 2))
    numpyro.sample("y", dist.Normal(loc + kind.reshape(len(y)).sum(), 1), obs=y[0])


@needs_funsor
def test_a_mixture_is_summed_row_by_row():
    target = Target.from_numpyro(mixture, Y)
    assert target.site_names == ("loc", "weights")
    z = np.random.default_rng(2).normal(size=(3, target.dim))
    sites = target.constrain(z)

    def expected(z, loc, weights):
        rows = special.logsumexp(np.log(weights) + stats.norm.logpdf(Y[:, None], loc, 1), axis=1).sum()
        sticks = weights[:2] / (1 - np.array([0, weights[0]]))
        jacobian = np.log(sticks * (1 - sticks) * np.array([1, 1 - weights[0]])).sum()
        return rows + stats.norm.logpdf(loc, 0, 2).sum() + np.log(2) + jacobian

    closed = [expected(*row) for row in zip(z, sites["loc"], sites["weights"], strict=True)]
    np.testing.assert_allclose(target.log_density(z), closed, rtol=1e-10)
    with pytest.raises(ValueError, match="too many joint configurations"):
        discrete_posterior(target, z)


@needs_funsor
@pytest.mark.landing
def test_a_chain_is_summed_by_the_forward_algorithm():
    target = Target.from_numpyro(hidden_markov, Y)
    assert target.site_names == ("loc", "stay")
    z = np.random.default_rng(3).normal(size=target.dim)
    sites = target.constrain(z)
    stay, loc = sites["stay"], sites["loc"]
    log_alpha = np.array([0.0, -np.inf])  # the state before the first is 0
    for y in Y:
        log_alpha = special.logsumexp(log_alpha[:, None] + np.log(stay), axis=0) + stats.norm.logpdf(y, loc, 1)
    expected = special.logsumexp(log_alpha) + stats.norm.logpdf(loc, 0, 2).sum() + np.log(stay).sum()  # Jacobian p(1-p)
    np.testing.assert_allclose(target.log_density(z), expected, rtol=1e-10)
    assert np.isfinite(target.initial_position(jax.random.key(0))).all()  # the gradient, too


@needs_funsor
@pytest.mark.parametrize(
    ("model", "words"),
    [(undeclared, ["'loc'", "no plate", "to_event"]), (summed_by_hand, ["'kind'", "in parallel", "loc[k]"])],
)
def test_what_cannot_be_summed_in_parallel_is_refused_by_name(model, words):
    with pytest.raises(ModelError) as raised:
        Target.from_numpyro(model, Y)
    for word in words:
        assert word in str(raised.value)


def test_without_funsor_the_refusal_names_the_extra(monkeypatch):
    monkeypatch.setattr("vi_kl.targets.numpyro.discrete_sites.has_funsor", lambda: False)
    with pytest.raises(ModelError, match=r"'kind' 3\^30.*vi_kl\[enum\]"):
        Target.from_numpyro(mixture, Y)
