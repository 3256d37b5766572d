"""Algorithms: how the best q is found. Each is a configuration with one method, `fit(key, target) -> Fit`.

    AutoFit                what `fit(target, key=key)` does: Laplace, the best normal, a flow, as far as is needed
    SampleAverageApproximation
                           any family that is an image of normal noise, on fixed draws: no step size, a true optimum
    SVI                    any family and objective, by stochastic gradients: guides, minibatches, restarts, checkpoints
    Laplace                the normal at the posterior's mode, with the curvature there
    Pathfinder             the best of the normals along climbs, and a mixture of those of several modes
    NaturalGradient        the best normal, in some tens of steps
    BatchAndMatch          a normal that matches slopes, in few gradients where the posterior is nearly normal;
    GaussianScoreMatching  the same, one slope at a time
    LinearResponse         a mean field, with the covariance that its means imply
    CoordinateAscent       exact mean field for conjugate models
    MomentMatching         the normal with the posterior's own moments, where that can be drawn from
    MAP, SVGD              a point; a set of moving particles. Neither has a density

Each begins in a frame, a first guess of the posterior (`start=` takes another), and ends with a status that says
whether it is done and by which figure. `fit(target, "full_rank", key=key)` picks one by name.
"""

from vi_kl.algorithms.algorithm import Algorithm, Cost, Fit, FitError, History, Solution, Status
from vi_kl.algorithms.auto_fit import AutoFit
from vi_kl.algorithms.batch_and_match import BatchAndMatch, GaussianScoreMatching
from vi_kl.algorithms.coordinate_ascent import CoordinateAscent
from vi_kl.algorithms.laplace import Laplace
from vi_kl.algorithms.linear_response import LinearResponse
from vi_kl.algorithms.map import MAP
from vi_kl.algorithms.moment_matching import MomentMatching
from vi_kl.algorithms.natural_gradient import NaturalGradient
from vi_kl.algorithms.pathfinder import Pathfinder
from vi_kl.algorithms.registry import fit
from vi_kl.algorithms.sample_average_approximation import SampleAverageApproximation
from vi_kl.algorithms.svgd import SVGD
from vi_kl.algorithms.svi.svi import SVI

__all__ = [
    "MAP",
    "SVGD",
    "SVI",
    "Algorithm",
    "AutoFit",
    "BatchAndMatch",
    "CoordinateAscent",
    "Cost",
    "Fit",
    "FitError",
    "GaussianScoreMatching",
    "History",
    "Laplace",
    "LinearResponse",
    "MomentMatching",
    "NaturalGradient",
    "Pathfinder",
    "SampleAverageApproximation",
    "Solution",
    "Status",
    "fit",
]
