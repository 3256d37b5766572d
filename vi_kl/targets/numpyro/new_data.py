"""The posterior of a NumPyro target's model given other data: some of its own rows, or new ones.

Where the model has parameters without a prior, they stay as they were learned.
"""

from typing import Any

import numpy as np

from vi_kl.core.errors import UnsuitableError
from vi_kl.core.precision import in_float64
from vi_kl.targets.density import require_capability
from vi_kl.targets.numpyro.forward import written
from vi_kl.targets.numpyro.parameters import WithParameters
from vi_kl.targets.numpyro.plates import OfRows
from vi_kl.targets.numpyro.source import density_from_numpyro
from vi_kl.targets.target import Target

__all__ = ["plate_of_rows", "posterior_given", "posterior_of_rows", "with_row"]


def plate_of_rows(target: Target, user: str) -> Any:
    """Return the one subsampling plate that all latent variables of a target stand in.

    Raises:
        UnsuitableError: there is none, there are several, or a latent variable stands outside; the message names it.
    """
    require_capability(target, "minibatches", user)
    density: Any = target.density
    inside = dict(density.axes)
    outside = [site.name for site in target.sites if site.name not in inside]
    if outside:
        raise UnsuitableError(
            f"{user} needs rows that have posteriors of their own, and latent site '{outside[0]}' is shared by all "
            f"rows: learn it as a parameter (numpyro.param), or judge the whole fit by vi_kl.check."
        )
    if len(density.plates) != 1:
        names = ", ".join(plate.name for plate in density.plates)
        raise UnsuitableError(f"{user} needs one subsampling plate, and the model has {names}.")
    return density.plates[0]


@in_float64
def posterior_of_rows(target: Target, rows: dict) -> Target:
    """Return the posterior of some rows of the subsampling plates, {plate: indices}, as if there were no others.

    Raises:
        ChangedError: the model reads other values than when the target was made.
    """
    density: Any = target.density
    density.require_unchanged(target.data)
    args, kwargs = density.given_arguments(density.split(target.data)[0])
    rows = {name: np.asarray(indices, int) for name, indices in rows.items()}
    return Target(*density_from_numpyro(OfRows(density.model.function), (rows, *args), kwargs))


def with_row(of_rows: Target, row: Any) -> Target:
    """Return the posterior of another row, or of other rows, of a target that is the posterior of as many."""
    return Target(of_rows.density, (row, *of_rows.data[1:]), of_rows.sites)


@in_float64
def posterior_given(target: Target, args: tuple, kwargs: dict) -> Target:
    """Return the posterior of the same model given other arguments, at the parameters as they are.

    Raises:
        ModelError: the model does not run on these arguments.
        ChangedError: the model reads other values than when the target was made.
    """
    require_capability(target, "numpyro_guides", "New data")
    density: Any = target.density
    density.require_unchanged(target.data)
    model = written(density.model)
    model = model.function if isinstance(model, WithParameters) else model
    # rows that can be told apart stay so where they are too few for minibatches
    plates = [plate.name for plate in getattr(density, "plates", ())]
    found = Target(*density_from_numpyro(model, args, kwargs, counted=plates))
    return found.with_free_parameters(target.free_parameters()).at_learned()
