"""What the conformance suites are run on: taken from the registry, so that a new method needs no line here."""

from collections.abc import Mapping

from vi_kl.algorithms.method import Method
from vi_kl.families import Family


def families_of(methods: Mapping[str, Method]) -> dict[str, Family]:
    """The families that methods fit, by the method's name, each of them once."""
    found: dict[str, Family] = {}
    for name, method in methods.items():
        if method.family is not None and method.family not in found.values():
            found[name] = method.family
    return found
