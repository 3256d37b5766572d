"""Draws of the prior predictive distribution: the model run forward with nothing given."""

import jax
import numpy as np

from vi_kl.core.annotations import KeyLike, ProgressLike
from vi_kl.core.numbers import whole_number
from vi_kl.core.precision import in_float64
from vi_kl.core.progress import reporting
from vi_kl.draws.model_runs import ModelRuns, predict_prior, usual_number
from vi_kl.targets.arguments import of_a_target
from vi_kl.targets.target import Target


@of_a_target
@in_float64
def prior_predictive(
    target: Target, *, key: KeyLike, n: int | None = None, progress: ProgressLike = None
) -> dict[str, np.ndarray]:
    """Draw every site of the model from the prior on: latent sites, data, and what is computed from them.

    Args:
        target: the target, or whatever has one, such as a Fit.
        key: a JAX random key, or an integer.
        n: the number of draws; by default 1,000, or fewer where they would fill the memory.
        progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
            False; by default it is shown on a terminal and in a notebook after two seconds.

    Returns:
        {site: (n, ...)}.

    Raises:
        UnsuitableError: the target's source cannot run its model forward, as a log density cannot.
        ModelError: a latent site has an improper prior, from which nothing can be drawn.
    """
    runs = ModelRuns.of(target, "prior_predictive")
    shapes = [site.shape for site in runs.sites.values()]
    n = usual_number(shapes) if n is None else whole_number("n, the number of draws,", n)
    with reporting(progress, "prior predictive") as report:
        return predict_prior(runs, jax.random.fold_in(key, 5), n, report)
