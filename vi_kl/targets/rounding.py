"""Rounding: how far a log density that is computed in float32 is from the same one in float64."""

import dataclasses

import numpy as np

from vi_kl.core.precision import in_float64
from vi_kl.targets.density import DerivedDensity
from vi_kl.targets.target import Target, log_density_in_chunks

POINTS = 64  # draws at which the two are compared


@dataclasses.dataclass(frozen=True)
class In64Bits(DerivedDensity):
    """The density computed in float64 throughout."""

    @property
    def float_type(self):  # type: ignore[override]
        return "float64"

    def log_density(self, data, sites):
        return self.density.run("log_density_in_64_bits", data, sites)


@in_float64
def rounding_errors(target: Target, z: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    """Return the errors of log densities in float32, in nats, (n,); z is (n, dim), log_p their values there."""
    exact = Target(In64Bits(target.density), target.data, target.sites)
    return log_p - log_density_in_chunks(exact, z, size=POINTS)
