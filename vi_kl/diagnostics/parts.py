"""Components of the mixtures that q is weighed with: independent Student t's, and multivariate ones of several scales.

Multivariate normals and Student t's are in core/student.py.
"""

import dataclasses
from typing import Protocol

import numpy as np
from scipy.special import gammaln, logsumexp

from vi_kl.core.student import Student


class Part(Protocol):
    """A density from which points can be drawn, and which can be evaluated anywhere."""

    def sample(self, generator: np.random.Generator, n: int) -> np.ndarray:
        """Draw n points, (n, dim)."""

    def log_prob(self, z: np.ndarray) -> np.ndarray:
        """Return the log density at points (n, dim)."""


@dataclasses.dataclass(frozen=True)
class Independent:
    """The distribution of z = mean + tril u with independent Student t's u: its heavy tails lie along the axes of u.

    Attributes:
        mean: the centre, (dim,).
        tril: the scale matrix, (dim, dim).
        degrees_of_freedom: the degrees of freedom of each t.
    """

    mean: np.ndarray
    tril: np.ndarray
    degrees_of_freedom: float

    def sample(self, generator, n):
        return self.mean + generator.standard_t(self.degrees_of_freedom, (n, len(self.mean))) @ self.tril.T

    def log_prob(self, z):
        u = (z - self.mean) @ np.linalg.inv(self.tril).T
        return log_prob_of_independent(u, self.degrees_of_freedom) - np.linalg.slogdet(self.tril)[1]


def log_prob_of_independent(u: np.ndarray, nu: float) -> np.ndarray:
    """Return the log density of independent Student t's of location 0 and scale 1, at points (n, dim)."""
    constant = u.shape[1] * (gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi))
    return constant - (nu + 1) / 2 * np.log1p(u**2 / nu).sum(axis=1)


@dataclasses.dataclass(frozen=True)
class Concentric:
    """A mixture, in equal shares, of multivariate Student t's with one centre, one shape and several scales.

    Attributes:
        mean: the centre, (dim,).
        tril: the Cholesky factor of the scale matrix of the component with scale one, (dim, dim).
        scales: the scales, relative to `tril`.
        degrees_of_freedom: the degrees of freedom of each t.
    """

    mean: np.ndarray
    tril: np.ndarray
    scales: tuple[float, ...]
    degrees_of_freedom: float

    def sample(self, generator, n):
        scale = np.array(self.scales)[generator.integers(len(self.scales), size=n)]
        narrow = Student(np.zeros(len(self.mean)), self.tril, self.degrees_of_freedom).sample(generator, n)
        return self.mean + scale[:, None] * narrow

    def log_prob(self, z):
        nu, dim, scales = self.degrees_of_freedom, len(self.mean), np.array(self.scales)
        at_mean = Student(self.mean, self.tril, nu).log_prob(self.mean[None])[0]
        squared = (((z - self.mean) @ np.linalg.inv(self.tril).T) ** 2).sum(axis=1)
        each = -dim * np.log(scales) - (nu + dim) / 2 * np.log1p(squared[:, None] / (nu * scales**2))
        return at_mean + logsumexp(each, axis=1) - np.log(len(scales))
