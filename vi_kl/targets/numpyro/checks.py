"""Checks of what a model adds up: real numbers, of data that fit their distributions, the same at every run.

NumPyro and JAX let much of it pass. An observation of shape (n, 1) against n means counts every pair of rows; NumPy's
random numbers, a counter, `numpyro.prng_key()` or a latent site under `handlers.block` are frozen at the value of the
first run. Nothing is computed here unless two runs look different.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from vi_kl.core.errors import ModelError
from vi_kl.core.numbers import is_numeric
from vi_kl.core.programs.program import abstractly
from vi_kl.targets.numpyro.forward import written
from vi_kl.targets.numpyro.inspection import Inspection, change_of_variables, traced
from vi_kl.targets.numpyro.plates import SubsampledRows
from vi_kl.targets.purity import scattered, what_differs


def check_factors(density, data, found: Inspection) -> None:
    """Refuse, by name, sites whose log probability is no real number or of a shape that their data do not have.

    Raises:
        ModelError: also where two runs of the model differ.
    """
    shapes = []

    def run(data):
        shapes.clear()  # an earlier attempt may have left something
        trace = traced(density, data, SubsampledRows())
        for name, site in trace.items():
            if site["type"] == "sample":
                check_factor(name, site)
                if site["is_observed"] and site["fn"].event_shape != (0,):  # numpyro.factor has this shape
                    shapes.append((name, jnp.shape(site["value"])))
        return ()

    abstractly(run, data)
    if shapes and not any(np.prod(shape) for _, shape in shapes):
        each = ", ".join(f"'{name}' {shape}" for name, shape in shapes)
        raise ModelError(f"The data have no rows: nothing is observed at {each}. Is a filter or a join empty?")
    refuse_impure_model(density, data, found)


def check_factor(name: str, site: dict) -> None:
    fn, value = site["fn"], site["value"]
    batch, whole = tuple(fn.batch_shape), jnp.shape(value)
    if site["is_observed"] and fn.event_shape != (0,):
        if not is_numeric(value):
            raise ModelError(
                f"The value of observed site '{name}' is a {type(value).__name__}, not an array of numbers."
            )
        if jnp.issubdtype(jnp.result_type(value), jnp.complexfloating):
            raise ModelError(f"The data of observed site '{name}' are complex: give real and imaginary part apart.")
        check_shape(name, site, batch, whole)
    if fn.event_shape == (0,) and not is_numeric(getattr(fn, "log_factor", 0.0)):
        raise ModelError(
            f"numpyro.factor('{name}') is given a {type(fn.log_factor).__name__}, not a number: does a function lack "
            f"its return statement?"
        )
    try:
        found = fn.log_prob(value)
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"The log probability of site '{name}', whose value has shape {whole} and whose distribution "
            f"({type(fn).__name__}) has shape {tuple(fn.shape())}, cannot be computed: {error}"
        ) from error
    if jnp.issubdtype(jnp.result_type(found), jnp.complexfloating):
        raise ModelError(
            f"The log probability of site '{name}' is complex, and a density is real: take its real part (jnp.real), "
            f"or look for the square root or logarithm of a negative number cast to complex."
        )


def check_shape(name: str, site: dict, batch: tuple, whole: tuple) -> None:
    """Refuse an observation unless it has its distribution's shape, is one number, or adds rows to it."""
    fn = site["fn"]
    if isinstance(fn, dist.Independent) and len(whole) >= len(fn.event_shape):  # its entries are as good as rows
        batch, rows, event, wanted = tuple(fn.shape()), whole, (), ()
    else:
        split, wanted = max(len(whole) - len(fn.event_shape), 0), tuple(fn.event_shape)
        rows, event = whole[:split], whole[split:]
    plates = ", ".join(f"'{frame.name}' of {frame.size} rows at axis {frame.dim}" for frame in site["cond_indep_stack"])
    plates = f" in plate {plates}" if plates else ""
    described = (
        f"Observed site '{name}' has data of shape {whole}, and a distribution of shape {tuple(fn.shape())}{plates}"
    )
    if whole and event != wanted:
        raise ModelError(f"{described}: one event has shape {wanted}, and the data's {event}.")
    try:
        both = jnp.broadcast_shapes(rows, batch)
    except ValueError:
        raise ModelError(f"{described}: they do not fit. Give as many observations as the distribution has.") from None
    if rows and np.prod(rows) != np.prod(both):
        raise ModelError(
            f"{described}: broadcast against each other they make {both}, and each observation counts "
            f"{int(np.prod(both) // max(np.prod(rows), 1))} times. Give both one shape (for example y[:, 0], or "
            f"jnp.squeeze); if a repetition is meant, write it out by jnp.broadcast_to."
        )


def without_data(density) -> list[str]:
    """Say that a model observes nothing where it is given data, or an argument is None as that of forgotten data is."""
    if density.observes:
        return []
    args, kwargs = jax.tree.unflatten(density.structure, density.static)
    try:
        given = inspect.signature(written(density.model)).bind(*args, **kwargs)
    except (TypeError, ValueError):  # of a model that does not tell its arguments
        return []
    given.apply_defaults()
    lacking = [f"'{name}'" for name, value in given.arguments.items() if value is None]
    if not lacking and not density.num_arguments:
        return []
    are = "is" if len(lacking) == 1 else "are"
    why = f"{', '.join(lacking)} {are} None. Are the data not passed?" if lacking else ""
    why = why or "no numpyro.sample of it has obs=..., and no numpyro.factor is there. Is one forgotten?"
    return [f"'{density}' observes nothing, so that its posterior is the prior: {why}"]


def refuse_impure_model(density, data, found: Inspection) -> None:
    def factors(data, z, key):
        first = {site.name: site.values(np.zeros(site.num_entries, int)) for site in found.discrete}

        def fill(site):
            if site["type"] != "sample" or site["is_observed"]:
                return None
            return first[site["name"]] if site["name"] in first else some_value(site)

        args, kwargs = density.arguments(data)
        model = numpyro.handlers.substitute(numpyro.handlers.seed(density.model, key), substitute_fn=fill)
        with SubsampledRows():
            trace = numpyro.handlers.trace(model).get_trace(*args, **kwargs)
        return {
            name: jnp.sum(site["fn"].log_prob(site["value"]))
            for name, site in trace.items()
            if site["type"] == "sample"
        }

    differing = what_differs(factors, (data, ()))
    if differing:
        sites = ", ".join(f"'{name}'" for name in differing)
        raise ModelError(
            f"The log probability of {sites} changes from one run of the model to the next at the same latent values, "
            f"so that there is no one posterior: the model draws random numbers itself (NumPy's, numpyro.prng_key(), a "
            f"latent site under handlers.block), or keeps a state between runs. Draw them outside and pass them as "
            f"data, or make them latent sites."
        )


def some_value(site: dict):
    """Return a value of a continuous latent site at which nothing is likely to vanish or cancel."""
    if site["fn"].support.is_discrete:
        return None
    transform = change_of_variables(site)
    shape = transform.inverse_shape((*site["kwargs"].get("sample_shape", ()), *site["fn"].shape()))
    return transform(jnp.asarray(scattered(shape)))
