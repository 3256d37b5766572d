"""What a person asks `fit` and its kin for, in whatever words: a target, a method by name."""

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from numpyro.infer.autoguide import AutoGuide

from vi_kl.core.random_keys import is_key
from vi_kl.families.family import Family
from vi_kl.targets.arguments import own_target, the_target
from vi_kl.targets.target import Target

# Other people's names of the methods in `choose.METHODS`
SYNONYMS = {
    "mean_field": ("advi", "mean field advi", "mfvi", "bbvi", "auto normal", "auto diagonal normal", "diagonal"),
    "full_rank": ("full rank advi", "auto multivariate normal", "multivariate normal", "gaussian", "dense"),
    "low_rank": ("auto low rank multivariate normal", "low rank normal"),
    "linear_response": ("lrvb", "linear response vb"),
    "laplace": ("auto laplace approximation", "auto laplace", "laplace approximation", "inla"),
    "flow": ("normalizing flow", "normalising flow", "nf", "realnvp", "neural spline flow", "nsf", "coupling"),
    "iaf": ("auto iaf normal", "inverse autoregressive flow"),
    "coordinate_ascent": ("cavi", "vb", "variational bayes", "vmp"),
    "svgd": ("stein", "stein vi", "stein variational gradient descent"),
    "map": ("auto delta", "mode", "maximum a posteriori"),
    "student_t": ("t", "student"),
    "batch_and_match": ("bam",),
    "gaussian_score_matching": ("gsm", "score matching"),
    "natural_gradient": ("ngvi", "natural gradients", "von"),
    "pathfinder": ("multi path pathfinder",),
    "moment_matching": ("moments", "adf"),
}


def plain(name: str) -> str:
    """A name without case, spaces, hyphens and underscores."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def method_named(name: str, known: Iterable[str]) -> str:
    """The method that a name means, spelling aside.

    Raises:
        ValueError: none; the message names those that are close.
    """
    names = sorted(known)
    meant = {plain(x): method for method in names for x in (method, *SYNONYMS.get(method, ()))}
    if plain(name) in meant:
        return meant[plain(name)]
    close = list(dict.fromkeys(meant[x] for x in difflib.get_close_matches(plain(name), meant, n=3, cutoff=0.6)))
    guess = f" Did you mean {' or '.join(repr(x) for x in close)}?" if close else ""
    raise ValueError(f"Unknown method {name!r}.{guess} The methods are {', '.join(names)}.")


def is_method(value: Any, algorithm: type, known: Iterable[str]) -> bool:
    """Whether a value can only be meant as a method: a known name, a family, an algorithm, an automatic guide."""
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
    if is_key(asked):
        raise TypeError(f"{caller} takes the target first; the key is given by name: {caller}(target, ..., key=key).")


def target_of(asked: Any, args: tuple, kwargs: Mapping, *, caller: str, options: Iterable[str]) -> Target:
    """The target that is meant by a target, a model with its arguments, or something that has a target.

    Args:
        asked: what was given in its place.
        args, kwargs: the model's arguments; there are none where `asked` is no model.
        caller: the function's name, and
        options: its own arguments, for the message.

    Raises:
        TypeError: no target is meant by it; the message says what to pass.
    """
    known = own_target(asked)
    if known is not None:
        refuse_more(args, kwargs, caller, options)
        return known
    if isinstance(asked, AutoGuide | Family) or (isinstance(asked, type) and issubclass(asked, AutoGuide | Family)):
        name = getattr(asked, "__name__", type(asked).__name__)
        raise TypeError(f"{caller} takes the target first, then the method, which {name} is: {caller}(target, ...).")
    if not callable(asked) or isinstance(asked, type):
        return the_target(asked, caller)
    refuse_call(asked, args, kwargs, caller)
    return Target.from_numpyro(asked, *args, **kwargs)


def refuse_more(args: tuple, kwargs: Mapping, caller: str, options: Iterable[str]) -> None:
    """Arguments beside a target, which has its data already."""
    if args:
        raise TypeError(
            f"{caller} got {len(args)} more argument(s) beside the target and the method. A target has its data "
            f"already; everything else is given by name: {', '.join(options)}."
        )
    for name in kwargs:
        close = difflib.get_close_matches(name, list(options), n=1)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        raise TypeError(
            f"{caller} has no argument {name!r}.{guess} It takes {', '.join(options)}; settings of a method belong to "
            f"the method itself, for example method=SVI(MeanField(), max_steps=1000)."
        )


def refuse_call(model: Callable, args: tuple, kwargs: Mapping, caller: str) -> None:
    """A model that does not take these arguments."""
    try:
        signature = inspect.signature(model)
    except (TypeError, ValueError):  # some callables have none
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(model, "__name__", type(model).__name__)
        raise TypeError(
            f"The model {name}{signature} cannot be called with the arguments given: {error}. Pass its data too, as in "
            f"{caller}({name}, x, y=y, key=0), or make the target first: Target.from_numpyro({name}, x, y=y)."
        ) from None
