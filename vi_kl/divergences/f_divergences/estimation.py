"""Estimates of f-divergences by closed form, exact sum, quadrature, or draws, each with its error."""

import dataclasses
import functools
import math

import numpy as np
from numpyro.distributions import Distribution

from vi_kl.core.annotations import KeyLike, PmfLike
from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import as_key
from vi_kl.divergences.compatibility import check_one_pair, check_same_kind
from vi_kl.divergences.discrete import as_pmfs
from vi_kl.divergences.estimators.numerical import (
    MISSED,
    UNSETTLED,
    check_mass,
    normalisation_error,
    pmf_on_support,
    reject_wrong_mass,
    require_density_on_the_line,
)
from vi_kl.divergences.estimators.quadrature import (
    NotApplicable,
    NotConverged,
    integrate,
    line_of,
    log_densities_on_the_line,
    panel_edges,
)
from vi_kl.divergences.f_divergences import f_divergence, finite
from vi_kl.divergences.f_divergences.generators import Generator, generator, interior
from vi_kl.divergences.f_divergences.sampling import monte_carlo
from vi_kl.divergences.given_parameters import with_float64_parameters
from vi_kl.divergences.kl import are_distributions
from vi_kl.divergences.registry import NoClosedForm, describe, reject_invalid

METHODS = ("closed_form", "enumeration", "quadrature", "monte_carlo")
ROUNDING = 1e-15  # of an integrand, relative to the densities


def estimate_f_divergence(
    p: Distribution | PmfLike,
    q: Distribution | PmfLike,
    kind: str,
    *,
    order: float | None = None,
    alpha: float | None = None,
    key: KeyLike | None = None,
    method: str = "auto",
    num_draws: int = 100_000,
    base: int | None = None,
) -> Estimate:
    """Estimate an f-divergence of one pair by the best method there is, with its error and the method's name.

    The methods are tried in this order: the closed form, the exact sum over a finite support, quadrature for densities
    of one variable, and the Monte Carlo mean over draws, half from p and half from q. They run in float64.

    Args:
        p: a NumPyro distribution without batch dimensions, or a one-dimensional pmf array.
        q: the same kind, over the same space or support.
        kind: "jensen_shannon", "total_variation", "squared_hellinger", "hellinger", "bhattacharyya",
            "chi_squared", "renyi" (with order=) or "alpha" (with alpha=), as the functions of these names define
            them.
        order: the order of Renyi's or the alpha divergence, a plain finite number.
        alpha: likewise.
        key: a JAX random key; only Monte Carlo needs one.
        method: "auto", or one of "closed_form", "enumeration", "quadrature", "monte_carlo".
        num_draws: the number of draws for Monte Carlo.
        base: 2 for bits, None for nats; for divergences that are information only.

    Returns:
        An Estimate. Its standard error is 0 for the exact methods, quadrature's own error estimate, or the Monte
        Carlo standard error; its unit is "" if the divergence has none.

    Raises:
        ValueError: the kind or method is unknown, a plain number gets a base, there are batch dimensions, or a key is
            missing.
        NoClosedForm, NotApplicable: the method asked for cannot give this divergence.
    """
    divergence = generator(kind, order, alpha)
    if method != "auto" and method not in METHODS:
        raise ValueError(f"method must be 'auto' or one of {', '.join(map(repr, METHODS))}, not {method!r}.")
    check_base(base, divergence)
    if are_distributions(p=p, q=q):
        estimate = from_distributions(p, q, divergence, (kind, order, alpha), key, method, num_draws)
    else:
        estimate = from_pmfs(p, q, divergence, method)
    estimate = estimate.as_divergence()
    return estimate.to("bits") if base == 2 else estimate


def check_base(base, divergence):
    if base not in (None, 2):
        raise ValueError(f"base must be 2 for bits or None for nats, got {base!r}.")
    if base == 2 and divergence.unit != "nats":
        raise ValueError(f"The {divergence.name} is a plain number, not information: it has no base.")


def from_pmfs(p, q, divergence, method):
    if method not in ("auto", "enumeration"):
        raise ValueError(f"method {method!r} is for distributions; pmf arrays are summed exactly.")
    value = finite.f_divergence(divergence, *as_pmfs(-1, False, p=p, q=q))
    if np.ndim(value):
        raise ValueError(f"estimate_f_divergence takes one pair at a time, but the batch shape is {np.shape(value)}.")
    return Estimate(value, 0.0, f"exact sum over {np.shape(p)[-1]} values", divergence.unit)


@in_float64
def from_distributions(p, q, divergence, asked, key, method, num_draws):
    check_one_pair(p, q, "estimate_f_divergence")
    reject_invalid(p=p, q=q)
    check_same_kind(p, q)
    p, q = (with_float64_parameters(distribution) for distribution in (p, q))
    by_method = {
        "closed_form": lambda: Estimate(f_divergence.closed_form(asked[0], p, q, *asked[1:]), unit=divergence.unit),
        "enumeration": lambda: enumerate_support(p, q, divergence),
        "quadrature": lambda: by_quadrature(p, q, divergence),
        "monte_carlo": lambda: by_monte_carlo(p, q, divergence, key, num_draws),
    }
    if method != "auto":
        return by_method[method]()
    for attempt in METHODS[:-1]:
        try:
            return by_method[attempt]()
        except (NoClosedForm, NotApplicable) as failure:
            reason = failure
    estimate = by_method["monte_carlo"]()
    if isinstance(reason, NotConverged):
        return dataclasses.replace(estimate, method=f"{estimate.method}; {reason}")
    return estimate


def enumerate_support(p: Distribution, q: Distribution, divergence: Generator) -> Estimate:
    """Compute the exact sum over p's finite support, plus the contribution of q's probability outside it."""
    log_p, log_q, held = pmf_on_support(p, q)
    log_p, log_q = np.asarray(log_p), np.asarray(log_q)
    with np.errstate(over="ignore"):
        terms = interior(divergence, log_p, log_q).sum(-1)
    p_outside = np.exp(log_p[np.isneginf(log_q)]).sum()
    q_outside = 1 - np.exp(log_q[log_p > -np.inf]).sum()
    value = divergence.value(with_outsides(divergence, terms, p_outside, q_outside if q_outside > 1e-12 else 0.0))
    error = (abs(held - 1) + normalisation_error(q)) * (1 + abs(value))
    certain = not 1e-12 < error < math.inf
    return Estimate(value, 0.0 if certain else error, f"exact sum over {log_p.size} values", divergence.unit)


def with_outsides(divergence, terms, p_outside, q_outside):
    """Return the integrals of the terms, plus the contributions of p where q is zero and of q where p is."""
    alone = zip(terms, divergence.p_alone, divergence.q_alone, strict=True)
    return [term + finite.times(by_p, p_outside) + finite.times(by_q, q_outside) for term, by_p, by_q in alone]


def by_quadrature(p: Distribution, q: Distribution, divergence: Generator) -> Estimate:
    """Integrate over the line of p's support, with panels that resolve both p and q.

    Both masses are added up beside the divergence. q's part outside p's support is integrated over q's own
    line. If a part of p or q is found on neither line, it was missed, and there is no answer.
    """
    require_density_on_the_line(p)
    check_mass("q", q)
    densities = functools.partial(log_densities_on_the_line, p, q, line_of(p))
    integrals, errors, nodes = integrate(densities, functools.partial(columns, divergence), panel_edges(p, q))
    (p_mass, q_mass, p_outside), terms = integrals[:3], integrals[3:]
    reject_wrong_mass("p", p, p_mass, errors[0])
    q_outside = outside(q, p) if abs(1 - q_mass) > MISSED else 0.0
    p_outside = p_outside if p_outside > MISSED else 0.0
    method = f"quadrature with {nodes:,} nodes"
    value = float(divergence.value(with_outsides(divergence, terms, p_outside, q_outside)))
    if math.isinf(value):
        return Estimate(value, 0.0, f"{method}: one has density where the other has none", divergence.unit)
    missed = max(abs(1 - p_mass), abs(1 - q_mass - q_outside))
    error = float(divergence.error(with_outsides(divergence, terms, p_outside, q_outside), errors[3:] + ROUNDING))
    if not (missed <= MISSED and error <= UNSETTLED * (1 + abs(value))):
        raise NotConverged(
            f"quadrature did not converge ({p_mass:.8g} of p's mass, {q_mass + q_outside:.8g} of q's, {value:.6g} with"
            f" an error of {error:.1g}), as where the divergence is infinite"
        )
    return Estimate(value, error + missed * (1 + abs(value)), method, divergence.unit)


def columns(divergence, log_p, log_q):
    """Return p itself, q, p where q is zero, and the terms of the divergence."""
    p = np.exp(log_p)
    return np.stack([p, np.exp(log_q), np.where(np.isneginf(log_q), p, 0.0), *interior(divergence, log_p, log_q)])


def outside(inner: Distribution, outer: Distribution) -> float:
    """Return the part of `inner` that lies where `outer` has no density."""
    densities = functools.partial(log_densities_on_the_line, inner, outer, line_of(inner))
    (found,), _, _ = integrate(densities, alone_column, panel_edges(inner, jumps_of=(outer,)))
    return found


def alone_column(log_inner, log_outer):
    return np.where(np.isneginf(log_outer), np.exp(log_inner), 0.0)[None]


def by_monte_carlo(p, q, divergence, key, num_draws):
    if key is None:
        raise ValueError(
            f"The {divergence.name} between {describe(p)} and {describe(q)} is estimated from random draws: pass"
            " key=jax.random.key(0), say."
        )
    return monte_carlo(p, q, divergence, as_key(key), num_draws)
