"""Arguments for a target and a key, in whatever form users pass them."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from vi_kl.core.errors import UnsuitableError, ViKLError
from vi_kl.core.random_keys import as_key, is_key
from vi_kl.core.suggestions import names_given, refuse_unknown
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


def is_to_learn(target: Target) -> bool:
    """Return whether a target has parameters that are yet to be learned."""
    return bool(target.density.learnable) and not target.density.is_learned


def require_learned(target: Target, user: str, error: type[ViKLError] = UnsuitableError) -> None:
    """Raise an error if a target has parameters that are yet to be learned, so that it is no posterior.

    Args:
        target: the target.
        user: who needs a posterior, as the message begins.
        error: the kind of error to raise.
    """
    if is_to_learn(target):
        names = ", ".join(target.density.learnable)
        raise error(
            f"{user} needs a posterior, and '{target.density}' has parameters without a prior that are still to be "
            f"learned: {names}. Learn them with a q (fit = vi_kl.fit(target, key=key), or vi_kl.SVI), and go on with "
            f"fit.target, the posterior at their learned values; or give them values: target.with_learned({{...}})."
        )


def in_words(value: Any) -> str:
    if is_key(value):
        return "a random key"
    name = type(value).__name__
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return f"{article} {name} {value!r}" if isinstance(value, str | int | float) else f"{article} {name}"


def of_a_target(function: F) -> F:
    """Return a function of a posterior, and perhaps a key, that takes whatever has a target, and any key."""
    parameter = inspect.signature(function).parameters.get("key")
    takes_key = parameter is not None and parameter.kind is parameter.KEYWORD_ONLY
    wants_key = parameter is not None and takes_key and parameter.default is parameter.empty
    known = names_given(function)

    @functools.wraps(function)
    def asked(target, *args, **kwargs):
        if known is not None:  # first, as a key may be missing because it is misspelt
            refuse_unknown(function.__name__, kwargs, known)
        if wants_key or (takes_key and kwargs.get("key") is not None):
            kwargs["key"] = as_key(kwargs.get("key"))
        found = require_target(target, function.__name__)
        require_learned(found, function.__name__)
        return function(found, *args, **kwargs)

    return cast(F, asked)
