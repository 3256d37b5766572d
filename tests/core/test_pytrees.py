"""Pytrees of different classes are different, whatever their fields are called."""

import dataclasses
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_kl.core.pytrees import pytree

PACKAGE = Path(__file__).parents[2] / "vi_kl"


@pytree
class Sum:
    numbers: jax.Array
    name: str = dataclasses.field(default="sum", metadata={"static": True})

    def value(self):
        return self.numbers.sum()


@pytree
class Product(Sum):
    def value(self):
        return self.numbers.prod()


def test_two_classes_with_the_same_fields_are_two():
    one, other = (jax.tree.structure(kind(1.0)) for kind in (Sum, Product))
    assert one != other
    assert one == jax.tree.structure(Sum(2.0))
    assert one != jax.tree.structure(Sum(1.0, "another"))


def test_each_runs_the_program_of_its_own_class():
    """That of the other class was run once in about a hundred functions."""
    numbers = np.array([2.0, 3.0])
    for _ in range(300):
        value = lambda x: x.value()  # noqa: E731 (another function each time)
        structures = [jax.make_jaxpr(value)(kind(numbers)) for kind in (Sum, Product)]
        names = [str(structure.eqns[0].primitive) for structure in structures]
        assert names == ["reduce_sum", "reduce_prod"]


def test_a_pytree_comes_back_and_knows_its_fields():
    x = Sum(jnp.arange(3.0), "three")
    doubled = jax.tree.map(lambda leaf: 2 * leaf, x)
    assert isinstance(doubled, Sum)
    assert doubled.name == "three"
    np.testing.assert_array_equal(doubled.numbers, [0, 2, 4])
    assert [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(x)] == [".numbers"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        x.name = "four"


def test_nothing_is_registered_as_a_dataclass():
    found = [p for p in PACKAGE.rglob("*.py") if re.search(r"tree_util\.register_dataclass\b(?!`)", p.read_text())]
    # named in the sentence about why not, and in a message for those who have a dataclass of their own
    assert {path.name for path in found} <= {"parameters.py"}
