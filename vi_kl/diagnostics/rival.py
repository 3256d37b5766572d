"""A rival of q: a quickly fitted mean field, for a lower limit of the evidence where q's own weights prove little.

The ELBO of any density is at most the log evidence, so KL(q||posterior) is at least the rival's ELBO less q's. If q
lies hundreds of nats away from the posterior's mass, its own weights prove next to nothing. A mean field that starts at
z = 0, as guides do, and is optimised for a few seconds proves most of the distance.
"""

import numpy as np

from vi_kl.core.gaussian import Gaussian
from vi_kl.diagnostics.effort import FEWEST_CHOSEN, Effort
from vi_kl.diagnostics.evidence import mean_estimate
from vi_kl.diagnostics.evidence_bounds import elbo_limits
from vi_kl.diagnostics.limits import log_lower_limit
from vi_kl.targets.price import CHUNK
from vi_kl.targets.target import Target, log_density_in_chunks, value_and_grad_batch

STEPS = 200
DRAWS, FEWEST_DRAWS = 16, 8  # of each step
FIRST, LAST = 0.2, 0.01  # step sizes of the first and the last step
NARROW = 0.3  # the sds at the start


def rival_evidence(target: Target, generator: np.random.Generator, confidence: float, effort: Effort) -> float:
    """Return a lower limit of the log evidence from a newly fitted mean field.

    It is -inf if the log density is not finite at some draw of that mean field.
    """
    loc, log_sd = climb(target, generator, effort.part(DRAWS, FEWEST_DRAWS))
    rival = Gaussian.of(loc, np.exp(log_sd))
    z = rival.sample(generator, effort.part(CHUNK, FEWEST_CHOSEN))
    log_p, log_q = log_density_in_chunks(target, z), rival.log_prob(z)
    if not np.isfinite(log_p).all():
        return -np.inf
    half = 1 - (1 - confidence) / 2
    of_elbo = elbo_limits(mean_estimate(log_p - log_q, "rival"), half).lower
    return max(of_elbo, log_lower_limit(log_p - log_q, half))


def climb(target: Target, generator: np.random.Generator, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit a mean field by some steps of Adam (Kingma & Ba 2015) on the ELBO with so many antithetic draws.

    Draws whose gradient is not finite are left out.

    Returns:
        The location and the log sds, (dim,) each.
    """
    place = np.concatenate([np.zeros(target.dim), np.full(target.dim, np.log(NARROW))])
    first, second = np.zeros_like(place), np.zeros_like(place)
    for i, size in enumerate(np.geomspace(FIRST, LAST, STEPS), start=1):
        loc, log_sd = np.split(place, 2)
        noise = generator.standard_normal((draws // 2, target.dim))
        noise = np.concatenate([noise, -noise])
        values, gradients = value_and_grad_batch(target, loc + np.exp(log_sd) * noise)
        known = np.isfinite(values) & np.isfinite(gradients).all(axis=1)
        if not known.any():
            place[target.dim :] -= size  # narrower, until it finds a density
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            of_loc = gradients[known].mean(axis=0)
            of_log_sd = (gradients * noise)[known].mean(axis=0) * np.exp(log_sd) + 1
            gradient = np.clip(np.concatenate([of_loc, of_log_sd]), -1e100, 1e100)
            first, second = 0.9 * first + 0.1 * gradient, 0.99 * second + 0.01 * gradient**2
            place = place + size * (first / (1 - 0.9**i)) / (np.sqrt(second / (1 - 0.99**i)) + 1e-12)
    return tuple(np.split(place, 2))
