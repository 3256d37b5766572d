"""Members of a comparison: approximations that are to be fitted, or have been, each with a name of its own."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from vi_kl.algorithms.algorithm import Algorithm, Fit
from vi_kl.algorithms.fitting import choose_algorithm
from vi_kl.core.precision import in_float64
from vi_kl.targets.target import Target


class Member(NamedTuple):
    """One of the approximations that are compared.

    Attributes:
        name: its name in the comparison.
        source: the algorithm that fits it; or the Fit itself, which is checked only.
        written: the method as it stands in the call.
        is_labelled: whether the call gives it its name.
    """

    name: str
    source: Algorithm | Fit
    written: str = ""
    is_labelled: bool = False


def members_of(target: Target, methods: Any) -> list[Member]:
    """Return the members that were asked for, with names that differ from each other.

    Args:
        target: the posterior.
        methods: what `fit` takes for a method, or a Fit of this posterior; several of these; or {name: one of these}.

    Raises:
        ValueError: nothing is asked for, a Fit is of another posterior, or no method has that name.
    """
    if isinstance(methods, Mapping):
        asked = [(str(label), method) for label, method in methods.items()]
    else:
        several = list(methods) if isinstance(methods, list | tuple | set) else [methods]
        asked = [("", method) for method in several]
    if not asked:
        raise ValueError("methods is empty: name at least one, for example ['mean_field', 'full_rank'].")
    members: list[Member] = []
    for label, method in asked:
        source = method if isinstance(method, Fit) else choose_algorithm(target, method)
        if isinstance(source, Fit):
            require_fit_of(target, source)
        name = unlike(label or source.name, [member.name for member in members])
        members.append(Member(name, source, in_a_call(method), bool(label)))
    return members


def in_a_call(method: Any) -> str:
    """Return a method as it stands in a call: a name in quotes, a class or a function by its name, a Fit as `fit`."""
    if isinstance(method, Fit):
        return "fit"
    shown = getattr(method, "__name__", None) or repr(method)
    return f"{type(method).__name__}(...)" if shown.startswith("<") else shown


def all_in_a_call(members: Sequence[Member]) -> str:
    """Return the methods of a comparison as they stand in the call that makes it."""
    if any(member.is_labelled for member in members):
        return "{" + ", ".join(f"{member.name!r}: {member.written}" for member in members) + "}"
    return "[" + ", ".join(member.written for member in members) + "]"


def unlike(name: str, taken: list[str]) -> str:
    """Return the name, with a number where it is taken: two settings of one method are two members."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


@in_float64
def require_fit_of(target: Target, fit: Fit) -> None:
    """Refuse a Fit of another posterior: one of other sites, or with another log density at draws of it."""
    sites = [(site.name, site.shape) for site in fit.target.sites]
    expected = [(site.name, site.shape) for site in target.sites]
    if sites == expected:
        z = fit.sample_and_log_prob(jax.random.key(0), 4)[0]
        if np.allclose(fit.target.log_density(z), target.log_density(z), rtol=1e-6, atol=1e-6, equal_nan=True):
            return
    raise ValueError(
        f"The fit '{fit.name}' is of another posterior than the target: compare fits of one model and the same data."
    )
