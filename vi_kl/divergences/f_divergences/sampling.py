"""Monte Carlo for f-divergences, with half of the draws from p and half from q.

A point's contribution to a bounded f-divergence, divided by the density (p + q)/2 of such draws, is bounded by
twice the largest value of the divergence: the error is known from few draws, whatever the tails. Draws from p
alone would need q/p, whose variance may be infinite. For the unbounded ones (chi-squared, orders of 1 and more)
the ratio grows where p is far larger than q, for these draws as for any from p, and the Pareto k-hat of the terms
shows whether their mean is reliable.
"""

import math

import jax
import numpy as np

from vi_kl.core.estimate import Estimate
from vi_kl.divergences.estimators.monte_carlo import at_own_draws, draws_and_log_densities, reject_piled_up
from vi_kl.divergences.estimators.normalisation import check_normalised
from vi_kl.divergences.estimators.pareto import pareto_k
from vi_kl.divergences.f_divergences.finite import times
from vi_kl.divergences.f_divergences.generators import Generator, interior
from vi_kl.divergences.registry import describe

FEWEST_DRAWS = 4
FEWEST_FOR_K_HAT = 100
UNRELIABLE = 0.7  # the k-hat above which no practical number of draws makes a mean reliable
UNSEEN = "Regions that both p and q reach too rarely to be drawn go unseen."
HEAVY = "The terms have so heavy a tail (k-hat {:.2f}) that the divergence may be infinite."


def monte_carlo(p, q, divergence: Generator, key, num_draws: int) -> Estimate:
    """Return the mean over draws from (p + q)/2, taken in equal numbers from p and from q, with its standard error.

    Raises:
        ValueError: there are fewer than four draws, a log density is NaN at a draw, draws pile up on single
            values, or density ratios leave the floating range.
    """
    if num_draws < FEWEST_DRAWS:
        raise ValueError(f"num_draws must be at least {FEWEST_DRAWS}, got {num_draws}.")
    check_normalised(p=p, q=q)
    half = num_draws // 2
    log_p, log_q = log_densities_at_draws(p, q, key, half)
    terms = per_draw(divergence, log_p, log_q)
    method = f"Monte Carlo, {2 * half:,} draws, half from p and half from q"
    integrals = terms.mean((1, 2))
    value = divergence.value(list(integrals))
    if np.isinf(terms).any():
        method += "; one has density where the other has none"
        return Estimate(value, 0.0, method, divergence.unit, num_draws=2 * half)
    errors = np.sqrt(terms.var(2, ddof=1).sum(1) / half) / 2
    k_hat = tail_shape(divergence, terms[0].ravel(), (log_p - log_q).ravel())
    caveat = UNSEEN if k_hat is None or k_hat <= UNRELIABLE else f"{UNSEEN} {HEAVY.format(k_hat)}"
    error = divergence.error(integrals, errors)
    return Estimate(value, error, method, divergence.unit, num_draws=2 * half, k_hat=k_hat, caveat=caveat)


def per_draw(divergence, log_p, log_q):
    """Return each draw's contribution divided by its density (p + q)/2, of shape (terms, 2, count).

    An f-divergence is homogeneous in (p, q), so dividing both divides the term.
    """
    log_density = np.logaddexp(log_p, log_q) - math.log(2)
    log_p, log_q = log_p - log_density, log_q - log_density
    with np.errstate(over="ignore", invalid="ignore"):
        inner = interior(divergence, log_p, log_q)
    if not np.isfinite(inner).all():
        raise ValueError(
            f"The {divergence.name} cannot be estimated from draws: p/q leaves the floating range at some, as where"
            " the divergence is infinite."
        )
    p_alone, q_alone = (np.where(np.isneginf(b), np.exp(a), 0.0) for a, b in ((log_p, log_q), (log_q, log_p)))
    alone = zip(divergence.p_alone, divergence.q_alone, strict=True)
    return inner + np.stack([times(by_p, p_alone) + times(by_q, q_alone) for by_p, by_q in alone])


def tail_shape(divergence, terms, log_ratio):
    """Return the Pareto k-hat of the terms on the side where they may be unbounded.

    It is None if there is no tail to judge.
    """
    side = log_ratio > 0 if math.isinf(divergence.p_alone[0]) else log_ratio < 0
    bounded = math.isfinite(divergence.p_alone[0]) and math.isfinite(divergence.q_alone[0])
    if bounded or len(terms) < FEWEST_FOR_K_HAT or not terms[side].any():
        return None
    with np.errstate(all="ignore"):
        k_hat = pareto_k(np.log(np.where(side, terms, 0.0)))
    return None if math.isnan(k_hat) else k_hat  # NaN if the largest are equal, as those of a constant ratio


def log_densities_at_draws(p, q, key, count):
    """Return log p and log q at `count` draws from p and as many from q, of shape (2, count) each."""
    first, second = jax.random.split(key)
    from_p, log_p, log_q = map(np.asarray, draws_and_log_densities(p, q, first, count))
    from_q, log_q_at_q, log_p_at_q = map(np.asarray, draws_and_log_densities(q, p, second, count))
    reject_piled_up(p, from_p)
    reject_piled_up(q, from_q)
    log_p, log_q_at_q = at_own_draws("p", p, from_p, log_p), at_own_draws("q", q, from_q, log_q_at_q)
    log_p, log_q = np.stack([log_p, log_p_at_q]), np.stack([log_q, log_q_at_q])
    for name, distribution, values in (("p", p, log_p), ("q", q, log_q)):
        if np.isnan(values).any():
            bad = int(np.isnan(values).sum())
            raise ValueError(f"The log density of {name}, {describe(distribution)}, is NaN at {bad} draws.")
    return log_p, log_q
