"""`fit`: the one-word way to an approximation, by name, family, algorithm or NumPyro guide."""

from collections.abc import Callable

from vi_kl.algorithms.algorithm import Algorithm, Fit
from vi_kl.algorithms.batch_and_match import BatchAndMatch, GaussianScoreMatching
from vi_kl.algorithms.coordinate_ascent import CoordinateAscent
from vi_kl.algorithms.ladder import FLOW, Ladder
from vi_kl.algorithms.laplace import Laplace
from vi_kl.algorithms.linear_response import LinearResponse
from vi_kl.algorithms.map import MAP
from vi_kl.algorithms.moment_matching import MomentMatching
from vi_kl.algorithms.natural_gradient import NaturalGradient
from vi_kl.algorithms.pathfinder import Pathfinder
from vi_kl.algorithms.sample_average import SampleAverage
from vi_kl.algorithms.svgd import SVGD
from vi_kl.algorithms.svi.svi import SVI
from vi_kl.families.block_normal import BlockNormal
from vi_kl.families.constrained import Constrained
from vi_kl.families.family import Family
from vi_kl.families.flow import Flow
from vi_kl.families.gaussian import FullRank, MeanField
from vi_kl.families.guide import guide_family
from vi_kl.families.low_rank import LowRank
from vi_kl.families.mixture import Mixture
from vi_kl.families.skewed import Skewed
from vi_kl.families.student_t import StudentT
from vi_kl.objectives.elbo import ELBO
from vi_kl.target.target import Target

# To add an algorithm, add its file and a line here.
BY_NAME: dict[str, Callable[[], Algorithm]] = {
    "mean_field": lambda: SampleAverage(MeanField()),
    "full_rank": lambda: SampleAverage(FullRank()),
    "linear_response": LinearResponse,
    "low_rank": lambda: SampleAverage(LowRank()),
    "block_normal": lambda: SampleAverage(BlockNormal()),
    "skewed": lambda: SampleAverage(Skewed()),
    "student_t": lambda: SVI(StudentT()),
    "mixture": lambda: SVI(Mixture(), ELBO(num_draws=12)),
    "constrained": lambda: SVI(Constrained(), ELBO(num_draws=4)),
    "flow": lambda: FLOW,
    "iaf": lambda: SVI(Flow(), ELBO(num_draws=32), step_size=0.02, smallest_step_size=1e-5),
    "laplace": Laplace,
    "moment_matching": MomentMatching,
    "pathfinder": Pathfinder,
    "map": MAP,
    "coordinate_ascent": CoordinateAscent,
    "svgd": SVGD,
    "batch_and_match": BatchAndMatch,
    "gaussian_score_matching": GaussianScoreMatching,
    "natural_gradient": NaturalGradient,
}


def choose_algorithm(target: Target, method=None) -> Algorithm:
    """The algorithm that a method stands for.

    Args:
        method: None for the `Ladder`; a name; a Family (fitted by SVI); an Algorithm; a NumPyro guide
            function, autoguide or autoguide class.
    """
    if method is None:
        return Ladder()
    if isinstance(method, str):
        if method not in BY_NAME:
            raise ValueError(f"Unknown method {method!r}: choose one of {', '.join(sorted(BY_NAME))}.")
        return BY_NAME[method]()
    if isinstance(method, Algorithm):
        return method
    if isinstance(method, Family):
        return SVI(method)
    if callable(method):
        # guides may start far from where they end, and their samplers (gamma, beta) are slow
        return SVI(guide_family(method, target), ELBO(num_draws=4), step_size=0.1)
    raise TypeError(f"method must be a name, a Family, an Algorithm or a NumPyro guide, not {type(method).__name__}.")


def fit(target: Target, method=None, *, key, start=None, checkpoint=None, progress=None) -> Fit:
    """Fit an approximation to a target.

    Args:
        target: from `Target.from_numpyro(model, *args, **kwargs)`.
        method: a name, a Family, an Algorithm, or a NumPyro guide. By default the cheapest of Laplace's normal,
            the best normal and a flow that is good enough (`Ladder`). The names:
            normals: "full_rank", "mean_field", "low_rank", "block_normal", "laplace", "linear_response",
            "natural_gradient", "batch_and_match", "gaussian_score_matching", "moment_matching";
            richer: "skewed", "student_t", "mixture", "pathfinder", "flow", "iaf";
            on the model's own sites: "constrained", "coordinate_ascent";
            without a density: "map", "svgd".
        key: a JAX random key; the same key gives the same fit.
        start: where to begin: another Fit or Approximation, a Frame, or a point as z or {site: value}. By default
            at the best of the modes that climbs from random places reach.
        checkpoint: a file that methods fitted by SVI write their state to, and go on from where it exists.
        progress: called as `progress(fraction_done, sentence)`.

    Returns:
        The Fit: its `approximation`, a readable `status`, its `history` and its `cost`.

    Raises:
        FitError: the method cannot be fitted to this target; the message says why, and what can.
        ValueError: no method has that name, or a checkpoint is asked of one that is not fitted by SVI.
    """
    algorithm = choose_algorithm(target, method)
    if checkpoint is None:
        return algorithm.fit(key, target, start=start, progress=progress)
    if not isinstance(algorithm, SVI):
        raise ValueError(f"'{algorithm.name}' writes no checkpoints: only SVI, whose fits may take long, does.")
    return algorithm.fit(key, target, start=start, progress=progress, checkpoint=checkpoint)
