"""Pytrees of JAX: dataclasses, each a kind of its own, and leaves as NumPy arrays.

Dataclasses are not registered by `jax.tree_util.register_dataclass`: the tree structures of two of its classes with
fields of the same names are equal to JAX (0.10.2), and so of some hundred calls of one function, for one class after
the other, one ran the program that was compiled for the other, and returned wrong numbers.
"""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax
import numpy as np

C = TypeVar("C", bound=type)


def to_numpy(tree: Any) -> Any:
    """Return a pytree with NumPy arrays as leaves."""
    return jax.tree.map(np.asarray, tree)


@dataclass_transform(frozen_default=True, eq_default=False)
def pytree(cls: C, *, eq: bool = False) -> C:
    """Make a frozen dataclass whose fields are children of a pytree; one with `static` metadata is part of its type.

    Args:
        cls: the class.
        eq: whether its objects are equal if their fields are, which arrays cannot say.
    """
    fields = dataclasses.fields(dataclasses.dataclass(frozen=True, eq=eq)(cls))
    static = [field.name for field in fields if field.metadata.get("static")]
    children = [field.name for field in fields if field.name not in static]
    paths = [jax.tree_util.GetAttrKey(name) for name in children]

    def flatten(value):
        return [getattr(value, name) for name in children], (cls, *(getattr(value, name) for name in static))

    def flatten_with_keys(value):
        leaves, kind = flatten(value)
        return list(zip(paths, leaves, strict=True)), kind

    def unflatten(kind, leaves):
        # not by the class's own `__init__`, which may compute, and which JAX calls with placeholders
        value = object.__new__(cls)
        for name, leaf in zip((*children, *static), (*leaves, *kind[1:]), strict=True):
            object.__setattr__(value, name, leaf)
        return value

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
