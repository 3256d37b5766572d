"""Deterministic sites: the named functions of the latent sites that a model computes.

They are those of `numpyro.deterministic`, and the sites that a reparameterisation (`TransformReparam`,
`LocScaleReparam`) has written as functions of others.

A site that depends on a discrete latent site, which was summed out, has no value at a given z, and is left out. Missing
counts and predictions, on which nothing else depends, are drawn from the model where a site depends on them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro

from vi_kl.core.kept_programs import tracing
from vi_kl.core.numbers import is_numeric
from vi_kl.core.programs.program import abstractly
from vi_kl.targets.numpyro.discrete_sites import FirstConfiguration
from vi_kl.targets.numpyro.inspection import change_of_variables
from vi_kl.targets.numpyro.plates import AllRows
from vi_kl.targets.numpyro.reduced_model import Reduced
from vi_kl.targets.numpyro.unused_sites import is_batched


def names_with_a_value(density, data, sites) -> tuple[str, ...]:
    """Return the deterministic sites that have a value at a given z; they are found abstractly."""
    z = {site.name: jnp.zeros(site.unconstrained_shape) for site in sites}
    key, first, names = jax.random.key(0), first_values(density), []

    def run(data):
        names[:] = computed(density, data, z, key, first)
        return ()

    abstractly(run, data)
    if not names or not first:
        return tuple(names)
    rows = jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, *x.shape), x.dtype), first)
    with tracing:
        return tuple(
            n for n in names if not is_batched(lambda rows, n=n: computed(density, data, z, key, rows)[n], rows)
        )


def first_values(density) -> dict[str, np.ndarray]:
    """Return the first values of each discrete site, {site: values}."""
    return {site.name: site.values(np.zeros(site.num_entries, int)) for site in density.discrete}


def computed(density, data, sites: dict, key, discrete: dict) -> dict:
    """Run the model at unconstrained sites and values of the discrete ones; return {deterministic site: value}."""

    def fill(site):
        if site["type"] != "sample" or site["is_observed"]:
            return None
        if site["name"] in discrete:
            return discrete[site["name"]]
        return change_of_variables(site)(sites[site["name"]]) if site["name"] in sites else None

    args, kwargs = density.arguments(data)
    model = numpyro.handlers.substitute(numpyro.handlers.seed(drawing(density.model), key), substitute_fn=fill)
    trace = numpyro.handlers.trace(model).get_trace(*args, **kwargs)
    values = {name: site["value"] for name, site in trace.items() if site["type"] == "deterministic"}
    return {name: jnp.asarray(value) for name, value in values.items() if is_numeric(value)}


def drawing(model: Callable) -> Callable:
    """Return the model with its discrete sites back, and with those that were left out drawn."""
    if isinstance(model, FirstConfiguration):
        return drawing(model.full)
    if isinstance(model, AllRows):
        return AllRows(drawing(model.function))
    return model.drawing if isinstance(model, Reduced) else model
