"""Draws of all sites under every approximation of a Comparison, and of the posterior where it is known: for figures."""

import dataclasses

import jax
import numpy as np

from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import as_key
from vi_kl.targets.price import affordable
from vi_kl.targets.target import constrain_in_chunks, log_density_in_chunks
from vi_kl.workflows.comparison import Comparison

NUM_DRAWS = 65_536  # so many that a curve through them is smooth
NUM_WEIGHTS = 16_384  # as many as k-hat is estimated from
FEWEST_WEIGHTS = 512


@dataclasses.dataclass(frozen=True)
class SiteDraws:
    """The draws of a comparison in the model's own space.

    Attributes:
        exact: draws of the posterior, {site: (n, ...)}; None if the target has no reference.
        approximations: draws of each q, {name of q: {site: (n, ...)}}.
    """

    exact: dict[str, np.ndarray] | None
    approximations: dict[str, dict[str, np.ndarray]]


@in_float64
def draw_weights_of(comparison: Comparison, key, num_draws: int = NUM_WEIGHTS) -> dict[str, np.ndarray]:
    """Return log p - log q at draws of each q that has a density, {name: (n,)}, in the order of the ELBOs.

    Where an evaluation of the log density is dear, the draws are fewer.
    """
    key, found = as_key(key), {}
    num_draws = affordable(comparison.target, num_draws, FEWEST_WEIGHTS)
    fits = dict(zip(comparison.names, comparison.fits, strict=True))
    for i, c in enumerate(sorted(comparison.certificates, key=lambda c: -c.elbo.to("nats").value)):
        if np.isfinite(c.k_hat):  # that of a point is infinite
            z, log_q = fits[c.name].approximation.sample_and_log_prob(jax.random.fold_in(key, i), num_draws)
            found[c.name] = log_density_in_chunks(comparison.target, z) - np.asarray(log_q)
    return found


@in_float64
def draw_sites_of(comparison: Comparison, key, num_draws: int = NUM_DRAWS) -> SiteDraws:
    """Draw from everything in a comparison; of a reference run, take all the draws that it has."""
    key, target = as_key(key), comparison.target
    exact = None
    if target.reference is not None:
        exact = constrain_in_chunks(target, target.reference.draws(key, num_draws).z)
    approximations: dict[str, dict[str, np.ndarray]] = {}
    for i, (name, fit) in enumerate(zip(comparison.names, comparison.fits, strict=True)):
        approximations[name] = fit.sample(jax.random.fold_in(key, i), num_draws, deterministic=False)
    return SiteDraws(exact, approximations)
