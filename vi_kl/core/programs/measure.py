"""The size of a traced program: the operations of one run, and the memory that it holds at once.

Both are read off the operations, so that nothing is compiled or run, and the answer is the same on every machine. Only
what depends on the arguments that vary counts: where a program is run for many values of these at once, everything else
is computed and kept once.

Operations on each entry (sums, exponentials, selections) are taken to run inside the operation that uses their result,
as XLA fuses them, and to keep no memory; results of matrix products, loops and the like, and what these read, are kept.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from vi_kl.core.programs.replay import inner_programs, opened

# Weights of one entry of a result, in units of about half a nanosecond of one core in float64
PLAIN, TRANSCENDENTAL, SPECIAL = 1.0, 10.0, 100.0
MULTIPLY_ADD = 0.5
UNKNOWN = 4.0  # an entry read or written by an operation that is none of those below: gathers, scatters, sorts


def names(words: str) -> frozenset[str]:
    return frozenset(words.split())


FREE = names(
    """
    broadcast_in_dim reshape squeeze expand_dims convert_element_type iota copy stop_gradient transpose slice
    optimization_barrier pvary
    """
)
PLAINLY_FUSED = names(
    """
    abs add add_any and ceil clamp div eq floor ge gt integer_pow is_finite le lt max min mul ne neg nextafter
    not or population_count rem round select_n shift_left shift_right_arithmetic shift_right_logical sign square
    sub xor real imag
    """
)
TRANSCENDENTALLY_FUSED = names(
    """
    acos acosh asin asinh atan atan2 atanh cbrt cos cosh erf erfc exp exp2 expm1 log log1p logistic pow rsqrt
    sin sinh sqrt tan tanh
    """
)
SPECIALLY_FUSED = names(
    """
    bessel_i0e bessel_i1e digamma erf_inv igamma igamma_grad_a igammac lgamma polygamma
    regularized_incomplete_beta zeta
    """
)
REDUCTIONS = names("reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or argmax argmin")
LOOPS = names("scan while cond")


class Size(NamedTuple):
    """The size of one run of a program.

    Attributes:
        operations: a weighted count of the operations; a loop of unknown length counts as one pass.
        kept: the most bytes that are held at one time, if operations on each entry are fused.
        written: the bytes of all intermediate results, with those of every pass of a loop: what reverse-mode
            differentiation may have to hold.
    """

    operations: float
    kept: int
    written: int


@dataclasses.dataclass
class Value:
    """An array of a program that depends on the arguments that vary.

    Attributes:
        bytes: its size.
        born: the step at which it is computed.
        last: the last step that reads it, directly or through fused operations.
        is_kept: whether it is held in memory between steps.
        sources: the values in memory from which a fused one is computed.
    """

    bytes: int
    born: int
    last: int
    is_kept: bool
    sources: "tuple[Value, ...]" = ()

    def read(self, step: int, whole: bool) -> None:
        """Note that a step reads it; `whole` if that step is one that nothing is fused into."""
        self.last = step
        self.is_kept = self.is_kept or whole
        for source in self.sources:
            source.last = step


class Walk:
    """One pass over the operations of a program, in their order."""

    def __init__(self) -> None:
        self.step = 0
        self.values: list[Value] = []
        self.operations, self.written = 0.0, 0
        self.inside: dict[int, int] = {}  # bytes held inside the loop of a step

    def run(self, program: Jaxpr | ClosedJaxpr, arguments: list[Value | None]) -> list[Value | None]:
        """Walk through a program; arguments and results are None where they do not vary."""
        jaxpr = opened(program)[0]
        found: dict = dict(zip(jaxpr.invars, arguments, strict=True))

        def read(atom) -> Value | None:
            return None if isinstance(atom, Literal) else found.get(atom)

        for eqn in jaxpr.eqns:
            inputs = [read(atom) for atom in eqn.invars]
            if any(value is not None for value in inputs):
                found.update(zip(eqn.outvars, self.operation(eqn, inputs), strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def operation(self, eqn, inputs: list[Value | None]) -> list[Value | None]:
        """Count one operation, and return its results."""
        name, inner = eqn.primitive.name, list(inner_programs(eqn))
        if name not in LOOPS and inner and len(opened(inner[0])[0].invars) == len(inputs):
            return self.run(inner[0], inputs)
        self.step += 1
        cost, is_fused = weight(eqn)
        if inner:
            cost += self.loop(eqn, inner)
        self.operations += cost
        varying = [value for value in inputs if value is not None]
        for value in varying:
            value.read(self.step, whole=not is_fused and name not in REDUCTIONS)
        sources = tuple({id(s): s for v in varying for s in ((v,) if v.is_kept else (v, *v.sources))}.values())
        return [self.result(var.aval, not is_fused, sources if is_fused else ()) for var in eqn.outvars]

    def result(self, aval, is_kept: bool, sources: tuple[Value, ...]) -> Value:
        value = Value(bytes_of(aval), self.step, self.step, is_kept, sources)
        self.values.append(value)
        self.written += value.bytes
        return value

    def loop(self, eqn, inner: list) -> float:
        """Return the operations of a loop or a condition, and note what is held inside."""
        sizes = [size_of(program, [True] * len(opened(program)[0].invars)) for program in inner]
        passes = eqn.params.get("length", 1)
        self.inside[self.step] = max(size.kept for size in sizes)
        self.written += passes * max(size.written for size in sizes)
        count = max if eqn.primitive.name == "cond" else sum
        return passes * count(size.operations for size in sizes)

    @property
    def kept(self) -> int:
        """The most bytes held at one time."""
        change = np.zeros(self.step + 2, dtype=np.int64)
        for value in self.values:
            if value.is_kept:
                change[value.born] += value.bytes
                change[value.last + 1] -= value.bytes
        for step, held in self.inside.items():
            change[step] += held
            change[step + 1] -= held
        return int(np.cumsum(change).max())


def size_of(program: Jaxpr | ClosedJaxpr, varies: list[bool]) -> Size:
    """Return the size of one run of a program.

    Args:
        program: the traced program.
        varies: whether each of its arguments varies.
    """
    walk = Walk()
    jaxpr = opened(program)[0]
    arguments = [
        Value(bytes_of(var.aval), 0, 0, True) if own else None for var, own in zip(jaxpr.invars, varies, strict=True)
    ]
    walk.values += [value for value in arguments if value is not None]
    for value in walk.run(program, arguments):
        if value is not None:
            value.read(walk.step, whole=True)
    return Size(walk.operations, walk.kept, walk.written)


def weight(eqn) -> tuple[float, bool]:
    """Return the weighted count of an operation, without what is inside of it, and whether XLA fuses it with others."""
    name = eqn.primitive.name
    entries = sum(math.prod(var.aval.shape) for var in eqn.outvars)
    if name in FREE:
        return 0.0, True
    if name in PLAINLY_FUSED:
        return PLAIN * entries, True
    if name in TRANSCENDENTALLY_FUSED:
        return TRANSCENDENTAL * entries, True
    if name in SPECIALLY_FUSED:
        return SPECIAL * entries, True
    shapes = [getattr(atom.aval, "shape", ()) for atom in eqn.invars]
    if name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        return MULTIPLY_ADD * entries * math.prod(shapes[0][i] for i in contracted), False
    read = sum(math.prod(shape) for shape in shapes)
    if name in REDUCTIONS:
        return PLAIN * read, False
    if name in ("cholesky", "triangular_solve", "lu", "eigh", "qr", "svd") and shapes[0]:
        return MULTIPLY_ADD * max(entries, read) * shapes[0][-1], False
    return UNKNOWN * (read + entries), False


def bytes_of(aval) -> int:
    """Return the size of an array in bytes; random keys count as their numbers do."""
    shape, dtype = getattr(aval, "shape", ()), getattr(aval, "dtype", None)
    return math.prod(shape) * getattr(dtype, "itemsize", 8)
