"""Normals found by climbing the ELBO, for densities whose maximum says nothing about their mass.

The density of a hierarchical model is highest where a scale is zero, or far out in the neck of its funnel; a mode found
there, if a climb ends at all, holds next to no mass. The ELBO is highest where the mass is. A few natural-gradient
steps from a broad start, with independent coordinates first and then with a full covariance, lead near it. The normals
found so and the normal at the density's maximum are judged by the same noise, and the best is kept.

Requires of the target: a differentiable log density.
"""

import numpy as np

from vi_kl.algorithms.algorithm import CostCounter
from vi_kl.algorithms.natural_steps import ascend, elbo_at, shrunk_until_finite
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.random_keys import numpy_generator, split
from vi_kl.core.scales import Diagonal, Root
from vi_kl.families.frame import Frame
from vi_kl.objectives.noise import enough_draws, matched_noise
from vi_kl.targets.modes import Mode
from vi_kl.targets.target import ROWS, Target

BROAD = 0.5  # sd of the start, in z: about the spread of the places where climbs start
BROKEN_PROMISE = 2.0  # nats between the mass that a mode's curvature promises and the ELBO of its normal
INDEPENDENT_STEPS = 30
FULL_STEPS = 25
FULL_DIMENSIONS = 200  # the most dimensions in which a full covariance is searched for
MOST_EXACT = 400  # dimensions, above which even the normals at the ends of climbs are of independent coordinates
JUDGES = 2 * ROWS  # draws by which normals are compared
NEAR_ENOUGH = 0.05  # sds; a shorter natural step ends the climb


def holds_the_mass_of_its_peak(target: Target, mode: Mode, key, counter: CostCounter) -> bool:
    """Return whether draws of a proper mode's normal find about the mass that the curvature at the mode promises."""
    seen = elbo_at(target, mode.normal, matched_noise(numpy_generator(key), ROWS, target.dim), counter)
    return bool(mode.log_mass - seen.elbo < BROKEN_PROMISE)


def best_rival(target: Target, tops: list[Frame], point: np.ndarray, key, counter: CostCounter) -> Frame | None:
    """Return the normal with the highest ELBO among those of climbs of the density, improved, and of the ELBO itself.

    Args:
        target: the posterior.
        tops: normals found at the ends of climbs or on their way.
        point: the centre of the broad normal from which a climb of the ELBO starts, (dim,).
        key: a JAX random key.
        counter: the counter of gradients.

    Returns:
        The frame of that normal; None if none has a finite ELBO.
    """
    broad_key, judge_key, full_key, *keys = split(key, 3 + len(tops))
    normals = [independent(target, Gaussian(point, Diagonal(np.full(target.dim, BROAD))), broad_key, counter)]
    if target.dim > MOST_EXACT:
        begun = [Gaussian.of(top.loc, top.conditional_sd) for top in tops]
        normals += [independent(target, normal, one, counter) for normal, one in zip(begun, keys, strict=True)]
    else:
        normals += [top.normal for top in tops]
    noise = matched_noise(numpy_generator(judge_key), JUDGES, target.dim)
    best = highest(target, normals, noise, counter)
    if best is not None and target.dim <= FULL_DIMENSIONS:
        best = highest(target, [best, full(target, best, full_key, counter)], noise, counter)
    return None if best is None else frame_of(best)


def highest(target: Target, normals: list[Gaussian | None], noise: np.ndarray, counter: CostCounter) -> Gaussian | None:
    """Return the normal with the highest ELBO, with the same noise for all; None if none has a finite one."""
    evaluated = [elbo_at(target, normal, noise, counter) for normal in normals if normal is not None]
    finite = [seen for seen in evaluated if np.isfinite(seen.elbo)]
    return max(finite, key=lambda seen: seen.elbo).normal if finite else None


def frame_of(normal: Gaussian) -> Frame:
    """Return the frame of a normal: a matrix wherever one is searched for, so that all frames of a size are alike."""
    if isinstance(normal.scale, Diagonal) and normal.dim > FULL_DIMENSIONS:
        return Frame.of(normal.loc, normal.sd)
    return Frame.of(normal.loc, normal.scale.tril)


def independent(target: Target, normal: Gaussian, key, counter: CostCounter) -> Gaussian | None:
    """Climb the ELBO among normals of independent coordinates, from one of them, on little noise."""
    return climbed(target, normal, ROWS, INDEPENDENT_STEPS, key, counter)


def full(target: Target, normal: Gaussian, key, counter: CostCounter) -> Gaussian | None:
    """Climb the ELBO among normals with any covariance, from one normal."""
    correlated = Gaussian(normal.loc, Root(normal.scale.matrix))
    draws = enough_draws(ROWS, target.dim)
    return climbed(target, correlated, draws, FULL_STEPS, key, counter)


def climbed(target: Target, normal: Gaussian, draws: int, steps: int, key, counter: CostCounter) -> Gaussian | None:
    """Climb the ELBO from a normal on fixed noise; return None if its draws, however near, have no finite density."""
    noise = matched_noise(numpy_generator(key), draws, target.dim)
    begin = shrunk_until_finite(target, normal, noise, counter)
    if begin is None:
        return None
    return ascend(target, begin, noise, counter, NEAR_ENOUGH, steps)[0].normal
