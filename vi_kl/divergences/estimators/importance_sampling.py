"""Importance sampling: KL from draws of q, or of a proposal, where p has a density but is awkward to draw from.

Let w = p/g at draws from g. KL(p||q) is the mean of w log(p/q). The known mean of w, 1, is a control variate: the
regression on it has at most the variance of the self-normalised mean, and is unbiased. Draws from q give the mean of
w log w - w + 1, say, of which no term is negative.
"""

import math

import numpy as np
from numpyro.distributions import Distribution

from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import in_float64
from vi_kl.divergences.density import log_density
from vi_kl.divergences.estimators.control_variate import controlled_mean
from vi_kl.divergences.estimators.monte_carlo import at_own_draws, in_chunks, infinite, reject_nan
from vi_kl.divergences.estimators.normalisation import check_normalised
from vi_kl.divergences.estimators.pareto import pareto_k
from vi_kl.divergences.estimators.quadrature import NotConverged
from vi_kl.divergences.registry import describe

FEWEST = 1000
UNRELIABLE = 0.7  # k-hat; Vehtari et al. (2024)
CAVEAT = (
    "Only where {} puts draws is anything seen: a part of p that they do not reach, an infinite divergence included,"
    " shows at most in a mean weight below 1."
)


@in_float64
def importance_sampling_kl(p: Distribution, q: Distribution, key, num_draws: int, proposal=None) -> Estimate:
    """Estimate KL(p||q) as a weighted mean over draws from q, or from `proposal`; p need not be drawn from.

    Its k-hat is that of the weights.

    Raises:
        ValueError: there are fewer than 1,000 draws, the proposal is over another space, or a log density is NaN at a
            draw.
        NotConverged: the weights have so heavy a tail that no number of draws is enough, or the draws miss part of p.
    """
    if num_draws < FEWEST:
        raise ValueError(f"num_draws must be at least {FEWEST:,} for importance sampling, got {num_draws}.")
    source = q if proposal is None else proposal
    if source.event_shape != p.event_shape or source.batch_shape:
        raise ValueError(
            f"the proposal must have event shape {p.event_shape} and no batch dimensions, but {describe(source)} has"
            f" {source.event_shape} and {source.batch_shape}."
        )
    check_normalised(q=q, **({} if proposal is None else {"the proposal": proposal}))  # p is checked by its mean weight
    draws, log_p, log_q, log_source = map(np.asarray, log_densities_at_draws(source, p, q, key, num_draws))
    name = "q" if proposal is None else "the proposal"
    reject_nan(p, q, log_p, log_q, f"draws from {name}")
    log_source = at_own_draws(name, source, draws, log_source)
    method = f"importance sampling, {num_draws:,} draws from {name}"
    outside = int((np.isneginf(log_q) & (log_p > -np.inf)).sum())
    if outside:
        return infinite(f"{method}, {outside:,} of them where p has density and q has none", num_draws)
    return weighted_mean(log_p - log_source, log_p, log_q, method, name)


def weighted_mean(log_weights, log_p, log_q, method: str, source: str) -> Estimate:
    """Return KL(p||q) from log p, log q and log p/g at draws from g."""
    k_hat = pareto_k(log_weights)
    if k_hat > UNRELIABLE:
        raise NotConverged(
            f"importance sampling did not converge: the weights have too heavy a tail (k-hat {k_hat:.2f}, above"
            f" {UNRELIABLE}) for draws from {source}. Give a proposal with heavier tails than p's."
        )
    weights = np.exp(log_weights)
    reject_missed(weights, source)
    reached = log_p > -np.inf
    losses = np.zeros(len(weights))
    losses[reached] = weights[reached] * (log_p - log_q)[reached]
    value, error = controlled_mean(losses, np.expm1(log_weights), np.zeros(len(weights)))
    return Estimate(value, error, method, num_draws=len(weights), k_hat=k_hat, caveat=CAVEAT.format(source))


def reject_missed(weights: np.ndarray, source: str) -> None:
    """Refuse draws that miss part of p: the mean weight is 1 if the draws can reach all of p."""
    error = weights.std(ddof=1) / math.sqrt(len(weights))
    if abs(weights.mean() - 1) > 5 * error + 1e-9:
        raise NotConverged(
            f"importance sampling did not converge: the mean weight is {weights.mean():.4g} ± {error:.1g} instead of"
            f" 1, so that {source} misses part of p. Give a proposal that is wide enough."
        )


def log_densities_at_draws(source, p, q, key, num_draws):
    return in_chunks(at_draws_of_source, (source, p, q), key, num_draws)


def at_draws_of_source(distributions, key, num_draws):
    source, p, q = distributions
    draws = source.sample(key, (num_draws,))
    return draws, log_density(p, draws), log_density(q, draws), log_density(source, draws)
