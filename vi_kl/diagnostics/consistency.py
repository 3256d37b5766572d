"""Consistency checks: log q that is no density, an ELBO above the evidence, two estimates of KL that disagree."""

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
