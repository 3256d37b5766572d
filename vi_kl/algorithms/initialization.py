"""Initialization: the frame in which a fit starts, a normal guess of the posterior in whose units families are fitted.

By default it is Laplace's normal at the best mode found by a few climbs from random places; three that agree end them.
If there is no mode, or if its normal does not hold the mass that the curvature promises, climbs of the ELBO take over
(rivals.py). Users may give a fit, an approximation, a frame or a point instead.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vi_kl.algorithms.algorithm import CostCounter
from vi_kl.algorithms.path import best_on_path
from vi_kl.algorithms.rivals import best_rival, holds_the_mass_of_its_peak
from vi_kl.core.annotations import KeyLike
from vi_kl.core.cholesky import tril_of_covariance, tril_of_root
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.random_keys import fold_in, split
from vi_kl.families.approximation import Approximation, draw
from vi_kl.families.delta import Delta
from vi_kl.families.frame import Frame
from vi_kl.targets.modes import NEAR, Climb, Mode, find_mode, mode_near, same_mode
from vi_kl.targets.priors import hierarchical_sites
from vi_kl.targets.some_rows import part_of_rows, some_rows
from vi_kl.targets.target import Target

MOST_STARTS = 5
ENOUGH_ALIKE = 3  # climbs to the best mode so far; where a quarter end at another, two often do
ENOUGH_FAILURES = 2  # climbs without a mode after which a fit starts without one; in a hierarchy one says it
MATRIX_DIMENSIONS = 1000  # dimensions; with more, only each coordinate's own scale is estimated
FLATTEST = 1e-6  # the least curvature that is assumed in any direction, relative to the coordinates' own


@dataclasses.dataclass(frozen=True)
class Initialization:
    """A frame, and how it was found.

    Attributes:
        frame: the frame.
        words: how it was found, in words.
        mode: the mode at its centre; None if its centre is not a mode, or one with next to no mass around it.
        is_best: whether it is the normal that climbs of the ELBO led to, near the best.
    """

    frame: Frame
    words: str
    mode: Mode | None = None
    is_best: bool = False


def initialize(
    target: Target, key: KeyLike, counter: CostCounter, start: Any = None, max_steps: int = 500
) -> Initialization:
    """Return the frame in which a fit starts.

    Args:
        target: the posterior to approximate.
        key: a JAX random key.
        counter: the counter of gradients.
        start: None; a Frame; a Fit or an Approximation, whose mean and covariance are used; or one point, as z of shape
            (dim,) or {site: value}, from which to climb.
        max_steps: the most iterations of each climb.
    """
    if isinstance(start, Initialization):
        return start
    if isinstance(start, Frame):
        require_dimensions(start, target)
        return Initialization(start, "the frame given")
    start = unwrapped(start)
    if isinstance(start, Approximation):
        return Initialization(frame_of(start, target, key), f"the moments of {start.name}")
    points = starting_points(target, key, start)
    rival_key = fold_in(key, 1)
    if target.dim > MATRIX_DIMENSIONS:
        return start_with_scales(target, points[0], rival_key, counter, max_steps)
    failures = 1 if hierarchical_sites(target) else ENOUGH_FAILURES
    mode = best_mode(target, points, counter, max_steps, most_failures=failures)
    if not mode.is_proper:
        return start_without_mode(target, mode, points[:failures], rival_key, counter, max_steps)
    frame = frame_at(mode)
    if holds_the_mass_of_its_peak(target, mode, rival_key, counter):
        return Initialization(frame, "the normal at a mode", mode)
    better = best_rival(target, [frame], points[0], rival_key, counter)
    words = "the best normal near, as the mode is far from the mass"
    return Initialization(frame if better is None else better, words, is_best=better is not None)


def better_mode(
    target: Target, found: Initialization, key: KeyLike, counter: CostCounter, starts: int, max_steps: int = 500
) -> Initialization | None:
    """Return a place at a mode with more mass than that of the first climbs; None if further ones find none.

    Args:
        target: the posterior.
        found: the place, at a mode.
        key: a JAX random key, other than that of the first climbs.
        counter: the counter of gradients.
        starts: the number of climbs.
        max_steps: the most iterations of each.
    """
    best = found.mode
    assert best is not None, "asked of a mode only"
    for one in split(key, starts):
        mode = find_mode(target, np.asarray(target.initial_position(one)), max_steps)
        counter.gradient_evaluations += mode.evaluations
        if mode.is_proper and mode.log_mass > best.log_mass and not same_mode(mode, best):
            best = mode
    return None if best is found.mode else Initialization(frame_at(best), "the normal at a mode", best)


def start_without_mode(
    target: Target, highest: Mode, points, key, counter: CostCounter, max_steps: int
) -> Initialization:
    """Return the best normal if there is no mode, among those along climbs and a broad one, improved on the ELBO."""
    keys = split(key, len(points) + 1)
    best = None
    for point, one_key in zip(points, keys[1:], strict=True):
        climb = Climb(target, point, max_steps)
        counter.gradient_evaluations += climb.evaluations
        found = best_on_path(target, climb, one_key, counter)
        if found is not None and (best is None or found.elbo > best.elbo):
            best = found
    # a path's normals may lie deep in a funnel's neck, from where the way out is long: a broad one competes
    frame = best_rival(target, [] if best is None else [best.frame], points[0], keys[0], counter)
    if frame is None:
        return Initialization(frame_at(highest), "a point that is no mode", highest)
    return Initialization(frame, "the best normal near, as there is no mode", is_best=True)


def mode_of(start: Any) -> Mode | None:
    """Return the mode at which an `Initialization` was found; None for anything else."""
    return start.mode if isinstance(start, Initialization) else None


def unwrapped(start: Any) -> Any:
    """Return the approximation of a fit, the point of a `Delta`, and anything else as it is."""
    q = getattr(start, "approximation", start)
    return np.asarray(q.params["loc"]) if isinstance(q, Approximation) and isinstance(q.family, Delta) else q


def require_dimensions(frame: Frame, target: Target) -> None:
    """Raise an error unless a frame has the target's dimension."""
    if frame.dim != target.dim:
        raise UnsuitableError(f"start is a Frame of {frame.dim} dimensions, the target has {target.dim}.")


def starting_points(target: Target, key, start) -> list[np.ndarray]:
    """Return the points, (dim,) each, from which climbs start."""
    start = unwrapped(start)
    if isinstance(start, Approximation):
        frame = start.family.frame(start.params)
        start = draw(start, key, 1024)[0].mean(axis=0) if frame is None else frame.loc
    elif isinstance(start, Initialization | Frame):
        frame = getattr(start, "frame", start)
        require_dimensions(frame, target)
        start = frame.loc
    if start is None:
        # where no start is finite, the first says so, and why
        where = some_rows(target) or target
        return [np.asarray(where.initial_position(k)) for k in split(key, MOST_STARTS)]
    z = target.unconstrain(start) if isinstance(start, Mapping) else target.checked(start)
    if np.shape(z) != (target.dim,):
        raise UnsuitableError(f"start must be one point: z of shape ({target.dim},), not {np.shape(z)}.")
    value = float(target.log_density(z))
    if not np.isfinite(value):
        raise UnsuitableError(
            f"The log density at start is {value}. {target.density.explain(target.data, target.unravel(z))}"
        )
    return [np.asarray(z, float)]


def best_mode(target: Target, points, counter: CostCounter, max_steps: int, most_failures: int | None = None) -> Mode:
    """Return the mode with the most mass around it; climbs end when three of them agree on the best.

    They also end when `most_failures` of them have found no mode, and none has found one. Where a gradient is dear,
    they climb the density of a random part of the rows, and a few steps lead from there to the mode given all of them.
    """
    some = some_rows(target)
    if some is not None:
        mode = mode_by_some_rows(target, some, points, counter, max_steps, most_failures)
        if mode is not None:
            return mode
    modes: list[Mode] = []
    for point in points:
        modes.append(find_mode(target, point, max_steps))
        counter.gradient_evaluations += modes[-1].evaluations
        proper = [mode for mode in modes if mode.is_proper]
        if proper:
            best = max(proper, key=lambda mode: mode.log_mass)
            alike = [mode for mode in proper if same_mode(mode, best)]
            if len(alike) == ENOUGH_ALIKE:
                return min(alike, key=lambda mode: mode.gradient_norm)
        elif len(modes) == most_failures:
            break
    return max(modes, key=lambda mode: (mode.is_proper, mode.log_mass if mode.is_proper else mode.log_density))


def mode_by_some_rows(
    target: Target, some: Target, points, counter: CostCounter, max_steps: int, most_failures: int | None
) -> Mode | None:
    """Return the mode to which that of a part of the rows leads; None if there is none."""
    spent = CostCounter()
    near = best_mode(some, points, spent, max_steps, most_failures)
    counter.gradient_evaluations += math.ceil(part_of_rows(some) * spent.gradient_evaluations)
    if not near.is_proper:
        return None
    mode = mode_near(target, near)
    counter.gradient_evaluations += mode.evaluations
    return mode if mode.is_proper and mode.distance < NEAR else None


def frame_at(mode: Mode) -> Frame:
    """Return Laplace's normal at a point; directions in which the density is not concave count as nearly flat."""
    if mode.is_proper:
        return Frame.of(mode.z, mode.scale_tril)
    diagonal = np.nan_to_num(np.abs(np.diag(mode.hessian)), posinf=0.0)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    values, vectors = np.linalg.eigh(np.nan_to_num(-mode.hessian * np.outer(scale, scale), posinf=0.0, neginf=0.0))
    root = vectors / np.sqrt(np.maximum(np.abs(values), FLATTEST))
    return Frame.of(mode.z, scale[:, None] * tril_of_root(root))


def frame_of(q: Approximation, target: Target, key, num_draws: int = 4096) -> Frame:
    """Return the frame with q's mean and covariance."""
    if q.target.dim != target.dim:
        raise UnsuitableError(f"start is an approximation over {q.target.dim} dimensions, the target has {target.dim}.")
    frame = q.family.frame(q.params)
    if frame is not None:
        return frame
    z = draw(q, key, max(num_draws, 4 * target.dim))[0]
    return Frame.of(z.mean(axis=0), tril_of_covariance(np.atleast_2d(np.cov(z, rowvar=False))))


def start_with_scales(
    target: Target, point, key, counter: CostCounter, max_steps: int, num_probes: int = 32
) -> Initialization:
    """Climb, and estimate the diagonal of the Hessian at the end from random probes (Bekas, Kokiopoulou & Saad 2007).

    Climbs of the ELBO, from there and from a broad start, then lead to where the mass is.
    """
    climb = Climb(target, point, max_steps)
    probes = np.where(np.random.default_rng(0).random((num_probes, target.dim)) < 0.5, -1.0, 1.0)
    step = 1e-4
    up, down = np.split(climb.gradients(np.concatenate([climb.z + step * probes, climb.z - step * probes])), 2)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is looked at below
        curvature = -np.mean(probes * (up - down) / (2 * step), axis=0)
    counter.gradient_evaluations += climb.evaluations
    positive = curvature[np.isfinite(curvature) & (curvature > 0)]
    least = 1e-8 * np.median(positive) if len(positive) else 1.0
    sds = 1 / np.sqrt(np.where(np.isfinite(curvature), np.maximum(curvature, least), 1.0))
    top = Frame.of(climb.z, sds)
    better = best_rival(target, [top], point, key, counter)
    if better is None:
        return Initialization(top, "a climb, with each coordinate's own scale")
    return Initialization(better, "the best normal of independent coordinates near")
