"""Objectives: what the best q means. Always a loss, always minimised.

The ELBO is the one to start with. An objective is offered here as soon as it has a file in this folder; its entry in
`OBJECTIVES` (registry.py) says what it minimises and when to use it, and `help(vi_kl.objectives)` lists them.
"""

from vi_kl.core.discovery import classes_in, listing
from vi_kl.objectives.chi_squared import ChiSquared
from vi_kl.objectives.elbo import ELBO
from vi_kl.objectives.fisher import Fisher
from vi_kl.objectives.forward_kl import ForwardKL
from vi_kl.objectives.importance_weighted import IWELBO
from vi_kl.objectives.objective import Objective, ObjectiveError
from vi_kl.objectives.reference_draws import ForwardKLToDraws, TargetWithDraws, with_draws
from vi_kl.objectives.registry import OBJECTIVES
from vi_kl.objectives.renyi import Renyi

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

globals().update(classes_in(__name__, Objective))
__doc__ = f"{__doc__ or ''}\n{listing({entry.make.__name__: str(entry) for entry in OBJECTIVES.values()})}\n"
