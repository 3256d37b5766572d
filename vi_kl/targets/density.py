"""Density: the contract that every source of models fulfils, and the capabilities that a source may offer besides.

A *source* is what a Target is made from: a NumPyro model, a log density, a PyMC model, a Stan program. Each is
one subclass of `Density`. A Target holds the density and its data apart, so that the density can be a static part of
compiled code while new data of the same shape does not recompile it. So a density must be

    hashable    two densities are equal exactly where compiled code may be shared between them (`Captured` does it)
    free of data    arrays come as the argument `data`, a pytree, and never from the density itself
    pure        the same data and sites give the same numbers, without side effects
    traceable   under jax.jit, jax.vmap and jax.grad (a density that is computed outside JAX: `jax.pure_callback` inside
                a `jax.custom_vjp`)
    of two precisions    float64 where JAX has its 64-bit types switched on, as vi_kl always does, and float32 in a
                caller's own program without them
    named       `str(density)` is what tables, messages and saved files call it

Algorithms, families and diagnostics that need more than the density ask for a *capability* by its name, and never for
a class:

    if density.offers("minibatches"): ...
    require_capability(target, "supports", "Constrained")      # or an error: who lacks what, and what to do instead

`CAPABILITIES` lists them all, each with the methods and attributes that a density has that offers it. "forward" is
asked of a density, which has its data; that parameters and data can be simulated together, as `calibrate` needs, is
asked before there are data, and so of the model itself: see `vi_kl.targets.simulation`.

`Target` imports the sources that it has a constructor for. These know nothing of it: they return a density, its data
and its sites.
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import numpy as np

from vi_kl.core.errors import UnsuitableError, ViKLError


@dataclasses.dataclass(frozen=True)
class Capability:
    """An ability that a source may have beyond computing a density.

    Attributes:
        what: words to follow "does not offer".
        members: the methods and attributes that a density has that offers it.
        mend: what to do without it.
    """

    what: str
    members: Mapping[str, str]
    mend: str


CAPABILITIES = {
    "supports": Capability(
        "the support of each site",
        {"supports": "(data, sites) -> {site: NumPyro constraint}, at unconstrained sites"},
        "Fit a family that is written in z ('mean_field', 'full_rank', 'skewed'), or make the target from a NumPyro "
        "model, or from a log density of named parameters (Target.from_log_density(f, {'scale': Positive(1.0)})).",
    ),
    "priors": Capability(
        "the priors of its sites",
        {
            "log_priors": "(data, values) -> {site: log prior}, at constrained values",
            "improper_sites": "(data, values) -> names of the sites whose prior has no finite mass",
        },
        "Make the target from a NumPyro model (Target.from_numpyro).",
    ),
    "deterministic": Capability(
        "quantities computed from its sites",
        {
            "deterministic": "their names",
            "computed": "(data, sites, key data) -> {name: value}, at unconstrained sites",
        },
        "Compute them from the draws, or name them in a NumPyro model (numpyro.deterministic).",
    ),
    "minibatches": Capability(
        "minibatches of its rows (subsampling plates)",
        {
            "plates": "the plates that subsample, each with name, size and batch",
            "minibatch": "(data, sites, {plate: rows}) -> an unbiased estimate of the log density from these rows",
            "sites_of_rows": "(sites) -> the sites of a minibatch alone",
            "minibatch_of_own": "(data, own, {plate: rows}) -> the same estimate, at the sites of these rows alone",
            "constrain_own": "(data, own, {plate: rows}) -> as `constrain`, the log determinant scaled up to all rows",
            "unconstrain_own": "(data, own, {plate: rows}) -> as `unconstrain`",
        },
        "Write numpyro.plate(name, size, subsample_size=...) in a NumPyro model.",
    ),
    "numpyro_guides": Capability(
        "the arguments of a NumPyro guide",
        {
            "guide_arguments": "(data) -> (args, kwargs) of a guide; of the data as the user gave it (`split`)",
            "guide_model": "the NumPyro model for which an automatic guide is made",
        },
        "Fit one of vi_kl's own families ('mean_field', 'full_rank', 'flow'), or make the target from a NumPyro model "
        "(Target.from_numpyro).",
    ),
    "forward": Capability(
        "a model that can be run forwards",
        {
            "forward": "(data, (args, kwargs) or None for its own) -> (a `ForwardRun`, see forward.py, its arrays)",
        },
        "Compute what you need from the draws of its sites (`sample`), or make the target from a NumPyro model "
        "(Target.from_numpyro), which has the data's distribution in it.",
    ),
    "learnable": Capability(
        "parameters without a prior, to be learned with a fit",
        {
            "learnable": "their names",
            "is_learned": "whether a fit has learned them",
            "free_parameters": "(data) -> {name: free numbers}, a pytree",
            "with_free_parameters": "(data, free) -> the data with these in their place; traceable",
            "parameter_values": "(data) -> {name: value}, as the model sees it",
            "free_of_parameters": "(data, values) -> {name: free numbers} of such values",
            "at_learned": "() -> the density, its parameters no longer to be learned",
        },
        "Write them as numpyro.param in a NumPyro model.",
    ),
    "configurations": Capability(
        "discrete latent sites, summed out one configuration at a time",
        {
            "discrete": "the sites, as DiscreteSite",
            "log_joint": "(data, sites, row) -> the log density at one configuration, a row of `configurations`",
        },
        "Make the target from a NumPyro model with discrete latent sites.",
    ),
}


class Density(abc.ABC):
    """An unnormalised posterior without its data: what a source of models gives to a Target.

    In all methods, `data` is the pytree of arrays that the Target holds, and `sites` is {site name: array}, each of the
    unconstrained shape that its `Site` states; one point at a time, for vi_kl batches by `jax.vmap`.

    Attributes:
        source: the kind of source, with its article, for messages.
        capabilities: names out of `CAPABILITIES`.
        constant_arguments: {name: array} of the arrays that are part of the density and no data.
        narrow: whether the density could be traced in 32 bits only.
        float_type: "float32" where the log density is asked for in 32 bits; its sums, and all around it, are in 64.
        is_streamed: whether its rows are read in blocks, so that it is no part of a compiled program.
        deterministic: names of what is computed; empty where there are none.
        discrete: names of discrete sites that are summed out; empty where there are none.
        dims: (site, the plate of each axis, or None) of the sites whose axes the source has names for.
        coords: {name of an axis: the names of its entries}, where the source has them.
        learnable: names of its parameters without a prior; empty if there is none.
        is_learned: whether a fit has learned them, or a user has given them.
        mends: {capability: what to do without it}, where that is another thing for this source than for most.
    """

    source: ClassVar[str] = "a density"
    constant_arguments: Mapping[str, np.ndarray] = {}
    narrow: bool = False
    float_type: str = "float64"
    is_streamed: bool = False
    deterministic: tuple[str, ...] = ()
    discrete: tuple = ()
    dims: tuple[tuple[str, tuple[str | None, ...]], ...] = ()
    coords: Mapping[str, np.ndarray] = {}
    learnable: tuple[str, ...] = ()
    is_learned: bool = False
    mends: Mapping[str, str] = {}

    # Fulfilled by every source ---------------------------------------------------------------------------------

    @abc.abstractmethod
    def log_density(self, data: Any, sites: dict) -> jax.Array:
        """Return log(prior x likelihood x |d constrained / d unconstrained|), a scalar; any constant may be missing."""

    @abc.abstractmethod
    def constrain(self, data: Any, sites: dict) -> tuple[dict, jax.Array]:
        """Return {site: the value that the model sees}, and log |d constrained / d unconstrained|, a scalar."""

    @abc.abstractmethod
    def unconstrain(self, data: Any, sites: dict) -> dict:
        """Return the inverse of `constrain`: {site: unconstrained array} of {site: constrained array}."""

    @abc.abstractmethod
    def explain(self, data: Any, sites: dict) -> str:
        """Say in a sentence which part of the density is not finite at these unconstrained sites (concrete arrays)."""

    # Of a source that says nothing else ----------------------------------------------------------------------------

    @property
    def capabilities(self) -> frozenset[str]:
        """The names of the capabilities that the source offers."""
        return frozenset()

    @property
    def constants(self) -> tuple[str, ...]:
        """The names of the arrays that are part of the density and no data."""
        return tuple(self.constant_arguments)

    def offers(self, capability: str) -> bool:
        """Return whether the density has the members of this capability.

        Raises:
            KeyError: There is no capability of this name.
        """
        if capability not in CAPABILITIES:
            raise KeyError(f"No capability is called '{capability}': there are {', '.join(CAPABILITIES)}.")
        return capability in self.capabilities

    @property
    def description(self) -> str:
        """The first line of what the model says about itself; empty where it says nothing."""
        return ""

    def split(self, data: Any) -> tuple[Any, tuple]:
        """Return the data that the user has given, and the arrays that the model reads besides."""
        return data, ()

    def rows_of(self, data: Any) -> dict:
        """Return the rows that sites, and so guides, are restricted to, {plate: indices}; none for a whole target."""
        return {}

    def complete(self, data: Any) -> Any:
        """Return the data with the arrays that the model reads besides, where they are given without them."""
        return data


def lacking(density: Density, capability: str, user: str) -> str:
    """Say which source lacks which capability, for whom, and what to do; "" if it offers it."""
    if density.offers(capability):
        return ""
    needed = CAPABILITIES[capability]
    mend = density.mends.get(capability, needed.mend)
    return f"{user} needs {needed.what}, which '{density}', {density.source}, does not offer. {mend}"


def require_capability(target, capability: str, user: str, error: type[ViKLError] = UnsuitableError) -> None:
    """Raise an error unless the target's source offers a capability.

    Args:
        target: a Target.
        capability: a name in `CAPABILITIES`.
        user: who needs it, as the message begins.
        error: the kind of error to raise.
    """
    message = lacking(target.density, capability, user)
    if message:
        raise error(message)


@dataclasses.dataclass(frozen=True)
class DerivedDensity(Density):
    """A density over the sites of a given one, which passes on what does not depend on the change.

    Attributes:
        density: the given one.
    """

    density: Any  # a Density with whatever capabilities
    kept: ClassVar[frozenset[str]] = frozenset({"supports", "priors", "deterministic", "numpyro_guides"})

    def given(self, data: Any) -> Any:
        """Return the given density's data, which are part of one's own."""
        return data

    @property
    def source(self) -> str:
        return self.density.source

    @property
    def capabilities(self):
        return self.density.capabilities & self.kept

    @property
    def constant_arguments(self):
        return self.density.constant_arguments

    @property
    def narrow(self):
        return self.density.narrow

    @property
    def float_type(self):
        return self.density.float_type

    @property
    def deterministic(self):
        return self.density.deterministic

    @property
    def discrete(self):
        return self.density.discrete

    @property
    def dims(self):
        return self.density.dims

    @property
    def coords(self):
        return self.density.coords

    @property
    def mends(self):
        return self.density.mends

    @property
    def learnable(self):
        return self.density.learnable

    @property
    def is_learned(self):
        return self.density.is_learned

    @property
    def description(self):
        return self.density.description

    @property
    def guide_model(self):
        return self.density.guide_model

    def constrain(self, data, sites):
        return self.density.constrain(self.given(data), sites)

    def unconstrain(self, data, sites):
        return self.density.unconstrain(self.given(data), sites)

    def explain(self, data, sites):
        return self.density.explain(self.given(data), sites)

    def split(self, data):
        return self.density.split(self.given(data))

    def supports(self, data, sites):
        return self.density.supports(self.given(data), sites)

    def log_priors(self, data, values):
        return self.density.log_priors(self.given(data), values)

    def improper_sites(self, data, values):
        return self.density.improper_sites(self.given(data), values)

    def computed(self, data, sites, key):
        return self.density.computed(self.given(data), sites, key)

    def guide_arguments(self, data):
        return self.density.guide_arguments(data)

    def __str__(self):
        return str(self.density)
