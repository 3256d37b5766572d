"""The divergence of a member as a deterministic function of it: what a descent minimises.

Its closed form where there is one; else its sum over fixed nodes of p (one number), or over points of q that move
with q (normal members over vectors).
"""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import Distribution, biject_to

from vi_kl.compilation import compiled
from vi_kl.divergences.kl import kl_divergence
from vi_kl.divergences.nearest.nodes import Nodes, nodes_of, nodes_of_pmf
from vi_kl.divergences.registry import NoClosedForm, describe
from vi_kl.estimate import Estimate

SEEN = 1e-6  # the part of q that the nodes of p may miss before the sum over them is no divergence
HERMITE = {1: 400, 2: 100, 3: 24}  # points per axis, by dimension
SOBOL = 2048  # quasi-random points in more dimensions, and as many opposite ones
REPLICATES = 16
NEGLIGIBLE = 1e-20  # weight of a point
ROUNDING = 1e-14  # in a sum over thousands of nodes


def closed_form(q, p, direction):
    return kl_divergence(p, q) if direction == "forward" else kl_divergence(q, p)


@compiled(static=("direction",))
def sum_over_nodes(q, nodes, direction):
    """The divergence over p's nodes; +inf where they do not see all of q, so that q cannot hide between them."""
    x, log_p, log_weight = nodes
    inside = q.support(x)
    # outside its support q may have a NaN for a gradient, which `where` alone would not keep out
    safe = jnp.where(inside, x, jnp.zeros_like(x) if q.is_discrete else biject_to(q.support)(jnp.zeros_like(x)))
    log_q = jnp.where(inside, q.log_prob(safe), -jnp.inf)
    if direction == "forward":
        mass = jnp.exp(log_p + log_weight)
        return jnp.where(mass > 0, mass * (log_p - log_q), 0.0).sum()
    reached = (log_p > -jnp.inf) & (log_q > -jnp.inf)
    mass = jnp.exp(jnp.where(log_q > -jnp.inf, log_q, -1e4) + jnp.where(log_weight > -jnp.inf, log_weight, -1e4))
    ratio = jnp.where(reached, log_q, 0.0) - jnp.where(reached, log_p, 0.0)
    outside = jnp.where(reached, 0.0, mass).sum()
    seen = (jnp.abs(mass.sum() - 1) < SEEN) & (outside < 1e-300)
    return jnp.where(seen, (mass * ratio).sum(), jnp.inf)


@compiled(static=("direction",))
def sum_over_normal_points(q, data, direction):
    """E_q[log q - log p] over q's own points, which move with q; only the reverse direction needs it."""
    p, points, weights = data
    if isinstance(q, dist.MultivariateNormal):
        x, log_volume = q.loc + points @ q.scale_tril.T, jnp.log(jnp.diagonal(q.scale_tril)).sum()
    else:
        x, log_volume = q.base_dist.loc + points * q.base_dist.scale, jnp.log(q.base_dist.scale).sum()
    entropy = points.shape[-1] / 2 * (1 + jnp.log(2 * jnp.pi)) + log_volume
    return -entropy - weights @ p.log_prob(x)


def normal_points(dimension, fewer=0, seed=0):
    """Points of a standard normal and their weights: Gauss-Hermite on a grid, or quasi-random in many dimensions."""
    if dimension not in HERMITE:
        from scipy.stats import qmc  # slow to import, and seldom needed

        points = qmc.MultivariateNormalQMC(np.zeros(dimension), seed=seed).random(SOBOL)
        points = np.concatenate([points, -points])
        points = np.linalg.solve(np.linalg.cholesky(points.T @ points / len(points)), points.T).T
        return points, np.full(len(points), 1 / len(points))
    at, weights = np.polynomial.hermite_e.hermegauss(HERMITE[dimension] - fewer)
    points = np.stack(np.meshgrid(*[at] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    weights = np.prod(np.meshgrid(*[weights / weights.sum()] * dimension, indexing="ij"), axis=0).ravel()
    kept = weights > NEGLIGIBLE
    return points[kept], weights[kept]


def choose_rule(p, nodes: Nodes | None, q, direction):
    """What to minimise: the function, its data, and its name.

    Raises:
        NoClosedForm: there is no deterministic way.
    """
    if not isinstance(p, np.ndarray):
        try:
            closed_form(q, p, direction)
            return closed_form, p, "closed form"
        except NoClosedForm:
            pass
    if nodes is not None:
        return sum_over_nodes, nodes.padded(), f"fixed {nodes.method}"
    normal = isinstance(q, dist.MultivariateNormal) or isinstance(getattr(q, "base_dist", None), dist.Normal)
    if direction == "reverse" and normal:
        points, weights = normal_points(q.event_shape[0])
        kind = "Gauss-Hermite" if q.event_shape[0] in HERMITE else "quasi-random"
        return sum_over_normal_points, (p, points, weights), f"fixed sum over {len(points):,} {kind} points of q"
    raise NoClosedForm(
        f"The divergence of {describe(p)} and {describe(q)} has no closed form and no sum over fixed nodes. Reverse"
        " projections of vectors onto Normal and MultivariateNormal work; so does a function family with a closed"
        " form."
    )


def node_estimate(p, q, direction) -> Estimate:
    """The divergence over p's nodes, with what halving the panels changes as its error."""
    nodes = nodes_of(p, halvings=1) if isinstance(p, Distribution) else nodes_of_pmf(p)
    value = float(sum_over_nodes(q, nodes.padded(), direction))
    error = nodes.missed * (1 + abs(value))
    if not nodes.discrete:
        coarse = float(sum_over_nodes(q, nodes_of(p).padded(), direction))
        error += ROUNDING * (1 + abs(value)) + abs(value - coarse)
    return Estimate(value, error if np.isfinite(error) else 0.0, nodes.method)


def normal_points_estimate(q, p) -> Estimate:
    """The divergence at the minimum, from fewer grid points or from fresh quasi-random ones.

    Those that were minimised over would make it look smaller than it is.
    """
    dimension = p.event_shape[0]

    def value(**points):
        return float(sum_over_normal_points(q, (p, *normal_points(dimension, **points)), "reverse"))

    if dimension in HERMITE:
        most, least = value(), value(fewer=HERMITE[dimension] // 5)
        return Estimate(most, abs(most - least), "Gauss-Hermite points")
    values = [value(seed=seed) for seed in range(1, REPLICATES + 1)]
    return Estimate(np.mean(values), np.std(values, ddof=1) / REPLICATES**0.5, f"{REPLICATES} sets of Sobol points")
