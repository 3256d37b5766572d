"""Classics: the posteriors that every sampler and every approximation is tried on.

    densities      Neal's funnel and a banana, without data: known in closed form
    hierarchies    the eight schools in two forms, varying slopes with a learned correlation, item response
    regressions    logistic regression, Poisson regression
    series         a hidden Markov model, predators and prey by a differential equation, stochastic volatility
    shapes         a Gaussian process, a mixture

`TARGETS[name]()` makes a target; `CLASSICS` has the model and the data of each that takes no arguments. Which data are
real and which are simulated, from which seed, is in the catalogue.
"""

from collections.abc import Callable

from vi_kl.models.textbook import densities, hierarchies, regressions, series, shapes
from vi_kl.models.textbook.classic import Classic
from vi_kl.models.textbook.hierarchies import EFFECTS, STANDARD_ERRORS
from vi_kl.models.textbook.regressions import logistic_regression, simulated_logistic_data
from vi_kl.targets import Target

CLASSICS: dict[str, Classic] = (
    densities.CLASSICS | hierarchies.CLASSICS | regressions.CLASSICS | series.CLASSICS | shapes.CLASSICS
)
TARGETS: dict[str, Callable[..., Target]] = {**CLASSICS, "logistic_regression": logistic_regression}

eight_schools_centred = CLASSICS["eight_schools_centred"]
eight_schools_noncentred = CLASSICS["eight_schools_noncentred"]

__all__ = [
    "CLASSICS",
    "EFFECTS",
    "STANDARD_ERRORS",
    "TARGETS",
    "Classic",
    "eight_schools_centred",
    "eight_schools_noncentred",
    "logistic_regression",
    "simulated_logistic_data",
]
