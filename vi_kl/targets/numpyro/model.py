"""Targets from NumPyro models: the one module that touches `numpyro.infer.util`, which is experimental.

The model is inspected abstractly (no number is computed), so making a target costs milliseconds; its log density
is NumPyro's own potential energy with the change of variables included.
"""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer.util import potential_energy, unconstrain_fn

from vi_kl.core.compilation import tracing
from vi_kl.core.precision import as_float64, in_float64
from vi_kl.core.programs.program import in_either_precision
from vi_kl.targets.captured import Captured, captured
from vi_kl.targets.density import Density
from vi_kl.targets.numpyro.columns import arguments_that_run, thawed
from vi_kl.targets.numpyro.constant_arguments import Constant, names_of_arguments, value_of, with_constants
from vi_kl.targets.numpyro.inspection import Inspection, ModelError, change_of_variables, inspect, is_a
from vi_kl.targets.numpyro.plates import AllRows
from vi_kl.targets.sharding import at_64_bits, holds_nan, is_sharded
from vi_kl.targets.target import Site, Target, constrained_shapes, unconstrained_shapes

KEY = jax.ShapeDtypeStruct((2,), np.uint32)  # the data of a random key


@dataclasses.dataclass(frozen=True, eq=False)
class NumPyroModel(Captured, Density):
    """A NumPyro model without its data: the function, its static arguments, and where the arrays go.

    Its data are the arrays among its arguments, and then the arrays that it closes over (`Captured`).
    """

    model: Callable
    structure: Any
    static: tuple
    deterministic: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)  # what it computes by name

    source: ClassVar[str] = "a NumPyro model"

    @property
    def capabilities(self):
        always = frozenset({"supports", "priors", "numpyro_guides"})
        return always | {"deterministic"} if self.deterministic else always

    @property
    def description(self):
        lines = (getattr(self.model, "__doc__", None) or "").strip().splitlines()
        return lines[0] if lines else ""

    def arguments(self, data) -> tuple[tuple, dict]:
        """Put the data arrays back into the model's (args, kwargs)."""
        arrays = map(jnp.asarray, data)  # a NumPy array cannot be indexed by a traced one
        leaves = [next(arrays) if leaf is DATA else thawed(value_of(leaf)) for leaf in self.static]
        return jax.tree.unflatten(self.structure, leaves)

    def with_fixed(self, data: tuple, which: frozenset, as_numpy: bool) -> tuple["NumPyroModel", tuple]:
        """Return the model with these of its data arrays as constants, and the other arrays."""
        names, static = names_of_arguments(self), list(self.static)
        places = [i for i, leaf in enumerate(static) if leaf is DATA]
        for i in which:
            static[places[i]] = Constant(np.asarray(data[i]), as_numpy, names[places[i]])
        fixed = dataclasses.replace(self, static=tuple(static))
        return fixed, tuple(array for i, array in enumerate(data) if i not in which)

    @property
    def num_arguments(self) -> int:
        return sum(leaf is DATA for leaf in self.static)

    @property
    def constant_arguments(self) -> dict[str, np.ndarray]:
        return {leaf.name: leaf.array for leaf in self.static if isinstance(leaf, Constant)}

    @property
    def constants(self) -> tuple[str, ...]:
        return tuple(self.constant_arguments)

    @property
    def discrete(self) -> tuple:
        return getattr(self.model, "discrete", ())

    def log_density(self, data, sites):
        return self.run("log_density", data, sites)

    def constrain(self, data, sites):
        return self.run("constrain", data, sites)

    def unconstrain(self, data, sites):
        return self.run("unconstrain", data, sites)

    def model_log_density(self, data, sites):
        args, kwargs = self.arguments(data)
        return -potential_energy(numpyro.handlers.seed(self.model, 0), args, kwargs, sites)

    def model_constrain(self, data, sites):
        """Run the model once, with every latent site at the image of its unconstrained value."""

        def fill(site):
            if site["type"] != "sample" or site["name"] not in sites:
                return None
            return change_of_variables(site)(sites[site["name"]])

        args, kwargs = self.arguments(data)
        model = numpyro.handlers.substitute(numpyro.handlers.seed(self.model, 0), substitute_fn=fill)
        trace = numpyro.handlers.trace(model).get_trace(*args, **kwargs)
        values = {name: trace[name]["value"] for name in sites}
        # read from the trace, not inside `fill`, which runs within the loop if a site stands in numpyro's scan
        log_dets = [
            jnp.sum(change_of_variables(trace[name]).log_abs_det_jacobian(sites[name], values[name])) for name in sites
        ]
        return values, sum(log_dets)

    def model_unconstrain(self, data, sites):
        args, kwargs = self.arguments(data)
        return unconstrain_fn(numpyro.handlers.seed(self.model, 0), args, kwargs, sites)

    def model_deterministic(self, data, sites, key):
        from vi_kl.targets.numpyro.deterministic import computed, first_values

        found = computed(self, data, sites, jax.random.wrap_key_data(key), first_values(self))
        return {name: found[name] for name in self.deterministic}

    def programs_to_capture(self, sites: tuple[Site, ...]) -> dict[str, tuple]:
        """Return what each method `model_<name>` takes after the data, {name: shapes}."""
        z, values = unconstrained_shapes(sites), constrained_shapes(sites)
        programs = {"log_density": (z,), "constrain": (z,), "unconstrain": (values,)}
        return programs | ({"deterministic": (z, KEY)} if self.deterministic else {})

    def trace(self, data, constrained: dict):
        """Return NumPyro's trace of the model with these latent values."""
        self.require_unchanged(data)
        args, kwargs = self.arguments(data)
        model = numpyro.handlers.substitute(numpyro.handlers.seed(self.model, 0), data=constrained)
        with self.own_precision():
            return numpyro.handlers.trace(model).get_trace(*args, **kwargs)

    def supports(self, data, sites):
        trace = self.trace(data, self.constrain(data, sites)[0])
        return {name: trace[name]["fn"].support for name in sites}

    def log_priors(self, data, values):
        trace = self.trace(data, values)
        return {name: trace[name]["fn"].log_prob(trace[name]["value"]) for name in values}

    def improper_sites(self, data, values):
        trace = self.trace(data, values)
        return tuple(name for name in values if is_a(trace[name]["fn"], dist.ImproperUniform))

    def computed(self, data, sites, key):
        return self.run("deterministic", data, sites, key)

    @property
    def guide_model(self) -> Callable:
        return self.model

    def guide_arguments(self, data):
        return self.arguments(data)

    def explain(self, data, sites):
        """Say which sites have a log density that is not finite, and whether NaN in their data is the cause."""
        try:
            with tracing:
                trace = self.trace(data, self.constrain(data, sites)[0])
        except (ValueError, TypeError) as error:  # NumPyro's own check of a distribution's parameters
            return f"The model cannot be run there: {error}"
        for name, site in trace.items():
            if site["type"] != "sample":
                continue
            with warnings.catch_warnings():  # NumPyro's own, about what is being explained here
                warnings.simplefilter("ignore")
                log_prob = np.asarray(site["fn"].log_prob(site["value"]))
            if np.isfinite(log_prob).all():
                continue
            bad = int((~np.isfinite(log_prob)).sum())
            missing = int(np.isnan(np.asarray(site["value"], dtype=float)).sum())
            if site["is_observed"] and missing:
                return (
                    f"The data of observed site '{name}' holds {missing} NaN value(s): drop those rows, or "
                    f"mask them in the model (numpyro.handlers.mask)."
                )
            kind = "observed" if site["is_observed"] else "latent"
            hint = "Is every observation inside the support?" if site["is_observed"] else "Check its prior."
            return f"The log probability of {kind} site '{name}' is not finite in {bad} place(s). {hint}"
        return "Every site's log probability is finite there; the change of variables is not."

    def __str__(self):
        return getattr(self.model, "__name__", type(self.model).__name__)


class DATA:
    """A mark for the places of arrays among a model's arguments."""


@in_float64
def target_from_numpyro(model: Callable, args: tuple, kwargs: dict, reference) -> Target:
    density, data = split_data(model, args, kwargs)
    density, data, found = with_constants(density, data, inspect)
    density, found = in_either_precision(examined, density, data, found)
    density, _ = captured(density, data, found.sites)
    target = Target(density, data, found.sites, reference)
    if target.subsampled:
        from vi_kl.targets.numpyro.minibatch import refuse_biased

        refuse_biased(target)
    if any(holds_nan(array) for array in target.data):
        refuse_missing_data(target)
    return target


def examined(density: NumPyroModel, data, found: Inspection) -> tuple[NumPyroModel, Inspection]:
    """Return the density of the continuous sites that matter, given all rows, and a description of the model."""
    from vi_kl.targets.numpyro.checks import check_factors
    from vi_kl.targets.numpyro.deterministic import names_with_a_value
    from vi_kl.targets.numpyro.unused_sites import examine

    density, found = examine(density, data, found)
    check_factors(density, data, found)
    density = density_of_all_rows(density, data, found)
    if found.deterministic:
        names = names_with_a_value(density, data, found.sites)
        density = dataclasses.replace(density, deterministic=names)
    return density, found


def density_of_all_rows(density: NumPyroModel, data, found: Inspection) -> NumPyroModel:
    """Return the density of the continuous sites, given all rows of every plate."""
    if found.discrete:  # minibatches of a sum over discrete sites have no unbiased logarithm: none are offered
        if found.plates:
            density = dataclasses.replace(density, model=AllRows(density.model))
        return sum_out(density, data, found.sites, found.discrete)
    if found.plates:
        from vi_kl.targets.numpyro.minibatch import subsampled

        return subsampled(density, found.plates, found.axes)
    return density


def split_data(model: Callable, args: tuple, kwargs: dict) -> tuple[NumPyroModel, tuple]:
    """Return the model without its data, and the data."""
    if not callable(model):
        raise TypeError(f"model must be a NumPyro model (a function), got {type(model).__name__}.")
    leaves, structure = jax.tree.flatten(arguments_that_run(model, args, kwargs))
    leaves = [array_or_static(leaf) for leaf in leaves]
    data = tuple(leaf for leaf in leaves if is_array(leaf))
    density = NumPyroModel(model, structure, tuple(DATA if is_array(leaf) else leaf for leaf in leaves))
    require_hashable(density)
    return density, data


@in_float64
def model_to_enumerate(model: Callable, args: tuple, kwargs: dict) -> tuple[NumPyroModel, tuple]:
    """Return a model of discrete latent sites only, as an `EnumeratedModel`, and its data."""
    from vi_kl.targets.numpyro.enumeration import enumerated
    from vi_kl.targets.numpyro.unused_sites import examine

    density, data = split_data(model, args, kwargs)
    density, data, found = with_constants(density, data, inspect)
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


def is_array(leaf) -> bool:
    return isinstance(leaf, np.ndarray | jax.Array) and not isinstance(leaf, np.generic)


def array_or_static(leaf):
    """Return arrays at 64 bits, NumPy scalars as Python's, and the rest untouched."""
    if isinstance(leaf, np.generic):
        return leaf.item()
    if not is_array(leaf):
        return leaf
    if is_sharded(leaf):
        return at_64_bits(leaf)
    return as_float64(leaf) if jnp.issubdtype(leaf.dtype, jnp.number) else leaf


def require_hashable(density: NumPyroModel):
    try:
        hash(density)
    except TypeError as error:
        raise ModelError(
            f"A model argument that is not an array must be hashable, as sizes, flags and names are ({error}). "
            f"Pass lists of numbers as arrays."
        ) from None


def sum_out(density: NumPyroModel, data, sites: tuple[Site, ...], discrete: list) -> NumPyroModel:
    """Return the density of the continuous sites; the discrete ones are enumerated, or eliminated along the plates."""
    from vi_kl.targets.numpyro.enumeration import (
        MOST_CONFIGURATIONS,
        enumerated,
        number_of_configurations,
        refuse_moving_supports,
    )
    from vi_kl.targets.numpyro.variable_elimination import eliminated, has_funsor

    if not sites:
        names = ", ".join(f"'{site.name}'" for site in discrete)
        raise ModelError(
            f"Every latent site is discrete ({names}): summed out (by MixtureSameFamily, say) they would leave no "
            f"site to make a Target of. vi_kl.reference.enumerate_posterior(model, ...) lists their exact posterior."
        )
    if number_of_configurations(discrete) > MOST_CONFIGURATIONS and has_funsor():
        density = eliminated(density, data, discrete)
        refuse_moving_supports(density, data, sites)
        return density.checked(data, sites)
    density = enumerated(density, discrete)
    refuse_moving_supports(density, data, sites)
    return density


def refuse_missing_data(target: Target):
    """Raise an error if data that hold NaN make the log density not finite."""
    z = jnp.zeros(target.dim)
    if not np.isfinite(target.log_density(z)):
        reason = target.density.explain(target.data, target.unravel(z))
        if "NaN" in reason:
            raise ModelError(reason)
        raise ModelError(f"The data holds NaN, and the log density is not finite because of it. {reason}")
