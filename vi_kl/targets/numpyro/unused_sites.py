"""Unused sites: which latent sites, or entries of them, are no unknowns of the posterior, and are left out of z.

- Entries that a mask takes out of the density and nothing else depends on: the seen rows of
  `numpyro.sample(..., obs=y, obs_mask=seen)`, of which NumPyro makes a latent copy; the padding of latent sequences.
  As coordinates of z they would be flat, and the posterior improper.
- Discrete sites that nothing depends on (predictions; missing counts): summed out they are a factor one.

A discrete entry under a mask that something does depend on stays, its values equally probable: a mask says that the
entry is no part of the model, so its factor is one however many values it has, and evidences of padded and unpadded
data are the same (NumPyro's own sum over K values would be a constant factor K).

All of this needs the mask to be known from the data alone; one that depends on a latent site is refused by name. The
model without what is left out is made in reduced_model.py.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer.util import log_density

from vi_kl.core.compilation import compiler_options
from vi_kl.core.kept_programs import tracing
from vi_kl.targets.numpyro.discrete_sites import are_summed_along_plates
from vi_kl.targets.numpyro.inspection import (
    Inspection,
    ModelError,
    change_of_variables,
    image_of_zero,
    inspect,
)
from vi_kl.targets.numpyro.plates import AllRows, SubsampledRows
from vi_kl.targets.numpyro.reduced_model import Entries, Reduced


def examine(density, data, found: Inspection) -> tuple:
    """Return the density without what is no unknown of the posterior, and a description of what is left.

    Args:
        density: the model.
        data: its arrays.
        found: the description that `inspect` has made of it.

    Raises:
        ModelError: the model has what `inspect` refuses; a mask that depends on a latent site; a discrete site whose
            values cannot be listed and on which something depends; an improper prior on which nothing does.
    """
    for name in found.improper:
        refuse_improper_and_unused(density, data, name, found)
    kept, averaged = under_masks(density, data, found) if found.masked else ({}, [])
    for name, error in found.unlisted.items():
        if name not in kept:
            if name in found.scanned or not is_unused(density, data, name, found, kept):
                raise error
            kept[name] = None
    if not kept and not averaged:
        return density, found
    reduced = density_without(density, found, kept, averaged)
    left = inspect(reduced, data)
    some = [name for name in kept.keys() & found.discrete_names if kept[name] is not None]
    if some and are_summed_along_plates(left.discrete):
        # funsor sums along plates, which some of their rows are not
        kept = {name: entries for name, entries in kept.items() if name not in some}
        reduced = density_without(density, found, kept, averaged)
        left = inspect(reduced, data)
    return reduced, left


def density_without(density, found: Inspection, kept: dict, averaged: list):
    """Return the density of the model without what is left out."""
    model = Reduced(density.model, tuple(sorted(kept.items())), tuple(sorted(averaged)))
    if any(entries is not None for entries in kept.values()) and found.plates:
        model = AllRows(model)  # how many of a minibatch's rows are latent would differ from one to the next
    return dataclasses.replace(density, model=model)


def under_masks(density, data, found: Inspection) -> tuple[dict, list]:
    """Return what stays of each masked site, {site: entries or None}, and the discrete sites to be averaged."""
    masks = known_masks(density, data, found)
    averaged = [name for name in found.masked if name in found.discrete_names]
    # NumPyro's copies of rows that are seen
    gone = {n: masks[found.copies[n]] if n in found.copies else np.zeros_like(masks[n]) for n in found.masked}
    doubtful = {n: ~masks[n] & ~gone[n] for n in found.masked if n not in averaged}
    for name, flat in flat_entries(density, data, found, doubtful).items():
        gone[name] = gone[name] | flat
    kept = {name: None if x.all() else Entries.where(~x) for name, x in gone.items() if x.any()}
    for name in found.copies:
        if name in found.discrete_names and is_unused(density, data, name, found, kept):
            kept[name] = None
    for name in kept.keys() & set(found.scanned):
        raise ModelError(
            f"Latent site '{name}' stands in a scan under a mask (numpyro.handlers.mask, or obs_mask), and nothing "
            f"depends on {np.sum(gone[name])} of its masked entries: their posterior is flat. Mask the "
            f"observations alone, and let '{name}' keep its prior where nothing is observed."
        )
    return kept, [name for name in averaged if kept.get(name, True) is not None]


def known_masks(density, data, found: Inspection) -> dict[str, np.ndarray]:
    """Return the mask of every masked latent site, and of the observed twins of those that `obs_mask` made."""
    wanted = {*found.masked, *found.copies.values()}

    def masks(data, z, key):
        trace = run(density, data, key, lambda site: z.get(site["name"]))
        return {name: mask_of(trace[name]["fn"]) for name in sorted(wanted)}

    z = {site.name: jax.ShapeDtypeStruct((2, *site.unconstrained_shape), float) for site in found.sites}
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0)))
    with tracing:
        for name in sorted(wanted):
            if is_batched(lambda z, key, name=name: masks(data, z, key)[name], z, keys):
                raise ModelError(
                    f"The mask of latent site '{name}' depends on a latent site, so it is not known which entries are "
                    f"latent. Let masks depend on the data alone, or write the dependence into the distribution (for "
                    f"example by jnp.where on its parameters)."
                )
        zero = {site.name: jnp.zeros(site.unconstrained_shape) for site in found.sites}
        program = jax.jit(masks, compiler_options=compiler_options(True))
        return jax.tree.map(np.asarray, program(data, zero, jax.random.key(0)))


def mask_of(fn):
    """Return the mask over a distribution's batch: which entries are part of the density."""
    if isinstance(fn, dist.MaskedDistribution):
        return jnp.broadcast_to(jnp.logical_and(fn._mask, mask_of(fn.base_dist)), fn.batch_shape)
    if isinstance(fn, dist.ExpandedDistribution):
        return jnp.broadcast_to(mask_of(fn.base_dist), fn.batch_shape)
    if isinstance(fn, dist.Independent):
        return jnp.any(mask_of(fn.base_dist), tuple(range(-fn.reinterpreted_batch_ndims, 0)))
    return jnp.ones(fn.batch_shape, bool)


def run(density, data, key, unconstrained: Callable) -> dict:
    """Return the model's trace, with all rows of its plates.

    Continuous sites are at the value of `unconstrained(site)`, and at z = 0 if that is None.
    """

    def fill(site):
        if site["type"] != "sample" or site["is_observed"] or site["fn"].support.is_discrete:
            return None
        z = unconstrained(site)
        return image_of_zero(site) if z is None else change_of_variables(site)(z)

    args, kwargs = density.arguments(data)
    model = numpyro.handlers.substitute(numpyro.handlers.seed(density.model, key), substitute_fn=fill)
    with SubsampledRows():
        return numpyro.handlers.trace(model).get_trace(*args, **kwargs)


def is_batched(function: Callable, *batched) -> bool:
    """Return whether a function's value depends on its arguments, of two rows each; nothing is computed."""
    try:
        # an output that is the same for every row is one that vmap does not batch
        jax.eval_shape(jax.vmap(function, out_axes=None), *batched)
    except ValueError as error:
        if "out_axes" not in str(error):
            raise
        return True
    return False


def is_unused(density, data, name: str, found: Inspection, gone: Mapping) -> bool:
    """Return whether no other site's log probability depends on this one, except those that are left out."""

    def others(value):
        args, kwargs = density.arguments(data)
        model = numpyro.handlers.seed(density.model, 0)
        model = numpyro.handlers.substitute(
            model, substitute_fn=lambda site: value if site["name"] == name else image_of_zero(site)
        )
        with SubsampledRows():
            trace = numpyro.handlers.trace(model).get_trace(*args, **kwargs)
        ignored = {name, *(n for n, entries in gone.items() if entries is None)}
        sites = [site for n, site in trace.items() if site["type"] == "sample" and n not in ignored]
        return [site["fn"].log_prob(site["value"]) for site in sites]

    value = found.latent[name]
    with tracing:
        return not is_batched(others, jax.ShapeDtypeStruct((2, *value.shape), value.dtype))


def refuse_improper_and_unused(density, data, name: str, found: Inspection) -> None:
    if name not in found.masked and name not in found.scanned and is_unused(density, data, name, found, {}):
        raise ModelError(
            f"Latent site '{name}' has an improper prior (ImproperUniform), and nothing else in the model depends on "
            f"it: its posterior is improper too. Give '{name}' a proper prior, or take it out."
        )


def flat_entries(density, data, found: Inspection, doubtful: dict) -> dict[str, np.ndarray]:
    """Return which of the doubtful entries of continuous sites the density does not depend on at all."""
    doubtful = {name: chosen for name, chosen in doubtful.items() if chosen.any()}
    if not doubtful:
        return {}

    def joint(values):
        args, kwargs = density.arguments(data)
        with SubsampledRows():
            return log_density(numpyro.handlers.seed(density.model, 0), args, kwargs, values)[0]

    def gradient_there(z):
        values = density.constrain(data, z)[0]
        return values, *jax.value_and_grad(joint)(values)

    generator = np.random.default_rng(0)
    points = [
        {site.name: jnp.asarray(generator.uniform(-2, 2, site.unconstrained_shape)) for site in found.sites}
        for _ in range(3)
    ]
    with tracing, SubsampledRows():
        program = jax.jit(gradient_there, compiler_options=compiler_options(True))
        at = [program(z) for z in points]
        flat = {}
        for name, chosen in doubtful.items():
            events = tuple(range(chosen.ndim, jnp.ndim(at[0][0][name])))
            flat[name] = chosen & np.all([np.all(gradient[name] == 0, axis=events) for _, _, gradient in at], axis=0)
        if not any(x.any() for x in flat.values()):
            return {}
        return flat if is_unchanged(jax.jit(joint, compiler_options=compiler_options(True)), at, flat) else {}


def is_unchanged(joint: Callable, at: list, flat: dict) -> bool:
    """Return whether the density stays the same if those entries take the values of another point."""
    for (values, before, _), (others, _, _) in zip(at, [*at[1:], at[0]], strict=True):
        changed = dict(values)
        for name, chosen in flat.items():
            chosen = chosen.reshape(*chosen.shape, *(1,) * (jnp.ndim(values[name]) - chosen.ndim))
            changed[name] = jnp.where(chosen, others[name], values[name])
        if not np.allclose(joint(changed), before, rtol=1e-12, equal_nan=False):
            return False
    return True
