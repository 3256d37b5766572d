"""Parameters to learn: the `numpyro.param` sites of a model, whose values are data of its density.

A posterior is one at given values of them, and a fit looks for the values of largest evidence. So they are the first of
the density's data, as free numbers, from which NumPyro's change of variables makes values that keep their constraint.
Networks of `numpyro.contrib.module` (`flax_module`, `nnx_module`, `eqx_module`) declare their weights so.

A site whose value a handler inside the model gives (`handlers.substitute(model, {"scale": 2.0})`) is fixed, and no
parameter; nor is one on which no log probability depends, such as the weights that `random_flax_module` and its like
declare and then give priors.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.distributions import biject_to, constraints
from numpyro.primitives import Messenger

from vi_kl.core.compilation import compiler_options
from vi_kl.core.errors import ModelError
from vi_kl.core.kept_programs import tracing
from vi_kl.targets.numpyro.inspection import image_of_zero
from vi_kl.targets.numpyro.plates import SubsampledRows
from vi_kl.targets.numpyro.unused_sites import is_batched

NAME = "learned"  # what the parameters are called among the model's arguments


class ParamSites(Messenger):
    """A handler under which `numpyro.param` sites have given values, and that notes those that no handler gives.

    Attributes:
        free: {site: free value}, of which the model gets the constrained one.
        constrained: {site: value}, of which the model gets the value itself.
        found: {site: (value as the model sees it, change of variables or None)} of those met.
    """

    def __init__(self, fn: Callable | None = None, free: Mapping | None = None, constrained: Mapping | None = None):
        super().__init__(fn)
        self.free, self.constrained = free or {}, constrained or {}
        self.found: dict[str, tuple] = {}
        self.own: set[str] = set()

    def process_message(self, msg):
        if msg["type"] == "control_flow":  # the bodies of scan and cond run where no handler outside is heard
            msg["args"] = tuple(self.inside(arg) if callable(arg) else arg for arg in msg["args"])
        if msg["type"] != "param" or msg["value"] is not None:
            return
        name = msg["name"]
        self.own.add(name)
        if name in self.free:
            msg["value"] = moved(change_of_param(msg), self.free[name])
        elif name in self.constrained:
            msg["value"] = jax.tree.map(lambda x: x, self.constrained[name])

    def postprocess_message(self, msg):
        # a network asks for its weights once without giving any, to see whether they are there
        if msg["type"] == "param" and msg["name"] in self.own and msg["value"] is not None:
            self.found.setdefault(msg["name"], (msg["value"], change_of_param(msg)))

    def inside(self, body: Callable) -> Callable:
        def with_values(*args):
            handler = ParamSites(free=self.free, constrained=self.constrained)
            handler.found, handler.own = self.found, self.own
            with handler:
                return body(*args)

        return with_values


@dataclasses.dataclass(frozen=True)
class WithParameters:
    """A model whose first argument is {site: free value} of its parameters, or None for those that it begins with."""

    function: Callable

    def __call__(self, values, *args, **kwargs):
        with ParamSites(free=values):
            return self.function(*args, **kwargs)

    @property
    def __name__(self):
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def __doc__(self):
        return self.function.__doc__

    @property
    def __signature__(self):
        own = inspect.Parameter(NAME, inspect.Parameter.POSITIONAL_ONLY)
        rest = inspect.signature(self.function).parameters.values()
        return inspect.Signature([own, *rest])


def change_of_param(site: dict):
    """Return NumPyro's bijection from free numbers to a parameter's constraint; None for a real one."""
    constraint = site["kwargs"].get("constraint", constraints.real)
    try:
        return None if constraint is constraints.real else biject_to(constraint)
    except NotImplementedError:
        raise ModelError(
            f"Parameter '{site['name']}' has the constraint {constraint}, for which NumPyro has no change of variables "
            f"from unconstrained numbers: compute it from parameters whose constraints have one."
        ) from None


def moved(transform, values):
    """Return a parameter, an array or a pytree of arrays, as its change of variables moves it."""
    # a copy in any case, since networks whose weights have priors change the tree that they are handed
    return jax.tree.map((lambda x: x) if transform is None else transform, values)


def free_of(name: str, value: Any, transform) -> Any:
    """Return the free numbers of a parameter's value."""
    for leaf in jax.tree.leaves(value):
        if jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating):
            raise ModelError(f"Parameter '{name}' is complex: give its real and imaginary parts a parameter each.")
    value = jax.tree.map(lambda x: jnp.asarray(x, dtype=float), value)
    return value if transform is None else jax.tree.map(transform.inv, value)


def met(model: Callable, args: tuple, kwargs: dict, constrained: Mapping | None = None) -> dict[str, tuple]:
    """Run a model at z = 0, with all rows of its plates; return what `ParamSites` finds."""
    handler = ParamSites(model, constrained=constrained)
    seeded = numpyro.handlers.substitute(numpyro.handlers.seed(handler, 0), substitute_fn=image_of_zero)
    with SubsampledRows():
        seeded(*args, **kwargs)
    return handler.found


def first_values(density, data) -> dict[str, Any]:
    """Return {site: free value} of the parameters of a model, from the values that it begins with.

    They are computed by one program, in which nothing is left of the model that they do not depend on.

    Raises:
        ModelError: a value is complex, or outside its constraint; the message names the site.
    """

    def free(data):
        args, kwargs = density.arguments(data)
        found = met(density.model, args, kwargs)
        return {name: free_of(name, value, transform) for name, (value, transform) in found.items()}

    found = {name: value for name, value in computed(free, data).items() if jax.tree.leaves(value)}
    return {name: value for name, value in found.items() if matters(density, data, name, value)}


def matters(density, data, name: str, free: Any) -> bool:
    """Return whether a log probability depends on a parameter; nothing is computed."""

    def log_probs(free):
        args, kwargs = density.arguments(data)
        handler = ParamSites(density.model, free={name: free})
        model = numpyro.handlers.substitute(numpyro.handlers.seed(handler, 0), substitute_fn=image_of_zero)
        with SubsampledRows():
            trace = numpyro.handlers.trace(model).get_trace(*args, **kwargs)
        return [site["fn"].log_prob(site["value"]) for site in trace.values() if site["type"] == "sample"]

    with tracing:
        return is_batched(log_probs, jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, *x.shape), x.dtype), free))


def free_values(density, data, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return {site: free value} of the parameters of a density that has them, at these values.

    Raises:
        ModelError: a value is missing, or not of the parameter's shape, or outside its constraint.
    """
    values = as_expected(values, jax.eval_shape(density.parameter_values, data))

    def free(data, values):
        args, kwargs = density.arguments(data)
        found = met(density.model, (None, *args[1:]), kwargs, values)
        return {name: free_of(name, values[name], found[name][1]) for name in density.learnable}

    return computed(free, data, values)


def computed(free: Callable, *arguments) -> dict[str, Any]:
    """Return the free values that a function computes, as NumPy arrays, if all of them are finite."""
    with tracing:
        found = jax.tree.map(np.asarray, jax.jit(free, compiler_options=compiler_options(True))(*arguments))
    for name, value in found.items():
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(value)):
            raise ModelError(
                f"The value of parameter '{name}' is outside its constraint, on its edge, or not finite: give "
                f"numpyro.param('{name}', ...) one inside."
            )
    return found


def as_expected(values: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of all parameters as 64-bit arrays, or raise an error that says what does not fit."""
    if set(values) != set(expected):
        raise ModelError(
            f"Values of {sorted(values)} are given, and the parameters of the model are {sorted(expected)}."
        )
    found = {name: jax.tree.map(lambda x: np.asarray(x, dtype=float), values[name]) for name in expected}
    for name, value in found.items():
        given, wanted = (jax.tree.map(np.shape, tree) for tree in (value, expected[name]))
        if given != wanted:
            raise ModelError(f"Parameter '{name}' has the shape {wanted}, and a value of shape {given} is given.")
    return found


def values_of(density, data) -> dict[str, Any]:
    """Return {site: value} of the parameters of a density that has them, as the model sees them."""
    args, kwargs = density.arguments(data)
    model = numpyro.handlers.substitute(numpyro.handlers.seed(density.model, 0), substitute_fn=image_of_zero)
    with SubsampledRows():
        trace = numpyro.handlers.trace(model).get_trace(*args, **kwargs)
    return {name: jax.tree.map(jnp.asarray, trace[name]["value"]) for name in density.learnable}
