"""Whether a model can be called with what it is given; and what a misspelt argument may be meant for."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vi_kl.core.suggestions import nearest

__all__ = ["misspelt", "refuse_call", "why_no_call"]


def why_no_call(
    model: Callable, args: tuple, kwargs: Mapping[str, Any], caller: str = "", options: Iterable[str] = ()
) -> str | None:
    """Say why a model cannot be called with these arguments; None if it can, or if that does not show.

    Args:
        model: the model.
        args, kwargs: what it is given.
        caller: the function that hands them on, whose own arguments one of them may be meant for.
        options: the names of these.
    """
    try:
        signature = inspect.signature(model)
    except (TypeError, ValueError):  # some callables have none
        return None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(model, "__name__", type(model).__name__)
        words = f"The model {name}{signature} cannot be called with the arguments given: {error}."
        return words + misspelt(model, kwargs, caller, options, said=str(error))
    return None


def misspelt(model: Callable, given: Iterable[str], caller: str, options: Iterable[str], said: str) -> str:
    """Ask whether another argument was meant by the first of those given that a model does not have; "" if it has all.

    Args:
        model: the model.
        given: the names of what it is given.
        caller: the function that hands them on, whose own arguments one of them may be meant for.
        options: the names of these.
        said: the words before, which may name the culprit already.
    """
    parameters = inspect.signature(model).parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    for name in () if takes_any else given:
        if name not in parameters:
            close = nearest(name, (*parameters, *options))
            of = f" of {caller}" if close not in parameters else ""
            culprit = "" if repr(name) in said else f" It has no argument {name!r}."
            return culprit + (f" Did you mean {close!r}{of}?" if close is not None else "")
    return ""


def refuse_call(model: Callable, args: tuple, kwargs: Mapping[str, Any], caller: str, options: Iterable[str]) -> None:
    """Raise an error if a model cannot be called with what `caller` hands on to it."""
    words = why_no_call(model, args, kwargs, caller, options)
    if words is not None:
        raise TypeError(words)
