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


@pytree
class Product(Sum):
    pass


def test_two_classes_with_the_same_fields_are_two():
    """Else JAX, where their hashes agree in part, runs the program of the one for the other."""
    one, other = (jax.tree.structure(kind(1.0)) for kind in (Sum, Product))
    assert one != other
    assert one == jax.tree.structure(Sum(2.0))
    assert one != jax.tree.structure(Sum(1.0, "another"))


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
