"""Measurements: the figures of one q, before any word is said about them."""

import dataclasses
import math

from vi_kl.core.estimate import Estimate
from vi_kl.core.records import WORKING
from vi_kl.diagnostics.errors import Errors
from vi_kl.diagnostics.evidence_bounds import Limits
from vi_kl.diagnostics.missed_modes import MissedMode
from vi_kl.diagnostics.psis import RELIABLE
from vi_kl.diagnostics.saturation import Saturation
from vi_kl.diagnostics.wasserstein import Wasserstein


@dataclasses.dataclass(frozen=True)
class Measurements:
    """What `check` measured of one q: the figures from which verdict.py and advice.py make their words.

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
    is_mean_field: bool = dataclasses.field(default=False, metadata=WORKING)
    family: str = ""
    dim: int = 0
    hierarchical: tuple[str, ...] = ()
    improper: tuple[str, ...] = ()
    saturated: tuple[Saturation, ...] = ()

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
        """k-hat to two digits, or "flat" where all importance weights are equal."""
        return "flat" if self.k_hat == -math.inf else f"{self.k_hat:.2f}"

    @property
    def mends(self) -> bool:
        """Whether importance weights take notable errors of q's averages away."""
        if self.corrected is None or self.k_hat > RELIABLE:
            return False
        return self.errors.notable and not self.corrected.notable
