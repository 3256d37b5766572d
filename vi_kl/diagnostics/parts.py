"""Densities that are laid beside q: independent Student t's, and multivariate ones of several scales around one mean.

Multivariate normals and Student t's are in core/student.py.
"""

import dataclasses
from typing import Protocol

import numpy as np
from scipy.special import gammaln, logsumexp

from vi_kl.core.student import Student


class Part(Protocol):
    """A density that can be drawn from, and evaluated anywhere."""

    def sample(self, generator: np.random.Generator, n: int) -> np.ndarray:
        """n draws, (n, dim)."""

    def log_prob(self, z: np.ndarray) -> np.ndarray:
        """At points (n, dim)."""


@dataclasses.dataclass(frozen=True)
class Independent:
    """z = mean + tril u with independent Student t's u: tails along the axes, where a multivariate t has none.

    Attributes:
        mean: (dim,).
        tril: (dim, dim).
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
    """The log density of independent Student t's of location 0 and scale 1, at points (n, dim)."""
    constant = u.shape[1] * (gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi))
    return constant - (nu + 1) / 2 * np.log1p(u**2 / nu).sum(axis=1)


@dataclasses.dataclass(frozen=True)
class Concentric:
    """Multivariate Student t's around one mean, of one shape and several scales, in equal shares.

    Attributes:
        mean: (dim,).
        tril: of the one with scale one, (dim, dim).
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
