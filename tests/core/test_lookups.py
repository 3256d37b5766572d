"""Lookups of programs: which arguments index which axes, and how far the indices reach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_kl.core.programs.lookups import lookups

CODES, OTHERS = np.array([0, 2, 1]), np.array([[3], [0], [1]])


def found_in(function, *shapes):
    """The lookups of a function of codes (3,), others (3, 1) and arrays of these shapes."""
    arrays = [jax.ShapeDtypeStruct(shape, float) for shape in shapes]
    with jax.enable_x64(True):
        program = jax.make_jaxpr(function)(CODES, OTHERS, *arrays)
    return lookups(program, {0: CODES, 1: OTHERS})


@pytest.mark.parametrize(
    ("function", "shape", "by", "axis", "reach"),
    [
        (lambda g, h, x: x[g], (3,), 0, 0, (0, 2)),
        (lambda g, h, x: x[g - 1], (3,), 0, 0, (0, 2)),  # -1 is the last
        (lambda g, h, x: x[2 * g], (3,), 0, 0, (0, 4)),
        (lambda g, h, x: x[jnp.cumsum(g)], (4,), 0, 0, None),  # what is computed otherwise is not known
        (lambda g, h, x: x[jnp.squeeze(h, 1)], (4,), 1, 0, (0, 3)),
        (lambda g, h, x: jnp.take(x, g), (3,), 0, 0, (0, 2)),
        (lambda g, h, x: jnp.take_along_axis(x, h, axis=1), (3, 5), 1, 1, (0, 3)),
        (lambda g, h, x: jax.jit(lambda y: jnp.exp(y).T)(x)[g], (2, 3), 0, 1, (0, 2)),
        (lambda g, h, x: (2.0 + 3.0 * x[:, None, :]).sum(-1)[g], (3, 2), 0, 0, (0, 2)),
        (lambda g, h, x: jax.checkpoint(lambda y: y[g] ** 2)(x).sum(), (3,), 0, 0, (0, 2)),
    ],
)
def test_indices_are_followed_to_what_they_are_made_of(function, shape, by, axis, reach):
    each = found_in(function, shape)[-1]
    assert (each.by, each.axes) == ({by}, {(2, axis)})
    assert each.size == shape[axis]
    assert (each.least, each.greatest) == (reach or (None, None))
    assert each.is_outside == (reach is not None and reach[1] >= shape[axis])


def test_two_indices_are_told_apart():
    first, second = found_in(lambda g, h, x: x[g, h[0, 0]], (3, 4))
    assert (first.by, first.axes, second.by, second.axes) == ({0}, {(2, 0)}, {1}, {(2, 1)})
    first, second = found_in(lambda g, h, x: x[g[:, None], h], (3, 3))
    assert (first.greatest, first.is_outside, second.greatest, second.is_outside) == (2, False, 3, True)


def test_what_is_computed_otherwise_belongs_to_no_axis():
    assert found_in(lambda g, h, x: jnp.cumsum(x)[g], (3,))[0].axes == set()
    assert found_in(lambda g, h, x, y: (x + y)[g], (3,), (3,))[0].axes == {(2, 0), (3, 0)}
    assert found_in(lambda g, h, x: (x @ x)[g], (3, 3))[0].axes == set()
    assert found_in(lambda g, h, x: x.sum() + g, (3,)) == []


def scanned(body, *rows):
    return jax.lax.scan(lambda carry, row: (body(carry, row), carry), 0.0, rows if len(rows) > 1 else rows[0])


@pytest.mark.parametrize(
    ("function", "by", "reach"),
    [
        (lambda g, h, x: scanned(lambda c, i: c + x[i], g), {0}, (0, 2)),
        (lambda g, h, x: scanned(lambda c, i: c + x[i - 1], g), {0}, (0, 2)),  # -1 is the last
        (lambda g, h, x: scanned(lambda c, i: c + x[i[0]], h), {1}, (0, 3)),
        (lambda g, h, x: scanned(lambda c, row: c + x[row[0] + row[1][0]], g, h), {0, 1}, (2, 3)),
        (lambda g, h, x: scanned(lambda c, i: jax.lax.cond(c > 0, lambda: x[i], lambda: c), g), {0}, (0, 2)),
        (lambda g, h, x: scanned(lambda c, _: c + x[g].sum(), h), {0}, (0, 2)),
        (lambda g, h, x: jax.lax.fori_loop(0, 3, lambda i, c: c + x[g].sum(), 0.0), {0}, (0, 2)),
        (lambda g, h, x: scanned(lambda c, _: c + scanned(lambda d, i: d + x[i], g)[0], h), {0}, (0, 2)),
    ],
)
def test_indices_are_followed_into_the_steps_of_loops(function, by, reach):
    each = next(each for each in found_in(function, (3,)) if each.axes)
    assert (each.by, each.axes, each.size) == (by, {(2, 0)}, 3)
    assert (each.least, each.greatest) == reach
    assert each.is_outside == (reach[1] >= 3)


def test_what_a_loop_carries_is_not_followed():
    each = found_in(lambda g, h, x: jax.lax.scan(lambda i, _: (i + 1, x[i]), g[0], None, length=9), (3,))[-1]
    assert (each.least, each.greatest, each.is_outside) == (None, None, False)
    inner = found_in(lambda g, h, x: scanned(lambda c, i: c + scanned(lambda d, j: d + x[j], i)[0], h), (3,))
    assert not any(each.is_outside for each in inner)
