"""Counts: the truths' formulas added up directly, boundaries, batches, gradients, large supports and refusals."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy
from mpmath import mpf
from truths.counting import poisson, waiting
from truths.finite_sum import beta_binomial_pmf, beta_negative_binomial_pmf, divergence, poisson_pmf
from truths.formulas import binomial_pmf
from truths.multinomial import compositions, dirichlet_multinomial_pmf
from truths.zero_modified import behind_gates, chance_of_zero, truncated_poisson, truncated_waiting

from vi_kl.divergences import NoClosedForm, entropy, estimate_kl, kl_divergence
from vi_kl.divergences.analytic.counts.urns import long_urns_kl, urns_kl
from vi_kl.divergences.analytic.counts.zero_truncated import langevin

INF = np.inf


def added_up(pmf_p, pmf_q, start=0):
    """The divergence of pmfs on start, start + 1, ..., which are divided by their sums."""
    totals = [mpmath.nsum(pmf, [start, mpmath.inf]) for pmf in (pmf_p, pmf_q)]

    def term(k):
        p, q = pmf_p(k) / totals[0], pmf_q(k) / totals[1]
        return p * mpmath.log(p / q)

    return mpmath.nsum(term, [start, mpmath.inf])


def poisson_at(rate):
    return lambda k: mpmath.exp(-rate) * rate**k / mpmath.factorial(k)


def negative_binomial_at(r, failure):
    return lambda k: mpmath.rf(r, k) / mpmath.factorial(k) * failure**r * (1 - failure) ** k


@pytest.mark.parametrize(("formula", "pmfs", "start"), [
    (lambda: poisson(mpf(2), mpf(3)), (poisson_at(mpf(2)), poisson_at(mpf(3))), 0),
    (lambda: truncated_poisson(mpf(2), mpf("0.3")), (poisson_at(mpf(2)), poisson_at(mpf("0.3"))), 1),
    (
        lambda: waiting(mpf("1.5"), mpf("0.6"), mpf("0.4")),
        (negative_binomial_at(mpf("1.5"), mpf("0.6")), negative_binomial_at(mpf("1.5"), mpf("0.4"))),
        0,
    ),
    (
        lambda: truncated_waiting(mpf("0.2"), mpf("0.6"), mpf("0.4")),
        (negative_binomial_at(mpf("0.2"), mpf("0.6")), negative_binomial_at(mpf("0.2"), mpf("0.4"))),
        1,
    ),
])  # fmt: skip
def test_the_truths_are_the_sums(formula, pmfs, start):
    with mpmath.workdps(20):
        assert mpmath.almosteq(formula(), added_up(*pmfs, start), rel_eps=mpf("1e-12"))


def test_pmfs_of_the_truths_add_up_to_one():
    assert mpmath.almosteq(sum(beta_binomial_pmf(9, mpf("0.3"), mpf(4))), 1)
    outcomes = compositions(4, 3)
    assert mpmath.almosteq(sum(dirichlet_multinomial_pmf([mpf("0.3"), mpf(4), mpf(1)], outcomes)), 1)
    # of a beta negative binomial with so light a tail, nearly all is in the first dozen counts
    assert abs(sum(beta_negative_binomial_pmf(mpf(1), mpf(90), mpf("0.5"))) - 1) < mpf("1e-12")


@pytest.mark.parametrize(
    ("p", "q", "value"),
    [
        (dist.Poisson(0.0), dist.Poisson(0.0), 0.0),
        (dist.Poisson(0.0), dist.Poisson(2.0), 2.0),
        (dist.Poisson(2.0), dist.Poisson(0.0), INF),
        (dist.GeometricProbs(1.0), dist.GeometricProbs(0.25), np.log(4)),
        (dist.GeometricProbs(0.25), dist.GeometricProbs(1.0), INF),
        (dist.NegativeBinomialProbs(3.0, 0.0), dist.NegativeBinomialProbs(3.0, 0.5), 3 * np.log(2)),
        (dist.GeometricProbs(0.5), dist.GammaPoisson(1.0, 1.0), 0.0),
        (dist.Multinomial(5, probs=jnp.array([0.0, 1.0])), dist.Multinomial(5, jnp.array([0.5, 0.5])), 5 * np.log(2)),
        (dist.Multinomial(5, probs=jnp.array([0.5, 0.5])), dist.Multinomial(4, jnp.array([0.5, 0.5])), INF),
        (dist.DirichletMultinomial(jnp.ones(3), 2), dist.DirichletMultinomial(jnp.ones(3), 3), INF),
        (dist.DiscreteUniform(-3, 1), dist.DiscreteUniform(-3, 6), np.log(2)),
        (dist.DiscreteUniform(-3, 1), dist.DiscreteUniform(-2, 6), INF),
        (dist.DiscreteUniform(-3, 1), dist.Poisson(2.0), INF),
        (dist.DiscreteUniform(2, 3), dist.Poisson(1.0), 1 + np.log(6) / 2 + np.log(2) / 2 - np.log(2)),
        (dist.Bernoulli(0.0), dist.Poisson(2.0), 2.0),
        (dist.Bernoulli(1.0), dist.Poisson(2.0), 2 - np.log(2)),
        (dist.Bernoulli(0.5), dist.Poisson(0.0), INF),
        (dist.Bernoulli(0.0), dist.Poisson(0.0), 0.0),
        (dist.Binomial(7, 1.0), dist.BetaBinomial(1.0, 1.0, 7), np.log(8)),
        (dist.BetaBinomial(1.0, 1.0, 7), dist.Binomial(6, 0.5), INF),
        (dist.Categorical(jnp.array([0.5, 0.0, 0.5])), dist.DiscreteUniform(0, 2), np.log(1.5)),
        (dist.ZeroInflatedPoisson(1.0, 2.0), dist.Poisson(3.0), 3.0),
        (dist.ZeroInflatedPoisson(1.0, 2.0), dist.Binomial(2, 0.5), np.log(4)),
        (dist.ZeroInflatedPoisson(0.5, 2.0), dist.Binomial(2, 0.5), INF),
        (dist.Poisson(3.0), dist.ZeroInflatedPoisson(1.0, 2.0), INF),
        (dist.Poisson(3.0), dist.HurdlePoisson(0.0, 3.0), INF),
        (dist.ZeroInflatedPoisson(0.0, 3.0), dist.Poisson(3.0), 0.0),
        (dist.ZeroInflatedPoisson(1.0, 2.0), dist.Poisson(3000.0), 3000.0),
        (dist.ZeroInflatedProbs(dist.Binomial(3, 0.0), 0.5), dist.ZeroInflatedPoisson(0.0, 3000.0), 3000.0),
        (dist.HurdlePoisson(1.0, 2.0), dist.HurdlePoisson(0.25, 7.0), np.log(4)),
        (dist.HurdlePoisson(0.0, 2.0), dist.HurdlePoisson(0.25, 2.0), -np.log(0.75)),
        (dist.HurdleGamma(1.0, 2.0, 3.0), dist.HurdleGamma(0.5, 1.0, 1.0), np.log(2)),
        (dist.ZeroInflatedProbs(dist.Binomial(3, 0.0), 0.5), dist.Binomial(3, 0.5), 3 * np.log(2)),
    ],
)  # fmt: skip
def test_boundaries(p, q, value):
    assert float(kl_divergence(p, q)) == pytest.approx(value, rel=1e-6, abs=1e-12)


MEMBERS = {
    "poisson": lambda x: dist.Poisson(x),
    "geometric": lambda x: dist.GeometricProbs(x / 20),
    "gamma_poisson": lambda x: dist.GammaPoisson(2.5, x),
    "multinomial": lambda x: dist.MultinomialLogits(x[..., None] * jnp.arange(3), 4),
    "dirichlet_multinomial": lambda x: dist.DirichletMultinomial(x[..., None] * jnp.arange(1, 4), 5),
    "beta_binomial": lambda x: dist.BetaBinomial(x, 2.0, 6),
    "zero_inflated": lambda x: dist.ZeroInflatedPoisson(x / 20, x),
    "hurdle": lambda x: dist.HurdlePoisson(x / 20, x),
    "zero_inflated_logits": lambda x: dist.ZeroInflatedLogits(dist.GeometricProbs(x / 20), x),
    "zero_inflated_binomial": lambda x: dist.ZeroInflatedProbs(dist.Binomial(6, x / 20), 0.3),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", MEMBERS)
def test_batches_broadcast_and_transformations_agree(name):
    make = MEMBERS[name]
    left, right = jnp.array([1.0, 2.5, 4.0]), jnp.array([2.5, 5.0])
    values = kl_divergence(make(left[:, None]), make(right))
    assert values.shape == (3, 2)
    assert values[1, 0] == 0
    one_by_one = jax.vmap(jax.vmap(lambda a, b: kl_divergence(make(a), make(b)), (None, 0)), (0, None))
    np.testing.assert_allclose(jax.jit(one_by_one)(left, right), values, rtol=1e-6)
    expanded = kl_divergence(make(left[:, None]).expand([4, 3, 1]), make(right))
    np.testing.assert_array_equal(expanded, np.broadcast_to(values, (4, 3, 2)))


@pytest.mark.divergences
def test_batches_of_different_supports():
    """Each entry is summed over its own support."""
    low, high, trials = np.array([0, 2, -1]), np.array([3, 3, 2]), np.array([3, 9, 9])
    q = dist.BetaBinomial(jnp.array([1.0, 2.0, 3.0]), 2.0, trials)
    values = kl_divergence(dist.DiscreteUniform(low, high), q)
    pmfs = [beta_binomial_pmf(int(n), mpf(a), mpf(2)) for n, a in zip(trials, (1, 2, 3), strict=True)]
    expected = [divergence([mpf(1) / 4] * 4, pmfs[0]), divergence([mpf(0)] * 2 + [mpf(1) / 2] * 2, pmfs[1])]
    np.testing.assert_allclose(values, [*map(float, expected), INF], rtol=1e-6)


def by_binomial_poisson(p, rate):
    return divergence(binomial_pmf(7, p), poisson_pmf(rate))


def by_beta_binomials(a, b, c, d):
    return divergence(beta_binomial_pmf(6, a, b), beta_binomial_pmf(6, c, d))


def by_zero_inflated(gate_p, rate_p, gate_q, rate_q):
    zeros = (
        chance_of_zero(dist.ZeroInflatedPoisson, g, mpmath.exp(-r)) for g, r in ((gate_p, rate_p), (gate_q, rate_q))
    )
    return behind_gates(*zeros, truncated_poisson(rate_p, rate_q))


def by_zero_inflated_binomials(gate_p, p, gate_q, q):
    pmfs = []
    for gate, chance in ((gate_p, p), (gate_q, q)):
        zero, *others = binomial_pmf(6, chance)
        pmfs.append([gate + (1 - gate) * zero, *((1 - gate) * x for x in others)])
    return divergence(*pmfs)


def by_urns(a, b, c, d):
    outcomes = compositions(5, 2)
    return divergence(dirichlet_multinomial_pmf([a, b], outcomes), dirichlet_multinomial_pmf([c, d], outcomes))


def beta_binomials(a, b, c, d):
    return dist.BetaBinomial(a, b, 6), dist.BetaBinomial(c, d, 6)


def zero_inflated(gate_p, rate_p, gate_q, rate_q):
    return dist.ZeroInflatedPoisson(gate_p, rate_p), dist.ZeroInflatedPoisson(gate_q, rate_q)


GRADIENTS = {
    "poisson": (lambda x, y: (dist.Poisson(x), dist.Poisson(y)), poisson, (2.0, 3.0)),
    "geometric": (
        lambda x, y: (dist.GeometricProbs(x), dist.GeometricProbs(y)),
        lambda x, y: waiting(1, x, y),
        (0.3, 0.3001),
    ),
    "gamma_poisson": (
        lambda x, y: (dist.GammaPoisson(2.5, x), dist.GammaPoisson(2.5, y)),
        lambda x, y: waiting(mpf("2.5"), x / (1 + x), y / (1 + y)),
        (2.0, 0.3),
    ),
    "binomial-poisson": (lambda p, r: (dist.Binomial(7, p), dist.Poisson(r)), by_binomial_poisson, (0.3, 2.0)),
    "beta_binomial": (
        beta_binomials,
        by_beta_binomials,
        (0.5, 3.0, 0.6, 2.0),
    ),
    "beta_binomial, near": (
        beta_binomials,
        by_beta_binomials,
        (0.5, 3.0, 0.5001, 3.0),
    ),
    "zero_inflated": (
        zero_inflated,
        by_zero_inflated,
        (0.3, 2.0, 0.2, 3.0),
    ),
    "zero_inflated, large": (
        zero_inflated,
        by_zero_inflated,
        (0.3, 200.0, 0.2, 201.0),
    ),
    "zero_inflated_binomial": (
        lambda g, p, h, q: (
            dist.ZeroInflatedProbs(dist.Binomial(6, p), g),
            dist.ZeroInflatedProbs(dist.Binomial(6, q), h),
        ),
        by_zero_inflated_binomials,
        (0.3, 0.2, 0.2, 0.25),
    ),
    "dirichlet_multinomial": (
        lambda a, b, c, d: (
            dist.DirichletMultinomial(jnp.stack([a, b]), 5),
            dist.DirichletMultinomial(jnp.stack([c, d]), 5),
        ),
        by_urns,
        (0.5, 3.0, 0.6, 2.0),
    ),
}


@functools.cache
def gradient_of(make, size):
    """Compiled once for the near pairs and the far ones."""
    return jax.jit(jax.grad(lambda *values: kl_divergence(*make(*values)), argnums=tuple(range(size))))


# of the finite sums the one behind gates by default, which has all that the one against a Poisson has but its tail
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.exhaustive if n == "binomial-poisson" else []) for n in GRADIENTS]
)
def test_gradients_against_derivatives_in_60_digits(name):
    make, truth, parameters = GRADIENTS[name]
    with jax.enable_x64(True):
        gradient = gradient_of(make, len(parameters))(*map(jnp.asarray, parameters))
    point = tuple(mpf(float(x)) for x in parameters)
    for i, slope in enumerate(gradient):
        expected = mpmath.diff(truth, point, tuple(int(i == j) for j in range(len(point))))
        assert abs(float(slope) - expected) <= 1e-9 * abs(expected), (i, slope, expected)


@pytest.mark.divergences
def test_gradients_stay_finite_at_the_boundary():
    def slope(make, x):
        return jax.jit(jax.grad(lambda y: kl_divergence(*make(y))))(x)

    assert np.isfinite(slope(lambda p: (dist.Binomial(7, p), dist.Poisson(2.0)), 0.0))
    assert slope(lambda r: (dist.Bernoulli(0.0), dist.Poisson(r)), 2.0) == pytest.approx(1.0)
    assert slope(lambda r: (dist.Poisson(0.0), dist.Poisson(r)), 2.0) == pytest.approx(1.0)
    assert np.isfinite(slope(lambda g: (dist.ZeroInflatedPoisson(g, 2.0), dist.Poisson(3.0)), 0.0))


@pytest.mark.parametrize(
    "pair", [(1e-9, 2e-9), (1e-4, 3.0), (3.0, 3.0 + 1e-9), (29.0, 31.0), (15.0, 70.0), (1e6, 1.01e6)]
)
def test_divergence_of_the_tilted_uniform(pair):
    """Small, near-equal, across the switches, and far."""
    for x, y in (map(mpf, pair), map(mpf, pair[::-1])):
        truth = log_sinhc(x) - log_sinhc(y) - (mpmath.coth(y) - 1 / y) * (x - y)
        with jax.enable_x64(True):
            value = jax.jit(langevin)(*(jnp.asarray(np.float64(z)) for z in (x, y, x - y)))
        assert abs(float(value) - truth) <= 1e-12 * truth


def log_sinhc(x):
    return mpmath.log(mpmath.sinh(x) / x)


@pytest.mark.exhaustive
def test_a_support_of_a_hundred_thousand_counts():
    """Binomial against its Poisson limit, by adding up 30-digit pmfs around the mean, outside of which is nothing."""
    trials, chance, rate = 100_000, 0.25, 26_000.0
    with mpmath.workdps(30):
        p, q = mpf(chance), mpf(rate)
        first, last = 20_000, 30_000
        log_p = (
            mpmath.log(mpmath.binomial(trials, first)) + first * mpmath.log(p) + (trials - first) * mpmath.log(1 - p)
        )
        log_q = first * mpmath.log(q) - q - mpmath.loggamma(first + 1)
        pmf_p, pmf_q, truth, total = mpmath.exp(log_p), mpmath.exp(log_q), mpf(0), mpf(0)
        for k in range(first, last):
            truth += pmf_p * mpmath.log(pmf_p / pmf_q)
            total += pmf_p
            pmf_p *= mpf(trials - k) / (k + 1) * p / (1 - p)
            pmf_q *= q / (k + 1)
        assert abs(total - 1) < mpf("1e-25")
    with jax.enable_x64(True):
        value = float(kl_divergence(dist.Binomial(trials, jnp.asarray(chance)), dist.Poisson(jnp.asarray(rate))))
    assert abs(value - truth) <= 1e-11 * truth


@pytest.mark.divergences
def test_a_two_ended_beta_binomial_against_the_uniform():
    """Most of the probability is at the ends, and the sum runs through the trough between them."""
    trials = 900
    pmf = beta_binomial_pmf(trials, mpf("0.015625"), mpf("0.03125"))
    truth = divergence(pmf, [mpf(1) / (trials + 1)] * (trials + 1))
    with jax.enable_x64(True):
        p = dist.BetaBinomial(jnp.asarray(0.015625), jnp.asarray(0.03125), trials)
        value = float(kl_divergence(p, dist.DiscreteUniform(0, trials)))
        surprise = float(entropy(p))
    assert abs(value - truth) <= 1e-12 * truth
    assert surprise + value == pytest.approx(float(mpmath.log(trials + 1)), rel=1e-12)


@pytest.mark.divergences
@pytest.mark.parametrize("q", [(0.5, 0.5, 1.0), (2.0, 3.0, 1.0), (1e-4, 1.5, 2.0), (3.0, 40.0, 5.0)])
def test_tails_that_decay_like_a_power(q):
    """What a beta negative binomial has beyond the grid is no small part of a small divergence."""
    truth = divergence(binomial_pmf(1, mpf("0.0009765625")), beta_negative_binomial_pmf(*map(mpf, map(float, q))))
    with jax.enable_x64(True):
        value = kl_divergence(dist.BernoulliProbs(0.0009765625), dist.BetaNegativeBinomial(*map(jnp.asarray, q)))
    assert abs(float(value) - truth) <= 1e-11 * truth


@pytest.mark.divergences
@pytest.mark.parametrize("trials", [200, 2000])
def test_an_urn_of_many_draws_is_a_beta_binomial(trials):
    """Draw by draw, and beyond some hundred draws in one sum."""
    with jax.enable_x64(True):
        a, b = jnp.array([0.3, 2.0]), jnp.array([0.3003, 2.0])
        urn = kl_divergence(dist.DirichletMultinomial(a, trials), dist.DirichletMultinomial(b, trials))
        count = kl_divergence(dist.BetaBinomial(*a, trials), dist.BetaBinomial(*b, trials))
    assert urn == pytest.approx(float(count), rel=1e-11)


def test_both_sums_over_draws_agree():
    """Of three colours and two numbers of draws at once."""
    a, b = np.array([[0.3, 2.0, 5.0]] * 2), np.array([[0.4, 2.0, 5.5]] * 2)
    trials, draws = np.array([7, 40]), np.arange(40)
    with jax.enable_x64(True):
        short, long = (np.asarray(kl(a, b, trials, draws)) for kl in (urns_kl, long_urns_kl))
    np.testing.assert_allclose(long, short, rtol=1e-12)


@pytest.mark.divergences
def test_different_numbers_of_draws_in_a_batch():
    trials = np.array([1, 5])
    values = kl_divergence(
        dist.DirichletMultinomial(jnp.ones((2, 3)), trials), dist.DirichletMultinomial(2 * jnp.ones((2, 3)), trials)
    )
    singles = [
        kl_divergence(
            dist.DirichletMultinomial(jnp.ones(3), int(n)), dist.DirichletMultinomial(2 * jnp.ones(3), int(n))
        )
        for n in trials
    ]
    np.testing.assert_allclose(values, np.array(singles), rtol=1e-6)
    assert values[0] == pytest.approx(0.0, abs=1e-12)  # one draw shows the means only, which are equal


def by_sum(p, q):
    """Of two of SciPy's distributions."""
    k = np.arange(3000)
    log_p, log_q = p.logpmf(k), q.logpmf(k)
    held = log_p > -600
    return (np.exp(log_p[held]) * (log_p - log_q)[held]).sum()


UNBOUNDED_PAIRS = {
    "unequal concentrations": (
        dist.GammaPoisson(3.0, 1.0), dist.GammaPoisson(2.0, 2.0),
        scipy.stats.nbinom(3, 0.5), scipy.stats.nbinom(2, 2 / 3),
    ),
    "geometric, Poisson": (
        dist.GeometricProbs(0.3), dist.Poisson(2.0), scipy.stats.geom(0.3, loc=-1), scipy.stats.poisson(2.0)
    ),
    "Poisson, geometric": (
        dist.Poisson(2.0), dist.GeometricLogits(-1.0),
        scipy.stats.poisson(2.0), scipy.stats.geom(1 / (1 + np.e), loc=-1),
    ),
    "Poisson, broad geometric": (
        dist.Poisson(2.0), dist.GeometricProbs(1e-6), scipy.stats.poisson(2.0), scipy.stats.geom(1e-6, loc=-1)
    ),
    "Poisson, heavy tail": (
        dist.Poisson(2.0), dist.BetaNegativeBinomial(3.0, 2.0, 2.0),
        scipy.stats.poisson(2.0), scipy.stats.betanbinom(2, 2, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNBOUNDED_PAIRS)
def test_counts_without_an_end_are_summed(name):
    """Up to where nothing of p is left."""
    p, q, law_p, law_q = UNBOUNDED_PAIRS[name]
    expected = by_sum(law_p, law_q)
    assert kl_divergence(p, q) == pytest.approx(expected, rel=1e-6)
    assert estimate_kl(p, q).standard_error == 0


TRACED = ("Poisson, broad geometric",)


@pytest.mark.parametrize(
    "name", [name if name in TRACED else pytest.param(name, marks=pytest.mark.exhaustive) for name in UNBOUNDED_PAIRS]
)
def test_the_program_finds_where_a_traced_sum_ends(name):
    p, q, law_p, law_q = UNBOUNDED_PAIRS[name]
    assert jax.jit(kl_divergence)(p, q) == pytest.approx(by_sum(law_p, law_q), rel=1e-6)


@pytest.mark.exhaustive
def test_gradients_of_sums_without_an_end():
    slope = jax.jit(jax.grad(lambda r: kl_divergence(dist.GammaPoisson(r, 1.0), dist.Poisson(2.0))))
    nearby = [by_sum(scipy.stats.nbinom(r, 0.5), scipy.stats.poisson(2.0)) for r in (2 + 1e-5, 2 - 1e-5)]
    assert slope(2.0) == pytest.approx((nearby[0] - nearby[1]) / 2e-5, rel=1e-4)


def test_near_equal_concentrations_keep_their_digits():
    p, q = dist.GammaPoisson(2.0, 1.0), dist.GammaPoisson(2.0002, 1.0)
    step = float(np.float32(2.0002)) - 2
    k = np.arange(200)
    weights = scipy.stats.nbinom(2, 0.5).pmf(k)
    slopes = scipy.special.digamma(k + 2) - scipy.special.digamma(2) + np.log(0.5)
    fisher = weights @ slopes**2
    assert kl_divergence(p, q) == pytest.approx(0.5 * fisher * step**2, rel=1e-3)  # to first order in the step


@pytest.mark.divergences
def test_entropies_of_counts_without_an_end():
    laws = {
        dist.Poisson(3.0): scipy.stats.poisson(3.0),
        dist.NegativeBinomialProbs(2.5, 0.6): scipy.stats.nbinom(2.5, 0.4),
    }
    for p, law in laws.items():
        assert entropy(p) == pytest.approx(law.entropy(), rel=1e-6)
    gated = dist.ZeroInflatedPoisson(0.3, 3.0)
    pmf = 0.7 * scipy.stats.poisson(3.0).pmf(np.arange(60)) + 0.3 * (np.arange(60) == 0)
    assert entropy(gated) == pytest.approx(scipy.stats.entropy(pmf), rel=1e-6)


@pytest.mark.divergences
def test_sums_that_cannot_be_formed_are_refused():
    with pytest.raises(NoClosedForm, match="the sum would have"):
        kl_divergence(dist.DiscreteUniform(0, 10**8), dist.Binomial(10**8, 0.5))
    with pytest.raises(NoClosedForm, match="the sum would have"):
        kl_divergence(dist.Poisson(1e7), dist.GammaPoisson(1e6, 0.1))
    with pytest.raises(NoClosedForm, match="only p of finite support, or with a light tail"):
        kl_divergence(
            dist.ZeroInflatedDistribution(dist.BetaNegativeBinomial(1.0, 2.0, 2.0), gate=0.5), dist.Poisson(1)
        )
    with pytest.raises(NoClosedForm, match="build the distributions inside"):
        jax.jit(kl_divergence)(dist.ZeroInflatedPoisson(0.5, 1.0), dist.GammaPoisson(2.0, 1.0))
    with pytest.raises(NoClosedForm, match="No closed form is known for the entropy"):
        entropy(dist.BetaNegativeBinomial(1.0, 2.0, 2.0))
    gated = kl_divergence(dist.ZeroInflatedPoisson(0.5, 1.0), dist.GammaPoisson(2.0, 1.0))
    k = np.arange(60)
    pmf = 0.5 * scipy.stats.poisson(1.0).pmf(k) + 0.5 * (k == 0)
    assert gated == pytest.approx(scipy.stats.entropy(pmf, scipy.stats.nbinom(2, 0.5).pmf(k)), rel=1e-6)


@pytest.mark.exhaustive
def test_numbers_of_trials_that_are_traced_reach_every_sum():
    cases = [
        (dist.BetaBinomial(1.0, 2.0, 7), dist.Poisson(2.0)),
        (dist.DiscreteUniform(2, 5), dist.Binomial(9, 0.4)),
        (dist.Binomial(9, 0.4), dist.BetaBinomial(1.0, 2.0, 12)),
    ]
    for p, q in cases:
        assert jax.jit(kl_divergence)(p, q) == pytest.approx(float(kl_divergence(p, q)), rel=1e-6)
    with pytest.raises(NoClosedForm, match="build the distributions inside"):
        jax.jit(kl_divergence)(cases[1][0], dist.Categorical(jnp.full(9, 1 / 9)))


@pytest.mark.divergences
def test_multinomials_under_vmap():
    """Their number of trials is no data to JAX, and keeps the axes of the whole batch."""
    shares = jnp.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    for make in (lambda x: dist.Multinomial(5, x), lambda x: dist.DirichletMultinomial(x, 5)):
        p, q = make(shares), make(shares[::-1])
        np.testing.assert_allclose(jax.vmap(kl_divergence)(p, q), kl_divergence(p, q), rtol=1e-6)


def test_numbers_of_categories_that_differ_are_an_error():
    with pytest.raises(ValueError, match=r"event shape \(3,\) and q has \(1,\)"):
        kl_divergence(dist.Multinomial(2, probs=jnp.full(3, 1 / 3)), dist.Multinomial(2, probs=jnp.ones(1)))


def test_an_ordered_logistic_is_a_categorical():
    p = dist.OrderedLogistic(jnp.asarray(0.3), jnp.array([-1.0, 0.5]))
    assert kl_divergence(p, dist.DiscreteUniform(0, 2)) == pytest.approx(float(np.log(3) - entropy(p)), rel=1e-6)
