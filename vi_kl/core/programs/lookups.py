"""Lookups: which of a program's arguments index which axes of others, and whether the indices lie inside.

    for each in lookups(program, {2: codes}):
        each.by, each.axes, each.size, each.least, each.greatest

JAX takes the nearest entry where an index lies outside of an array, and says nothing. What is known of the arguments'
numbers is followed, in NumPy, through the operations that make indices of them, and into the steps of a scan, which go
through rows of them. Not followed is what a loop carries from step to step, such as a counter (`fori_loop`), and so
what is found by it.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from vi_kl.core.programs.measure import PLAINLY_FUSED, REDUCTIONS, SPECIALLY_FUSED, TRANSCENDENTALLY_FUSED, names
from vi_kl.core.programs.replay import fixed_and_carried, inner_programs, needed_operations, opened

__all__ = ["Lookup", "lookups"]

CALLS = names("jit pjit closed_call core_call checkpoint remat2 custom_jvp_call custom_vjp_call")
ON_EACH_ENTRY = PLAINLY_FUSED | TRANSCENDENTALLY_FUSED | SPECIALLY_FUSED | {"convert_element_type", "clamp", "copy"}
NO_ARGUMENTS: frozenset = frozenset()

# the operations that make indices of whole numbers
IN_NUMPY: dict[str, Callable] = {
    "lt": lambda p, x, y: x < y,
    "ge": lambda p, x, y: x >= y,
    "add": lambda p, x, y: x + y,
    "sub": lambda p, x, y: x - y,
    "mul": lambda p, x, y: x * y,
    "min": lambda p, x, y: np.minimum(x, y),
    "max": lambda p, x, y: np.maximum(x, y),
    "clamp": lambda p, low, x, high: np.clip(x, low, high),
    "select_n": lambda p, which, *cases: np.choose(which, cases),
    "convert_element_type": lambda p, x: x.astype(p["new_dtype"]),
    "squeeze": lambda p, x: np.squeeze(x, p["dimensions"]),
    "reshape": lambda p, x: x.reshape(p["new_sizes"]),
    "concatenate": lambda p, *parts: np.concatenate(parts, p["dimension"]),
    "copy": lambda p, x: x,
}


@dataclasses.dataclass(frozen=True)
class Lookup:
    """An axis that is indexed.

    Attributes:
        by: the places of the arguments that the indices are made of.
        axes: (place, axis) of the arguments whose axis it is, entry by entry.
        size: its length.
        least, greatest: the extremes of the indices, counted from 0; None where they are not known.
    """

    by: frozenset[int]
    axes: frozenset[tuple[int, int]]
    size: int
    least: int | None
    greatest: int | None

    @property
    def is_outside(self) -> bool:
        """Whether an index is known to lie outside."""
        return self.least is not None and self.greatest is not None and not 0 <= self.least <= self.greatest < self.size


@dataclasses.dataclass(frozen=True)
class Followed:
    """What is known of an array.

    Attributes:
        shape: its shape.
        by: the places of the arguments that it is made of.
        axes: (place, axis) of the arguments whose axis it is, for each axis.
        columns: the same as `by` for each entry of the last axis, where they differ; else empty.
        value: its numbers, where they are known.
        steps: whether these are the numbers at each step of a loop, along a first axis of their own.
    """

    shape: tuple[int, ...]
    by: frozenset[int] = NO_ARGUMENTS
    axes: tuple[frozenset, ...] = ()
    columns: tuple[frozenset, ...] = ()
    value: np.ndarray | None = None
    steps: bool = False

    def along(self, axis: int) -> frozenset:
        return self.axes[axis] if self.axes else NO_ARGUMENTS


def lookups(program: ClosedJaxpr, known: Mapping[int, Any]) -> list[Lookup]:
    """Return the lookups of a program, in the order in which it makes them.

    Args:
        program: the operations.
        known: {place of an argument: its numbers}, of those that are known; arrays of integers.
    """
    arguments = []
    for place, variable in enumerate(program.jaxpr.invars):
        shape = tuple(variable.aval.shape)
        axes = tuple(frozenset([(place, axis)]) for axis in range(len(shape)))
        value = np.asarray(known[place]) if place in known else None
        arguments.append(Followed(shape, frozenset([place]), axes, (), value))
    walk = Walk()
    walk.run(program, arguments)
    return walk.found


class Walk:
    """One pass over the operations of a program.

    Attributes:
        found: the lookups.
    """

    def __init__(self):
        self.found: list[Lookup] = []

    def run(self, program: Jaxpr | ClosedJaxpr, arguments: list[Followed]) -> list[Followed]:
        jaxpr, constants = opened(program)
        values = dict(zip(jaxpr.constvars, map(constant, constants), strict=True))
        values.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom) -> Followed:
            return constant(atom.val) if isinstance(atom, Literal) else values[atom]

        for eqn in needed_operations(jaxpr):
            inputs = [read(atom) for atom in eqn.invars]
            inner = list(inner_programs(eqn)) if eqn.primitive.name in CALLS else []
            if len(inner) == 1 and len(opened(inner[0])[0].invars) == len(inputs):
                results = self.run(inner[0], inputs)
            else:
                for program, given in bodies(eqn, inputs):
                    self.run(program, given)
                results = [self.apply(eqn, inputs, tuple(getattr(v.aval, "shape", ()))) for v in eqn.outvars]
            values.update(zip(eqn.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def apply(self, eqn, inputs: list[Followed], shape: tuple[int, ...]) -> Followed:
        name = eqn.primitive.name
        if name == "gather":
            self.found += gathered(eqn.params, *inputs[:2])
        if name == "dynamic_slice":  # as an index that is one number is read
            self.found += sliced(eqn.params, *inputs)
        by = frozenset().union(*(x.by for x in inputs))
        columns = columns_of(eqn.params, inputs) if name == "concatenate" else inputs[0].columns if inputs else ()
        kept = columns if columns and shape and len(columns) == shape[-1] else ()
        axes, value = axes_after(name, eqn.params, inputs, shape), value_after(eqn, inputs, shape)
        return Followed(shape, by, axes, kept, value, steps=value is not None and any(x.steps for x in inputs))


def bodies(eqn, inputs: list[Followed]) -> Iterator[tuple[Any, list[Followed]]]:
    """Yield the programs that an operation runs at each step or in one of several cases, and what these are given."""
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        first, carry = fixed_and_carried(params)
        last = first + carry
        yield params["jaxpr"], [*inputs[:first], *carried(inputs[first:last], inputs), *map(one_step, inputs[last:])]
    if name == "while":
        of_condition, first = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
        state = carried(inputs[first:], inputs)
        yield params["cond_jaxpr"], [*inputs[:of_condition], *state]
        yield params["body_jaxpr"], [*inputs[of_condition:first], *state]
    if name == "cond":
        for branch in params["branches"]:
            yield branch, inputs[1:]


def carried(state: list[Followed], inputs: list[Followed]) -> list[Followed]:
    """Return what is known of what a loop carries on: it may be made of all that the loop is given."""
    by = frozenset().union(*(x.by for x in inputs))
    return [Followed(x.shape, by) for x in state]


def one_step(rows: Followed) -> Followed:
    """Return what is known of a row at each step of a scan."""
    value = None if rows.steps else rows.value  # of a loop within a loop the numbers are not followed
    return Followed(rows.shape[1:], rows.by, rows.axes[1:], rows.columns, value, steps=value is not None)


def constant(value: Any) -> Followed:
    """Return what is known of a constant; only of one in NumPy are the numbers looked at."""
    array = value if isinstance(value, np.ndarray | np.generic | int | bool) else None
    whole = array is not None and np.asarray(array).dtype.kind in "iub"
    return Followed(tuple(np.shape(value)), value=np.asarray(array) if whole else None)


def gathered(params: dict, operand: Followed, indices: Followed) -> Iterator[Lookup]:
    """Yield the lookups that a gather makes, one for each axis that it indexes."""
    for column, axis in enumerate(params["dimension_numbers"].start_index_map):
        if params["slice_sizes"][axis] == 1:
            value = None if indices.value is None else indices.value[..., column]
            inside = value is not None and value.size
            least, greatest = (int(value.min()), int(value.max())) if inside else (None, None)
            by = indices.columns[column] if indices.columns else indices.by
            yield Lookup(by, operand.along(axis), operand.shape[axis], least, greatest)


def sliced(params: dict, operand: Followed, *begins: Followed) -> Iterator[Lookup]:
    """Yield the lookups that a slice of one entry makes, one for each axis where it begins at what is no constant."""
    for axis, begin in enumerate(begins):
        if params["slice_sizes"][axis] == 1 and begin.by:
            least, greatest = (None, None) if begin.value is None else (int(begin.value.min()), int(begin.value.max()))
            yield Lookup(begin.by, operand.along(axis), operand.shape[axis], least, greatest)


def columns_of(params: dict, inputs: list[Followed]) -> tuple[frozenset, ...]:
    """Return what each entry of the last axis is made of, where arrays are put side by side along it."""
    if params["dimension"] != len(inputs[0].shape) - 1:
        return ()
    return tuple(by for x in inputs for by in (x.columns or (x.by,) * x.shape[-1]))


def axes_after(name: str, params: dict, inputs: list[Followed], shape: tuple[int, ...]) -> tuple[frozenset, ...]:
    """Return whose axes those of a result are."""
    if name in ON_EACH_ENTRY:
        whole = [x for x in inputs if x.shape == shape]
        return tuple(frozenset().union(*(x.along(axis) for x in whole)) for axis in range(len(shape)))
    after = [NO_ARGUMENTS] * len(shape)
    for axis, place in places_after(name, params, inputs[0].shape if inputs else (), shape):
        if inputs[0].shape[axis] == shape[place]:
            after[place] = inputs[0].along(axis)
    return tuple(after)


def places_after(name: str, params: dict, before: tuple[int, ...], shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return (axis, axis of the result) of those axes of an operation's first argument that its result has too."""
    rest = range(len(before))
    if name == "broadcast_in_dim":
        return list(zip(rest, params["broadcast_dimensions"], strict=True))
    if name == "transpose":
        return [(axis, place) for place, axis in enumerate(params["permutation"])]
    if name in REDUCTIONS and "axes" in params:
        return [(axis, place) for place, axis in enumerate(axis for axis in rest if axis not in params["axes"])]
    if name in ("reshape", "squeeze", "expand_dims"):
        longer = [axis for axis in rest if before[axis] != 1]
        places = [place for place, size in enumerate(shape) if size != 1]
        same = [before[axis] for axis in longer] == [shape[place] for place in places]
        return list(zip(longer, places, strict=True)) if same else []
    return []


def value_after(eqn, inputs: list[Followed], shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the numbers of a result, where it is made of whole numbers that are known by an operation of indices."""
    kind = getattr(getattr(eqn.outvars[0].aval, "dtype", None), "kind", "")
    if not inputs or any(x.value is None for x in inputs) or kind not in ("i", "u", "b"):
        return None
    steps = {len(x.value) for x in inputs if x.steps}
    if not steps:
        return value_of(eqn, [x.value for x in inputs], shape)
    each = [value_of(eqn, [x.value[i] if x.steps else x.value for x in inputs], shape) for i in range(*steps)]
    return None if each[0] is None else np.stack(each)


def value_of(eqn, values: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray | None:
    """Return what an operation makes of whole numbers; None of one that makes no indices."""
    name = eqn.primitive.name
    if name == "broadcast_in_dim":
        places = eqn.params["broadcast_dimensions"]
        between = [1] * len(shape)
        for size, place in zip(values[0].shape, places, strict=True):
            between[place] = size
        return np.broadcast_to(values[0].reshape(between), shape)
    return IN_NUMPY[name](eqn.params, *values) if name in IN_NUMPY else None
