"""Measurements: the figures of one q, from which the certificate's words are made."""

import dataclasses
import math

from vi_kl.core.estimate import Estimate
from vi_kl.core.records import WORKING
from vi_kl.diagnostics.errors import Errors
from vi_kl.diagnostics.evidence_bounds import Limits
from vi_kl.diagnostics.missed_modes import MissedMode
from vi_kl.diagnostics.psis import RELIABLE
from vi_kl.diagnostics.rounding import Rounding
from vi_kl.diagnostics.saturation import Saturation
from vi_kl.diagnostics.wasserstein import Wasserstein
from vi_kl.diagnostics.without_weights import ShortChains


@dataclasses.dataclass(frozen=True)
class Measurements:
    """The figures that `check` measured for one q; verdict.py and advice.py put them into words.

    Attributes:
        name: the approximation's name.
        source: the kind of the reference: "closed form", "quadrature", "reference run", "run started from a fit",
            "sequential Monte Carlo", or "" without one.
        elbo: the ELBO, which is at most the log evidence.
        k_hat: Pareto's k-hat of the importance weights.
        ess: the effective sample size of the importance weights, as a share of the draws.
        evidence_limits: limits of the log evidence, by betting; the upper one is infinite without draws of the
            posterior.
        limits: limits of KL(q||posterior), from those of the log evidence and of the ELBO.
        log_evidence: the log evidence of the reference, or without one from the weights if k-hat allows; or None.
        reverse_kl: KL(q||posterior) by the most precise way there is, or None.
        gap: log evidence - ELBO, or None without a reference.
        integrated: KL(q||posterior) by integration, or None.
        forward_kl: KL(posterior||q), or None without draws of the posterior.
        coverage: the share of posterior draws inside the region that holds 99.9% of q, or None.
        missed_modes: parts of the posterior outside q, around modes that climbs found.
        missed_share: the share of the posterior's mass in these parts, as estimated from them and q's draws.
        climbs: the number of climbs.
        rows_begun_on: the number of random rows on which the climbs from outside q begin, where a gradient of all is
            dear; 0 if they begin on all of them. All of them end on all rows.
        misses_mode: whether a mode with a notable share of the mass was found outside q.
        inner_modes: the number of modes within q's reach at which the density stands far above q's own.
        is_beside: whether a climb from q's own mean leaves q.
        outside_support: the share of q's draws where the posterior has no density.
        is_point: whether q is one point, which has no density.
        errors: the errors of q's averages, in the model's own space; None if there is nothing to compare them with.
        corrected: the errors of averages over q's draws with importance weights, or None without a reference.
        short_chains: what short chains from q's draws towards the posterior found; None if none were run.
        chains_were_dear: whether short chains would have told more, and were left out for their price.
        distance: the transport distance between q and the posterior, or None without a reference.
        contradictions: pairs of figures that cannot both be right, a sentence each.
        complaints: checks that the reference failed when it was made, a sentence each.
        converged: whether the fit reports that it converged; None for an approximation without a fit.
        may_go_on: whether the fit did not converge, and its status says what to raise for its search to go on.
        is_mean_field: whether q takes all coordinates of z as independent by construction.
        family: the name of q's family, which may differ from the algorithm's.
        dim: the dimension of z.
        num_draws: the number of draws of q.
        search_share: the share of the usual searches for what q misses that was made; below 1 where an evaluation of
            the log density is dear.
        hierarchical: sites whose priors depend on other latent sites.
        improper: coordinates or directions along which the density falls too slowly to have an integral.
        saturated: sites at which float64 cannot tell draws of q from a bound.
        learned: the model's parameters that were learned or given, and are fixed in the posterior that q is compared
            with.
        rounding: the errors of a log density that is computed in float32, which the other figures' errors count; None
            for float64.
        gradient_evaluations: the number of gradients of the log density that the certificate took.
        density_evaluations: the number of evaluations of the log density without its gradient.
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
    rows_begun_on: int = 0
    misses_mode: bool = False
    inner_modes: int = 0
    is_beside: bool = False
    outside_support: float = 0.0
    is_point: bool = False
    errors: Errors | None = None
    corrected: Errors | None = None
    short_chains: ShortChains | None = None
    chains_were_dear: bool = dataclasses.field(default=False, metadata=WORKING)
    distance: Wasserstein | None = None
    contradictions: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    converged: bool | None = None
    may_go_on: bool = dataclasses.field(default=False, metadata=WORKING)
    is_mean_field: bool = dataclasses.field(default=False, metadata=WORKING)
    family: str = ""
    dim: int = 0
    num_draws: int = 0
    search_share: float = 1.0
    hierarchical: tuple[str, ...] = ()
    improper: tuple[str, ...] = ()
    saturated: tuple[Saturation, ...] = ()
    learned: tuple[str, ...] = ()
    rounding: Rounding | None = None
    gradient_evaluations: int = 0
    density_evaluations: int = 0

    @property
    def worst_mean_error(self) -> float:
        """The largest error of a mean, in posterior sds; NaN if there is nothing to compare it with."""
        return math.nan if self.errors is None else self.errors.worst_mean

    @property
    def worst_sd_ratio(self) -> float:
        """The sd ratio farthest from one; NaN if there is nothing to compare it with."""
        return math.nan if self.errors is None else self.errors.worst_sd

    @property
    def effort(self) -> str | None:
        """What the certificate took, in words; None where nothing was evaluated."""
        if not self.gradient_evaluations + self.density_evaluations:
            return None
        return f"{self.gradient_evaluations:,} gradients and {self.density_evaluations:,} densities"

    @property
    def k_hat_text(self) -> str:
        """k-hat to two digits, or "flat" if all importance weights are equal."""
        return "flat" if self.k_hat == -math.inf else f"{self.k_hat:.2f}"

    @property
    def mends(self) -> bool:
        """Whether importance weights remove notable errors of q's averages."""
        if self.corrected is None or self.k_hat > RELIABLE:
            return False
        return self.errors.notable and not self.corrected.notable
