"""Storage: save a fit to a file and load it again, without pickle.

The file holds the family, its parameters, the algorithm, the status, the history and the cost, but not the target,
because a model is code. It holds the target's fingerprint instead (sites, data, log density), and a fit is loaded only
for the target that it was made for. Loading runs no code from the file: it makes instances of vi_kl's own classes,
and of those it is given.

    vi_kl.save(fit, "worms.vikl")
    fit = vi_kl.load("worms.vikl", target)

What a file says of itself can be read without the target: `describe("worms.vikl")`.
"""

import dataclasses
import hashlib
import importlib
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vi_kl.algorithms.algorithm import Algorithm, Cost, Fit, History, Status
from vi_kl.algorithms.conjugate_sites import ConjugateGuide, ConjugateSite
from vi_kl.core import serialization
from vi_kl.core.precision import in_float64
from vi_kl.core.pytrees import to_numpy
from vi_kl.core.serialization import Archive, ArchiveError
from vi_kl.core.suggestions import names_its_arguments
from vi_kl.families.approximation import Approximation
from vi_kl.families.family import Family, refuse_not_finite
from vi_kl.families.guide import Guide, guide_family
from vi_kl.families.particles import ParticleApproximation, Particles
from vi_kl.objectives.objective import Objective
from vi_kl.targets.arguments import in_words, is_to_learn, require_target
from vi_kl.targets.fingerprint import describe_leaf, differences, fingerprint
from vi_kl.targets.target import Target
from vi_kl.targets.without_model import target_without_model

__all__ = ["StorageError", "StoredFit", "describe", "load", "save"]

FORMAT = 1
PARTS = (Status, History, Cost)
HEAD = ("format", "vi_kl", "made", "target")  # what the file says of itself


class StorageError(ArchiveError):
    """An error that says why a fit cannot be saved or loaded."""


@dataclasses.dataclass(frozen=True)
class GivenAtLoad:
    """A placeholder for a family that is code (a NumPyro guide), which is passed to `load`.

    Attributes:
        name: the guide's name.
        closed_over: a hash of the arrays that it closed over.
    """

    name: str
    closed_over: str = ""


ELSEWHERE = ("approximation", "path")  # the first is saved as its family and params, the second not at all
FIELDS: dict[str, Any] = {
    "family": Family | GivenAtLoad,
    "algorithm": Algorithm,
    "status": Status,
    "history": History,
    "cost": Cost,
}


def digest_of(family: Guide) -> str:
    """Return a hash of the arrays that a guide closes over."""
    return hashlib.sha256(repr([describe_leaf(leaf) for leaf in family.closed_over]).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class StoredFit:
    """What the file of a fit says without its target.

    Attributes:
        path: the file.
        method: the algorithm's name.
        family: the family's name.
        status: whether the fit converged, and if not what to try.
        cost: what it cost.
        num_steps: the number of steps in its history.
        model: the target in words.
        dim: the length of z.
        sites: {site: its shape} of the latent sites.
        data: the shape and type of each array of the data.
        versions: {package: version} of what the fit was made by, as far as the file has them.
        made: what `save` was told of how it was made; empty if nothing.
    """

    path: Path
    method: str
    family: str
    status: Status
    cost: Cost
    num_steps: int
    model: str
    dim: int
    sites: dict[str, tuple[int, ...]]
    data: tuple[str, ...]
    versions: dict[str, str]
    made: dict[str, Any]


@names_its_arguments
@in_float64
def save(fit: Fit, path: str | os.PathLike, *, made: Mapping[str, Any] | None = None) -> None:
    """Write a fit to a file.

    The file appears whole or not at all. A fit of a NumPyro guide is saved without the guide, which is code,
    and every fit without its path.

    Args:
        fit: the fit to save.
        path: the file, with any ending. Its folder must exist; `~` is the home folder.
        made: how the fit was made, as plain values by name, for `describe` to return; `load` makes no use of it.

    Raises:
        StorageError: part of the fit is code, such as an optax optimiser (the message names it), or a parameter is not
            finite.
        OSError: the file cannot be written; one that was there is as it was.
    """
    if not isinstance(fit, Fit):
        other = "the fit comes first: save(fit, path)" if isinstance(path, Fit) else "fit a target first"
        raise TypeError(f"save takes a Fit, not {in_words(fit)}: {other}.")
    if type(fit.approximation) not in (Approximation, ParticleApproximation):
        raise StorageError(f"A fit whose approximation is a {type(fit.approximation).__name__} cannot be saved.")
    require_finite(fit.approximation.params)
    version = importlib.import_module("vi_kl").__version__
    fields = {name: value for name, value in fields_of(fit).items() if name not in ELSEWHERE}
    fit_document = {
        "family": without_guide(fit.approximation.family),
        "params": fit.approximation.params,
        **{name: without_guide(value) for name, value in fields.items()},
    }
    if fit.target.density.learnable:
        fit_document["learned"] = to_numpy(fit.target.free_parameters())
    try:
        head = {"format": FORMAT, "vi_kl": version, "made": dict(made or {}), "target": fingerprint(fit.target)}
        serialization.write(path, {**head, **fit_document})
    except ArchiveError as error:
        raise StorageError(f"{error} {remedy(str(error))}") from None


def require_finite(params) -> None:
    try:
        refuse_not_finite(params)
    except ValueError as error:
        raise StorageError(f"The fit is not worth saving: {error}") from None


def fields_of(value: Fit | Algorithm | Family | Objective) -> dict[str, Any]:
    """Return the fields of a dataclass that are saved, as {name: value}."""
    return serialization.fields_of(value) or {}


def remedy(words: str) -> str:
    """Say what to do about a part that cannot be saved."""
    if words.startswith("algorithm."):
        return (
            "To save the rest, replace it: dataclasses.replace(fit, algorithm=dataclasses.replace(fit.algorithm, "
            "optimizer=None))."
        )
    return "Only numbers, strings, arrays, containers of them, dataclasses and NamedTuples can."


def without_guide(value):
    """Return a copy in which every guide, which is code, is replaced by its name."""
    if isinstance(value, Guide) and not isinstance(value.guide, ConjugateGuide):
        return GivenAtLoad(value.name, digest_of(value) if value.programs else "")
    if isinstance(value, Algorithm | Family | Objective):
        changed = {
            name: without_guide(entry)
            for name, entry in fields_of(value).items()
            if isinstance(entry, Guide | Algorithm | Family | Objective)
        }
        return dataclasses.replace(value, **changed) if changed else value
    return value


@names_its_arguments
@in_float64
def load(
    path: str | os.PathLike, target: Target | None = None, *, family: Any = None, classes: Iterable[type] = ()
) -> Fit:
    """Read a fit that `save` has written.

    Args:
        path: the file.
        target: the posterior that was fitted, made from the same model and data. What the fit has learned of its
            parameters is in the file. Without it, the fit can be drawn from in z, with its log density there
            (`fit.approximation.sample_and_log_prob`), and whatever needs the model is refused.
        family: the guide, for fits of a NumPyro guide (function, autoguide or autoguide class), or its family.
        classes: families, objectives and algorithms of your own that the fit is made of.

    Returns:
        The fit, with the same parameters to the last bit.

    Raises:
        StorageError: the file is damaged or of a later format, belongs to another target (the message says what
            differs), or holds a class that is neither vi_kl's nor among `classes`.
        FileNotFoundError: there is no such file.
    """
    if target is not None:
        target = require_target(target, "load(path, target)")
    try:
        stored = Archive(path)
        require_format(stored)
        known = known_classes(classes)
        if target is None:
            target = stored_target(stored)
        else:
            if is_to_learn(target) and "learned" in stored.words:
                target = at_stored(target, stored.get("learned", known))
            require_same_target(stored, target)
        values = {name: stored.get(name, known) for name in stored.words if name not in (*HEAD, "learned")}
    except StorageError:
        raise
    except ArchiveError as error:
        raise StorageError(str(error)) from None
    require_parts(stored, values)
    family = family_of(values.pop("family"), target, family)
    require_params(stored, family, values["params"], target)
    values["algorithm"] = with_guide(values["algorithm"], family)
    kind = ParticleApproximation if isinstance(family, Particles) else Approximation
    return Fit(approximation=kind(family, values.pop("params"), target), **values)


def describe(path: str | os.PathLike, *, classes: Iterable[type] = ()) -> StoredFit:
    """Return what the file of a fit says without its target: method, status, cost, target, versions.

    Args:
        path: the file.
        classes: families, objectives and algorithms of your own that the fit is made of.

    Raises:
        StorageError: the file is damaged, of a later format, or no fit.
        FileNotFoundError: there is no such file.
    """
    try:
        stored = Archive(path)
        require_format(stored)
        known = known_classes(classes)
        values = {name: stored.get(name, known) for name in (*FIELDS, *HEAD)}
    except StorageError:
        raise
    except ArchiveError as error:
        raise StorageError(str(error)) from None
    require_parts(stored, {name: value for name, value in values.items() if name not in HEAD})
    try:
        return described(stored.path, values)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise unreadable_target(stored, error) from None


def described(path: Path, values: Mapping[str, Any]) -> StoredFit:
    """Return the description of a fit whose parts have been read."""
    target, sites = values["target"], {name: tuple(shape) for name, shape, _ in values["target"]["sites"]}
    known = dict((target["programs"] or {}).get("versions", ()))
    return StoredFit(
        path=path,
        method=values["algorithm"].name,
        family=values["family"].name,
        status=values["status"],
        cost=values["cost"],
        num_steps=len(values["history"].loss),
        model=target["model"],
        dim=sum(math.prod(unconstrained) for _, _, unconstrained in target["sites"]),
        sites=sites,
        data=tuple(f"{np.dtype(kind).name}{shape}" for shape, kind, _ in target["data"]),
        versions={"vi_kl": values["vi_kl"], **{name: each for name, each in known.items() if name != "vi_kl"}},
        made=dict(values["made"] or {}),
    )


def require_format(stored: Archive) -> None:
    """Raise an error unless the file holds a fit in a known format."""
    found = stored.get("format")
    if type(found) is not int or found < 1:
        raise StorageError(f"{stored.path} holds no fit.")
    if found > FORMAT:
        raise StorageError(
            f"{stored.path} was saved by vi_kl {stored.get('vi_kl')} in format {found}; this version reads up to "
            f"{FORMAT}: upgrade vi_kl."
        )


def require_same_target(stored: Archive, target: Target) -> None:
    """Raise an error if the fit in the file is of another target; the message says what differs."""
    different = differences(stored.get("target"), fingerprint(target))
    if different:
        raise StorageError(f"{stored.path} is a fit to another target: {'; '.join(different)}.")


def unreadable_target(stored: Archive, error: Exception) -> StorageError:
    return StorageError(f"{stored.path} is damaged: what it says of its target cannot be read ({error}).")


def stored_target(stored: Archive) -> Target:
    """Return the target that the file speaks of, without its model."""
    told = stored.get("target")
    try:
        return target_without_model(str(told["model"]), str(stored.path), told["sites"])
    except (TypeError, KeyError, ValueError) as error:
        raise unreadable_target(stored, error) from None


def at_stored(target: Target, learned: Any) -> Target:
    """Return the posterior at the parameters in a file; or the target as it is, where these are not its own."""
    shapes = [jax.tree.map(np.shape, tree) for tree in (target.free_parameters(), learned)]
    return target.with_free_parameters(learned).at_learned() if shapes[0] == shapes[1] else target


def known_classes(extra: Iterable[type]) -> dict[str, type]:
    """Return vi_kl's own families, objectives and algorithms, the classes that these hold, and those given, by name."""
    for package in ("families", "objectives", "algorithms"):
        importlib.import_module(f"vi_kl.{package}")
    found: list[type] = [GivenAtLoad, ConjugateGuide, *PARTS]
    waiting: list[type] = [Family, Objective, Algorithm, ConjugateSite]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.split(".")[0] == "vi_kl":
            found.append(kind)
    return {kind.__qualname__: kind for kind in (*found, *extra)}


def require_parts(stored: Archive, values: dict[str, Any]) -> None:
    """Raise an error unless the file holds the parts of a fit, each of its kind and nothing else."""
    for name, kind in FIELDS.items():
        if not isinstance(values.get(name), kind):
            raise StorageError(f"{stored.path} is damaged: its {name} is {in_words(values.get(name))}.")
    others = values.keys() - FIELDS.keys() - {"params"}
    if others:
        raise StorageError(f"{stored.path} is damaged: a fit has no {', '.join(sorted(others))}.")
    for name, array in vars(values["history"]).items():
        if np.ndim(array) != 1 or np.asarray(array).dtype.kind != "f":
            raise StorageError(f"{stored.path} is damaged: its history's {name} is not a list of numbers.")


def family_of(stored: Family | GivenAtLoad, target: Target, given) -> Family:
    """Return the family in the file, or for a guide the one given.

    Raises:
        StorageError: the guide is missing, or its arrays are not those that were saved.
    """
    if given is None and isinstance(stored, GivenAtLoad):
        raise StorageError(
            f"The fit is of the guide '{stored.name}', which is code and not in the file: "
            f"load(path, target, family={stored.name})."
        )
    if given is None:
        assert isinstance(stored, Family)
        return stored
    family = given if isinstance(given, Family) else guide_family(given, target)
    if isinstance(family, Guide):
        family = family.captured(target)
        if isinstance(stored, GivenAtLoad) and stored.closed_over not in ("", digest_of(family)):
            raise StorageError(f"The arrays that the guide '{family.name}' closes over hold other numbers now.")
    if isinstance(stored, Family) and stored != family:
        raise StorageError(f"The fit is of the family {stored}, not of {family}: leave `family` out.")
    return family


def require_params(stored: Archive, family: Family, params, target: Target) -> None:
    """Raise an error unless the family has a member with these parameters."""
    try:
        family.require_params(params, target)
    except Exception as error:  # also what a family raises whose own settings do not suit the target
        raise StorageError(f"{stored.path} holds no {family.name} of this target: {error}") from None


def with_guide(value, family: Family):
    """Return a copy in which the guide stands in place of its name: the inverse of `without_guide`."""
    if isinstance(value, GivenAtLoad):
        return family
    if isinstance(value, Algorithm | Family | Objective):
        fields = fields_of(value)
        changed = {
            name: with_guide(entry, family)
            for name, entry in fields.items()
            if isinstance(entry, GivenAtLoad | Algorithm | Family | Objective)
        }
        return dataclasses.replace(value, **changed) if changed else value
    return value
