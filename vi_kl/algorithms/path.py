"""Normals along a climb: at each point of the climb, a normal made of the steps so far, judged by its ELBO.

The differences of gradients from point to point tell how the log density curves, so that a climb yields a normal at
every point at almost no cost. The best of them is often better than the one at the top, and exists even if the density
has no maximum: on its way into a funnel's neck a climb passes where the mass is.

Requires of the target: a differentiable log density. Requires of its dimension that a covariance matrix fits into
memory.

Reference: Zhang, Carpenter, Gelman & Vehtari (2022), "Pathfinder: parallel quasi-Newton variational inference",
JMLR 23; Gilbert & Lemarechal (1989) for the diagonal that quasi-Newton updates begin with.
"""

import itertools
from typing import NamedTuple

import numpy as np

from vi_kl.algorithms.algorithm import CostCounter
from vi_kl.core.cholesky import tril_of_covariance, tril_of_precision
from vi_kl.core.random_keys import numpy_generator
from vi_kl.families.frame import Frame
from vi_kl.targets.modes import Climb, hessian, is_negative_definite
from vi_kl.targets.target import Target, value_and_grad_batch

NUM_DRAWS = 16  # draws of each normal; the noise is the same for all of them, since differences are compared
FINAL_DRAWS = 128  # draws of each of the best few
FINALISTS = 2
MOST_JUDGED = 25  # points; if a climb is longer, they are evenly spaced along it


class PathNormal(NamedTuple):
    """A normal along a climb.

    Attributes:
        point: a point of the climb, (dim,).
        gradient: the gradient of the log density there, (dim,).
        frame: the normal.
        elbo: its estimated ELBO; -inf if the log density is not finite at one of its draws.
    """

    point: np.ndarray
    gradient: np.ndarray
    frame: Frame
    elbo: float = -np.inf


def best_on_path(
    target: Target, climb: Climb, key, counter: CostCounter, num_draws: int = NUM_DRAWS
) -> PathNormal | None:
    """Return the normal with the highest ELBO among those along a climb; None if none has a finite ELBO.

    At the best points the exact Hessian replaces the climb's estimate of it, if that raises the ELBO.

    Args:
        target: the climb's own target.
        climb: a finished climb, whose `path` is read; nothing of it is evaluated again.
        key: a JAX random key.
        counter: the counter of the gradients at the draws.
        num_draws: the number of draws of each normal, an even number.
    """
    along = spread(normals_along(climb.path), MOST_JUDGED)
    generator = numpy_generator(key)
    judged = judge(target, along, antithetic(generator, num_draws, target.dim), counter)[:FINALISTS]
    if not judged:
        return None
    exact = [with_exact_curvature(target, normal, counter) for normal in judged]
    candidates = judged + [normal for normal in exact if normal is not None]
    finals = judge(target, candidates, antithetic(generator, FINAL_DRAWS, target.dim), counter)
    return finals[0] if finals else judged[0]


def judge(target: Target, normals: list[PathNormal], noise: np.ndarray, counter: CostCounter) -> list[PathNormal]:
    """Return the normals with a finite ELBO, the best first.

    Args:
        target: the posterior.
        normals: the normals to judge.
        noise: standard normal noise, the same for all of them, (num_draws, dim).
        counter: the counter of gradients.
    """
    if not normals:
        return []
    z = np.concatenate([one.frame.normal.unwhiten(noise) for one in normals])
    values = value_and_grad_batch(target, z)[0].reshape(len(normals), len(noise))
    counter.gradient_evaluations += len(z)
    means = np.where(np.isfinite(values).all(axis=1), values.mean(axis=1), -np.inf)
    judged = [
        one._replace(elbo=float(mean + one.frame.normal.entropy)) for one, mean in zip(normals, means, strict=True)
    ]
    return sorted((normal for normal in judged if np.isfinite(normal.elbo)), key=lambda normal: -normal.elbo)


def with_exact_curvature(target: Target, normal: PathNormal, counter: CostCounter) -> PathNormal | None:
    """Return the normal of the quadratic that touches the log density at a point; None if that has no maximum."""

    def gradients(z):
        counter.gradient_evaluations += len(z)
        return value_and_grad_batch(target, z)[1]

    curvature = hessian(gradients, normal.point, np.asarray(normal.frame.conditional_sd))
    if not is_negative_definite(curvature):
        return None
    tril = tril_of_precision(-curvature)
    return normal._replace(frame=Frame.of(normal.point + tril @ (tril.T @ normal.gradient), tril))


def spread(items: list, most: int) -> list:
    """Return at most `most` of the items, evenly spaced, the last among them."""
    if len(items) <= most:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]


def normals_along(path) -> list[PathNormal]:
    """Return the normal at each point of a path after the first, from the steps so far, before its ELBO is known."""
    inverse, normals = None, []
    for before, (point, gradient, _) in itertools.pairwise(path):
        step, fall = point - before[0], before[1] - gradient
        if not step @ fall > 1e-12 * (fall @ fall):  # the density does not curve down along this step
            continue
        start = np.diag(np.full(len(step), step @ fall / (fall @ fall))) if inverse is None else inverse
        inverse = bfgs_update(start, step, fall)
        frame = frame_from(point + inverse @ gradient, inverse)
        if frame is not None:
            normals.append(PathNormal(point, gradient, frame))
    return normals


def bfgs_update(inverse: np.ndarray, step: np.ndarray, fall: np.ndarray) -> np.ndarray:
    """Return the inverse curvature nearest to `inverse` that explains how much the gradient fell along the step."""
    rho = 1 / (step @ fall)
    moved = inverse @ fall
    cross = np.outer(moved, step) * rho
    return inverse - cross - cross.T + np.outer(step, step) * (rho + rho**2 * (fall @ moved))


def frame_from(loc: np.ndarray, covariance: np.ndarray) -> Frame | None:
    """Return the normal; None if rounding has cost the matrix its positive definiteness."""
    try:
        return Frame.of(loc, tril_of_covariance((covariance + covariance.T) / 2))
    except np.linalg.LinAlgError:
        return None


def antithetic(generator, num_draws: int, dim: int) -> np.ndarray:
    """Draw standard normals in opposite pairs, (num_draws, dim)."""
    half = generator.standard_normal((num_draws // 2, dim))
    return np.concatenate([half, -half])
