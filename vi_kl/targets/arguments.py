"""Arguments for a target and a key, in whatever form users pass them."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from vi_kl.core.random_keys import as_key, is_key
from vi_kl.targets.target import Target

F = TypeVar("F", bound=Callable)


def target_or_none(asked: Any) -> Target | None:
    """Return the target that an object is, or has (a Fit, an Approximation, a Comparison); else None."""
    if isinstance(asked, Target):
        return asked
    if isinstance(asked, type):
        return None
    target = getattr(asked, "target", None)
    return target if isinstance(target, Target) else None


def require_target(asked: Any, caller: str) -> Target:
    """Return the target that an object is, or has.

    Raises:
        TypeError: It is no target and has none; the message says what to pass.
    """
    target = target_or_none(asked)
    if target is None:
        name = asked.__name__ if isinstance(asked, type) else in_words(asked)
        raise TypeError(
            f"{caller} takes a Target first, and got {name}. Make one by Target.from_numpyro(model, *args, **kwargs), "
            f"Target.from_pymc(model) or Target.from_log_density(function, dim)."
        )
    return target


def in_words(value: Any) -> str:
    if is_key(value):
        return "a random key"
    name = type(value).__name__
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return f"{article} {name} {value!r}" if isinstance(value, str | int | float) else f"{article} {name}"


def of_a_target(function: F) -> F:
    """Return a function of a target, and perhaps a key, that takes whatever has a target, and any key."""
    parameter = inspect.signature(function).parameters.get("key")
    takes_key = parameter is not None and parameter.kind is parameter.KEYWORD_ONLY
    wants_key = parameter is not None and takes_key and parameter.default is parameter.empty

    @functools.wraps(function)
    def asked(target, *args, **kwargs):
        if wants_key or (takes_key and kwargs.get("key") is not None):
            kwargs["key"] = as_key(kwargs.get("key"))
        return function(require_target(target, function.__name__), *args, **kwargs)

    return cast(F, asked)
