"""Consistency checks: log q that is no density, an ELBO above the evidence, two estimates of KL that disagree."""

from vi_kl.core.languages import Sentence
from vi_kl.diagnostics.errors import SMALL
from vi_kl.reference.posterior import ReferencePosterior


def find_contradictions(figures: dict, reference: ReferencePosterior | None, excess: float) -> tuple[Sentence, ...]:
    """Return a sentence for each pair of figures that cannot both be right.

    Args:
        figures: the fields of the certificate, by name.
        reference: the reference posterior, or None.
        excess: the nats by which q's density is proved wrong (see `density_excess`); 0 if it is not.
    """
    found = []
    if excess:
        found.append(
            Sentence.of(
                "log q is not the log density of q's draws: it is off by {excess} nats or more somewhere. Is a "
                "Jacobian missing?",
                excess=f"{excess:.2g}",
            )
        )
    found += contradictions_of_chains(figures)
    if reference is not None:
        found += contradictions_of_limits(figures, reference) + contradictions_of_estimates(figures, reference)
    return tuple(found)


def contradictions_of_limits(figures: dict, reference: ReferencePosterior) -> list[Sentence]:
    """Return what limits of the log evidence say against the reference's, a sentence each."""
    found, evidence, limits = [], reference.log_evidence, figures["evidence_limits"]
    doubt = 4 * evidence.standard_error + rounding_of(evidence.value)
    known = {"evidence": f"{evidence.value:.6g}", "method": evidence.method}
    if limits.upper < evidence.value - doubt:
        found.append(
            Sentence.of(
                "The log evidence is at most {upper} by posterior draws, and {evidence} by {method}: the draws are not "
                "this posterior's, or a density is wrong.",
                upper=f"{limits.upper:.6g}",
                **known,
            )
        )
    if limits.lower > evidence.value + doubt:
        found.append(
            Sentence.of(
                "The log evidence is at least {lower} by importance weights, and {evidence} by {method}: that misses a "
                "part of the posterior, or a density is wrong.",
                lower=f"{limits.lower:.6g}",
                **known,
            )
        )
    return found


def contradictions_of_estimates(figures: dict, reference: ReferencePosterior) -> list[Sentence]:
    """Return which estimates of the KL, or of the log evidence, cannot both be right, a sentence each."""
    found, evidence, second = [], reference.log_evidence, reference.second_opinion
    gap, integrated = figures["gap"], figures["integrated"]
    if gap.value < -4 * gap.standard_error - rounding_of(evidence.value):
        impossible = "The ELBO exceeds the log evidence by {by} nats, which it cannot."
        found.append(Sentence.of(impossible, by=f"{-gap.value:.2g}"))
    if integrated is not None and not gap.agrees_with(integrated, 4.0):
        found.append(
            Sentence.of(
                "The two ways of computing the KL disagree ({one} and {other} nats): trust neither until that is "
                "explained.",
                one=f"{gap.value:.4g}",
                other=f"{integrated.value:.4g}",
            )
        )
    if second is not None and not evidence.agrees_with(second, 4.0):
        opinions = "Two opinions on the log evidence disagree: {one}, and {other}."
        found.append(Sentence.of(opinions, one=str(evidence), other=str(second)))
    return found


def rounding_of(evidence: float) -> float:
    """Return the nats that rounding of the log evidence explains."""
    return 1e-9 * (1 + abs(evidence))


def contradictions_of_chains(figures: dict) -> list[Sentence]:
    """Return what short chains prove wrong among the figures that were found in other ways, a sentence each."""
    chains, kl, errors = figures.get("short_chains"), figures.get("reverse_kl"), figures.get("errors")
    if chains is None:
        return []
    if kl is not None and chains.kl_at_least > max(kl.value, 0.0) + 4 * kl.standard_error:
        return [
            Sentence.of(
                "Short chains from q's draws prove that KL(q||posterior) is at least {least} nats, and by {method} it "
                "is {kl}: that misses a part of the posterior.",
                least=f"{chains.kl_at_least:.2g}",
                method=kl.method,
                kl=f"{kl.value:.2g}",
            )
        ]
    if errors is None or errors.notable or not chains.settled:
        return []
    large = [shift for shift in chains.of_sites if shift.what in ("mean", "sd") and shift.at_least > SMALL]
    return [
        Sentence.of(
            "Short chains from q's draws prove that {shift}, and by {against} no mean or sd is off: that misses a part "
            "of the posterior.",
            shift=shift,
            against=errors.against,
        )
        for shift in large[:1]
    ]
