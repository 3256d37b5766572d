"""Components of the mixtures that q is weighed with: independent Student t's, and multivariate ones of several scales.

Multivariate normals and Student t's are in core/gaussian.py.
"""

import dataclasses
from typing import Protocol

import numpy as np
from scipy.special import gammaln, logsumexp

from vi_kl.core.gaussian import Gaussian, StudentT


class Part(Protocol):
    """A density from which points can be drawn, and which can be evaluated anywhere."""

    def sample(self, generator: np.random.Generator, n: int) -> np.ndarray:
        """Draw n points, (n, dim)."""

    def log_prob(self, z: np.ndarray) -> np.ndarray:
        """Return the log density at points (n, dim)."""


@dataclasses.dataclass(frozen=True)
class Independent:
    """A distribution of independent Student t's in a normal's whitened coordinates, with heavy tails along their axes.

    Attributes:
        normal: the normal with this location and scale.
        degrees_of_freedom: the degrees of freedom of each t.
    """

    normal: Gaussian
    degrees_of_freedom: float

    def sample(self, generator, n):
        return self.normal.unwhiten(generator.standard_t(self.degrees_of_freedom, (n, self.normal.dim)))

    def log_prob(self, z):
        return log_prob_of_independent(self.normal.whiten(z), self.degrees_of_freedom) - self.normal.log_det


def log_prob_of_independent(u: np.ndarray, nu: float) -> np.ndarray:
    """Return the log density of independent Student t's of location 0 and scale 1, at points (n, dim)."""
    constant = u.shape[1] * (gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi))
    return constant - (nu + 1) / 2 * np.log1p(u**2 / nu).sum(axis=1)


@dataclasses.dataclass(frozen=True)
class Concentric:
    """A mixture, in equal shares, of multivariate Student t's with one centre, one shape and several scales.

    Attributes:
        normal: the normal with this centre, and with the scale of the component whose scale is one.
        scales: the scales, relative to the normal's.
        degrees_of_freedom: the degrees of freedom of each t.
    """

    normal: Gaussian
    scales: tuple[float, ...]
    degrees_of_freedom: float

    def sample(self, generator, n):
        scale = np.array(self.scales)[generator.integers(len(self.scales), size=n)]
        return self.normal.unwhiten(scale[:, None] * StudentT(self.normal, self.degrees_of_freedom).noise(generator, n))

    def log_prob(self, z):
        nu, dim, scales = self.degrees_of_freedom, self.normal.dim, np.array(self.scales)
        squared = self.normal.squared_distance(z)
        each = -dim * np.log(scales) - (nu + dim) / 2 * np.log1p(squared[:, None] / (nu * scales**2))
        return StudentT(self.normal, nu).log_peak + logsumexp(each, axis=1) - np.log(len(scales))


def finite(log_values: np.ndarray) -> np.ndarray:
    """Return log densities with -inf where they are NaN or +inf: there, far out, the density is broken."""
    return np.where(np.isnan(log_values) | (log_values == np.inf), -np.inf, log_values)
