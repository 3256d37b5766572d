"""Keys made of keys are JAX's own, by fewer programs."""

import jax
import numpy as np
import pytest

from vi_kl.core.random_keys import AT_ONCE, fold_in, split


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("num", [1, 3, AT_ONCE, AT_ONCE + 1])
def test_they_are_those_of_jax(num, impl):
    key = jax.random.key(3, impl=impl)
    data = [np.asarray(jax.random.key_data(one)) for one in split(key, num)]
    assert np.array_equal(data, jax.random.key_data(jax.random.split(key, num)))
    assert fold_in(key, 7) == jax.random.fold_in(key, 7)


def test_they_do_not_depend_on_the_callers_setting():
    with jax.threefry_partitionable(False):
        key = jax.random.key(3)
        assert split(key, 3)[1] == jax.random.split(key, 3)[1]
