"""Sequential Monte Carlo with adaptive tempering: populations of particles led from a broad start to the posterior.

It requires a differentiable log density, and no draws. Use it where the posterior has several modes, between which no
chain crosses: while the start dominates, particles are everywhere, and resampling gives each mode its share.

Particles go through start^(1 - b) posterior^b, b rising from 0 to 1: they are reweighted, resampled, and moved by
Hamiltonian dynamics. A first round finds, at each stage, the next b from the effective sample size, the scales of the
moves from the population, the step size from the acceptance rate, and how many moves it takes until particles have
forgotten where they were. It is thrown away. In the second round these are fixed, so that its populations are
independent of one another and each population's evidence is unbiased.

Scales and forgetting are those within modes. The covariance of all particles would measure how far modes are from one
another, so moves are scaled by the inverse of the mean outer product of the gradient (a covariance where there is one
normal mode, a harmonic mean of covariances where there are several). The correlation of positions before and after
moves would never vanish, since particles stay in their modes; that of the signs of the gradient does, since the
gradient's mean is zero in each mode, and signs give wide and narrow modes equal votes.

References: Del Moral, Doucet & Jasra (2006), "Sequential Monte Carlo samplers"; Dai, Heng, Jacob & Whiteley (2022), "An
invitation to sequential Monte Carlo samplers"; Buchholz, Chopin & Jacob (2021), "Adaptive tuning of Hamiltonian Monte
Carlo within sequential Monte Carlo", for moves until the correlation is low; Zhou, Johansen & Aston (2016), "Toward
automatic model comparison", for choosing b by the conditional effective sample size.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.core.compilation import compiled
from vi_kl.core.random_keys import numpy_generator
from vi_kl.reference.mcmc.smc_start import Components, MixtureStart, modes_from, modes_near, start_with
from vi_kl.reference.mcmc.tempering import (
    ACCEPTANCE,
    LEAPFROGS,
    MOST_STAGES,
    AnnealingError,
    Particles,
    Populations,
    StartingDensity,
    evaluate_once,
    move_once,
    next_power,
    resample,
    tempered_gradient,
)
from vi_kl.targets.modes import Mode
from vi_kl.targets.target import Target

FORGOTTEN = 0.1  # the largest correlation of the gradient's signs with those before the moves
FEWEST_MOVES = 2
MOST_ATTEMPTS = 4  # at a run whose start knows all modes that it comes to
MOST_MOVES = 60
LARGEST_STEP = 2.0  # in scaled coordinates
SHARE_OF_FIRST_ROUND = 0.5  # of the progress


class Stage(NamedTuple):
    """A stage's settings: the power b, the factor by which moves are scaled, their step size and their number."""

    power: jax.Array
    factor: jax.Array
    step_size: jax.Array
    num_moves: jax.Array


@dataclasses.dataclass(frozen=True)
class Arrived:
    """A record of populations that have come to the posterior.

    Attributes:
        z: the particles, of shape (populations, particles, dim), all of the same weight.
        log_z: the log evidence of each population.
        memory: the largest correlation over the coordinates, at each stage, of the gradient's signs after the moves
            with those before.
        modes: the modes that climbs found, from the start and from particles.
        gradients: the number of gradients that climbs and rounds took.
    """

    z: np.ndarray
    log_z: np.ndarray
    memory: np.ndarray
    modes: list[Mode]
    gradients: int

    @property
    def num_stages(self) -> int:
        return len(self.memory)


def run_smc(target: Target, broad: StartingDensity, config: Populations, key, progress: Callable) -> Arrived:
    """Run both rounds: the first finds the stages, the second gives the answer.

    Where one has come to a mode that the start did not know, it begins again, since such a mode may have lost particles
    that a start which knows it would have given it.

    Args:
        target: the posterior.
        broad: a density broader than the posterior.
        config: the number of populations and of particles.
        key: a JAX random key.
        progress: a function that is called with the share done and a few words.

    Raises:
        AnnealingError: the posterior is not reached within 200 stages, or no particle has a finite log density.
    """
    progress(0.0, "looking for modes")
    modes, gradients = modes_from(target, broad, jax.random.fold_in(key, 0))
    for attempt in range(1, MOST_ATTEMPTS + 1):
        keys = jax.random.split(jax.random.fold_in(key, attempt), 4)
        start = start_with(broad, modes)
        first, stages = choose_stages(target, start, config, keys[0], progress)
        known, (modes, climbing) = len(modes), modes_near(target, first, modes, keys[1])
        gradients += climbing + gradients_of(stages, config)
        if len(modes) > known and attempt < MOST_ATTEMPTS:
            continue
        particles, log_z, memory = follow_stages(target, start, stages, config, keys[2], progress)
        known, (modes, climbing) = len(modes), modes_near(target, particles, modes, keys[3])
        gradients += climbing + gradients_of(stages, config)
        if len(modes) == known:
            break
    return Arrived(particles, log_z, memory, modes, gradients)


def gradients_of(stages: list[Stage], config: Populations) -> int:
    """Return the number of gradients that a round through these stages takes."""
    moves = sum(int(stage.num_moves) for stage in stages)
    return config.num_populations * config.num_particles * (1 + LEAPFROGS * moves)


def first_particles(target: Target, start: MixtureStart, config: Populations, key) -> Particles:
    shape = config.num_populations, config.num_particles, target.dim
    z = start.sample(numpy_generator(key), config.num_populations * config.num_particles)
    return evaluate_once(target, jnp.asarray(z.reshape(shape)))


def choose_stages(
    target: Target, start: MixtureStart, config: Populations, key, progress: Callable
) -> tuple[np.ndarray, list[Stage]]:
    """Run the first round, which chooses its stages on the way; return the particles at the end, and the stages."""
    dim, density = target.dim, start.ready()
    particles = first_particles(target, start, config, jax.random.fold_in(key, 0))
    stage = Stage(jnp.zeros(()), jnp.zeros((dim, dim)), jnp.asarray(0.5), jnp.asarray(FEWEST_MOVES))
    stages: list[Stage] = []
    for index in range(1, MOST_STAGES + 1):
        step_key = jax.random.fold_in(key, index)
        particles, gain, stage, _ = run_stage(
            target, density, particles, stage.power, stage, jnp.asarray(True), step_key
        )
        refuse_if_lost(gain)
        stages.append(stage)
        progress(SHARE_OF_FIRST_ROUND * float(stage.power), f"first round, at the power {stage.power:.1g}")
        if stage.power == 1.0:
            return np.asarray(particles.z), stages
    raise AnnealingError(
        f"The posterior was not reached within {MOST_STAGES} stages (b = {float(stage.power):.2g}): give a start "
        "nearer to it, such as start=StartingDensity.around(draws), or check that the log density is finite around "
        "the start."
    )


def follow_stages(
    target: Target, start: MixtureStart, stages: list[Stage], config: Populations, key, progress: Callable
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run the second round; return its particles, each population's log evidence, and each stage's memory."""
    density = start.ready()
    particles = first_particles(target, start, config, jax.random.fold_in(key, 0))
    log_z, memory, before = jnp.zeros(config.num_populations), [], jnp.zeros(())
    for index, stage in enumerate(stages):
        progress(SHARE_OF_FIRST_ROUND + (1 - SHARE_OF_FIRST_ROUND) * index / len(stages), "second round")
        step_key = jax.random.fold_in(key, index + 1)
        particles, gain, _, left = run_stage(target, density, particles, before, stage, jnp.asarray(False), step_key)
        refuse_if_lost(gain)
        log_z, before, memory = log_z + gain, stage.power, [*memory, float(left)]
    return np.asarray(particles.z), np.asarray(log_z), np.array(memory)


def refuse_if_lost(gain) -> None:
    if not np.isfinite(gain).any():
        raise AnnealingError(
            "No particle has a finite log density: give a start nearer to the posterior, such as "
            "start=StartingDensity.around(draws)."
        )


@compiled
def run_stage(target: Target, start: Components, particles: Particles, before, stage: Stage, adaptive, key):
    """Reweight, resample, move; with `adaptive`, the stage's settings are found, from the last one's step size.

    Returns:
        The particles, what each population's log evidence gains, the settings, and the correlation that is left.
    """
    resample_key, move_key = jax.random.split(key)
    log_ratio = particles.log_p - start.log_prob(particles.z)
    power = jnp.where(adaptive, next_power(log_ratio, before), stage.power)
    log_weight = jnp.where(jnp.isfinite(log_ratio), (power - before) * log_ratio, -jnp.inf)
    gain = jax.nn.logsumexp(log_weight, axis=1) - jnp.log(log_weight.shape[1])
    particles = resample(resample_key, log_weight, particles)
    factor = jnp.where(adaptive, inverse_root(tempered_gradient(start, particles, power)), stage.factor)
    stage = Stage(power, factor, stage.step_size, stage.num_moves)
    particles, stage, memory = move_until_forgotten(target, start, particles, stage, adaptive, move_key)
    return particles, gain, stage, memory


def inverse_root(gradient):
    """Return a matrix F with F F' the inverse of the gradient's mean outer product over all populations."""
    flat = gradient.reshape(-1, gradient.shape[-1])
    information = flat.T @ flat / len(flat)
    floor = 1e-10 * jnp.diag(information) + 1e-300
    root = jnp.linalg.cholesky(information + jnp.diag(floor))
    return jax.scipy.linalg.solve_triangular(root, jnp.eye(len(root)), lower=True).T


def move_until_forgotten(target, start: Components, particles: Particles, stage: Stage, adaptive, key):
    """Make the stage's number of moves, or, with `adaptive`, as many as it takes, adapting the step size."""

    def signs(particles):
        return jnp.sign(tempered_gradient(start, particles, stage.power) @ stage.factor)

    at_first = signs(particles)

    def goes_on(carry):
        _, count, _, memory = carry
        needed = (count < FEWEST_MOVES) | ((memory > FORGOTTEN) & (count < MOST_MOVES))
        return jnp.where(adaptive, needed, count < stage.num_moves)

    def once_more(carry):
        particles, count, step_size, _ = carry
        move_key = jax.random.fold_in(key, count)
        particles, accepted = move_once(target, start, particles, stage.power, stage.factor, step_size, move_key)
        better = jnp.minimum(step_size * jnp.exp(accepted - ACCEPTANCE), LARGEST_STEP)
        step_size = jnp.where(adaptive, better, step_size)
        return particles, count + 1, step_size, largest_correlation(at_first, signs(particles))

    begin = particles, jnp.zeros_like(stage.num_moves), stage.step_size, jnp.ones(())
    particles, count, step_size, memory = jax.lax.while_loop(goes_on, once_more, begin)
    return particles, stage._replace(step_size=step_size, num_moves=count), memory


def largest_correlation(one, other):
    """Return the largest absolute correlation, over the coordinates, of two arrays of (populations, particles, dim)."""
    one, other = one - one.mean(axis=(0, 1)), other - other.mean(axis=(0, 1))
    scale = jnp.sqrt((one**2).mean(axis=(0, 1)) * (other**2).mean(axis=(0, 1)))
    product = (one * other).mean(axis=(0, 1))
    return jnp.max(jnp.abs(jnp.where(scale > 0, product / jnp.where(scale > 0, scale, 1.0), 0.0)))
