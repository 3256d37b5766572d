"""A NumPyro model run forwards: parameters and data drawn together, and the posterior given each data set.

Requires latent sites that all have proper priors, and a model that is called without its data.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers

from vi_kl.core.compilation import compiled
from vi_kl.core.errors import ModelError
from vi_kl.core.programs.program import abstractly
from vi_kl.targets.captured import captured
from vi_kl.targets.constant_arguments import with_constants
from vi_kl.targets.numpyro.model import NumPyroModel, split_data
from vi_kl.targets.target import Target


class NumPyroSimulator:
    """A simulator that runs a NumPyro model forwards (see `vi_kl.targets.simulation.Simulator`)."""

    def __init__(self, model: Callable, args: tuple, kwargs: dict, observed: tuple[str, ...]):
        self.model, self.args, self.kwargs = model, args, kwargs
        joint, arrays = split_data(model, args, kwargs, JointModel)
        found = with_constants(joint, arrays, lambda joint, arrays: inspect_joint(joint, arrays, observed))
        self.joint, self.arrays, _ = found

    def draw(self, key, num: int) -> dict[str, np.ndarray]:
        keys = jax.random.split(key, num)
        joint, closed_over = captured(self.joint, self.arrays, keys[0])
        return jax.tree.map(np.asarray, draw_joint(keys, (*self.arrays, *closed_over), joint))

    def posteriors(self, data: dict[str, np.ndarray]) -> list[Target]:
        first = self.posterior({name: x[0] for name, x in data.items()})
        columns = [data[name] for name in sorted(data)]  # in the order of a pytree's leaves
        rows = list(zip(*columns, strict=True))
        if any(name.startswith("data[") for name in first.constants):
            return [self.posterior(dict(zip(sorted(data), row, strict=True))) for row in rows]
        shared = first.data[len(data) :]
        return [Target(first.density, (*row, *shared), first.sites) for row in rows]

    def posterior(self, data: dict) -> Target:
        return Target.from_numpyro(Conditioned(self.model), data, *self.args, **self.kwargs)

    def draw_given(self, latent: dict[str, np.ndarray], key) -> dict[str, np.ndarray]:
        """Return the data of one run with each of the latent values {site: (num, ...)}."""
        num = len(next(iter(latent.values())))
        replicating = ReplicatingModel(Replicating(self.model), self.joint.structure, self.joint.static)
        keys = jax.random.split(key, num)
        one = jax.tree.map(lambda x: x[0], latent)
        joint, closed_over = captured(replicating, self.arrays, keys[0], one)
        return jax.tree.map(np.asarray, draw_joint(keys, (*self.arrays, *closed_over), joint, (latent,)))

    def augmented(self, data: dict[str, np.ndarray], given: dict[str, np.ndarray]) -> list[Target]:
        """Return the posterior given the data that were seen and each of the data sets {observed site: (num, ...)}."""
        names = sorted(data)  # in the order of a pytree's leaves
        rows = [dict(zip(names, row, strict=True)) for row in zip(*(data[name] for name in names), strict=True)]

        def posterior(row: dict) -> Target:
            return Target.from_numpyro(Augmented(self.model), {"again": row, "given": given}, *self.args, **self.kwargs)

        first = posterior(rows[0])
        if any(name.startswith("data[") for name in first.constants):
            return [posterior(row) for row in rows]
        shared = first.data[len(names) :]  # "again" comes first among the leaves
        return [Target(first.density, (*(row[name] for name in names), *shared), first.sites) for row in rows]


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
class Replicating:
    """A model whose first argument is its latent sites' values."""

    model: Callable

    def __call__(self, latent, *args, **kwargs):
        return handlers.substitute(self.model, data=latent)(*args, **kwargs)


@dataclasses.dataclass(frozen=True)
class Augmented:
    """A model of the data that were seen and, with the same latent sites, of data that were simulated.

    Its first argument is {"given": {site: value}, "again": {site: value}}.
    """

    model: Callable

    @property
    def __name__(self):
        return getattr(self.model, "__name__", type(self.model).__name__)

    def __call__(self, data, *args, **kwargs):
        first = handlers.trace(handlers.condition(self.model, data=data["given"]))
        first.get_trace(*args, **kwargs)
        latent = {
            name: site["value"]
            for name, site in first.trace.items()
            if site["type"] == "sample" and not site["is_observed"]
        }
        with handlers.block():
            second = handlers.trace(handlers.condition(self.model, data={**latent, **data["again"]}))
            sites = second.get_trace(*args, **kwargs)
        for name, value in data["again"].items():
            numpyro.sample(f"{name} again", sites[name]["fn"], obs=value)


@dataclasses.dataclass(frozen=True, eq=False)
class JointModel(NumPyroModel):
    """A model that is run forwards."""

    def model_draw(self, arrays, key) -> dict:
        """Draw every sample site of the model once."""
        args, kwargs = self.arguments(arrays)
        trace = handlers.trace(handlers.seed(self.model, key)).get_trace(*args, **kwargs)
        return {name: jnp.asarray(site["value"]) for name, site in trace.items() if site["type"] == "sample"}

    def programs_to_capture(self, key):
        return {"draw": (key,)}


@dataclasses.dataclass(frozen=True, eq=False)
class ReplicatingModel(NumPyroModel):
    """A model that is run forwards from given latent values."""

    def model_draw(self, arrays, key, latent) -> dict:
        """Draw the sites that are not among the latent ones."""
        args, kwargs = self.arguments(arrays)
        trace = handlers.trace(handlers.seed(self.model, key)).get_trace(latent, *args, **kwargs)
        return {
            name: jnp.asarray(site["value"])
            for name, site in trace.items()
            if site["type"] == "sample" and name not in latent
        }

    def programs_to_capture(self, key, latent):  # type: ignore[override]  # what a run forwards takes
        return {"draw": (key, latent)}


@compiled(static=("joint",), unoptimized=True)
def draw_joint(keys, arrays, joint: NumPyroModel, given: tuple = ()) -> dict:
    """Draw the sample sites of the model once for each key, and each of what is given besides."""
    return jax.vmap(lambda key, *given: joint.run("draw", arrays, key, *given))(keys, *given)


def inspect_joint(joint: JointModel, arrays, observed: tuple[str, ...]) -> None:
    """Refuse, by name, what cannot be simulated; nothing is computed."""
    found = {}

    def run(arrays):
        found.clear()  # an earlier attempt may have left something
        args, kwargs = joint.arguments(arrays)
        model = handlers.substitute(handlers.seed(joint.model, 0), substitute_fn=refuse_improper)
        found.update(handlers.trace(model).get_trace(*args, **kwargs))
        return 0

    abstractly(run, arrays)
    for name, site in found.items():
        if site["type"] == "param":
            raise ModelError(
                f"The model has a parameter '{name}' without a prior, of which nothing can be drawn: calibrate it at "
                f"given parameters, passed as arguments."
            )
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
