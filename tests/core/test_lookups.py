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
