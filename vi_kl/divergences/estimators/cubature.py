"""KL divergences of densities of up to three variables, by sums over ever finer grids.

The space is the unconstrained one that p's support maps to, brought to the location, scale and correlation of p's
draws, and stretched by sinh so that heavy tails end too. There the midpoint rule converges exponentially for smooth
densities, and two grids whose sums agree have resolved them. Modes that are too narrow for the finest grid, and
densities that jump, do not settle: they are refused, and so is a grid that misses part of p.

Reference: Trefethen & Weideman (2014), "The exponentially convergent trapezoidal rule".
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution, biject_to

from vi_kl.core.compilation import compiled
from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import in_float64
from vi_kl.divergences.density import log_density
from vi_kl.divergences.estimators.normalisation import check_normalised, is_plain, not_normalised
from vi_kl.divergences.estimators.quadrature import NotApplicable, NotConverged
from vi_kl.divergences.estimators.sinh_map import SinhMap, sinh_map_of_draws
from vi_kl.divergences.region import is_discrete
from vi_kl.divergences.registry import describe
from vi_kl.divergences.unconstrained import values_of

NUM_DRAWS = 4096
BLOCK = 2**14  # points evaluated at a time, so that one compiled program serves every grid
REACH = math.asinh(1e10)  # the widest box goes ten orders of magnitude into the tails
SCAN_STEP = 0.8  # step of the grid that finds the part of the box that matters
NEGLIGIBLE = 1e-14  # the mass that the outermost layer of the box may hold
FIRST_STEP = 0.4
REFINEMENT = 1.5  # not 2: no grid is part of the one before, so that they do not agree by sharing points
MOST_POINTS = 4_000_000  # in one grid: a second or two
TARGET = 1e-9  # the change between grids to stop at, relative to the integral of p |log p/q|
SETTLED = 1e-5  # the largest one that counts as an answer
WRONG = 0.05  # an error in the mass of p that settled, too large for a part that was missed
MISSED = 1e-8  # the largest part of p that the grid may miss
MASS, VALUE, SIZE, UNCOVERED = range(4)


@in_float64
def cubature_kl(p: Distribution, q: Distribution) -> Estimate:
    """Estimate KL(p||q) of two densities of up to three unconstrained variables, by sums over ever finer grids.

    The standard error is the method's own error estimate: the change between the two finest grids, and the part
    of p missed.

    Raises:
        NotApplicable: p is not a density, or has more variables.
        NotConverged: the sums did not settle: the densities jump, or have more detail than four million points
            show, or the divergence is infinite.
    """
    values, shape = unconstrained(p)
    draws = np.asarray(unconstrained_draws(p, values, jax.random.key(0))).reshape(NUM_DRAWS, -1)
    sinh_map = sinh_map_of_draws(draws)
    check_normalised(q=q)
    grids = Grids((p, q, values, sinh_map), shape)
    (mass, value, size, uncovered), error = settle(grids, *box_that_matters(grids, sinh_map.inverse(draws)))
    method = f"cubature with {grids.points:,} nodes"
    if not is_plain(p) and abs(mass - 1) > WRONG and error[MASS] < SETTLED:
        raise not_normalised("p", p, mass)
    if uncovered > MISSED + error[UNCOVERED]:
        return Estimate(math.inf, 0.0, f"{method}: p has density where q has none")
    missed = abs(1 - mass)
    if not (missed <= MISSED and error[VALUE] <= SETTLED * size and uncovered <= MISSED):
        raise NotConverged(
            f"cubature did not converge ({mass:.8g} of p's mass, {value:.6g} with an error of {error[VALUE]:.1g}),"
            " as where the divergence is infinite, a density jumps or a mode is very narrow"
        )
    return Estimate(value, error[VALUE] + missed * (size + abs(value)) + 1e-15 * size, method)


def unconstrained(p):
    """Return the set of p's values, and the shape of its unconstrained variables.

    Raises:
        NotApplicable: there is no unconstrained variable, or there are more than three.
    """
    if is_discrete(p):
        raise NotApplicable(f"{describe(p)} is not a density.")
    values = values_of(p)
    if values is None:
        raise NotApplicable(f"the values of {describe(p)} have no known map to unconstrained variables.")
    shape = biject_to(values).inverse_shape(p.event_shape)
    if not 1 <= math.prod(shape) <= 3:
        raise NotApplicable(f"{describe(p)} has {math.prod(shape)} variables; cubature takes up to three.")
    return values, shape


@compiled
def unconstrained_draws(p, values, key):
    return biject_to(values).inv(p.sample(key, (NUM_DRAWS,)))


def box_that_matters(grids, t: np.ndarray):
    """Return the corners of the box in which a coarse grid finds p, and of all draws of p."""
    counts = (math.ceil(2 * REACH / SCAN_STEP),) * t.shape[1]
    contents = np.abs(grids.contents(np.full(t.shape[1], -REACH), SCAN_STEP, counts)[[MASS, SIZE]]).max(0)
    centres = np.argwhere(contents.reshape(counts) > NEGLIGIBLE) * SCAN_STEP - REACH + SCAN_STEP / 2
    points = np.concatenate([centres, t])
    return points.min(0) - SCAN_STEP, points.max(0) + SCAN_STEP


def settle(grids, low, high):
    """Return the integrals over ever finer grids until they stop changing, and their last change."""
    step, before = FIRST_STEP, np.full(4, np.inf)
    integrals, change = before, before
    while math.prod(counts := tuple(np.ceil((high - low) / step).astype(int))) <= MOST_POINTS:
        before, integrals = integrals, grids.contents(low, step, counts).sum(1)
        change = np.abs(integrals - before)
        if change[VALUE] <= TARGET * integrals[SIZE] and change[MASS] <= TARGET:
            break
        step /= REFINEMENT
    return integrals, change


class Grids:
    """An evaluator of integrands at the centres of a grid's cells, which counts the points."""

    def __init__(self, arguments, shape):
        self.arguments, self.shape = arguments, shape
        self.points = 0

    def contents(self, low, step, counts) -> np.ndarray:
        """Return the contents of each cell for the four integrals, of shape (4, cells)."""
        size = math.prod(counts)
        self.points += size
        strides = np.array([math.prod(counts[axis + 1 :]) for axis in range(len(counts))])
        blocks = [
            np.asarray(contents_of_block(*self.arguments, start, low, step, strides, np.array(counts), self.shape))
            for start in range(0, size, BLOCK)
        ]
        return np.concatenate(blocks, axis=1)[:, :size]


@compiled(static=("shape",))
def contents_of_block(p, q, values, sinh_map, start, low, step, strides, counts, shape):
    index = start + jnp.arange(BLOCK)
    t = low + (index[:, None] // strides % counts + 0.5) * step
    return integrands(*log_densities(p, q, values, sinh_map, t, shape)) * step ** len(low)


def integrands(log_p, log_q):
    """Return p, p log(p/q), its absolute value, and p where q is zero.

    All are zero where p vanishes in floating point.

    The loss there shows in the integral of p too.
    """
    mass = jnp.exp(log_p)
    mass = jnp.where(jnp.isfinite(mass), mass, 0.0)
    covered = (mass > 0) & jnp.isfinite(log_q)
    loss = jnp.where(covered, mass * jnp.where(covered, log_p - log_q, 0.0), 0.0)
    return jnp.stack([mass, loss, jnp.abs(loss), jnp.where(covered, 0.0, mass)])


def log_densities(p, q, values, sinh_map: SinhMap, t, shape):
    """Return the log densities of p and q over the box's coordinates."""
    bijection = biject_to(values)
    z, log_stretch = sinh_map.forward(t)
    z = z.reshape(-1, *shape)
    x = bijection(z)
    log_jacobian = bijection.log_abs_det_jacobian(z, x).reshape(len(t), -1).sum(-1) + log_stretch
    return log_density(p, x) + log_jacobian, log_density(q, x) + log_jacobian
