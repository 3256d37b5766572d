"""PyMC models as a source: the model's own log density, with the Jacobian of its transforms, as a program of JAX.

PyTensor writes the graphs of the model as functions of JAX, and these are traced once (`Captured`). What they read is
data, and no part of compiled code: the shared variables (`pm.Data`) are what the density is given, each a leaf by its
name, and the arrays that PyMC keeps as constants (`observed=y` of a NumPy array) are what it closes over. So new
numbers of the same shapes need no new program, wherever they stand. What is part of the program: Python numbers and
arrays of no axes, the lengths of `dims`, and shared variables whose numbers PyTensor needs for a shape or a loop, which
`Target.constants` names. What PyTensor computes from constants alone (the logarithm of an observed y) it computes at
once, and the result is data in their place.

PyMC is imported when a target is made of a model, and not before. Its settings of JAX (64-bit types, the number of
devices) are put back.
"""

import contextlib
import dataclasses
import functools
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.core.errors import ModelError, said
from vi_kl.core.precision import in_float64, x64_types
from vi_kl.targets.captured import CapturedModel, captured
from vi_kl.targets.constant_arguments import Constant, with_constants
from vi_kl.targets.density import Density
from vi_kl.targets.row_sources import MissingExtraError
from vi_kl.targets.sites import Site, constrained_shapes, unconstrained_shapes

PREDICT = (
    "PyMC runs its models forward itself: `with model: pm.sample_posterior_predictive(draws)`, of the draws "
    "fit.to_arviz(key).posterior.to_dataset()."
)


Graph = tuple[list, list]  # the inputs and outputs of a graph of PyTensor


@dataclasses.dataclass(frozen=True, eq=False)
class PyMCModel(CapturedModel, Density):
    """A PyMC model without its data.

    Its data are the values of the model's shared variables when the target was made, and then the arrays that its
    graphs hold as constants. What is changed in the model afterwards is no part of it.

    Attributes:
        name: the model's name.
        graphs: {name: the graph that each method `model_<name>` computes}, of PyTensor.
        variables: the names of the free variables, in the order of the graphs' inputs.
        terms: the names of the terms of the log density.
        shared: the shared variables that are data.
        names: their names.
        fixed: the shared variables whose numbers the program needs, each with its value.
        deterministic: the names of what the model computes.
        dims: (variable, the name of each of its axes, or None).
        coords: {name of an axis: the names of its entries}.
    """

    name: str
    graphs: Mapping[str, Graph]
    variables: tuple[str, ...]
    terms: tuple[str, ...]
    shared: tuple = ()
    names: tuple[str, ...] = ()
    fixed: tuple[tuple[Any, Constant], ...] = ()
    deterministic: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    dims: tuple[tuple[str, tuple[str | None, ...]], ...] = dataclasses.field(default=(), kw_only=True)
    coords: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict, kw_only=True)

    source: ClassVar[str] = "a PyMC model"
    live: ClassVar[tuple[str, ...]] = ("graphs", "shared", "fixed", "dims", "coords")
    mends: ClassVar[Mapping[str, str]] = {"forward": PREDICT}

    @property
    def capabilities(self):
        return frozenset({"deterministic"} if self.deterministic else ())

    @property
    def num_arguments(self) -> int:
        return len(self.shared)

    @property
    def constant_arguments(self) -> dict[str, np.ndarray]:
        return {constant.name: constant.array for _, constant in self.fixed}

    def with_fixed(self, data: tuple, which: frozenset, as_numpy: bool) -> tuple["PyMCModel", tuple]:
        """Return the model with these of its shared variables as constants, and the values of the others."""
        fixed = [(self.shared[i], Constant(np.asarray(data[i]), as_numpy, self.names[i])) for i in sorted(which)]
        rest = [i for i in range(len(self.shared)) if i not in which]
        density = dataclasses.replace(
            self,
            shared=tuple(self.shared[i] for i in rest),
            names=tuple(self.names[i] for i in rest),
            fixed=(*self.fixed, *fixed),
        )
        return density, tuple(data[i] for i in rest)

    def computed(self, data, sites, key):
        return self.run("deterministic", data, sites)

    def model_log_density(self, data, sites):
        return self.evaluate("log_density", data, sites)[0]

    def model_constrain(self, data, sites):
        *values, log_det = self.evaluate("constrain", data, sites)
        return dict(zip(self.variables, values, strict=True)), log_det

    def model_unconstrain(self, data, sites):
        return dict(zip(self.variables, self.evaluate("unconstrain", data, sites), strict=True))

    def model_deterministic(self, data, sites):
        return dict(zip(self.deterministic, self.evaluate("deterministic", data, sites), strict=True))

    def model_terms(self, data, sites):
        """Return the log density of each variable and potential."""
        terms = self.evaluate("terms", data, sites)
        return {name: jnp.sum(term) for name, term in zip(self.terms, terms, strict=True)}

    def programs_to_capture(self, sites: tuple[Site, ...]) -> dict[str, tuple]:
        """Return what each method `model_<name>` takes after the data, {name: shapes}."""
        z, values = unconstrained_shapes(sites), constrained_shapes(sites)
        programs = {"log_density": (z,), "constrain": (z,), "unconstrain": (values,)}
        return programs | ({"deterministic": (z,)} if self.deterministic else {})

    def evaluate(self, name: str, data, sites: dict) -> list:
        """Return the outputs of one of the graphs, as floats."""
        values = (*(sites[variable] for variable in self.variables), *data[: self.num_arguments])
        if name not in self.written:
            self.written[name] = written_in_jax(self, self.graphs[name], list(map(np.shape, values)))
        return [jnp.asarray(x, dtype=jnp.result_type(x, float)) for x in self.written[name](*values)]

    @functools.cached_property
    def written(self) -> dict[str, Callable]:
        """The graphs that have been written as functions of JAX so far."""
        return {}

    def explain_failure(self, name, error):
        if isinstance(error, NotImplementedError):
            return ModelError(
                f"The {name.replace('_', ' ')} of '{self}' cannot be computed in JAX: {said(error)}. Register a "
                f"function of JAX for it (pytensor.link.jax.dispatch.jax_funcify), or make the target of a log density "
                f"that calls the model by jax.pure_callback (Target.from_log_density)."
            )
        return error

    @in_float64
    def explain(self, data, sites):
        terms = {name: float(value) for name, value in self.run("terms", data, sites).items()}
        bad = [f"that of '{name}' is {value}" for name, value in terms.items() if not np.isfinite(value)]
        if not bad:
            return f"Every term of the log density of '{self}' is finite there: look at its gradient."
        return (
            f"Of the terms of the log density, {', '.join(bad)}: check its parameters, its bounds and its data there."
        )

    def __str__(self):
        return self.name


DensityOnData = tuple[PyMCModel, tuple, tuple[Site, ...]]  # a density, its data and its sites


def density_from_pymc(model: Any) -> DensityOnData:
    """Return the density of a model's free variables, its data, and its sites: what a Target is made of.

    Raises:
        MissingExtraError: PyMC is not installed.
        ModelError: the model has discrete free variables, no free variables, random numbers in its log density, or an
            operation that JAX does not have.
        TypeError: it is no `pymc.Model`.
    """
    with settings_kept():
        import_pymc()
    refuse_no_model(model)
    return in_float64(density_of)(model)


def density_of(model) -> DensityOnData:
    """Return what a Target of a model is made of (call it with 64-bit types switched on)."""
    refuse_discrete(model)
    graphs, terms, deterministic = graphs_of(model)
    refuse_random(dict(zip(terms, graphs["terms"][1], strict=True)))
    shared = shared_variables(model, graphs)
    sites = sites_of(model)
    density = PyMCModel(
        model.name or "PyMC model",
        graphs,
        tuple(site.name for site in sites),
        terms,
        shared,
        tuple(x.name or f"shared_{i}" for i, x in enumerate(shared)),
        deterministic=deterministic,
        dims=tuple((name, tuple(axes)) for name, axes in model.named_vars_to_dims.items()),
        coords={axis: np.asarray(entries) for axis, entries in model.coords.items() if entries is not None},
    )
    data = tuple(np.array(variable.get_value()) for variable in shared)
    _, data, found = with_constants(density, data, lambda density, data: captured(density, data, sites))
    density, closed_over = found
    return density, (*data, *closed_over), sites


def is_pymc_model(value: Any) -> bool:
    """Return whether a value is a `pymc.Model`, without importing PyMC: who has a model has imported it."""
    model = getattr(sys.modules.get("pymc"), "Model", None)
    return isinstance(model, type) and isinstance(value, model)


# PyMC and its settings -------------------------------------------------------------------------------------------


def import_pymc() -> None:
    """Import PyMC and what writes its graphs in JAX.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        for name in ("pymc", "pymc.sampling.jax"):  # which teaches PyTensor what JAX makes of PyMC's own operations
            importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(f'Target.from_pymc needs PyMC ({error}): pip install "vi_kl[pymc]".') from error


@contextlib.contextmanager
def settings_kept():
    """Put back what PyMC changes when it is imported: JAX's 64-bit types, and the number of its devices."""
    precision, flags = jax.config.values["jax_enable_x64"], os.environ.get("XLA_FLAGS")
    try:
        yield
    finally:
        if jax.config.values["jax_enable_x64"] != precision:
            jax.config.update("jax_enable_x64", precision)
        if flags is None:
            os.environ.pop("XLA_FLAGS", None)
        else:
            os.environ["XLA_FLAGS"] = flags


# What is no target -----------------------------------------------------------------------------------------------


def refuse_no_model(model: Any) -> None:
    """Raise an error unless it is a `pymc.Model`."""
    if not is_pymc_model(model):
        inner = getattr(getattr(model, "backend", None), "model", None)
        mend = " Give its PyMC model, once it is built: model.backend.model." if is_pymc_model(inner) else ""
        raise TypeError(f"Target.from_pymc takes a pymc.Model, and got a {type(model).__name__}.{mend}")


def refuse_discrete(model) -> None:
    """Raise an error unless the free variables are real numbers, and there are any."""
    discrete = [rv.name for rv in model.free_RVs if rv.dtype.startswith(("int", "uint", "bool"))]
    if discrete:
        raise ModelError(
            f"Free variables of the model are discrete ({', '.join(map(repr, discrete))}), and there is no density of "
            f"real numbers over these. Sum them out: pm.Mixture in place of a discrete index, or "
            f"pymc_extras.marginalize; or write the model in NumPyro, where Target.from_numpyro sums them out."
        )
    if not model.free_RVs:
        raise ModelError(f"The model '{model.name or 'PyMC model'}' has no free variable: there is nothing to fit.")


def refuse_random(terms: Mapping[str, Any]) -> None:
    """Raise an error if a term of the log density, {name: its graph}, draws random numbers."""
    drawn = [name for name, term in terms.items() if draws_numbers([term])]
    if drawn:
        raise ModelError(
            f"The log density of '{drawn[0]}' draws random numbers at each call, as data of pm.Minibatch do. Give it "
            f"all of its rows: fits and certificates evaluate many rows in blocks."
        )


# The graphs of a model -------------------------------------------------------------------------------------------


def sites_of(model) -> tuple[Site, ...]:
    """Return the free variables as sites, in the model's order."""
    shapes = {name: tuple(map(int, shape)) for name, shape in model.eval_rv_shapes().items()}
    return tuple(Site(rv.name, shapes[rv.name], shapes[model.rvs_to_values[rv].name]) for rv in model.free_RVs)


def graphs_of(model) -> tuple[dict[str, Graph], tuple[str, ...], tuple[str, ...]]:
    """Return the graphs of a model, and the names of the terms of its log density and of what it computes.

    The inputs of each are the free variables in their order: unconstrained ones, but for "unconstrain". A deterministic
    variable that depends on random numbers has no value at a given z, and is left out. The lengths of dims are
    constants.
    """
    import pytensor.tensor as pt

    inputs = [model.rvs_to_values[rv] for rv in model.free_RVs]
    terms = model.logp(sum=False)
    computed = zip(model.deterministics, model.replace_rvs_by_values(model.deterministics), strict=True)
    deterministic = {variable.name: output for variable, output in computed if not draws_numbers([output])}
    graphs = {
        "log_density": (inputs, [pt.sum([pt.sum(term) for term in terms])]),
        "terms": (inputs, terms),
        "constrain": (inputs, [*model.replace_rvs_by_values(model.free_RVs), log_det(model)]),
        "unconstrain": unconstrain_graph(model),
        "deterministic": (inputs, list(deterministic.values())),
    }
    graphs = {name: (inputs, with_lengths(model, outputs)) for name, (inputs, outputs) in graphs.items()}
    names = tuple(x.name for x in (*model.free_RVs, *model.observed_RVs, *model.potentials))
    return graphs, names, tuple(deterministic)


def with_lengths(model, outputs: list) -> list:
    """Return graphs with the lengths of dims as constants."""
    from pytensor.graph.replace import clone_replace
    from pytensor.tensor import constant

    read = set(variables_read(outputs))
    lengths = {x: constant(x.get_value(), dtype=x.dtype) for x in model.dim_lengths.values() if x in read}
    return clone_replace(outputs, replace=lengths, rebuild_strict=False) if lengths else outputs


def log_det(model):
    """Return the graph of log |d constrained / d unconstrained|."""
    import pytensor.tensor as pt

    found = [
        transform.log_jac_det(model.rvs_to_values[rv], *rv.owner.inputs).sum()
        for rv, transform in model.rvs_to_transforms.items()
        if rv in model.free_RVs and transform is not None
    ]
    return model.replace_rvs_by_values([pt.sum(found)])[0] if found else pt.constant(0.0)


def unconstrain_graph(model) -> Graph:
    """Return the graph from constrained variables to unconstrained ones; bounds may depend on other variables."""
    from pytensor.graph.replace import clone_replace

    values = {rv: rv.type(name=rv.name) for rv in model.free_RVs}
    transforms = [(rv, model.rvs_to_transforms[rv]) for rv in model.free_RVs]
    outputs = [rv if transform is None else transform.forward(rv, *rv.owner.inputs) for rv, transform in transforms]
    return list(values.values()), clone_replace(outputs, replace=values)


def variables_read(outputs: list) -> list:
    """Return the shared variables that graphs read, in the order in which they are met."""
    from pytensor.compile import SharedVariable
    from pytensor.graph.traversal import graph_inputs

    return list(dict.fromkeys(x for x in graph_inputs(outputs) if isinstance(x, SharedVariable)))


def draws_numbers(outputs: list) -> bool:
    """Return whether graphs draw random numbers."""
    from pytensor.tensor.random.type import RandomType

    return any(isinstance(x.type, RandomType) for x in variables_read(outputs))


def shared_variables(model, graphs: Mapping[str, Graph]) -> tuple:
    """Return the shared variables that are data, in the model's order."""
    found = variables_read([x for _, outputs in graphs.values() for x in outputs])
    order = list(model.named_vars.values())
    return tuple(sorted(found, key=lambda x: order.index(x) if x in order else len(order)))


def written_in_jax(density: PyMCModel, graph: Graph, shapes: list[tuple[int, ...]]) -> Callable:
    """Return a graph as a function of JAX, of its inputs and then of the shared variables that are data.

    All shapes are made known beforehand, since a program of JAX has no others. An invalid parameter makes the log
    density -inf, as when PyMC compiles it.

    Args:
        density: the density, for its shared variables.
        graph: what is computed.
        shapes: the shapes of the function's arguments.
    """
    from pytensor.compile import mode
    from pytensor.graph.fg import FunctionGraph
    from pytensor.graph.replace import clone_replace
    from pytensor.link.jax.dispatch import jax_funcify
    from pytensor.link.utils import fgraph_to_python
    from pytensor.tensor import constant, tensor

    given = (*graph[0], *density.shared)
    known = [tensor(x.name, shape=shape, dtype=x.dtype) for x, shape in zip(given, shapes, strict=True)]
    fixed = {variable: constant(value.array, name=value.name) for variable, value in density.fixed}
    replaced = dict(zip(given, known, strict=True)) | fixed | wide_constants(graph[1])
    outputs = clone_replace(graph[1], replace=replaced, rebuild_strict=False)
    made = FunctionGraph(inputs=known, outputs=outputs, clone=True)
    with x64_types(), warnings.catch_warnings(), jax.ensure_compile_time_eval():
        warnings.filterwarnings("ignore", message="Skipping .* as JAX tracing would remove it")
        mode.JAX.including("local_check_parameter_to_ninf_switch").optimizer.rewrite(made)
        return fgraph_to_python(made, jax_funcify, type_conversion_fn=constant_of)


# PyTensor keeps a Python number like 0.5 in 32 bits where that loses nothing, and computes with it in 64. JAX would let
# it decide the precision: an integer times 0.5 would be rounded to 32 bits, and so would an array that was filled with
# a Python number.


def wide_constants(outputs: list) -> dict:
    """Return the single numbers among the constants of graphs that have fewer than 64 bits, each with one of 64."""
    from pytensor.graph import Constant as Known
    from pytensor.graph.traversal import ancestors
    from pytensor.tensor import constant

    found = [x for x in ancestors(outputs) if isinstance(x, Known) and isinstance(x.data, np.ndarray)]
    narrow = [x for x in found if x.data.size == 1 and x.data.dtype.kind == "f" and x.data.dtype.itemsize < 8]
    return {x: constant(x.data.astype(np.float64), name=x.name) for x in narrow}


def constant_of(data, dtype=None, **kwargs):
    """Return what JAX gets for a constant: of a single number 64 bits, and no Python number."""
    from pytensor.link.jax.dispatch import jax_typify

    if isinstance(data, np.ndarray) and data.ndim == 0 and data.dtype.kind == "f":
        return np.float64(data)
    return jax_typify(data, dtype=dtype, **kwargs)
