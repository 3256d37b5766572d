"""PosteriorSample: draws of the posterior that were started from a fit, with what they cost and what they say of it."""

import dataclasses
import math

import numpy as np

from vi_kl.algorithms.algorithm import Cost
from vi_kl.core.written_numbers import significant
from vi_kl.diagnostics.errors import Errors
from vi_kl.draws.target_draws import TargetDraws
from vi_kl.reference.posterior import ReferencePosterior, in_few_digits

CLOSE = "The fit's means and sds are the posterior's, as far as the draws can tell"
NOTHING = Cost(0)


@dataclasses.dataclass(frozen=True, repr=False)
class PosteriorSample(ReferencePosterior):
    """A record of draws of the posterior by `vi_kl.sample`: a ReferencePosterior, with how it came about.

    Attributes:
        name: the name of the approximation that the chains started from.
        sites: the draws of all chains together, {site: (n, ...)}, in the space in which the model sees them, with the
            sites that it computes from latent ones.
        figures: what the chains were judged by: R-hat and the effective sample sizes, each the worst over the
            coordinates of z, the share of divergent trajectories, E-BFMI, and the distance of the chains' evidences.
        errors: how far off the fit's averages are, with these draws as the reference.
        warm_up: the cost of the start and the adaptation.
        drawing: the cost of the draws that are kept, and of the evidence.
        fit_cost: the cost of the fit; None for an Approximation that was not fitted here.
        target_accept_prob: the target acceptance probability of the draws' steps, in the end.
        start: a sentence on where the chains started, and what they cannot see therefore.
    """

    name: str = ""
    sites: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    figures: dict[str, float] = dataclasses.field(default_factory=dict)
    errors: Errors | None = None
    warm_up: Cost = NOTHING
    drawing: Cost = NOTHING
    fit_cost: Cost | None = None
    target_accept_prob: float = 0.8
    start: str = ""

    @property
    def cost(self) -> Cost:
        """The cost of warm-up and draws together, without the fit's."""
        one, other = self.warm_up, self.drawing
        return Cost(
            one.gradient_evaluations + other.gradient_evaluations,
            one.density_evaluations + other.density_evaluations,
            one.compile_seconds + other.compile_seconds,
            one.run_seconds + other.run_seconds,
            other.peak_memory,
        )

    @property
    def ess(self) -> float:
        """The smallest effective sample size, in bulk or tails of any coordinate of z."""
        return min(self.figures["ess_bulk"], self.figures["ess_tail"])

    def drawn(self, key, n: int | None) -> TargetDraws:
        found = super().drawn(key, n)
        return dataclasses.replace(
            found, method=f"{found.method} of {self.name}", attributes={"chains": self.checks_in_words}
        )

    @property
    def shape(self) -> str:
        """The numbers of chains and draws, in words."""
        chains, length = self.chains.shape[:2] if self.chains is not None else (0, 0)
        return f"{chains} chains of {length:,} draws"

    @property
    def headline(self) -> str:
        """The fit that it started from, its size, and whether it passed."""
        passed = "checks failed" if self.complaints else "checks passed"
        return f"from {self.name}, {self.shape}, {self.ess:,.0f} effective ones, {passed}"

    @property
    def checks_in_words(self) -> str:
        """The figures of the chains, in a line."""
        f = self.figures
        return (
            f"R-hat {f['r_hat']:.3f}, effective draws {f['ess_bulk']:,.0f} in bulk and {f['ess_tail']:,.0f} in tails, "
            f"{f['divergent_share']:.2%} divergent, E-BFMI {f['e_bfmi']:.2f}"
        )

    @property
    def cost_in_words(self) -> str:
        """The gradients, in a line."""
        words = (
            f"{self.warm_up.gradient_evaluations:,} gradients of warm-up and {self.drawing.gradient_evaluations:,} of "
            f"draws (target_accept_prob {self.target_accept_prob:.2g}), in {self.cost.seconds:.1f} s"
        )
        if self.fit_cost is None:
            return words
        return f"{words}; the fit took {self.fit_cost.gradient_evaluations:,} in {self.fit_cost.seconds:.1f} s"

    @property
    def fit_in_words(self) -> str:
        """How far off the fit was, in a sentence."""
        found = self.errors
        if found is None or not found.notable:
            return f"{CLOSE}."
        mean, sd = found.worst_mean, found.worst_sd
        if math.isnan(mean):
            return f"The fit is off in {', '.join(found.worst_sites[:3])}."
        return (
            f"The fit's means are off by up to {significant(mean, 2)} posterior sd, and its sds are "
            f"{significant(sd, 2)} times the posterior's at worst, in {', '.join(found.worst_sites[:3])}."
        )

    def __str__(self):
        verdict = "it failed its checks" if self.complaints else "it passed its checks"
        lines = [f"Posterior sample from {self.name}: {self.shape}; {verdict}", f"  {self.checks_in_words}"]
        lines += [f"  {complaint}" for complaint in self.complaints]
        lines += [f"  {self.cost_in_words}", f"  log evidence  {self.log_evidence}"]
        for name, site in self.moments.items():
            lines.append(f"  {name}: mean {in_few_digits(site.mean)}, sd {in_few_digits(site.sd)}")
        return "\n".join([*lines, f"  {self.fit_in_words}", f"  {self.start}"])
