"""Guides that draw each row inside the model's plate are run with the rows of a minibatch, at their cost alone."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer.autoguide import AutoNormal
from scipy import stats

from vi_kl.families.guide import Guide, GuideError, follows_rows
from vi_kl.objectives import ELBO
from vi_kl.targets import Target
from vi_kl.targets.minibatch import own_rows

X = np.array([0.3, 1.9, 0.4, 2.2])


def model(x, batch=2):
    """A global mean, and for each row a positive level and a share: changes of variables with Jacobians."""
    loc = numpyro.sample("loc", dist.Normal(0, 2))
    with numpyro.plate("rows", len(x), subsample_size=batch):
        rows = numpyro.subsample(x, event_dim=0)
        level = numpyro.sample("level", dist.Exponential(1.0))
        share = numpyro.sample("share", dist.Dirichlet(jnp.ones(3)))
        numpyro.sample("x", dist.Normal(loc + level + share[:, 0], 1), obs=rows)


def encoder(x, batch=2):
    slope = numpyro.param("slope", 0.5)
    numpyro.sample("loc", dist.Normal(numpyro.param("centre", 0.1), 0.7))
    with numpyro.plate("rows", len(x), subsample_size=batch):
        rows = numpyro.subsample(x, event_dim=0)
        numpyro.sample("level", dist.LogNormal(slope * rows, 0.5))
        numpyro.sample("share", dist.Dirichlet(jnp.exp(slope * rows)[:, None] * jnp.ones(3)))


def standardising(x, batch=2):
    """Each row's q depends on the other rows of the minibatch, as under batch normalisation."""
    numpyro.sample("loc", dist.Normal(numpyro.param("centre", 0.1), 0.7))
    with numpyro.plate("rows", len(x), subsample_size=batch):
        rows = numpyro.subsample(x, event_dim=0)
        numpyro.sample("level", dist.LogNormal(rows - rows.mean(), 0.5))
        numpyro.sample("share", dist.Dirichlet(jnp.ones((len(rows), 3))))


def without_plate(x, batch=2):
    numpyro.sample("loc", dist.Normal(numpyro.param("centre", 0.1), 0.7))
    numpyro.sample("level", dist.LogNormal(numpyro.param("levels", jnp.zeros(4)), 0.5))
    numpyro.sample("share", dist.Dirichlet(jnp.ones((4, 3))))


def outside(x, batch=2):
    """What is drawn of the plate's rows stands outside, where no row stands for the others."""
    numpyro.sample("loc", dist.Normal(numpyro.param("centre", 0.1), 0.7))
    with numpyro.plate("rows", len(x), subsample_size=batch):
        rows = numpyro.subsample(x, event_dim=0)
    numpyro.sample("level", dist.LogNormal(rows, 0.5))
    numpyro.sample("share", dist.Dirichlet(jnp.ones((len(rows), 3))))


@pytest.fixture(scope="module")
def target():
    return Target.from_numpyro(model, X)


def test_which_guides_follow_the_rows(target):
    assert follows_rows(Guide(encoder), target)
    for guide in (standardising, without_plate, outside, AutoNormal(model)):
        assert not follows_rows(Guide(guide), target), guide


@pytest.mark.landing
def test_the_mean_over_all_minibatches_is_the_value_of_all_rows(target):
    """log p and log q at the same z, Jacobians included: global parts count once, each row N / B times."""
    family = Guide(encoder).captured(target)
    z = np.random.default_rng(0).uniform(-1, 1, target.dim)
    subsets = jnp.array(list(itertools.combinations(range(4), 2)))

    def both(params, rows):
        part, sites = own_rows(target, {"rows": rows}), target.density.taken(target.unravel(z), {"rows": rows})
        own = part.ravel(sites)
        log_p, log_q = part.density.log_density(part.data, part.unravel(own)), family.log_prob(params, part, own)
        return log_p, log_q

    with jax.enable_x64(True):
        params = jax.jit(lambda key: family.init(key, target))(jax.random.key(0))
        log_p, log_q = map(np.asarray, jax.jit(jax.vmap(both, (None, 0)))(params, subsets))
        whole = float(jax.jit(lambda params, z: family.log_prob(params, target, z))(params, z))
    assert log_p.std() > 0.1
    assert log_q.std() > 0.1
    np.testing.assert_allclose(log_p.mean(), target.log_density(z), rtol=1e-10)
    np.testing.assert_allclose(log_q.mean(), whole, rtol=1e-10)
    sites = target.constrain(z)
    expected = stats.norm.logpdf(sites["loc"], 0.1, 0.7)
    expected += (stats.norm.logpdf(np.log(sites["level"]), 0.5 * X, 0.5)).sum()  # z is the log of the level
    counts = np.exp(0.5 * X)
    expected += sum(stats.dirichlet.logpdf(s, np.full(3, c)) for s, c in zip(sites["share"], counts, strict=True))
    jacobian = jax.jit(lambda z: target.density.constrain(target.data, target.unravel(z))[1])(z)
    jacobian = jacobian - np.log(sites["level"]).sum()
    np.testing.assert_allclose(whole, expected + jacobian, rtol=1e-5)


def test_draws_of_a_minibatch_carry_their_density(target, key):
    family = Guide(encoder).captured(target)
    part = own_rows(target, {"rows": jnp.array([1, 3])})
    with jax.enable_x64(True):
        params = jax.jit(lambda key: family.init(key, target))(jax.random.key(0))
        z, log_q = jax.jit(lambda: family.sample_and_log_prob(params, part, key, 3))()
        again = jax.jit(jax.vmap(lambda one: family.log_prob(params, part, one)))(z)
    assert z.shape == (3, 1 + 2 + 2 * 2)
    np.testing.assert_allclose(log_q, again, rtol=1e-9)


def test_a_step_holds_no_more_than_the_minibatch():
    """Of a million rows kept in 32 bits: neither a copy in 64 bits nor anything else of that length."""

    def narrow(x):
        with numpyro.plate("rows", len(x), subsample_size=10):
            rows = numpyro.subsample(x, event_dim=0)
            numpyro.sample("x", dist.Normal(numpyro.sample("z", dist.Normal(0, 1)), 1), obs=rows)

    def guide(x):
        slope = numpyro.param("slope", 0.5)
        with numpyro.plate("rows", len(x), subsample_size=10):
            numpyro.sample("z", dist.Normal(slope * numpyro.subsample(x, event_dim=0), 1))

    target = Target.from_numpyro(narrow, np.ones(1_000_000, np.float32))
    family, objective = Guide(guide).captured(target), ELBO(1)
    with jax.enable_x64(True):
        params = jax.jit(lambda key: family.init(key, target))(jax.random.key(0))
        loss = jax.jit(jax.value_and_grad(lambda params, key, target: objective(key, params, family, target)))
        program = loss.lower(params, jax.random.key(1), target).compile()
    assert program.memory_analysis().temp_size_in_bytes < 100_000


def test_a_name_that_model_and_guide_share_is_refused():
    def learned(x):
        scale = numpyro.param("slope", 1.0)
        with numpyro.plate("rows", len(x), subsample_size=2):
            z = numpyro.sample("z", dist.Normal(0, 1))
            numpyro.sample("x", dist.Normal(scale * z, 1), obs=numpyro.subsample(x, event_dim=0))

    def guide(x):
        with numpyro.plate("rows", len(x), subsample_size=2):
            numpyro.sample("z", dist.Normal(numpyro.param("slope", 1.0) * numpyro.subsample(x, event_dim=0), 1))

    with pytest.raises(GuideError, match="both have a parameter 'slope'"):
        Guide(guide).captured(Target.from_numpyro(learned, X))
