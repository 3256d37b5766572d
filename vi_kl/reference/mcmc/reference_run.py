"""The reference by a reference run: NUTS, checked, with the log evidence by bridge sampling and a second opinion.

It requires a differentiable log density whose posterior NUTS can explore; a run that fails its checks is refused. Use
it where there is no closed form and quadrature does not apply. It costs seconds for small models; `cache` makes a
comparison pay for it once.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from vi_kl.core.annotations import KeyLike, Progress, ProgressLike
from vi_kl.core.blas_threads import with_one_blas_thread
from vi_kl.core.errors import ViKLError
from vi_kl.core.estimate import Estimate
from vi_kl.core.files import cache_folder
from vi_kl.core.precision import in_float64
from vi_kl.core.progress import part_of, reporting
from vi_kl.core.random_keys import as_key, fold_in, numpy_generator
from vi_kl.reference.cache import cached, fingerprint
from vi_kl.reference.mcmc.annealing import anneal
from vi_kl.reference.mcmc.bridge import cross_bridge
from vi_kl.reference.mcmc.checks import OF_THE_CHAINS, OF_THE_EVIDENCE, Checks, complaints, measure
from vi_kl.reference.mcmc.draws import PosteriorDraws
from vi_kl.reference.mcmc.nuts import NUTS, run_nuts
from vi_kl.reference.mcmc.tempering import Annealing, StartingDensity
from vi_kl.reference.posterior import Moments, ReferencePosterior
from vi_kl.targets.arguments import of_a_target
from vi_kl.targets.target import Target, constrain_in_chunks

SHARE_OF_NUTS = 0.7  # share of the progress


class UntrustworthyReference(ViKLError, RuntimeError):
    """An error: a reference run failed its checks.

    Attributes:
        complaints: a sentence for each failed check, with the figure, its limit and what to do.
    """

    def __init__(self, target: Target, complaints: tuple[str, ...], source: str = "reference run"):
        self.complaints = complaints
        lines = "".join(f"\n- {sentence}" for sentence in complaints)
        super().__init__(
            f"The {source} of {target} failed {len(complaints)} of its checks:{lines}\n"
            'With on_failure="keep" the run is kept, and its complaints with it.'
        )


@of_a_target
@with_one_blas_thread
@in_float64
def reference_run(
    target: Target,
    *,
    key: KeyLike,
    num_chains: int = 4,
    num_warmup: int = 1000,
    num_draws: int = 2000,
    target_accept_prob: float = 0.8,
    checks: Checks = Checks(),  # noqa: B008 (immutable)
    annealing: Annealing = Annealing(),  # noqa: B008
    on_failure: str = "raise",
    cache: str | os.PathLike | bool | None = None,
    progress: ProgressLike = None,
) -> ReferencePosterior:
    """Compute a reference posterior from chains of NUTS: draws, moments, log evidence, and a second opinion on it.

    Args:
        target: the posterior.
        key: a JAX random key.
        num_chains: the number of chains, from starting points uniform on (-2, 2) in every coordinate of z.
        num_warmup: the number of steps of each chain that are discarded.
        num_draws: the number of draws kept of each chain.
        target_accept_prob: the target acceptance probability; raise it towards 0.99 if trajectories diverge.
        checks: the limits of the figures that are measured.
        annealing: the settings of the second opinion.
        on_failure: "raise", or "keep" a run that failed, with its complaints in the reference.
        cache: a folder, True for the default one (see `cache_folder`), or None for no caching.
        progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
            False; by default it is shown on a terminal and in a notebook after two seconds.

    Returns:
        A ReferencePosterior with source "reference run", whose `sample` picks from the stored draws.

    Raises:
        UntrustworthyReference: a check failed; no evidence is computed if the chains failed.
        ValueError: a setting is out of range, or no starting point has a finite log density.
    """
    if on_failure not in ("raise", "keep"):
        raise ValueError(f'on_failure must be "raise" or "keep", got {on_failure!r}.')
    nuts = NUTS(num_chains, num_warmup, num_draws, target_accept_prob)
    with reporting(progress, "reference run") as report:
        work = Work(target, as_key(key), nuts, annealing, report)
        return run_and_check(work, checks, cache_folder(cache), keeps_failures=on_failure == "keep")


def run_and_check(work: "Work", checks: Checks, folder: Path | None, *, keeps_failures: bool) -> ReferencePosterior:
    """Run the chains, and then weigh the evidence; refuse what fails the checks unless failures are kept."""
    target, nuts, annealing, key = work.target, work.nuts, work.annealing, work.key
    name = "" if folder is None else fingerprint(target, nuts, key)
    chains = cached(folder, f"{name}-chains", work.run, ("z", *OF_THE_CHAINS))
    found = complaints(chains, checks, OF_THE_CHAINS, target.coordinate_names)
    if found and not keeps_failures:
        raise UntrustworthyReference(target, found)
    name = "" if folder is None else fingerprint(target, (nuts, annealing), key)
    evidence = cached(folder, f"{name}-evidence", lambda: work.weigh(chains["z"]), work.needs())
    found += complaints(evidence, checks, OF_THE_EVIDENCE, target.coordinate_names)
    if found and not keeps_failures:
        raise UntrustworthyReference(target, found)
    work.report(1.0, "done")
    return make_reference(target, chains["z"], evidence, found)


@dataclasses.dataclass(frozen=True)
class Work:
    """A computation of what takes time, as {name: array}, which is how the cache keeps it."""

    target: Target
    key: jax.Array
    nuts: NUTS
    annealing: Annealing
    report: Progress

    def run(self) -> dict:
        """Run the chains; return them and the figures that they are judged by."""
        part = part_of(self.report, 0.0, SHARE_OF_NUTS)
        run = run_nuts(self.target, self.nuts, fold_in(self.key, 0), part)
        return {"z": run.z, **measure(run)}

    def weigh(self, z) -> dict:
        """Compute the log evidence by two methods, how far apart they are, and the moments."""
        self.report(SHARE_OF_NUTS, "bridge sampling")
        draws = PosteriorDraws(z, independent=False)
        bridge = cross_bridge(self.target, draws, fold_in(self.key, 1))
        self.report(SHARE_OF_NUTS + 0.05, "annealing")
        second, _ = anneal(self.target, StartingDensity.around(draws.z), self.annealing, fold_in(self.key, 2))
        difference = bridge.estimate.minus(second, "difference")
        return {
            "log_evidence": to_text(bridge.estimate),
            "second_opinion": to_text(second),
            "chains_apart": bridge.disagreement,
            "methods_apart": abs(difference.value) / difference.standard_error,
            **moments(self.target, z),
        }

    def needs(self) -> tuple[str, ...]:
        sites = [f"{what}/{name}" for what in ("mean", "sd", "error") for name in self.target.site_names]
        return ("log_evidence", "second_opinion", *OF_THE_EVIDENCE, *sites)


def moments(target: Target, z) -> dict[str, np.ndarray]:
    """Return mean, sd and Monte-Carlo standard error of the mean of every site in the model's space.

    The error is the largest over the site's entries, in sds.
    """
    from arviz_stats.base import array_stats  # imported here, as it takes seconds

    result: dict[str, np.ndarray] = {}
    for name, x in constrain_in_chunks(target, z.reshape(-1, z.shape[-1])).items():
        mean, sd = x.mean(axis=0), x.std(axis=0, ddof=1)
        entries = x.reshape(*z.shape[:2], -1)
        # a constant entry, as some of a factor are, has no effective sample size
        varies = np.ptp(entries, axis=(0, 1)) > 1e-12 * np.abs(entries).max(axis=(0, 1))
        numbers = np.atleast_1d(array_stats.ess(np.moveaxis(entries[..., varies], -1, 0), method="mean"))
        error = np.max(1 / np.sqrt(numbers), initial=0.0)
        result |= {f"mean/{name}": mean, f"sd/{name}": sd, f"error/{name}": np.asarray(error)}
    return result


def moments_by_site(target: Target, figures) -> dict[str, Moments]:
    """Return what `moments` computed as {site: Moments}."""
    return {
        name: Moments(figures[f"mean/{name}"], figures[f"sd/{name}"], float(figures[f"error/{name}"]))
        for name in target.site_names
    }


def picks_from(chains) -> Callable:
    """Return a function `sample(key, n)` that picks n of the stored draws, each at most once if there are enough."""
    return functools.partial(picked, chains.reshape(-1, chains.shape[-1]))


def picked(z: np.ndarray, key, n: int) -> np.ndarray:
    return z[numpy_generator(key).choice(len(z), n, replace=n > len(z))]


def make_reference(target: Target, chains, evidence, complaints: tuple[str, ...]) -> ReferencePosterior:
    return ReferencePosterior(
        log_evidence=from_text(evidence["log_evidence"]),
        moments=moments_by_site(target, evidence),
        sample=picks_from(chains),
        source="reference run",
        chains=chains,
        second_opinion=from_text(evidence["second_opinion"]),
        complaints=complaints,
        target=target,
    )


def to_text(estimate: Estimate) -> str:
    return json.dumps(estimate.to_dict())


def from_text(text) -> Estimate:
    return Estimate(**json.loads(str(text)))
