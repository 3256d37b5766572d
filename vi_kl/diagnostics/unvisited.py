"""Regions that q never visits: modes found by climbing from far outside q, and how much of the posterior they hold.

Draws of q cannot see a mode that q misses. Climbs that start well outside q can. Around each mode they find outside
q an ellipsoid is cut out and its mass measured by importance sampling from a Student t laid over the mode; q's own
draws then count outside the ellipsoids only, so that the parts are disjoint and add up to the evidence.

It finds what a climb from one of its starts reaches, and no more.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from scipy.special import gammaln
from scipy.stats import chi2

from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.importance import log_mean_exp
from vi_kl.keys import numpy_generator
from vi_kl.target.mode import Climb, Mode, polish, same_mode
from vi_kl.target.target import Target, log_density_in_chunks, value_and_grad

REACHES = (3.0, 6.0, 12.0, 12.0, 24.0, 24.0)  # of the starts, in sds of q
ELSEWHERE = 6  # starts that do not depend on q
OUTSIDE = 1 - 1e-6  # of q's mass, were it normal, inside the ellipsoid beyond which a mode counts as unvisited
WORTH_A_LOOK = np.log(1e-3)  # of a mode's mass by Laplace, relative to what q's weights say
HELD = 1 - 1e-4  # of a mode's mass, were it normal, inside its ellipsoid
DEGREES_OF_FREEDOM = 5.0
MOST_DIMENSIONS = 60  # a Hessian costs 16 gradients per dimension
MOST_STEPS = 100  # of a climb


@dataclasses.dataclass(frozen=True)
class Unvisited:
    """A part of the posterior that q does not visit.

    Attributes:
        mode: where it is highest.
        log_weights: log importance weights of draws laid over it, whose mean is its part of the evidence.
    """

    mode: Mode
    log_weights: np.ndarray

    @property
    def log_mass(self) -> float:
        return log_mean_exp(self.log_weights)

    def holds(self, z: np.ndarray) -> np.ndarray:
        """Whether points (n, dim) lie in its ellipsoid."""
        return squared_distance(self.mode, z) < chi2.ppf(HELD, z.shape[1])


def squared_distance(mode: Mode, z: np.ndarray) -> np.ndarray:
    """From a mode, in units of the local normal there."""
    return (np.linalg.solve(mode.scale_tril, (z - mode.z).T) ** 2).sum(axis=0)


def find_unvisited(draws: Draws, target: Target, key, num_draws: int) -> list[Unvisited]:
    """The modes outside q that climbs from around q reach, each with its mass; [] where there are none."""
    if target.dim > MOST_DIMENSIONS:
        return []
    generator = numpy_generator(key)
    log_evidence = log_mean_exp(draws.log_ratio)
    modes: list[Mode] = []
    for climb in climbs_to_outside(draws.z, target, generator):
        mode = polish(climb)
        known = not mode.is_proper or any(same_mode(mode, other) for other in modes)
        if not known and mode.log_mass - log_evidence > WORTH_A_LOOK:
            modes.append(mode)
    parts: list[Unvisited] = []
    for mode in sorted(modes, key=lambda mode: -mode.log_mass):
        if not any(part.holds(mode.z[None])[0] for part in parts):
            parts.append(measure(mode, parts, target, generator, num_draws))
    return parts


def unvisited_share(draws: Draws, unvisited: list[Unvisited]) -> float:
    """Of the mass: what the parts hold, over that and what q's weights hold."""
    if not unvisited:
        return 0.0
    outside = np.logaddexp.reduce([part.log_mass for part in unvisited])
    return float(np.exp(outside - np.logaddexp(outside, log_mean_exp(draws.log_ratio))))


def climbs_to_outside(z: np.ndarray, target: Target, generator) -> list[Climb]:
    """Climbs that ended beyond q's reach, one for each place where they did."""
    mean, covariance = z.mean(axis=0), np.atleast_2d(np.cov(z, rowvar=False))
    precision = np.linalg.pinv(covariance)
    root = np.linalg.cholesky(covariance + 1e-12 * np.diag(np.diag(covariance)))
    limit = chi2.ppf(OUTSIDE, target.dim)

    def is_visited(z):
        return (z - mean) @ precision @ (z - mean) <= limit

    found: list[Climb] = []
    for start in starts(mean, root, generator):
        if not np.isfinite(value_and_grad(target, jnp.asarray(start))[0]):
            continue
        climb = Climb(target, start, MOST_STEPS, until=is_visited)
        if climb.at_peak and not any(np.allclose(climb.z, other.z, rtol=1e-3, atol=1e-3) for other in found):
            found.append(climb)
    return found


def starts(mean, root, generator) -> np.ndarray:
    """Opposite pairs of points on ellipsoids around q, and points where chains would start.

    In one dimension the pairs put a start on both sides at each distance. The others are uniform on (-2, 2) in every
    coordinate, whatever q is: relabelled modes lie there, many sds of a narrow q away.
    """
    dim = len(mean)
    directions = generator.standard_normal((len(REACHES), dim))
    directions *= np.sqrt(dim) / np.linalg.norm(directions, axis=1, keepdims=True)
    away = (np.array(REACHES)[:, None] * directions) @ root.T
    return np.concatenate([mean + away, mean - away, generator.uniform(-2, 2, (ELSEWHERE, dim))])


def measure(mode: Mode, before: list[Unvisited], target: Target, generator, num_draws: int) -> Unvisited:
    """Importance weights of Student-t draws over a mode, zero outside its ellipsoid and inside those before it."""
    dim, nu = target.dim, DEGREES_OF_FREEDOM
    u = generator.standard_normal((num_draws, dim)) / np.sqrt(generator.chisquare(nu, (num_draws, 1)) / nu)
    z = mode.z + u @ mode.scale_tril.T
    log_q = (
        gammaln((nu + dim) / 2)
        - gammaln(nu / 2)
        - dim / 2 * np.log(nu * np.pi)
        - np.log(np.diag(mode.scale_tril)).sum()
        - (nu + dim) / 2 * np.log1p((u**2).sum(axis=1) / nu)
    )
    log_weights = log_density_in_chunks(target, z) - log_q
    part = Unvisited(mode, log_weights)
    counted = part.holds(z) & ~np.any([other.holds(z) for other in before], axis=0)
    return Unvisited(mode, np.where(counted & ~np.isnan(log_weights), log_weights, -np.inf))
