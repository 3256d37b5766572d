"""`--set name=value`: settings of a method, which in Python are fields of its algorithm, objective or family."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vi_kl.core.suggestions import guess

if TYPE_CHECKING:
    from vi_kl.algorithms import Algorithm
    from vi_kl.targets import Target

PARTS = ("objective", "family")  # of an algorithm, whose settings count as its own
SCALARS = bool | int | float | str | None
SCALAR = re.compile(r"\b(bool|int|float|str)\b")  # in the annotation of a field that may be None


def algorithms_named(target: "Target", names: Sequence[str], settings: Sequence[str]) -> "dict[str, Algorithm]":
    """Return {name: algorithm} of methods by name, each with those of the settings that it has.

    Args:
        target: the posterior to approximate.
        names: the names of methods.
        settings: `name=value`, each for all methods that have a setting of this name.

    Raises:
        ValueError: no method has such a setting, or the value is none of its kind; the message says what there is.
    """
    from vi_kl.algorithms.fitting import choose_algorithm

    given = dict(map(split, settings))
    found = {name: choose_algorithm(target, name) for name in names}
    known = {name: settings_of(algorithm) for name, algorithm in found.items()}
    for setting in given:
        if not any(setting in each for each in known.values()):
            raise ValueError(unknown(setting, known))
    return {name: changed(algorithm, given) for name, algorithm in found.items()}


def split(written: str) -> tuple[str, str]:
    """Return the name and the value of `name=value`."""
    name, equals, value = written.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise ValueError(f"--set {written} says nothing: write name=value, such as --set max_steps=50000.")
    return name.strip(), value.strip()


def settings_of(algorithm: "Algorithm") -> dict[str, Any]:
    """Return {name: present value} of the settings that can be written as one word, those of the algorithm first."""
    parts = [algorithm, *(getattr(algorithm, name, None) for name in PARTS)]
    found: dict[str, Any] = {}
    for part in filter(dataclasses.is_dataclass, parts):
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if field.init and isinstance(value, SCALARS) and (value is not None or SCALAR.search(str(field.type))):
                found.setdefault(field.name, value)
    return found


def changed(algorithm: "Algorithm", given: Mapping[str, str]) -> "Algorithm":
    """Return the algorithm with those of the settings that it, its objective or its family has."""
    left = {name: value for name, value in given.items() if name in settings_of(algorithm)}
    own = {f.name for f in dataclasses.fields(algorithm) if f.init}
    changes = {name: value_of(name, left.pop(name), getattr(algorithm, name)) for name in list(left) if name in own}
    for part in PARTS:
        present = getattr(algorithm, part, None)
        fields = {f.name for f in dataclasses.fields(present)} if dataclasses.is_dataclass(present) else set()
        inner = {name: value_of(name, left.pop(name), getattr(present, name)) for name in list(left) if name in fields}
        if inner:
            changes[part] = dataclasses.replace(present, **inner)
    return dataclasses.replace(algorithm, **changes) if changes else algorithm


def value_of(name: str, written: str, present: Any) -> Any:
    """Return a written value as one of the same kind as the present one.

    Raises:
        ValueError: it is none of that kind.
    """
    if isinstance(present, str):
        return written
    words = {"true": True, "false": False, "none": None}
    if isinstance(present, bool) or written.lower() == "none":
        if written.lower() in words:
            return words[written.lower()]
        raise ValueError(f"--set {name}={written}: {name} is true or false.")
    try:
        number = float(written.replace(",", "").replace("_", ""))
    except ValueError:
        raise ValueError(f"--set {name}={written}: {name} is a number, now {present}.") from None
    whole = isinstance(present, int) or present is None
    if isinstance(present, int) and not number.is_integer():
        raise ValueError(f"--set {name}={written}: {name} is a whole number, now {present:,}.")
    return int(number) if whole and number.is_integer() else number


def unknown(setting: str, known: Mapping[str, Mapping[str, Any]]) -> str:
    """Say that no method has a setting, and which settings there are."""
    everything = [name for settings in known.values() for name in settings]
    lists = "; ".join(f"{name} has {', '.join(settings) or 'none'}" for name, settings in known.items())
    return f"--set {setting}: there is no such setting.{guess(setting, everything)} Of what can be set, {lists}."
