"""Normal and Student-t densities around a point, for annealing, for scouts of modes and for defensive mixtures."""

import dataclasses

import numpy as np
from scipy.special import gammaln


@dataclasses.dataclass(frozen=True)
class Student:
    """A multivariate Student t, or a normal where `degrees_of_freedom` is infinite.

    Attributes:
        mean: the mean, of shape (dim,).
        tril: a factor of the scale matrix, of shape (dim, dim).
    """

    mean: np.ndarray
    tril: np.ndarray
    degrees_of_freedom: float = np.inf

    def log_prob(self, z: np.ndarray) -> np.ndarray:
        """Return the log density at points of shape (n, dim)."""
        dim, nu = len(self.mean), self.degrees_of_freedom
        squared = (((z - self.mean) @ np.linalg.inv(self.tril).T) ** 2).sum(axis=1)
        log_det = np.linalg.slogdet(self.tril)[1]
        if np.isinf(nu):
            return -0.5 * squared - log_det - 0.5 * dim * np.log(2 * np.pi)
        constant = gammaln((nu + dim) / 2) - gammaln(nu / 2) - dim / 2 * np.log(nu * np.pi)
        return constant - log_det - (nu + dim) / 2 * np.log1p(squared / nu)

    def sample(self, generator: np.random.Generator, n: int) -> np.ndarray:
        u = generator.standard_normal((n, len(self.mean)))
        if not np.isinf(self.degrees_of_freedom):
            u /= np.sqrt(generator.chisquare(self.degrees_of_freedom, (n, 1)) / self.degrees_of_freedom)
        return self.mean + u @ self.tril.T


def moments_of_draws(z: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the mean and a factor of the covariance of draws (n, dim); None if the draws do not span the space.

    The factor is computed from the correlations, so that scales do not matter.
    """
    sd = z.std(axis=0, ddof=1)
    if not np.isfinite(sd).all() or (sd == 0).any():
        return None
    correlation = np.atleast_2d(np.corrcoef(z, rowvar=False))
    values = np.linalg.eigvalsh(correlation)
    if values[0] < 1e-10 * values[-1]:
        return None
    return z.mean(axis=0), sd[:, None] * np.linalg.cholesky(correlation)
