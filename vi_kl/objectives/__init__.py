"""Objectives: what the best q means. Always a loss, always minimised.

    ELBO              KL(q||posterior), up to the log evidence: narrow rather than wide. The one to start with
    Renyi             the Renyi (alpha) divergence between q and the posterior: a dial from covering to mode-seeking
    IWELBO            q as a proposal, with K weighted draws in the place of one
    ChiSquared        chi^2(posterior||q), the variance of the importance weights: an upper bound of the evidence
    ForwardKL         KL(posterior||q), estimated from weighted draws of q: wide rather than narrow
    ForwardKLToDraws  KL(posterior||q), estimated from given draws of the posterior (see `with_draws`)
    Fisher            the mean squared difference of the gradients of log q and log p

`OBJECTIVES` maps the names in lower case to the classes.
"""

from vi_kl.objectives.chi_squared import ChiSquared
from vi_kl.objectives.elbo import ELBO
from vi_kl.objectives.fisher import Fisher
from vi_kl.objectives.forward_kl import ForwardKL
from vi_kl.objectives.importance_weighted import IWELBO
from vi_kl.objectives.objective import Objective, ObjectiveError
from vi_kl.objectives.reference_draws import ForwardKLToDraws, TargetWithDraws, with_draws
from vi_kl.objectives.renyi import Renyi

# To add an objective, add its file and a line here.
OBJECTIVES: dict[str, type[Objective]] = {
    "elbo": ELBO,
    "renyi": Renyi,
    "iwelbo": IWELBO,
    "chi_squared": ChiSquared,
    "forward_kl": ForwardKL,
    "forward_kl_to_draws": ForwardKLToDraws,
    "fisher": Fisher,
}

__all__ = [
    "ELBO",
    "IWELBO",
    "OBJECTIVES",
    "ChiSquared",
    "Fisher",
    "ForwardKL",
    "ForwardKLToDraws",
    "Objective",
    "ObjectiveError",
    "Renyi",
    "TargetWithDraws",
    "with_draws",
]
