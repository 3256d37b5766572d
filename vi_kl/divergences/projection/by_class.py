"""Projection onto a family known by its NumPyro class: by moments where that is exact, else by descent."""

import dataclasses
from typing import Any

import numpy as np
from numpyro.distributions import Distribution, constraints

from vi_kl.core.estimate import Estimate
from vi_kl.divergences.estimation import estimate_kl
from vi_kl.divergences.estimators.quadrature import NotApplicable
from vi_kl.divergences.kl import kl_divergence
from vi_kl.divergences.projection import members as members_of
from vi_kl.divergences.projection import sums
from vi_kl.divergences.projection.families import ParametricFamily
from vi_kl.divergences.projection.matching import match_moments
from vi_kl.divergences.projection.nodes import nodes_of, nodes_of_pmf
from vi_kl.divergences.region import region_of
from vi_kl.divergences.registry import NoClosedForm


@dataclasses.dataclass(frozen=True)
class Found:
    """A projection before it is converted to the caller's unit; all divergences are in nats."""

    params: dict
    q: Any
    divergence: Estimate
    converged: bool
    status: str
    method: str
    standard_errors: dict | None = None
    minima: tuple[tuple[float, dict], ...] = ()


def project_onto_class(p, family: ParametricFamily, fixed, direction, key, num_draws, max_steps) -> Found:
    """Find the nearest member of the family; errors are those of `project`."""
    factors = check_space(p, family)
    fixed = with_total_count(p, family, fixed)
    if direction == "forward" and family.match is not None and set(fixed) == set(family.given):
        return by_moments(p, family, fixed, factors, key, num_draws)
    if factors and family.match is None:
        raise NoClosedForm(
            f"{family.name} is no exponential family, so a product of them is not projected by class. Pass a function"
            " from parameters to a distribution whose divergence with p has a closed form, with init."
        )
    return by_descent(p, family, fixed, factors, direction, max_steps)


def check_space(p, family) -> bool:
    """Return whether members are products over the coordinates of p.

    ValueError is raised if p and family do not fit.
    """
    event_dim = len(p.event_shape) if isinstance(p, Distribution) else 0
    region = region_of(p) if event_dim else None
    simplex = event_dim == 1 and region.named is constraints.simplex
    if event_dim == family.event_dim and simplex == (family.name == "Dirichlet"):
        return False
    if event_dim == 1 and family.event_dim == 0 and region.pieces is not None:  # the other coordinates do not matter
        return True
    what = f"of event shape {p.event_shape} on {p.support}" if isinstance(p, Distribution) else "a pmf array"
    space = "a simplex" if family.name == "Dirichlet" else ("numbers", "vectors")[family.event_dim]
    raise ValueError(
        f"{family.name} is a family over {space}, and p is {what}: choose a family over p's space, or project a"
        " transformation of p."
    )


def with_total_count(p, family, fixed) -> dict:
    """Return the fixed parameters after checking them.

    A pmf array over 0 ... n is compared with Binomials of n trials.
    """
    if family.name == "Binomial" and not isinstance(p, Distribution):
        fixed = {"total_count": len(p) - 1, **fixed}
    known = {*family.parameters, *family.given}
    unknown, missing = sorted(set(fixed) - known), sorted(set(family.given) - set(fixed))
    if unknown:
        raise ValueError(
            f"fixed names {unknown}, which {family.name} does not have: its parameters are {sorted(known)}."
        )
    if missing:
        raise ValueError(f"{family.name} needs its {missing[0]}: pass fixed={{{missing[0]!r}: ...}}.")
    if set(family.parameters) <= set(fixed):
        raise ValueError(f"fixed leaves no parameter of {family.name} to be found.")
    if not all(np.ndim(value) == 0 and np.isfinite(value) for value in fixed.values()):
        raise ValueError(f"fixed parameters must be finite numbers, got {fixed}.")
    return {name: np.asarray(value).item() for name, value in fixed.items()}


def by_moments(p, family, fixed, factors, key, num_draws) -> Found:
    matched = match_moments(p, family, fixed, key, num_draws)
    members = members_of.members_like(family, fixed, matched.params, factors)
    q = members.member(matched.params)
    check_kind(p, q)
    divergence = divergence_between(p, q, key, num_draws)
    if np.isposinf(divergence.value):
        raise ValueError(
            f"KL(p||q) is infinite for every {family.name}: p has probability where the family has none. Choose a"
            " family whose support holds p's."
        )
    return Found(
        matched.params, q, divergence, True, matched.status, matched.method, matched.standard_errors,
        minima=((divergence.value, matched.params),),
    )  # fmt: skip


def check_kind(p, q):
    discrete = p.is_discrete if isinstance(p, Distribution) else True
    if discrete != q.is_discrete:
        kinds = ["discrete" if kind else "continuous" for kind in (discrete, q.is_discrete)]
        raise ValueError(f"p is {kinds[0]} and the family is {kinds[1]}: a pmf and a density cannot be compared.")


def divergence_between(p, q, key, num_draws) -> Estimate:
    """Return KL(p||q) in closed form, by a sum over nodes, or by the best estimate there is."""
    if isinstance(p, Distribution):
        try:
            return Estimate(kl_divergence(p, q))
        except NoClosedForm:
            pass
        if p.event_shape:
            return estimate_kl(p, q, key=key, num_draws=num_draws)
    try:
        return sums.node_estimate(p, q, "forward")
    except NotApplicable:
        return estimate_kl(p, q, key=key, num_draws=num_draws)


def nodes_or_none(p):
    if not isinstance(p, Distribution):
        return nodes_of_pmf(p)
    try:
        return nodes_of(p)
    except NotApplicable:  # a closed form may not need them
        return None


def by_descent(p, family, fixed, factors, direction, max_steps) -> Found:
    nodes = nodes_or_none(p)
    given = {name: fixed[name] for name in family.given}
    starts = members_of.starts_of(p, family, given, nodes)
    members = members_of.members_like(family, fixed, starts[0], factors)
    q = members.member({name: starts[0][name] for name, _ in members.shapes})
    check_kind(p, q)
    rule, data, how = sums.choose_rule(p, nodes, q, direction)
    minimum, minima = members_of.nearest(members, rule, data, direction, starts, max_steps)
    params = members.params(minimum.z)
    q = members.member(params)
    divergence = Estimate(minimum.value)
    if rule is sums.sum_over_nodes:
        divergence = sums.node_estimate(p, q, direction)
    elif rule is sums.sum_over_normal_points:
        divergence = sums.normal_points_estimate(q, p)
    begun = "" if len(starts) == 1 else f" Begun from {len(starts)} starts."
    return Found(
        params, q, divergence, minimum.converged, minimum.status + begun, f"descent on the divergence ({how})",
        minima=tuple((m.value, members.params(m.z)) for m in minima),
    )  # fmt: skip
