"""`fit`: one call for any method, given by name, as a family, as an algorithm or as a NumPyro guide."""

import os
from collections.abc import Callable
from typing import Any

from vi_kl.algorithms.algorithm import Algorithm, Fit
from vi_kl.algorithms.arguments import is_method, method_named, refuse_key_first, refuse_wrong_call, target_of
from vi_kl.algorithms.method import KINDS, MethodLike
from vi_kl.algorithms.registry import DEFAULT, METHODS
from vi_kl.algorithms.sample_average_approximation import SampleAverageApproximation
from vi_kl.algorithms.svi.svi import SVI
from vi_kl.core.annotations import KeyLike, ProgressLike
from vi_kl.core.random_keys import as_key, is_key
from vi_kl.families.approximation import Approximation
from vi_kl.families.family import Family
from vi_kl.families.guide import follows_rows, guide_family
from vi_kl.objectives.elbo import ELBO
from vi_kl.targets.arguments import in_words, is_to_learn, target_or_none
from vi_kl.targets.target import Target

OPTIONS = ("method", "key", "start", "checkpoint", "progress")  # what `fit` takes beside a model's arguments


def choose_algorithm(target: Target, method: MethodLike | None = None) -> Algorithm:
    """Return the algorithm that a method stands for.

    Args:
        target: the posterior to approximate.
        method: None for `AutoFit`; a name; a Family (fitted by SVI); an Algorithm; a NumPyro guide function, autoguide
            or autoguide class.
    """
    if method is None:
        return METHODS[DEFAULT].make()
    if isinstance(method, str):
        named = METHODS[method_named(method, METHODS)]
        algorithm = named.make()
        if named.kind == "normal" and isinstance(algorithm, SampleAverageApproximation) and is_to_learn(target):
            return SVI(algorithm.family)  # the same family, by the method that learns parameters with it
        return algorithm
    if isinstance(method, type) and issubclass(method, Algorithm | Family):
        return choose_algorithm(target, instance_of(method))
    if isinstance(method, Algorithm):
        return method
    if isinstance(method, Family):
        return SVI(method)
    if callable(method):
        family = guide_family(method, target)
        if follows_rows(family, target):  # minibatches are the most of its noise, and a network's weights are small
            return SVI(family, ELBO(num_draws=1), step_size=0.01)
        # guides may start far from where they end, and their samplers (gamma, beta) are slow
        return SVI(family, ELBO(num_draws=4), step_size=0.1)
    raise TypeError(f"method must be a name, a Family, an Algorithm or a NumPyro guide, not {in_words(method)}.")


def instance_of(kind: type) -> Algorithm | Family:
    """Return an instance of a family or an algorithm whose class was passed, with its default settings."""
    try:
        return kind()
    except TypeError as error:
        raise TypeError(f"method is the class {kind.__name__}, which needs settings: {error}.") from None


def fit(
    target: Target | Fit | Approximation | Callable,
    *args: Any,
    method: MethodLike | None = None,
    key: KeyLike | None = None,
    start: Any = None,
    checkpoint: str | os.PathLike | None = None,
    progress: ProgressLike = None,
    **kwargs: Any,
) -> Fit:
    """Fit an approximation to a target.

    Args:
        target: a target, from `Target.from_numpyro(model, *args, **kwargs)`; or the model itself, followed by its
            arguments: `fit(model, x, y=y, key=key)`, `fit(model, "flow", x, y=y, key=key)`.
        method: a name such as "full_rank" (all of them are in `vi_kl.algorithms.registry.METHODS`), a Family, an
            Algorithm, or a NumPyro guide. The default is the cheapest of Laplace's normal, the best normal and a flow
            that is good enough (`AutoFit`). Spelling is forgiven ("mean-field", "ADVI"). The parameters of a model that
            have no prior (`numpyro.param`) are learned by the default, by SVI, and by the names of normal
            families ("full_rank", "mean_field", "low_rank"), which SVI then fits.
        *args: the method, if it is not given by name; then the model's arguments, if `target` is a model.
        **kwargs: the model's arguments by name.
        key: a JAX random key, or an integer; the same key gives the same fit.
        start: the place to start from: another Fit or Approximation, a Frame, or a point as z or {site: value}. The
            default is the best of the modes found by climbs from random places.
        checkpoint: a file in which a method fitted by SVI keeps its state, and from which it goes on if the file
            exists.
        progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
            False; by default it is shown on a terminal and in a notebook after two seconds.

    Returns:
        The Fit, with its `approximation`, a readable `status`, its `history`, its `cost`, and what it has `learned`.

    Raises:
        FitError: the method cannot be fitted to this target; the message says why, and what can.
        ValueError: no method has that name, or a checkpoint is asked of one that is not fitted by SVI.
        TypeError: what is given is no target, method or key; the message says what it is.
    """
    refuse_key_first(target, "fit")
    if args and method is None and (target_or_none(target) is not None or is_method(args[0], Algorithm, METHODS)):
        method, args = args[0], args[1:]
    if args and key is None and is_key(args[-1]):
        args, key = args[:-1], args[-1]
    refuse_wrong_call(target, args, kwargs, "fit", OPTIONS)  # a key may be missing because it is misspelt
    key = as_key(key)
    target = target_of(target, args, kwargs, caller="fit", options=OPTIONS)
    algorithm = choose_algorithm(target, method)
    if checkpoint is None:
        return algorithm.fit(key, target, start=start, progress=progress)
    if not isinstance(algorithm, SVI):
        raise ValueError(f"'{algorithm.name}' writes no checkpoints: only SVI, whose fits may take long, does.")
    return algorithm.fit(key, target, start=start, progress=progress, checkpoint=checkpoint)


def names_by_kind() -> str:
    """Return the names of all methods, a line for each kind of q."""
    lines = []
    for kind, words in KINDS.items():
        names = ", ".join(f'"{name}"' for name, method in METHODS.items() if method.kind == kind)
        lines.append(f"        {words}: {names}")
    return "\n".join(lines)


fit.__doc__ = f"{fit.__doc__ or ''}\n    The names of methods:\n{names_by_kind()}\n    "
