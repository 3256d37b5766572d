"""A NumPyro model as a density: NumPyro's own potential energy, with the change of variables included.

`vi_kl.targets.numpyro.source` makes one of a model and its arguments; the variants that minibatches and discrete sites
need are subclasses.
"""

import dataclasses
import functools
import inspect
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer.util import potential_energy, unconstrain_fn

from vi_kl.core.errors import ModelError, said
from vi_kl.core.kept_programs import tracing
from vi_kl.core.precision import owned
from vi_kl.targets.calls import misspelt
from vi_kl.targets.captured import CapturedModel
from vi_kl.targets.constant_arguments import Constant, value_of, with_constants
from vi_kl.targets.density import Density
from vi_kl.targets.numpyro.columns import arguments_that_run, thawed
from vi_kl.targets.numpyro.deterministic import computed, first_values
from vi_kl.targets.numpyro.forward import ForwardModel, written
from vi_kl.targets.numpyro.inspection import change_of_variables, is_a
from vi_kl.targets.numpyro.parameters import WithParameters, free_values, values_of
from vi_kl.targets.numpyro.plates import AllRows
from vi_kl.targets.sharding import is_sharded, on_automatic_mesh
from vi_kl.targets.sites import Site, constrained_shapes, unconstrained_shapes

OPTIONS_OF_PREDICT = ("n", "sites", "redraw", "progress")  # which a misspelt argument of the model may be meant for
NO_WEIGHTS: Mapping[str, float] = {}
KEY = jax.ShapeDtypeStruct((2,), np.uint32)  # the data of a random key


@dataclasses.dataclass(frozen=True, eq=False)
class NumPyroModel(CapturedModel, Density):
    """A NumPyro model without its data: the function, its static arguments, and where the arrays go.

    Its data are the arrays among its arguments, and then the arrays that it closes over (`Captured`).
    """

    model: Callable
    structure: Any
    static: tuple
    deterministic: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)  # what it computes by name
    dims: tuple[tuple[str, tuple[str | None, ...]], ...] = dataclasses.field(default=(), kw_only=True)
    learnable: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    entries: tuple[tuple[str, tuple[str, ...]], ...] = dataclasses.field(default=(), kw_only=True)  # what coords are
    observes: bool = dataclasses.field(default=True, kw_only=True)  # anything at all, a factor too
    is_learned: bool = dataclasses.field(default=False, kw_only=True)

    live: ClassVar[tuple[str, ...]] = ("model", "dims", "entries", "observes", "is_learned")
    source: ClassVar[str] = "a NumPyro model"

    @property
    def capabilities(self):
        some = {name for name in ("deterministic", "learnable") if getattr(self, name)}
        return frozenset({"supports", "priors", "numpyro_guides", "forward"}) | some

    @property
    def description(self):
        lines = (getattr(self.model, "__doc__", None) or "").strip().splitlines()
        return lines[0] if lines else ""

    @property
    def coords(self):
        return {axis: np.array(names) for axis, names in self.entries}

    def with_coords(self, coords: Mapping[str, Sequence[str]]) -> "NumPyroModel":
        """Return the model with names for the entries of axes."""
        entries = tuple((axis, tuple(map(str, names))) for axis, names in coords.items())
        return dataclasses.replace(self, entries=entries)

    def arguments(self, data) -> tuple[tuple, dict]:
        """Put the data arrays back into the model's (args, kwargs); the first is its parameters, if it has some."""
        arrays = map(as_the_model_sees, data)
        leaves = [next(arrays) if leaf is DATA else thawed(value_of(leaf)) for leaf in self.static]
        return jax.tree.unflatten(self.structure, leaves)

    def given_arguments(self, data) -> tuple[tuple, dict]:
        """Return the arguments as they were given, in the types in which they are kept."""
        arrays = iter(data)
        leaves = [next(arrays) if leaf is DATA else thawed(value_of(leaf)) for leaf in self.static]
        return jax.tree.unflatten(self.structure, leaves)

    def with_fixed(self, data: tuple, which: frozenset, as_numpy: bool) -> tuple["NumPyroModel", tuple]:
        """Return the model with these of its data arrays as constants, and the other arrays."""
        names, static = names_of_arguments(self), list(self.static)
        places = [i for i, leaf in enumerate(static) if leaf is DATA]
        for i in which:
            static[places[i]] = Constant(np.asarray(as_the_model_sees(data[i])), as_numpy, names[places[i]])
        fixed = dataclasses.replace(self, static=tuple(static))
        return fixed, tuple(array for i, array in enumerate(data) if i not in which)

    @property
    def num_arguments(self) -> int:
        return sum(leaf is DATA for leaf in self.static)

    @property
    def constant_arguments(self) -> dict[str, np.ndarray]:
        return {leaf.name: leaf.array for leaf in self.static if isinstance(leaf, Constant)}

    @property
    def names_of_data(self) -> list[str]:
        """The names of the arguments that are data, in their order."""
        return [name for name, leaf in zip(names_of_arguments(self), self.static, strict=True) if leaf is DATA]

    @property
    def discrete(self) -> tuple:
        return getattr(self.model, "discrete", ())

    def model_log_density(self, data, sites):
        args, kwargs = self.arguments(data)
        return -potential_energy(numpyro.handlers.seed(self.model, 0), args, kwargs, sites)

    def model_constrain(self, data, sites):
        args, kwargs = self.arguments(data)
        return constrained(numpyro.handlers.seed(self.model, 0), args, kwargs, sites)

    def model_unconstrain(self, data, sites):
        args, kwargs = self.arguments(data)
        return unconstrain_fn(numpyro.handlers.seed(self.model, 0), args, kwargs, sites)

    def model_deterministic(self, data, sites, key):
        found = computed(self, data, sites, jax.random.wrap_key_data(key), first_values(self))
        return {name: found[name] for name in self.deterministic}

    def programs_to_capture(self, sites: tuple[Site, ...]) -> dict[str, tuple]:
        """Return what each method `model_<name>` takes after the data, {name: shapes}."""
        z, values = unconstrained_shapes(sites), constrained_shapes(sites)
        programs: dict[str, tuple] = {"log_density": (z,), "constrain": (z,), "unconstrain": (values,)}
        if self.deterministic:
            programs["deterministic"] = (z, KEY)
        return programs | ({"parameter_values": ()} if self.learnable else {})

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
        return functools.partial(self.model, None) if self.learnable else self.model

    def guide_arguments(self, data):
        args, kwargs = self.arguments(data)
        return args[1:] if self.learnable else args, kwargs

    # Parameters to learn --------------------------------------------------------------------------------------------

    def free_parameters(self, data) -> dict:
        return self.arguments(data)[0][0] if self.learnable else {}

    def with_free_parameters(self, data, free: dict):
        leaves = jax.tree.leaves(free)
        return (*leaves, *data[len(leaves) :])

    def parameter_values(self, data) -> dict:
        return self.run("parameter_values", data)

    def free_of_parameters(self, data, values: dict) -> dict:
        self.require_unchanged(data)
        with self.own_precision():
            return free_values(self, data, values)

    def at_learned(self) -> "NumPyroModel":
        return dataclasses.replace(self, is_learned=True)

    def model_parameter_values(self, data):
        return values_of(self, data)

    def forward(self, data, arguments: tuple[tuple, dict] | None = None):
        """Return the model to be run forwards, with its own arguments or with (args, kwargs), and its arrays.

        Raises:
            ChangedError: the model reads other values than when the target was made.
        """
        self.require_unchanged(data)
        if arguments is None:
            given = dataclasses.replace(self, programs=(), closed_over=())
            return ForwardModel(given), self.split(data)[0]
        model = written(self.model)
        author = model.function if isinstance(model, WithParameters) else model
        names = arguments[1]
        if self.learnable:
            arguments = (self.free_parameters(data), *arguments[0]), arguments[1]
        try:
            given, arrays = split_data(AllRows(model), *arguments)
            model, arrays, _ = with_constants(ForwardModel(given), arrays, lambda run, arrays: run.describe(arrays, {}))
        except (TypeError, ValueError, AttributeError) as error:  # the model's own
            raise ModelError(
                f"The model '{self}' does not run on these arguments: {said(error)}."
                f"{misspelt(author, names, 'predict', OPTIONS_OF_PREDICT, str(error))} Give it all that it takes, in "
                f"the shapes of the new rows. Data that are to be predicted are drawn anew, whatever is given: None "
                f"where the model allows it, or else any values of the right shape. (The number of draws is given by "
                f"name: n=1000.)"
            ) from error
        return model, arrays

    def discrete_draws(self, data, sites, key) -> dict:
        """Return the values of the discrete sites, drawn from their posterior given unconstrained sites; none here."""
        return {}

    def explain(self, data, sites):
        """Say which sites have a log density that is not finite, and whether NaN in their data is the cause."""
        try:
            with tracing:
                trace = self.trace(data, self.constrain(data, sites)[0])
        except (ValueError, TypeError) as error:  # NumPyro's own check of a distribution's parameters
            return f"The model cannot be run there: {said(error)}.{self.not_finite(data)}"
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
            hint += self.not_finite(data)
            return f"The log probability of {kind} site '{name}' is not finite in {bad} place(s). {hint}"
        return "Every site's log probability is finite there; the change of variables is not."

    def not_finite(self, data) -> str:
        """Say which arguments hold NaN or infinity, a sentence each with a space before it; "" if none does."""
        counts = {
            name: int((~jnp.isfinite(x)).sum())
            for name, x in zip(self.names_of_data, self.split(data)[0], strict=True)
            if jnp.issubdtype(x.dtype, jnp.floating)
        }
        return "".join(
            f" Argument '{name}' holds {count} value(s) that are not finite." for name, count in counts.items() if count
        )

    def __str__(self):
        return getattr(self.model, "__name__", type(self.model).__name__)


def constrained(
    model: Callable, args: tuple, kwargs: dict, sites: dict, weights: Mapping[str, float] = NO_WEIGHTS
) -> tuple[dict, jax.Array]:
    """Run a seeded model once, with every latent site at the image of its unconstrained value.

    Args:
        model, args, kwargs: the model and its arguments.
        sites: the unconstrained values.
        weights: {plate: the number of rows that each of its rows stands for}, in a minibatch.

    Returns:
        The images, and the log determinant, in which each row counts with its weight.
    """

    def fill(site):
        if site["type"] != "sample" or site["name"] not in sites:
            return None
        return change_of_variables(site)(sites[site["name"]])

    model = numpyro.handlers.substitute(model, substitute_fn=fill)
    trace = numpyro.handlers.trace(model).get_trace(*args, **kwargs)
    values = {name: trace[name]["value"] for name in sites}

    def log_det(name: str):
        # read from the trace, not inside `fill`, which runs within the loop if a site stands in numpyro's scan
        found = jnp.sum(change_of_variables(trace[name]).log_abs_det_jacobian(sites[name], values[name]))
        return math.prod(weights.get(frame.name, 1) for frame in trace[name]["cond_indep_stack"]) * found

    return values, sum(map(log_det, sites))


class DATA:
    """A mark for the places of arrays among a model's arguments."""


def split_data(
    model: Callable, args: tuple, kwargs: dict, kind: type[NumPyroModel] = NumPyroModel
) -> tuple[NumPyroModel, tuple]:
    """Return the model without its data, of this kind, and the data."""
    if not callable(model):
        raise TypeError(f"model must be a NumPyro model (a function), got {type(model).__name__}.")
    leaves, structure = jax.tree.flatten(arguments_that_run(model, args, kwargs))
    leaves = [array_or_static(leaf) for leaf in leaves]
    data = tuple(leaf for leaf in leaves if is_array(leaf))
    density = kind(model, structure, tuple(DATA if is_array(leaf) else leaf for leaf in leaves))
    require_hashable(density)
    return density, data


def is_array(leaf) -> bool:
    return isinstance(leaf, np.ndarray | jax.Array) and not isinstance(leaf, np.generic)


def array_or_static(leaf):
    """Return arrays as data, in their own types, NumPy scalars as Python's, and the rest untouched."""
    if isinstance(leaf, np.generic):
        return leaf.item()
    if not is_array(leaf):
        return leaf
    if is_sharded(leaf):
        return on_automatic_mesh(leaf)
    return owned(leaf) if jnp.issubdtype(leaf.dtype, jnp.number) else leaf


def as_the_model_sees(leaf) -> jax.Array:
    """Return a data array as the model gets it: floats and integers at 64 bits, whatever type they are kept in.

    Where 64-bit types are switched off, that is the widest type there is. The conversion is part of the program, and so
    of a block of rows at a time where there are many.
    """
    leaf = jnp.asarray(leaf)  # a NumPy array cannot be indexed by a traced one
    wide = {"f": np.float64, "i": np.int64, "u": np.int64}.get(leaf.dtype.kind)
    return leaf if wide is None else leaf.astype(jax.dtypes.canonicalize_dtype(wide))


def require_hashable(density: NumPyroModel):
    try:
        hash(density)
    except TypeError as error:
        raise ModelError(
            f"A model argument that is not an array must be hashable, as sizes, flags and names are ({error}). "
            f"Pass lists of numbers as arrays."
        ) from None


def names_of_arguments(density) -> list[str]:
    """Return the name of each leaf of the model's arguments, from its parameter where that can be told."""
    args, kwargs = jax.tree.unflatten(density.structure, range(len(density.static)))
    try:
        signature = inspect.signature(written(density.model))
        given = dict(signature.bind(*args, **kwargs).arguments)
        variadic = [p for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD]
        for parameter in variadic:
            given.update(given.pop(parameter.name, {}))
    except (TypeError, ValueError):
        given = {"args": args, **kwargs}
    names = [""] * len(density.static)
    for name, value in given.items():
        for path, i in jax.tree_util.tree_flatten_with_path(value)[0]:
            names[i] = name + jax.tree_util.keystr(path)
    return names
