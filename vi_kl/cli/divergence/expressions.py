"""Expressions such as "Gamma(2, 3)": they are read from Python's syntax tree, part by part, and never run as code.

An expression is a constructor of `numpyro.distributions`, or a bare list, which is a probability mass function.
Its arguments are numbers, arithmetic (+ - * / **), lists (which are arrays), pi, inf, True, False, the array
functions eye, zeros, ones, diag and arange, and further distributions. `.to_event(n)`, `.expand([...])` and
`.mask(...)` may follow a distribution. Everything else is an error, which names the mistake and its place.
"""

import ast
import math

import numpy as np
from numpyro.distributions import Distribution

from vi_kl.cli.divergence.arithmetic import (
    ARRAY_FUNCTIONS,
    OPERATORS,
    array,
    as_sizes,
    calculate,
    check_entries,
    number,
)
from vi_kl.cli.divergence.construct import Argument, construct
from vi_kl.cli.divergence.input_errors import ExpressionError, Place
from vi_kl.cli.divergence.namespace import (
    CONSTANTS,
    METHODS,
    PREFIXES,
    SPELLINGS,
    about_unknown,
    constructors,
    signature,
)
from vi_kl.cli.divergence.syntax import parse, tidy
from vi_kl.core.suggestions import nearest

MOST_DIMENSIONS = 8  # the most dimensions of an array
KINDS = {
    ast.Compare: "A comparison",
    ast.Dict: "A dictionary",
    ast.GeneratorExp: "A comprehension",
    ast.IfExp: "A condition",
    ast.JoinedStr: "A text",
    ast.Lambda: "A function",
    ast.ListComp: "A comprehension",
    ast.Set: "A set",
    ast.Starred: "A starred argument",
    ast.Subscript: "An index",
}


def read_expression(source: str) -> Distribution | np.ndarray:
    """Return the distribution, or the pmf as a one-dimensional array, that an expression stands for.

    Call it while JAX's 64-bit types are on (`in_float64`), so that the parameters are what was written.

    Raises:
        ExpressionError: a mistake in the expression, with its place.
    """
    source = tidy(source)
    try:
        value = Reader(source).read(parse(source))
    except (RecursionError, MemoryError):
        raise ExpressionError("The expression is nested too deeply.", Place(source)) from None
    if isinstance(value, Distribution) or (isinstance(value, np.ndarray) and value.ndim == 1):
        return value
    if isinstance(value, np.ndarray):
        raise ExpressionError(f"A pmf is a list of numbers, but this array has shape {value.shape}.", Place(source))
    raise ExpressionError("This is no distribution: write one, such as 'Normal(0, 1)'.", Place(source))


class Reader:
    """A reader that turns the nodes of one expression's syntax tree into values."""

    def __init__(self, source: str):
        self.source = source
        self.readers = {
            ast.Attribute: self.attribute,
            ast.BinOp: self.arithmetic,
            ast.Call: self.call,
            ast.Constant: self.constant,
            ast.List: self.sequence,
            ast.Name: self.name,
            ast.Tuple: self.sequence,
            ast.UnaryOp: self.signed,
        }

    def read(self, node: ast.expr):
        """Return the value of a node: a number, an array, a distribution, or a list of distributions."""
        if type(node) not in self.readers:
            raise self.mistake(node, f"{KINDS.get(type(node), 'This')} cannot be used here.")
        return self.readers[type(node)](node)

    def place(self, node) -> Place:
        """Return where the node stands; Python counts columns in bytes."""
        encoded = self.source.encode()
        start, end = (len(encoded[:offset].decode()) for offset in (node.col_offset, node.end_col_offset))
        return Place(self.source, start, end)

    def mistake(self, node, sentence: str) -> ExpressionError:
        """Return an error about a node."""
        return ExpressionError(sentence, self.place(node))

    def constant(self, node: ast.Constant):
        """Read a number, True or False."""
        if isinstance(node.value, bool):
            return node.value
        if isinstance(node.value, int | float):
            return number(node.value, self.place(node))
        if isinstance(node.value, str):
            raise self.mistake(node, "Text cannot be used here: names and numbers are written without quotes.")
        raise self.mistake(node, f"{node.value!r} cannot be used here: numbers are real.")

    def name(self, node: ast.Name):
        """Read the name of a constant."""
        if node.id in CONSTANTS:
            return CONSTANTS[node.id]
        if node.id in constructors():
            raise self.mistake(node, f"{node.id} needs its parameters in parentheses: {signature(node.id)}.")
        if node.id in ARRAY_FUNCTIONS:
            raise self.mistake(node, f"{node.id} is a function, to be called as {node.id}(...).")
        raise self.mistake(node, about_unknown(node.id))

    def sequence(self, node: ast.List | ast.Tuple):
        """Read a list, which is an array or a list of distributions."""
        entries = [self.read(entry) for entry in node.elts]
        if entries and all(isinstance(entry, Distribution) for entry in entries):
            return entries
        for entry, part in zip(entries, node.elts, strict=True):
            if isinstance(entry, Distribution | list):
                raise self.mistake(part, "A list holds numbers or distributions, not both.")
        shapes = sorted({np.shape(entry) for entry in entries})
        if len(shapes) > 1:
            raise self.mistake(node, f"The entries of this list differ in shape: {', '.join(map(str, shapes))}.")
        if shapes and len(shapes[0]) >= MOST_DIMENSIONS:
            raise self.mistake(node, f"Lists are nested too deeply: an array has at most {MOST_DIMENSIONS} dimensions.")
        check_entries(len(entries) * math.prod(shapes[0]) if shapes else 0, self.place(node))
        return np.asarray(entries)

    def operand(self, node: ast.expr):
        """Read a number or an array, for arithmetic."""
        value = self.read(node)
        if isinstance(value, Distribution | list | bool):
            raise self.mistake(node, "Arithmetic needs a number or a list of numbers here.")
        return value

    def signed(self, node: ast.UnaryOp):
        """Read a sign and what it stands before."""
        if not isinstance(node.op, ast.USub | ast.UAdd):
            raise self.mistake(node, "Only + and - can stand before a number.")
        value = self.operand(node.operand)
        return -value if isinstance(node.op, ast.USub) else value

    def arithmetic(self, node: ast.BinOp):
        """Read two operands and their operator."""
        if type(node.op) not in OPERATORS:
            raise self.mistake(node, "Arithmetic is written with + - * / and ** only.")
        return calculate(type(node.op), self.operand(node.left), self.operand(node.right), self.place(node))

    def call(self, node: ast.Call):
        """Read a constructor, an array function or a method, with its arguments."""
        if isinstance(node.func, ast.Attribute):
            return self.method(node)
        if not isinstance(node.func, ast.Name):
            raise self.mistake(node.func, "Only a named constructor can be called.")
        name = node.func.id
        if name in constructors():
            return construct(name, self.arguments(node), self.place(node))
        if name not in ARRAY_FUNCTIONS:
            raise self.mistake(node.func, about_unknown(name))
        if node.keywords:
            raise self.mistake(node.keywords[0], f"{name} takes no named arguments.")
        values, places = [self.operand(value) for value in node.args], [self.place(value) for value in node.args]
        return array(name, values, places, self.place(node))

    def arguments(self, node: ast.Call) -> list[Argument]:
        """Read the arguments of a constructor."""
        found = [Argument(self.read(value), self.place(value)) for value in node.args]
        for keyword in node.keywords:
            if keyword.arg is None:
                raise self.mistake(keyword, "A starred argument cannot be used here.")
            start = self.place(keyword).start
            named = Place(self.source, start, start + len(keyword.arg))
            found.append(Argument(self.read(keyword.value), self.place(keyword.value), keyword.arg, named))
        return found

    def method(self, node: ast.Call) -> Distribution:
        """Read `.to_event(n)`, `.expand([...])` or `.mask(...)` behind a distribution."""
        name = node.func.attr
        if name not in METHODS or root(node.func) in PREFIXES:
            return self.attribute(node.func)
        base = self.read(node.func.value)
        if not isinstance(base, Distribution):
            raise self.mistake(node.func.value, f".{name}(...) follows a distribution, and this is none.")
        if node.keywords or len(node.args) > 1 or not (node.args or name == "to_event"):
            raise self.mistake(node, f".{name}(...) takes one argument, without a name.")
        arguments = [METHODS_CHECKED[name](self.read(value), base, self.place(value)) for value in node.args]
        return getattr(base, name)(*arguments)

    def attribute(self, node: ast.Attribute):
        """Refuse a dotted name that is none of the methods, or not called."""
        if root(node) in PREFIXES and node.attr in SPELLINGS:
            sentence = about_unknown(node.attr)
        elif root(node) in PREFIXES:
            sentence = f"Names are written without a prefix: {node.attr}, not {ast.unparse(node)}."
        elif node.attr in METHODS:
            sentence = f".{node.attr} is to be called: .{node.attr}(...)."
        else:
            meant = nearest(node.attr, METHODS)
            hint = f"Did you mean .{meant}(...)?" if meant else f"There are .{', .'.join(METHODS)}."
            sentence = f".{node.attr} cannot be used here. {hint}"
        raise self.mistake(node, sentence)


def root(node: ast.expr) -> str | None:
    """Return the name that a dotted name begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def event_dimensions(value, base: Distribution, place: Place) -> int:
    """Check the argument of `.to_event`."""
    most = len(base.batch_shape)
    if type(value) is not int or not 0 <= value <= most:
        sentence = f".to_event(n) takes a whole number from 0 to {most}: the batch shape is {base.batch_shape}."
        raise ExpressionError(sentence, place)
    return value


def expansion(value, base: Distribution, place: Place) -> tuple[int, ...]:
    """Check the argument of `.expand`."""
    shape = as_sizes(value, place)
    check_entries(math.prod(shape) * math.prod(base.event_shape), place)
    if not broadcasts_to(base.batch_shape, shape):
        raise ExpressionError(f"Batch shape {base.batch_shape} cannot be expanded to {shape}.", place)
    return shape


def mask(value, base: Distribution, place: Place) -> bool | np.ndarray:
    """Check the argument of `.mask`."""
    if np.asarray(value).dtype.kind != "b":
        raise ExpressionError(".mask(...) takes True, False, or a list of them.", place)
    if not broadcasts_to(np.shape(value), base.batch_shape):
        sentence = f"A mask of shape {np.shape(value)} does not fit the batch shape {base.batch_shape}."
        raise ExpressionError(sentence, place)
    return value


def broadcasts_to(shape: tuple[int, ...], larger: tuple[int, ...]) -> bool:
    """Return whether a shape broadcasts to a larger one."""
    try:
        return np.broadcast_shapes(shape, larger) == larger
    except ValueError:
        return False


METHODS_CHECKED = {"to_event": event_dimensions, "expand": expansion, "mask": mask}
