"""Bridge sampling: the log evidence from posterior draws, with its error.

It requires draws from the posterior (a reference run's chains, or independent ones) and nothing else of the target
than its log density. Use it wherever such draws exist: it is the most precise general method for the evidence.

A normal distribution is fitted to one half of the draws, and the optimal bridge between it and the posterior is
evaluated on the other half; then the halves change places, and the mean of the two is the answer. Before they are
bridged, the posterior is warped: moved to mean zero, scaled to unit covariance, and symmetrised about its mean,
none of which changes its integral, and all of which makes it more like a normal.

References: Meng & Wong (1996), "Simulating ratios of normalizing constants via a simple identity"; Meng & Schilling
(2002), "Warp bridge sampling" (warp-III is what is done here); Frühwirth-Schnatter (2004), eq. 9, for the relative
error with autocorrelated draws; Gronau et al. (2017), "A tutorial on bridge sampling".
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import expit, logsumexp

from vi_kl.core.annotations import AnyArray, KeyLike
from vi_kl.core.estimate import Estimate
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import numpy_generator
from vi_kl.reference.mcmc.draws import PosteriorDraws
from vi_kl.targets.target import Target, log_density_in_chunks

BLIND_SPOT = "Bridge sampling weighs only what the draws have visited: a mode that no chain has found is missing in it."
TOO_WIDE = 0.3  # relative error above which its first-order formula is not reliable


@in_float64
def log_evidence_by_bridge(
    target: Target, chains: Float[AnyArray, "chains length dim"], *, key: KeyLike, independent: bool = False
) -> Estimate:
    """Estimate the log evidence in nats from draws of the posterior.

    Args:
        target: the posterior that the draws are from.
        chains: draws of z, of shape (chains, length, dim); one chain (1, length, dim) for independent draws.
        key: a JAX random key, for the draws of the normal distribution.
        independent: whether every draw is independent of all others; their autocorrelation is estimated otherwise.

    Returns:
        An Estimate whose standard error is the relative error of the evidence; its interval means what it says
        while that error is well below one.

    Raises:
        ValueError: the draws have another shape, are not finite, or are too few to fit a covariance to one half of
            them.
    """
    return cross_bridge(target, PosteriorDraws(checked_chains(target, chains), independent), key).estimate


class CrossBridge(NamedTuple):
    """A bridge estimate, as from both halves of the draws, with each chain's own.

    Attributes:
        estimate: the estimate of the log evidence.
        by_chain: each chain's own log evidence minus that of all, of shape (chains,).
        by_chain_error: the standard errors of `by_chain`, of shape (chains,).
    """

    estimate: Estimate
    by_chain: np.ndarray
    by_chain_error: np.ndarray

    @property
    def disagreement(self) -> float:
        """The largest distance of one chain's log evidence from the mean of the others', in standard errors."""
        n = len(self.by_chain)
        if n < 2:
            return 0.0
        others = (self.by_chain.sum() - self.by_chain) / (n - 1)
        variance = self.by_chain_error**2
        error = np.sqrt(variance + (variance.sum() - variance) / (n - 1) ** 2)
        distance = np.abs(self.by_chain - others)
        return float(np.max(np.where(distance > 0, distance / np.maximum(error, 1e-300), 0.0)))


def checked_chains(target: Target, chains) -> np.ndarray:
    chains = np.asarray(chains, dtype=float)
    if chains.ndim != 3 or chains.shape[-1] != target.dim:
        raise ValueError(f"chains must have shape (chains, length, {target.dim}), got {chains.shape}.")
    if not np.isfinite(chains).all():
        raise ValueError(f"chains hold {int((~np.isfinite(chains)).sum())} values that are not finite.")
    half = chains.shape[0] * (chains.shape[1] // 2)
    if half < 10 * target.dim or chains.shape[1] < 20:
        raise ValueError(
            f"Bridge sampling fits a covariance of {target.dim} dimensions to one half of the draws: it needs at "
            f"least 20 a chain and {20 * target.dim} in all, got {chains.shape[0]} x {chains.shape[1]}."
        )
    return chains


def cross_bridge(target: Target, draws: PosteriorDraws, key) -> CrossBridge:
    """Bridge each half of the chains from the normal distribution fitted to the other half."""
    generator = numpy_generator(key)
    middle = draws.chains.shape[1] // 2
    first, second = draws.chains[:, :middle], draws.chains[:, middle:]
    halves = [
        bridge(target, fit_normal(fitted), PosteriorDraws(bridged, draws.independent), generator)
        for fitted, bridged in ((first, second), (second, first))
    ]
    error = np.sqrt(sum(half.relative_variance for half in halves)) / 2
    caveat = BLIND_SPOT
    if error > TOO_WIDE:
        caveat += f" With a relative error of {error:.0%} the interval is a rough one: take more draws."
    value = np.mean([half.log_evidence for half in halves])
    method = f"bridge sampling (warp-III), {draws.words}"
    return CrossBridge(
        Estimate(value, error, method, num_draws=len(draws), caveat=caveat),
        np.mean([half.by_chain for half in halves], axis=0),
        np.sqrt(sum(half.by_chain_error**2 for half in halves)) / 2,
    )


def bridge_from(log_ratios, log_weights, draws: PosteriorDraws, name: str) -> CrossBridge:
    """Bridge the posterior and a density that was known before the draws were made, such as an approximation.

    No half of the draws is spent on fitting it, and where both log densities are known at both kinds of draws, nothing
    is left to evaluate.

    Args:
        log_ratios: the log ratio of the unnormalised posterior density to the other at the posterior draws, (n,).
        log_weights: likewise at independent draws of the other density, (m,); -inf where there is no posterior.
        draws: the posterior draws.
        name: what the other density is called.
    """
    found = bridge_of_ratios(np.asarray(log_ratios), np.asarray(log_weights), draws)
    error, caveat = np.sqrt(found.relative_variance), BLIND_SPOT
    if error > TOO_WIDE:
        caveat += f" With a relative error of {error:.0%} the interval is a rough one: {name} is far off."
    method = f"bridge sampling from {name}, {draws.words}"
    estimate = Estimate(found.log_evidence, error, method, num_draws=len(draws), caveat=caveat)
    return CrossBridge(estimate, found.by_chain, found.by_chain_error)


def log_ratio(target: Target, normal: Gaussian, u) -> np.ndarray:
    """Return log of (density of the warped posterior at u) / (standard normal density of u), unnormalised."""
    both = log_density_in_chunks(target, np.concatenate([normal.unwhiten(u), normal.unwhiten(-u)]))
    both = np.where(np.isnan(both), -np.inf, both)  # outside the support in floating point
    return np.logaddexp(*np.split(both, 2)) - np.log(2) + 0.5 * (u**2).sum(axis=1) + normal.log_volume


def fit_normal(chains) -> Gaussian:
    z = chains.reshape(-1, chains.shape[-1])
    try:
        scale_tril = np.linalg.cholesky(np.atleast_2d(np.cov(z, rowvar=False)))
    except np.linalg.LinAlgError:
        raise ValueError("The draws lie in a plane: no normal distribution can be fitted to them.") from None
    return Gaussian.of(z.mean(axis=0), scale_tril)


class Bridge(NamedTuple):
    """A bridge estimate from one half: the fields of CrossBridge, and the relative variance of the evidence."""

    log_evidence: float
    relative_variance: float
    by_chain: np.ndarray
    by_chain_error: np.ndarray


def bridge(target: Target, normal: Gaussian, draws: PosteriorDraws, generator) -> Bridge:
    """Compute the optimal bridge between a normal and the posterior, on these posterior draws."""
    at_posterior = log_ratio(target, normal, normal.whiten(draws.z))
    return bridge_of_ratios(at_posterior, log_ratio(target, normal, generator.normal(size=draws.z.shape)), draws)


def bridge_of_ratios(at_posterior, at_normal, draws: PosteriorDraws) -> Bridge:
    """Compute the optimal bridge between the posterior and a normal, or any density whose draws are independent.

    Args:
        at_posterior: the log ratio of the unnormalised posterior density to the other at posterior draws, (n,).
        at_normal: likewise at draws of the other density, (m,).
        draws: the posterior draws.
    """
    if not np.isfinite(at_posterior).all() or np.isinf(at_normal).all():
        raise ValueError("The log density is not finite at posterior draws: are they from this target?")
    share = draws.effective_number(at_posterior)
    share = share / (share + len(at_normal))
    log_evidence = solve_bridge(at_posterior, at_normal, share)
    # the two densities relative to their mixture: both means are one at the solution
    normal_part = 1 / (share + (1 - share) * np.exp(np.clip(log_evidence - at_normal, -700, 700)))
    posterior_part = 1 / (share * np.exp(np.clip(at_posterior - log_evidence, -700, 700)) + 1 - share)
    relative_variance = normal_part.var(ddof=1) / normal_part.mean() ** 2 / len(normal_part) + posterior_part.var(
        ddof=1
    ) / posterior_part.mean() ** 2 / draws.effective_number(posterior_part)
    return Bridge(log_evidence, relative_variance, *chain_by_chain(draws, posterior_part))


def solve_bridge(at_posterior, at_normal, share: float) -> float:
    """Return the fixed point of Meng & Wong's iteration, the root of a function that rises in the log evidence.

    Args:
        at_posterior: log ratio of posterior (unnormalised) to normal density, at draws of each.
        at_normal: likewise.
        share: the share of the posterior's effective draws among all.
    """
    odds = np.log(share) - np.log1p(-share)

    def excess(log_evidence):
        misplaced_posterior = expit(log_evidence - odds - at_posterior).mean()
        misplaced_normal = expit(odds + at_normal - log_evidence).mean()
        return share * misplaced_posterior - (1 - share) * misplaced_normal

    middle = logsumexp(at_normal) - np.log(len(at_normal))
    finite = np.concatenate([at_posterior, at_normal[np.isfinite(at_normal)], [middle]])
    return float(brentq(excess, finite.min() - 50 - abs(odds), finite.max() + 50 + abs(odds), xtol=1e-12))


def chain_by_chain(draws: PosteriorDraws, posterior_part) -> tuple[np.ndarray, np.ndarray]:
    """Return each chain's log evidence minus that of all, and its error.

    The normal's draws are common to all chains.
    """
    parts = posterior_part.reshape(draws.chains.shape[:2])
    means = parts.mean(axis=1)
    alone = [PosteriorDraws(chain[None], draws.independent) for chain in draws.chains]
    numbers = [chain.effective_number(part) for chain, part in zip(alone, parts, strict=True)]
    return -np.log(means / means.mean()), parts.std(axis=1, ddof=1) / means / np.sqrt(numbers)
