"""A target from a plain log density over z: one site, `z`, which is unconstrained already."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from vi_kl.precision import in_float64
from vi_kl.target.captured import Captured, captured
from vi_kl.target.target import Site, Target


class WithClosedOver(NamedTuple):
    """Data of a function that closes over arrays: what it is called with, and those."""

    given: Any
    closed_over: tuple


@dataclasses.dataclass(frozen=True, eq=False)
class LogDensity(Captured):
    """A log density over z as a density: its data are what it is called with, and the arrays that it closes over."""

    function: Callable
    takes_data: bool

    def log_density(self, data, sites):
        return self.run("log_density", data, sites)

    def model_log_density(self, data, sites):
        return self.function(sites["z"], data) if self.takes_data else self.function(sites["z"])

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
def target_from_log_density(function: Callable, dim: int, data, truth) -> Target:
    sites = (Site("z", (dim,), (dim,)),)
    density, _ = captured(LogDensity(function, data is not None), data, sites)
    return Target(density, data, sites, truth)
