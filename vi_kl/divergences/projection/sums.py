"""The divergence of a member as a deterministic function of it, which a descent minimises.

It is the closed form if there is one; else a sum over fixed nodes of p (one number), or over points of q that move
with q (normal members over vectors).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import Distribution

from vi_kl.core.compilation import compiled
from vi_kl.core.estimate import Estimate
from vi_kl.divergences.kl import kl_divergence
from vi_kl.divergences.projection.nodes import Nodes, nodes_of, nodes_of_pmf
from vi_kl.divergences.registry import NoClosedForm, describe

SEEN = 1e-6  # the part of q that the nodes of p may miss before the sum over them is not a divergence
HERMITE = {1: 400, 2: 100, 3: 24}  # points per axis, by dimension
SOBOL = 2048  # quasi-random points in more dimensions, and as many opposite ones
REPLICATES = 16
NEGLIGIBLE = 1e-20  # weight of a point
UNDERFLOW = -745.0  # the logarithm of the smallest number
ROUNDING = 1e-14  # rounding error of a sum over thousands of nodes


def closed_form(q, p, direction):
    return kl_divergence(p, q) if direction == "forward" else kl_divergence(q, p)


@compiled(static=("direction",))
def sum_over_nodes(q, nodes, direction):
    """Return the divergence over p's nodes; +inf if they do not see all of q, so that q cannot hide between them."""
    x, log_p, log_weight = nodes
    values = jax.lax.stop_gradient(jnp.where(q.support(x), q.log_prob(x), -jnp.inf))
    values = jnp.where(jnp.isnan(values), -jnp.inf, values)
    p_mass = jnp.exp(log_p + log_weight)
    needed = p_mass > 0 if direction == "forward" else values + log_weight > UNDERFLOW
    # q may have a NaN for a gradient where it is not needed, which `where` alone would not keep out
    log_q = q.log_prob(jnp.where(needed & (values > -jnp.inf), x, x[jnp.argmax(values)]))
    if direction == "forward":
        infinite = (needed & (values == -jnp.inf)).any()
        return jnp.where(infinite, jnp.inf, jnp.where(needed, p_mass * (log_p - log_q), 0.0).sum())
    mass = jnp.where(needed, jnp.exp(log_q + jnp.where(needed, log_weight, 0.0)), 0.0)
    inside = log_p > -jnp.inf
    seen = (jnp.abs(mass.sum() - 1) < SEEN) & ~(needed & ~inside).any()
    return jnp.where(seen, (mass * (log_q - jnp.where(inside, log_p, 0.0))).sum(), jnp.inf)


@compiled(static=("direction",))
def sum_over_normal_points(q, data, direction):
    """Return E_q[log q - log p] over q's own points, which move with q; only the reverse direction needs it."""
    p, points, weights = data
    if isinstance(q, dist.MultivariateNormal):
        x, log_volume = q.loc + points @ q.scale_tril.T, jnp.log(jnp.diagonal(q.scale_tril)).sum()
    else:
        x, log_volume = q.base_dist.loc + points * q.base_dist.scale, jnp.log(q.base_dist.scale).sum()
    entropy = points.shape[-1] / 2 * (1 + jnp.log(2 * jnp.pi)) + log_volume
    return -entropy - weights @ p.log_prob(x)


def normal_points(dimension, fewer=0, seed=0):
    """Return points of a standard normal and their weights.

    They are Gauss-Hermite points on a grid, or quasi-random in many dimensions.
    """
    if dimension not in HERMITE:
        from scipy.stats import qmc  # imported here, as it is slow and seldom needed

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
    """Return what to minimise: the function, its data, and its name.

    Raises:
        NoClosedForm: there is no deterministic method.
    """
    if not isinstance(p, np.ndarray):
        try:
            jax.eval_shape(functools.partial(closed_form, direction=direction), q, p)  # traced, as it will be used
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
    """Return the divergence over p's nodes, with the change by halving the panels as its error."""
    nodes = nodes_of(p, halvings=1) if isinstance(p, Distribution) else nodes_of_pmf(p)
    value = float(sum_over_nodes(q, nodes.padded(), direction))
    if not np.isfinite(value):
        return Estimate(value, 0.0, nodes.method)
    error = nodes.missed * (1 + abs(value))
    if not nodes.discrete:
        coarse = float(sum_over_nodes(q, nodes_of(p).padded(), direction))
        error += ROUNDING * (1 + abs(value)) + abs(value - coarse)
    return Estimate(value, error, nodes.method)


def normal_points_estimate(q, p) -> Estimate:
    """Return the divergence at the minimum, from fewer grid points or from fresh quasi-random ones.

    The points that were minimised over would make it look smaller than it is.
    """
    dimension = p.event_shape[0]

    def value(**points):
        return float(sum_over_normal_points(q, (p, *normal_points(dimension, **points)), "reverse"))

    if dimension in HERMITE:
        most, least = value(), value(fewer=HERMITE[dimension] // 5)
        return Estimate(most, abs(most - least), "Gauss-Hermite points")
    values = [value(seed=seed) for seed in range(1, REPLICATES + 1)]
    return Estimate(np.mean(values), np.std(values, ddof=1) / REPLICATES**0.5, f"{REPLICATES} sets of Sobol points")
