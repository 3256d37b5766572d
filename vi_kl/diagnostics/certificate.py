"""`check`: everything that is known about how far q is from the posterior, and a verdict in words.

The figures are made here; what they mean is said in verdict.py.
"""

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from vi_kl.diagnostics import verdict
from vi_kl.diagnostics.density import density_excess
from vi_kl.diagnostics.errors import Errors, errors, reference_from_truth, reference_from_weights
from vi_kl.diagnostics.evidence import Draws, elbo_of
from vi_kl.diagnostics.importance import effective_share, kl_by_weights, log_evidence_by_weights, smoothed_weights
from vi_kl.diagnostics.kl_to_truth import forward_kl, reverse_kl_by_gap, reverse_kl_by_integration
from vi_kl.diagnostics.psis import RELIABLE, pareto_k
from vi_kl.diagnostics.sandwich import Limits, elbo_limits, evidence_limits
from vi_kl.diagnostics.unvisited import Unvisited, find_unvisited, unvisited_share
from vi_kl.diagnostics.wasserstein import Wasserstein, wasserstein
from vi_kl.estimate import Estimate
from vi_kl.families.approximation import Approximation
from vi_kl.families.gaussian import MeanField
from vi_kl.keys import numpy_generator
from vi_kl.precision import in_float64
from vi_kl.target.target import CHUNK, constrain_in_chunks
from vi_kl.truth.truth import Truth

NEGLIGIBLE = 1e-4  # nats
REGION = 0.999  # of q's mass, the highest-density region by which coverage is judged


@dataclasses.dataclass(frozen=True)
class Certificate:
    """How far q is from the posterior, how sure that is, and what it cannot see.

    Attributes:
        name: of the approximation.
        source: of the truth that q is held to: "closed form", "quadrature", "reference run", or "" without one.
        elbo: at most the log evidence.
        k_hat: of the importance weights.
        ess: effective sample size of the weights, as a share of the draws.
        evidence_limits: of the log evidence, by betting; no upper one without draws of the posterior.
        limits: of KL(q||posterior), from the evidence's and the ELBO's.
        log_evidence: from the truth, or without one from the weights where k-hat allows; or None.
        reverse_kl: KL(q||posterior) by the most precise way there is, or None.
        gap: log evidence - ELBO, or None without a truth.
        integrated: KL(q||posterior) by integration, or None.
        forward_kl: KL(posterior||q), or None without draws of the posterior.
        coverage: the share of posterior draws inside the region that holds 99.9% of q, or None.
        unvisited: parts of the posterior outside q that climbs found.
        unvisited_share: of the mass, as far as q's draws and these parts show it.
        errors: of q's averages, in the model's own space; or None where there is nothing to hold them to.
        corrected: the same of q's draws with importance weights, or None without a truth.
        distance: of q's draws to the posterior's, or None.
        contradictions: figures that cannot all be right, a sentence each.
        complaints: checks that the truth failed when it was made, a sentence each.
        converged: what the fit said of itself; None for an approximation without a fit.
        is_mean_field: whether q takes all coordinates of z as independent by construction.
    """

    name: str
    source: str
    elbo: Estimate
    k_hat: float
    ess: float
    evidence_limits: Limits
    limits: Limits
    log_evidence: Estimate | None = None
    reverse_kl: Estimate | None = None
    gap: Estimate | None = None
    integrated: Estimate | None = None
    forward_kl: Estimate | None = None
    coverage: float | None = None
    unvisited: tuple[Unvisited, ...] = ()
    unvisited_share: float = 0.0
    errors: Errors | None = None
    corrected: Errors | None = None
    distance: Wasserstein | None = None
    contradictions: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    converged: bool | None = None
    is_mean_field: bool = False

    @property
    def label(self) -> str:
        """How much the KL is worth: "exact", "certified", "estimated" or "unknown"."""
        return verdict.label(self)

    @property
    def ways_agree(self) -> bool | None:
        """Whether the two ways of computing KL(q||posterior) agree within four standard errors."""
        if self.gap is None or self.integrated is None:
            return None
        return self.gap.agrees_with(self.integrated, 4.0)

    @property
    def worst_mean_error(self) -> float:
        """The largest error of a mean, in posterior sd; NaN where there is nothing to hold it to."""
        return math.nan if self.errors is None else self.errors.worst_mean

    @property
    def worst_sd_ratio(self) -> float:
        """The sd ratio farthest from one; NaN where there is nothing to hold it to."""
        return math.nan if self.errors is None else self.errors.worst_sd

    @property
    def k_hat_text(self) -> str:
        return "flat" if self.k_hat == -math.inf else f"{self.k_hat:.2f}"

    @property
    def verdict(self) -> str:
        """What the figures mean, in words."""
        return verdict.verdict(self)

    @property
    def cannot_see(self) -> str:
        """What could be wrong without showing in these figures."""
        return verdict.cannot_see(self)

    @property
    def try_next(self) -> tuple[str, ...]:
        """What may mend it, the most promising first; empty where nothing needs mending."""
        return verdict.try_next(self)

    def to(self, unit: str) -> "Certificate":
        """The same certificate with every divergence and evidence in "nats" or "bits"."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return dataclasses.replace(
            self, **{name: x.to(unit) for name, x in fields.items() if isinstance(x, Estimate | Limits)}
        )

    def to_dict(self) -> dict:
        """Plain numbers and strings, for JSON; what is infinite or unknown is None."""
        return verdict.to_dict(self)

    def __str__(self):
        return verdict.text(self)


@in_float64
def check(fit, truth=None, *, key, num_draws: int = 2 * CHUNK) -> Certificate:
    """Measure how far a fit, or any Approximation, is from the posterior.

    Args:
        fit: a Fit or an Approximation.
        truth: what the target's posterior is held to: a `Truth`, or a function from the target to one, such as
            `vi_kl.find_truth`; by default the target's own `truth`. Without one the certificate says what q's
            own importance weights, and climbs from around q, can tell.
        key: a JAX random key.
        num_draws: draws of q, and of the exact posterior where it is known.

    Raises:
        TypeError: `fit` is neither a Fit nor an Approximation.
        ValueError: a density is NaN, or infinite, at draws of q.
    """
    q = getattr(fit, "approximation", fit)
    if not isinstance(q, Approximation):
        raise TypeError(f"check takes a Fit or an Approximation, not {type(fit).__name__}.")
    if truth is not None:
        q = held_to(q, truth)
    keys = jax.random.split(key, 6)
    draws = Draws(q, keys[0], num_draws)
    weights = smoothed_weights(draws.log_ratio)
    figures: dict[str, Any] = {
        "name": getattr(fit, "name", q.name),
        "elbo": elbo_of(draws),
        "k_hat": pareto_k(draws.log_ratio),
        "ess": effective_share(weights),
        "converged": fit.status.converged if hasattr(fit, "status") else None,
        "is_mean_field": isinstance(q.family, MeanField),
    }
    known = q.target.truth
    if known is None:
        figures |= without_truth(q, draws, weights, figures["k_hat"], figures["elbo"], keys)
    else:
        figures |= against_truth(q, known, draws, weights, figures["elbo"], keys)
    excess = density_excess(q, draws, keys[5])
    return Certificate(**figures, contradictions=contradictions(figures, known, excess))


def held_to(q: Approximation, truth) -> Approximation:
    """The same q of a target with this truth, made from what the target already knows where it is a function."""
    known = truth(q.target) if callable(truth) else truth
    return Approximation(q.family, q.params, q.target.with_truth(known))


def without_truth(q, draws, weights, k_hat, elbo, keys) -> dict:
    """What q's own draws can tell, and climbs from around q."""
    unvisited = find_unvisited(draws, q.target, keys[3], len(draws) // 2)
    inside = in_any(unvisited, draws.z)
    evidence = evidence_limits(draws.log_ratio, inside, unvisited)
    figures = {
        "source": "",
        "evidence_limits": evidence,
        "limits": positive(evidence.minus(elbo_limits(elbo))),
        "unvisited": tuple(unvisited),
        "unvisited_share": unvisited_share(draws, unvisited),
    }
    if k_hat > RELIABLE:
        return figures
    sites = constrain_in_chunks(q.target, draws.z)
    figures |= kl_from_draws(draws, unvisited)
    if not unvisited:
        figures["errors"] = errors(sites, reference_from_weights(sites, weights))
    return figures


def kl_from_draws(draws: Draws, unvisited: list[Unvisited]) -> dict:
    """Log evidence and KL(q||posterior) from weights, with what lies in unvisited parts added."""
    words = f"importance weights of {len(draws):,} draws of q"
    evidence, kl = log_evidence_by_weights(draws.log_ratio, words), kl_by_weights(draws.log_ratio, words)
    if not unvisited:
        return {"log_evidence": evidence, "reverse_kl": kl}
    parts = [log_evidence_by_weights(part.log_weights, "") for part in unvisited]
    total = np.logaddexp.reduce([evidence.value, *(part.value for part in parts)])
    shares = np.exp([part.value - total for part in parts])
    # of log(Z_q + Z_outside), each error times the share of its part
    outside = math.hypot(*(share * part.standard_error for share, part in zip(shares, parts, strict=True)))
    words += f" and over {len(parts)} part{'s' if len(parts) > 1 else ''} that it does not visit"
    own = (1 - shares.sum()) * evidence.standard_error
    more = total - evidence.value
    return {
        "log_evidence": Estimate(total, math.hypot(own, outside), words),
        "reverse_kl": Estimate(
            kl.value + more, math.hypot(kl.standard_error, shares.sum() * evidence.standard_error, outside), words
        ),
    }


def against_truth(q: Approximation, truth: Truth, draws: Draws, weights, elbo, keys) -> dict:
    """q held to what is known of the posterior."""
    gap = reverse_kl_by_gap(draws, q.target)
    integrated = reverse_kl_by_integration(q, keys[1], len(draws))
    best = the_better(gap, integrated)
    posterior = truth.draws(keys[2], len(draws))
    forward, log_q, log_p = forward_kl(q, posterior)
    # an exact posterior has nothing to hide; a reference run may have missed what a climb finds
    unvisited = [] if truth.is_exact else find_unvisited(draws, q.target, keys[3], len(draws) // 2)
    inverse = None if log_q is None else log_q - log_p
    evidence = evidence_limits(draws.log_ratio, in_any(unvisited, draws.z), unvisited, posterior, inverse)
    reference = reference_from_truth(q.target, truth, posterior)
    sites = constrain_in_chunks(q.target, draws.z)
    return {
        "source": truth.source,
        "evidence_limits": evidence,
        "limits": positive(evidence.minus(elbo_limits(elbo))),
        "log_evidence": truth.log_evidence,
        "reverse_kl": best,
        "gap": gap,
        "integrated": integrated,
        "forward_kl": forward,
        "coverage": None if log_q is None else coverage(draws.log_q, log_q),
        "unvisited": tuple(unvisited),
        "unvisited_share": unvisited_share(draws, unvisited),
        "errors": errors(sites, reference),
        "corrected": errors(sites, reference, weights),
        "distance": wasserstein(draws.z, posterior.z, numpy_generator(keys[4])),
        "complaints": truth.complaints,
    }


def the_better(gap: Estimate, integrated: Estimate | None) -> Estimate:
    """Integration where nothing in it is random and hardly any error is left, else the smaller error."""
    if integrated is None:
        return gap
    is_exact = integrated.num_draws is None and integrated.standard_error < NEGLIGIBLE
    return integrated if is_exact or integrated.standard_error <= gap.standard_error else gap


def positive(limits: Limits) -> Limits:
    """A divergence is not negative, and is known not to be."""
    return dataclasses.replace(limits, lower=max(limits.lower, 0.0))


def in_any(unvisited: list[Unvisited], z: np.ndarray) -> np.ndarray:
    """Whether draws lie in a part that has weights of its own."""
    return np.any([part.holds(z) for part in unvisited], axis=0) if unvisited else np.zeros(len(z), bool)


def coverage(log_q_at_q, log_q_at_posterior) -> float:
    """The share of exact posterior draws in q's own 99.9% region of highest density."""
    return float(np.mean(log_q_at_posterior >= np.quantile(log_q_at_q, 1 - REGION)))


def contradictions(figures: dict, truth: Truth | None, excess: float) -> tuple[str, ...]:
    """Figures that cannot all be right."""
    found = []
    if excess:
        found.append(
            f"log q is not the log density of q's draws: it is off by {excess:.2g} nats or more somewhere. Is a "
            "Jacobian missing?"
        )
    if truth is None:
        return tuple(found)
    evidence, lower = truth.log_evidence, figures["evidence_limits"].lower
    if lower > evidence.value + 4 * evidence.standard_error + 1e-9 * (1 + abs(evidence.value)):
        found.append(
            f"The log evidence is at least {lower:.6g} by importance weights, and {evidence.value:.6g} by "
            f"{evidence.method}: that misses a part of the posterior, or a density is wrong."
        )
    gap, integrated = figures["gap"], figures["integrated"]
    if gap.value < -4 * gap.standard_error - 1e-9 * (1 + abs(evidence.value)):
        found.append(f"The ELBO exceeds the log evidence by {-gap.value:.2g} nats, which it cannot.")
    if integrated is not None and not gap.agrees_with(integrated, 4.0):
        found.append(
            f"The two ways of computing the KL disagree ({gap.value:.4g} and {integrated.value:.4g} nats): trust "
            "neither until that is explained."
        )
    second = truth.second_opinion
    if second is not None and not evidence.agrees_with(second, 4.0):
        found.append(f"Two opinions on the log evidence disagree: {evidence}, and {second}.")
    return tuple(found)
