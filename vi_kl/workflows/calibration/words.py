"""The words of a calibration: which parameters err, in which direction, and what the ranks cannot show."""

from vi_kl.core.estimate import Estimate
from vi_kl.workflows.calibration.rank_statistics import RankStatistics
from vi_kl.workflows.calibration.ranks import JOINT

MOST_SENTENCES = 6  # about parameters


def verdict_of(r: RankStatistics) -> str:
    """Say which parameters err and how, the worst first, and which fits failed or did not converge."""
    findings = [sentence for name in r.worst_first if (sentence := describe(r, name))]
    if len(findings) > MOST_SENTENCES:
        findings = [*findings[:MOST_SENTENCES], f"So do {len(findings) - MOST_SENTENCES} more: see to_dataframe()."]
    if not findings:
        findings = [no_fault(r)]
    return " ".join([*findings, *about_fits(r)])


def describe(r: RankStatistics, name: str) -> str:
    """Write the sentence about one quantity; "" if no test found fault."""
    bias, width = r.bias[name], r.width[name]
    shape = r.faults["uniformity"][r.index(name)]
    if name == JOINT:
        return describe_joint(r, bias, width) if bias or width or shape else ""
    intervals = f"95% intervals cover {percent(r.coverage(0.95)[name])}, 50% intervals {percent(r.coverage(0.5)[name])}"
    if bias:
        also = f"; its {intervals}" if width else ""
        above = percent(r.above_median()[name])
        return f"{name} is {bias}: the truth lies above q's median in {above} of data sets{also}."
    if width:
        return f"Intervals of {name} are {width}: {intervals}."
    if shape:
        return (
            f"The distribution of {name} has the wrong shape, neither biased nor too narrow or "
            f"too wide on the whole: {intervals}."
        )
    return ""


def describe_joint(r: RankStatistics, bias: str, width: str) -> str:
    """Describe q's parameters taken together, by the joint log density at the truth and at q's draws."""
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


def no_fault(r: RankStatistics) -> str:
    coverages = [e for name, e in r.coverage(0.95).items() if name != JOINT]
    if not coverages:
        return f"No fault found in {len(r.pits)} data sets, but no parameter of the model varies among q's draws."
    low, high = (pick(coverages, key=lambda e: e.value) for pick in (min, max))
    spread = percent(low) if len(coverages) == 1 else f"between {percent(low)} and {percent(high)}"
    return f"No fault found in {len(r.pits)} data sets: 95% intervals cover {spread}."


def about_fits(r: RankStatistics) -> list[str]:
    total, open_ended = len(r.pits) + len(r.failures), int((~r.converged).sum())
    sentences = []
    if r.failures:
        sentences.append(
            f"{len(r.failures)} of {total} fits failed and are left out, so this holds only where a fit succeeds: see "
            "`failures`."
        )
    if open_ended:
        sentences.append(f"{open_ended} of {total} fits did not converge; they are counted in.")
    return sentences


def blind_spot(r: RankStatistics) -> str:
    """Say what could be wrong without showing in these figures."""
    error = 100 * (0.95 * 0.05 / len(r.pits)) ** 0.5
    where = "data that q's own draws make" if r.given else "data that the prior makes, which may be unlike yours"
    with_more = (
        "Every fit has the data seen and as many again: faults that so much data mend do not show, nor a part of the "
        "posterior that the fit to the data seen leaves out. "
    )
    return (
        f"This is an average over {where}, and errors that go one way for some data and the other way for others "
        f"cancel. {with_more if r.given else ''}It judges parameters one by one; their dependence, and a q "
        "that ignores the data, show only in the joint log density. It takes the model as true. With "
        f"{len(r.pits)} data sets the coverage of 95% intervals is known to ±{error:.1f}%: smaller faults do not show."
    )


def percent(share: Estimate) -> str:
    return f"{100 * share.value:.0f}% ± {100 * share.standard_error:.0f}%"
