"""Every divergence that a peer has, vi_kl has too, and right: against quadrature, sums and draws of SciPy's densities.

peer_pairs.py lists the pairs, and peer_members.py has an example of each class.
"""

import contextlib
import itertools

import jax
import numpy as np
import numpyro.distributions as dist
import peer_pairs
import pytest
from covering import covering
from numpyro.distributions.kl import kl_divergence as numpyro_kl_divergence
from peer_members import MEMBERS, kumaraswamy
from scipy import integrate, stats

from vi_kl.divergences import NoClosedForm, kl_divergence
from vi_kl.divergences.registry import CLOSED_FORMS, nearest_pair

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


@pytest.mark.divergences
def test_each_finite_pair_of_the_peers_has_a_form():
    with jax.enable_x64(True):
        made = {class_name: members[0].make() for class_name, members in MEMBERS.items()}
    missing = [name((p, q)) for p, q in FINITE if nearest_pair(made[p], made[q]) is None]
    assert not missing


# by default each class once, as p or as q: the pairs are held to 60 digits in test_closed_forms.py
BY_DEFAULT = covering({pair: set(pair) for pair in FINITE})


@pytest.mark.parametrize(
    "pair", [pytest.param(p, id=name(p), marks=[] if p in BY_DEFAULT else pytest.mark.exhaustive) for p in FINITE]
)
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


def gammas(*, p):
    return dist.Gamma(np.array([2.0, 3.0]), 1.5) if p else dist.Gamma(np.array([1.3, 2.3]), 0.8)


GAMMA_LAWS = [(stats.gamma(a, scale=1 / 1.5), stats.gamma(b, scale=1 / 0.8)) for a, b in ((2.0, 1.3), (3.0, 2.3))]
STRUCTURED = {
    "Independent": (lambda gammas: gammas.to_event(1), lambda parts: sum(parts)),
    "Independent of repeated": (lambda gammas: gammas.expand([3, 2]).to_event(2), lambda parts: 3 * sum(parts)),
    "MaskedDistribution": (lambda gammas: gammas.mask(np.array([True, False])), lambda parts: [parts[0], 0.0]),
    "ExpandedDistribution": (lambda gammas: gammas.expand([3, 2]), lambda parts: [parts] * 3),
}


@pytest.mark.parametrize("structure", STRUCTURED)
def test_structures_of_the_peers(structure):
    """The divergence of a structure is that of its parts."""
    wrap, combine = STRUCTURED[structure]
    expected = combine([by_quadrature(*laws) for laws in GAMMA_LAWS])
    value = divergence(lambda: wrap(gammas(p=True)), lambda: wrap(gammas(p=False)))
    np.testing.assert_allclose(value, expected, rtol=RELATIVE)


FROM_A_POINT_MASS_AT_0_7 = {
    "Normal": (lambda: dist.Normal(0.2, 1.3), np.inf),
    "Exponential": (lambda: dist.Exponential(2.0), np.inf),
    "Uniform elsewhere": (lambda: dist.Uniform(0.8, 1.0), np.inf),
    "Delta": (lambda: dist.Delta(0.7), 0.0),
    "Delta elsewhere": (lambda: dist.Delta(0.8), np.inf),
}


@pytest.mark.parametrize("q", FROM_A_POINT_MASS_AT_0_7)
def test_a_point_mass_against_anything(q):
    """Infinitely far from any density. NumPyro, TFP and distrax give -log q(v), which may be negative."""
    make_q, expected = FROM_A_POINT_MASS_AT_0_7[q]
    assert divergence(lambda: dist.Delta(0.7), make_q) == expected


@pytest.mark.divergences
def test_a_series_that_numpyro_cuts_short():
    """NumPyro 0.22 adds up ten terms and gives 0.0268."""
    value = divergence(lambda: dist.Kumaraswamy(2.0, 3.0), lambda: dist.Beta(2.0, 3.0))
    assert value == pytest.approx(by_quadrature(kumaraswamy(2.0, 3.0), stats.beta(2.0, 3.0)), rel=RELATIVE)


def test_a_sure_success_against_a_coin():
    """torch gives -inf."""
    value = divergence(lambda: dist.Binomial(5, 1.0), lambda: dist.Binomial(5, 0.5))
    assert value == pytest.approx(5 * np.log(2), rel=RELATIVE)


def test_a_shared_transform_that_is_two_to_one():
    """|N(1, 1)| and |N(-1, 1)| are the same; torch and TFP give the divergence of what was folded, 2."""
    with contextlib.suppress(NoClosedForm):
        folded = (lambda loc=loc: dist.FoldedDistribution(dist.Normal(loc, 1.0)) for loc in (1.0, -1.0))
        assert divergence(*folded) == 0


def test_nothing_that_numpyro_registers_is_missing_from_the_list():
    """A newer NumPyro with more pairs fails here: list them in peer_pairs.py."""
    registered = {(p.__name__, q.__name__) for p, q in numpyro_kl_divergence.funcs}
    listed = {*peer_pairs.FINITE["NumPyro"], *peer_pairs.STRUCTURAL["NumPyro"], ("Independent", "CirculantNormal")}
    assert registered <= listed


def is_concrete_and_finite(p, q):
    """A vector that adds up to zero has no density against one that need not, and the reverse."""
    return not {p, q} & set(STRUCTURES) and (p is dist.ZeroSumNormal) == (q is dist.ZeroSumNormal)


@pytest.mark.parametrize("library", peer_pairs.FINITE)
def test_more_pairs_than_each_peer(library):
    """Ordered pairs of concrete distributions; Probs and Logits of one distribution count once."""
    finite = [pair for pair in CLOSED_FORMS if is_concrete_and_finite(*pair)]
    ours = len({tuple(c.__name__.removesuffix("Probs").removesuffix("Logits") for c in pair) for pair in finite})
    theirs = len(peer_pairs.FINITE[library])
    assert ours >= theirs, f"vi_kl registers {ours} pairs, {library} {theirs}"


@pytest.mark.parametrize("name_of_class", MEMBERS)
def test_members_are_the_laws_that_they_are_compared_with(name_of_class):
    """To 1e-6 only: NumPyro's density of a negative binomial is off by 2e-7."""
    for member in MEMBERS[name_of_class]:
        draws = member.law.rvs(size=3, random_state=np.random.default_rng(7))
        log_density = member.law.logpdf if hasattr(member.law, "logpdf") else member.law.logpmf
        expected = [float(np.squeeze(log_density(draw))) for draw in draws]
        values = np.eye(3)[draws] if name_of_class.startswith("Multinomial") else draws
        with jax.enable_x64(True):
            distribution = member.make()
            np.testing.assert_allclose(distribution.log_prob(values), expected, rtol=1e-6)
        if " by " not in name_of_class and name_of_class != "IndependentNormal":
            assert type(distribution).__name__ == name_of_class
