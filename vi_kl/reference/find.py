"""The reference posterior of a target, found from the best source that there is for it."""

import dataclasses
import os
from typing import Any

import jax

from vi_kl.core.annotations import KeyLike, ProgressLike
from vi_kl.core.random_keys import as_key
from vi_kl.core.suggestions import names_given, refuse_unknown
from vi_kl.reference.gaussian import NotGaussian, gaussian_reference
from vi_kl.reference.mcmc.checks import OF_THE_CHAINS, Checks
from vi_kl.reference.mcmc.reference_run import UntrustworthyReference, reference_run
from vi_kl.reference.mcmc.smc_reference import reference_by_smc
from vi_kl.reference.mcmc.tempering import AnnealingError
from vi_kl.reference.posterior import ReferencePosterior
from vi_kl.reference.quadrature.integrate import QuadratureError, reference_by_quadrature
from vi_kl.targets.arguments import of_a_target
from vi_kl.targets.target import Target

MOST_INTEGRATED = 3  # the largest number of dimensions for quadrature
MOST_TEMPERED = 20  # and for sequential Monte Carlo


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
    2. A posterior that is exactly normal in z, as those of linear models with known variances, and whose operations
       show it: `gaussian_reference(..., proven=True)`.
    3. Quadrature, in up to three dimensions: `reference_by_quadrature`.
    4. A reference run of NUTS that passes its checks, with the evidence by bridge sampling and a second opinion by
       annealing: `reference_run`.
    5. Sequential Monte Carlo that passes its checks, in up to 20 dimensions, where the chains of NUTS do not agree
       (R-hat), as with several modes, and neither divergences nor E-BFMI tell of a funnel: `reference_by_smc`, whose
       `instead_of` says what was wrong with the chains.

    The function itself may be passed wherever a reference is asked for: `check(fit, vi_kl.find_reference, key=key)`, or
    `Target.from_numpyro(model, ..., reference=vi_kl.find_reference)`.

    Args:
        target: the posterior.
        key: the random key of the reference run, and of sequential Monte Carlo; a fixed one by default, so that a
            target has one reference.
        cache: the cache of both, as `reference_run` takes it.
        progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
            False; by default it is shown on a terminal and in a notebook after two seconds.
        **settings: settings of the reference run, as `reference_run` takes them.

    Raises:
        UntrustworthyReference: the other methods do not apply, and the reference run failed its checks, and so did
            sequential Monte Carlo where it was tried.
    """
    refuse_unknown("find_reference", settings, names_given(reference_run) or ())
    if target.reference is not None:
        return target.reference
    try:
        return gaussian_reference(target, proven=True)
    except NotGaussian:
        pass
    if target.dim <= MOST_INTEGRATED:
        try:
            return reference_by_quadrature(target)
        except QuadratureError:  # a posterior too rough for a grid may still be one that chains can explore
            pass
    key = jax.random.key(0) if key is None else key
    return explored(target, as_key(key), cache, progress, settings)


def explored(target: Target, key, cache, progress: ProgressLike, settings: dict) -> ReferencePosterior:
    """Return a reference run, or the reference by sequential Monte Carlo where its chains do not agree."""
    run: ReferencePosterior | None = None
    try:
        run = reference_run(target, key=key, cache=cache, progress=progress, **settings)
        found = run.complaints
    except UntrustworthyReference as error:
        if target.dim > MOST_TEMPERED or not only_disagree(error.complaints):
            raise
        found = error.complaints
    if run is not None and (target.dim > MOST_TEMPERED or not only_disagree(found)):
        return run
    checks = settings.get("checks", Checks())
    try:
        reference = reference_by_smc(
            target, key=jax.random.fold_in(key, 4), checks=checks, cache=cache, progress=progress
        )
    except (UntrustworthyReference, AnnealingError) as error:
        if run is not None:  # it was to be kept
            return run
        more = error.complaints if isinstance(error, UntrustworthyReference) else (str(error),)
        more = tuple(f"Sequential Monte Carlo in its place: {sentence}" for sentence in more)
        raise UntrustworthyReference(target, (*found, *more)) from error
    return dataclasses.replace(reference, instead_of=found)


def only_disagree(complaints: tuple[str, ...]) -> bool:
    """Return whether R-hat is among the complaints about a reference run, and nothing that tells of a funnel.

    Divergences and a low E-BFMI come from a geometry that the moves of sequential Monte Carlo do not follow either: its
    populations all miss the neck of a funnel, and agree.
    """

    def complained(name: str) -> bool:
        return any(sentence.startswith(f"{OF_THE_CHAINS[name].words} is") for sentence in complaints)

    return complained("r_hat") and not complained("divergent_share") and not complained("e_bfmi")
