"""Calls of NumPyro's constructors with arguments that users have written, and errors that say what is wrong there."""

import dataclasses
import math
import re
from collections.abc import Callable

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import Distribution

from vi_kl.cli.divergence.arithmetic import as_sizes, check_entries
from vi_kl.cli.divergence.constraint_text import describe_constraint
from vi_kl.cli.divergence.input_errors import ExpressionError, Place
from vi_kl.cli.divergence.namespace import constructors, parameters, signature
from vi_kl.core.suggestions import nearest

WHOLE_NUMBERS = ("total_count", "n", "low", "high")  # parameters whose lists of whole numbers stay that
SHAPES = ("event_shape", "batch_shape")
MAY_BE_INFINITE = re.compile(r"Truncated(?!P)")  # their low and high; not power laws and Polya-Gamma
EXACTLY_ONE = re.compile(r"Exactly one of \[(.*?)\] must be specified")
INVALID = re.compile(r"(\w+) distribution got invalid (\w+) parameter")


@dataclasses.dataclass(frozen=True)
class Argument:
    """A value, the keyword by which it was given, and where it stands."""

    value: object
    place: Place
    keyword: str | None = None
    keyword_place: Place | None = None


def construct(name: str, arguments: list[Argument], place: Place) -> Distribution:
    """Return the distribution that `name(...)` stands for, with its parameters checked.

    Raises:
        ExpressionError: arguments that the constructor does not take, or that violate its constraints.
    """
    bound = bind(name, arguments, place)
    for parameter, argument in bound.items():
        check_kind(name, parameter, argument)
    values = {parameter: as_parameter(name, parameter, argument) for parameter, argument in bound.items()}
    try:
        with numpyro.validation_enabled():
            distribution = constructors()[name](**values)
    except Exception as error:  # with users' arguments, constructors fail in any way there is
        raise explained(error, name, bound, place) from error
    check_compilable(name, distribution, place)
    check_support(name, distribution, place)
    check_entries(math.prod(distribution.batch_shape) * math.prod(distribution.event_shape), place)
    return distribution


def bind(name: str, arguments: list[Argument], place: Place) -> dict[str, Argument]:
    """Return which parameter each argument belongs to, as {parameter: argument}."""
    known, bound = parameters(name), {}
    by_position = [key for key, parameter in known.items() if parameter.kind is not parameter.KEYWORD_ONLY]
    for index, argument in enumerate(arguments):
        if argument.keyword is None:
            if index >= len(by_position):
                most = f"at most {len(by_position)} argument{'s' * (len(by_position) != 1)} without a name"
                raise ExpressionError(f"{name} takes {most}: {signature(name)}.", argument.place)
            bound[by_position[index]] = argument
        elif argument.keyword not in known:
            meant = nearest(argument.keyword, known)
            hint = f" Did you mean {meant}?" if meant else ""
            raise ExpressionError(
                f"{name} has no parameter {argument.keyword}.{hint} It is {signature(name)}.", argument.keyword_place
            )
        elif argument.keyword in bound:
            raise ExpressionError(f"{argument.keyword} is given twice: {signature(name)}.", argument.keyword_place)
        else:
            bound[argument.keyword] = argument
    missing = [key for key, parameter in known.items() if parameter.default is parameter.empty and key not in bound]
    if missing:
        raise ExpressionError(f"{name} needs {' and '.join(missing)}: {signature(name)}.", place)
    return bound


def check_kind(name: str, parameter: str, argument: Argument) -> None:
    """Require a distribution where one belongs, and finite numbers where numbers belong."""
    value = argument.value
    entries = value if isinstance(value, list) else [value]
    if "dist" in parameter:
        if not all(isinstance(entry, Distribution) for entry in entries):
            raise ExpressionError(f"{parameter} must be a distribution: {signature(name)}.", argument.place)
        return
    if any(isinstance(entry, Distribution) for entry in entries):
        raise ExpressionError(
            f"{parameter} must be a number or a list of numbers, not a distribution: {signature(name)}.",
            argument.place,
        )
    if parameter in ("low", "high") and MAY_BE_INFINITE.search(name):
        return
    if np.isinf(value).any():
        raise ExpressionError(f"{parameter} must be finite: {signature(name)}.", argument.place)


def as_parameter(name: str, parameter: str, argument: Argument):
    """Return whole numbers as floats, unless they count something, and shapes as tuples."""
    value = argument.value
    if parameter in SHAPES:
        return as_sizes(value, argument.place)
    if isinstance(value, bool) or np.asarray(value).dtype.kind != "i":
        return value
    is_list = isinstance(value, np.ndarray) and parameter not in WHOLE_NUMBERS
    return np.asarray(value, dtype=np.float64)[()] if is_list or is_continuous(name, parameter) else value


def is_continuous(name: str, parameter: str) -> bool:
    """Return whether a class says that the parameter is a real number.

    Bernoulli(1) cannot be drawn from by its whole number. A factory such as Bernoulli(probs) has the parameters of one
    of its classes. The parameter of a Delta, its place, may be a count.
    """
    if name == "Delta":
        return False
    classes = (getattr(dist, f"{name}{kind}", None) for kind in ("", "Probs", "Logits"))
    constraints = [getattr(found, "arg_constraints", {}).get(parameter) for found in classes]
    return any(constraint is not None and is_real(constraint) for constraint in constraints)


def is_real(constraint) -> bool:
    """Return whether a constraint is one of real numbers."""
    try:
        return constraint.is_discrete is False
    except NotImplementedError:  # it depends on other parameters
        return False


def explained(error: Exception, name: str, bound: dict[str, Argument], place: Place) -> ExpressionError:
    """Turn NumPyro's error into a sentence about the argument that caused it."""
    message = str(error).rstrip(".") or type(error).__name__
    if invalid := INVALID.search(message):
        return violation(name, bound, place, *invalid.groups())
    if one_of := EXACTLY_ONE.search(message):
        choices = one_of.group(1).replace("'", "")
        return ExpressionError(f"Give exactly one of {choices}: {signature(name)}.", place)
    if "support that does not depend" in message:
        component = type(bound["component_distribution"].value).__name__
        sentence = (
            f"A mixture needs components with one support, and that of {component} depends on its parameters: NumPyro"
            " has no mixture of these."
        )
        return ExpressionError(sentence, bound["component_distribution"].place)
    if "component_distribution" in bound:
        sentence = (
            "component_distribution needs one component for each weight, in its last batch dimension, such as"
            " Normal([-1, 2], 1) for two weights."
        )
        return ExpressionError(sentence, bound["component_distribution"].place)
    if "Incompatible shapes" in message:
        shapes = [f"{key} has shape {np.shape(arg.value)}" for key, arg in bound.items() if np.ndim(arg.value)]
        return ExpressionError(f"The arguments do not fit together: {', '.join(shapes)}.", place)
    return ExpressionError(f"{name} does not accept these arguments ({message}): {signature(name)}.", place)


def violation(name, bound: dict[str, Argument], place: Place, inner: str, parameter: str) -> ExpressionError:
    """Return an error that says which argument violates which constraint.

    A factory such as NegativeBinomial(total_count, probs) passes its arguments on to an inner class under other
    names; NegativeBinomialProbs, which has the factory's own parameters, then says what they must be.
    """
    if parameter in bound:
        constraint = getattr(dist, inner).arg_constraints[parameter]
        return violated(name, parameter, bound[parameter], constraint)
    for variant in (f"{name}Probs", f"{name}Logits"):
        constraints = getattr(getattr(dist, variant, None), "arg_constraints", {})
        for key in constraints.keys() & bound.keys():
            if not np.all(constraints[key](bound[key].value)):
                return violated(name, key, bound[key], constraints[key])
    must = describe_constraint(getattr(dist, inner).arg_constraints[parameter])
    return ExpressionError(f"This gives {inner} a wrong {parameter}, which {must}: {signature(name)}.", place)


def violated(name: str, parameter: str, argument: Argument, constraint: Callable) -> ExpressionError:
    """Return an error about one parameter and its constraint."""
    culprit = describe_culprit(argument.value, constraint)
    return ExpressionError(
        f"{parameter} {describe_constraint(constraint)}{culprit}: {signature(name)}.", argument.place
    )


def describe_culprit(value, constraint: Callable) -> str:
    """Say what the value is instead: the number, the first entry that is wrong, or the sum."""
    array = np.asarray(value)
    if array.ndim == 0:
        return f", not {array:g}"
    satisfied = np.asarray(constraint(array))
    if satisfied.shape == array.shape:
        first = tuple(int(i) for i in np.argwhere(~satisfied)[0])
        return f"; its entry [{', '.join(map(str, first))}] is {array[first]:g}"
    if constraint is dist.constraints.simplex:
        negative = (array < 0).any()
        return (
            f"; its smallest entry is {array.min():g}" if negative else f"; it sums to {array.sum(-1).ravel()[0]:.10g}"
        )
    return ""


def check_compilable(name: str, distribution: Distribution, place: Place) -> None:
    """Refuse distributions that JAX cannot take apart and put together again, as compiled code does.

    A few of NumPyro's do not survive that.
    """
    try:
        survives = jax.tree.map(lambda leaf: leaf, distribution).support is not None
    except (AttributeError, TypeError):
        survives = False
    if not survives:
        raise ExpressionError(f"{name} cannot be compared: a fault of NumPyro's keeps it from being compiled.", place)


def check_support(name: str, distribution: Distribution, place: Place) -> None:
    """Refuse an empty support: NumPyro builds Uniform(1, 0) without complaint."""
    bounds = [getattr(distribution.support, f"{side}_bound", None) for side in ("lower", "upper")]
    if any(bound is None for bound in bounds):
        return
    low, high = np.broadcast_arrays(*bounds)
    empty = low > high if distribution.is_discrete else low >= high
    if empty.any():
        raise ExpressionError(
            f"{name} has an empty support, from {low[empty][0]:g} to {high[empty][0]:g}: {signature(name)}.", place
        )
