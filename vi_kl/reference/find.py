"""The reference posterior of a target, found from the best source that there is for it."""

import os
from typing import Any

import jax

from vi_kl.core.annotations import KeyLike, ProgressLike
from vi_kl.reference.gaussian import NotGaussian, gaussian_reference
from vi_kl.reference.mcmc.reference_run import reference_run
from vi_kl.reference.posterior import ReferencePosterior
from vi_kl.reference.quadrature.integrate import QuadratureError, reference_by_quadrature
from vi_kl.targets.arguments import of_a_target
from vi_kl.targets.target import Target

MOST_INTEGRATED = 3  # the largest number of dimensions for quadrature


@of_a_target
def find_reference(
    target: Target,
    *,
    key: KeyLike | None = None,
    cache: str | os.PathLike | bool | None = None,
    progress: ProgressLike = None,
    **settings: Any,
) -> ReferencePosterior:
    """Find a reference posterior, by the most certain of these methods that applies.

    1. A reference that the target carries already (a conjugate model's closed form).
    2. A posterior that is exactly normal in z, as those of linear models with known variances: `gaussian_reference`.
    3. Quadrature, in up to three dimensions: `reference_by_quadrature`.
    4. A reference run of NUTS that passes its checks, with the evidence by bridge sampling and a second opinion by
       annealing: `reference_run`.

    The function itself may be passed wherever a reference is asked for: `check(fit, vi_kl.find_reference, key=key)`, or
    `Target.from_numpyro(model, ..., reference=vi_kl.find_reference)`.

    Args:
        target: the posterior.
        key: the random key of the reference run; a fixed one by default, so that a target has one reference.
        cache: the cache of reference runs, as `reference_run` takes it.
        progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
            False; by default it is shown on a terminal and in a notebook after two seconds.
        **settings: settings of the reference run, as `reference_run` takes them.

    Raises:
        UntrustworthyReference: the other methods do not apply, and the reference run failed its checks.
    """
    if target.reference is not None:
        return target.reference
    try:
        return gaussian_reference(target)
    except NotGaussian:
        pass
    if target.dim <= MOST_INTEGRATED:
        try:
            return reference_by_quadrature(target)
        except QuadratureError:  # a posterior too rough for a grid may still be one that chains can explore
            pass
    key = jax.random.key(0) if key is None else key
    return reference_run(target, key=key, cache=cache, progress=progress, **settings)
