"""NumPyro models as a source: from a model and its arguments to a density, its data and its sites.

The model is inspected abstractly (no number is computed), so this costs milliseconds. What is no unknown of the
posterior is left out, discrete sites are summed out, and what cannot be fitted is refused by name.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.core.compilation import compiled
from vi_kl.core.errors import ModelError
from vi_kl.core.precision import in_float64
from vi_kl.core.programs.program import in_either_precision
from vi_kl.targets.captured import captured
from vi_kl.targets.constant_arguments import with_constants
from vi_kl.targets.numpyro.checks import check_factors
from vi_kl.targets.numpyro.columns import refuse_lists
from vi_kl.targets.numpyro.deterministic import names_with_a_value
from vi_kl.targets.numpyro.discrete_sites import are_summed_along_plates
from vi_kl.targets.numpyro.enumerated_model import enumerated, refuse_moving_supports
from vi_kl.targets.numpyro.inspection import Inspection, inspect
from vi_kl.targets.numpyro.minibatch import refuse_biased, refuse_more_than_all, subsampled
from vi_kl.targets.numpyro.model import DATA, NumPyroModel, split_data
from vi_kl.targets.numpyro.parameters import WithParameters, first_values
from vi_kl.targets.numpyro.plates import AllRows
from vi_kl.targets.numpyro.unused_sites import examine
from vi_kl.targets.numpyro.variable_elimination import eliminated
from vi_kl.targets.sharding import holds_nan
from vi_kl.targets.sites import Site


def density_from_numpyro(
    model: Callable, args: tuple, kwargs: dict, dtype: str = "float64", counted: Collection[str] = ()
) -> tuple[NumPyroModel, tuple, tuple[Site, ...]]:
    """Return the density of a model's continuous sites, its data, and these sites: what a Target is made of.

    Plates that are `counted` are subsampling ones, if only with minibatches of all rows. Call it with 64-bit types
    switched on.
    """
    look = functools.partial(inspect, counted=counted)
    density, data = split_data(model, args, kwargs)
    try:
        density, data, found = with_constants(density, data, look)
    except Exception as error:  # the model's own, of any type
        refuse_lists(error, model, args, kwargs)
        raise
    refuse_more_than_all(density, found.plates)
    if found.params:
        density, data = with_parameters(density, data, in_either_precision(first_values, density, data))
        found = in_either_precision(look, density, data)
    density, found = in_either_precision(examined, density, data, found)
    if dtype == "float32":
        refuse_configurations(density)
        density = dataclasses.replace(density, float_type=dtype)
    density, closed_over = captured(density, data, found.sites)
    data = (*data, *closed_over)
    if density.offers("minibatches"):
        refuse_biased(density, data, found.sites)
    if any(holds_nan(array) for array in data):
        refuse_missing_data(density, data, found.sites)
    return density, data, found.sites


def refuse_configurations(density: NumPyroModel) -> None:
    """Raise an error if a log density is the sum over configurations of discrete sites."""
    if density.offers("configurations"):
        raise ModelError(
            f"'{density}' has discrete sites, which are summed out one configuration at a time, in float64: leave "
            f"dtype='float32' out."
        )


def with_parameters(density: NumPyroModel, data: tuple, free: dict) -> tuple[NumPyroModel, tuple]:
    """Return the density of a model with parameters to learn, and its data, which begin with their free values."""
    if not free:  # all of them have values that a handler inside the model gives
        return density, data
    args, kwargs = jax.tree.unflatten(density.structure, density.static)
    leaves, structure = jax.tree.flatten(((jax.tree.map(lambda _: DATA, free), *args), kwargs))
    names, model = tuple(sorted(free)), WithParameters(density.model)
    changed = dataclasses.replace(density, model=model, structure=structure, static=tuple(leaves), learnable=names)
    return changed, (*jax.tree.leaves(free), *data)


def examined(density: NumPyroModel, data, found: Inspection) -> tuple[NumPyroModel, Inspection]:
    """Return the density of the continuous sites that matter, given all rows, and a description of the model."""
    learnable = density.learnable
    density, found = examine(density, data, found)
    check_factors(density, data, found)
    density = density_of_all_rows(density, data, found)
    if found.deterministic:
        names = names_with_a_value(density, data, found.sites)
        density = dataclasses.replace(density, deterministic=names)
    return dataclasses.replace(density, dims=found.dims, learnable=learnable, observes=found.observes), found


def density_of_all_rows(density: NumPyroModel, data, found: Inspection) -> NumPyroModel:
    """Return the density of the continuous sites, given all rows of every plate."""
    if found.discrete:  # minibatches of a sum over discrete sites have no unbiased logarithm: none are offered
        if found.plates:
            density = dataclasses.replace(density, model=AllRows(density.model))
        return sum_out(density, data, found.sites, found.discrete)
    if found.plates:
        return subsampled(density, found.plates, found.axes)
    return density


def sum_out(density: NumPyroModel, data, sites: tuple[Site, ...], discrete: list) -> NumPyroModel:
    """Return the density of the continuous sites; the discrete ones are enumerated, or eliminated along the plates."""
    if not sites:
        names = ", ".join(f"'{site.name}'" for site in discrete)
        raise ModelError(
            f"Every latent site is discrete ({names}): summed out (by MixtureSameFamily, say) they would leave no "
            f"site to make a Target of. vi_kl.reference.enumerate_posterior(model, ...) lists their exact posterior."
        )
    if are_summed_along_plates(discrete):
        density = eliminated(density, data, discrete)
        refuse_moving_supports(density, data, sites)
        return density.checked(data, sites)
    density = enumerated(density, discrete)
    refuse_moving_supports(density, data, sites)
    return density


def refuse_missing_data(density: NumPyroModel, data, sites: tuple[Site, ...]) -> None:
    """Raise an error if data that hold NaN make the log density not finite."""
    z = {site.name: jnp.zeros(site.unconstrained_shape) for site in sites}
    if not np.isfinite(log_density(data, z, density)):
        reason = density.explain(data, z)
        if "NaN" in reason:
            raise ModelError(reason)
        raise ModelError(f"The data holds NaN, and the log density is not finite because of it. {reason}")


@compiled(static=("density",), unoptimized=True)
def log_density(data, z: dict, density: NumPyroModel):
    return density.log_density(data, z)


@in_float64
def model_to_enumerate(model: Callable, args: tuple, kwargs: dict) -> tuple[NumPyroModel, tuple]:
    """Return a model of discrete latent sites only, as an `EnumeratedModel`, and its data."""
    density, data = split_data(model, args, kwargs)
    density, data, found = with_constants(density, data, inspect)
    if found.params:
        raise ModelError(
            f"Parameter '{found.params[0]}' has no prior, and configurations are listed at fixed parameters: give it a "
            f"value (numpyro.handlers.substitute(model, {{'{found.params[0]}': ...}}))."
        )
    density, found = in_either_precision(examine, density, data, found)
    if found.sites:
        raise ModelError(
            f"Latent site '{found.sites[0].name}' is continuous, so there are no configurations to list: make a target "
            f"(Target.from_numpyro), which sums the discrete sites out, and ask reference_by_quadrature or a "
            f"reference run."
        )
    if found.plates:
        density = dataclasses.replace(density, model=AllRows(density.model))
    density, closed_over = captured(enumerated(density, found.discrete), data, ())
    return density, (*data, *closed_over)
