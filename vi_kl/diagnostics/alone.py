"""What q's own draws can tell of KL(q||posterior), and climbs from around q: no truth is needed, and none is had."""

import math

import numpy as np

from vi_kl.diagnostics.errors import errors, reference_from_weights
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.importance import kl_by_weights, log_evidence_by_weights
from vi_kl.diagnostics.psis import RELIABLE
from vi_kl.diagnostics.sandwich import elbo_limits, evidence_limits
from vi_kl.diagnostics.unvisited import Search
from vi_kl.estimate import Estimate, error_of_mean
from vi_kl.target.target import constrain_in_chunks


def judge_alone(q, draws, weights, search: Search, figures) -> dict:
    """What q's own draws can tell, and climbs from around q."""
    evidence = evidence_limits(search.own_log_weights(draws), search.parts)
    found = {
        "source": "",
        "evidence_limits": evidence,
        "limits": evidence.minus(elbo_limits(figures["elbo"])).not_negative(),
    }
    if figures["k_hat"] > RELIABLE:
        return found
    found |= kl_from_draws(draws, search)
    if not search.parts:
        sites = constrain_in_chunks(q.target, draws.z)
        found["errors"] = errors(sites, reference_from_weights(sites, weights))
    return found


def kl_from_draws(draws: Draws, search: Search) -> dict:
    """Log evidence and KL(q||posterior) from weights, with what lies in unvisited parts added."""
    words = f"importance weights of {len(draws):,} draws of q"
    own = search.own_log_weights(draws)
    evidence = log_evidence_by_weights(own, words)
    if not search.parts:
        return {"log_evidence": evidence, "reverse_kl": kl_by_weights(draws.log_ratio, words)}
    parts = [log_evidence_by_weights(p.log_weights, "") for p in search.parts if p.log_mass > -math.inf]
    total = np.logaddexp.reduce([evidence.value, *(part.value for part in parts)])
    # the error of log Z is that of each part times its share; q's own goes together with that of the ELBO
    shares = np.exp([part.value - total for part in parts])
    outside = math.hypot(*(share * part.standard_error for share, part in zip(shares, parts, strict=True)))
    influence = np.exp(own - total) - draws.log_ratio
    words += f" and over {len(parts)} part{'s' if len(parts) > 1 else ''} that it does not visit"
    inside = (1 - shares.sum()) * evidence.standard_error
    kl = Estimate(total - draws.log_ratio.mean(), math.hypot(error_of_mean(influence), outside), words)
    return {"log_evidence": Estimate(total, math.hypot(inside, outside), words), "reverse_kl": kl}
