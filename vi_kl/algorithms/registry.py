"""`fit`: the one-word way to an approximation, by name, family, algorithm or NumPyro guide."""

import os
from collections.abc import Callable
from typing import Any, TypeAlias

from vi_kl.algorithms.algorithm import Algorithm, Fit
from vi_kl.algorithms.arguments import is_method, method_named, plain, refuse_key_first, target_of
from vi_kl.algorithms.auto_fit import FLOW, AutoFit
from vi_kl.algorithms.batch_and_match import BatchAndMatch, GaussianScoreMatching
from vi_kl.algorithms.coordinate_ascent import CoordinateAscent
from vi_kl.algorithms.laplace import Laplace
from vi_kl.algorithms.linear_response import LinearResponse
from vi_kl.algorithms.map import MAP
from vi_kl.algorithms.moment_matching import MomentMatching
from vi_kl.algorithms.natural_gradient import NaturalGradient
from vi_kl.algorithms.pathfinder import Pathfinder
from vi_kl.algorithms.sample_average_approximation import SampleAverageApproximation
from vi_kl.algorithms.svgd import SVGD
from vi_kl.algorithms.svi.svi import SVI
from vi_kl.core.annotations import KeyLike, Progress
from vi_kl.core.random_keys import as_key, is_key
from vi_kl.families.approximation import Approximation
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
from vi_kl.targets.arguments import in_words, own_target
from vi_kl.targets.target import Target

# What `fit` takes for a method: a name, a family or an algorithm (or the class of one), a NumPyro guide.
Method: TypeAlias = str | Family | Algorithm | Callable | type

# To add an algorithm, add its file and a line here.
METHODS: dict[str, Callable[[], Algorithm]] = {
    "mean_field": lambda: SampleAverageApproximation(MeanField()),
    "full_rank": lambda: SampleAverageApproximation(FullRank()),
    "linear_response": LinearResponse,
    "low_rank": lambda: SampleAverageApproximation(LowRank()),
    "block_normal": lambda: SampleAverageApproximation(BlockNormal()),
    "skewed": lambda: SampleAverageApproximation(Skewed()),
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


DEFAULT = ("auto", "automatic", "default", "ladder")  # names of the default, whose own place is None


def choose_algorithm(target: Target, method: Method | None = None) -> Algorithm:
    """The algorithm that a method stands for.

    Args:
        method: None for the `AutoFit`; a name; a Family (fitted by SVI); an Algorithm; a NumPyro guide
            function, autoguide or autoguide class.
    """
    if method is None:
        return AutoFit()
    if isinstance(method, str):
        return AutoFit() if plain(method) in DEFAULT else METHODS[method_named(method, METHODS)]()
    if isinstance(method, type) and issubclass(method, Algorithm | Family):
        return choose_algorithm(target, instance_of(method))
    if isinstance(method, Algorithm):
        return method
    if isinstance(method, Family):
        return SVI(method)
    if callable(method):
        # guides may start far from where they end, and their samplers (gamma, beta) are slow
        return SVI(guide_family(method, target), ELBO(num_draws=4), step_size=0.1)
    raise TypeError(f"method must be a name, a Family, an Algorithm or a NumPyro guide, not {in_words(method)}.")


def instance_of(kind: type) -> Algorithm | Family:
    """A family or an algorithm as it comes, where its class was named."""
    try:
        return kind()
    except TypeError as error:
        raise TypeError(f"method is the class {kind.__name__}, which needs settings: {error}.") from None


def fit(
    target: Target | Fit | Approximation | Callable,
    *args: Any,
    method: Method | None = None,
    key: KeyLike | None = None,
    start: Any = None,
    checkpoint: str | os.PathLike | None = None,
    progress: Progress | None = None,
    **kwargs: Any,
) -> Fit:
    """Fit an approximation to a target.

    Args:
        target: from `Target.from_numpyro(model, *args, **kwargs)`; or the model itself, followed by its arguments:
            `fit(model, x, y=y, key=key)`, `fit(model, "flow", x, y=y, key=key)`.
        method: a name, a Family, an Algorithm, or a NumPyro guide. By default the cheapest of Laplace's normal,
            the best normal and a flow that is good enough (`AutoFit`). The names:
            normals: "full_rank", "mean_field", "low_rank", "block_normal", "laplace", "linear_response",
            "natural_gradient", "batch_and_match", "gaussian_score_matching", "moment_matching";
            richer: "skewed", "student_t", "mixture", "pathfinder", "flow", "iaf";
            on the model's own sites: "constrained", "coordinate_ascent";
            without a density: "map", "svgd".
            Spelling is forgiven ("mean-field", "ADVI").
        *args: the method, if it is not given by name; then what the model is called with, where `target` is one.
        **kwargs: what the model is called with by name.
        key: a JAX random key, or an integer; the same key gives the same fit.
        start: where to begin: another Fit or Approximation, a Frame, or a point as z or {site: value}. By default
            at the best of the modes that climbs from random places reach.
        checkpoint: a file that methods fitted by SVI write their state to, and go on from where it exists.
        progress: called as `progress(fraction_done, sentence)`.

    Returns:
        The Fit: its `approximation`, a readable `status`, its `history` and its `cost`.

    Raises:
        FitError: the method cannot be fitted to this target; the message says why, and what can.
        ValueError: no method has that name, or a checkpoint is asked of one that is not fitted by SVI.
        TypeError: what is given is no target, method or key; the message says what it is.
    """
    refuse_key_first(target, "fit")
    if args and method is None and (own_target(target) is not None or is_method(args[0], Algorithm, METHODS)):
        method, args = args[0], args[1:]
    if args and key is None and is_key(args[-1]):
        args, key = args[:-1], args[-1]
    key = as_key(key)
    target = target_of(target, args, kwargs, caller="fit", options=("method", "key", "start", "checkpoint", "progress"))
    algorithm = choose_algorithm(target, method)
    if checkpoint is None:
        return algorithm.fit(key, target, start=start, progress=progress)
    if not isinstance(algorithm, SVI):
        raise ValueError(f"'{algorithm.name}' writes no checkpoints: only SVI, whose fits may take long, does.")
    return algorithm.fit(key, target, start=start, progress=progress, checkpoint=checkpoint)
