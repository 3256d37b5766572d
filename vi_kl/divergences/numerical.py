"""KL divergences by adding up: over a finite support, or by quadrature on the line.

Both are deterministic, run in float64, and add up p itself beside the divergence: a support or a range that
misses part of p raises `NotApplicable` instead of giving a wrong number.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution, biject_to

from vi_kl.compilation import compiled
from vi_kl.divergences.analytic.categorical import logits_kl
from vi_kl.divergences.registry import describe
from vi_kl.estimate import Estimate
from vi_kl.precision import in_float64

NODES = 20  # Gauss-Legendre nodes per panel
BLOCK = 128  # panels evaluated at a time, so that one compiled program serves every round
ROUNDS = 40  # halvings of a panel, down to 1e-12 of its width
TAIL_PANELS = 50
TAIL_GROWTH = 1.6  # each tail panel is that much wider than the one before: fifty reach 1e10 times the first
TOLERANCE = 1e-13  # what halving a panel may change before it is halved again
MOST_PANELS = 10_000
MISSED = 1e-8  # the largest part of p that quadrature may miss
UNSETTLED = 1e-6  # the largest relative error that counts as an answer
UNNORMALISED = 1e-5  # the largest error in the sum of a pmf: NumPyro's BetaBinomial is off by 6e-7


exact_sum = compiled(logits_kl)


class NotApplicable(ValueError):
    """The method cannot give this divergence; the message says why."""


class NotConverged(NotApplicable):
    """The sum did not settle, as happens where the divergence is infinite."""


@in_float64
def enumerate_kl(p: Distribution, q: Distribution) -> Estimate:
    """KL(p||q) as the exact sum over p's finite support.

    Raises:
        NotApplicable: p has no finite support of single values.
    """
    if not p.has_enumerate_support or p.event_shape != ():
        raise NotApplicable(f"{describe(p)} has no finite support of single values.")
    support = p.enumerate_support(expand=False)
    log_p, log_q = log_densities(p, q, support)
    held, shared = float(jnp.exp(log_p).sum()), float(jnp.exp(log_q).sum())
    if not abs(held - 1) <= UNNORMALISED:
        raise NotApplicable(f"the support that {describe(p)} enumerates holds {held:.8g} of it, not 1.")
    elsewhere = jnp.log(1 - shared) if 1 - shared > 1e-12 else -jnp.inf  # q's probability outside p's support
    value = float(exact_sum(jnp.append(log_p, -jnp.inf), jnp.append(log_q, elsewhere)))
    error = (abs(held - 1) + normalisation_error(q)) * (1 + value)
    return Estimate(value, error if 1e-12 < error < math.inf else 0.0, f"exact sum over {support.size} values")


def normalisation_error(distribution):
    """How far a pmf on a finite support is from adding up to 1; 0 where its support cannot be enumerated."""
    if not distribution.has_enumerate_support:
        return 0.0
    log_pmf, _ = log_densities(distribution, distribution, distribution.enumerate_support(expand=False))
    return abs(float(jnp.exp(log_pmf).sum()) - 1)


@in_float64
def quadrature_kl(p: Distribution, q: Distribution) -> Estimate:
    """KL(p||q) of two densities on the line by Gauss-Legendre quadrature, adapted to p.

    The integral runs over the unconstrained line; its panels lie between quantiles of p, so that narrow and
    distant modes are resolved too, and grow geometrically into the tails. The standard error is the method's own
    error estimate: the difference to panels twice as wide, the part of p missed, and rounding.

    Raises:
        NotApplicable: p is no density of one variable.
        NotConverged: the integral did not settle; it may be infinite.
    """
    if p.event_shape != () or p.is_discrete:
        raise NotApplicable(f"{describe(p)} is no density of one variable.")
    (mass, value, uncovered), error, nodes = integrate(
        functools.partial(log_densities_on_the_line, p, q), panel_edges(p)
    )
    method = f"quadrature with {nodes:,} nodes"
    if uncovered > MISSED:
        return Estimate(np.inf, 0.0, f"{method}: p has density where q has none")
    missed = abs(1 - mass)
    if not (missed <= MISSED and error <= UNSETTLED * (1 + abs(value))):
        raise NotConverged(
            f"quadrature did not converge ({mass:.8g} of p's mass, {value:.6g} with an error of {error:.1g}), as"
            " where the divergence is infinite"
        )
    return Estimate(value, error + (missed + 1e-15) * (1 + abs(value)), method)


def integrate(densities, edges):
    """The three integrals of `integrate_panels` over all panels, halved until they settle.

    Returns:
        The integrals; how far that of p log(p/q) may be off: what halving still changed, and what the outermost
        panels hold; and the number of nodes.
    """
    left, right = edges[:-1], edges[1:]
    sums = integrate_panels(densities, left, right)
    error = np.abs(sums[[0, 1, -2, -1], 1]).sum()
    total, panels = np.zeros(3), len(left)
    for _ in range(ROUNDS):
        middle = (left + right) / 2
        left, right = np.stack([left, middle], -1), np.stack([middle, right], -1)
        halves = integrate_panels(densities, left.ravel(), right.ravel()).reshape(*left.shape, 3)
        panels += left.size
        change = np.abs(halves.sum(1) - sums).max(-1)
        again = (change > TOLERANCE) & (panels < MOST_PANELS)
        total += halves[~again].sum((0, 1))
        error += change[~again].sum()
        left, right, sums = left[again].ravel(), right[again].ravel(), halves[again].reshape(-1, 3)
        if not len(left):
            break
    return total + sums.sum(0), error, panels * NODES


def log_density(distribution, x):
    """The log density at x; -inf outside the support, where NumPyro's may be any number."""
    return jnp.where(distribution.support(x), distribution.log_prob(x), -jnp.inf)


@compiled
def log_densities(p, q, x):
    return log_density(p, x), log_density(q, x)


@compiled
def log_densities_on_the_line(p, q, z):
    """The log densities of p and of q at z, both over the unconstrained line that p's support maps to."""
    bijection = biject_to(p.support)
    x = bijection(z)
    # beyond the largest number there is nothing to integrate, and log densities may be NaN
    log_jacobian = jnp.where(jnp.isfinite(x), bijection.log_abs_det_jacobian(z, x), -jnp.inf)
    x = jnp.where(jnp.isfinite(x), x, bijection(jnp.zeros_like(z)))
    return log_density(p, x) + log_jacobian, log_density(q, x) + log_jacobian


@compiled
def unconstrained_draws(p, key):
    return biject_to(p.support).inv(p.sample(key, (1024,)))


def panel_edges(p) -> np.ndarray:
    """Panel edges on the unconstrained line: the quantiles of p's draws, and tails growing geometrically."""
    draws = np.asarray(unconstrained_draws(p, jax.random.key(0)))
    draws = draws[np.isfinite(draws)]
    if len(np.unique(draws)) < 64:
        raise NotApplicable(f"{describe(p)} does not spread over its support enough to be integrated.")
    inner = np.unique(np.quantile(draws, np.linspace(0, 1, 65)))
    widths = TAIL_GROWTH ** np.arange(TAIL_PANELS) * (inner[-1] - inner[0]) / 16
    reach = np.cumsum(widths)
    return graded(np.concatenate([inner[0] - reach[::-1], inner, inner[-1] + reach]))


def graded(edges: np.ndarray) -> np.ndarray:
    """More edges where a panel is much wider than its neighbour, so that a mode's flank beside a gap is seen."""
    for backwards in (False, True):
        edges = -edges[::-1] if backwards else edges
        kept = list(edges[:2])
        for edge in edges[2:]:
            while edge - kept[-1] > 4 * (kept[-1] - kept[-2]):
                kept.append(kept[-1] + TAIL_GROWTH * (kept[-1] - kept[-2]))
            kept.append(edge)
        edges = -np.array(kept)[::-1] if backwards else np.array(kept)
    return edges


def integrate_panels(densities, left, right) -> np.ndarray:
    """Per panel: the integrals of p, of p log(p/q), and of p where q is zero; shape (panels, 3)."""
    blocks = []
    for start in range(0, len(left), BLOCK):
        low, high = (np.pad(x[start : start + BLOCK], (0, max(0, start + BLOCK - len(left)))) for x in (left, right))
        blocks.append(integrate_block(densities, low, high))
    return np.concatenate(blocks)[: len(left)]


def integrate_block(densities, low, high):
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    half = (high - low)[:, None] / 2
    log_p, log_q = (np.asarray(x) for x in densities((low + high)[:, None] / 2 + half * nodes))
    if np.isnan(log_p).any() or np.isnan(log_q).any():
        raise NotApplicable("a log density is NaN inside p's support.")
    mass = np.exp(log_p) * half * weights
    covered = (mass > 0) & (log_q > -np.inf)
    log_ratio = np.subtract(log_p, log_q, where=covered, out=np.zeros_like(log_p))
    uncovered = np.where(log_q == -np.inf, mass, 0.0)
    return np.stack([mass.sum(-1), (mass * log_ratio).sum(-1), uncovered.sum(-1)], axis=-1)
