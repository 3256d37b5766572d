"""`check`: everything that is known about how far q is from the posterior, and a verdict in words.

The figures are made here; what they mean is said in verdict.py.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from vi_kl.core.annotations import KeyLike
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.estimate import Estimate
from vi_kl.core.numbers import whole_number
from vi_kl.core.precision import in_float64
from vi_kl.diagnostics import verdict
from vi_kl.diagnostics.advice import try_next
from vi_kl.diagnostics.against_reference import judge_against_reference
from vi_kl.diagnostics.arguments import Fitted, approximation_of, reference_and_key
from vi_kl.diagnostics.consistency import contradictions
from vi_kl.diagnostics.density import density_excess
from vi_kl.diagnostics.errors import Errors
from vi_kl.diagnostics.evidence import Draws, elbo_of
from vi_kl.diagnostics.evidence_bounds import Limits, evidence_limits
from vi_kl.diagnostics.importance import effective_share, smoothed_weights
from vi_kl.diagnostics.missed_modes import NOTABLE_SHARE, MissedMode, Search, find_missed_modes
from vi_kl.diagnostics.psis import pareto_k
from vi_kl.diagnostics.saturation import Saturation, saturations
from vi_kl.diagnostics.wasserstein import Wasserstein
from vi_kl.diagnostics.without_reference import View, judge_without_reference
from vi_kl.families.approximation import Approximation
from vi_kl.families.delta import Delta
from vi_kl.families.gaussian import MeanField
from vi_kl.reference.find import MOST_INTEGRATED
from vi_kl.reference.posterior import ReferencePosterior
from vi_kl.reference.quadrature.integrate import QuadratureError, reference_by_quadrature
from vi_kl.targets.numpyro.priors import hierarchical_sites
from vi_kl.targets.target import CHUNK, Target

FEWEST = 500  # draws that k-hat and the limits are worth anything with
TOLERANCE, MOST_NODES = 1e-4, 300_000  # of the quadrature that is tried before anything is called unknown


@dataclasses.dataclass(frozen=True)
class Certificate:
    """How far q is from the posterior, how sure that is, and what it cannot see.

    Attributes:
        name: of the approximation.
        source: of the reference that q is held to: "closed form", "quadrature", "reference run", or "" without one.
        elbo: at most the log evidence.
        k_hat: of the importance weights.
        ess: effective sample size of the weights, as a share of the draws.
        evidence_limits: of the log evidence, by betting; no upper one without draws of the posterior.
        limits: of KL(q||posterior), from the evidence's and the ELBO's.
        log_evidence: from the reference, or without one from the weights where k-hat allows; or None.
        reverse_kl: KL(q||posterior) by the most precise way there is, or None.
        gap: log evidence - ELBO, or None without a reference.
        integrated: KL(q||posterior) by integration, or None.
        forward_kl: KL(posterior||q), or None without draws of the posterior.
        coverage: the share of posterior draws inside the region that holds 99.9% of q, or None.
        missed_modes: parts of the posterior outside q that climbs found.
        missed_share: of the mass, as far as q's draws and these parts show it.
        climbs: how many were made to find them.
        misses_mode: whether a mode with a notable share of the mass was found outside q.
        inner_modes: modes within q's reach at which the density stands far above q's own.
        is_beside: whether a climb from q's own mean leaves q.
        outside_support: the share of q's draws where the posterior has no density.
        is_point: whether q is one point, so that it has no density.
        errors: of q's averages, in the model's own space; or None where there is nothing to hold them to.
        corrected: the same of q's draws with importance weights, or None without a reference.
        distance: of q's draws to the posterior's, or None.
        contradictions: figures that cannot all be right, a sentence each.
        complaints: checks that the reference failed when it was made, a sentence each.
        converged: what the fit said of itself; None for an approximation without a fit.
        is_mean_field: whether q takes all coordinates of z as independent by construction.
        family: the name of q's family, whatever the algorithm that chose it is called.
        dim: of z.
        hierarchical: sites whose priors depend on other latent sites.
        improper: coordinates or directions along which the density does not fall off as one with an integral does.
        saturated: sites at which float64 cannot tell draws of q from a bound.
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
    missed_modes: tuple[MissedMode, ...] = ()
    missed_share: float = 0.0
    climbs: int = 0
    misses_mode: bool = False
    inner_modes: int = 0
    is_beside: bool = False
    outside_support: float = 0.0
    is_point: bool = False
    errors: Errors | None = None
    corrected: Errors | None = None
    distance: Wasserstein | None = None
    contradictions: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    converged: bool | None = None
    is_mean_field: bool = False
    family: str = ""
    dim: int = 0
    hierarchical: tuple[str, ...] = ()
    improper: tuple[str, ...] = ()
    saturated: tuple[Saturation, ...] = ()

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
        return try_next(self)

    @property
    def mends(self) -> bool:
        """Whether importance weights take notable errors of q's averages away."""
        return verdict.mends(self)

    def to(self, unit: str) -> "Certificate":
        """The same certificate with every divergence and evidence in "nats" or "bits"."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        changed: dict[str, Any] = {name: x.to(unit) for name, x in fields.items() if isinstance(x, Estimate | Limits)}
        return dataclasses.replace(self, **changed)

    def to_dict(self) -> dict:
        """Plain numbers and strings, for JSON; what is infinite or unknown is None."""
        return verdict.to_dict(self)

    def __str__(self):
        return verdict.text(self)


@in_float64
def check(
    fit: Fitted | Approximation,
    reference: ReferencePosterior | Callable[[Target], ReferencePosterior] | None = None,
    *,
    key: KeyLike | None = None,
    num_draws: int = 2 * CHUNK,
) -> Certificate:
    """Measure how far a fit, or any Approximation, is from the posterior.

    Args:
        fit: a Fit or an Approximation.
        reference: what the target's posterior is held to: a `ReferencePosterior`, or a function from the target to
            one, such as
            `vi_kl.find_reference`; by default the target's own `reference`. Without one the certificate says what q's
            own importance weights, and climbs from around q, can tell.
        key: a JAX random key, or an integer.
        num_draws: draws of q, and of the exact posterior where it is known.

    Raises:
        NoDensity: q is a set of particles.
        TypeError: `fit` is neither a Fit nor an Approximation, or there is no key.
        ValueError: a density is NaN at draws of q, fewer than 500 draws, or a reference of other sites.
    """
    q = approximation_of(fit, "check")
    reference, key = reference_and_key(reference, key)
    num_draws = whole_number("num_draws", num_draws)
    if reference is not None:
        q = held_to(q, reference)
    if num_draws < FEWEST:
        raise ValueError(f"num_draws must be at least {FEWEST:,}, got {num_draws}.")
    if isinstance(q.family, Delta):
        return of_a_point(fit)
    keys = jax.random.split(key, 8)
    draws = Draws(q, keys[0], num_draws)
    refuse_undefined(draws, q)
    figures: dict[str, Any] = {
        "name": getattr(fit, "name", q.name),
        "converged": fit.status.converged if hasattr(fit, "status") else None,
        "is_mean_field": isinstance(q.family, MeanField),
        "family": q.name,
        "dim": q.target.dim,
        "hierarchical": hierarchical_sites(q.target),
    }
    if np.isneginf(draws.log_p).any():
        return outside_the_support(draws, figures)
    weights = smoothed_weights(draws.log_ratio)
    figures |= {"elbo": elbo_of(draws), "k_hat": pareto_k(draws.log_ratio), "ess": effective_share(weights)}
    known = q.target.reference
    search: Search = Search()
    view: View | None = None
    if known is None or known.source != "closed form":
        view = View(q, keys[6], num_draws // 4)
        search = find_missed_modes(view.pilot, view.scouts, view.log_q, q.target, keys[3], num_draws // 2)
        figures["improper"] = view.improper_along(q.target) if known is None or not known.is_exact else ()
    figures |= what_climbs_found(search, draws)
    if known is None and view is not None:
        figures |= judge_without_reference(q, draws, view, search, figures)
        if figures.get("reverse_kl") is None and not figures["improper"]:
            known = integrated(q.target)
            q = q if known is None else held_to(q, known)
    if known is not None:
        figures |= judge_against_reference(q, known, draws, weights, search, figures, keys)
    figures["saturated"] = saturations(q.target, draws.z)
    return Certificate(**figures, contradictions=contradictions(figures, known, density_excess(q, draws, keys[5])))


def integrated(target) -> ReferencePosterior | None:
    """What quadrature finds where weights do not tell the evidence, in the few dimensions it serves; else None."""
    if target.dim > MOST_INTEGRATED:
        return None
    try:
        return reference_by_quadrature(target, tolerance=TOLERANCE, max_nodes=MOST_NODES)
    except QuadratureError:
        return None


def refuse_undefined(draws: Draws, q: Approximation) -> None:
    """Both densities have to be numbers at draws of q."""
    bad = np.isnan(draws.log_q) | (draws.log_q == -np.inf) | (draws.log_q == np.inf)
    if bad.any():
        raise UnsuitableError(
            f"log q is not finite at {bad.sum():,} of q's own {len(draws):,} draws: {q.name} is broken there."
        )
    bad = np.isnan(draws.log_p) | (draws.log_p == np.inf)
    if bad.any():
        reason = q.target.density.explain(q.target.data, q.target.unravel(draws.z[np.argmax(bad)]))
        raise UnsuitableError(
            f"The log density is NaN or infinite at {bad.sum():,} of q's {len(draws):,} draws. {reason}"
        )


def outside_the_support(draws: Draws, figures: dict) -> Certificate:
    """q has draws where the posterior has none: KL(q||posterior) is infinite, and that is known for certain."""
    share = float(np.isneginf(draws.log_p).mean())
    words = f"{share:.2g} of {len(draws):,} draws of q are where the posterior has no density"
    weighted = share < 1
    return Certificate(
        **figures,
        source="",
        k_hat=pareto_k(draws.log_ratio) if weighted else math.inf,
        ess=effective_share(smoothed_weights(draws.log_ratio)) if weighted else 0.0,
        elbo=Estimate(-math.inf, 0.0, words),
        evidence_limits=evidence_limits(draws.log_ratio),
        limits=Limits(math.inf, math.inf, 1.0),
        reverse_kl=Estimate(math.inf, 0.0, words),
        outside_support=share,
    )


def of_a_point(fit) -> Certificate:
    """All of q is where the posterior has no mass: KL(q||posterior) is infinite, and that is known for certain."""
    words = "q is a point, which has no density"
    return Certificate(
        name=fit.name,
        converged=fit.status.converged if hasattr(fit, "status") else None,
        family="delta",
        source="",
        k_hat=math.inf,
        ess=0.0,
        elbo=Estimate(-math.inf, 0.0, words),
        evidence_limits=Limits(-math.inf, math.inf, 1.0),
        limits=Limits(math.inf, math.inf, 1.0),
        reverse_kl=Estimate(math.inf, 0.0, words),
        is_point=True,
    )


def held_to(q: Approximation, reference) -> Approximation:
    """The same q of a target with this reference, made from what the target already knows where it is a function."""
    known = reference(q.target) if callable(reference) else reference
    if set(known.moments) != set(q.target.site_names):
        raise ValueError(
            f"The reference is of sites {sorted(known.moments)}, the target has {list(q.target.site_names)}."
        )
    return Approximation(q.family, q.params, q.target.with_reference(known))


def what_climbs_found(search: Search, draws: Draws) -> dict:
    share = search.share(draws)
    return {
        "missed_modes": search.parts,
        "missed_share": share,
        "climbs": search.climbs,
        "inner_modes": len(search.spikes),
        "is_beside": search.is_beside,
        "misses_mode": share > NOTABLE_SHARE and not search.is_beside,
    }
