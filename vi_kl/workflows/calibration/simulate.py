"""Simulated data sets: the model run forwards, and its posterior for each data set that it makes.

Requires a model whose latent sites all have proper priors, and which is called without its data. All targets share
one structure, with the simulated data an argument, so that nothing is compiled more than once.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.infer.autoguide import AutoGuide

from vi_kl.algorithms.algorithm import Algorithm
from vi_kl.algorithms.fitting import choose_algorithm
from vi_kl.algorithms.svi.svi import SVI
from vi_kl.core.compilation import compiled
from vi_kl.families.family import Family
from vi_kl.families.guide import Guide
from vi_kl.targets.captured import captured
from vi_kl.targets.numpyro.columns import arguments_that_run
from vi_kl.targets.numpyro.constant_arguments import with_constants
from vi_kl.targets.numpyro.inspection import abstractly
from vi_kl.targets.numpyro.model import DATA, ModelError, NumPyroModel, array_or_static, is_array, require_hashable
from vi_kl.targets.target import Target


@dataclasses.dataclass(frozen=True)
class Simulation:
    """Parameters and data drawn together from a model, and the posteriors given the data.

    Attributes:
        latent: {site: (num_data_sets, ...)}, the true parameters.
        data: {site: (num_data_sets, ...)}.
        targets: one per data set, all of one structure.
    """

    latent: dict[str, np.ndarray]
    data: dict[str, np.ndarray]
    targets: list[Target]


@dataclasses.dataclass(frozen=True)
class Conditioned:
    """A model with its data sites given as its first argument, `{site: value}`."""

    model: Callable

    @property
    def __name__(self):
        return getattr(self.model, "__name__", type(self.model).__name__)

    def __call__(self, data, *args, **kwargs):
        return handlers.condition(self.model, data=data)(*args, **kwargs)


@dataclasses.dataclass(frozen=True)
class ConditionedGuide:
    """A guide with the arguments of a `Conditioned` model: its own, and data where an argument is named after it."""

    guide: Callable

    @property
    def __name__(self):
        return getattr(self.guide, "__name__", type(self.guide).__name__)

    def __call__(self, data, *args, **kwargs):
        signature = inspect.signature(self.guide)
        given = signature.bind_partial(*args, **kwargs)
        given.arguments.update({name: value for name, value in data.items() if name in signature.parameters})
        return self.guide(*given.args, **given.kwargs)


def simulate(model: Callable, args: tuple, kwargs: dict, observed: tuple[str, ...], key, num_data_sets: int):
    """Draw parameters and data sets from the model."""
    joint, arrays = joint_model(model, args, kwargs)
    joint, arrays, _ = with_constants(joint, arrays, lambda joint, arrays: inspect_joint(joint, arrays, observed))
    keys = jax.random.split(key, num_data_sets)
    joint, closed_over = captured(joint, arrays, keys[0])
    drawn = jax.tree.map(np.asarray, draw_joint(keys, (*arrays, *closed_over), joint))
    data = {name: drawn[name] for name in observed}
    first = Target.from_numpyro(Conditioned(model), {name: x[0] for name, x in data.items()}, *args, **kwargs)
    shared = first.data[len(data) :]
    columns = [data[name] for name in sorted(data)]  # in the order of a pytree's leaves
    if any(name.startswith("data[") for name in first.constants):
        rows = [dict(zip(sorted(data), row, strict=True)) for row in zip(*columns, strict=True)]
        targets = [Target.from_numpyro(Conditioned(model), row, *args, **kwargs) for row in rows]
        return Simulation({name: drawn[name] for name in first.site_names}, data, targets)
    targets = [Target(first.density, (*simulated, *shared), first.sites) for simulated in zip(*columns, strict=True)]
    return Simulation({name: drawn[name] for name in first.site_names}, data, targets)


@dataclasses.dataclass(frozen=True, eq=False)
class JointModel(NumPyroModel):
    """A model that is run forwards."""

    def model_draw(self, arrays, key) -> dict:
        """Every sample site of the model, drawn once."""
        args, kwargs = self.arguments(arrays)
        trace = handlers.trace(handlers.seed(self.model, key)).get_trace(*args, **kwargs)
        return {name: jnp.asarray(site["value"]) for name, site in trace.items() if site["type"] == "sample"}

    def programs_to_capture(self, key):
        return {"draw": (key,)}


def joint_model(model, args, kwargs) -> tuple[JointModel, tuple]:
    """The model without its arrays, and the arrays."""
    if not callable(model):
        raise TypeError(f"model must be a NumPyro model (a function), got {type(model).__name__}.")
    leaves, structure = jax.tree.flatten(arguments_that_run(model, args, kwargs))
    leaves = [array_or_static(leaf) for leaf in leaves]
    joint = JointModel(model, structure, tuple(DATA if is_array(leaf) else leaf for leaf in leaves))
    require_hashable(joint)
    return joint, tuple(leaf for leaf in leaves if is_array(leaf))


@compiled(static=("joint",), seldom=True)
def draw_joint(keys, arrays, joint: JointModel) -> dict:
    """Every sample site of the model, run once for each key."""
    return jax.vmap(lambda key: joint.run("draw", arrays, key))(keys)


def inspect_joint(joint: JointModel, arrays, observed: tuple[str, ...]) -> None:
    """Refuse, by name, what cannot be simulated; nothing is computed."""
    found = {}

    def run(arrays):
        found.clear()  # of what an earlier attempt saw
        args, kwargs = joint.arguments(arrays)
        model = handlers.substitute(handlers.seed(joint.model, 0), substitute_fn=refuse_improper)
        found.update(handlers.trace(model).get_trace(*args, **kwargs))
        return 0

    abstractly(run, arrays)
    samples = {name: site for name, site in found.items() if site["type"] == "sample"}
    for name in observed:
        require_data_site(name, found, samples)
    for name, site in samples.items():
        if site["is_observed"] and name not in observed:
            raise ModelError(conflict(name, site))
        if site["scale"] is not None:
            raise ModelError(
                f"The log probability of site '{name}' is scaled (numpyro.handlers.scale, or a subsampling plate): "
                "the model's density is then not that of the data it simulates. Calibrate it without the scale."
            )


def refuse_improper(site):
    if site["type"] != "sample" or site["is_observed"]:
        return
    fn = site["fn"]
    while isinstance(fn, dist.Independent | dist.ExpandedDistribution | dist.MaskedDistribution):
        fn = fn.base_dist
    if isinstance(fn, dist.ImproperUniform):
        raise ModelError(
            f"Latent site '{site['name']}' has an improper prior, from which no parameter can be drawn. "
            f"Give '{site['name']}' a proper prior to calibrate with."
        )


def require_data_site(name: str, found: dict, samples: dict) -> None:
    if name not in samples:
        kind = f"is a numpyro.{found[name]['type']} site" if name in found else "is not a site of the model"
        free = [site for site in samples if not samples[site]["is_observed"]]
        raise ModelError(
            f"observed names '{name}', which {kind}. Name the numpyro.sample site that is the data: one of {free}."
        )
    if samples[name]["is_observed"]:
        raise ModelError(
            f"Site '{name}' is observed already, so no data can be simulated for it. Call the model without its "
            f"data (for example {name}=None, and sizes from something else)."
        )


def conflict(name: str, site: dict) -> str:
    if isinstance(site["fn"], dist.Unit):
        return (
            f"The model adds '{name}' to its log density by numpyro.factor, which running the model forwards does "
            f"not follow: parameters drawn from it would not be draws of the prior. Write '{name}' as a distribution."
        )
    return (
        f"Site '{name}' is observed, but not named in `observed`: parameters would be drawn without regard to it and "
        f"fitted with regard to it. Call the model without the data of '{name}', and name it in `observed`."
    )


def procedure(method: Any, target: Target) -> Algorithm:
    """The algorithm that a method stands for, with guides taking the model's own arguments."""
    if isinstance(method, AutoGuide):
        refuse_autoguide(method)
    if callable(method) and not isinstance(method, type | Algorithm | Family):
        return choose_algorithm(target, ConditionedGuide(method))
    algorithm = choose_algorithm(target, method)
    if not isinstance(algorithm, SVI) or not isinstance(algorithm.family, Guide):
        return algorithm
    guide, name = algorithm.family.guide, algorithm.family.name
    if not isinstance(guide, AutoGuide):
        return dataclasses.replace(algorithm, family=Guide(ConditionedGuide(guide), name))
    if guide.model is not target.density.model:
        refuse_autoguide(guide)
    return algorithm


def refuse_autoguide(guide) -> None:
    name = type(guide).__name__
    raise ValueError(
        f"This {name} belongs to the model without its simulated data. Give the class, {name}, which is then made "
        "for the model with its data."
    )
