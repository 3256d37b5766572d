"""Algorithms: how the best q is found. Each is a configuration with one method, `fit(key, target) -> Fit`.

`SampleAverageApproximation` fits any family that is an image of normal noise, on fixed draws: it has no step size, and
ends at a true optimum. `SVI` fits any family and objective by stochastic gradients, with guides, minibatches, restarts
and checkpoints. The others have families of their own. Each starts from a frame, a first guess of the posterior
(`start=` gives another), and returns a status that says whether it converged, and by which figure.

An algorithm is exported here as soon as it has a file in this folder. It has a name (`fit(target, "laplace", key=key)`)
once it has an entry in `METHODS` (registry.py), which says what it finds and when to use it;
`help(vi_kl.algorithms)` lists them.
"""

from vi_kl.algorithms.algorithm import Algorithm, Cost, Fit, FitError, History, Solution, Status
from vi_kl.algorithms.auto_fit import AutoFit
from vi_kl.algorithms.batch_and_match import BatchAndMatch, GaussianScoreMatching
from vi_kl.algorithms.coordinate_ascent import CoordinateAscent
from vi_kl.algorithms.density_regression import DensityRegression
from vi_kl.algorithms.fitting import fit
from vi_kl.algorithms.laplace import Laplace
from vi_kl.algorithms.linear_response import LinearResponse
from vi_kl.algorithms.map import MAP
from vi_kl.algorithms.moment_matching import MomentMatching
from vi_kl.algorithms.natural_gradient import NaturalGradient
from vi_kl.algorithms.nested_newton import NestedNewton
from vi_kl.algorithms.pathfinder import Pathfinder
from vi_kl.algorithms.registry import METHODS
from vi_kl.algorithms.sample_average_approximation import SampleAverageApproximation
from vi_kl.algorithms.svgd import SVGD
from vi_kl.algorithms.svi.svi import SVI
from vi_kl.algorithms.variational_newton import VariationalNewton
from vi_kl.core.discovery import classes_in, listing

__all__ = [
    "MAP",
    "METHODS",
    "SVGD",
    "SVI",
    "Algorithm",
    "AutoFit",
    "BatchAndMatch",
    "CoordinateAscent",
    "Cost",
    "DensityRegression",
    "Fit",
    "FitError",
    "GaussianScoreMatching",
    "History",
    "Laplace",
    "LinearResponse",
    "MomentMatching",
    "NaturalGradient",
    "NestedNewton",
    "Pathfinder",
    "SampleAverageApproximation",
    "Solution",
    "Status",
    "VariationalNewton",
    "fit",
]

globals().update(classes_in(__name__, Algorithm))
__doc__ = f"{__doc__ or ''}\n{listing({name: str(method) for name, method in METHODS.items()})}\n"
