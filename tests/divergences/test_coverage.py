"""Every divergence that a peer has, vi_kl has too, and right: against quadrature, sums and draws of SciPy's densities.

peer_pairs.py lists the pairs, and peer_members.py has an example of each class.
"""

import itertools

import jax
import numpy as np
import numpyro.distributions as dist
import peer_pairs
import pytest
from numpyro.distributions.kl import kl_divergence as numpyro_kl_divergence
from peer_members import MEMBERS
from scipy import integrate, stats

from vi_kl.divergences import kl_divergence
from vi_kl.divergences.registry import CLOSED_FORMS

RELATIVE = 1e-6  # quadrature's own error is below 1e-8; the closed forms' last digits are tested elsewhere
DRAWS = 100_000
STANDARD_ERRORS = 5
COUNTED = 5_000  # values of an infinite support that are added up: what lies beyond holds less than 1e-100
LOG_NOTHING = -700.0  # the log of a density that adds nothing, where the other one may overflow

FINITE = peer_pairs.in_numpyro(peer_pairs.union(peer_pairs.FINITE))
INFINITE = peer_pairs.in_numpyro(peer_pairs.union(peer_pairs.INFINITE))
STRUCTURES = (dist.Distribution, dist.ExpandedDistribution, dist.Independent, dist.MaskedDistribution, dist.Delta,
              dist.TransformedDistribution)  # fmt: skip


def name(pair):
    return "||".join(pair)


def divergence(make_p, make_q):
    with jax.enable_x64(True):
        value = kl_divergence(make_p(), make_q())
    return np.asarray(value)


def oracle(p, q):
    """KL(p||q) of two SciPy laws, and how far it may be off."""
    if not hasattr(p, "support"):
        return by_draws(p, q)
    exact = by_quadrature(p, q) if hasattr(p, "pdf") else by_sum(p, q)
    return exact, RELATIVE * exact


def by_quadrature(p, q):
    def integrand(x):
        log_p = p.logpdf(x)
        return np.exp(log_p) * (log_p - q.logpdf(x)) if log_p > LOG_NOTHING else 0.0

    low, high = p.support()
    edges = [low, *p.ppf([0.01, 0.5, 0.99]), high]
    kinks = [q.median()] if low < q.median() < high else []  # of a Laplace density
    edges = sorted(edges + kinks)
    with np.errstate(over="ignore"):  # far out, where a Gumbel density is zero
        pieces = [integrate.quad(integrand, *ends, epsabs=1e-12, limit=200) for ends in itertools.pairwise(edges)]
    value, error = np.sum(pieces, axis=0)
    assert error < 0.1 * RELATIVE * value, "quadrature itself is not accurate enough"
    return value


def by_sum(p, q):
    low, high = p.support()
    support = np.arange(low, min(high, COUNTED) + 1)
    log_p, log_q = p.logpmf(support), q.logpmf(support)
    held = log_p > -np.inf
    return np.sum(np.exp(log_p[held]) * (log_p[held] - log_q[held]))


def by_draws(p, q):
    draws = p.rvs(DRAWS, random_state=np.random.default_rng(20261125))
    draws = draws.T if isinstance(p, type(stats.dirichlet([1.0, 1.0]))) else draws  # SciPy's odd one out
    log_ratio = p.logpdf(draws) - q.logpdf(draws)
    return log_ratio.mean(), STANDARD_ERRORS * stats.sem(log_ratio)


@pytest.mark.parametrize("pair", FINITE, ids=name)
def test_finite_pairs_of_the_peers(pair):
    (p, _), (_, q) = (MEMBERS[class_name] for class_name in pair)
    value = divergence(p.make, q.make)
    expected, tolerance = oracle(p.law, q.law)
    assert value.shape == ()
    assert np.isfinite(value)
    assert value >= 0
    assert expected > 0.001, "p and q of this test are too close to tell right from wrong"
    assert abs(value - expected) <= tolerance


@pytest.mark.parametrize("pair", INFINITE, ids=name)
def test_infinite_pairs_of_the_peers(pair):
    (p, _), (_, q) = (MEMBERS[class_name] for class_name in pair)
    assert divergence(p.make, q.make) == np.inf
    batched = divergence(lambda: p.make().expand([2]), lambda: q.make().expand([3, 1]))
    assert batched.shape == (3, 2)
    assert np.all(batched == np.inf)


REACHES_BEYOND = {
    "Beta||Uniform": lambda: (dist.Beta(2.0, 3.0), dist.Uniform(0.2, 1.5)),
    "BinomialProbs||BinomialProbs": lambda: (dist.Binomial(7, 0.3), dist.Binomial(5, 0.3)),
    "LogUniform||LogUniform": lambda: (dist.LogUniform(0.5, 3.0), dist.LogUniform(0.5, 2.0)),
    "Pareto||Exponential": lambda: (dist.Pareto(0.5, 1.0), dist.Exponential(1.0)),  # no mean
    "Pareto||Gamma": lambda: (dist.Pareto(0.5, 0.9), dist.Gamma(2.0, 1.0)),
    "Pareto||Normal": lambda: (dist.Pareto(0.5, 2.0), dist.Normal(0.0, 1.0)),  # no variance
    "Pareto||Pareto": lambda: (dist.Pareto(0.5, 3.0), dist.Pareto(0.6, 3.0)),
    "Uniform||Beta": lambda: (dist.Uniform(0.5, 1.5), dist.Beta(2.0, 3.0)),
    "Uniform||Exponential": lambda: (dist.Uniform(-0.5, 1.5), dist.Exponential(2.0)),
    "Uniform||Gamma": lambda: (dist.Uniform(-0.5, 1.5), dist.Gamma(2.0, 1.0)),
    "Uniform||Pareto": lambda: (dist.Uniform(0.5, 1.5), dist.Pareto(0.6, 2.0)),
    "Uniform||Uniform": lambda: (dist.Uniform(0.5, 1.5), dist.Uniform(0.5, 1.4)),
    "CategoricalProbs||CategoricalProbs": lambda: tuple(map(dist.Categorical, np.array([[0.5, 0.5], [1.0, 0.0]]))),
}


@pytest.mark.parametrize("case", REACHES_BEYOND)
def test_members_of_finite_pairs_that_are_infinite_all_the_same(case):
    """Where p reaches beyond q's support, or has too heavy a tail for q."""
    assert divergence(lambda: REACHES_BEYOND[case]()[0], lambda: REACHES_BEYOND[case]()[1]) == np.inf


def gammas(a, rate):
    return dist.Gamma(np.array([a, a + 1]), rate)


def gamma_laws(a, rate):
    return [stats.gamma(shape, scale=1 / rate) for shape in (a, a + 1)]


def test_structures_of_the_peers():
    """Independent, masked, sampled and transformed distributions reduce to their parts; a point mass to a density."""
    parts = [by_quadrature(*laws) for laws in zip(gamma_laws(2.0, 1.5), gamma_laws(1.3, 0.8), strict=True)]
    p, q = gammas(2.0, 1.5), gammas(1.3, 0.8)
    with jax.enable_x64(True):
        assert kl_divergence(p.to_event(1), q.to_event(1)) == pytest.approx(sum(parts), rel=RELATIVE)
        many = (d.expand([3, 2]).to_event(2) for d in (p, q))
        assert kl_divergence(*many) == pytest.approx(3 * sum(parts), rel=RELATIVE)
        mask = np.array([True, False])
        np.testing.assert_allclose(kl_divergence(p.mask(mask), q.mask(mask)), [parts[0], 0.0], rtol=RELATIVE)
        point = kl_divergence(dist.Delta(0.7), dist.Normal(0.2, 1.3))
        assert point == pytest.approx(-stats.norm.logpdf(0.7, 0.2, 1.3), rel=RELATIVE)
        assert kl_divergence(dist.Delta(0.7), dist.Delta(0.7)) == 0
        assert kl_divergence(dist.Delta(0.7), dist.Delta(0.8)) == np.inf


def test_nothing_that_numpyro_registers_is_missing_from_the_list():
    """A newer NumPyro with more pairs fails here: list them in peer_pairs.py."""
    registered = {(p.__name__, q.__name__) for p, q in numpyro_kl_divergence.funcs}
    listed = {*peer_pairs.FINITE["NumPyro"], *peer_pairs.STRUCTURAL["NumPyro"], ("Independent", "CirculantNormal")}
    assert registered <= listed


@pytest.mark.parametrize("library", peer_pairs.FINITE)
def test_more_pairs_than_each_peer(library):
    """Ordered pairs of concrete distributions; Probs and Logits of one distribution count once."""
    concrete = [pair for pair in CLOSED_FORMS if not set(pair) & set(STRUCTURES)]
    ours = len({tuple(c.__name__.removesuffix("Probs").removesuffix("Logits") for c in pair) for pair in concrete})
    theirs = len(peer_pairs.FINITE[library])
    assert ours >= theirs, f"vi_kl registers {ours} pairs, {library} {theirs}"


@pytest.mark.parametrize("name_of_class", MEMBERS)
def test_members_are_the_laws_that_they_are_compared_with(name_of_class):
    for member in MEMBERS[name_of_class]:
        draws = member.law.rvs(size=3, random_state=np.random.default_rng(7))
        densities = member.law.logpdf if hasattr(member.law, "logpdf") else member.law.logpmf
        values = np.eye(3)[draws] if name_of_class.startswith("Multinomial") else draws
        expected = [float(np.squeeze(densities(draw))) for draw in draws]
        with jax.enable_x64(True):
            distribution = member.make()
            np.testing.assert_allclose(
                distribution.log_prob(values), expected, rtol=1e-6
            )  # NumPyro's negative binomial is off by 2e-7
        if " by " not in name_of_class and name_of_class != "IndependentNormal":
            assert type(distribution).__name__ == name_of_class
