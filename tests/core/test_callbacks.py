"""Callbacks in captured programs: every bit arrives, from any thread, in batches and in a caller's 32 bits."""

import concurrent.futures

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_kl.core.programs.program import capture

pytestmark = pytest.mark.usefixtures("compiled_quickly")
METHODS = ["sequential", "sequential_unrolled", None, "expand_dims", "broadcast_all"]
F64, I64 = (lambda *shape: jax.ShapeDtypeStruct(shape, np.float64)), (lambda *s: jax.ShapeDtypeStruct(s, np.int64))


def program(function, *shapes):
    with jax.enable_x64(True):
        captured, constants = capture(function, *shapes)

        @jax.jit
        def run(*arguments):
            return captured(constants, *arguments)

    def call(*arguments):
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, run(*arguments))

    return captured, constants, call


def weighted(method, seen=None):
    """A number and an array to an array and a whole number, of the shapes () and (3,), or with leading axes."""

    def numpy_function(x, v):
        if seen is not None:
            seen.append((np.shape(x), np.shape(v), x.dtype, v.dtype))
        return x[..., None] * np.cumsum(v, axis=-1), np.asarray(np.sum(v > 0, axis=-1) + 0 * x, np.int64)

    return lambda x, v: jax.pure_callback(numpy_function, (F64(3), I64()), x, v, vmap_method=method)


X, V = np.random.default_rng(0).normal(size=4), np.random.default_rng(1).normal(size=(4, 3))


@pytest.mark.parametrize("method", METHODS)
def test_batches_of_one_argument_or_of_both(method):
    captured, constants, one = program(weighted(method), F64(), F64(3))
    found = one(X[0], V[0])
    np.testing.assert_array_equal(found[0], X[0] * np.cumsum(V[0]))
    assert found[1] == (V[0] > 0).sum()
    assert found[1].dtype == np.int64

    def run(x, v):
        return captured(constants, x, v)

    with jax.enable_x64(True):
        both = jax.vmap(run)(X, V)
        one_axis = jax.vmap(run, (0, None))(X, V[0])
        table = jax.vmap(jax.vmap(run, (None, 0)), (0, None))(X, V)
    np.testing.assert_array_equal(both[0], X[:, None] * np.cumsum(V, axis=1))
    np.testing.assert_array_equal(both[1], (V > 0).sum(axis=1))
    np.testing.assert_array_equal(one_axis[0], X[:, None] * np.cumsum(V[0]))
    np.testing.assert_array_equal(table[0], X[:, None, None] * np.cumsum(V, axis=1))
    np.testing.assert_array_equal(table[1], np.tile((V > 0).sum(axis=1), (4, 1)))


@pytest.mark.parametrize(("method", "calls"), [("sequential", 4), (None, 4), ("expand_dims", 1), ("broadcast_all", 1)])
def test_what_the_function_is_called_with(method, calls):
    seen = []
    captured, constants, _ = program(weighted(method, seen), F64(), F64(3))
    with jax.enable_x64(True):
        jax.block_until_ready(jax.vmap(lambda x: captured(constants, x, V[0]))(X))
    assert len(seen) == calls
    assert {(x, v) for *_, x, v in seen} == {(np.dtype(np.float64), np.dtype(np.float64))}
    shapes = {"expand_dims": ((4,), (1, 3)), "broadcast_all": ((4,), (4, 3))}.get(method, ((), (3,)))
    assert {(x, v) for x, v, *_ in seen} == {shapes}


def test_every_bit_arrives_from_every_thread():
    """Also of numbers that 32 bits do not hold, and those that are not equal to themselves."""
    rng = np.random.default_rng(2)
    numbers = rng.integers(0, 2**64, 40_000, dtype=np.uint64).view(np.float64)  # more than JAX copies at once
    special = [0.0, -0.0, 5e-324, np.inf, -np.inf, np.nan, np.finfo(float).max, 1 + 2**-52]
    numbers = np.concatenate([numbers, special])
    whole = rng.integers(-(2**63), 2**63, len(numbers))

    def both(x, i):
        return jax.pure_callback(lambda x, i: (x, i), (F64(*x.shape), I64(*i.shape)), x, i)

    call = program(both, F64(len(numbers)), I64(len(numbers)))[2]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for x, i in pool.map(lambda _: call(numbers, whole), range(20)):
            assert x.tobytes() == numbers.tobytes()
            assert i.tobytes() == whole.tobytes()


def test_inside_loops_conditions_and_functions_under_jit():
    def cube(x):
        return jax.pure_callback(lambda x: np.asarray(x) ** 3, F64(), x, vmap_method="sequential")

    def function(v):
        total = jax.lax.scan(lambda total, x: (total + cube(x), cube(total)), 0.0, v)
        return total[0], total[1], jax.lax.cond(v[0] > 0, cube, lambda x: -cube(x), v[0]), jax.jit(cube)(v[1])

    call = program(function, F64(3))[2]
    v = np.array([0.1, -0.2, 1 / 3])
    total, before, chosen, inside = call(v)
    assert total == pytest.approx((v**3).sum(), rel=1e-15)
    np.testing.assert_allclose(before, np.concatenate([[0.0], np.cumsum(v**3)[:-1]]) ** 3, rtol=1e-14)
    assert (chosen, inside) == (v[0] ** 3, v[1] ** 3)


@pytest.mark.parametrize("method", ["sequential", "expand_dims"])
def test_a_callers_program_in_32_bits(method):
    captured, constants, _ = program(weighted(method), F64(), F64(3))
    x, v = X.astype(np.float32), V.astype(np.float32)
    found = jax.jit(jax.vmap(lambda x, v: captured(constants, x, v)))(x, v)
    assert found[0].dtype == jnp.float32
    assert found[1].dtype == jnp.int32
    np.testing.assert_allclose(found[0], x[:, None] * np.cumsum(v.astype(float), axis=1), rtol=1e-6)


def test_one_function_is_one_program():
    """Told apart by its code and what it reads, as other functions are."""

    def scaled(by, method="sequential"):
        return lambda x: jax.pure_callback(lambda x: by * np.asarray(x), F64(), x, vmap_method=method)

    first, again, other = (program(scaled(by), F64())[0] for by in (2.0, 2.0, 3.0))
    assert first is again
    assert first is not other
    assert first is not program(scaled(2.0, "expand_dims"), F64())[0]
    np.testing.assert_array_equal(program(scaled(3.0), F64())[2](1.0), 3.0)


def test_an_error_in_the_function_is_told():
    def failing(x):
        raise ArithmeticError("no such region")

    call = program(lambda x: jax.pure_callback(failing, F64(), x), F64())[2]
    with pytest.raises(Exception, match="no such region"):
        call(1.0)
