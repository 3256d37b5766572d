"""Discrete latent sites summed out: against hand-written sums, MixtureSameFamily and quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats
from scipy.special import gammaln, logsumexp

from vi_kl.families.guide import Guide, GuideError, guide_family
from vi_kl.reference import reference_by_quadrature
from vi_kl.targets import Target
from vi_kl.targets.numpyro.discrete_sites import configurations
from vi_kl.targets.numpyro.enumeration import discrete_posterior, discrete_support
from vi_kl.targets.numpyro.model import ModelError

Y = np.array([-1.2, 0.3, 2.8, 3.1])


def mixture(y):
    weight = numpyro.sample("weight", dist.Beta(2, 2))
    locs = numpyro.sample("locs", dist.Normal(0, 3).expand([2]).to_event(1))
    with numpyro.plate("rows", len(y)):
        kind = numpyro.sample("kind", dist.Bernoulli(weight))
        numpyro.sample("y", dist.Normal(locs[kind], 1.0), obs=y)


def mixture_by_hand(y):
    weight = numpyro.sample("weight", dist.Beta(2, 2))
    locs = numpyro.sample("locs", dist.Normal(0, 3).expand([2]).to_event(1))
    kinds = dist.Categorical(probs=jnp.stack([1 - weight, weight]))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.MixtureSameFamily(kinds, dist.Normal(locs, 1.0)), obs=y)


def change_point(counts, n):
    """A Poisson series whose rate changes once, after `tau` of its terms."""
    tau = numpyro.sample("tau", dist.DiscreteUniform(1, n - 1))
    early = numpyro.sample("early", dist.Gamma(2.0, 1.0))
    late = numpyro.sample("late", dist.Gamma(3.0, 2.0))
    rate = jnp.where(jnp.arange(n) < tau, early, late)
    numpyro.sample("counts", dist.Poisson(rate).to_event(1), obs=counts)


COUNTS = np.array([4, 5, 4, 1, 0, 4, 3, 4, 0, 6, 3, 3, 1, 0, 1, 1, 0, 2, 1, 0])


def change_point_log_joint(counts):
    """log p(tau, counts) for tau = 1, ..., n - 1: two conjugate Gamma-Poisson evidences."""

    def segment(y, a, b):
        return (
            a * np.log(b)
            - gammaln(a)
            + gammaln(a + y.sum())
            - (a + y.sum()) * np.log(b + len(y))
            - gammaln(y + 1).sum()
        )

    n = len(counts)
    return np.array([segment(counts[:t], 2, 1) + segment(counts[t:], 3, 2) for t in range(1, n)]) - np.log(n - 1)


@pytest.mark.landing
def test_a_mixture_is_the_one_that_mixture_same_family_sums_out():
    target, by_hand = Target.from_numpyro(mixture, Y), Target.from_numpyro(mixture_by_hand, Y)
    assert target.site_names == ("locs", "weight")
    z = np.random.default_rng(0).normal(size=(6, 3))
    np.testing.assert_allclose(target.log_density(z), by_hand.log_density(z), rtol=1e-12)
    for name, x in target.constrain(z).items():
        np.testing.assert_allclose(x, by_hand.constrain(z)[name], rtol=1e-12)
    np.testing.assert_allclose(target.unconstrain(target.constrain(z)), z, atol=1e-10)


@pytest.mark.landing
def test_its_gradient_too():
    target, by_hand = Target.from_numpyro(mixture, Y), Target.from_numpyro(mixture_by_hand, Y)
    with jax.enable_x64(True):
        z = jnp.array([0.3, -0.7, 0.2])
        first, second = (jax.grad(lambda z, t=t: t.log_density(z))(z) for t in (target, by_hand))
    np.testing.assert_allclose(first, second, rtol=1e-10)


def test_discrete_posterior_is_bayes_rule():
    target = Target.from_numpyro(mixture, Y)
    z = np.random.default_rng(1).normal(size=(5, 3))
    sites = target.constrain(z)
    found = discrete_posterior(target, z)["kind"]
    one = stats.norm.pdf(Y, sites["locs"][:, 1:], 1) * sites["weight"][:, None]
    zero = stats.norm.pdf(Y, sites["locs"][:, :1], 1) * (1 - sites["weight"][:, None])
    assert found.shape == (5, 4, 2)
    np.testing.assert_allclose(found[..., 1], one / (one + zero), rtol=1e-10)
    np.testing.assert_allclose(discrete_posterior(target, z[2])["kind"], found[2], rtol=1e-12)
    assert discrete_support(target)["kind"].tolist() == [0, 1]


@pytest.fixture(scope="module")
def coal():
    return Target.from_numpyro(change_point, COUNTS, len(COUNTS), reference=reference_by_quadrature)


@pytest.mark.exhaustive
def test_change_point_evidence_by_quadrature_is_the_conjugate_sum(coal):
    expected = logsumexp(change_point_log_joint(COUNTS))
    evidence = coal.reference.log_evidence
    assert abs(evidence.value - expected) <= max(evidence.standard_error, 1e-9)
    assert evidence.standard_error < 1e-6


def test_change_point_posterior_is_the_conjugate_one(coal):
    expected = np.exp(change_point_log_joint(COUNTS) - logsumexp(change_point_log_joint(COUNTS)))
    z = coal.reference.sample(jax.random.key(0), 8_000)
    probabilities = discrete_posterior(coal, z)["tau"]
    standard_error = probabilities.std(axis=0) / np.sqrt(len(z))
    assert probabilities.shape == (8_000, len(COUNTS) - 1)
    assert (np.abs(probabilities.mean(axis=0) - expected) < 4 * standard_error + 1e-6).all()
    assert discrete_support(coal)["tau"].tolist() == list(range(1, len(COUNTS)))


def several_sites(y):
    """Discrete sites that depend on each other, in a plate, with an event shape, and a Binomial."""
    x = numpyro.sample("x", dist.Normal(0, 1))
    kind = numpyro.sample("kind", dist.Categorical(jnp.array([0.2, 0.3, 0.5])))
    with numpyro.plate("parts", 3):
        on = numpyro.sample("on", dist.Bernoulli(logits=x + kind - 1.0))
    count = numpyro.sample("count", dist.Binomial(3, 0.25 + 0.25 * on[0]))
    code = numpyro.sample("code", dist.Bernoulli(jnp.array([0.1, 0.6])).to_event(1))
    numpyro.sample("y", dist.Normal(x + on.sum() + count * code[1] - code[0], 1), obs=y)


def several_sites_by_hand(x, y):
    logs = []
    for kind in range(3):
        p = 1 / (1 + np.exp(-(x + kind - 1.0)))
        for on in np.ndindex(2, 2, 2):
            for count in range(4):
                for code in np.ndindex(2, 2):
                    log = stats.norm.logpdf(x) + np.log([0.2, 0.3, 0.5][kind]) + stats.bernoulli.logpmf(on, p).sum()
                    log += stats.binom.logpmf(count, 3, 0.25 + 0.25 * on[0])
                    log += stats.bernoulli.logpmf(code, [0.1, 0.6]).sum()
                    logs.append(log + stats.norm.logpdf(y, x + sum(on) + count * code[1] - code[0], 1))
    return logsumexp(logs)


@pytest.mark.exhaustive
def test_sites_that_depend_on_each_other_are_summed_jointly():
    """384 configurations: more than one block of them."""
    target = Target.from_numpyro(several_sites, 1.7)
    assert len(configurations(target.density.discrete)) == 384
    z = np.array([[-0.4], [0.9]])
    np.testing.assert_allclose(target.log_density(z), [several_sites_by_hand(x, 1.7) for x in z[:, 0]], rtol=1e-12)
    probabilities = discrete_posterior(target, z)
    assert {name: p.shape for name, p in probabilities.items()} == {
        "code": (2, 2, 2), "count": (2, 4), "kind": (2, 3), "on": (2, 3, 2)
    }  # fmt: skip
    for p in probabilities.values():
        np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-12)


def test_a_guide_draws_the_continuous_sites_only(key):
    def guide(counts, n):
        loc = numpyro.param("loc", 0.5)
        for name in ("early", "late"):
            numpyro.sample(name, dist.LogNormal(loc, 0.3))

    def greedy(counts, n):
        guide(counts, n)
        numpyro.sample("tau", dist.DiscreteUniform(1, 3))

    target = Target.from_numpyro(change_point, COUNTS, len(COUNTS))
    q = Guide(guide).distribution(Guide(guide).init(key, target), target)
    z = np.array([0.1, 0.4])
    np.testing.assert_allclose(q.log_prob(z), stats.norm.logpdf(z, 0.5, 0.3).sum(), rtol=1e-5)
    with pytest.raises(GuideError, match="tau"):
        Guide(greedy).init(key, target)


@pytest.mark.exhaustive
def test_an_automatic_guide_sees_the_continuous_sites_only(key):
    from numpyro.infer.autoguide import AutoNormal

    target = Target.from_numpyro(change_point, COUNTS, len(COUNTS))
    params = guide_family(AutoNormal, target).init(key, target)
    assert sorted(params) == ["early_auto_loc", "early_auto_scale", "late_auto_loc", "late_auto_scale"]


# Refusals ------------------------------------------------------------------------------------------------------


def with_poisson(y):
    x = numpyro.sample("x", dist.Gamma(1, 1))
    n = numpyro.sample("n", dist.Poisson(x))
    numpyro.sample("y", dist.Normal(n, 1), obs=y)


def ragged(y):
    x = numpyro.sample("x", dist.Beta(1, 1))
    n = numpyro.sample("n", dist.Categorical(jnp.ones(4) / 4))
    k = numpyro.sample("k", dist.Binomial(n, x))
    numpyro.sample("y", dist.Normal(k, 1), obs=y)


def moving_support(y):
    n = numpyro.sample("n", dist.Categorical(jnp.ones(4) / 4))
    x = numpyro.sample("x", dist.Uniform(0.0, n + 1.0))
    numpyro.sample("y", dist.Normal(x, 1), obs=y)


@pytest.mark.parametrize(
    ("model", "y", "words"),
    [
        (with_poisson, 0.3, ["'n'", "Poisson", "Categorical"]),
        (mixture, np.zeros(13), ["'kind' 2^13", "8,192", "4,096", "MixtureSameFamily"]),
        (mixture, np.zeros(200), ["2^200", "10^60"]),
        (ragged, 0.3, ["'k'", "Binomial", "Python int"]),
        (moving_support, 0.3, ["'x'", "depends on a discrete"]),
    ],
)
def test_refusals_name_the_site_and_the_mend(model, y, words, monkeypatch):
    monkeypatch.setattr("vi_kl.targets.numpyro.discrete_sites.has_funsor", lambda: False)
    with pytest.raises(ModelError) as raised:
        Target.from_numpyro(model, y)
    for word in words:
        assert word in str(raised.value)


def test_a_target_without_discrete_sites_has_no_discrete_posterior():
    with pytest.raises(ValueError, match="no discrete"):
        discrete_posterior(Target.from_log_density(lambda z: -jnp.sum(z**2), 1), np.zeros((2, 1)))
