"""Keys made of keys are JAX's own, computed by NumPy."""

import jax
import numpy as np
import pytest

from vi_kl.core.random_keys import fold_in, split


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("num", [1, 9])
def test_they_are_those_of_jax(num, impl):
    key = jax.random.key(3, impl=impl)
    data = [np.asarray(jax.random.key_data(one)) for one in split(key, num)]
    assert np.array_equal(data, jax.random.key_data(jax.random.split(key, num)))
    for number in (0, 7, 2**32 - 1):
        assert fold_in(key, number) == jax.random.fold_in(key, np.uint32(number))


def test_generations_of_keys_are_those_of_jax():
    """A key's children have other numbers than the few of a key of an integer: all 64 bits are used."""
    ours = theirs = jax.random.key(0)
    for generation in range(30):
        ours, theirs = (
            split(fold_in(ours, generation), 3)[2],
            jax.random.split(jax.random.fold_in(theirs, generation), 3)[2],
        )
        assert ours == theirs


def test_they_do_not_depend_on_the_callers_setting():
    with jax.threefry_partitionable(False):
        key = jax.random.key(3)
        assert split(key, 3)[1] == jax.random.split(key, 3)[1]
