"""The objectives that there are: one entry for each, from which lists and tables of them are made.

To add an objective, add its file and an entry here.
"""

import dataclasses

from vi_kl.objectives.chi_squared import ChiSquared
from vi_kl.objectives.elbo import ELBO
from vi_kl.objectives.fisher import Fisher
from vi_kl.objectives.forward_kl import ForwardKL
from vi_kl.objectives.importance_weighted import IWELBO
from vi_kl.objectives.objective import Objective
from vi_kl.objectives.reference_draws import ForwardKLToDraws
from vi_kl.objectives.renyi import Renyi


@dataclasses.dataclass(frozen=True)
class ObjectiveEntry:
    """What is said of an objective.

    Attributes:
        name: its short name.
        make: makes it, with its settings: its class.
        what: what is minimised, in a sentence.
        when: the case in which to use it, in a sentence.
        requires: what it asks of the family and the target.
    """

    name: str
    make: type[Objective]
    what: str
    when: str
    requires: str

    def __str__(self):
        return f"{self.what} {self.when}"


DIFFERENTIABLE = "draws that are differentiable in q's parameters, and a differentiable log density"

ENTRIES = (
    ObjectiveEntry(
        "elbo", ELBO,
        "The negative evidence lower bound: KL(q||posterior), up to the log evidence. Narrow rather than wide.",
        "To start with: KL(q||posterior) is what certificates measure.",
        f"{DIFFERENTIABLE}; for the score gradient, log q at any z and a log density",
    ),
    ObjectiveEntry(
        "renyi", Renyi,
        "The Renyi (alpha) divergence between q and the posterior.",
        "To choose between seeking a mode and covering the mass: at alpha -> 1 it is the ELBO; below 1 q grows wider, "
        "and covers more, the lower alpha is; above 1 q shrinks.",
        DIFFERENTIABLE,
    ),
    ObjectiveEntry(
        "iwelbo", IWELBO,
        "The importance-weighted evidence lower bound: q as a proposal, with K weighted draws in the place of one.",
        "Where draws will be weighted or resampled afterwards, or where a wider q is wanted than the ELBO's.",
        DIFFERENTIABLE,
    ),
    ObjectiveEntry(
        "chi_squared", ChiSquared,
        "chi^2(posterior||q), the variance of the importance weights: an upper bound of the evidence.",
        "For a q that covers the posterior, such as a proposal for importance sampling.",
        f"{DIFFERENTIABLE}; tails of q at least as heavy as the posterior's (else the divergence is infinite for every "
        "member)",
    ),
    ObjectiveEntry(
        "forward_kl", ForwardKL,
        "The forward divergence KL(posterior||q), by self-normalised importance sampling from q itself.",
        "For a q that covers the posterior's mass where the ELBO's settles in a part of it: the best q has the "
        "posterior's own moments, where the family can have them.",
        "log q at any z, and a log density; neither draws nor log density need be differentiable",
    ),
    ObjectiveEntry(
        "forward_kl_to_draws", ForwardKLToDraws,
        "The forward divergence to given draws of the posterior: maximum likelihood of q on them.",
        "To see what a family can do at best in the forward direction, or to put a long sampler run into a density.",
        "draws of the posterior, which `with_draws` hands to the target; log q at any z",
    ),
    ObjectiveEntry(
        "fisher", Fisher,
        "The Fisher divergence, by score matching: how different the slopes of log q and log p are, where q draws.",
        "Where the family holds the posterior, or nearly: the loss is then zero at the optimum, whatever the evidence, "
        "and its gradient there has no noise.",
        "q an image of normal noise (`push`), and a twice differentiable log density: the gradient of the loss costs "
        "about two of the ELBO's",
    ),
)  # fmt: skip

OBJECTIVES: dict[str, ObjectiveEntry] = {entry.name: entry for entry in ENTRIES}
