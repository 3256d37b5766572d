"""The degree of a program's result as a polynomial in its last argument, read off its operations.

A log density that is a polynomial of the second degree belongs to a normal distribution, and evaluations at however
many points cannot show that: a mixture may look so everywhere but in the small neighbourhood of its narrow parts.

The degree found is an upper limit. What the walk does not know counts as no polynomial; the logarithm of an exponential
of something of the first degree it knows, as models of log-normal variables have it.
"""

from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from vi_kl.core.programs.measure import names
from vi_kl.core.programs.replay import fixed_and_carried, needed_operations, opened

NONE = 1000  # the degree of what is no polynomial, or not seen to be one
EXPONENTIAL = 999  # of the exponential of something of degree one, entry by entry
SAME = names(
    "reshape broadcast_in_dim squeeze expand_dims transpose rev slice convert_element_type copy real stop_gradient "
    "reduce_precision optimization_barrier split"
)
MIXED = names("concatenate pad select_n gather dynamic_slice dynamic_update_slice scatter scatter-add scatter_add")
LINEAR = names("add sub add_any neg reduce_sum cumsum")
PRODUCTS = names("mul dot_general")
CALLS = names("jit pjit closed_call core_call remat2 checkpoint custom_jvp_call custom_vjp_call custom_lin")
MOST_ROUNDS = 6  # of a loop's body, until the degrees of what it carries no longer rise


def degree_in_last(program: ClosedJaxpr) -> int:
    """Return the degree of a program's only result in its last argument; NONE if it is no polynomial in it."""
    arguments = [0] * len(program.jaxpr.invars)
    arguments[-1] = 1
    (found,) = degrees(program, arguments)
    return found


def degrees(program: Jaxpr | ClosedJaxpr, arguments: list[int]) -> list[int]:
    """Return the degree of each result, given those of the arguments."""
    jaxpr, _ = opened(program)
    known: dict[Any, int] = dict.fromkeys(jaxpr.constvars, 0) | dict(zip(jaxpr.invars, arguments, strict=True))

    def read(atom) -> int:
        return 0 if isinstance(atom, Literal) else known[atom]

    for eqn in needed_operations(jaxpr):
        found = of_operation(eqn, [read(atom) for atom in eqn.invars])
        known |= dict(zip(eqn.outvars, found, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def of_operation(eqn, given: list[int]) -> list[int]:
    name, number = eqn.primitive.name, len(eqn.outvars)
    if not any(given) or has_one_answer(eqn, given):
        return [0] * number
    if name in CALLS:
        inner = eqn.params.get("jaxpr") or eqn.params.get("call_jaxpr") or eqn.params.get("fun_jaxpr")
        return [NONE] * number if inner is None else degrees(inner, given)
    if name == "scan":
        return of_scan(eqn.params, given)
    if name == "cond":
        return of_branches(eqn.params["branches"], given, number)
    return [of_entries(name, given, eqn.params)] * number


def has_one_answer(eqn, given: list[int]) -> bool:
    """Return whether a comparison has the same answer everywhere, as checks of supports have.

    They compare something with itself, a polynomial with infinity, or an exponential with zero.
    """
    if eqn.primitive.name not in ("eq", "ne", "lt", "gt", "le", "ge"):
        return False
    one, other = eqn.invars
    fixed = [x.val for x in (one, other) if isinstance(x, Literal) and np.ndim(x.val) == 0]
    return one is other or any(np.isinf(x) or (x == 0 and EXPONENTIAL in given) for x in fixed)


def of_entries(name: str, given: list[int], params) -> int:
    """Return the degree of an operation without programs inside."""
    highest = max(given)
    if name in SAME:
        return given[0]
    if name in MIXED:
        return of_mixed(name, given)
    if name in LINEAR:
        return highest if highest < EXPONENTIAL else NONE
    if name in PRODUCTS:
        return at_most(sum(given))
    if name == "div":
        return at_most(given[0]) if given[1] == 0 else NONE
    if name in ("integer_pow", "square"):
        power = params.get("y", 2)
        return at_most(power * highest) if power >= 0 else NONE
    if name == "triangular_solve":
        return at_most(given[1]) if given[0] == 0 else NONE
    if name == "exp":
        return EXPONENTIAL if highest == 1 else NONE
    return 1 if name == "log" and highest == EXPONENTIAL else NONE


def of_mixed(name: str, given: list[int]) -> int:
    """Return the degree of entries put together; places and choices must not depend on the argument."""
    places = {"select_n": given[:1], "gather": given[1:], "dynamic_slice": given[1:], "scatter": given[1:2]}
    places |= {"scatter-add": given[1:2], "scatter_add": given[1:2], "dynamic_update_slice": given[2:]}
    if any(places.get(name, ())):
        return NONE
    entries = {"select_n": given[1:], "gather": given[:1], "dynamic_slice": given[:1]}.get(name, given)
    highest = max(entries)
    return highest if highest < EXPONENTIAL or all(entry == EXPONENTIAL for entry in entries) else NONE


def at_most(degree: int) -> int:
    return degree if degree < EXPONENTIAL else NONE


def of_branches(branches, given: list[int], number: int) -> list[int]:
    if given[0]:
        return [NONE] * number
    of_each = [degrees(branch, given[1:]) for branch in branches]
    return [found[0] if len(set(found)) == 1 else max(found) if max(found) < EXPONENTIAL else NONE
            for found in zip(*of_each, strict=True)]  # fmt: skip


def of_scan(params, given: list[int]) -> list[int]:
    """Return the degrees of a loop's results, once those of what it carries no longer rise."""
    fixed, carried = fixed_and_carried(params)
    carry = given[fixed : fixed + carried]
    for _ in range(MOST_ROUNDS):
        found = degrees(params["jaxpr"], [*given[:fixed], *carry, *given[fixed + carried :]])
        higher = [max(a, b) for a, b in zip(carry, found[:carried], strict=True)]
        if higher == carry:
            return [*carry, *found[carried:]]
        carry = higher
    return [NONE] * (carried + len(found) - carried)
