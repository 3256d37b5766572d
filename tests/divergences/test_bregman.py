"""Each primitive against 60 digits, over its whole domain, in both precisions; and its derivatives."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from mpmath import mpf

from vi_kl.divergences import bregman

mpmath.mp.dps = 60
WORST = {np.float32: 3e-6, np.float64: 1e-14}


def mu(x):
    return mpmath.loggamma(x) - (x - mpf(1) / 2) * mpmath.log(x) + x - mpmath.log(2 * mpmath.pi) / 2


def mu_slope(x):
    return mpmath.digamma(x) - mpmath.log(x) + 1 / (2 * x)


ONE_ARGUMENT = {
    "phi": lambda d: d - mpmath.log1p(d),
    "psi": lambda d: (1 + d) * mpmath.log1p(d) - d,
    "em": lambda x: mpmath.expm1(x) - x,
}
TWO_ARGUMENTS = {
    "log_ratio": lambda x, y: mpmath.log(x / y),
    "itakura_saito": lambda x, y: x / y - 1 - mpmath.log(x / y),
    "generalized_kl": lambda x, y: x * mpmath.log(x / y) - x + y,
    "binet": lambda x, y: mu(x) - mu(y) - mu_slope(y) * (x - y),
    "log_gamma": lambda x, y: mpmath.loggamma(x) - mpmath.loggamma(y) - mpmath.digamma(y) * (x - y),
}
SLOPES = {
    "phi": lambda d: d / (1 + d),
    "psi": mpmath.log1p,
    "em": mpmath.expm1,
}
SLOPES_OF_TWO = {
    "itakura_saito": lambda x, y: ((x - y) / (x * y), (y - x) / y**2),
    "generalized_kl": lambda x, y: (mpmath.log(x / y), (y - x) / y),
    "binet": lambda x, y: (mu_slope(x) - mu_slope(y), -(x - y) * mpmath.diff(mu_slope, y)),
    "log_gamma": lambda x, y: (
        mpmath.digamma(x) - mpmath.digamma(y),
        -(x - y) * mpmath.psi(1, y),
    ),
}


def relative_increments(name, dtype, count=120):
    """Both sides of zero, from the last digits of the dtype up to the ends of the domain."""
    rng = np.random.default_rng(1)
    largest = 1.9 if name == "em" else 6
    up = 10 ** rng.uniform(-8, largest, count)
    down = -(10 ** rng.uniform(-8, 2 if name == "em" else -1e-4, count))
    edges = [0.3, -0.3, 0.2999, -0.3001, 0.0]  # where the series meets the direct expression
    return np.concatenate([up, down, edges]).astype(dtype)


def positive_pairs(dtype, count=100):
    """Nearly equal and unrelated, from 1e-3 to 1e8."""
    rng = np.random.default_rng(2)
    y = 10 ** rng.uniform(-3, 8, count)
    near = y * (1 + 10 ** rng.uniform(-7, -0.5, count) * rng.choice([-1, 1], count))
    far = 10 ** rng.uniform(-3, 8, count)
    return np.concatenate([near, far]).astype(dtype), np.concatenate([y, y]).astype(dtype)


def worst_error(values, truths):
    """The largest relative error; values too small for the dtype must be as small as that."""
    tiny = float(np.finfo(values.dtype).tiny)
    errors = []
    for value, truth in zip(values.tolist(), truths, strict=True):
        errors.append(abs(value - truth) / max(abs(truth), mpf(tiny) / mpf(1e-7)))
    return float(max(errors))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_primitives_of_one_argument(name, dtype):
    x = relative_increments(name, dtype)
    truths = [ONE_ARGUMENT[name](mpf(float(value))) for value in x]
    with jax.enable_x64(dtype == np.float64):
        values = np.asarray(jax.jit(getattr(bregman, name))(jnp.asarray(x)))
    assert values.dtype == dtype
    assert worst_error(values, truths) < WORST[dtype]
    assert (values >= 0).all()


def ratios_of_all_sizes():
    """Positive pairs in float64: to both ends of float32's range, and where a whole number of octaves lies between."""
    rng = np.random.default_rng(4)
    y = 10 ** rng.uniform(-38, 38, 300)
    x = np.concatenate([10 ** rng.uniform(-38, 38, 100), y[100:200] * 10 ** rng.uniform(-1, 1, 100), 1.5 * y[200:]])
    x[200::3] /= 2
    x[201::3] /= 2.25
    return x.astype(np.float32).astype(float), y.astype(np.float32).astype(float)


@pytest.mark.parametrize(("digits", "worst"), [(bregman.SINGLE, 1e-8), (bregman.FULL, 1e-14)])
def test_itakura_saito_of_ratios_of_all_sizes(digits, worst):
    x, y = (np.concatenate(parts) for parts in zip(positive_pairs(np.float32), ratios_of_all_sizes(), strict=True))
    truths = [TWO_ARGUMENTS["itakura_saito"](mpf(float(a)), mpf(float(b))) for a, b in zip(x, y, strict=True)]
    with jax.enable_x64(True):
        x, y = (jnp.asarray(z, dtype=jnp.float64) for z in (x, y))
        values = np.asarray(jax.jit(lambda x, y: bregman.itakura_saito(x, y, digits=digits))(x, y))
        m, k = map(np.asarray, bregman.without_octaves(x, y))
    assert worst_error(values, truths) < worst
    np.testing.assert_array_equal(m * 2**k, x)
    assert (abs(np.log(m / y)) <= np.log(1.5) + 1e-15).all()
    assert np.ptp(k) > 200


def test_itakura_saito_beyond_the_floating_range():
    """Where x / y underflows or overflows."""
    with jax.enable_x64(True):
        value = float(bregman.itakura_saito(1e-300, 1e300))
        assert abs(value / (mpmath.log(mpf(1e300)) - mpmath.log(mpf(1e-300)) - 1) - 1) < 1e-14
        assert bregman.itakura_saito(1e300, 1e-300) == np.inf


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_primitives_take_numpy_arrays(name):
    x = relative_increments(name, np.float64)
    values = getattr(bregman, name)(x)
    assert type(values) is np.ndarray
    assert worst_error(values, [ONE_ARGUMENT[name](mpf(float(value))) for value in x]) < 1e-14


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", TWO_ARGUMENTS)
def test_primitives_of_two_arguments(name, dtype):
    x, y = positive_pairs(dtype)
    truths = [TWO_ARGUMENTS[name](mpf(float(a)), mpf(float(b))) for a, b in zip(x, y, strict=True)]
    with jax.enable_x64(dtype == np.float64):
        values = np.asarray(jax.jit(getattr(bregman, name))(jnp.asarray(x), jnp.asarray(y)))
    assert values.dtype == dtype
    assert worst_error(values, truths) < WORST[dtype]
    assert name == "log_ratio" or (values >= 0).all()


@pytest.mark.parametrize("dtype", [pytest.param(np.float32, marks=pytest.mark.exhaustive), np.float64])
@pytest.mark.parametrize("name", SLOPES)
def test_derivatives_of_one_argument(name, dtype):
    x = relative_increments(name, dtype, count=40)
    with jax.enable_x64(dtype == np.float64):
        slopes = np.asarray(jax.vmap(jax.grad(getattr(bregman, name)))(jnp.asarray(x)))
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    assert worst_error(slopes, [SLOPES[name](mpf(float(value))) for value in x]) < tolerance


@pytest.mark.divergences
@pytest.mark.parametrize("dtype", [pytest.param(np.float32, marks=pytest.mark.exhaustive), np.float64])
@pytest.mark.parametrize("name", SLOPES_OF_TWO)
def test_derivatives_of_two_arguments(name, dtype):
    x, y = positive_pairs(dtype, count=30)
    truths = [SLOPES_OF_TWO[name](mpf(float(a)), mpf(float(b))) for a, b in zip(x, y, strict=True)]
    with jax.enable_x64(dtype == np.float64):
        gradient = jax.vmap(jax.grad(getattr(bregman, name), argnums=(0, 1)))
        slopes = [np.asarray(values) for values in gradient(jnp.asarray(x), jnp.asarray(y))]
    tolerance = 1e-4 if dtype == np.float32 else 1e-11
    for side in (0, 1):
        assert worst_error(slopes[side], [truth[side] for truth in truths]) < tolerance


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("phi", (-1.0,), np.inf),
        ("phi", (np.inf,), np.inf),
        ("phi", (-1.5,), np.nan),
        ("psi", (-1.0,), 1.0),
        ("psi", (-1.5,), np.nan),
        ("em", (np.inf,), np.inf),
        ("em", (-np.inf,), np.inf),
        ("generalized_kl", (0.0, 0.0), 0.0),
        ("generalized_kl", (0.0, 3.0), 3.0),
        ("generalized_kl", (3.0, 0.0), np.inf),
        ("itakura_saito", (2.0, 2.0), 0.0),
        ("itakura_saito", (0.0, 2.0), np.inf),
        ("itakura_saito", (2.0, 0.0), np.inf),
        ("itakura_saito", (np.inf, 2.0), np.inf),
        ("itakura_saito", (2.0, np.inf), np.inf),
        ("itakura_saito", (0.0, 0.0), np.nan),
        ("itakura_saito", (np.inf, np.inf), np.nan),
        ("itakura_saito", (-2.0, 2.0), np.nan),
        ("itakura_saito", (2.0, -2.0), np.nan),
        ("itakura_saito", (np.nan, 2.0), np.nan),
        ("itakura_saito", (2.0, np.nan), np.nan),
        ("binet", (1e-3, 1e-3), 0.0),
    ],
)
def test_edges(name, arguments, value):
    arrays = [jnp.asarray(argument) for argument in arguments]
    np.testing.assert_array_equal(getattr(bregman, name)(*arrays), np.float32(value))


@pytest.mark.divergences
def test_derivatives_at_zero_are_finite():
    gradient = jax.grad(bregman.generalized_kl, argnums=(0, 1))
    assert [float(x) for x in gradient(0.0, 3.0)] == [0.0, 1.0]
    assert [float(x) for x in gradient(0.0, 0.0)] == [0.0, 1.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_difference_of_products_keeps_every_digit(dtype):
    rng = np.random.default_rng(3)
    a, b = (np.exp(rng.normal(size=200)).astype(dtype) for _ in range(2))
    c = (a * (1 + 1e-6 * rng.normal(size=200))).astype(dtype)
    d = (a.astype(float) * b / c).astype(dtype)
    exact = [
        mpf(float(w)) * mpf(float(x)) - mpf(float(y)) * mpf(float(z)) for w, x, y, z in zip(a, b, c, d, strict=True)
    ]
    with jax.enable_x64(dtype == np.float64):
        values = np.asarray(jax.jit(bregman.difference_of_products)(*map(jnp.asarray, (a, b, c, d))))
        naive = np.asarray(jnp.asarray(a) * jnp.asarray(b) - jnp.asarray(c) * jnp.asarray(d))
    assert worst_error(values, exact) <= 2 * np.finfo(dtype).eps
    assert worst_error(naive, exact) > 1e-3, "the plain difference does as well, so this test shows nothing"


@pytest.mark.divergences
def test_log_sum_exp_meets_both_ends_of_the_floating_range():
    """Log weights and steps whose exponentials leave float64, and a step of 1e-12."""
    with jax.enable_x64(True):
        for log_odds, step in ((-2000.0, 5000.0), (-900.0, 890.0), (-1.0, 1e-12), (3.0, -40.0)):
            weight = 1 / (1 + mpmath.exp(-mpf(log_odds)))
            truth = mpmath.log(1 - weight + weight * mpmath.exp(mpf(step))) - weight * mpf(step)
            log_weights = jnp.array([float(mpmath.log(1 - weight)), float(mpmath.log(weight))])
            value = bregman.log_sum_exp(jnp.exp(log_weights), log_weights, jnp.array([0.0, step]))
            assert abs(float(value) / truth - 1) < 1e-12
