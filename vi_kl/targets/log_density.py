"""A target from a plain log density over z: one site, `z`, which is unconstrained already."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from vi_kl.core.precision import in_float64
from vi_kl.targets.captured import Captured, captured
from vi_kl.targets.numpyro.constant_arguments import Constant, with_constants
from vi_kl.targets.target import Site, Target


class WithClosedOver(NamedTuple):
    """Data of a function that closes over arrays: what it is called with, and those."""

    given: Any
    closed_over: tuple


@dataclasses.dataclass(frozen=True, eq=False)
class LogDensity(Captured):
    """A log density over z as a density: its data are what it is called with, and the arrays that it closes over."""

    function: Callable
    takes_data: bool
    fixed: tuple[tuple[int, Constant], ...] = ()

    def log_density(self, data, sites):
        return self.run("log_density", data, sites)

    def model_log_density(self, data, sites):
        return self.function(sites["z"], self.whole(data)) if self.takes_data else self.function(sites["z"])

    def whole(self, data):
        """The data with the constants among it, whose places hold None, put back."""
        leaves, structure = jax.tree.flatten(data, is_leaf=lambda leaf: leaf is None)
        for i, constant in self.fixed:
            leaves[i] = constant.value
        return jax.tree.unflatten(structure, leaves)

    def with_fixed(self, data, which: frozenset, as_numpy: bool) -> tuple["LogDensity", Any]:
        """The density with these leaves of its data as constants, and the data without them."""
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
    def constants(self) -> tuple[str, ...]:
        return tuple(self.constant_arguments)

    def split(self, data):
        return tuple(data) if isinstance(data, WithClosedOver) else (data, ())

    def complete(self, data):
        if self.closed_over and not isinstance(data, WithClosedOver):
            return WithClosedOver(data, self.closed_over)
        return data

    def programs_to_capture(self, sites):
        return {"log_density": ({site.name: jax.ShapeDtypeStruct(site.shape, float) for site in sites},)}

    def constrain(self, data, sites):
        return sites, 0.0

    def unconstrain(self, data, sites):
        return sites

    def explain(self, data, sites):
        return f"The log density {self} is not finite there: check it at a point of your choice."

    def __str__(self):
        return getattr(self.function, "__name__", "log density")


@in_float64
def target_from_log_density(function: Callable, dim: int, data, reference) -> Target:
    from vi_kl.targets.numpyro.checks import check_log_density, refuse_no_log_density

    def checked(density, data):
        check_log_density(density, data, dim)
        return captured(density, data, sites)

    refuse_no_log_density(function, data is not None)
    sites = (Site("z", (dim,), (dim,)),)
    _, data, (density, _) = with_constants(LogDensity(function, data is not None), data, checked)
    return Target(density, data, sites, reference)
