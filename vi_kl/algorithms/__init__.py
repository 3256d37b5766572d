"""Algorithms: how the best q is found. Each is a configuration with one method, `fit(key, target) -> Fit`.

`SVI` follows stochastic gradients of an objective, for any family; `Laplace` takes the normal distribution at the
posterior mode; `MomentMatching` takes the normal with the posterior's own mean and covariance, the best in the
forward direction, where the exact posterior can be drawn from.

`NaturalGradient` finds the best normal with fixed noise and no step size, and says how far new noise would move it.
`BatchAndMatch` and `GaussianScoreMatching` match gradients, in few evaluations where the posterior is nearly normal.
`Pathfinder` takes normals along climbs, and mixes those of several modes. `CoordinateAscent` is exact mean field for
conjugate models. `SVGD` moves a set of particles, and `MAP` is a point: neither has a density.
`fit(target, "full_rank", key=key)` picks one by name.
"""

from vi_kl.algorithms.algorithm import Algorithm, Cost, Fit, FitError, History, Status
from vi_kl.algorithms.batch_and_match import BatchAndMatch, GaussianScoreMatching
from vi_kl.algorithms.choose import fit
from vi_kl.algorithms.coordinate_ascent import CoordinateAscent
from vi_kl.algorithms.ladder import Ladder
from vi_kl.algorithms.laplace import Laplace
from vi_kl.algorithms.linear_response import LinearResponse
from vi_kl.algorithms.map import MAP
from vi_kl.algorithms.moment_matching import MomentMatching
from vi_kl.algorithms.natural_gradient import NaturalGradient
from vi_kl.algorithms.pathfinder import Pathfinder
from vi_kl.algorithms.sample_average import SampleAverage
from vi_kl.algorithms.svgd import SVGD
from vi_kl.algorithms.svi import SVI

__all__ = [
    "MAP",
    "SVGD",
    "SVI",
    "Algorithm",
    "BatchAndMatch",
    "CoordinateAscent",
    "Cost",
    "Fit",
    "FitError",
    "GaussianScoreMatching",
    "History",
    "Ladder",
    "Laplace",
    "LinearResponse",
    "MomentMatching",
    "NaturalGradient",
    "Pathfinder",
    "SampleAverage",
    "Status",
    "fit",
]
