"""The article's figures, its appendices, and the conventions and errors of pmf arrays."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mpmath import mpf
from scipy.stats import binom
from truths import exact
from truths.formulas import categorical

from vi_kl.demo.worms.data import TEETH, observed
from vi_kl.divergences import code_lengths, cross_entropy, entropy, kl_divergence, smooth

UNIFORM = np.full(11, 1 / 11)
BINOMIAL = binom.pmf(TEETH, 10, observed() @ TEETH / 10)
P = {"a": 3 / 5, "b": 1 / 5, "c": 1 / 5}  # the article's smoothing example
Q = {"a": 5 / 9, "b": 3 / 9, "d": 1 / 9}


# the article's figures, at the precision it prints them


def test_entropy_of_the_observed_teeth():
    assert f"{entropy(observed(), base=2):.2f}" == "3.12"


def test_what_the_uniform_distribution_loses():
    assert f"{kl_divergence(observed(), UNIFORM, base=2):.3f}" == "0.338"


def test_what_the_binomial_loses():
    assert f"{kl_divergence(observed(), BINOMIAL, base=2):.3f}" == "0.477"


def test_the_divergence_is_not_a_distance():
    assert f"{kl_divergence(BINOMIAL, observed(), base=2):.3f}" == "0.330"


# its appendices


def test_zero_log_zero_is_zero():
    assert entropy([0.0, 1.0]) == 0
    assert kl_divergence([0.0, 1.0], [0.5, 0.5], base=2) == 1
    assert kl_divergence([0.0, 1.0], [0.0, 1.0]) == 0
    assert cross_entropy([0.0, 1.0], [0.0, 1.0]) == 0


def test_what_q_never_says_costs_infinity():
    assert kl_divergence([0.5, 0.5], [1.0, 0.0]) == np.inf
    assert cross_entropy([0.5, 0.5], [1.0, 0.0]) == np.inf
    assert code_lengths([1.0, 0.0])[1] == np.inf


def test_smoothing_takes_evenly_from_the_symbols_that_are_there():
    symbols = ["a", "b", "c", "d"]
    p, q = smooth(P, symbols, epsilon=1e-3), smooth(Q, symbols, epsilon=1e-3)
    assert p == pytest.approx({"a": 3 / 5 - 1e-3 / 3, "b": 1 / 5 - 1e-3 / 3, "c": 1 / 5 - 1e-3 / 3, "d": 1e-3})
    assert q == pytest.approx({"a": 5 / 9 - 1e-3 / 3, "b": 3 / 9 - 1e-3 / 3, "d": 1 / 9 - 1e-3 / 3, "c": 1e-3})
    divergence = kl_divergence([p[s] for s in symbols], [q[s] for s in symbols])
    expected = sum(p[s] * np.log(p[s] / q[s]) for s in symbols)
    assert divergence == pytest.approx(expected, rel=1e-12)
    assert kl_divergence([P.get(s, 0) for s in symbols], [Q.get(s, 0) for s in symbols]) == np.inf


def test_divergence_is_cross_entropy_less_entropy():
    for p, q in ((observed(), UNIFORM), (observed(), BINOMIAL), (BINOMIAL, observed())):
        difference = cross_entropy(p, q) - entropy(p)
        assert kl_divergence(p, q) == pytest.approx(difference, rel=1e-12)


def test_expected_code_lengths():
    """The mean length of q's codewords is the cross-entropy: the divergence is the bits wasted."""
    assert observed() @ code_lengths(observed()) == pytest.approx(entropy(observed(), base=2), rel=1e-14)
    assert observed() @ code_lengths(BINOMIAL) == pytest.approx(cross_entropy(observed(), BINOMIAL, base=2), rel=1e-14)
    assert code_lengths([0.5, 0.25, 0.125, 0.125]).tolist() == [1, 2, 3, 3]


@pytest.mark.exhaustive
def test_minimising_cross_entropy_trains_the_same_model():
    """KL and cross-entropy differ by H(p), which no parameter of q moves: one gradient."""
    p = jnp.asarray(observed(), dtype=jnp.float32)

    def member(logits):
        return jax.nn.softmax(logits)

    logits = jnp.linspace(-1, 1, 11)
    by_divergence = jax.grad(lambda x: kl_divergence(p, member(x)))(logits)
    by_cross_entropy = jax.grad(lambda x: cross_entropy(p, member(x)))(logits)
    np.testing.assert_allclose(by_divergence, by_cross_entropy, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(by_divergence, member(logits) - p, rtol=1e-4, atol=1e-6)


# shapes, bases, options


def test_leading_axes_are_batches_and_broadcast():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(4), size=(3, 1)), rng.dirichlet(np.ones(4), size=2)
    values = kl_divergence(p, q)
    assert values.shape == (3, 2)
    assert values[2, 1] == pytest.approx(kl_divergence(p[2, 0], q[1]), rel=1e-14)
    by_axis = kl_divergence(np.moveaxis(p, -1, 0), np.moveaxis(np.broadcast_to(q, (1, 2, 4)), -1, 0), axis=0)
    np.testing.assert_allclose(by_axis, values, rtol=1e-14)
    assert entropy(p, axis=-1).shape == (3, 1)
    assert code_lengths(p.T, axis=0).shape == p.T.shape


def test_bases():
    nats = kl_divergence(observed(), UNIFORM)
    assert kl_divergence(observed(), UNIFORM, base=2) == pytest.approx(nats / np.log(2), rel=1e-15)
    assert kl_divergence(observed(), UNIFORM, base=10) == pytest.approx(nats / np.log(10), rel=1e-15)


def test_counts_are_normalised_only_when_asked():
    counts = [20, 17, 33]
    assert kl_divergence(counts, [1, 1, 1], normalize=True) == pytest.approx(
        kl_divergence(np.divide(counts, 70), np.full(3, 1 / 3)), rel=1e-14
    )
    with pytest.raises(ValueError, match=r"p sums to 70, not 1.*normalize=True"):
        kl_divergence(counts, [1 / 3, 1 / 3, 1 / 3])


def test_numpy_is_computed_in_float64_and_jax_in_its_own_dtype():
    assert kl_divergence(np.float32([0.5, 0.5]), [0.25, 0.75]).dtype == np.float64
    assert kl_divergence([0.5, 0.5], [0.25, 0.75]).dtype == np.float64
    value = kl_divergence(jnp.array([0.5, 0.5]), [0.25, 0.75])
    assert value.dtype == jnp.float32
    assert isinstance(value, jax.Array)
    assert kl_divergence(jnp.array([1, 0]), jnp.array([0.5, 0.5])).dtype == jnp.float32


# errors

GOOD = [0.5, 0.5]


@pytest.mark.parametrize("as_array", [np.array, jnp.array])
@pytest.mark.parametrize(
    ("p", "q", "message"),
    [
        ([1.5, -0.5], GOOD, r"p\[1\] is -0.5: a probability must not be negative"),
        (GOOD, [1.5, -0.5], r"q\[1\] is -0.5"),
        (GOOD, [np.nan, 0.5], r"q\[0\] is nan: a probability must be finite"),
        ([np.inf, 0.5], GOOD, r"p\[0\] is inf"),
        ([0.5, 0.4], GOOD, r"p sums to 0.9.*not 1"),
        (GOOD, [[0.5, 0.5], [0.5, 0.6]], r"q sums to 1.1.* in batch entry \(1,\)"),
        ([0.2, 0.3, 0.5], [1.0], "p has 3 entries and q has 1"),
        ([1.0], [0.2, 0.3, 0.5], "p has 1 entries and q has 3"),
        ([0.2, 0.3, 0.5], GOOD, "p has 3 entries and q has 2"),
        ([], [], "p is empty"),
        (GOOD, [], "q is empty"),
        (1.0, GOOD, "p is a single number"),
        ([GOOD] * 2, [GOOD] * 3, r"do not broadcast: \(2,\) and \(3,\)"),
    ],
)
def test_what_is_no_pmf(p, q, message, as_array):
    for function in (kl_divergence, cross_entropy):
        with pytest.raises(ValueError, match=message):
            function(as_array(p), as_array(q))


def test_entropy_checks_too():
    with pytest.raises(ValueError, match=r"p sums to 0\.9"):
        entropy([0.4, 0.5])
    with pytest.raises(ValueError, match="cannot be normalised"):
        entropy([0.0, 0.0], normalize=True)
    with pytest.raises(ValueError, match="no axis 1"):
        entropy(GOOD, axis=1)


@pytest.mark.parametrize("base", [0, 1, -2])
def test_bases_that_are_none(base):
    with pytest.raises(ValueError, match="base must be positive and not 1"):
        entropy(GOOD, base=base)


def test_wrong_types():
    with pytest.raises(TypeError, match="p is a mapping"):
        kl_divergence(P, Q)
    with pytest.raises(TypeError, match="dtype complex128"):
        entropy(np.array([0.5, 0.5j]))
    with pytest.raises(TypeError, match="q must hold real numbers"):
        kl_divergence(GOOD, ["a", "b"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((P, "ab"), r"symbols that support lacks: \['c'\]"),
        ((P, "abcd", 0.9), "too little to give"),
        ((P, "abcd", 0.0), "epsilon must lie between 0 and 1"),
        (([0.5, 0.5], "ab"), "support belongs to a dict"),
        (([0.5, 0.4],), "sums to 0.9"),
        ((P, 3), "collection of symbols"),
    ],
)
def test_smoothing_that_cannot_be_done(arguments, message):
    with pytest.raises(ValueError, match=message):
        smooth(*arguments)


def test_smoothing_arrays_fills_their_zeros():
    np.testing.assert_allclose(smooth(np.array([0.5, 0.0, 0.5, 0.0]), epsilon=0.01), [0.49, 0.01, 0.49, 0.01])
    np.testing.assert_array_equal(smooth(np.array([0.25, 0.75]), epsilon=0.01), [0.25, 0.75])
    inside_jit = jax.jit(lambda p: smooth(p, epsilon=0.25))(jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(inside_jit, [0.25, 0.75])


# properties


def pmfs(size):
    weights = arrays(np.float64, size, elements=st.one_of(st.just(0.0), st.floats(1e-12, 1.0)))
    return weights.filter(lambda w: w.sum() > 0).map(lambda w: w / w.sum())


@settings(max_examples=200, deadline=None)
@given(pmfs(6), pmfs(6))
@pytest.mark.landing
def test_the_divergence_is_right_and_never_negative(p, q):
    value = kl_divergence(p, q)
    truth = categorical(exact(p), exact(q))
    assert value >= 0
    near = mpf(1e-13) * truth + mpf(1e-60)  # 60 digits do not tell 1e-95 from 0
    assert value == truth or abs(mpf(float(value)) - truth) <= near


@pytest.mark.divergences
@settings(max_examples=200, deadline=None)
@given(pmfs(6), arrays(np.float64, 6, elements=st.floats(-1, 1)), st.integers(-9, 0))
def test_nearly_equal_pmfs(p, direction, exponent):
    """Where sum p log(p/q) has no digit left, and half of the time the wrong sign."""
    q = p * (1 + 10.0**exponent * direction / 2)
    q = q / q.sum()
    truth = categorical(exact(p), exact(q))
    assume(truth > 1e-22)  # below, the rounding of q itself is all there is
    value = kl_divergence(p, q)
    assert value >= 0
    assert abs(mpf(float(value)) / truth - 1) < 1e-12


@settings(max_examples=50, deadline=None)
@given(pmfs(5))
def test_a_pmf_does_not_diverge_from_itself(p):
    assert kl_divergence(p, p) == 0
    assert 0 <= entropy(p) <= np.log(5) + 1e-15


@settings(max_examples=50, deadline=None)
@given(pmfs(5), pmfs(5), st.permutations(range(5)))
def test_the_order_of_symbols_does_not_matter(p, q, order):
    order = list(order)
    assert kl_divergence(p[order], q[order]) == pytest.approx(float(kl_divergence(p, q)), rel=1e-12)


def test_probabilities_next_to_zero():
    truth = categorical(exact(np.array([1.0, 1e-300])), exact(np.array([1e-300, 1.0])))
    assert kl_divergence([1.0, 1e-300], [1e-300, 1.0]) == pytest.approx(float(truth), rel=1e-13)
    tail = categorical([1 - mpf("1e-20"), mpf("1e-20")], [1 - mpf("1e-5"), mpf("1e-5")])
    assert kl_divergence([1.0, 1e-20], [1 - 1e-5, 1e-5]) == pytest.approx(float(tail), rel=1e-11)


def test_float32_close_pairs():
    rng = np.random.default_rng(4)
    for _ in range(50):
        p = rng.dirichlet(np.ones(5)).astype(np.float32)
        q = (p * np.exp(10 ** rng.uniform(-3, 0) * rng.normal(size=5))).astype(np.float32)
        q /= q.sum()
        truth = categorical(exact(p), exact(q))
        value = kl_divergence(jnp.asarray(p), jnp.asarray(q))
        assert abs(float(value) / truth - 1) < 1e-5
        assert value >= 0


# JAX


@pytest.mark.divergences
def test_gradients_are_textbook_and_finite_at_zero():
    p, q = jnp.array([0.0, 0.5, 0.5]), jnp.array([0.2, 0.3, 0.5])
    by_p, by_q = jax.jit(jax.grad(kl_divergence, argnums=(0, 1)))(p, q)
    np.testing.assert_allclose(by_p, [0.0, np.log(5 / 3) + 1, 1.0], rtol=1e-6)
    np.testing.assert_allclose(by_q, [0.0, -5 / 3, -1.0], rtol=1e-6)
    np.testing.assert_allclose(jax.grad(entropy)(p), [0.0, np.log(2) - 1, np.log(2) - 1], rtol=1e-6)
    by_p, by_q = jax.grad(cross_entropy, argnums=(0, 1))(p, q)
    np.testing.assert_allclose(by_p, -np.log(q), rtol=1e-6)
    np.testing.assert_allclose(by_q, [0.0, -5 / 3, -1.0], rtol=1e-6)
    assert np.isfinite(jax.grad(kl_divergence, argnums=(0, 1))(p, p)).all()


@pytest.mark.divergences
def test_gradient_through_a_probability_that_is_zero():
    """p(t) = (t^2, 1 - t^2) at t = 0: the chain rule must not meet 0 times infinity."""

    def divergence(t):
        return kl_divergence(jnp.array([t**2, 1 - t**2]), jnp.array([0.5, 0.5]))

    assert jax.grad(divergence)(0.0) == 0.0


@pytest.mark.divergences
def test_second_derivatives():
    """By the logits of q the Hessian is q's covariance, diag(q) - q q'."""
    p, logits = jnp.array([0.2, 0.3, 0.5]), jnp.array([0.5, -1.0, 0.2])
    hessian = jax.jit(jax.hessian(lambda x: kl_divergence(p, jax.nn.softmax(x))))(logits)
    q = np.asarray(jax.nn.softmax(logits))
    np.testing.assert_allclose(hessian, np.diag(q) - np.outer(q, q), atol=1e-6)


@pytest.mark.divergences
def test_jit_and_vmap_skip_the_checks_and_agree():
    rng = np.random.default_rng(0)
    p, q = (jnp.asarray(rng.dirichlet(np.ones(4), size=5)) for _ in range(2))
    values = kl_divergence(p, q)
    np.testing.assert_allclose(jax.jit(kl_divergence)(p, q), values, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(kl_divergence)(p, q), values, rtol=1e-6)
    np.testing.assert_allclose(kl_divergence(np.asarray(p), np.asarray(q), normalize=True), values, rtol=1e-5)


def test_shapes_are_checked_while_tracing():
    with pytest.raises(ValueError, match="p has 3 entries and q has 1"):
        jax.jit(kl_divergence)(jnp.ones(3) / 3, jnp.ones(1))


def test_the_truth_itself_is_right():
    """Against the definition in a case with a known answer: KL((1/2, 1/2) || (1/4, 3/4))."""
    assert mpmath.almosteq(categorical([mpf(1), mpf(1)], [mpf(1), mpf(3)]), mpmath.log(mpf(4) / 3) / 2)
