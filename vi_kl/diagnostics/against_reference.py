"""Comparison of q with a reference posterior: KL in both directions, averages, coverage, transport distance."""

import numpy as np

from vi_kl.core.estimate import Estimate
from vi_kl.core.gaussian import gaussian_of_draws
from vi_kl.core.random_keys import numpy_generator
from vi_kl.diagnostics.errors import errors, summary_of_reference
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.evidence_bounds import elbo_limits, evidence_limits
from vi_kl.diagnostics.kl_to_reference import forward_kl, reverse_kl_by_gap, reverse_kl_by_integration
from vi_kl.diagnostics.missed_modes import MOST_DIMENSIONS, NOTABLE_SHARE, Search, leads_outside
from vi_kl.diagnostics.wasserstein import wasserstein
from vi_kl.families.approximation import Approximation
from vi_kl.reference.mcmc.draws import PosteriorDraws
from vi_kl.reference.posterior import ReferencePosterior
from vi_kl.targets.target import constrain_in_chunks

NEGLIGIBLE = 1e-4  # nats
REGION = 0.999  # the probability under q of the highest-density region by which coverage is judged


def judge_against_reference(
    q: Approximation, reference: ReferencePosterior, draws: Draws, weights, search: Search, figures, keys
) -> dict:
    """Compute every figure of a certificate that needs a reference posterior, as {field: value}."""
    gap = reverse_kl_by_gap(draws, q.target)
    integrated = reverse_kl_by_integration(q, keys[1], len(draws))
    posterior = reference.draws(keys[2], len(draws))
    forward, log_q, log_p = forward_kl(q, posterior)
    inverse = None if log_q is None else log_q - log_p
    evidence = evidence_limits(search.own_log_weights(draws), search.parts, posterior, inverse)
    summary = summary_of_reference(q.target, reference, posterior)
    sites = constrain_in_chunks(q.target, draws.z)
    covered, misses_mode = coverage(q, draws, posterior, log_q)
    return {
        "source": reference.source,
        "evidence_limits": evidence,
        "limits": evidence.minus(elbo_limits(figures["elbo"])).not_negative(),
        "log_evidence": reference.log_evidence,
        "reverse_kl": more_certain(gap, integrated),
        "gap": gap,
        "integrated": integrated,
        "forward_kl": forward,
        "coverage": covered,
        "misses_mode": misses_mode or figures["misses_mode"],
        "errors": errors(sites, summary),
        "corrected": errors(sites, summary, weights),
        "distance": wasserstein(draws.z, posterior.z, numpy_generator(keys[4])),
        "complaints": reference.complaints,
    }


def coverage(q: Approximation, draws: Draws, posterior: PosteriorDraws, log_q) -> tuple[float | None, bool]:
    """Return the share of posterior draws in q's 99.9% highest-density region, and whether the others have a mode."""
    if log_q is None:
        return None, False
    is_outside = log_q < np.quantile(draws.log_q, 1 - REGION)
    reach = gaussian_of_draws(draws.z)
    if is_outside.mean() < NOTABLE_SHARE or reach is None or q.target.dim > MOST_DIMENSIONS:
        return 1 - float(is_outside.mean()), False
    some = posterior.z[is_outside][:: max(1, int(is_outside.sum()) // 4)][:4]
    return 1 - float(is_outside.mean()), leads_outside(reach, q.target, some)


def more_certain(gap: Estimate, integrated: Estimate | None) -> Estimate:
    """Return the KL by integration if it is deterministic and nearly exact, else the one with the smaller error."""
    if integrated is None:
        return gap
    is_exact = integrated.num_draws is None and integrated.standard_error < NEGLIGIBLE
    return integrated if is_exact or integrated.standard_error <= gap.standard_error else gap
