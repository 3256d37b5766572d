"""Annealing: the log evidence from a start that is known exactly, through ever less tempered posteriors.

It requires a differentiable log density, and no draws. Use it as a second opinion on bridge sampling, with which it
shares nothing: populations of particles are drawn from a broad Student-t, the start, and moved to the posterior
through start^(1 - b) posterior^b, b rising from 0 to 1, by reweighting, resampling and Hamiltonian moves. A first
round chooses the b, the step sizes and the scales as it goes, and is thrown away; with those fixed, the evidence of
each population of the second round is unbiased, and the spread of the populations is an error that needs no theory.

The way back, from posterior draws to the start, gives an unbiased estimate of 1 / evidence, and so a stochastic
upper limit where the way forward gives a stochastic lower limit: the evidence is between them.

References: Neal (2001), "Annealed importance sampling"; Del Moral, Doucet & Jasra (2006), "Sequential Monte Carlo
samplers"; Zhou, Johansen & Aston (2016), "Toward automatic model comparison", for choosing b by the conditional
effective sample size; Grosse, Ghahramani & Adams (2015), "Sandwiching the marginal likelihood using bidirectional
Monte Carlo".
"""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from vi_kl.core.annotations import AnyArray, KeyLike
from vi_kl.core.blas_threads import with_one_blas_thread
from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import numpy_generator
from vi_kl.reference.mcmc.tempering import (
    Annealing,
    AnnealingError,
    Populations,
    StartingDensity,
    choose_plan,
    follow,
    starting_particles,
)
from vi_kl.targets.target import Target

TOO_WIDE = 0.3
BLIND_SPOT = (
    "Annealing finds modes that particles of its start can reach: one that is narrow, or many sds of the start away, "
    "can be missing in every population, and then the spread of the populations does not show it. Where particles move "
    "slowly, as in a funnel, the answer is too low more often than its error says: compare with more moves."
)


@with_one_blas_thread
@in_float64
def log_evidence_by_annealing(
    target: Target,
    *,
    key: KeyLike,
    start: StartingDensity | None = None,
    num_populations: int = 8,
    num_particles: int = 256,
    num_moves: int = 3,
) -> Estimate:
    """Estimate the log evidence in nats from the log density and a start, without posterior draws.

    Args:
        target: the posterior.
        key: a JAX random key.
        start: a density broader than the posterior; None for `StartingDensity.broad`, of scale 4 in every coordinate of
            z.
        num_populations: the number of independent populations of particles, whose spread gives the error.
        num_particles: the number of particles of each population. The error falls with its square root.
        num_moves: the number of moves of every particle at each of the 10 to 50 stages.

    Returns:
        An Estimate with the relative error of the evidence and its degrees of freedom, num_populations - 1.

    Raises:
        AnnealingError: the posterior is not reached within 200 stages, or no particle has a finite log density.
        ValueError: the start has another dimension, or a covariance that is not positive definite.
    """
    config = Annealing(num_populations, num_particles, num_moves)
    return anneal(target, start, config, key)[0]


@with_one_blas_thread
@in_float64
def log_evidence_by_reverse_annealing(
    target: Target,
    draws: Float[AnyArray, "n dim"],
    *,
    key: KeyLike,
    start: StartingDensity | None = None,
    num_populations: int = 8,
    num_particles: int = 256,
    num_moves: int = 3,
) -> Estimate:
    """Estimate a stochastic upper limit of the log evidence, in nats.

    On average it is at or above the log evidence, if the draws are exact.

    The standard error says how much the limit itself varies, and not how far above the log evidence it is.

    Args:
        target: the posterior.
        draws: posterior draws of shape (n, dim), at which the particles begin.
        key: a JAX random key.
        start: the density that the particles are moved to; None for one around the draws, of three times their sds.
        num_populations: see `log_evidence_by_annealing`.
        num_particles: likewise.
        num_moves: likewise.

    Raises:
        AnnealingError, ValueError: see `log_evidence_by_annealing`.
    """
    config = Annealing(num_populations, num_particles, num_moves)
    draws = np.asarray(draws, dtype=float)
    if draws.ndim != 2 or draws.shape[1] != target.dim:
        raise ValueError(f"draws must have shape (n, {target.dim}), got {draws.shape}.")
    start = checked_start(target, StartingDensity.around(draws) if start is None else start)
    plan_key, pick_key, key = jax.random.split(key, 3)
    plan = choose_plan(target, start, config, plan_key)
    n = config.num_populations * config.num_particles
    picked = numpy_generator(pick_key).choice(len(draws), n, replace=n > len(draws))
    log_z = follow(target, start, plan.reversed(start), draws[picked], config, key).log_z
    method = f"reverse annealing, {config.words} posterior draws"
    caveat = "An upper limit only if the draws are from the posterior: a mode that they lack is missing in it."
    inverse = combine(log_z, config, method, caveat)
    return dataclasses.replace(inverse, value=-inverse.value)


def anneal(target: Target, start: StartingDensity | None, config: Annealing, key) -> tuple[Estimate, np.ndarray]:
    """Return the estimate, and the final particles of shape (populations, particles, dim)."""
    start = checked_start(target, StartingDensity.broad(target.dim) if start is None else start)
    plan_key, draw_key, key = jax.random.split(key, 3)
    plan = choose_plan(target, start, config, plan_key)
    arrived = follow(target, start, plan, starting_particles(start, config, draw_key), config, key)
    method = f"annealing in {plan.num_stages} stages, {config.words} particles"
    return combine(arrived.log_z, config, method, BLIND_SPOT), np.asarray(arrived.particles.z)


def combine(log_z, config: Populations, method: str, caveat: str) -> Estimate:
    """Return the log of the mean of the populations' evidences, and the relative error of that mean.

    Each population's evidence is unbiased.
    """
    log_z = np.asarray(log_z)
    if not np.isfinite(log_z).any():
        raise AnnealingError("No particle arrived with a finite log density: give a start nearer to the posterior.")
    shares = np.exp(log_z - log_z.max())
    error = shares.std(ddof=1) / shares.mean() / np.sqrt(len(shares))
    if error > TOO_WIDE:
        caveat += f" With a relative error of {error:.0%} the interval is a rough one: take more particles."
    return Estimate(
        logsumexp(log_z) - np.log(len(log_z)),
        error,
        method,
        num_draws=config.num_populations * config.num_particles,
        caveat=caveat,
        degrees_of_freedom=len(log_z) - 1,
    )


def checked_start(target: Target, start: StartingDensity) -> StartingDensity:
    location, scale_tril = np.asarray(start.location, dtype=float), np.asarray(start.scale_tril, dtype=float)
    if location.shape != (target.dim,) or scale_tril.shape != (target.dim, target.dim):
        raise ValueError(
            f"start must have a location of shape ({target.dim},) and a scale_tril of shape "
            f"({target.dim}, {target.dim}), got {location.shape} and {scale_tril.shape}."
        )
    if np.triu(scale_tril, 1).any() or not (np.diag(scale_tril) > 0).all():
        raise ValueError("The start's scale_tril must be lower triangular with a positive diagonal.")
    if not start.degrees_of_freedom > 0:
        raise ValueError(f"The start's degrees_of_freedom must be positive, got {start.degrees_of_freedom}.")
    return StartingDensity(location, scale_tril, float(start.degrees_of_freedom))
