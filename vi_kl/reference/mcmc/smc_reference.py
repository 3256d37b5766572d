"""The reference by sequential Monte Carlo: for posteriors of several modes, in up to some twenty dimensions.

It requires a differentiable log density. What judges it is that its populations, which know nothing of one another,
agree: on the log evidence, on means, on each mode's share. Their spread gives every error.
"""

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri, stdtr

from vi_kl.core.annotations import KeyLike, Progress, ProgressLike
from vi_kl.core.blas_threads import with_one_blas_thread
from vi_kl.core.estimate import Estimate
from vi_kl.core.files import cache_folder
from vi_kl.core.precision import in_float64
from vi_kl.core.progress import reporting
from vi_kl.core.random_keys import as_key, numpy_generator
from vi_kl.reference.cache import cached, fingerprint
from vi_kl.reference.mcmc.annealing import checked_start, combine
from vi_kl.reference.mcmc.checks import OF_THE_POPULATIONS, Checks, complaints, energy_fraction
from vi_kl.reference.mcmc.nuts import NUTS, run_nuts
from vi_kl.reference.mcmc.reference_run import (
    UntrustworthyReference,
    from_text,
    moments_by_site,
    picks_from,
    to_text,
)
from vi_kl.reference.mcmc.smc import Arrived, run_smc
from vi_kl.reference.mcmc.smc_start import broad_start, nearest
from vi_kl.reference.mcmc.tempering import Populations, StartingDensity
from vi_kl.reference.posterior import ReferencePosterior, in_few_digits
from vi_kl.targets.arguments import of_a_target
from vi_kl.targets.target import Target, constrain_in_chunks

SOURCE = "sequential Monte Carlo"
PROBE = NUTS(num_chains=8, num_warmup=300, num_draws=250)  # chains from particles, which only look at the geometry
SMALLEST_SHARE = 0.02  # of a mode that every population has to find
BLIND_SPOT = (
    "Every population starts at the modes that climbs found, and from a broad density: a mode that is narrow, or far "
    "away, can be missing in all of them, and then their agreement does not show it. So can the neck of a funnel, "
    "unless chains from the particles show it."
)


@dataclasses.dataclass(frozen=True)
class ModeShare:
    """A mode, and its share of the posterior.

    Attributes:
        z: the place of the mode, (dim,).
        share: the share of the posterior that belongs to it, with the error from the populations' spread.
    """

    z: np.ndarray
    share: Estimate


@dataclasses.dataclass(frozen=True, repr=False)
class SMCReference(ReferencePosterior):
    """A record of a posterior by `reference_by_smc`: a ReferencePosterior, with its modes, its checks and its cost.

    Attributes:
        modes: the modes that hold a fiftieth of the posterior or more, the heaviest first; none where climbs found no
            maximum that curves down in every direction.
        figures: what the populations were judged by, each the worst over coordinates, modes and populations.
        num_stages: the number of temperatures.
        gradients: the number of gradients that climbs and both rounds took.
        instead_of: the complaints about a run of NUTS in whose place this is; empty if there was none.
    """

    modes: tuple[ModeShare, ...] = ()
    figures: dict[str, float] = dataclasses.field(default_factory=dict)
    num_stages: int = 0
    gradients: int = 0
    instead_of: tuple[str, ...] = ()

    def __str__(self):
        lines = [super().__str__(), f"  {self.num_stages} temperatures, {self.gradients:,} gradients"]
        lines += [f"  mode at z {in_few_digits(mode.z)}: share {mode.share}" for mode in self.modes]
        lines += [f"  in place of a run of NUTS: {complaint}" for complaint in self.instead_of]
        return "\n".join(lines)


@of_a_target
@with_one_blas_thread
@in_float64
def reference_by_smc(
    target: Target,
    *,
    key: KeyLike,
    num_populations: int = 16,
    num_particles: int = 512,
    start: StartingDensity | None = None,
    checks: Checks = Checks(),  # noqa: B008 (immutable)
    on_failure: str = "raise",
    cache: str | os.PathLike | bool | None = None,
    progress: ProgressLike = None,
) -> SMCReference:
    """Compute a reference posterior of several modes by sequential Monte Carlo: draws, moments, log evidence.

    Particles are drawn from a broad start and around the modes that climbs from there find, and led to the posterior
    through tempered ones. Their populations are independent.

    Args:
        target: the posterior.
        key: a JAX random key.
        num_populations: the number of independent populations, whose agreement is checked and whose spread gives the
            errors.
        num_particles: the number of particles of each population. Errors fall with its square root.
        start: the broad part of the start; None for one with the moments of the prior where the source can draw from
            it, and otherwise of scale 4 in every coordinate of z.
        checks: the limits of the figures that are measured.
        on_failure: "raise", or "keep" a run that failed, with its complaints in the reference.
        cache: a folder, True for the default one (see `cache_folder`), or None for no caching.
        progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
            False; by default it is shown on a terminal and in a notebook after two seconds.

    Returns:
        An SMCReference, whose `chains` are the populations.

    Raises:
        UntrustworthyReference: a check failed.
        AnnealingError: the posterior is not reached within 200 stages, or no particle has a finite log density.
        ValueError: a setting is out of range.
    """
    if on_failure not in ("raise", "keep"):
        raise ValueError(f'on_failure must be "raise" or "keep", got {on_failure!r}.')
    config = Populations(num_populations, num_particles)
    start = None if start is None else checked_start(target, start)
    folder, key = cache_folder(cache), as_key(key)
    settings = ("smc", config, None if start is None else [np.asarray(part).tolist() for part in start])
    name = "" if folder is None else f"{fingerprint(target, settings, key)}-smc"
    with reporting(progress, SOURCE) as report:
        found = cached(folder, name, lambda: measured(target, config, start, key, report), NEEDS)
        report(1.0, "done")
    failed = complaints(found, checks, OF_THE_POPULATIONS, target.coordinate_names)
    if failed and on_failure == "raise":
        raise UntrustworthyReference(target, failed, f"reference by {SOURCE}")
    return make_reference(target, found, failed)


NEEDS = ("z", "log_evidence", "mode_z", "mode_shares", "num_stages", "gradients", *OF_THE_POPULATIONS)


def measured(target: Target, config: Populations, start: StartingDensity | None, key, report: Progress) -> dict:
    """Run the populations; return them and all that is made of them, as {name: array}, which the cache keeps."""
    broad = broad_start(target, jax.random.fold_in(key, 0)) if start is None else start
    arrived = run_smc(target, broad, config, jax.random.fold_in(key, 1), report)
    method = f"sequential Monte Carlo in {arrived.num_stages} stages, {config.words} particles"
    evidence = combine(arrived.log_z, config, method, BLIND_SPOT)
    shares = shares_of_modes(arrived)
    heavy = shares.mean(axis=0) >= SMALLEST_SHARE
    mode_z = np.array([mode.z for mode in arrived.modes]).reshape(-1, target.dim)
    return {
        "z": arrived.z,
        "log_evidence": to_text(evidence),
        "mode_z": mode_z[heavy],
        "mode_shares": shares[:, heavy],
        "num_stages": np.asarray(arrived.num_stages),
        "gradients": np.asarray(arrived.gradients),
        **figures_of(arrived, shares[:, heavy], evidence),
        **moves_from(target, arrived.z, jax.random.fold_in(key, 2)),
        **moments_of_populations(target, arrived.z),
    }


def shares_of_modes(arrived: Arrived) -> np.ndarray:
    """Return the share of each population's particles that belongs to each mode, (populations, modes)."""
    if not arrived.modes:
        return np.zeros((len(arrived.z), 0))
    belongs = nearest(arrived.modes, arrived.z)
    return np.stack([(belongs == index).mean(axis=1) for index in range(len(arrived.modes))], axis=1)


def figures_of(arrived: Arrived, shares: np.ndarray, evidence: Estimate) -> dict[str, np.ndarray]:
    """Return what the populations are judged by: by coordinate of z where that applies, else single numbers."""
    from arviz_stats.base import array_stats  # imported here, as it takes seconds

    by_coordinate = np.moveaxis(arrived.z, -1, 0)
    particles = arrived.z.shape[1]
    return {
        "fewest_in_mode": np.asarray(shares.min(initial=1.0) * particles),
        "evidences_apart": outlying(arrived.log_z[:, None])[0],
        "shares_apart": np.max(outlying(shares), initial=0.0),
        "means_apart": outlying(arrived.z.mean(axis=1)),
        "evidence_error": np.asarray(evidence.standard_error),
        "ess_bulk": np.atleast_1d(array_stats.ess(by_coordinate, method="bulk")),
        "ess_tail": np.atleast_1d(array_stats.ess(by_coordinate, method="tail", prob=0.05)),
        "memory": arrived.memory.max(),
    }


def moves_from(target: Target, z: np.ndarray, key) -> dict[str, np.ndarray]:
    """Return what chains of NUTS from particles (populations, particles, dim) tell of a geometry such as a funnel's."""
    particles = z.reshape(-1, z.shape[-1])
    picked = numpy_generator(key).choice(len(particles), PROBE.num_chains, replace=False)
    run = run_nuts(target, PROBE, key, starts=jnp.asarray(particles[picked]))
    return {"moves_diverging": np.asarray(run.diverging.mean()), "moves_e_bfmi": np.asarray(energy_fraction(run))}


def outlying(values: np.ndarray) -> np.ndarray:
    """Return how far the population that is farthest from the others is, for each of several figures.

    The distance of one from the mean of the others, by their spread, is t distributed. Its probability is corrected for
    the number of populations and figures, and told as the distance in sds at which a normal variable is as rare.

    Args:
        values: the figures, of shape (populations, figures).
    """
    n = len(values)
    sums, squares = values.sum(axis=0), ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    difference = values - (sums - values) / (n - 1)
    # what is left of the sum of squares without one of the values
    rest = squares - difference**2 * (n - 1) / n
    spread = np.sqrt(np.maximum(rest, 0.0) / (n - 2) * n / (n - 1))
    alike = np.abs(difference) <= 1e-12 * (1 + np.abs(values))
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(alike, 0.0, np.abs(difference) / spread)
        chance = -np.expm1(values.size * np.log1p(-2 * stdtr(n - 2, -distance)))
        return np.max(np.maximum(-ndtri(chance / 2), 0.0), axis=0)


def moments_of_populations(target: Target, z: np.ndarray) -> dict[str, np.ndarray]:
    """Return mean and sd of every site in the model's space, and the error of the mean from the populations' spread.

    The error is the largest over the site's entries, in sds.
    """
    result: dict[str, np.ndarray] = {}
    populations = len(z)
    for name, x in constrain_in_chunks(target, z.reshape(-1, z.shape[-1])).items():
        mean, sd = x.mean(axis=0), x.std(axis=0, ddof=1)
        means = x.reshape(populations, -1, *x.shape[1:]).mean(axis=1)
        # a constant entry, as some of a factor are, has no error
        varies = np.ptp(x, axis=0) > 1e-12 * np.abs(x).max(axis=0)
        errors = means.std(axis=0, ddof=1) / np.sqrt(populations) / np.where(varies, sd, np.inf)
        result |= {f"mean/{name}": mean, f"sd/{name}": sd, f"error/{name}": np.max(errors, initial=0.0)}
    return result


def mode_shares(found: dict) -> tuple[ModeShare, ...]:
    """Return the modes with their shares, the heaviest first."""
    shares = np.asarray(found["mode_shares"])
    errors = shares.std(axis=0, ddof=1) / np.sqrt(len(shares))
    method = f"the spread of {len(shares)} populations"
    made = [
        ModeShare(z, Estimate(share, error, method, "", degrees_of_freedom=len(shares) - 1))
        for z, share, error in zip(found["mode_z"], shares.mean(axis=0), errors, strict=True)
    ]
    return tuple(sorted(made, key=lambda mode: -mode.share.value))


def make_reference(target: Target, found: dict, failed: tuple[str, ...]) -> SMCReference:
    worst = {
        name: float(np.max(found[name]) if check.low_is_good else np.min(found[name]))
        for name, check in OF_THE_POPULATIONS.items()
    }
    return SMCReference(
        log_evidence=from_text(found["log_evidence"]),
        moments=moments_by_site(target, found),
        sample=picks_from(np.asarray(found["z"])),
        source=SOURCE,
        chains=np.asarray(found["z"]),
        complaints=failed,
        target=target,
        modes=mode_shares(found),
        figures=worst,
        num_stages=int(found["num_stages"]),
        gradients=int(found["gradients"]),
    )
