"""Each pmf is held to the precision that it came in, and what is computed of JAX arrays keeps their dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_kl import divergences as d

SIXTHS = np.full(6, 1 / 6)
PAIRWISE = (d.kl_divergence, d.cross_entropy, d.jensen_shannon, d.hellinger, lambda p, q: d.renyi(p, q, 2.0))


def softmax(seed, size=6, dtype=jnp.float32):
    return jax.nn.softmax(jax.random.normal(jax.random.key(seed), (size,), dtype))


@pytest.mark.parametrize("function", PAIRWISE)
def test_float64_against_float32(function):
    for seed in range(20):
        q = softmax(seed)
        exact = function(SIXTHS, np.asarray(q, dtype=float) / np.asarray(q, dtype=float).sum())
        assert function(SIXTHS, q) == pytest.approx(exact, rel=1e-5)
        assert function(SIXTHS, np.asarray(q)) == pytest.approx(exact, rel=1e-6)
        assert function(SIXTHS, np.asarray(q, dtype=float)) == pytest.approx(exact, rel=1e-6)
        assert function(SIXTHS, q.tolist()) == pytest.approx(exact, rel=1e-6)
        assert function(q, SIXTHS) >= 0


def test_one_argument_excuses_the_other_from_nothing():
    with pytest.raises(ValueError, match=r"p sums to 1\.000001"):
        d.kl_divergence([0.5, 0.3, 0.2 + 1e-6], softmax(0, 3))
    with pytest.raises(ValueError, match=r"q sums to 1\.0001"):
        d.kl_divergence([0.5, 0.3, 0.2], jnp.array([0.5, 0.3, 0.2001]))
    with pytest.raises(ValueError, match=r"p sums to 1\.000001"):
        d.entropy([0.5, 0.3, 0.2 + 1e-6])


def test_many_entries_may_add_up_to_more_rounding():
    """Divided by a sum that was formed one entry after the other, in their own precision."""
    weights = np.random.default_rng(0).exponential(size=1_000_000).astype(np.float32)
    p = weights / np.cumsum(weights)[-1]
    assert abs(p.astype(float).sum() - 1) > 1e-5  # more than six entries may be off by
    assert d.entropy(p) == pytest.approx(np.log(1e6) - (1 - np.euler_gamma), rel=1e-3)
    with pytest.raises(ValueError, match=r"sums to 1\.001"):
        d.entropy(p * np.float32(1.001))
    with pytest.raises(ValueError, match=r"sums to 1\.0000"):
        d.entropy(softmax(0) * np.float32(1.00004))


@pytest.mark.divergences
@pytest.mark.parametrize("dtype", [jnp.bfloat16, pytest.param(jnp.float16, marks=pytest.mark.exhaustive)])
def test_sixteen_bits_in_and_out(dtype):
    p, q = softmax(1, 6, dtype), softmax(2, 6, dtype)
    wide = [np.asarray(x, dtype=float) / np.asarray(x, dtype=float).sum() for x in (p, q)]
    steps = {"rel": 2 * float(jnp.finfo(dtype).eps)}
    for function in PAIRWISE:
        for value in (function(p, q), jax.jit(function)(p, q)):
            assert value.dtype == dtype
            assert float(value) == pytest.approx(float(function(*wide)), **steps)
    for value in (d.entropy(p), d.code_lengths(p), d.smooth(jnp.append(p, jnp.zeros(1, dtype)))):
        assert value.dtype == dtype
    slope = jax.grad(d.kl_divergence)(p, q)
    assert slope.dtype == dtype
    np.testing.assert_allclose(np.asarray(slope, float), np.log(wide[0] / wide[1]) + 1, atol=0.05)
    counts = jnp.array([60_000, 60_000], jnp.float16)  # whose sum is beyond the range
    assert d.entropy(counts, normalize=True) == pytest.approx(np.log(2), rel=1e-3)
