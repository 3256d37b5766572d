"""Importance-corrected draws: many draws of q, of which some are kept with probability in proportion to p/q.

The weights are Pareto-smoothed. Where their k-hat is too large they are refused, because what is drawn by them would
look like the posterior and not be it. Each of the n draws that are kept comes from its own n-th part of the total
weight (stratified resampling), which adds less noise than drawing independently.

References: Vehtari, Simpson, Gelman, Yao & Gabry (2024), "Pareto smoothed importance sampling", JMLR 25,
for the limit of k-hat; Yao, Vehtari, Simpson & Gelman (2018), "Yes, but did it work?", which takes the same limit for
variational approximations; Kitagawa (1996), "Monte Carlo filter and smoother", for stratified resampling.
"""

import dataclasses
import math

import jax
import numpy as np

from vi_kl.core.annotations import KeyLike, ProgressLike
from vi_kl.core.blas_threads import with_one_blas_thread
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.numbers import whole_number
from vi_kl.core.precision import in_float64
from vi_kl.core.progress import reporting
from vi_kl.core.random_keys import numpy_generator
from vi_kl.core.records import Readable
from vi_kl.divergences.estimators.pareto import RELIABLE, effective_share, pareto_k, smoothed_weights
from vi_kl.draws.answers import Answers, asked
from vi_kl.draws.target_draws import TargetDraws, one_chain, some_of
from vi_kl.targets.price import affordable

CANDIDATES, FEWEST_CANDIDATES = 16_384, 1_024  # draws of q to choose from: usual, and where evaluations are dear
FEWEST = 100  # weights that k-hat can be estimated from
PER_DRAW = 4  # candidates for each draw at the least, so that few are drawn twice


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Resampled(Readable, Answers):
    """Draws of an approximation, corrected by importance weights, with how far they can be trusted.

    Attributes:
        draws: the draws, with their target.
        k_hat: Pareto's k-hat of the weights.
        limit: the k-hat above which this number of weights is not reliable.
        effective: the effective sample size of the weights (Kish): no average over the draws is more precise than over
            so many of the posterior.
        num_candidates: the number of draws of q that were weighed.
        distinct: how many of the draws that were kept are distinct.
    """

    draws: TargetDraws
    k_hat: float
    limit: float
    effective: float
    num_candidates: int
    distinct: int

    @property
    def reliable(self) -> bool:
        """Whether k-hat is small enough."""
        return self.k_hat <= self.limit

    @property
    def sites(self) -> dict[str, np.ndarray]:
        """The draws, {site: (n, ...)}, in the space in which the model sees them."""
        return self.draws.sites()

    @property
    def headline(self) -> str:
        """The source, how many draws, and k-hat."""
        marked = "" if self.reliable else ", NOT reliable"
        return f"{len(self.draws):,} draws of {self.draws.method}, k-hat {in_words(self.k_hat)}{marked}"

    def __str__(self):
        return "\n".join([self.headline[:1].upper() + self.headline[1:], *self.draws.notes])

    @property
    def holds_draws(self) -> bool:
        return True

    def target_of_draws(self):
        return self.draws.target

    def drawn(self, key, n: int | None) -> TargetDraws:
        return dataclasses.replace(self.draws, chains=some_of(self.draws.chains, n), key=key)


@with_one_blas_thread
@in_float64
def resample(
    q: Answers, key: KeyLike, n: int, num_candidates: int | None, on_failure: str, progress: ProgressLike
) -> Resampled:
    """Return n draws of an approximation, chosen by their importance weights; see `Approximation.resample`."""
    if on_failure not in ("raise", "keep"):
        raise ValueError(f'on_failure must be "raise" or "keep", got {on_failure!r}.')
    key, number = asked(key, n)
    assert number is not None, "resample has no default number of draws"
    usual = candidates_for(q.target_of_draws(), number)
    num = usual if num_candidates is None else whole_number("num_candidates", num_candidates, max(number, FEWEST))
    with reporting(progress, "resampling") as report:
        report(0.0, f"drawing {num:,} candidates")
        draws = q.drawn(jax.random.fold_in(key, 4), num)
        report(0.3, f"weighing {num:,} candidates")
        return chosen(draws, key, number, keeps_failures=on_failure == "keep")


def chosen(draws: TargetDraws, key: jax.Array, n: int, *, keeps_failures: bool) -> Resampled:
    """Return n of the draws, chosen by their importance weights.

    Raises:
        UnsuitableError: k-hat is above its limit, and failures are not kept; or q has no density.
    """
    if draws.log_q is None or not np.isfinite(draws.log_q).all():
        raise UnsuitableError(
            f"{draws.name} has no density at its draws, so they have no importance weights: fit a family that has one "
            f"('full_rank', 'flow'), or draw from the posterior by vi_kl.sample."
        )
    log_weights = (draws.log_p() - draws.log_q).ravel()
    if np.isneginf(log_weights).all():
        raise UnsuitableError(f"The posterior has no density at any of the {len(draws):,} draws of {draws.name}.")
    k_hat, limit = pareto_k(log_weights), limit_for(len(log_weights))
    if k_hat > limit and not keeps_failures:
        raise UnsuitableError(refusal(draws, k_hat, limit))
    weights = smoothed_weights(log_weights)
    places = stratified(weights, n, key)
    effective = effective_share(weights) * len(weights)
    notes = (*draws.notes, caveat(k_hat, limit, effective))
    kept = dataclasses.replace(
        draws,
        chains=one_chain(draws.z[places]),
        log_q=None,
        method=f"{draws.method}, corrected by importance weights",
        notes=notes,
        attributes={**draws.attributes, "importance_weights": notes[-1]},
    )
    return Resampled(kept, k_hat, limit, effective, len(weights), len(np.unique(places)))


def candidates_for(target, n: int) -> int:
    """Return how many draws of q are weighed for n that are kept."""
    return max(affordable(target, CANDIDATES, FEWEST_CANDIDATES), PER_DRAW * n)


def limit_for(num_weights: int) -> float:
    """Return the k-hat above which an average over so many weights is not reliable (Vehtari et al. 2024)."""
    return min(1 - 1 / math.log10(num_weights), RELIABLE)


def stratified(weights: np.ndarray, n: int, key: jax.Array) -> np.ndarray:
    """Return n places, in random order: one from each n-th part of the total of the normalised weights."""
    generator = numpy_generator(key)
    positions = (np.arange(n) + generator.random(n)) / n
    reached = np.cumsum(weights)
    places = np.searchsorted(reached / reached[-1], positions, side="right")
    return generator.permutation(np.minimum(places, len(weights) - 1))


def refusal(draws: TargetDraws, k_hat: float, limit: float) -> str:
    return (
        f"The importance weights of {draws.name} have k-hat {in_words(k_hat)} ({len(draws):,} draws), above "
        f"{limit:.2f}: no practical number of draws makes averages with them reliable, and draws that were chosen by "
        f"them would look like the posterior and not be it (Vehtari et al. 2024). Fit a richer family ('flow'), or "
        f'draw from the posterior itself, vi_kl.sample(fit, key=key). on_failure="keep" returns the draws, marked.'
    )


def caveat(k_hat: float, limit: float, effective: float) -> str:
    """Say how far the draws can be trusted."""
    if k_hat > limit:
        return (
            f"NOT reliable: k-hat {in_words(k_hat)} is above {limit:.2f}, so the weights of a few draws decide, and "
            f"averages may be off by any amount."
        )
    return (
        f"k-hat {in_words(k_hat)}: reliable where q has draws, and as precise as {effective:,.0f} draws of the "
        f"posterior at best. A mode that q never visits stays missing."
    )


def in_words(k_hat: float) -> str:
    return "flat" if k_hat == -math.inf else f"{k_hat:.2f}"
