"""Monte Carlo: KL from independent draws, with its standard error.

The plain mean of log p/q over draws from p (known as k1) is unbiased whatever q is. From two thousand draws on, q/p,
capped, serves as a control variate (control_variate.py), which asks for as many draws from q.
"""

import math

import jax
import numpy as np
from numpyro.distributions import Distribution

from vi_kl.core.compilation import compiled
from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import in_float64
from vi_kl.divergences.density import log_density
from vi_kl.divergences.estimators.control_variate import capped_ratio, controlled_mean, shortfall
from vi_kl.divergences.estimators.normalisation import STRAY, check_normalised, reject_strays
from vi_kl.divergences.estimators.pareto import pareto_k
from vi_kl.divergences.region import is_discrete, region_of
from vi_kl.divergences.registry import describe
from vi_kl.divergences.support import lies_within

FEWEST_FOR_K_HAT = 100
FEWEST_FOR_CONTROL = 2000  # the residuals are skewed: the mean of fewer has too small an error where p and q are close
HEAVY_TAIL = 0.7
MATRICES_AT_A_TIME = 2048
TRIALS_AT_A_TIME = 20_000_000
MOST_TRIALS = 20_000_000_000
CAVEAT = (
    "Regions that p reaches too rarely to be drawn go unseen; they count where q is far smaller still, and the"
    " standard error is then too small."
)
HEAVY = (
    " The log ratios have so heavy a tail (k-hat {:.2f}) that their variance, or the divergence itself, may be"
    " infinite."
)


@in_float64
def monte_carlo_kl(p: Distribution, q: Distribution, key, num_draws: int) -> Estimate:
    """Estimate KL(p||q) as a mean over draws from p; +inf if q has no density at one of them.

    Its k-hat is that of q/p: above 0.5 the estimator k3, which this one resembles, has no standard error.

    Raises:
        ValueError: there are fewer than two draws, a log density is NaN at a draw, or draws of a density pile up
            on single values, as those of Beta(0.01, 0.01) do where floating point cannot distinguish them from 1.
        NotNormalised: p or q is not of mass 1, or contradicts its own draws.
    """
    if num_draws < 2:
        raise ValueError(f"num_draws must be at least 2, got {num_draws}.")
    check_normalised(p=p, q=q)
    draws, log_p, log_q = map(np.asarray, draws_and_log_densities(p, q, key, num_draws))
    reject_piled_up(p, draws)
    log_p = at_own_draws("p", p, draws, log_p)
    reject_nan(p, q, log_p, log_q, "draws from p")
    method = f"Monte Carlo, {num_draws:,} draws"
    log_p, log_q = without_strays(p, q, log_p, log_q)
    outside = int(np.isneginf(log_q).sum())
    if outside:
        return infinite(f"{method}, {outside:,} of them where q has no density", num_draws)
    if num_draws >= FEWEST_FOR_CONTROL:
        log_ratio_at_q = log_ratio_at_draws_of_q(p, q, jax.random.fold_in(key, 1), num_draws)
        return mean_log_ratio(log_p - log_q, log_ratio_at_q, method)
    return mean_log_ratio(log_p - log_q, None, method)


def mean_log_ratio(log_ratio: np.ndarray, log_ratio_at_q: np.ndarray | None, method: str) -> Estimate:
    """Return KL(p||q) from log p/q at draws of p, and at draws of q if there are any for the control variate."""
    if log_ratio_at_q is None:
        value, error = log_ratio.mean(), log_ratio.std(ddof=1) / math.sqrt(len(log_ratio))
    else:
        value, error = controlled_mean(log_ratio, capped_ratio(log_ratio), shortfall(log_ratio_at_q))
        method = f"{method} from each of p and q"
    k_hat = pareto_k(-log_ratio) if len(log_ratio) >= FEWEST_FOR_K_HAT else None
    return Estimate(
        value, error, method, num_draws=len(log_ratio), k_hat=k_hat, caveat=CAVEAT + tail_warning(log_ratio)
    )


def log_ratio_at_draws_of_q(p, q, key, num_draws: int) -> np.ndarray | None:
    """Return log p/q at draws from q; None if q cannot be drawn from, or if the control could mislead."""
    if not supports_allow_control(p, q):
        return None
    try:
        _, log_q, log_p = map(np.asarray, draws_and_log_densities(q, p, key, num_draws))
    except NotImplementedError:
        return None
    return None if np.isnan(log_p).any() or not np.isfinite(log_q).all() else log_p - log_q


def at_own_draws(name, distribution, draws, log_densities):
    """Return the log densities of a distribution at its own draws.

    The few draws that rounding takes past the edge of the support are included.
    """
    reject_strays(name, distribution, log_densities)
    strays = np.isneginf(log_densities)
    if strays.any():
        log_densities = np.where(strays, np.asarray(plain_log_density(distribution, draws)), log_densities)
    endless = float(np.isinf(log_densities).mean())
    if endless:
        raise ValueError(
            f"{endless:.2%} of the draws of {name}, {describe(distribution)}, lie at the edge of its support as far as"
            " floating point can tell, where its density is infinite or none: a mean over them would be wrong."
        )
    return log_densities


def without_strays(p, q, log_p, log_q):
    """Return the log densities without draws that rounding takes beyond q's support.

    They are left out only if p is known to lie within it.
    """
    outside = np.isneginf(log_q)
    if not outside.any() or outside.mean() > STRAY or not lies_within(p, q):
        return log_p, log_q
    return log_p[~outside], log_q[~outside]


@compiled
def plain_log_density(distribution, draws):
    return distribution.log_prob(draws)


def supports_allow_control(p, q) -> bool:
    """Return whether the two supports are equal, or p's is the whole space.

    Otherwise a few draws from q that p does not reach would decide the control's mean, and having none of them would
    hide a bias.
    """
    left, right = region_of(p), region_of(q)
    if left.is_whole or not (left.exact and right.exact) or left.dimension != right.dimension:
        return left.is_whole
    if left.named is not None:
        return type(left.named) is type(right.named)
    single = [region.pieces[0] for region in (left, right) if region.pieces and len(region.pieces) == 1]
    return len(single) == 2 and all(np.array_equal(*(getattr(x, end) for x in single)) for end in ("low", "high"))


def tail_warning(averaged: np.ndarray, sentence: str = HEAVY) -> str:
    """Return the sentence, with their k-hat, if the numbers that are averaged have no finite variance; else ""."""
    if len(averaged) < FEWEST_FOR_K_HAT:
        return ""
    with np.errstate(divide="ignore"):
        k_hat = pareto_k(np.log(np.abs(averaged)))
    return sentence.format(k_hat) if k_hat > HEAVY_TAIL else ""


def draws_and_log_densities(drawn, other, key, num_draws):
    """Return draws of the first distribution, its log density there, and the log density of the other.

    Raises:
        ValueError: the draws would take too long, as those of a Multinomial of a million trials.
    """
    return in_chunks(at_draws_of_first, (drawn, other), key, num_draws)


def at_draws_of_first(distributions, key, num_draws):
    drawn, other = distributions
    draws = drawn.sample(key, (num_draws,))
    return draws, log_density(drawn, draws), log_density(other, draws)


def in_chunks(evaluate, distributions, key, num_draws: int):
    """Return `evaluate(distributions, key, num_draws)`, computed in parts of the draws if all at once are too many.

    NumPyro draws a Multinomial trial by trial, and XLA takes minutes over a batch of many small matrices that it takes
    a second over in parts.
    """
    trials = max(map(trials_of_a_draw, distributions))
    if trials * num_draws > MOST_TRIALS:
        raise ValueError(
            f"A draw here takes {trials:,} trials, and {num_draws:,} draws too long: pass num_draws="
            f"{max(MOST_TRIALS // trials, 2):,} or fewer."
        )
    matrices = any(d.event_dim > 1 for d in distributions)
    chunk = min(MATRICES_AT_A_TIME if matrices else num_draws, max(TRIALS_AT_A_TIME // trials, 1))
    if num_draws <= chunk:
        return at_once(distributions, key, num_draws=num_draws, evaluate=evaluate)
    return by_chunks(distributions, key, num_draws=num_draws, chunk=chunk, evaluate=evaluate)


def trials_of_a_draw(distribution) -> int:
    counted = getattr(distribution, "total_count", 1) if distribution.event_shape else 1
    return max(int(np.max(counted)) * int(np.prod(distribution.event_shape)), 1)


@compiled(static=("num_draws", "evaluate"))
def at_once(distributions, key, num_draws, evaluate):
    return evaluate(distributions, key, num_draws)


@compiled(static=("num_draws", "chunk", "evaluate"))
def by_chunks(distributions, key, num_draws, chunk, evaluate):
    keys = jax.random.split(key, -(-num_draws // chunk))
    parts = jax.lax.map(lambda part: evaluate(distributions, part, chunk), keys)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num_draws], parts)


def infinite(method: str, num_draws: int) -> Estimate:
    """Return the estimate if draws from p fell outside q's support: it is certain, so it needs no caveat."""
    return Estimate(math.inf, 0.0, method, num_draws=num_draws)


def reject_nan(p, q, log_p, log_q, where: str):
    for name, distribution, values in (("p", p, log_p), ("q", q, log_q)):
        if np.isnan(values).any():
            bad = int(np.isnan(values).sum())
            raise ValueError(f"The log density of {name}, {describe(distribution)}, is NaN at {bad} {where}.")


def reject_piled_up(p, draws):
    """Refuse draws from a density that repeat: floating point has merged them, and their log densities are wrong."""
    if is_discrete(p):
        return
    flat = np.sort(draws.reshape(len(draws), -1), axis=0)
    repeated = float((np.diff(flat, axis=0) == 0).mean(0).max())
    if repeated > 1e-3:
        raise ValueError(
            f"{repeated:.1%} of the draws from {describe(p)} repeat a value: floating point cannot tell them from"
            " the edge of the support, so a mean over them would be wrong."
        )
