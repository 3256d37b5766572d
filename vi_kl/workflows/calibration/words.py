"""What a Calibration means, in words: which parameters err, in which direction, and what does not show."""

from typing import TYPE_CHECKING

from vi_kl.core.estimate import Estimate
from vi_kl.workflows.calibration.ranks import JOINT

if TYPE_CHECKING:
    from vi_kl.workflows.calibration.calibration import Calibration

MOST_SENTENCES = 6  # about parameters


def verdict(c: "Calibration") -> str:
    findings = [sentence for name in c.worst_first if (sentence := describe(c, name))]
    if len(findings) > MOST_SENTENCES:
        findings = [*findings[:MOST_SENTENCES], f"So do {len(findings) - MOST_SENTENCES} more: see to_dataframe()."]
    if not findings:
        findings = [no_fault(c)]
    return " ".join([*findings, *about_fits(c)])


def describe(c: "Calibration", name: str) -> str:
    """The sentence about one quantity; empty where no test found fault."""
    bias, width = c.bias[name], c.width[name]
    shape = c.faults["uniformity"][c.index(name)]
    if name == JOINT:
        return describe_joint(c, bias, width) if bias or width or shape else ""
    intervals = f"95% intervals cover {percent(c.coverage(0.95)[name])}, 50% intervals {percent(c.coverage(0.5)[name])}"
    if bias:
        also = f"; its {intervals}" if width else ""
        above = percent(c.above_median()[name])
        return f"{name} is {bias}: the truth lies above q's median in {above} of data sets{also}."
    if width:
        return f"Intervals of {name} are {width}: {intervals}."
    if shape:
        return (
            f"The distribution of {name} has the wrong shape, neither biased nor too narrow or "
            f"too wide on the whole: {intervals}."
        )
    return ""


def describe_joint(c: "Calibration", bias: str, width: str) -> str:
    """q's parameters taken together, by the joint log density at the truth and at q's draws."""
    if bias == "overestimated":
        return (
            "Taken together, the true parameters lie where the joint density is lower than at q's draws: q is too "
            "narrow as a whole, or leaves a part of the posterior out."
        )
    if bias == "underestimated":
        return (
            "Taken together, the true parameters lie where the joint density is higher than at q's draws: q is too "
            "wide as a whole, or puts mass where parameters do not go together with each other or with the data."
        )
    return "Taken together, q's parameters do not vary as the posterior's do: look at their dependence on each other."


def no_fault(c: "Calibration") -> str:
    coverages = [e for name, e in c.coverage(0.95).items() if name != JOINT]
    low, high = (pick(coverages, key=lambda e: e.value) for pick in (min, max))
    spread = percent(low) if len(coverages) == 1 else f"between {percent(low)} and {percent(high)}"
    return f"No fault found in {len(c.pits)} data sets: 95% intervals cover {spread}."


def about_fits(c: "Calibration") -> list[str]:
    total, open_ended = len(c.pits) + len(c.failures), int((~c.converged).sum())
    sentences = []
    if c.failures:
        sentences.append(
            f"{len(c.failures)} of {total} fits failed and are left out, so this holds only where a fit succeeds: see "
            "`failures`."
        )
    if open_ended:
        sentences.append(f"{open_ended} of {total} fits did not converge; they are counted in.")
    return sentences


def cannot_see(c: "Calibration") -> str:
    error = 100 * (0.95 * 0.05 / len(c.pits)) ** 0.5
    return (
        "This is an average over data that the prior makes, which may be unlike yours, and errors that go one way for "
        "some data and the other way for others cancel. It judges parameters one by one; their dependence, and a q "
        "that ignores the data, show only in the joint log density. It takes the model as true. With "
        f"{len(c.pits)} data sets the coverage of 95% intervals is known to ±{error:.1f}%: smaller faults do not show."
    )


def percent(share: Estimate) -> str:
    return f"{100 * share.value:.0f}% ± {100 * share.standard_error:.0f}%"
