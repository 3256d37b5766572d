"""Summation: KL over a finite support, or by quadrature on the line.

Both are deterministic, run in float64, and add up p itself beside the divergence: a support or a range that
misses part of p raises `NotApplicable` instead of giving a wrong number.
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution

from vi_kl.core.compilation import compiled
from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import in_float64
from vi_kl.divergences.analytic.categorical import logits_kl
from vi_kl.divergences.density import log_density
from vi_kl.divergences.estimators.normalisation import check_normalised, is_plain, not_normalised
from vi_kl.divergences.estimators.quadrature import (
    NotApplicable,
    NotConverged,
    integrate,
    line_of,
    log_densities_on_the_line,
    panel_edges,
)
from vi_kl.divergences.region import is_discrete
from vi_kl.divergences.registry import describe

__all__ = ["NotApplicable", "NotConverged", "enumerate_kl", "log_density", "quadrature_kl"]

MISSED = 1e-8  # the largest part of p that quadrature may miss
UNSETTLED = 1e-6  # the largest relative error that counts as an answer
WRONG = 0.05  # an error in a mass that settled, too large for a part that was missed
UNNORMALISED = 1e-5  # the largest error in the sum of a pmf: NumPyro's BetaBinomial is off by 6e-7


exact_sum = compiled(logits_kl)


@in_float64
def enumerate_kl(p: Distribution, q: Distribution) -> Estimate:
    """Compute KL(p||q) as the exact sum over p's finite support.

    Raises:
        NotApplicable: p has no finite support of single values.
    """
    log_p, log_q, held = pmf_on_support(p, q)
    shared = float(jnp.exp(log_q).sum())
    elsewhere = jnp.log(1 - shared) if 1 - shared > 1e-12 else -jnp.inf  # q's probability outside p's support
    value = float(exact_sum(jnp.append(log_p, -jnp.inf), jnp.append(log_q, elsewhere)))
    error = (abs(held - 1) + normalisation_error(q)) * (1 + value)
    return Estimate(value, error if 1e-12 < error < math.inf else 0.0, f"exact sum over {log_p.size} values")


def pmf_on_support(p, q):
    """Return the log pmfs of p and q over p's finite support, and their sum for p."""
    if not p.has_enumerate_support or p.event_shape != ():
        raise NotApplicable(f"{describe(p)} has no finite support of single values.")
    log_p, log_q = log_densities(p, q, p.enumerate_support(expand=False))
    held = float(jnp.exp(log_p).sum())
    if abs(held - 1) > WRONG:
        raise not_normalised("p", p, held)
    if not abs(held - 1) <= UNNORMALISED:
        raise NotApplicable(f"the support that {describe(p)} enumerates holds {held:.8g} of it, not 1.")
    return log_p, log_q, held


def normalisation_error(distribution):
    """Return how far a pmf on a finite support is from adding up to 1; 0 if its support cannot be enumerated.

    Raises:
        NotNormalised: the sum is too far from 1 for rounding.
    """
    if not distribution.has_enumerate_support:
        check_normalised(q=distribution)
        return 0.0
    log_pmf, _ = log_densities(distribution, distribution, distribution.enumerate_support(expand=False))
    total = float(jnp.exp(log_pmf).sum())
    if not abs(total - 1) <= WRONG:
        raise not_normalised("q", distribution, total)
    return abs(total - 1)


@in_float64
def quadrature_kl(p: Distribution, q: Distribution) -> Estimate:
    """Compute KL(p||q) of two densities on the line by Gauss-Legendre quadrature, adapted to p.

    The standard error is the method's own error estimate: the change by the last halving of the panels, the part in the
    outermost ones, the part of p missed, and rounding.

    Raises:
        NotApplicable: p is not a density of one variable.
        NotConverged: the integral did not settle; it may be infinite.
    """
    require_density_on_the_line(p)
    densities = functools.partial(log_densities_on_the_line, p, q, line_of(p))
    integrals, errors, nodes = integrate(densities, kl_integrands, panel_edges(p, jumps_of=(q,)), smallest=1.0)
    (mass, value, uncovered), (mass_error, error, _) = integrals, errors
    method = f"quadrature with {nodes:,} nodes"
    reject_wrong_mass("p", p, mass, mass_error)
    check_mass("q", q)
    if uncovered > MISSED:
        return Estimate(np.inf, 0.0, f"{method}: p has density where q has none")
    missed = abs(1 - mass)
    if not (missed <= MISSED and error <= UNSETTLED * (1 + abs(value))):
        raise NotConverged(
            f"quadrature did not converge ({mass:.8g} of p's mass, {value:.6g} with an error of {error:.1g}), as"
            " where the divergence is infinite"
        )
    return Estimate(value, error + (missed + 1e-15) * (1 + abs(value)), method)


def reject_wrong_mass(name, distribution, mass, error) -> None:
    """Raise NotNormalised if the integral of a density settled on a number that is far from 1."""
    if not is_plain(distribution) and abs(mass - 1) > WRONG and error < UNSETTLED * (1 + mass):
        raise not_normalised(name, distribution, mass)


def check_mass(name, distribution) -> None:
    """Check that the integral of a density over its own line is 1.

    Raises:
        NotNormalised: the integral settled on another number.
        NotConverged: the integral did not settle, or settled so close to 1 that a part may have been missed.
    """
    if is_plain(distribution):
        return
    densities = functools.partial(log_densities_on_the_line, distribution, distribution, line_of(distribution))
    (mass,), (error,), _ = integrate(densities, lambda log_p, _: np.exp(log_p)[None], panel_edges(distribution))
    reject_wrong_mass(name, distribution, mass, error)
    if abs(mass - 1) > UNSETTLED:
        raise NotConverged(f"quadrature did not converge ({mass:.8g} of the mass of {name}, {describe(distribution)})")


def require_density_on_the_line(p):
    if p.event_shape != () or is_discrete(p):
        raise NotApplicable(f"{describe(p)} is not a density of one variable.")


def kl_integrands(log_p, log_q):
    """Return p itself, p log(p/q), and p where q is zero."""
    mass = np.exp(log_p)
    covered = (mass > 0) & (log_q > -np.inf)
    log_ratio = np.subtract(log_p, log_q, where=covered, out=np.zeros_like(log_p))
    return np.stack([mass, mass * log_ratio, np.where(log_q == -np.inf, mass, 0.0)])


@compiled
def log_densities(p, q, x):
    return log_density(p, x), log_density(q, x)
