"""Arguments of which a model needs the numbers themselves, in Python: they are constants, and the rest are data.

A model may pass an array to NumPy (`np.unique(group)`, `y[~np.isnan(y)]`), make a Python number of it
(`int(group.max())`) or decide by it (`if x.sum() > 0`). Such an array is handed to the model as it is while the model
is traced. It is found by trying, without computing anything: the model can be traced when all arrays are handed to it
so, and for each array, or group of them, it is seen whether it can be traced without.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Constant:
    """An array argument that is a constant of the model.

    What compiled code depends on is its shape: where the model computes with its numbers they are closed over, and
    found there, and what else the model does with them makes another program.

    Attributes:
        array: the numbers.
        as_numpy: whether the model gets a NumPy array, or one of JAX's.
        name: the argument's name.
    """

    array: np.ndarray
    as_numpy: bool
    name: str

    @property
    def value(self):
        return self.array if self.as_numpy else jnp.asarray(self.array)

    @property
    def identity(self):
        return self.array.shape, self.array.dtype.str, self.as_numpy, self.name

    def __eq__(self, other):
        return isinstance(other, Constant) and self.identity == other.identity

    def __hash__(self):
        return hash(self.identity)

    def __deepcopy__(self, memo):
        return self


def value_of(leaf):
    return leaf.value if isinstance(leaf, Constant) else leaf


def with_constants(density, data: tuple, inspect: Callable):
    """Return the density, its data, and what `inspect` finds; arrays that must be constants move to the density.

    Args:
        density: the density.
        data: its arrays.
        inspect: a function of both that traces the model, and raises an error if it cannot be traced.

    Raises:
        Exception: the model's own error when it is traced with all arrays as data, if constants do not help.
    """
    try:
        return density, data, inspect(density, data)
    except Exception:
        for as_numpy in (True, False):
            which = needed(density, data, inspect, as_numpy)
            if which:
                density, data = density.with_fixed(data, which, as_numpy)
                return density, data, inspect(density, data)
        raise


def needed(density, data, inspect: Callable, as_numpy: bool) -> frozenset:
    """Return which arrays have to be constants, as few as are found; none if it does not help."""

    def works(fixed: frozenset) -> bool:
        return runs(inspect, *density.with_fixed(data, fixed, as_numpy))

    fixed = frozenset(range(len(jax.tree.leaves(data))))
    if not fixed or not works(fixed):
        return frozenset()
    for group in halves(sorted(fixed)):
        fixed = released(fixed, group, works)
    return fixed


def runs(inspect: Callable, density, data) -> bool:
    try:
        inspect(density, data)
    except Exception:  # the model's own errors are of any type
        return False
    return True


def released(fixed: frozenset, group: list, works: Callable) -> frozenset:
    """Return the arrays that are still constants when as many of the group as possible are data."""
    if works(fixed - set(group)):
        return fixed - set(group)
    if len(group) == 1:
        return fixed
    for half in halves(group):
        fixed = released(fixed, half, works)
    return fixed


def halves(group: list) -> list[list]:
    middle = len(group) // 2
    return [half for half in (group[:middle], group[middle:]) if half]
