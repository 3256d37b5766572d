"""Arguments of `fit` and its relatives: a target or a model, and a method by name, however users write them."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from numpyro.infer.autoguide import AutoGuide

from vi_kl.core.random_keys import is_key
from vi_kl.core.suggestions import refuse_unknown
from vi_kl.families.family import Family
from vi_kl.targets.arguments import require_target, target_or_none
from vi_kl.targets.calls import why_no_call
from vi_kl.targets.pymc import is_pymc_model
from vi_kl.targets.target import Target

if TYPE_CHECKING:
    from vi_kl.algorithms.method import Method


def plain(name: str) -> str:
    """Return a name without case, spaces, hyphens and underscores."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def method_named(name: str, known: Mapping[str, "Method"]) -> str:
    """Return the name of the method that a user means, whatever its spelling.

    Raises:
        ValueError: There is no such method; the message lists those with similar names.
    """
    meant = {plain(x): method for method in sorted(known) for x in (method, *known[method].synonyms)}
    if plain(name) in meant:
        return meant[plain(name)]
    close = list(dict.fromkeys(meant[x] for x in difflib.get_close_matches(plain(name), meant, n=3, cutoff=0.6)))
    guess = f" Did you mean {' or '.join(repr(x) for x in close)}?" if close else ""
    raise ValueError(f"Unknown method {name!r}.{guess} The methods are {', '.join(sorted(known))}.")


def is_method(value: Any, algorithm: type, known: Mapping[str, "Method"]) -> bool:
    """Return whether a value can only be a method: a known name, a family, an algorithm, an automatic guide."""
    if isinstance(value, str):
        try:
            method_named(value, known)
        except ValueError:
            return False
        return True
    if isinstance(value, type):
        return issubclass(value, algorithm | Family | AutoGuide)
    return isinstance(value, algorithm | Family | AutoGuide)


def refuse_key_first(asked: Any, caller: str) -> None:
    """Raise an error if a key was passed in the target's place."""
    if is_key(asked):
        raise TypeError(f"{caller} takes the target first; the key is given by name: {caller}(target, ..., key=key).")


def target_of(asked: Any, args: tuple, kwargs: Mapping, *, caller: str, options: Iterable[str]) -> Target:
    """Return the target that is meant by a target, a model (of NumPyro with its arguments), or what has a target.

    Args:
        asked: the argument that stands for the target.
        args, kwargs: the NumPyro model's arguments; there are none if `asked` is something else.
        caller: the name of the function that was called, for the message.
        options: the names of its own arguments, for the message.

    Raises:
        TypeError: The argument stands for no target; the message says what to pass.
    """
    refuse_wrong_call(asked, args, kwargs, caller, options)
    known = target_or_none(asked)
    if known is not None:
        return known
    if is_pymc_model(asked):
        return Target.from_pymc(asked)
    return Target.from_numpyro(asked, *args, **kwargs)


def refuse_wrong_call(asked: Any, args: tuple, kwargs: Mapping, caller: str, options: Iterable[str]) -> None:
    """Raise an error unless what is asked stands for a target, and takes what else is given.

    Args:
        asked, args, kwargs, caller, options: the arguments of `target_of`.
    """
    if target_or_none(asked) is not None or is_pymc_model(asked):
        refuse_more(args, kwargs, caller, options)
        return
    if isinstance(asked, AutoGuide | Family) or (isinstance(asked, type) and issubclass(asked, AutoGuide | Family)):
        name = getattr(asked, "__name__", type(asked).__name__)
        raise TypeError(f"{caller} takes the target first, then the method, which {name} is: {caller}(target, ...).")
    if not callable(asked) or isinstance(asked, type):
        require_target(asked, caller)
    words = why_no_call(asked, args, kwargs, caller, options)
    if words is not None:
        name = getattr(asked, "__name__", type(asked).__name__)
        raise TypeError(
            f"{words} Pass its data too, as in {caller}({name}, x, y=y, key=0), or make the target first: "
            f"Target.from_numpyro({name}, x, y=y)."
        )


def refuse_more(args: tuple, kwargs: Mapping, caller: str, options: Iterable[str]) -> None:
    """Raise an error if a target, which has its data already, comes with further arguments."""
    if args:
        raise TypeError(
            f"{caller} got {len(args)} more argument(s) beside the target and the method. A target has its data "
            f"already; everything else is given by name: {', '.join(options)}."
        )
    try:
        refuse_unknown(caller, kwargs, options)
    except TypeError as error:
        raise TypeError(
            f"{error} Settings of a method belong to the method itself, for example method=SVI(MeanField(), "
            f"max_steps=1000)."
        ) from None
