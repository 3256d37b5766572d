"""Parameters: what a log density takes, as a pytree of examples with their supports.

    {"mu": 0.0, "sigma": Positive(1.0), "group": {"w": np.zeros((3, 2)), "share": Simplex([0.2, 0.3, 0.5])}}

A plain number or array stands for a real parameter of its shape; `Parameter(example, support)` for one with any
support of `numpyro.distributions.constraints` that NumPyro maps to unconstrained numbers (`biject_to`). The names
below are short for the usual ones. Of an example only the shape counts, and that it lies in the support.

Every leaf is a site, named by the keys on its way joined by dots: `mu`, `sigma`, `group.w`, `group.share`; an entry of
a tuple or list by its position (`layers.0.w`), a field of a named tuple or dataclass by its name.
"""

import collections
import dataclasses
from typing import Any

import jax
import numpy as np
from numpyro.distributions import Distribution, biject_to, constraints

from vi_kl.core.errors import ModelError


@dataclasses.dataclass(frozen=True, eq=False)
class Parameter:
    """One parameter of a log density.

    Attributes:
        example: a number or an array, in the support, of the parameter's shape.
        support: a constraint of `numpyro.distributions.constraints`.
    """

    example: Any
    support: constraints.Constraint = dataclasses.field(default_factory=lambda: constraints.real)


class Positive(Parameter):
    """A positive parameter."""

    def __init__(self, example):
        super().__init__(example, constraints.positive)


class GreaterThan(Parameter):
    """A parameter above a bound, which is a number or an array."""

    def __init__(self, example, bound):
        super().__init__(example, constraints.greater_than(bound))


class LessThan(Parameter):
    """A parameter below a bound, which is a number or an array."""

    def __init__(self, example, bound):
        super().__init__(example, constraints.less_than(bound))


class Interval(Parameter):
    """A parameter between two bounds, which are numbers or arrays."""

    def __init__(self, example, low, high):
        super().__init__(example, constraints.interval(low, high))


class UnitInterval(Parameter):
    """A parameter between 0 and 1."""

    def __init__(self, example):
        super().__init__(example, constraints.unit_interval)


class Simplex(Parameter):
    """A parameter of positive numbers that add up to one along the last axis."""

    def __init__(self, example):
        super().__init__(example, constraints.simplex)


class Ordered(Parameter):
    """A parameter of numbers that increase along the last axis."""

    def __init__(self, example):
        super().__init__(example, constraints.ordered_vector)


class CorrCholesky(Parameter):
    """The lower Cholesky factor of a correlation matrix."""

    def __init__(self, example):
        super().__init__(example, constraints.corr_cholesky)


def read_parameters(tree: Any) -> tuple[Any, tuple[str, ...], tuple[Parameter, ...]]:
    """Return the structure of a tree of examples, and its leaves' names and parameters, in the order of the leaves.

    Call it with 64-bit types switched on.

    Raises:
        ModelError: a leaf is no real number, array or `Parameter`, is of integers, or lies outside its support; two
            leaves have one name; or there is no leaf at all. The message names the leaf.
    """
    try:
        found, structure = jax.tree_util.tree_flatten_with_path(tree)
    except (TypeError, ValueError) as error:  # keys that cannot be sorted
        raise ModelError(
            f"The tree of parameters cannot be read: {error}. Let all keys of a dict be strings."
        ) from None
    if not found:
        raise ModelError(
            "The tree of parameters has no leaf. Give a number or an array for each parameter, for example "
            "{'mu': 0.0, 'sigma': Positive(1.0)}."
        )
    names = tuple(".".join(map(key_name, path)) or "z" for path, _ in found)
    for name, count in collections.Counter(names).items():
        if count > 1:
            raise ModelError(
                f"{count} parameters are called '{name}', since the name of one is made of the keys on its way, joined "
                f"by dots. Rename one of the keys."
            )
    parameters = (read_parameter(name, leaf) for name, (_, leaf) in zip(names, found, strict=True))
    return structure, names, tuple(parameters)


def key_name(key) -> str:
    """Return a step on the way to a leaf, as one writes it."""
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def read_parameter(name: str, leaf: Any) -> Parameter:
    """Return one leaf as a parameter whose example is an array of 64 bits.

    Raises:
        ModelError: It cannot be one; the message says what is wrong with it.
    """
    parameter = leaf if isinstance(leaf, Parameter) else Parameter(leaf)
    example, support = as_numbers(name, parameter.example), parameter.support
    if isinstance(support, Distribution):
        raise ModelError(
            f"The support of parameter '{name}' is a distribution: give its support (numpyro.distributions."
            f"constraints), and add its log density to the function's."
        )
    if not isinstance(support, constraints.Constraint):
        raise ModelError(
            f"The support of parameter '{name}' is a {type(support).__name__}: give one of "
            f"numpyro.distributions.constraints, for example constraints.positive."
        )
    require_bijection(name, support)
    require_inside(name, example, support)
    return Parameter(example, support)


def as_numbers(name: str, example: Any) -> np.ndarray:
    """Return the example as an array of 64-bit real numbers."""
    if dataclasses.is_dataclass(example) and not isinstance(example, type):
        raise ModelError(
            f"Parameter '{name}' is a {type(example).__name__}, which JAX does not know as a tree: register it by "
            f"jax.tree_util.register_dataclass, or give a dict."
        )
    try:
        array = np.asarray(example)
    except Exception:  # ragged lists, and objects that refuse to be arrays
        array = np.asarray(None)
    if array.dtype.kind == "c":
        raise ModelError(
            f"Parameter '{name}' is complex, and z is real: give its real and imaginary parts a parameter each, and "
            f"put them together in the function."
        )
    if array.dtype.kind in "biu":
        raise ModelError(
            f"The example of parameter '{name}' is of type {array.dtype}, and parameters are real numbers: write it as "
            f"floats (1.0, np.zeros(3)). What is fixed belongs to data=..., and sums over what is discrete into the "
            f"function."
        )
    if not np.issubdtype(array.dtype, np.floating) and array.dtype.name not in ("bfloat16", "float16"):
        raise ModelError(
            f"Parameter '{name}' is a {type(example).__name__}: give an example of it, a real number or an array of "
            f"them, or Parameter(example, support)."
        )
    if array.size == 0:
        raise ModelError(f"Parameter '{name}' has no entries (shape {array.shape}): leave it out.")
    return array.astype(np.float64)


def require_bijection(name: str, support) -> None:
    if getattr(support, "is_discrete", False):
        raise ModelError(
            f"Parameter '{name}' has the discrete support {support}, and z is real: sum it out in the function."
        )
    try:
        biject_to(support)
    except (NotImplementedError, TypeError, AttributeError):
        raise ModelError(
            f"Parameter '{name}' has the support {support}, for which NumPyro has no change of variables from "
            f"unconstrained numbers (biject_to). Let the function compute it from parameters whose supports have one."
        ) from None


def require_inside(name: str, example: np.ndarray, support) -> None:
    if example.ndim < support.event_dim:
        raise ModelError(
            f"The example of parameter '{name}' has shape {example.shape}, and its support {support} needs an array of "
            f"at least {support.event_dim} axes."
        )
    try:
        inside = bool(np.all(np.asarray(support(example))))
        z = np.asarray(biject_to(support).inv(example))
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"The example of parameter '{name}', of shape {example.shape}, does not fit its support {support}: {error}"
        ) from None
    if not inside or not np.isfinite(z).all():
        raise ModelError(
            f"The example of parameter '{name}' is {shown(example)}, outside its support {support} or on its edge: "
            f"give one inside."
        )


def shown(array: np.ndarray) -> str:
    return np.array2string(array, precision=4, threshold=8, separator=", ").replace("\n", "")
