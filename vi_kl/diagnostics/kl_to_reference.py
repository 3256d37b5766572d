"""KL between q and a reference posterior, in both directions, and KL(q||posterior) in two independent ways.

1. By the gap, log evidence - ELBO, which uses the model's own density and draws of q.
2. By integration of log q - log posterior under q: in closed form if q and the posterior are distributions that have
   one; by quadrature over q's own base noise in up to three dimensions; otherwise by Monte Carlo with other draws
   against the posterior's closed form. It uses no ELBO and, for conjugate models, not the model's program either.
"""

import dataclasses

import numpy as np
from scipy.special import logsumexp

from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import in_float64
from vi_kl.diagnostics.evidence import Draws, elbo_of, mean_estimate
from vi_kl.divergences import NoClosedForm, kl_divergence
from vi_kl.families.approximation import (
    Approximation,
    is_pushed_noise,
    log_prob_in_chunks,
    push_in_chunks,
    site_distributions,
)
from vi_kl.reference.mcmc.draws import PosteriorDraws
from vi_kl.reference.quadrature.integrate import grid
from vi_kl.targets.target import Target, log_density_in_chunks

NODES_PER_AXIS = {1: 801, 2: 65, 3: 33}
EXTENT = 8.0  # the grid's half-width; a standard normal has a mass of 1e-15 beyond it


def reverse_kl_by_gap(draws: Draws, target: Target) -> Estimate:
    """Return KL(q||posterior) = log evidence - ELBO."""
    gap = target.reference.log_evidence.minus(elbo_of(draws), "log evidence - ELBO")
    return dataclasses.replace(gap, num_draws=len(draws))


@in_float64
def reverse_kl_by_integration(q: Approximation, key, num_draws: int) -> Estimate | None:
    """Return KL(q||posterior) without the ELBO, or None if there is no independent way of computing it."""
    target = q.target
    closed = closed_form_kl(q)
    if closed is not None:
        return closed
    if target.dim in NODES_PER_AXIS and is_pushed_noise(q):
        return kl_by_base_quadrature(q)
    if target.reference.log_density is None:
        return None
    draws = Draws(q, key, num_draws)
    difference = draws.log_q - target.reference.log_density(draws.z)
    return mean_estimate(difference, "Monte Carlo against the posterior's closed form")


def closed_form_kl(q: Approximation) -> Estimate | None:
    """Return the sum of closed-form KLs over independent sites; None if sites are dependent or one has none."""
    posterior = q.target.reference.distributions
    sites = None if posterior is None else site_distributions(q)
    if sites is None:
        return None
    try:
        total = sum(np.sum(kl_divergence(sites[name], posterior[name])) for name in posterior)
    except NoClosedForm:
        return None
    return Estimate(float(total), 0.0, "closed form")


def kl_by_base_quadrature(q: Approximation) -> Estimate:
    """Integrate over q's base noise by the trapezoidal rule; the error is estimated by leaving out every other node."""
    dim = q.target.dim
    axis = np.linspace(-EXTENT, EXTENT, NODES_PER_AXIS[dim])
    u = grid([axis] * dim)
    z, log_q = push_in_chunks(q, u)
    log_p, method = log_posterior(q.target, z)
    log_weight = -0.5 * np.sum(u**2, axis=1)
    even = grid([np.arange(len(axis)) % 2 == 0] * dim).all(axis=1)

    def integral(keep):
        weight = np.exp(log_weight[keep] - logsumexp(log_weight[keep]))
        matters = weight > 1e-17
        return float(np.sum(weight[matters] * (log_q - log_p)[keep][matters]))

    fine, coarse = integral(np.ones(len(u), bool)), integral(even)
    error = np.hypot(abs(fine - coarse), q.target.reference.log_evidence.standard_error)
    return Estimate(fine, max(error, 1e-12), f"quadrature over q against {method}, {len(u):,} nodes")


def log_posterior(target: Target, z) -> tuple[np.ndarray, str]:
    """Return the log of the normalised posterior density at z, from its closed form if there is one, and the method."""
    if target.reference.log_density is not None:
        return target.reference.log_density(z), "the posterior's closed form"
    return normalised_log_density(target, z), "the normalised posterior"


def normalised_log_density(target: Target, z) -> np.ndarray:
    """Return log density minus log evidence at z, (n,)."""
    return log_density_in_chunks(target, z) - target.reference.log_evidence.value


@in_float64
def forward_kl(q: Approximation, posterior: PosteriorDraws):
    """Estimate KL(posterior||q) from draws of the posterior.

    Returns:
        The estimate, log q at the draws, and the unnormalised log density there. The first two are None if q's density
            is
        known only at its own draws.
    """
    log_p = log_density_in_chunks(q.target, posterior.z)
    try:
        log_q = log_prob_in_chunks(q, posterior.z)
    except NotImplementedError:
        return None, None, log_p
    difference = log_p - q.target.reference.log_evidence.value - log_q
    estimate = posterior.mean(difference, f"Monte Carlo, {posterior.words}")
    error = np.hypot(estimate.standard_error, q.target.reference.log_evidence.standard_error)
    return dataclasses.replace(estimate, standard_error=float(error)), log_q, log_p
