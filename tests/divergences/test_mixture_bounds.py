"""Bounds on the KL between mixtures: the truth by quadrature lies between them, and where they are tight."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from vi_kl.divergences import NoClosedForm, estimate_kl, kl_divergence, mixture_kl_bounds
from vi_kl.divergences.mixtures.components import between, components_of

METHODS = ["variational", "pairwise", "best"]


def mixture(weights, component):
    return dist.MixtureSameFamily(dist.Categorical(probs=np.asarray(weights)), component)


def random_normals(rng, spread):
    count = int(rng.integers(2, 6))
    return rng.dirichlet(np.ones(count)), spread * rng.normal(size=count), np.exp(0.6 * rng.normal(size=count))


def normal_mixture_kl(p, q):
    """The truth by the trapezium rule, exponentially exact for these smooth densities."""
    x = np.linspace(-60, 60, 12_001)
    log_p, log_q = (
        np.logaddexp.reduce([np.log(w) + stats.norm(m, s).logpdf(x) for w, m, s in zip(*parts, strict=True)])
        for parts in (p, q)
    )
    return np.sum(np.exp(log_p) * (log_p - log_q)) * (x[1] - x[0])


@pytest.mark.divergences
@pytest.mark.parametrize("spread", [0.3, 2.0, 8.0])
def test_the_truth_lies_between_over_random_mixtures(spread):
    """25 pairs that overlap much, little or hardly at all; narrow and wide components, one of them nearly empty."""
    rng = np.random.default_rng(int(spread * 10))
    informative = 0
    for number in range(25):
        parts = random_normals(rng, spread), random_normals(rng, spread)
        truth = normal_mixture_kl(*parts)
        p, q = (mixture(weights, dist.Normal(locs, scales)) for weights, locs, scales in parts)
        variational, pairwise = (mixture_kl_bounds(p, q, method) for method in METHODS[:2])
        for bounds in (variational, pairwise):
            assert 0 <= bounds.lower <= truth * (1 + 1e-9)
            assert truth * (1 - 1e-9) <= bounds.upper
        lower, upper = max(variational.lower, pairwise.lower), min(variational.upper, pairwise.upper)
        if number % 5 == 0:  # it computes both again
            best = mixture_kl_bounds(p, q)
            assert (best.lower, best.upper) == (lower, upper)
        informative += lower > 0.2 * truth
    assert informative > {0.3: -1, 2.0: 4, 8.0: 16}[spread]


@pytest.mark.divergences
def test_skewed_components_and_quadrature():
    """Gammas have no overlap integrals here: the lower variational bound is 0, the others hold."""
    rng = np.random.default_rng(5)
    for _ in range(4):
        p, q = (
            mixture(rng.dirichlet([2, 2]), dist.Gamma(1 + rng.exponential(3, 2), rng.uniform(0.3, 3, 2))) for _ in "pq"
        )
        truth = estimate_kl(p, q, method="quadrature").value
        variational, pairwise = (mixture_kl_bounds(p, q, method) for method in METHODS[:2])
        assert variational.lower == 0
        for bounds in (variational, pairwise):
            assert bounds.lower <= truth <= bounds.upper


def vectors(rng, count, spread):
    trils = np.tril(rng.normal(size=(count, 2, 2)) * 0.3) + np.eye(2)
    return dist.MultivariateNormal(spread * rng.normal(size=(count, 2)), scale_tril=trils)


@pytest.mark.exhaustive
def test_vectors_against_a_grid():
    """Correlated Gaussians of two dimensions; the grid sum of smooth densities is exact to 1e-8."""
    rng = np.random.default_rng(6)
    axis = np.linspace(-14, 14, 561)
    grid = np.stack(np.meshgrid(axis, axis), -1)
    for spread in (0.5, 2.0, 3.0):
        p, q = mixture(rng.dirichlet(np.ones(3)), vectors(rng, 3, spread)), mixture([0.4, 0.6], vectors(rng, 2, spread))
        with jax.enable_x64(True):
            log_p, log_q = (np.asarray(d.log_prob(grid), float) for d in (p, q))
        truth = np.sum(np.exp(log_p) * (log_p - log_q)) * (axis[1] - axis[0]) ** 2
        for method in METHODS:
            bounds = mixture_kl_bounds(p, q, method)
            assert bounds.lower <= truth * (1 + 1e-6)
            assert truth * (1 - 1e-6) <= bounds.upper


def test_identical_mixtures_have_no_divergence():
    p = mixture([0.3, 0.7], dist.Normal(np.array([-0.5, 0.5]), np.array([1.0, 0.8])))
    bounds = mixture_kl_bounds(p, p, "variational")
    assert bounds.lower == 0
    assert 0 <= bounds.upper < 1e-9


def test_common_components_cost_at_most_the_divergence_of_the_weights():
    """By the chain rule; the variational bound finds the assignment of each component to itself."""
    component = dist.Normal(np.array([-1.0, 0.5, 2.0]), np.array([1.0, 0.8, 0.5]))
    weights = np.array([0.2, 0.3, 0.5]), np.array([0.4, 0.4, 0.2])
    bounds = mixture_kl_bounds(*(mixture(w, component) for w in weights), "variational")
    assert bounds.upper <= float(kl_divergence(*weights)) * (1 + 1e-6)


def test_distant_components_leave_no_gap_in_the_pairwise_bounds():
    """Each component of p then meets its own of q only: KL of the weights, and the mean KL of the pairs."""
    locs = np.array([-100.0, 0.0, 100.0])
    weights = np.array([0.2, 0.3, 0.5]), np.array([0.4, 0.4, 0.2])
    p, q = mixture(weights[0], dist.Normal(locs, 1.0)), mixture(weights[1], dist.Normal(locs, 1.0))
    truth = float(kl_divergence(*weights))
    bounds = mixture_kl_bounds(p, q, "pairwise")
    assert bounds.lower == pytest.approx(truth, rel=1e-9)
    assert bounds.upper == pytest.approx(truth, rel=1e-9)
    moved = mixture(weights[1], dist.Normal(locs + 1, 1.0))
    bounds = mixture_kl_bounds(p, moved, "pairwise")
    assert bounds.upper == pytest.approx(truth + 0.5, rel=1e-9)
    assert truth < bounds.lower < truth + 0.5


def test_a_single_component_meets_its_closed_form_from_above():
    """KL(f||g) of single components is both upper bounds; the lower ones are below it."""
    p, q = dist.Normal(0.0, 1.0), dist.Normal(1.0, 2.0)
    for method in METHODS:
        bounds = mixture_kl_bounds(p, q, method)
        assert bounds.upper == pytest.approx(np.log(2) + 2 / 8 - 0.5, rel=1e-12)
        assert bounds.lower <= bounds.upper
    one = mixture_kl_bounds(mixture([1.0, 0.0], dist.Normal(np.array([0.0, 5.0]), 1.0)), q)
    assert one == mixture_kl_bounds(p, q)  # a component without weight does not count


def test_general_mixtures_and_infinite_divergences():
    mixing = dist.Categorical(probs=np.array([0.5, 0.5]))
    p = dist.MixtureGeneral(mixing, [dist.Gamma(2.0, 1.0), dist.Gamma(3.0, 0.5)])
    same = dist.MixtureSameFamily(mixing, dist.Gamma(np.array([2.0, 3.0]), np.array([1.0, 0.5])))
    q = dist.Gamma(2.5, 0.6)
    assert mixture_kl_bounds(p, q) == mixture_kl_bounds(same, q)
    counts = dist.MixtureGeneral(mixing, [dist.Binomial(3, 0.2), dist.Binomial(3, 0.6)])
    assert mixture_kl_bounds(counts, dist.Binomial(3, 0.0), "variational").upper == np.inf
    pmf = (stats.binom(3, 0.2).pmf(range(4)) + stats.binom(3, 0.6).pmf(range(4))) / 2
    truth = float(kl_divergence(pmf, stats.binom(3, 0.4).pmf(range(4))))
    bounds = mixture_kl_bounds(counts, dist.Binomial(3, 0.4))
    assert bounds.lower <= truth <= bounds.upper


@pytest.mark.divergences
@pytest.mark.parametrize(
    "batched",
    [
        dist.Normal(np.array([-1.0, 2.0, 3.0]), 1.5),
        dist.Normal(0.0, 1.0).expand([3]),
        dist.Normal(np.arange(6.0).reshape(3, 2), np.array([1.0, 2.0])).to_event(1),
        dist.Normal(np.zeros(2), 1.0).expand([3, 2]).to_event(1),
        dist.MultivariateNormal(np.arange(6.0).reshape(3, 2), np.eye(2)),
        dist.LogNormal(np.array([0.0, 1.0, 2.0]), 0.5),
        dist.Dirichlet(np.arange(1.0, 7.0).reshape(3, 2)),
    ],
)
def test_components_are_those_that_the_mixture_has(batched):
    """Each with the density that NumPyro gives its batch entry, and with no batch left."""
    parts = components_of(mixture([0.2, 0.3, 0.5], batched))
    np.testing.assert_allclose(parts.weights, [0.2, 0.3, 0.5], rtol=1e-6)
    point = batched.sample(jax.random.key(0))[1]
    for k, member in enumerate(parts.members):
        assert member.batch_shape == ()
        assert member.event_shape == batched.event_shape
        assert float(member.log_prob(point)) == pytest.approx(float(batched.log_prob(point)[k]), rel=1e-6)


def test_all_pairs_at_once_are_the_pairs_one_by_one():
    p, q = (components_of(mixture(np.ones(k) / k, dist.Gamma(np.arange(1.0, k + 1), 2.0))) for k in (3, 4))
    one_by_one = [[float(kl_divergence(f, g)) for g in q.members] for f in p.members]
    np.testing.assert_allclose(between(p, q), one_by_one, rtol=1e-6)


def test_mistakes_are_named():
    p = mixture([0.5, 0.5], dist.Normal(np.zeros(2), 1.0))
    with pytest.raises(ValueError, match="method must be 'best' or one of 'variational', 'pairwise'"):
        mixture_kl_bounds(p, p, "tight")
    with pytest.raises(ValueError, match=r"q must be one mixture, but its batch shape is \(3,\)"):
        mixture_kl_bounds(p, dist.Normal(jnp.zeros(3), 1.0))
    with pytest.raises(NoClosedForm, match="StudentT"):
        mixture_kl_bounds(p, dist.StudentT(3.0))
