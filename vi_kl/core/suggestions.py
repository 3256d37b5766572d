"""Names that are misspelt: an error says which one, and the nearest that there is.

Of keyword arguments Python itself says so from 3.13 on, and never of those that are handed on as `**kwargs`.
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar, cast

__all__ = ["NamesItsSettings", "guess", "names_given", "names_its_arguments", "nearest", "refuse_unknown"]

F = TypeVar("F", bound=Callable)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, whatever the case of its letters; None if none is similar."""
    by_lower = {candidate.lower(): candidate for candidate in sorted(known, key=len, reverse=True)}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def guess(name: str, known: Iterable[str], mark: str = "") -> str:
    """Return the question whether a similar name was meant, with a space before it; nothing if there is none.

    Args:
        name: the name that is unknown.
        known: the names that there are.
        mark: what stands before and behind the name.
    """
    meant = nearest(name, known)
    return f" Did you mean {mark}{meant}{mark}?" if meant is not None else ""


def refuse_unknown(caller: str, given: Iterable[str], known: Iterable[str], kind: str = "argument") -> None:
    """Raise an error for the first of the given names that is not known.

    Raises:
        TypeError: it names the culprit, the nearest known name, and all of these.
    """
    known = list(known)
    for name in given:
        if name not in known:
            takes = f"takes {', '.join(known)}" if known else "takes none"
            raise TypeError(f"{caller} has no {kind} {name!r}.{guess(name, known, mark=chr(39))} It {takes}.")


def names_given(function: Callable) -> list[str] | None:
    """Return the names by which a function takes arguments; None if it takes any."""
    kinds = inspect.Parameter
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is kinds.VAR_KEYWORD for parameter in parameters):
        return None
    by_name = (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
    return [each.name for each in parameters if each.kind in by_name and each.name not in ("self", "cls")]


def names_its_arguments(function: F) -> F:
    """Return a function that says which of its arguments one may be that it does not have."""
    known = names_given(function)

    @functools.wraps(function)
    def checked(*args, **kwargs):
        if known is not None:
            refuse_unknown(function.__name__, kwargs, known)
        return function(*args, **kwargs)

    return cast(F, checked)


class NamesItsSettings:
    """A base of dataclasses that users make: a setting that is misspelt is named, and so is the one that is meant."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        known = names_given(cls.__init__) if kwargs else None
        if known is not None:
            refuse_unknown(cls.__name__, kwargs, known, "setting")
        return super().__new__(cls)
