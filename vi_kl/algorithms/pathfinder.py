"""Pathfinder: the best of the normals along climbs to the modes, for about a thousand gradients per climb.

Requires of the target: a differentiable log density, at most 400 dimensions. The family is one normal, or, if climbs
end in different places, a mixture of theirs, whose weights come from importance sampling. A mode that no climb reaches
is missing; more paths find more.

Use it for a first look, for posteriors with several modes, and if there is no mode for a Laplace approximation.

References: Zhang, Carpenter, Gelman & Vehtari (2022), "Pathfinder: parallel quasi-Newton variational inference",
JMLR 23; Cappe, Douc, Guillin, Marin & Robert (2008), "Adaptive importance sampling in general mixture classes", for
the weights.
"""

import dataclasses

import numpy as np
from scipy.special import logsumexp

from vi_kl.algorithms.algorithm import Algorithm, CostCounter, FitError, Solution, Status
from vi_kl.algorithms.initialization import MATRIX_DIMENSIONS, frame_of, require_dimensions, starting_points, unwrapped
from vi_kl.algorithms.path import FINAL_DRAWS, PathNormal, antithetic, best_on_path, judge
from vi_kl.core.random_keys import numpy_generator, split
from vi_kl.diagnostics.importance import smoothed_weights
from vi_kl.diagnostics.psis import RELIABLE, pareto_k
from vi_kl.families.approximation import Approximation
from vi_kl.families.family import Family
from vi_kl.families.frame import Frame
from vi_kl.families.gaussian import FullRank, full_rank_params
from vi_kl.families.mixture import Mixture, mixture_params
from vi_kl.targets.modes import Climb, find_mode
from vi_kl.targets.target import value_and_grad_batch

SAME = 0.01  # nats; two normals whose KL is no larger in either direction count as the same
LEAST_WEIGHT = 1e-6  # the least weight of a component that is kept


@dataclasses.dataclass(frozen=True)
class Pathfinder(Algorithm):
    """The Pathfinder algorithm, along one path or several.

    Attributes:
        num_paths: the number of climbs, each from its own random place.
        num_draws: the number of draws from the normals found, for the weights and for k-hat.
        max_steps: the most iterations of each climb.
    """

    num_paths: int = 4
    num_draws: int = 1024
    max_steps: int = 500

    name = "pathfinder"

    def __post_init__(self):
        if self.num_paths < 1 or self.num_draws < 100:
            raise ValueError(
                f"Pathfinder needs num_paths of at least 1 and num_draws of at least 100, got {self.num_paths} and "
                f"{self.num_draws}."
            )

    def find(self, key, target, *, start, progress, counter):
        """Follow one path from `start` if it is a point; if it is a fit or a Frame, paths from draws of it."""
        if target.dim > MATRIX_DIMENSIONS:
            raise FitError(
                f"Pathfinder keeps covariance matrices, for up to {MATRIX_DIMENSIONS} dimensions; the target has "
                f"{target.dim}: fit 'mean_field'."
            )
        start_key, path_key, draw_key = split(key, 3)
        points = path_starts(self, target, start_key, start)
        found = []
        for index, (point, one_key) in enumerate(zip(points, split(path_key, len(points)), strict=True)):
            found.append(walk(self, target, point, one_key, counter))
            progress((index + 1) / (len(points) + 1), f"{index + 1} of {len(points)} paths walked")
        frames = distinct([normal for normal in found if normal is not None])
        if not frames:
            raise FitError(
                "None of the normals along the paths has a finite ELBO: the log density is not finite at some of "
                "their draws. Start from a point inside the posterior (start=...), or fit 'mean_field'."
            )
        weights, k_hat = weigh(self, target, frames, numpy_generator(draw_key), counter)
        q = Approximation(*member(frames, weights), target)
        return Solution(q, status(self, len(points), weights, k_hat))


def path_starts(config: Pathfinder, target, key, start) -> list[np.ndarray]:
    """Return the points from which the paths start."""
    if start is None:
        return [np.asarray(target.initial_position(k)) for k in split(key, config.num_paths)]
    q = unwrapped(start)
    frame = frame_of(q, target, key) if isinstance(q, Approximation) else getattr(q, "frame", q)
    if not isinstance(frame, Frame):
        return starting_points(target, key, start)
    require_dimensions(frame, target)
    noise = numpy_generator(key).standard_normal((config.num_paths, target.dim))
    return list(np.asarray(frame.point(noise)))


def walk(config: Pathfinder, target, point, key, counter: CostCounter) -> PathNormal | None:
    """Climb from a point, and return the best normal along the climb; None if none has a finite ELBO."""
    climb = Climb(target, point, config.max_steps)
    counter.gradient_evaluations += climb.evaluations
    return best_on_path(target, climb, key, counter) or at_the_mode(config, target, climb.z, key, counter)


def at_the_mode(config: Pathfinder, target, point, key, counter: CostCounter) -> PathNormal | None:
    """Return Laplace's normal, for a climb without steps, such as one that starts at the mode; None without a mode."""
    mode = find_mode(target, point, config.max_steps)
    counter.gradient_evaluations += mode.evaluations
    if not mode.is_proper:
        return None
    normal = PathNormal(mode.z, np.zeros(target.dim), Frame.of(mode.z, mode.scale_tril))
    judged = judge(target, [normal], antithetic(numpy_generator(key), FINAL_DRAWS, target.dim), counter)
    return judged[0] if judged else None


def distinct(normals: list[PathNormal]) -> list[Frame]:
    """Return the frames of the normals, the best first, without those that repeat a better one."""
    kept: list[Frame] = []
    for frame in (found.frame for found in sorted(normals, key=lambda found: -found.elbo)):
        if all(max(frame.normal.kl(other.normal), other.normal.kl(frame.normal)) > SAME for other in kept):
            kept.append(frame)
    return kept


def weigh(config: Pathfinder, target, frames: list[Frame], generator, counter: CostCounter) -> tuple[np.ndarray, float]:
    """Return the components' weights, and k-hat of the draws from which they are estimated.

    All draws count as draws of the even mixture, so that two normals of one mode share its mass. The weights minimise
    KL(posterior||mixture) on the weighted draws, by EM.
    """
    each = -(-config.num_draws // len(frames))
    noise = generator.standard_normal((len(frames), each, target.dim))
    z = np.concatenate([frame.point(u) for frame, u in zip(frames, noise, strict=True)])
    log_p = value_and_grad_batch(target, z)[0]
    counter.gradient_evaluations += len(z)
    log_q = np.stack([frame.normal.log_prob(z) for frame in frames])
    log_p = np.where(np.isfinite(log_p), log_p, -np.inf)  # outside the support there is no weight
    log_weights = log_p - logsumexp(log_q, axis=0) + np.log(len(frames))
    importance = smoothed_weights(log_weights)
    weights = np.full(len(frames), 1 / len(frames))
    for _ in range(200):
        log_share = log_q + np.log(weights)[:, None]
        weights = np.exp(log_share - logsumexp(log_share, axis=0)) @ importance
        weights = np.maximum(weights, 1e-300)
    return weights / weights.sum(), pareto_k(log_weights)


def member(frames: list[Frame], weights: np.ndarray) -> tuple[Family, dict]:
    """Return one normal if one has all the weight, else the mixture of those that have any, as (family, parameters)."""
    kept = np.flatnonzero(weights > LEAST_WEIGHT)
    normals = [full_rank_params(np.asarray(frames[i].loc), frames[i].normal.scale.tril) for i in kept]
    if len(kept) == 1:
        return FullRank(), normals[0]
    return Mixture(len(kept)), mixture_params(weights[kept], normals)


def status(config: Pathfinder, num_paths: int, weights: np.ndarray, k_hat: float) -> Status:
    """Say what was found, and whether k-hat vouches for it."""
    components = int((weights > LEAST_WEIGHT).sum())
    words = f"{'one normal' if components == 1 else f'a mixture of {components} normals'} from {num_paths} path(s)"
    if k_hat <= RELIABLE:
        return Status(True, f"Found {words}; k-hat {k_hat:.2f} of {config.num_draws} draws.")
    return Status(
        False,
        f"Not converged: {words}, but k-hat {k_hat:.2f} is above {RELIABLE}, so that the weights of its draws are not "
        f"to be trusted, nor is it: raise num_paths (now {config.num_paths}), or give it as start to another fit.",
    )
