"""A target from a plain log density over z: one site, `z`, which is unconstrained already."""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class LogDensity:
    function: Callable
    takes_data: bool

    def log_density(self, data, sites):
        return self.function(sites["z"], data) if self.takes_data else self.function(sites["z"])

    def constrain(self, data, sites):
        return sites, 0.0

    def unconstrain(self, data, sites):
        return sites

    def explain(self, data, sites):
        return f"The log density {self} is not finite there: check it at a point of your choice."

    def __str__(self):
        return getattr(self.function, "__name__", "log density")
