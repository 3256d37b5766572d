"""Densities that are laid beside q: independent Student t's, and mixtures of any that can be drawn from and evaluated.

Multivariate normals and Student t's are in truth/student.py.
"""

import dataclasses
from typing import Protocol

import numpy as np
from scipy.special import gammaln


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
        nu, dim = self.degrees_of_freedom, len(self.mean)
        u = np.linalg.solve(self.tril, (z - self.mean).T)
        constant = dim * (gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi))
        return constant - np.linalg.slogdet(self.tril)[1] - (nu + 1) / 2 * np.log1p(u**2 / nu).sum(axis=0)


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Of parts, in equal shares."""

    parts: tuple[Part, ...]

    def sample(self, generator, n):
        counts = generator.multinomial(n, np.full(len(self.parts), 1 / len(self.parts)))
        drawn = [part.sample(generator, count) for part, count in zip(self.parts, counts, strict=True)]
        return generator.permutation(np.concatenate(drawn))

    def log_prob(self, z):
        return np.logaddexp.reduce([part.log_prob(z) for part in self.parts]) - np.log(len(self.parts))
