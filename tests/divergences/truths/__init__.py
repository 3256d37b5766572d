"""The truth about closed-form KL divergences: the textbook formulas in 60 digits, and adversarial parameters.

The generators draw what breaks floating-point formulas: near-equal parameters, matched means, concentrations from
1e-3 to 1e8, probabilities next to 0 and 1, ill-conditioned covariances; and far pairs too.
"""

from truths import (
    circle,
    counting,
    finite,
    finite_sum,
    matrix,
    multinomial,
    positive,
    process,
    real_line,
    simplex,
    structure,
    truncated_gamma,
    truncation,
    unbounded_sum,
    unit_interval,
    univariate,
    vector,
    zero_modified,
)
from truths.case import CASES, case, exact
from truths.draws import Draws

__all__ = [
    "CASES",
    "Draws",
    "case",
    "circle",
    "counting",
    "exact",
    "finite",
    "finite_sum",
    "matrix",
    "multinomial",
    "positive",
    "process",
    "real_line",
    "simplex",
    "structure",
    "truncated_gamma",
    "truncation",
    "unbounded_sum",
    "unit_interval",
    "univariate",
    "vector",
    "zero_modified",
]
