"""Integrals over one variable of functions of two log densities: Gauss-Legendre panels that adapt.

The line is the unconstrained one that p's support maps to. Panels lie between quantiles of draws, so that narrow
and distant modes are resolved, grow geometrically into the tails, and are halved until nothing changes. What is
integrated is given as a function of log p and log q, and several integrals share one evaluation of the densities.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import biject_to

from vi_kl.core.compilation import compiled
from vi_kl.divergences.density import log_density
from vi_kl.divergences.registry import describe
from vi_kl.divergences.unconstrained import ends_inside, values_of

NODES = 20  # Gauss-Legendre nodes per panel
BLOCK = 128  # panels evaluated at a time, so that one compiled program serves every round
ROUNDS = 40  # halvings of a panel, down to 1e-12 of its width
TAIL_PANELS = 50
TAIL_GROWTH = 1.6  # each tail panel is that much wider than the one before: fifty reach 1e10 times the first
TOLERANCE = 1e-13  # a panel is halved again if halving changes more than this, relative to the integral
MOST_PANELS = 10_000


class NotApplicable(ValueError):
    """An error: the method cannot give this divergence; the message says why."""


class NotConverged(NotApplicable):
    """An error: the sum did not settle, as happens if the divergence is infinite."""


def integrate(densities: Callable, integrands: Callable, edges: np.ndarray, smallest: float = 0.0):
    """Integrate over all panels, which are halved until the integrals settle.

    Args:
        densities: a function from an array of points to the log densities of p and of q there.
        integrands: a function from these two arrays to the functions to integrate, stacked on a new first axis.
        edges: the edges of the panels, in ascending order.
        smallest: a size; a smaller integral needs only the absolute accuracy of one of this size, for
            integrands that change sign.

    Returns:
        The integrals; how far each may be off, which is what halving still changed and what the outermost panels
        hold; and the number of nodes.

    Raises:
        NotConverged: an integrand leaves the floating range.
    """
    left, right = edges[:-1], edges[1:]
    sums = integrate_panels(densities, integrands, left, right)
    error = np.abs(sums[[0, 1, -2, -1]]).sum(0)
    total, panels = np.zeros(sums.shape[1]), len(left)
    for _ in range(ROUNDS):
        middle = (left + right) / 2
        left, right = np.stack([left, middle], -1), np.stack([middle, right], -1)
        halves = integrate_panels(densities, integrands, left.ravel(), right.ravel()).reshape(*left.shape, -1)
        panels += left.size
        change = np.abs(halves.sum(1) - sums)
        tolerance = TOLERANCE * np.maximum(np.abs(total + halves.sum((0, 1))), smallest)
        again = (change > tolerance).any(-1) & (panels < MOST_PANELS)
        total += halves[~again].sum((0, 1))
        error += change[~again].sum(0)
        left, right, sums = left[again].ravel(), right[again].ravel(), halves[again].reshape(-1, len(total))
        if not len(left):
            break
    return total + sums.sum(0), error, panels * NODES


def integrate_panels(densities, integrands, left, right) -> np.ndarray:
    """Return the integrals of each panel, of shape (panels, integrands)."""
    blocks = []
    for start in range(0, len(left), BLOCK):
        low, high = (np.pad(x[start : start + BLOCK], (0, max(0, start + BLOCK - len(left)))) for x in (left, right))
        blocks.append(integrate_block(densities, integrands, low, high))
    return np.concatenate(blocks)[: len(left)]


def integrate_block(densities, integrands, low, high):
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    half = (high - low)[:, None] / 2
    log_p, log_q = (np.asarray(x) for x in densities((low + high)[:, None] / 2 + half * nodes))
    if np.isnan(log_p).any() or np.isnan(log_q).any():
        raise NotApplicable("a log density is NaN inside p's support.")
    with np.errstate(over="ignore", invalid="ignore"):  # judged below
        integrals = (integrands(log_p, log_q) * (half * weights)).sum(-1).T
    if not np.isfinite(integrals).all():
        raise NotConverged("quadrature did not converge: the density ratios leave the floating range.")
    return integrals


def panel_edges(p, *others, jumps_of=()) -> np.ndarray:
    """Return panel edges on the unconstrained line of p: quantiles of pooled draws, and geometrically growing tails.

    The density of another distribution may jump where its support ends: there has to be an edge.

    Args:
        p: the distribution whose support defines the line.
        others: distributions whose modes inside p's support are to be resolved too.
        jumps_of: distributions whose supports' ends become edges too.
    """
    line = line_of(p)
    draws = np.concatenate([np.asarray(unconstrained_draws(line, d, jax.random.key(0))) for d in (p, *others)])
    draws = draws[np.isfinite(draws)]
    if len(np.unique(draws)) < 64:
        raise NotApplicable(f"{describe(p)} does not spread over its support enough to be integrated.")
    inner = np.unique(np.quantile(draws, np.linspace(0, 1, 64 * (1 + len(others)) + 1)))
    widths = TAIL_GROWTH ** np.arange(TAIL_PANELS) * (inner[-1] - inner[0]) / 16
    reach = np.cumsum(widths)
    jumps = [edge for other in (p, *others, *jumps_of) for edge in ends_of_support(line, other)]
    return graded(np.unique(np.concatenate([inner[0] - reach[::-1], inner, inner[-1] + reach, jumps])))


def line_of(p):
    """Return the interval of p's values, which the unconstrained line is mapped to.

    NotApplicable is raised if it is unknown.
    """
    line = values_of(p)
    if line is None:
        raise NotApplicable(f"where {describe(p)} has its density is not known.")
    return line


def ends_of_support(line, other) -> list[float]:
    """Return where pieces of the support of `other` end inside an interval, on that interval's unconstrained line."""
    ends = ends_inside(other, line)
    images = np.asarray(biject_to(line).inv(jnp.asarray(ends, dtype=float)))
    return images[np.isfinite(images)].tolist()


def graded(edges: np.ndarray) -> np.ndarray:
    """Return more edges where a panel is much wider than its neighbour, so that a mode's flank beside a gap is seen."""
    for backwards in (False, True):
        edges = -edges[::-1] if backwards else edges
        kept = list(edges[:2])
        for edge in edges[2:]:
            while edge - kept[-1] > 4 * (kept[-1] - kept[-2]):
                kept.append(kept[-1] + TAIL_GROWTH * (kept[-1] - kept[-2]))
            kept.append(edge)
        edges = -np.array(kept)[::-1] if backwards else np.array(kept)
    return edges


@compiled
def log_densities_on_the_line(p, q, line, z):
    """Return the log densities of p and of q at z, both over the unconstrained line that an interval is mapped to."""
    bijection = biject_to(line)
    x = bijection(z)
    # beyond the largest number there is nothing to integrate, and log densities may be NaN
    log_jacobian = jnp.where(jnp.isfinite(x), bijection.log_abs_det_jacobian(z, x), -jnp.inf)
    x = jnp.where(jnp.isfinite(x), x, bijection(jnp.zeros_like(z)))
    return log_density(p, x) + log_jacobian, log_density(q, x) + log_jacobian


@compiled
def unconstrained_draws(line, drawn, key):
    """Return draws of `drawn` on the unconstrained line of an interval; NaN for those outside it."""
    draws = drawn.sample(key, (1024,))
    return jnp.where(line(draws), biject_to(line).inv(draws), jnp.nan)
