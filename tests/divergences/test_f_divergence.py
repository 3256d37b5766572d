"""f-divergences of pmf arrays: the definitions in 50 digits, the inequalities between them, and the conventions."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mpmath import mpf

from vi_kl.divergences import (
    alpha_divergence,
    bhattacharyya,
    chi_squared,
    hellinger,
    jensen_shannon,
    kl_divergence,
    renyi,
    squared_hellinger,
    total_variation,
)

mpmath.mp.dps = 50
ORDERS = [-3.0, -0.5, 0.0, 0.3, 0.5, 0.9, 1.0, 1.0001, 2.0, 7.5, 300.0, np.inf, -np.inf]
ALPHAS = [-1.0, 0.0, 1e-6, 0.3, 0.5, 0.7, 1.0, 1.0001, 2.0, 3.5]


def exact(p):
    values = [mpf(float(x)) for x in p]
    return [x / sum(values) for x in values]


def power_sum(p, q, a):
    """The sum of p^a q^(1 - a), with 0^0 = 0 and infinite where a zero is divided by."""
    total = mpf(0)
    for x, y in zip(p, q, strict=True):
        if (x == 0 and y == 0) or (x == 0 and a >= 0) or (y == 0 and a <= 1):
            continue
        if (y == 0 and a > 1) or (x == 0 and a < 0):
            return mpf("inf")
        total += x ** mpf(a) * y ** (1 - mpf(a))
    return total


def kl(p, q):
    if any(x > 0 and y == 0 for x, y in zip(p, q, strict=True)):
        return mpf("inf")
    return sum((x * mpmath.log(x / y) for x, y in zip(p, q, strict=True) if x > 0), mpf(0))


def true_renyi(p, q, order):
    if order == np.inf:
        return max(mpmath.log(x / y) if y > 0 else mpf("inf") for x, y in zip(p, q, strict=True) if x > 0)
    if order == -np.inf:
        return -true_renyi(q, p, np.inf)
    if order == 1:
        return kl(p, q)
    total = power_sum(p, q, order)
    return mpmath.log(total) / (mpf(order) - 1) if total > 0 else mpf("inf")


def true_alpha(p, q, alpha):
    if alpha in (0, 1):
        return kl(p, q) if alpha == 1 else kl(q, p)
    return (power_sum(p, q, alpha) - 1) / (mpf(alpha) * (mpf(alpha) - 1))


TRUTHS = {
    jensen_shannon: lambda p, q: (kl(p, mean(p, q)) + kl(q, mean(p, q))) / 2,
    total_variation: lambda p, q: sum(abs(x - y) for x, y in zip(p, q, strict=True)) / 2,
    squared_hellinger: lambda p, q: 1 - power_sum(p, q, 0.5),
    hellinger: lambda p, q: mpmath.sqrt(1 - power_sum(p, q, 0.5)),
    chi_squared: lambda p, q: power_sum(p, q, 2) - 1,
    bhattacharyya: lambda p, q: true_renyi(p, q, 0.5) / 2,
    **{(lambda p, q, a=a: renyi(p, q, a)): (lambda p, q, a=a: true_renyi(p, q, a)) for a in ORDERS},
    **{(lambda p, q, a=a: alpha_divergence(p, q, a)): (lambda p, q, a=a: true_alpha(p, q, a)) for a in ALPHAS},
}
NAMES = [*["JS", "TV", "H2", "H", "chi2", "B"], *(f"renyi {a}" for a in ORDERS), *(f"alpha {a}" for a in ALPHAS)]


def mean(p, q):
    return [(x + y) / 2 for x, y in zip(p, q, strict=True)]


def random_pair(seed):
    """Unrelated, skewed or near-equal pmfs, some with zeros in one or both."""
    rng = np.random.default_rng(seed)
    size = int(rng.choice([2, 5, 40]))
    p = rng.dirichlet(np.full(size, 10 ** rng.uniform(-0.7, 1)))
    q = p * np.exp(10 ** rng.uniform(-9, 0) * rng.normal(size=size)) if seed % 2 else rng.dirichlet(np.ones(size))
    if seed % 3 == 0 and size > 2:
        q[0] = 0.0
    if seed % 5 == 0 and size > 2:
        p[1] = 0.0
    return p / p.sum(), q / q.sum()


@pytest.mark.parametrize(("function", "truth"), TRUTHS.items(), ids=NAMES)
def test_against_the_definition_in_fifty_digits(function, truth):
    """To 1e-13, and for near-equal pairs to what a rounding of their largest relative difference makes of it."""
    for seed in range(30):
        p, q = random_pair(seed)
        expected = float(truth(exact(p), exact(q)))
        apart = float(np.max(np.abs(p - q) / np.maximum(p, q).clip(1e-300)))
        assert function(p, q) == pytest.approx(expected, rel=1e-13 + 4e-15 / apart, abs=1e-40), seed


def test_disjoint_pmfs():
    p, q = [1.0, 0.0], [0.0, 1.0]
    assert jensen_shannon(p, q, base=2) == pytest.approx(1, rel=1e-15)
    assert total_variation(p, q) == squared_hellinger(p, q) == hellinger(p, q) == 1
    assert chi_squared(p, q) == renyi(p, q, 0) == renyi(p, q, 0.5) == renyi(p, q, 2) == renyi(p, q, np.inf) == np.inf
    assert renyi(p, q, -1) == -np.inf
    assert alpha_divergence(p, q, 0.25) == pytest.approx(16 / 3, rel=1e-15)


def test_equal_pmfs():
    p = [0.2, 0.5, 0.3, 0.0]
    for function in TRUTHS:
        assert function(p, p) == 0


def test_an_order_that_overflows_every_power():
    p, q = np.array([1e-3, 1 - 1e-3]), np.array([1e-300, 1.0])
    assert renyi(p, q, 1e6) == pytest.approx(float(true_renyi(exact(p), exact(q), 1e6)), rel=1e-14)


pmf_pairs = (
    arrays(float, (2, 6), elements=st.floats(0, 1)).map(lambda a: a + 1e-12).map(lambda a: a / a.sum(1)[:, None])
)


@pytest.mark.divergences
@given(pmf_pairs)
@settings(max_examples=200, deadline=None)
def test_inequalities(pair):
    """Between them, and their ranges; 1e-12 allows for the rounding of what is zero."""
    p, q = pair
    js, tv, h2, kl_value = jensen_shannon(p, q), total_variation(p, q), squared_hellinger(p, q), kl_divergence(p, q)
    assert 0 <= js <= np.log(2) + 1e-12
    assert js == pytest.approx(jensen_shannon(q, p), rel=1e-12)
    assert js <= tv * np.log(2) + 1e-12
    assert tv**2 / 2 <= js * 4 + 1e-12
    assert tv <= np.sqrt(kl_value / 2) + 1e-12  # Pinsker
    assert tv <= np.sqrt(-np.expm1(-kl_value)) + 1e-12  # Bretagnolle & Huber
    assert h2 <= tv + 1e-12
    assert tv <= np.sqrt(2 * h2 - h2**2) + 1e-12
    assert kl_value <= np.log1p(chi_squared(p, q)) + 1e-12
    assert bhattacharyya(p, q) <= kl_value / 2 + 1e-12


@pytest.mark.divergences
@given(pmf_pairs, st.lists(st.floats(-5, 20), min_size=2, max_size=2))
@settings(max_examples=200, deadline=None)
def test_renyi_never_decreases_in_its_order(pair, orders):
    low, high = (renyi(*pair, order) for order in sorted(orders))
    assert low <= high + 1e-9 * (1 + abs(high))


@pytest.mark.divergences
@given(pmf_pairs, arrays(float, (6, 3), elements=st.floats(0.01, 1)))
@settings(max_examples=100, deadline=None)
def test_data_processing(pair, channel):
    """No channel tells p from q better than they are apart."""
    channel = channel / channel.sum(1)[:, None]
    received = pair @ channel
    functions = [jensen_shannon, total_variation, hellinger, chi_squared]
    functions += [lambda p, q, a=a: renyi(p, q, a) for a in (0.2, 0.5, 2.0, np.inf)]
    functions += [lambda p, q, a=a: alpha_divergence(p, q, a) for a in (-0.5, 0.5, 2.0)]
    for function in functions:
        assert function(*received) <= function(*pair) * (1 + 1e-9) + 1e-12


@pytest.mark.divergences
@given(pmf_pairs, arrays(float, 6, elements=st.floats(0.01, 1)))
@settings(max_examples=100, deadline=None)
def test_the_metrics_obey_the_triangle_inequality(pair, third):
    p, q = pair
    r = third / third.sum()
    for metric in (total_variation, hellinger, lambda x, y: np.sqrt(jensen_shannon(x, y))):
        assert metric(p, q) <= metric(p, r) + metric(r, q) + 1e-12


def test_batches_axes_counts_and_bases():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(4), (3, 1)), rng.dirichlet(np.ones(4), 5)
    for function in TRUTHS:
        batch = function(p, q)
        assert batch.shape == (3, 5)
        assert batch[2, 4] == pytest.approx(function(p[2, 0], q[4]), rel=1e-14)
    assert jensen_shannon(p[:, 0].T, q[0][:, None], axis=0).shape == (3,)
    assert total_variation([1, 3], [2, 2], normalize=True) == pytest.approx(0.25, rel=1e-15)
    assert renyi([0.5, 0.5], [0.25, 0.75], 2, base=2) == pytest.approx(np.log2(4 / 3), rel=1e-14)
    assert bhattacharyya([0.5, 0.5], [1.0, 0.0], base=2) == pytest.approx(0.5, rel=1e-14)


RENYIS = [lambda p, q: renyi(p, q, 2.5), lambda p, q: renyi(p, q, 0.5), lambda p, q: renyi(p, q, -1.5)]


@pytest.mark.divergences
def test_jax_arrays_in_their_own_dtype_under_jit_and_vmap():
    rng = np.random.default_rng(1)
    p, q = rng.dirichlet(np.ones(5), 4), rng.dirichlet(np.ones(5), 4)
    for function in (jensen_shannon, total_variation, hellinger, chi_squared, *RENYIS):
        single = jax.jit(jax.vmap(function))(jnp.asarray(p, jnp.float32), jnp.asarray(q, jnp.float32))
        assert single.dtype == jnp.float32
        np.testing.assert_allclose(single, function(p, q), rtol=2e-5)  # of pmfs rounded to float32


# one order by default: the others take the same way
BY_ORDER = [RENYIS[0], *(pytest.param(function, marks=pytest.mark.exhaustive) for function in RENYIS[1:])]


@pytest.mark.parametrize("function", [jensen_shannon, total_variation, hellinger, chi_squared, *BY_ORDER])
def test_derivatives_along_the_simplex(function):
    """Against central differences in float64, and none is NaN where both are zero."""
    p, q = np.array([0.3, 0.2, 0.5, 0.0]), np.array([0.1, 0.3, 0.6, 0.0])
    direction = np.array([0.5, -1.0, 0.5, 0.0])
    gradients = jax.jit(jax.grad(function, argnums=(0, 1)))(jnp.asarray(p), jnp.asarray(q))
    for side in (0, 1):
        slope = np.asarray(gradients[side]) @ direction
        ends = [function(*((p + h, q) if side == 0 else (p, q + h))) for h in (1e-5 * direction, -1e-5 * direction)]
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"p\[0\] is -0.5: a probability must not be negative"):
        total_variation([-0.5, 1.5], [0.5, 0.5])
    with pytest.raises(ValueError, match="p has 3 entries and q has 2"):
        renyi([0.2, 0.3, 0.5], [0.5, 0.5], 2)
    with pytest.raises(ValueError, match="order must be a number, got NaN"):
        renyi([0.5, 0.5], [0.5, 0.5], np.nan)
    with pytest.raises(ValueError, match="order must be a plain number"):
        jax.jit(lambda a: renyi(jnp.array([0.5, 0.5]), jnp.array([0.4, 0.6]), a))(2.0)
    with pytest.raises(ValueError, match="only renyi"):
        alpha_divergence([0.5, 0.5], [0.5, 0.5], np.inf)
    with pytest.raises(ValueError, match="base must be positive"):
        jensen_shannon([0.5, 0.5], [0.5, 0.5], base=1)
