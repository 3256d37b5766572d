"""The reference posterior that `--reference` asks for."""

from typing import TYPE_CHECKING

from vi_kl.cli.options import Reference
from vi_kl.cli.streams import Streams

if TYPE_CHECKING:
    from vi_kl.reference import ReferencePosterior
    from vi_kl.targets import Target


def reference_of(
    target: "Target", wanted: Reference, seed: int, said: Streams
) -> "tuple[ReferencePosterior | None, str]":
    """Return what is known of a posterior, found in the way that is asked for, and why nothing is, if that failed.

    None, without a reason, stands for nothing but what the target carries.

    `auto` takes the best way there is, and goes on without a reference where a run of NUTS fails its
    checks and sequential Monte Carlo cannot stand in for it. The other ways raise their errors.
    """
    from vi_kl.core.random_keys import as_key, fold_in
    from vi_kl.reference.find import find_reference
    from vi_kl.reference.mcmc.reference_run import UntrustworthyReference, reference_run
    from vi_kl.reference.mcmc.smc_reference import reference_by_smc
    from vi_kl.reference.quadrature.integrate import reference_by_quadrature

    if wanted is Reference.none:
        return None, ""
    if wanted is Reference.quadrature:
        return reference_by_quadrature(target), ""
    key = fold_in(as_key(seed), 3)
    if wanted is Reference.nuts:
        return reference_run(target, key=key, progress=said.progress), ""
    if wanted is Reference.smc:
        return reference_by_smc(target, key=key, progress=said.progress), ""
    try:
        return find_reference(target, key=key, progress=said.progress), ""
    except UntrustworthyReference as error:
        return None, str(error)
