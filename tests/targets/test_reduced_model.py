"""Masked discrete sites in reduced models: against forward recursions, closed forms and brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.handlers import mask
from scipy import stats

from vi_kl.reference import enumerate_posterior
from vi_kl.targets import Target
from vi_kl.targets.numpyro.enumeration import discrete_posterior
from vi_kl.targets.target import value_and_grad

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def padded_chains(y, length):
    """A hidden Markov model of sequences of different lengths."""
    stay = numpyro.sample("stay", dist.Beta(2, 1).expand([2]).to_event(1))
    loc = numpyro.sample("loc", dist.Normal(0, 2).expand([2]).to_event(1))

    def step(carry, y):
        k, t = carry
        with numpyro.plate("sequences", len(length)), mask(mask=t < length):
            k = numpyro.sample("k", dist.Bernoulli(jnp.where(k == 1, stay[1], 1 - stay[0])))
            numpyro.sample("y", dist.Normal(loc[k], 1), obs=y)
        return (k, t + 1), None

    scan(step, (jnp.zeros(len(length), int), 0), y.T)


def forward(stay, loc, y):
    """The log evidence of one sequence, which begins in state 0."""
    move = np.log([[stay[0], 1 - stay[0]], [1 - stay[1], stay[1]]])
    state = np.array([0.0, -np.inf])
    for value in y:
        state = np.logaddexp.reduce(state[:, None] + move, axis=0) + stats.norm.logpdf(value, loc)
    return np.logaddexp.reduce(state)


@pytest.mark.parametrize("length", [(3, 1), pytest.param((4, 2, 1, 4), id="funsor")])
def test_padded_chains_are_the_chains(length):
    if len(length) > 2:
        pytest.importorskip("funsor")
    y = np.random.default_rng(1).normal(size=(len(length), max(length)))
    target = Target.from_numpyro(padded_chains, y, np.array(length))
    z = np.array([0.4, -0.9, 0.3, 1.2])
    sites = target.constrain(z)
    stay, loc = sites["stay"], sites["loc"]
    expected = stats.norm.logpdf(loc, 0, 2).sum() + np.sum(stats.beta.logpdf(stay, 2, 1) + np.log(stay * (1 - stay)))
    expected += sum(forward(stay, loc, y[i, :n]) for i, n in enumerate(length))
    np.testing.assert_allclose(target.log_density(z), expected, rtol=1e-10)
    with jax.enable_x64(True):
        assert np.isfinite(value_and_grad(target, jnp.asarray(z))[1]).all()


def categories(kind, y, seen):
    """A mixture whose kinds are known for some rows."""
    weight = numpyro.sample("weight", dist.Beta(2, 2))
    with numpyro.plate("rows", len(y)):
        k = numpyro.sample("k", dist.Bernoulli(weight), obs=kind, obs_mask=seen)
        numpyro.sample("y", dist.Normal(2.0 * k, 1), obs=y)


@pytest.mark.parametrize("missing", [2, pytest.param(16, id="funsor")])
def test_missing_categories_are_summed_out(missing):
    if missing > 12:
        pytest.importorskip("funsor")
    generator = np.random.default_rng(2)
    y, kind, seen = generator.normal(size=40), generator.integers(0, 2, 40), np.arange(40) >= missing
    target = Target.from_numpyro(categories, kind, y, seen)
    p = 1 / (1 + np.exp(-0.3))
    each = np.log([1 - p, p]) + stats.norm.logpdf(y[:, None], [0, 2])
    rows = np.where(seen, each[np.arange(40), kind], np.logaddexp.reduce(each, axis=1))
    expected = stats.beta.logpdf(p, 2, 2) + np.log(p * (1 - p)) + rows.sum()
    np.testing.assert_allclose(target.log_density(np.array([0.3])), expected, rtol=1e-12)
    if missing == 2:
        found = discrete_posterior(target, np.array([0.3]))["k_unobserved"]
        np.testing.assert_allclose(found, np.exp(each[:2] - rows[:2, None]), rtol=1e-9)


def masked_kinds(y, known, seen):
    with numpyro.plate("rows", 4):
        with mask(mask=known):
            k = numpyro.sample("k", dist.Categorical(jnp.array([0.2, 0.3, 0.5])))
        with mask(mask=seen):
            numpyro.sample("y", dist.Normal(k, 1), obs=y)


def with_a_scale(y, known, seen):
    scale = numpyro.sample("scale", dist.LogNormal(0, 1))
    numpyro.factor("likelihood", -scale)
    masked_kinds(y, known, seen)


@pytest.mark.landing
def test_masked_kinds_have_equal_probabilities():
    """Every configuration, listed: a masked entry is as good as any other, and no constant comes of it."""
    y = np.array([0.3, 1.2, 2.2, 0.8])
    known, seen = np.array([True, False, True, False]), np.array([True, True, False, False])
    logs = [
        sum(np.log([0.2, 0.3, 0.5][k]) if known[i] else -np.log(3) for i, k in enumerate(ks))
        + sum(stats.norm.logpdf(y[i], k) for i, k in enumerate(ks) if seen[i])
        for ks in itertools.product(range(3), repeat=4)
    ]
    evidence = np.logaddexp.reduce(logs)
    target = Target.from_numpyro(with_a_scale, y, known, seen)
    np.testing.assert_allclose(
        target.log_density(np.array([0.2])), stats.norm.logpdf(0.2) - np.exp(0.2) + evidence, rtol=1e-12
    )
    np.testing.assert_allclose(enumerate_posterior(masked_kinds, y, known, seen).log_evidence.value, evidence)


def capture(history):
    """Cormack-Jolly-Seber, as NumPyro's example has it: nothing counts before an animal's first capture."""
    survival = numpyro.sample("survival", dist.Uniform(0, 1))
    recapture = numpyro.sample("recapture", dist.Uniform(0, 1))

    def step(carry, y):
        caught, alive = carry
        with numpyro.plate("animals", len(history)), mask(mask=caught):
            alive = numpyro.sample("alive", dist.Bernoulli(jnp.where(caught, survival * alive, 1.0)))
            numpyro.sample("y", dist.Bernoulli(recapture * alive), obs=y)
        return (caught | (y > 0), jnp.where(caught, alive, 1)), None

    scan(step, (history[:, 0] > 0, jnp.ones(len(history), int)), history[:, 1:].T)


def test_capture_and_recapture():
    """Against the probability of each history given its first capture, by recursion over the last sighting."""
    history = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1]])  # few enough to be enumerated
    target = Target.from_numpyro(capture, history)
    z = np.array([0.4, 0.9])
    p, phi = 1 / (1 + np.exp(-z))
    unseen = [1.0]  # never seen again, with so many occasions left
    for _ in range(3):
        unseen.append(1 - phi + phi * (1 - p) * unseen[-1])
    expected = np.log(p * (1 - p) * phi * (1 - phi))
    for row in history:
        first, last = np.flatnonzero(row)[[0, -1]]
        for y in row[first + 1 : last + 1]:
            expected += np.log(phi * (p if y else 1 - p))
        expected += np.log(unseen[len(row) - 1 - last])
    np.testing.assert_allclose(target.log_density(z), expected, rtol=1e-9)
