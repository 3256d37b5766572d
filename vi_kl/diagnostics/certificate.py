"""The certificate: all figures of how far q is from the posterior, and a verdict in words. `check` makes it.

The figures (measurements.py) are computed here; verdict.py says what they mean, and advice.py what to try.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from vi_kl.core.annotations import KeyLike, Progress, ProgressLike
from vi_kl.core.blas_threads import with_one_blas_thread
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.estimate import Estimate
from vi_kl.core.evaluations import counting_evaluations
from vi_kl.core.languages import speaking
from vi_kl.core.numbers import whole_number
from vi_kl.core.precision import in_float64
from vi_kl.core.progress import reporting
from vi_kl.core.random_keys import numpy_generator, split
from vi_kl.core.records import WORKING, Readable, plain, store
from vi_kl.core.suggestions import names_its_arguments
from vi_kl.diagnostics.advice import advice_for
from vi_kl.diagnostics.against_reference import judge_against_reference
from vi_kl.diagnostics.arguments import Fitted, approximation_of, reference_and_key
from vi_kl.diagnostics.consistency import find_contradictions
from vi_kl.diagnostics.density import density_excess
from vi_kl.diagnostics.effort import Effort, effort_for
from vi_kl.diagnostics.evidence import Draws, elbo_of
from vi_kl.diagnostics.evidence_bounds import Limits, evidence_limits
from vi_kl.diagnostics.figures_in_chinese import in_figures
from vi_kl.diagnostics.importance import effective_share, smoothed_weights
from vi_kl.diagnostics.judgement import SCALE
from vi_kl.diagnostics.measurements import Measurements
from vi_kl.diagnostics.missed_modes import MOST_DIMENSIONS, NOTABLE_SHARE, Search, find_missed_modes, search_from
from vi_kl.diagnostics.psis import pareto_k
from vi_kl.diagnostics.rounding import rounding_of, with_rounding
from vi_kl.diagnostics.saturation import saturations
from vi_kl.diagnostics.sentences import columns, say
from vi_kl.diagnostics.short_chains import PIECE
from vi_kl.diagnostics.verdict import blind_spot, label_of, verdict_of
from vi_kl.diagnostics.without_reference import View, judge_without_reference
from vi_kl.diagnostics.without_weights import judge_by_short_chains, num_short_chains
from vi_kl.families.approximation import Approximation
from vi_kl.families.delta import Delta
from vi_kl.families.gaussian import MeanField
from vi_kl.reference.find import MOST_INTEGRATED
from vi_kl.reference.posterior import ReferencePosterior
from vi_kl.reference.quadrature.integrate import QuadratureError, reference_by_quadrature
from vi_kl.targets.priors import hierarchical_sites
from vi_kl.targets.target import Target

FEWEST = 500  # draws; with fewer, k-hat and the limits mean nothing
CLOSE = SCALE[2][0]  # nats: of a q that is nearer by its weights, short chains would not tell what is worth their price
TOLERANCE = 1e-4  # of the quadrature that is tried before KL is called unknown
MOST_EVALUATIONS, FEWEST_EVALUATIONS = 500_000, 3_000  # of the same


@dataclasses.dataclass(frozen=True, repr=False)
class Certificate(Readable, Measurements):
    """A record of how far q is from the posterior, how certain that is, and what the figures cannot see.

    It holds the figures (all fields of `Measurements` are fields here too) and the words that follow from them. Every
    field is computed when the certificate is made, and `dataclasses.replace` computes the words anew.

    Attributes:
        language: the language of its words, "en" or "zh" (see `in_language`).
        ways_agree: whether the two ways of computing KL(q||posterior) agree within four standard errors; None unless
            both were computed.
        label: how reliable the KL is: "exact", "certified", "estimated" or "unknown" (see `label_of`).
        verdict: what the figures mean, in words.
        cannot_see: which faults could be there without showing in these figures.
        try_next: remedies, the most promising first; empty if nothing needs mending.
    """

    language: str = dataclasses.field(default="en", metadata=WORKING)
    ways_agree: bool | None = dataclasses.field(init=False, repr=False)
    label: str = dataclasses.field(init=False, repr=False)
    verdict: str = dataclasses.field(init=False, repr=False)
    cannot_see: str = dataclasses.field(init=False, repr=False)
    try_next: tuple[str, ...] = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        found = label_of(self)
        with speaking(self.language):
            words = {"verdict": verdict_of(self, found), "cannot_see": blind_spot(self)}
            store(
                self,
                ways_agree=self.gap.agrees_with(self.integrated, 4.0) if self.gap and self.integrated else None,
                label=found,
                try_next=advice_for(self, found),
                **words,
            )

    def in_language(self, language: str) -> "Certificate":
        """Return a copy whose verdict, blind spots and advice are in a language: "en", or "zh" for Chinese.

        It is printed in that language too. What checks of the reference say, the label, and the names of some methods
        are English in both.

        Raises:
            ValueError: another language.
        """
        return dataclasses.replace(self, language=language)

    def to(self, unit: str) -> "Certificate":
        """Return a copy with every divergence and evidence in "nats" or "bits"."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        changed: dict[str, Any] = {name: x.to(unit) for name, x in fields.items() if isinstance(x, Estimate | Limits)}
        return dataclasses.replace(self, **changed)

    def to_dict(self) -> dict:
        """Return the record as plain numbers and strings, for JSON; what is infinite or unknown is None."""
        return plain(self)

    @property
    def headline(self) -> str:
        """The approximation, how reliable the KL is, and the KL or its limits."""
        kl = self.limits if self.reverse_kl is None or self.improper else self.reverse_kl.as_divergence()
        with speaking(self.language):
            return in_figures(f"{self.name}, {self.label}: KL(q||posterior) {kl}")

    def __str__(self):
        figures = [
            ("ELBO", self.elbo),
            ("log evidence", self.log_evidence or self.evidence_limits),
            ("KL(q||post.)", self.reverse_kl.as_divergence() if self.reverse_kl else self.limits),
            ("KL(post.||q)", self.forward_kl and self.forward_kl.as_divergence()),
            ("k-hat, ESS", f"{self.k_hat_text}, {self.ess:.1%} of the draws"),
            ("short chains", self.short_chains and self.short_chains.effort),
            ("transport", self.distance),
            ("cost", self.effort),
        ]
        if self.reverse_kl is not None and self.source not in ("closed form", "quadrature"):
            figures.insert(3, ("", self.limits))
        if self.improper:
            figures = [figure for figure in figures if figure[0] != "KL(q||post.)"]
        with speaking(self.language):
            lines = [
                self._title(),
                *(f"  {columns(in_figures(name), 13)}{in_figures(x)}" for name, x in figures if x is not None),
                f"  {self.verdict}",
                "  " + say("It cannot see: {words}", words=self.cannot_see),
            ]
            lines += ["  " + say("Try: {words}", words=advice) for advice in self.try_next]
        return "\n".join(lines)

    def _title(self) -> str:
        named = {"name": self.name, "label": say(self.label)}
        if not self.source:
            return say("Certificate of {name}: {label}", **named)
        return say("Certificate of {name}: {label}, by {source}", **named, source=say(self.source))


@names_its_arguments
@with_one_blas_thread
@in_float64
def check(
    fit: Fitted | Approximation,
    reference: ReferencePosterior | Callable[[Target], ReferencePosterior] | None = None,
    *,
    key: KeyLike | None = None,
    num_draws: int | None = None,
    short_chains: bool | None = None,
    progress: ProgressLike = None,
) -> Certificate:
    """Measure how far a fit, or any Approximation, is from the posterior.

    Args:
        fit: a Fit or an Approximation.
        reference: the reference posterior that q is compared with: a `ReferencePosterior`, or a function from the
            target to one, such as `vi_kl.find_reference`; by default the target's own `reference`. If there is none,
            the certificate rests on importance weights of draws of q and of wider densities, and on mode searches from
            around q.
        key: a JAX random key, or an integer.
        num_draws: the number of draws of q, and of the reference posterior; by default 16,384, or fewer where one
            evaluation of the log density is dear, as with very many rows of data. The certificate says so; the
            searches for what q misses grow with the number asked for.
        short_chains: whether to run short chains from q's draws towards the posterior, which prove averages of q wrong
            without any weights; by default they are run where there is no reference, and importance weights cannot
            tell the KL, or where climbs are not tried for the number of dimensions, if their price is worth it.
        progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or False; by
            default it is shown on a terminal and in a notebook after two seconds.

    Raises:
        NoDensity: q is a set of particles.
        TypeError: `fit` is neither a Fit nor an Approximation, there is no key, or `short_chains` is no choice.
        UnsuitableError: short chains are asked for, and the target is too large for them.
        ValueError: a density is NaN at draws of q, fewer than 500 draws, or a reference of other sites.
    """
    q = approximation_of(fit, "check")
    reference, key = reference_and_key(reference, key)
    num_draws = None if num_draws is None else whole_number("num_draws", num_draws)
    if reference is not None:
        q = with_reference_attached(q, reference)
    if num_draws is not None and num_draws < FEWEST:
        raise ValueError(f"num_draws must be at least {FEWEST:,}, got {num_draws}.")
    if not (short_chains is None or isinstance(short_chains, bool)):
        raise TypeError(f"short_chains must be True, False or None, got {short_chains!r}.")
    if isinstance(q.family, Delta):
        return certificate_of_point(fit)
    effort = effort_for(q.target, num_draws)
    if short_chains:
        require_room_for_chains(q.target, effort)
    with reporting(progress, f"check of {q.name}") as report, counting_evaluations() as spent:
        found = certify(fit, q, split(key, 8), effort, short_chains, report)
        return dataclasses.replace(found, gradient_evaluations=spent.gradients, density_evaluations=spent.densities)


def require_room_for_chains(target: Target, effort: Effort) -> None:
    """Raise an error if short chains of a target are too large for the memory."""
    if not num_short_chains(target, effort, asked=True):
        raise UnsuitableError(
            f"Short chains hold the data and the places of {PIECE} chains in memory, which this target, of dimension "
            f"{target.dim:,}{' and with rows that are read in blocks' if target.density.is_streamed else ''}, is "
            "too large for: leave short_chains=True out."
        )


def certify(
    fit: Fitted | Approximation, q: Approximation, keys, effort: Effort, short_chains: bool | None, report: Progress
) -> Certificate:
    """Draw from q, search for what it misses, and judge it by the reference there is."""
    report(0.0, "drawing from q")
    draws = Draws(q, keys[0], effort.num_draws)
    refuse_undefined(draws, q)
    figures: dict[str, Any] = {
        "name": getattr(fit, "name", q.name),
        "converged": fit.status.converged if hasattr(fit, "status") else None,
        "may_go_on": hasattr(fit, "status") and not fit.status.converged and "raise " in str(fit.status).lower(),
        "is_mean_field": isinstance(q.family, MeanField),
        "family": q.name,
        "dim": q.target.dim,
        "num_draws": effort.num_draws,
        "search_share": effort.share,
        "hierarchical": hierarchical_sites(q.target),
        "learned": q.target.density.learnable,
    }
    if np.isneginf(draws.log_p).any():
        return certificate_outside_support(draws, figures)
    weights = smoothed_weights(draws.log_ratio)
    figures |= {"elbo": elbo_of(draws), "k_hat": pareto_k(draws.log_ratio), "ess": effective_share(weights)}
    known = q.target.reference
    search: Search = Search()
    view: View | None = None
    if known is None or known.source != "closed form":
        report(0.2, "searching for missed modes")
        view = View(q, keys[6], effort)
        search = find_missed_modes(view.pilot, view.scouts, view.log_q, q.target, keys[3], effort)
        figures["improper"] = view.improper_along(q.target) if known is None or not known.is_exact else ()
    figures |= mode_search_figures(search, draws)
    if known is None and view is not None:
        report(0.5, "weighing draws of wider densities")
        figures |= judge_without_reference(q, draws, view, search, figures)
        if figures.get("reverse_kl") is None and not figures["improper"]:
            report(0.7, "trying quadrature")
            known = reference_by_integration(q.target, effort.part(MOST_EVALUATIONS, FEWEST_EVALUATIONS))
            q = q if known is None else with_reference_attached(q, known)
    if short_chains or (short_chains is None and known is None and need_short_chains(figures, q.target)):
        view = View(q, keys[6], effort) if view is None else view
        search, found = led_by_short_chains(q, draws, view, search, figures, keys, bool(short_chains), report)
        figures |= found
    if known is not None:
        report(0.8, "comparing with the reference")
        figures |= judge_against_reference(q, known, draws, weights, search, figures, keys)
    figures["is_beside"] = figures["is_beside"] and not is_where_the_mass_is(figures)
    figures["saturated"] = saturations(q.target, draws.z)
    figures = with_rounding(figures, rounding_of(q, draws))
    return Certificate(**figures, contradictions=find_contradictions(figures, known, density_excess(q, draws, keys[5])))


def is_where_the_mass_is(figures: dict) -> bool:
    """Return whether q is close and leaves next to no mass out: a mode of a skewed posterior may hold none."""
    kl = figures.get("reverse_kl")
    return kl is not None and kl.value + 2 * kl.standard_error < CLOSE and figures["missed_share"] <= NOTABLE_SHARE


def need_short_chains(figures: dict, target: Target) -> bool:
    """Return whether what else there is sees too little: the KL is not known, or there are no climbs."""
    kl = figures.get("reverse_kl")
    if figures["improper"] or kl is None:
        return not figures["improper"]
    return target.dim > MOST_DIMENSIONS and kl.value + 2 * kl.standard_error > CLOSE


def led_by_short_chains(
    q: Approximation, draws: Draws, view: View, search: Search, figures: dict, keys, asked: bool, report: Progress
) -> tuple[Search, dict]:
    """Run short chains from q, and search where they went; return the search, and what is new in the figures."""
    number = num_short_chains(q.target, view.effort, asked=asked)
    if figures.get("reverse_kl") is not None and not asked:
        number = min(number, PIECE)  # they only look for what lies beyond q's draws, in place of climbs
    if not number:
        return search, {"chains_were_dear": num_short_chains(q.target, view.effort, asked=True) > 0}
    words = f"running {number:,} short chains"
    found = judge_by_short_chains(q, draws, view, keys[7], number, lambda share: report(0.7 + 0.1 * share, words))
    figures_found: dict[str, Any] = {"short_chains": found}
    if found is None or not len(found.starts):
        return search, figures_found
    further = search_from(found.starts, found.away, search, view.pilot, q.target, numpy_generator(keys[3]), view.effort)
    figures_found |= mode_search_figures(further, draws)
    if q.target.reference is None and len(further.parts) > len(search.parts):
        figures_found |= {"log_evidence": None, "reverse_kl": None, "errors": None}
        figures_found |= judge_without_reference(q, draws, view, further, figures)
    return further, figures_found


def reference_by_integration(target, most: int) -> ReferencePosterior | None:
    """Return the posterior by quadrature, or None if the dimension is too high or the integral does not converge."""
    if target.dim > MOST_INTEGRATED:
        return None
    try:
        return reference_by_quadrature(target, tolerance=TOLERANCE, max_evaluations=most)
    except QuadratureError:
        return None


def refuse_undefined(draws: Draws, q: Approximation) -> None:
    """Raise an error unless both densities are numbers at all draws of q.

    Raises:
        UnsuitableError: log q is not finite, or the log density is NaN or +inf, at a draw.
    """
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


def certificate_outside_support(draws: Draws, figures: dict) -> Certificate:
    """Make the certificate of a q with draws outside the posterior's support, whose KL(q||posterior) is infinite."""
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


def certificate_of_point(fit) -> Certificate:
    """Make the certificate of a point mass, whose KL(q||posterior) is infinite."""
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
        learned=fit.target.density.learnable,
    )


def with_reference_attached(q: Approximation, reference) -> Approximation:
    """Return q with a reference attached to its target.

    A reference that is a function is called with the target, and may use the reference that the target already has.

    Raises:
        ValueError: The sites of the reference are not the target's.
    """
    known = reference(q.target) if callable(reference) else reference
    if set(known.moments) != set(q.target.site_names):
        raise ValueError(
            f"The reference is of sites {sorted(known.moments)}, the target has {list(q.target.site_names)}."
        )
    return Approximation(q.family, q.params, q.target.with_reference(known))


def mode_search_figures(search: Search, draws: Draws) -> dict:
    """Return the figures that the mode search contributes to the certificate, as {field: value}."""
    share = search.share(draws)
    return {
        "missed_modes": search.parts,
        "missed_share": share,
        "climbs": search.climbs,
        "rows_begun_on": search.rows_begun_on,
        "inner_modes": len(search.spikes),
        "is_beside": search.is_beside,
        "misses_mode": share > NOTABLE_SHARE and not search.is_beside,
    }
