"""`sample`: NUTS from a fit, in as many steps as it takes, checked like a reference run.

    1. Draws of q are weighed; the chains start at some of them, in the coordinates in which q's normal is standard.
    2. A short warm-up adapts one step size for all chains, and mends the coordinates if trajectories are long.
    3. The chains go on until the effective sample size that was asked for is reached, or a limit.
    4. The log evidence is bridged from q, whose density at its own draws and at the chains' is known by then.

Requires of the target a differentiable log density, and of q a density.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from vi_kl.algorithms.algorithm import CostCounter, Fit, counting_costs
from vi_kl.core.annotations import KeyLike, Progress, ProgressLike
from vi_kl.core.blas_threads import with_one_blas_thread
from vi_kl.core.numbers import whole_number
from vi_kl.core.precision import in_float64
from vi_kl.core.progress import reporting
from vi_kl.core.random_keys import as_key, split
from vi_kl.core.suggestions import names_its_arguments
from vi_kl.diagnostics.arguments import approximation_of
from vi_kl.diagnostics.certificate import Certificate
from vi_kl.diagnostics.errors import errors, summary_of_reference
from vi_kl.diagnostics.missed_modes import MissedMode
from vi_kl.families.approximation import Approximation, sites_at
from vi_kl.reference.mcmc.bridge import CrossBridge, bridge_from, cross_bridge
from vi_kl.reference.mcmc.checks import OF_THE_EVIDENCE, Checks, complaints, measure, of_the_chains, worst_of
from vi_kl.reference.mcmc.draws import PosteriorDraws
from vi_kl.reference.mcmc.nuts import Run
from vi_kl.reference.mcmc.reference_run import UntrustworthyReference, moments, moments_by_site, picks_from
from vi_kl.reference.mcmc.started_nuts import (
    SETTLING,
    WINDOWS,
    Chains,
    Records,
    joined,
    warm_up,
)
from vi_kl.reference.posterior import ReferencePosterior
from vi_kl.targets.arguments import in_words
from vi_kl.targets.target import constrain_in_chunks
from vi_kl.workflows.sampling.posterior_sample import PosteriorSample
from vi_kl.workflows.sampling.start import Start, start_from

SOURCE = "run started from a fit"
OF_THE_CHAINS = of_the_chains("ask for more draws (ess, num_draws), or start from a better fit")
CHAINS_APART = {"chains_apart": OF_THE_EVIDENCE["chains_apart"]}
FEWEST = 100  # draws of a chain
FIRST_PIECE = 1.3  # draws at first, relative to the effective ones that are asked for
PRECISE = 0.1  # standard error in nats, below which the evidence needs no more evaluations
TIGHTER = 2  # times that the steps are made smaller because trajectories diverge
LONGEST = 6  # times the first piece, the most draws of a chain before those asked for are given up


@dataclasses.dataclass(frozen=True)
class Settings:
    """A set of settings of the chains: see `sample`."""

    ess: float
    num_draws: int | None
    num_chains: int
    target_accept_prob: float

    def __post_init__(self):
        whole_number("num_chains", self.num_chains, at_least=2)
        if self.num_draws is not None:
            whole_number("num_draws", self.num_draws, at_least=FEWEST)
        if not self.ess > 0:
            raise ValueError(f"ess must be positive, got {self.ess}.")
        if not 0 < self.target_accept_prob < 1:
            raise ValueError(f"target_accept_prob must lie between 0 and 1, got {self.target_accept_prob}.")

    @property
    def first(self) -> int:
        """The number of draws of each chain before anything is measured."""
        return self.num_draws or max(FEWEST, int(np.ceil(FIRST_PIECE * self.ess / self.num_chains)))


@names_its_arguments
@with_one_blas_thread
@in_float64
def sample(
    fit: Fit | Approximation,
    *,
    key: KeyLike | None = None,
    ess: float = 1000.0,
    num_draws: int | None = None,
    num_chains: int = 4,
    target_accept_prob: float = 0.8,
    certificate: Certificate | None = None,
    checks: Checks = Checks(),  # noqa: B008 (immutable)
    on_failure: str = "raise",
    progress: ProgressLike = None,
) -> PosteriorSample:
    """Draw from the posterior itself, by NUTS that starts from a fit: for where no approximation is near enough.

    The draws are exact in the limit, as any of MCMC, and the better the fit the sooner: from a good one they take less
    than half of the gradients of a run from cold. From a bad one the chains adapt longer, and a run that fails its
    checks is refused.

    Args:
        fit: a Fit or an Approximation with a density.
        key: a JAX random key, or an integer.
        ess: the effective sample size to reach, in bulk and tails of every coordinate of z, over all chains. Means then
            have errors of about 1 / sqrt(ess) posterior sds.
        num_draws: the number of draws of each chain, instead of an effective sample size.
        num_chains: the number of chains, at least 2.
        target_accept_prob: the target acceptance probability of the steps. If trajectories diverge it is moved half of
            the way to 1, twice at most, and the draws before are thrown away.
        certificate: what `vi_kl.check(fit)` found, if it was called: chains start at the modes that q misses, too.
        checks: the limits of the figures that are measured. If a smaller `ess` than its `min_ess` is asked for, that
            one is the limit.
        on_failure: "raise", or "keep" a run that failed, with its complaints in the result.
        progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
            False; by default it is shown on a terminal and in a notebook after two seconds.

    Returns:
        A PosteriorSample, with the draws, the figures they were judged by, the cost, and how far off the fit was. It is
        a ReferencePosterior, which `vi_kl.check(fit, reference)` and `target.with_reference` take.

    Raises:
        UntrustworthyReference: a check failed.
        UnsuitableError: the fit is a point, or has no draw where the posterior has a density.
        TypeError, ValueError: an argument is none of these, or out of range.
    """
    q = approximation_of(fit, "sample")
    if on_failure not in ("raise", "keep"):
        raise ValueError(f'on_failure must be "raise" or "keep", got {on_failure!r}.')
    if not (certificate is None or isinstance(certificate, Certificate)):
        raise TypeError(f"certificate must be a Certificate, as vi_kl.check makes it, not {in_words(certificate)}.")
    settings = Settings(ess, num_draws, num_chains, target_accept_prob)
    checks = dataclasses.replace(checks, min_ess=min(checks.min_ess, ess))
    with reporting(progress, f"sampling from {q.name}") as told:
        work = Work(fit, q, settings, checks, as_key(key), on_failure == "keep", rising(told))
        return work.result(() if certificate is None else certificate.missed_modes)


@dataclasses.dataclass(frozen=True)
class Work:
    """A call of `sample`: its arguments, after they were checked."""

    fit: Fit | Approximation
    q: Approximation
    settings: Settings
    checks: Checks
    key: jax.Array
    keeps_failures: bool
    report: Progress

    def result(self, missed: tuple[MissedMode, ...]) -> PosteriorSample:
        """Start, warm up, draw, check, and gather what was found."""
        q, report, keys = self.q, self.report, split(self.key, 4)
        with counting_costs() as warming:
            start = start_from(q, keys[0], self.settings.num_chains, missed)
            warming.density_evaluations += len(start.draws)
            chains = Chains(start.coordinates, start.v, keys[1], self.settings.target_accept_prob)
            warm_up(chains, telling(report, "warming up", 0.0, 0.2, SETTLING + sum(WINDOWS)))
        with counting_costs() as drawing:
            records, figures = draw_until(chains, self.settings, self.checks, report)
            drawing.gradient_evaluations += int(records.num_steps.sum())
            warming.gradient_evaluations += chains.gradients - drawing.gradient_evaluations
            found = self.judged(figures, OF_THE_CHAINS)
            report(0.95, "bridging the evidence")
            bridge = evidence(q, start, records, keys[2], drawing)
        figures["chains_apart"] = np.asarray(bridge.disagreement)
        found += self.judged(figures, CHAINS_APART)
        costs = warming.cost(), drawing.cost()
        made = gather(self.fit, q, start, records, figures, bridge, found, costs, keys[3])
        report(1.0, "done")
        return dataclasses.replace(made, target_accept_prob=chains.target_accept_prob)

    def judged(self, figures, kinds) -> tuple[str, ...]:
        """Return the complaints; raise an error with them unless failures are kept."""
        found = complaints(figures, self.checks, kinds, self.q.target.coordinate_names)
        if found and not self.keeps_failures:
            raise UntrustworthyReference(self.q.target, found, SOURCE)
        return found


def rising(report: Progress) -> Progress:
    """Return a function that reports no fraction below one that was reported before."""
    highest = 0.0

    def tell(fraction: float, sentence: str) -> None:
        nonlocal highest
        highest = max(highest, fraction)
        report(highest, sentence)

    return tell


def telling(report: Progress, words: str, low: float, high: float, steps: int) -> Callable[[int], None]:
    """Return a function that is told numbers of steps done, and reports their share of so many."""
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        report(low + (high - low) * min(1.0, done / steps), words)

    return tell


def draw_until(chains: Chains, settings: Settings, checks: Checks, report: Progress) -> tuple[Records, dict]:
    """Draw until the effective sample size is reached; return the draws, and the figures that they are judged by."""
    records = first_piece(chains, settings, checks, report)
    while True:
        figures = measure(Run(records.energy, records.diverging, records.num_steps, records.z))
        more = 0 if settings.num_draws else missing(figures, records.z.shape[1], settings, checks)
        if not more:
            return records, figures
        records = joined(
            [records, chains.run(more, adapting=False, report=telling(report, "sampling on", 0.6, 0.9, more))]
        )


def first_piece(chains: Chains, settings: Settings, checks: Checks, report: Progress) -> Records:
    """Draw for the first time; if trajectories diverge, throw the draws away, and draw again in smaller steps."""
    for is_last in [False] * TIGHTER + [True]:
        records = chains.run(
            settings.first, adapting=False, report=telling(report, "sampling", 0.2, 0.6, settings.first)
        )
        if is_last or records.diverging.mean() <= checks.max_divergent_share:
            break
        chains.target_accept_prob = (1 + chains.target_accept_prob) / 2
        chains.forget_step_size(chains.step_size.value)
        chains.run(SETTLING, adapting=True)
        chains.settle_step_size()
    return records


def missing(figures: dict, length: int, settings: Settings, checks: Checks) -> int:
    """Return how many draws each chain still lacks: none if enough are there, or more would not mend what is wrong."""
    reached = float(min(figures["ess_bulk"].min(), figures["ess_tail"].min()))
    agrees = bool(figures["r_hat"].max() <= checks.max_r_hat)
    if (reached >= settings.ess and agrees) or not figures["divergent_share"] <= checks.max_divergent_share:
        return 0
    factor = np.clip(1.1 * settings.ess / max(reached, 1.0), 1.25, 2.0)
    return max(0, min(int(factor * length), LONGEST * settings.first) - length)


def evidence(q: Approximation, start: Start, records: Records, key, counter: CostCounter) -> CrossBridge:
    """Bridge the log evidence from q, without any evaluation; or from a normal of the draws' own, if q is far off."""
    draws = PosteriorDraws(records.z, independent=False)
    found = None
    if q.family.has_log_prob:
        log_ratios = records.log_p.ravel() - q.log_prob(draws.z)
        if np.isfinite(log_ratios).all():
            with np.errstate(invalid="ignore", divide="ignore"):  # no overlap at all: an error that is not a number
                found = bridge_from(log_ratios, start.log_weights, draws, q.name)
            if found.estimate.standard_error < PRECISE:
                return found
    try:
        crossed = cross_bridge(q.target, draws, key)
        counter.density_evaluations += 4 * len(draws)
    except ValueError:
        if found is None:
            raise
        return found
    is_better = found is not None and found.estimate.standard_error < crossed.estimate.standard_error
    return found if is_better else crossed


def gather(
    fit, q: Approximation, start: Start, records: Records, figures: dict, bridge: CrossBridge, found, costs, key
) -> PosteriorSample:
    """Make the result of what was found."""
    target, draws = q.target, PosteriorDraws(records.z, independent=False)
    known = moments_by_site(target, moments(target, records.z))
    plain = ReferencePosterior(bridge.estimate, known, picks_from(records.z), SOURCE, chains=records.z, target=target)
    fitted = constrain_in_chunks(target, start.draws.z)
    return PosteriorSample(
        log_evidence=bridge.estimate,
        moments=known,
        sample=plain.sample,
        source=SOURCE,
        chains=records.z,
        complaints=found,
        target=target,
        name=q.name,
        sites=sites_at(target, draws.z, key, deterministic=True),
        figures=worst_of(figures, OF_THE_CHAINS | CHAINS_APART),
        errors=errors(fitted, summary_of_reference(target, plain, draws)),
        warm_up=costs[0],
        drawing=costs[1],
        fit_cost=getattr(fit, "cost", None),
        start=start.words(q.name),
    )
