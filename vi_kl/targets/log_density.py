"""Log densities as a source: over z itself (one site, `z`), or over a tree of named parameters with their supports."""

import dataclasses
import inspect
import numbers
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import biject_to

from vi_kl.core.errors import ModelError
from vi_kl.core.numbers import is_numeric
from vi_kl.core.programs.program import abstractly
from vi_kl.targets.captured import Captured, captured
from vi_kl.targets.constant_arguments import Constant, with_constants
from vi_kl.targets.density import Density
from vi_kl.targets.parameters import Parameter, read_parameters, shown
from vi_kl.targets.purity import scattered, what_differs
from vi_kl.targets.sites import Site, constrained_shapes, unconstrained_shapes


class WithClosedOver(NamedTuple):
    """The data of a function that closes over arrays.

    Attributes:
        given: the data that the function is called with.
        closed_over: the arrays that it closes over.
    """

    given: Any
    closed_over: tuple


@dataclasses.dataclass(frozen=True, eq=False)
class LogDensity(Captured, Density):
    """A log density over z as a density: its data are what it is called with, and the arrays that it closes over."""

    function: Callable
    takes_data: bool
    fixed: tuple[tuple[int, Constant], ...] = ()

    source: ClassVar[str] = "a log density over z"

    def log_density(self, data, sites):
        return self.run("log_density", data, sites)

    def model_log_density(self, data, sites):
        return self.call(data, sites["z"])

    def call(self, data, argument):
        """Return what the function itself returns."""
        return self.function(argument, self.whole(data)) if self.takes_data else self.function(argument)

    def result(self, data, sites):
        """Return what the function itself returns at unconstrained sites."""
        return self.call(data, sites["z"])

    def whole(self, data):
        """Return the data with the constants among it put back in their places, which hold None."""
        leaves, structure = jax.tree.flatten(data, is_leaf=lambda leaf: leaf is None)
        for i, constant in self.fixed:
            leaves[i] = constant.value
        return jax.tree.unflatten(structure, leaves)

    def with_fixed(self, data, which: frozenset, as_numpy: bool) -> tuple["LogDensity", Any]:
        """Return the density with these leaves of its data as constants, and the data without them."""
        leaves, structure = jax.tree.flatten(data, is_leaf=lambda leaf: leaf is None)
        names = ["data" + jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(data)]
        places = [i for i, leaf in enumerate(leaves) if leaf is not None]
        fixed = tuple((places[i], Constant(np.asarray(leaves[places[i]]), as_numpy, names[i])) for i in sorted(which))
        for i, _ in fixed:
            leaves[i] = None
        return dataclasses.replace(self, fixed=fixed), jax.tree.unflatten(structure, leaves)

    @property
    def constant_arguments(self) -> dict[str, np.ndarray]:
        return {constant.name: constant.array for _, constant in self.fixed}

    @property
    def description(self):
        return first_line(self.function)

    def split(self, data):
        return tuple(data) if isinstance(data, WithClosedOver) else (data, ())

    def complete(self, data):
        if self.closed_over and not isinstance(data, WithClosedOver):
            return WithClosedOver(data, self.closed_over)
        return data

    def programs_to_capture(self, sites):
        return {"log_density": (unconstrained_shapes(sites),)}

    def constrain(self, data, sites):
        return sites, 0.0

    def unconstrain(self, data, sites):
        return sites

    def explain(self, data, sites):
        return f"The log density {self} is not finite there: check it at a point of your choice."

    def __str__(self):
        return getattr(self.function, "__name__", "log density")


@dataclasses.dataclass(frozen=True, eq=False)
class ParameterLogDensity(LogDensity):
    """A log density over a tree of named parameters, each in its support.

    The changes of variables are programs like the function's own, so that bounds that are arrays are data.

    Attributes:
        structure: the tree's structure.
        names: the site of each of its leaves.
        parameters: the example and the support of each.
    """

    structure: Any = None
    names: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()

    source: ClassVar[str] = "a log density of parameters"
    live: ClassVar[tuple[str, ...]] = ("function", "parameters")
    capabilities: ClassVar[frozenset[str]] = frozenset({"supports", "numpyro_guides"})

    @property
    def sites(self) -> tuple[Site, ...]:
        """One for each leaf, by name."""
        found = []
        for name, parameter in zip(self.names, self.parameters, strict=True):
            shape = parameter.example.shape
            found.append(Site(name, shape, tuple(biject_to(parameter.support).inverse_shape(shape))))
        return tuple(sorted(found, key=lambda site: site.name))

    def tree(self, values: dict):
        """Return the tree that the function takes, given {site: value}."""
        return jax.tree.unflatten(self.structure, [values[name] for name in self.names])

    def programs_to_capture(self, sites):
        z = unconstrained_shapes(sites)
        return {"log_density": (z,), "constrain": (z,), "unconstrain": (constrained_shapes(sites),)}

    def constrain(self, data, sites):
        return self.run("constrain", data, sites)

    def unconstrain(self, data, sites):
        return self.run("unconstrain", data, sites)

    def model_constrain(self, data, sites):
        transforms = {name: biject_to(support) for name, support in self.supports(data, sites).items()}
        values = {name: transforms[name](z) for name, z in sites.items()}
        log_dets = [jnp.sum(transforms[name].log_abs_det_jacobian(z, values[name])) for name, z in sites.items()]
        return values, sum(log_dets)

    def model_unconstrain(self, data, values):
        return {name: biject_to(support).inv(values[name]) for name, support in self.supports(data, values).items()}

    def model_log_density(self, data, sites):
        values, log_det = self.model_constrain(data, sites)
        return self.call(data, self.tree(values)) + log_det

    def result(self, data, sites):
        return self.call(data, self.tree(self.model_constrain(data, sites)[0]))

    def supports(self, data, sites):
        return {name: parameter.support for name, parameter in zip(self.names, self.parameters, strict=True)}

    def guide_arguments(self, data):
        """Return the arguments of a guide, which takes the data if the function does."""
        return ((self.whole(data),) if self.takes_data else ()), {}

    def guide_model(self, *data):
        """Return the posterior as a NumPyro model, for automatic guides."""
        values = {}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            shape, event_dim = parameter.example.shape, parameter.support.event_dim
            split = len(shape) - event_dim
            prior = dist.ImproperUniform(parameter.support, shape[:split], shape[split:])
            values[name] = numpyro.sample(name, prior)
        numpyro.factor("log_density", self.function(self.tree(values), *data))

    def explain(self, data, sites):
        values = self.constrain(data, sites)[0]
        where = ", ".join(f"{name} = {shown(np.asarray(values[name]))}" for name in self.names[:5])
        more = ", ..." if len(self.names) > 5 else ""
        return f"The log density {self} is not finite at {where}{more}: check it there."


def first_line(function: Callable) -> str:
    """Return the first line of a function's documentation."""
    lines = (inspect.getdoc(function) or "").strip().splitlines()
    return lines[0] if lines else ""


def is_a_number(dim: Any) -> bool:
    """Return whether the argument `dim` is a number, or nothing that could be a tree."""
    return dim is None or isinstance(dim, numbers.Number | str) or (hasattr(dim, "dtype") and np.ndim(dim) == 0)


DensityOnData = tuple[LogDensity, Any, tuple[Site, ...]]  # a density, its data and its sites


def density_of_z(function: Callable, dim: int, data: Any, dtype: str = "float64") -> DensityOnData:
    """Return what a Target over one site, `z`, is made of (call it with 64-bit types switched on)."""
    refuse_no_log_density(function, "z", data is not None)
    sites = (Site("z", (dim,), (dim,)),)
    density = LogDensity(function, data is not None, float_type=dtype)
    return checked_density(density, data, sites, f"one z of shape ({dim},)")


def density_of_parameters(function: Callable, tree: Any, data: Any, dtype: str = "float64") -> DensityOnData:
    """Return what a Target over a tree of named parameters is made of (call it with 64-bit types switched on)."""
    refuse_no_log_density(function, "parameters", data is not None)
    structure, names, parameters = read_parameters(tree)
    density = ParameterLogDensity(
        function, data is not None, structure=structure, names=names, parameters=parameters, float_type=dtype
    )
    return checked_density(density, data, density.sites, "one tree of parameters")


def checked_density(density: LogDensity, data: Any, sites: tuple[Site, ...], argument: str) -> DensityOnData:
    """Return the density with its programs, once its function has been seen to return one real number at `argument`."""

    def checked(density, data):
        check_log_density(density, data, sites, argument)
        return captured(density, data, sites)

    _, data, (density, _) = with_constants(density, data, checked)
    return density, data, sites


# What is no log density ------------------------------------------------------------------------------------------


def refuse_no_log_density(function: Callable, argument: str, takes_data: bool) -> None:
    name = getattr(function, "__name__", type(function).__name__)
    if not callable(function):
        raise TypeError(f"function must be a log density, a function of {argument}, got {name}.")
    given = (argument, "data") if takes_data else (argument,)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built in functions have none
        return
    try:
        signature.bind(*given)
    except TypeError as error:
        mend = "" if takes_data else f" What it takes besides {argument} is given as data=..."
        raise TypeError(
            f"The log density '{name}' cannot be called with ({', '.join(given)}): {error}.{mend}"
        ) from None


def check_log_density(density: LogDensity, data, sites: tuple[Site, ...], argument: str) -> None:
    """Refuse a log density that is no real number, or another one at each call.

    Args:
        density: not yet captured.
        sites: the sites at which it is called.
        argument: what it is called with, in words.

    Raises:
        ModelError: with what it returns instead.
    """
    name, found = str(density), {}

    def run(arguments):
        sites, data = arguments
        found["result"] = shape_of(density.result(data, sites))
        return ()

    abstractly(run, (unconstrained_shapes(sites), data))
    result = found["result"]
    if result is None:
        raise ModelError(f"The log density '{name}' returns None: does it lack a return statement?")
    if not isinstance(result, jax.ShapeDtypeStruct):
        raise ModelError(
            f"The log density '{name}' returns a {type(result).__name__}, and must return one real number, its value."
        )
    if result.shape != ():
        raise ModelError(
            f"The log density '{name}' returns an array of shape {result.shape} for {argument}, and must return one "
            f"real number: sum the terms (jnp.sum)."
        )
    if jnp.issubdtype(result.dtype, jnp.complexfloating):
        raise ModelError(f"The log density '{name}' returns a complex number: take its real part (jnp.real).")
    if not jnp.issubdtype(result.dtype, jnp.floating):
        what = "the parameters" if isinstance(density, ParameterLogDensity) else "z"
        raise ModelError(
            f"The log density '{name}' returns {result.dtype}, whatever {what}: it must depend on {what} smoothly."
        )
    z = {site.name: scattered(site.unconstrained_shape) for site in sites}
    if what_differs(lambda z, data, key: {name: density.result(data, z)}, (z, data)):
        raise ModelError(
            f"The log density '{name}' changes from one call to the next at the same values: it draws random numbers, "
            f"or keeps a state. Draw them outside, and pass them as data."
        )


def shape_of(result):
    """Return the shape and type of a single array; anything else as it is."""
    return jax.ShapeDtypeStruct(jnp.shape(result), jnp.result_type(result)) if is_numeric(result) else result
