"""The candidates of the default, as they were judged, and the words of its status: what was kept, and why."""

import dataclasses

from vi_kl.algorithms.algorithm import Fit, Status
from vi_kl.algorithms.candidates import is_dear
from vi_kl.algorithms.stationary import unbounded
from vi_kl.diagnostics.judgement import Judgement, describe
from vi_kl.targets.priors import hierarchical_sites

NEARLY_NORMAL = 0.3  # nats; posteriors nearer to Laplace's normal have other modes seldom, and further climbs are dear
NOT_CLOSE = 0.1  # nats; the status says "not close" if KL less twice its error is larger
MENDABLE = 0.5  # k-hat below which weights have a finite variance
NO_RIVAL = 2.0  # nats of KL, below which the normal that was found is near the best one


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One of the approximations that were tried, and how it was judged.

    Attributes:
        name: the candidate's name.
        fit: the approximation, with its own status and cost.
        judgement: the result of weighing its draws, as certificates do it.
    """

    name: str
    fit: Fit
    judgement: Judgement

    @property
    def elbo(self) -> float:
        """The ELBO in nats."""
        return self.judgement.elbo

    @property
    def k_hat(self) -> float:
        """Pareto's k-hat of q's own weights."""
        return self.judgement.k_hat

    @property
    def at_most(self) -> float:
        """KL plus twice its standard error; infinite if it is not known."""
        return self.judgement.at_most

    def __str__(self):
        return f"{self.name} ({self.judgement})"


@dataclasses.dataclass(frozen=True)
class Standards:
    """How near the posterior a candidate has to be for none to be fitted after it.

    Attributes:
        good_enough: the nats of KL(q||posterior) below which no further candidate is fitted.
        nothing_to_gain: the nats below which not even the best normal is fitted after Laplace's.
    """

    good_enough: float = 0.05
    nothing_to_gain: float = 1e-4

    def is_enough(self, candidate: Candidate) -> bool:
        """Return whether a candidate is so close, or so good and found so precisely, that no further one is fitted."""
        return (self.is_close(candidate) and candidate.name != "laplace") or (
            is_settled(candidate) and self.is_good(candidate)
        )

    def is_close(self, candidate: Candidate) -> bool:
        """Return whether KL is known to be so small that what is left does not matter."""
        return candidate.at_most < self.good_enough

    def is_good(self, candidate: Candidate) -> bool:
        """Return whether a candidate is so near the posterior that no further one is wanted."""
        if candidate.name == "laplace" and not is_dear(candidate.fit.target):
            return candidate.at_most < self.nothing_to_gain
        return self.is_close(candidate) or (candidate.judgement.kl is not None and candidate.k_hat < MENDABLE)


def is_settled(candidate: Candidate) -> bool:
    """Return whether a candidate is as near as its family can be; a flow is taken for it.

    How near a flow is says its judgement alone.
    """
    return candidate.fit.status.converged or candidate.name == "flow"


def is_found(candidate: Candidate) -> bool:
    """Return whether a candidate is the best normal, or near enough to it that independent normals are no rival."""
    if candidate.name != "full_rank":
        return False
    return candidate.fit.status.converged or candidate.at_most < NO_RIVAL


def may_be_minor(candidate: Candidate) -> bool:
    """Return whether a mode may be one of several: the posterior is not nearly normal there, or that is not known."""
    return candidate.judgement.kl is None or candidate.judgement.at_least > NEARLY_NORMAL


def explain(standards: Standards, tried: list[Candidate], best: Candidate, failures: list[str]) -> Status:
    """Say which candidate was kept, why, and which were tried."""
    path = "; ".join([*map(str, tried), *failures])
    settled = standards.is_good(best) if best.name == "flow" else best.fit.status.converged
    converged = settled or standards.is_close(best)  # a search that ended early may have ended close
    words = f"Kept {best.name}: {reason(standards, best)}."
    endless = None if standards.is_close(best) else endless_beside(best, tried)
    if endless is not None:
        converged, words = False, f"{words} A normal before it has no end: {endless}"
    return Status(converged, f"{words} Tried {path}.")


def endless_beside(best: Candidate, tried: list[Candidate]) -> str | None:
    """Say along which coordinate a full-rank normal beside the best has grown without bound; None if along none.

    Other candidates are not asked: in thousands of dimensions the sds of a sparse normal take long.
    """
    for candidate in tried:
        status, q = candidate.fit.status, candidate.fit.approximation
        if candidate is not best and candidate.name == "full_rank" and not status.converged:
            return unbounded(q.family.frame(q.params), q.target.coordinate_names, settled=False)
    return None


def reason(standards: Standards, best: Candidate) -> str:
    """Say why a candidate was kept, in words that a certificate, which looks further, does not contradict."""
    kl = best.judgement.kl
    if standards.is_close(best):
        return "close enough to the posterior as far as its draws, and wider ones, reach"
    if not is_settled(best):
        return "the best found, but: " + str(best.fit.status).rstrip(".")
    if kl is None:
        return "the best found; how far it is from the posterior its draws do not tell, and vi_kl.check looks further"
    if standards.is_enough(best):
        return f"{describe(kl.value)}, with weights light enough to mend what is left"
    if best.judgement.at_least < NOT_CLOSE:
        return f"the best found, and {describe(kl.value)}"
    sites = hierarchical_sites(best.fit.target)
    mend = f"the non-centred form of {', '.join(sites[:3])} may bring it nearer" if sites else "another scale may help"
    exact = "vi_kl.sample(fit, key=key) draws from the posterior itself"
    return f"the best found, and not close ({describe(kl.value)}): {mend}; {exact}; vi_kl.check says more"
