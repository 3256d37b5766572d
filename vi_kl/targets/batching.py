"""Several pytrees of one structure (targets, approximations) as one, for programs that take them all at once.

A leaf that is the same object in every tree (the design matrix of many simulated data sets) is not copied: it stays
one array, without the axis that the others get.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np


def have_one_structure(trees: Sequence) -> bool:
    """Return whether all trees have one structure, and leaves of the same shapes and types.

    If so, one program takes them all.
    """

    def signature(tree):
        leaves, structure = jax.tree.flatten(tree)
        return structure, [(np.shape(leaf), getattr(leaf, "dtype", type(leaf))) for leaf in leaves]

    first = signature(trees[0])
    return all(signature(tree) == first for tree in trees[1:])


@dataclasses.dataclass(frozen=True)
class Layout:
    """A record of which leaves get an axis when trees are stacked. It is hashable: a static part of compiled code."""

    structure: Any
    shared: tuple[bool, ...]

    @classmethod
    def of(cls, trees: Sequence) -> "Layout":
        """Return the layout of all of these trees, which serves any selection of them."""
        columns = zip(*map(jax.tree.leaves, trees), strict=True)
        shared = tuple(all(leaf is column[0] for leaf in column) for column in columns)
        return cls(jax.tree.structure(trees[0]), shared)

    def stack(self, trees: Sequence) -> list:
        """Return the trees' leaves, with a new first axis where they differ."""
        columns = zip(*map(jax.tree.leaves, trees), strict=True)
        return [column[0] if same else np.stack(column) for column, same in zip(columns, self.shared, strict=True)]

    @property
    def axes(self) -> list:
        """`in_axes` of `jax.vmap` for what `stack` returns."""
        return [None if same else 0 for same in self.shared]

    def tree(self, leaves: list):
        """Return one tree, made of its leaves."""
        return jax.tree.unflatten(self.structure, leaves)
