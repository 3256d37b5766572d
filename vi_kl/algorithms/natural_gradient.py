"""NaturalGradient: the best normal in reverse KL, by natural gradients on fixed noise.

Requires of the family: `FullRank` or `MeanField`. Requires of the target: a differentiable log density, finite
wherever the normal has draws.

Use it for normals: it takes some tens of steps where stochastic gradients take thousands, has no step size to set, and
can tell when it has converged. The noise is fixed, so that each fit is a deterministic optimisation. Then new noise of
the same size shows how far the answer depends on it, and the draws are doubled until that is little enough.

Reference: see natural_steps.py.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from vi_kl.algorithms.algorithm import Algorithm, CostCounter, FitError, History, Solution, Status
from vi_kl.algorithms.initialization import Initialization, initialize
from vi_kl.algorithms.natural_steps import ElboAtNormal, ascend, elbo_at, shrunk_until_finite
from vi_kl.algorithms.rivals import frame_of
from vi_kl.algorithms.stationary import unbounded
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.random_keys import numpy_generator, split
from vi_kl.core.scales import Diagonal
from vi_kl.families.approximation import Approximation
from vi_kl.families.family import Family
from vi_kl.families.frame import Frame
from vi_kl.families.gaussian import FullRank, MeanField, full_rank_params
from vi_kl.objectives.noise import enough_draws, matched_noise

MOST_DIMENSIONS = 2000  # with which a full covariance is fitted: four draws a dimension, and matrices of that size
LEAST_GAIN = 0.2  # the share of the nats that are enough, which a step has to gain lest it be one of the last


@dataclasses.dataclass(frozen=True)
class NaturalGradient(Algorithm):
    """Natural-gradient variational inference.

    Attributes:
        family: `FullRank()` or `MeanField()`.
        num_draws: the number of draws of fixed noise at first; more if the dimension requires it.
        tolerance: the most that new noise may move the answer, in sds for the mean and relatively for the sds.
        max_draws: the number of draws at which doubling ends, whether the tolerance is reached or not.
        max_steps: the most steps on one set of noise.
        enough: the nats of KL from the best normal at which it ends too, whatever the tolerance: in many dimensions
            some direction is always off by more than that.
    """

    family: Family = dataclasses.field(default_factory=FullRank)
    num_draws: int = 256
    tolerance: float = 0.01
    max_draws: int = 4096
    max_steps: int = 100
    enough: float = 0.0

    @property
    def name(self):
        return f"natural_gradient_{self.family.name}" if self.family.name != "full_rank" else "natural_gradient"

    def find(self, key, target, *, start, progress, counter):
        require(self, target)
        start_key, noise_key = split(key)
        generator = numpy_generator(noise_key)
        begin = initialize(target, start_key, counter, start)
        seen, elbos, status = settle(self, target, begin, generator, counter, progress)
        q = Approximation(self.family, params_of(seen.normal), target)
        return Solution(q, status, History(-np.array(elbos)))


def require(config: NaturalGradient, target) -> None:
    """Raise an error for other families, and for a full covariance in too many dimensions."""
    if type(config.family) not in (FullRank, MeanField):
        raise FitError(
            f"Natural gradients are known here for normals only, not for '{config.family.name}': use FullRank() or "
            f"MeanField(), or fit it by SVI."
        )
    if type(config.family) is FullRank and target.dim > MOST_DIMENSIONS:
        raise FitError(
            f"A full covariance in {target.dim} dimensions needs too many draws (above {MOST_DIMENSIONS:,}): use "
            f"NaturalGradient(MeanField())."
        )


def settle(config, target, begin: Initialization, generator, counter: CostCounter, progress):
    """Return the answer that new noise confirms, the ELBO at the end of each round, and the status."""
    normal, metric = first_normal(config, begin.frame)
    draws, steps, elbos = enough_draws(config.num_draws, target.dim), 0, []
    most = max(config.max_draws, draws)
    while True:
        noise = matched_noise(generator, draws, target.dim)
        begin = finite_start(target, normal, noise, counter)  # other noise reaches elsewhere
        steps_left, least = config.max_steps, LEAST_GAIN * config.enough
        seen, taken = ascend(target, begin, noise, counter, 0.1 * config.tolerance, steps_left, metric, least)
        normal, steps = seen.normal, steps + taken
        elbos.append(seen.elbo)
        fresh = elbo_at(target, normal, matched_noise(generator, draws, target.dim), counter)
        moves = fresh.movement if np.isfinite(fresh.elbo) else np.inf
        # what new noise moves it by is made of two noises, of which its own is one
        nats = fresh.nats / 2 if np.isfinite(fresh.elbo) else np.inf
        done = max(moves, seen.movement) < config.tolerance or nats < config.enough
        progress(1.0 if done else draws / (2 * most), f"{draws} draws: new noise moves it by {moves:.2g} sd")
        if done or 2 * draws > most:
            flat = unbounded(frame_of(seen.normal), target.coordinate_names, settled=done)
            return seen, elbos, status(config, seen.movement, moves, nats, steps, draws, flat)
        draws *= 2


def first_normal(config, frame: Frame) -> tuple[Gaussian, np.ndarray | None]:
    """Return the family's member at a frame, and the covariance along which a mean-field normal's mean moves."""
    normal = frame.normal
    if isinstance(config.family, FullRank):
        return Gaussian.of(frame.loc, normal.scale.matrix), None
    metric = None if isinstance(normal.scale, Diagonal) else normal.covariance
    return Gaussian.of(frame.loc, frame.conditional_sd), metric


def finite_start(target, normal: Gaussian, noise: np.ndarray, counter: CostCounter) -> ElboAtNormal:
    """Narrow a normal until the log density is finite at its draws; return what they say.

    Raises:
        FitError: It is not finite however narrow the normal is; the message says why.
    """
    found = shrunk_until_finite(target, normal, noise, counter)
    if found is None:
        reason = target.density.explain(target.data, target.unravel(jnp.asarray(normal.loc)))
        raise FitError(f"The log density is not finite around the starting point, however near. {reason}")
    return found


def params_of(normal: Gaussian) -> dict:
    """Return the parameters of FullRank or MeanField for a normal."""
    if isinstance(normal.scale, Diagonal):
        return {"loc": jnp.asarray(normal.loc), "log_scale": jnp.log(normal.sd)}
    return full_rank_params(normal.loc, normal.scale.tril)


def status(config, left: float, moves: float, nats: float, steps: int, draws: int, flat: str | None = None) -> Status:
    """Say how the fit ended."""
    if flat is not None:
        return Status(False, f"Not converged after {steps} steps. {flat}")
    if max(left, moves) < config.tolerance:
        return Status(True, f"Converged after {steps} steps: new noise of {draws} draws moves it by {moves:.1g} sd.")
    if nats < config.enough:
        return Status(True, f"Converged after {steps} steps on {draws} draws, {nats:.1g} nats from the best normal.")
    if left >= config.tolerance:
        return Status(
            False,
            f"Not converged: after {steps} steps on {draws} draws the next would still go {left:.2g} sd; raise "
            f"max_steps (now {config.max_steps}).",
        )
    return Status(
        False,
        f"Not converged: settled on {draws} draws, but new ones move it by {moves:.2g} sd, more than the tolerance "
        f"of {config.tolerance:g}; raise max_draws (now {config.max_draws}).",
    )
