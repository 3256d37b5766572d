"""A program that is a sum over the rows of its data, evaluated for a block of rows.

A log density of many rows is most often a prior and a sum over the rows. Evaluated in one go, a program of a million
rows writes every intermediate result to memory, for each of the draws at which it is evaluated; a block of a thousand
rows stays in the processor's cache, and is read once for all the draws.

`block_of_rows` walks through the operations of a traced program. Arrays that run over the rows are cut to the block;
sums over the rows become sums over the block, and what is made of them has to be linear in them. So the result is

    program(all rows, z)  =  constant(z)  +  sum over blocks of linear(block, z)

exactly. Where an operation does not allow this (the rows look at one another, or a sum over them is squared), it
raises `NotASumError`, which names the operation.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from vi_kl.core.programs.measure import (
    PLAINLY_FUSED,
    REDUCTIONS,
    SPECIALLY_FUSED,
    TRANSCENDENTALLY_FUSED,
    names,
)
from vi_kl.core.programs.replay import needed_operations, opened
from vi_kl.core.programs.widened import merge, select

CALLS = names("jit pjit closed_call core_call")
ON_EACH_ENTRY = PLAINLY_FUSED | TRANSCENDENTALLY_FUSED | SPECIALLY_FUSED | {
    "convert_element_type", "clamp", "copy", "stop_gradient"
}  # fmt: skip
LINEAR_IN_ALL = names("add sub add_any neg reduce_sum reshape broadcast_in_dim squeeze expand_dims transpose copy real")
ALONG_AN_AXIS = names("cumsum cumprod cummax cummin cumlogsumexp")


class NotASumError(Exception):
    """Raised where a program is no sum over its rows, or cannot be seen to be one."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """The block's part of an array that runs over the rows.

    Attributes:
        value: the array.
        axis: its axis that runs over the rows.
        is_index: whether its entries are the numbers of the rows.
        is_negative: whether its entries say of each such number whether it is negative.
    """

    value: Any
    axis: int
    is_index: bool = False
    is_negative: bool = False


@dataclasses.dataclass(frozen=True)
class Total:
    """An array that is a constant plus what is linear in sums over the rows.

    Attributes:
        constant: what it would be without any rows.
        linear: the block's part of the rest.
    """

    constant: Any
    linear: Any


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of rows.

    Attributes:
        num_rows: the number of all rows, as the program was traced for.
        size: the number of rows in the block.
        numbers: the numbers of the block's rows, (size,).
        counts: which of the block's rows count, (size,); the others are counted in another block.
    """

    num_rows: int
    size: int
    numbers: Any
    counts: Any

    def cut(self, shape, axis: int) -> tuple[int, ...]:
        """Return a shape with the block's size in place of the number of rows."""
        if shape[axis] != self.num_rows:
            raise NotASumError("a shape lost its rows")
        return (*shape[:axis], self.size, *shape[axis + 1 :])

    def counted(self, rows: Rows):
        """Return an array over rows with zeros in the rows that do not count."""
        shape = [1] * rows.value.ndim
        shape[rows.axis] = self.size
        return jnp.where(self.counts.reshape(shape), rows.value, jnp.zeros((), rows.value.dtype))


def block_of_rows(program: ClosedJaxpr, arguments: list, are_rows: list[bool], block: Block) -> tuple[Any, Any]:
    """Return (constant, linear) of a program with one result, for a block of its rows.

    Args:
        program: the operations, traced for all rows.
        arguments: its arguments; of those that run over rows, along their first axis, the block's rows.
        are_rows: which these are.
        block: the block.

    Raises:
        NotASumError: the program is no constant plus a sum over rows.
    """
    given = [Rows(x, 0) if own else x for x, own in zip(arguments, are_rows, strict=True)]
    (found,) = Walk(block).run(program, given)
    if isinstance(found, Total):
        return found.constant, found.linear
    raise NotASumError("its result depends on no sum over the rows")


class Walk:
    """One pass over the operations of a program, with arrays that are plain, `Rows` or `Total`."""

    def __init__(self, block: Block):
        self.block = block

    def run(self, program: Jaxpr | ClosedJaxpr, arguments: list) -> list:
        jaxpr, constants = opened(program)
        values = dict(zip(jaxpr.constvars, constants, strict=True))
        values.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom):
            return atom.val if isinstance(atom, Literal) else values[atom]

        for eqn in needed_operations(jaxpr):
            with eqn.ctx.manager:
                found = self.apply(eqn, [read(atom) for atom in eqn.invars])
            values.update(zip(eqn.outvars, found, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def apply(self, eqn, inputs: list) -> list:
        """Return the results of one operation."""
        name = eqn.primitive.name
        if not any(isinstance(x, Rows | Total) for x in inputs):
            return self.of_plain(eqn, inputs)
        if name in CALLS:
            return self.run(eqn.params.get("jaxpr") or eqn.params["call_jaxpr"], inputs)
        if any(isinstance(x, Total) for x in inputs):
            return self.of_totals(eqn, inputs)
        if name == "custom_jvp_call":
            return self.custom_jvp(eqn, inputs)
        if name in ON_EACH_ENTRY:
            return [self.on_each_entry(eqn, inputs)]
        rule = getattr(self, f"rows_{name}", None)
        if rule is None and name in REDUCTIONS:
            rule = self.reduction
        if rule is None and name in ALONG_AN_AXIS:
            rule = self.along_an_axis
        if rule is None:
            raise NotASumError(f"'{name}' is applied to the rows")
        return rule(eqn, inputs)

    def bind(self, eqn, inputs: list, **changes) -> list:
        params = eqn.params | changes
        found = eqn.primitive.bind(*inputs, **eqn.primitive.get_bind_params(params))
        return list(found) if eqn.primitive.multiple_results else [found]

    # What does not depend on rows --------------------------------------------------------------------------------

    def of_plain(self, eqn, inputs: list) -> list:
        """Return the results of an operation on plain arrays; what it spreads over the rows is the same for each."""
        rows, name = self.block.num_rows, eqn.primitive.name
        if name == "broadcast_in_dim":
            shape, kept = eqn.params["shape"], eqn.params["broadcast_dimensions"]
            spread = [
                i for i, size in enumerate(shape)
                if size == rows and (i not in kept or jnp.shape(inputs[0])[kept.index(i)] == 1)
            ]  # fmt: skip
            if spread:
                axis = spread[0]
                return [Rows(self.bind(eqn, inputs, shape=self.block.cut(shape, axis))[0], axis)]
        if name == "iota" and rows in eqn.params["shape"]:
            shape, along = eqn.params["shape"], eqn.params["dimension"]
            if shape[along] != rows:
                axis = shape.index(rows)
                return [Rows(self.bind(eqn, inputs, shape=self.block.cut(shape, axis))[0], axis)]
            numbers = jnp.asarray(self.block.numbers, eqn.params["dtype"])
            value = jax.lax.broadcast_in_dim(numbers, self.block.cut(shape, along), (along,))
            return [Rows(value, along, is_index=True)]
        if name in CALLS:  # inside, something may be spread over the rows
            return self.run(eqn.params.get("jaxpr") or eqn.params["call_jaxpr"], inputs)
        return self.bind(eqn, inputs)

    # What has been summed over rows ------------------------------------------------------------------------------

    def of_totals(self, eqn, inputs: list) -> list:
        """Return the result of an operation that is linear in sums over the rows."""
        name = eqn.primitive.name
        totals = [i for i, x in enumerate(inputs) if isinstance(x, Total)]
        if any(isinstance(x, Rows) for x in inputs):
            raise NotASumError(f"'{name}' puts a sum over the rows beside the rows")
        if not is_linear(eqn, totals):
            raise NotASumError(f"'{name}' of a sum over the rows is not linear in it")
        if name in ("reshape", "broadcast_in_dim") and self.block.num_rows in eqn.outvars[0].aval.shape:
            raise NotASumError("a sum over the rows is spread over them")
        constants = [x.constant if isinstance(x, Total) else x for x in inputs]
        (constant,) = self.bind(eqn, constants)
        if name in ("add", "sub", "add_any"):  # what is beside the sums is part of the constant
            linear = [x.linear if isinstance(x, Total) else jnp.zeros_like(x) for x in inputs]
        else:
            linear = [x.linear if isinstance(x, Total) else x for x in inputs]
        return [Total(constant, self.bind(eqn, linear)[0])]

    # What runs over rows -----------------------------------------------------------------------------------------

    def on_each_entry(self, eqn, inputs: list) -> Rows:
        """Return the result of an operation on each entry, of arrays of one shape and numbers."""
        name, rows = eqn.primitive.name, [x for x in inputs if isinstance(x, Rows)]
        axis = rows[0].axis
        if any(x.axis != axis or x.value.ndim != rows[0].value.ndim for x in rows):
            raise NotASumError(f"'{name}' pairs rows with other rows")
        if any(jnp.ndim(x) and jnp.shape(x)[axis] != 1 for x in inputs if not isinstance(x, Rows)):
            raise NotASumError(f"'{name}' pairs the rows with as many other numbers")
        (value,) = self.bind(eqn, [value_of(x) for x in inputs])
        first = inputs[0]
        if name == "lt" and is_index(first):
            return Rows(value, axis, is_negative=is_zero(inputs[1]))
        if name == "select_n" and isinstance(first, Rows) and first.is_negative and is_index(inputs[1]):
            return inputs[1]  # the numbers of rows are not negative
        keeps = name in ("convert_element_type", "copy") and is_index(first)
        return Rows(value, axis, is_index=keeps and value.dtype.kind in "iu")

    def rows_broadcast_in_dim(self, eqn, inputs):
        axis = eqn.params["broadcast_dimensions"][inputs[0].axis]
        shape = self.block.cut(eqn.params["shape"], axis)
        return [dataclasses.replace(inputs[0], value=self.bind(eqn, [inputs[0].value], shape=shape)[0], axis=axis)]

    def rows_reshape(self, eqn, inputs):
        rows, new = inputs[0], eqn.params["new_sizes"]
        before = math.prod(rows.value.shape[: rows.axis])
        for axis, size in enumerate(new):
            if size == self.block.num_rows and math.prod(new[:axis]) == before:
                changed = self.block.cut(new, axis)
                (value,) = self.bind(eqn, [rows.value], new_sizes=changed)
                return [dataclasses.replace(rows, value=value, axis=axis)]
        raise NotASumError("'reshape' folds the rows")

    def rows_squeeze(self, eqn, inputs):
        rows, gone = inputs[0], eqn.params["dimensions"]
        axis = rows.axis - sum(i < rows.axis for i in gone)
        return [dataclasses.replace(rows, value=self.bind(eqn, [rows.value])[0], axis=axis)]

    def rows_transpose(self, eqn, inputs):
        axis = eqn.params["permutation"].index(inputs[0].axis)
        return [Rows(self.bind(eqn, [inputs[0].value])[0], axis)]

    def rows_reduce_sum(self, eqn, inputs):
        rows = inputs[0]
        if rows.axis not in eqn.params["axes"]:
            return self.reduction(eqn, inputs)
        # XLA would compute what is summed one entry at a time, in the loop of the sum, where it is not stopped
        (linear,) = self.bind(eqn, [jax.lax.optimization_barrier(self.block.counted(rows))])
        return [Total(jnp.zeros_like(linear), linear)]

    def reduction(self, eqn, inputs):
        rows, axes = inputs[0], eqn.params["axes"]
        if rows.axis in axes:
            raise NotASumError(f"'{eqn.primitive.name}' runs over the rows")
        return [Rows(self.bind(eqn, [rows.value])[0], rows.axis - sum(i < rows.axis for i in axes))]

    def along_an_axis(self, eqn, inputs):
        if eqn.params["axis"] == inputs[0].axis:
            raise NotASumError(f"'{eqn.primitive.name}' runs along the rows")
        return [Rows(self.bind(eqn, [inputs[0].value])[0], inputs[0].axis)]

    def rows_slice(self, eqn, inputs):
        rows, p = inputs[0], eqn.params
        strides = p["strides"] or (1,) * rows.value.ndim
        if p["start_indices"][rows.axis] != 0 or strides[rows.axis] != 1:
            raise NotASumError("'slice' takes some of the rows")
        limits = self.block.cut(p["limit_indices"], rows.axis)
        return [Rows(self.bind(eqn, [rows.value], limit_indices=limits)[0], rows.axis)]

    def rows_dynamic_slice(self, eqn, inputs):
        rows, starts = inputs[0], inputs[1:]
        if not isinstance(rows, Rows) or any(isinstance(x, Rows) for x in starts):
            raise NotASumError("'dynamic_slice' depends on the rows")
        sizes = self.block.cut(eqn.params["slice_sizes"], rows.axis)
        return [Rows(self.bind(eqn, [rows.value, *starts], slice_sizes=sizes)[0], rows.axis)]

    def rows_split(self, eqn, inputs):
        if eqn.params["axis"] == inputs[0].axis:
            raise NotASumError("'split' divides the rows")
        return [Rows(value, inputs[0].axis) for value in self.bind(eqn, [inputs[0].value])]

    def rows_rev(self, eqn, inputs):
        if inputs[0].axis in eqn.params["dimensions"]:
            raise NotASumError("'rev' turns the rows around")
        return [Rows(self.bind(eqn, [inputs[0].value])[0], inputs[0].axis)]

    def rows_concatenate(self, eqn, inputs):
        axes = {x.axis if isinstance(x, Rows) else None for x in inputs}
        if len(axes) > 1 or eqn.params["dimension"] in axes:
            raise NotASumError("'concatenate' puts rows beside something else")
        return [Rows(self.bind(eqn, [x.value for x in inputs])[0], axes.pop())]

    def rows_stack(self, eqn, inputs):
        axes = {x.axis if isinstance(x, Rows) else None for x in inputs}
        if len(axes) > 1:
            raise NotASumError("'stack' puts rows beside something else")
        axis = axes.pop()
        return [Rows(self.bind(eqn, [x.value for x in inputs])[0], axis + (eqn.params["axis"] <= axis))]

    def rows_gather(self, eqn, inputs):
        operand, indices = inputs
        numbers = eqn.params["dimension_numbers"]
        if numbers.operand_batching_dims:
            raise NotASumError("'gather' pairs rows with rows")
        if not isinstance(operand, Rows):  # parameters of each row's group
            if indices.axis == indices.value.ndim - 1:
                raise NotASumError("'gather' takes the rows for coordinates")
            places = [i for i in range(eqn.outvars[0].aval.ndim) if i not in numbers.offset_dims]
            return [Rows(self.bind(eqn, [operand, indices.value])[0], places[indices.axis])]
        if is_index(indices):
            return [self.rows_as_they_are(eqn, operand)]
        if isinstance(indices, Rows) or operand.axis in numbers.start_index_map:
            raise NotASumError("'gather' picks among the rows")
        kept = [i for i in range(operand.value.ndim) if i not in numbers.collapsed_slice_dims]
        sizes = self.block.cut(eqn.params["slice_sizes"], operand.axis)
        (value,) = self.bind(eqn, [operand.value, indices], slice_sizes=sizes)
        return [Rows(value, numbers.offset_dims[kept.index(operand.axis)])]

    def rows_as_they_are(self, eqn, operand: Rows) -> Rows:
        """Return what `x[rows]` gives where `rows` are all rows in their order."""
        numbers, shape = eqn.params["dimension_numbers"], eqn.outvars[0].aval.shape
        whole = (1, *operand.value.shape[1:])
        rest = tuple(range(1, operand.value.ndim))
        if (
            operand.axis != 0
            or (numbers.start_index_map, numbers.collapsed_slice_dims) != ((0,), (0,))
            or tuple(eqn.params["slice_sizes"]) != whole
            or tuple(numbers.offset_dims) != rest
            or shape != (self.block.num_rows, *operand.value.shape[1:])
        ):
            raise NotASumError("'gather' picks among the rows")
        return operand

    def rows_dot_general(self, eqn, inputs):
        (contracted, batch), found = eqn.params["dimension_numbers"], []
        for side, x in enumerate(inputs):
            if not isinstance(x, Rows):
                continue
            if x.axis in contracted[side]:
                return [self.contracted(eqn, inputs, contracted)]
            if x.axis in batch[side]:
                found.append(("batch", batch[side].index(x.axis)))
            else:
                free = [i for i in range(x.value.ndim) if i not in (*contracted[side], *batch[side])]
                before = len(batch[0])
                if side == 1:
                    before += jnp.ndim(value_of(inputs[0])) - len(contracted[0]) - len(batch[0])
                found.append(("free", before + free.index(x.axis)))
        both = all(isinstance(x, Rows) for x in inputs)
        if len({*found}) > 1 or (both and found[0][0] == "free") or (not both and found[0][0] == "batch"):
            raise NotASumError("'dot_general' pairs rows with rows")
        return [Rows(self.bind(eqn, [value_of(x) for x in inputs])[0], found[0][1])]

    def contracted(self, eqn, inputs: list, contracted) -> Total:
        """Return a product summed over the rows."""
        left, right = inputs
        if not (isinstance(left, Rows) and isinstance(right, Rows)):
            raise NotASumError("'dot_general' multiplies the rows by as many other numbers")
        if left.axis not in contracted[0] or contracted[1][contracted[0].index(left.axis)] != right.axis:
            raise NotASumError("'dot_general' pairs rows with rows")
        (linear,) = self.bind(eqn, [self.block.counted(left), self.block.counted(right)])
        return Total(jnp.zeros_like(linear), linear)

    def custom_jvp(self, eqn, inputs: list) -> list:
        """Return the results of a function with a derivative of its own, which is kept."""
        shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
        moving = [v.aval.dtype.kind in "fc" for v in eqn.invars]
        likes = self.run(eqn.params["call_jaxpr"], inputs)
        if not all(isinstance(x, Rows) for x in likes):
            raise NotASumError("a function with its own derivative sums over the rows")

        @jax.custom_jvp
        def function(*some):
            values = merge(moving, some, map(value_of, inputs))
            return [x.value for x in self.run(eqn.params["call_jaxpr"], tagged(values, inputs))]

        @function.defjvp
        def rule(values, tangents):
            def jvp(values, tangents):
                call: Callable = lambda *x: self.bind(eqn, merge(moving, x, values))  # noqa: E731
                return jax.jvp(call, select(moving, values), tangents)

            program = jax.make_jaxpr(jvp)(shapes, select(moving, shapes))
            primals = tagged(merge(moving, values, map(value_of, inputs)), inputs)
            found = self.run(program, [*primals, *tagged(tangents, select(moving, inputs))])
            values = [value_of(x) for x in found]
            return values[: len(found) // 2], values[len(found) // 2 :]

        return tagged(function(*select(moving, [value_of(x) for x in inputs])), likes)


def tagged(values, likes) -> list:
    """Return the values as rows where those they stand for are rows."""
    pairs = zip(values, likes, strict=True)
    return [dataclasses.replace(like, value=x) if isinstance(like, Rows) else x for x, like in pairs]


def is_linear(eqn, places: list[int]) -> bool:
    """Return whether an operation is linear in its operands at these places together."""
    name = eqn.primitive.name
    if name == "convert_element_type":
        return jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.floating)
    if name == "div":
        return places == [0]
    if name in ("mul", "dot_general"):
        return len(places) == 1
    return name in LINEAR_IN_ALL


def value_of(x):
    return x.value if isinstance(x, Rows) else x


def is_index(x) -> bool:
    return isinstance(x, Rows) and x.is_index


def is_zero(x) -> bool:
    """Return whether an operand is the number zero, as far as can be seen while tracing."""
    return not isinstance(x, jax.core.Tracer | Rows | Total) and jnp.ndim(x) == 0 and float(x) == 0.0
