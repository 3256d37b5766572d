"""Consistency checks: log q that is no density, an ELBO above the evidence, two estimates of KL that disagree."""

from vi_kl.diagnostics.errors import SMALL
from vi_kl.reference.posterior import ReferencePosterior


def find_contradictions(figures: dict, reference: ReferencePosterior | None, excess: float) -> tuple[str, ...]:
    """Return a sentence for each pair of figures that cannot both be right.

    Args:
        figures: the fields of the certificate, by name.
        reference: the reference posterior, or None.
        excess: the nats by which q's density is proved wrong (see `density_excess`); 0 if it is not.
    """
    found = []
    if excess:
        found.append(
            f"log q is not the log density of q's draws: it is off by {excess:.2g} nats or more somewhere. Is a "
            "Jacobian missing?"
        )
    found += contradictions_of_chains(figures)
    if reference is None:
        return tuple(found)
    evidence, lower = reference.log_evidence, figures["evidence_limits"].lower
    upper, rounding = figures["evidence_limits"].upper, 1e-9 * (1 + abs(evidence.value))
    if upper < evidence.value - 4 * evidence.standard_error - rounding:
        found.append(
            f"The log evidence is at most {upper:.6g} by posterior draws, and {evidence.value:.6g} by "
            f"{evidence.method}: the draws are not this posterior's, or a density is wrong."
        )
    if lower > evidence.value + 4 * evidence.standard_error + rounding:
        found.append(
            f"The log evidence is at least {lower:.6g} by importance weights, and {evidence.value:.6g} by "
            f"{evidence.method}: that misses a part of the posterior, or a density is wrong."
        )
    gap, integrated = figures["gap"], figures["integrated"]
    if gap.value < -4 * gap.standard_error - rounding:
        found.append(f"The ELBO exceeds the log evidence by {-gap.value:.2g} nats, which it cannot.")
    if integrated is not None and not gap.agrees_with(integrated, 4.0):
        found.append(
            f"The two ways of computing the KL disagree ({gap.value:.4g} and {integrated.value:.4g} nats): trust "
            "neither until that is explained."
        )
    second = reference.second_opinion
    if second is not None and not evidence.agrees_with(second, 4.0):
        found.append(f"Two opinions on the log evidence disagree: {evidence}, and {second}.")
    return tuple(found)


def contradictions_of_chains(figures: dict) -> list[str]:
    """Return what short chains prove wrong among the figures that were found in other ways, a sentence each."""
    chains, kl, errors = figures.get("short_chains"), figures.get("reverse_kl"), figures.get("errors")
    if chains is None:
        return []
    found = []
    if kl is not None and chains.kl_at_least > max(kl.value, 0.0) + 4 * kl.standard_error:
        found.append(
            f"Short chains from q's draws prove that KL(q||posterior) is at least {chains.kl_at_least:.2g} nats, and "
            f"by {kl.method} it is {kl.value:.2g}: that misses a part of the posterior."
        )
    elif errors is not None and not errors.notable and chains.settled:
        large = [shift for shift in chains.of_sites if shift.what in ("mean", "sd") and shift.at_least > SMALL]
        if large:
            found.append(
                f"Short chains from q's draws prove that {large[0]}, and by {errors.against} no mean or sd is off: "
                "that misses a part of the posterior."
            )
    return found
