"""KL divergences from draws, with their standard error."""

import math

import numpy as np
from numpyro.distributions import Distribution

from vi_kl.compilation import compiled
from vi_kl.divergences.numerical import log_density
from vi_kl.divergences.registry import describe
from vi_kl.estimate import Estimate
from vi_kl.precision import in_float64


@in_float64
def monte_carlo_kl(p: Distribution, q: Distribution, key, num_draws: int) -> Estimate:
    """KL(p||q) as the mean of log p(x) - log q(x) over draws x from p (known as k1), with its standard error.

    Unbiased whatever q is. What it cannot see: regions that p reaches too rarely to be drawn, which count when
    q is much smaller still there; the standard error is then too small.

    Raises:
        ValueError: fewer than two draws, draws at which a log density is NaN, or draws of a density that pile up
            on single values, as those of Beta(0.01, 0.01) do where floating point cannot tell them from 1.
    """
    if num_draws < 2:
        raise ValueError(f"num_draws must be at least 2, got {num_draws}.")
    draws, log_p, log_q = map(np.asarray, draws_and_log_densities(p, q, key, num_draws))
    reject_piled_up(p, draws)
    for name, distribution, values in (("p", p, log_p), ("q", q, log_q)):
        if np.isnan(values).any():
            bad = int(np.isnan(values).sum())
            raise ValueError(f"The log density of {name}, {describe(distribution)}, is NaN at {bad} draws from p.")
    method = f"Monte Carlo, {num_draws:,} draws"
    outside = int(np.isneginf(log_q).sum())
    if outside:
        return Estimate(math.inf, 0.0, f"{method}, {outside:,} of them where q has no density")
    log_ratio = log_p - log_q
    return Estimate(log_ratio.mean(), log_ratio.std(ddof=1) / math.sqrt(num_draws), method)


@compiled(static=("num_draws",))
def draws_and_log_densities(p, q, key, num_draws):
    draws = p.sample(key, (num_draws,))
    return draws, p.log_prob(draws), log_density(q, draws)


def reject_piled_up(p, draws):
    """Draws from a density repeat only where floating point has merged them; their log densities are then wrong."""
    if p.is_discrete:
        return
    flat = np.sort(draws.reshape(len(draws), -1), axis=0)
    repeated = float((np.diff(flat, axis=0) == 0).mean(0).max())
    if repeated > 1e-3:
        raise ValueError(
            f"{repeated:.1%} of the draws from {describe(p)} repeat a value: floating point cannot tell them from"
            " the edge of the support, so a mean over them would be wrong."
        )
