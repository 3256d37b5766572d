"""The normal distribution around a point, and Student's t with its location and scale: one density, one way to whiten.

Every normal of vi_kl that is not a NumPyro distribution is a `Gaussian`: the frame of a fit, the curvature at a mode,
the moments of draws, a proposal. With z = loc + S u, "whitened" is u: standard normal if z is normal. How S is stored
is up to its scale (scales.py).
"""

import dataclasses
import math

import numpy as np
from jaxtyping import ArrayLike, Bool, Float
from scipy.special import gammaincinv

from vi_kl.core.annotations import AnyArray, Values
from vi_kl.core.cholesky import tril_of_covariance
from vi_kl.core.pytrees import pytree
from vi_kl.core.scales import Diagonal, Scale, Triangular, Vectors, namespace, scale_of

FEWEST_CORRELATED = 1e-10  # ratio of a correlation matrix's eigenvalues, below which draws do not span the space


@pytree
class Gaussian:
    """A normal distribution N(loc, S S'), as a pytree.

    Attributes:
        loc: the mean, of shape (dim,).
        scale: S.
    """

    loc: Float[AnyArray, " dim"]
    scale: Scale

    @classmethod
    def of(cls, loc: Float[ArrayLike, " dim"], factor: ArrayLike) -> "Gaussian":
        """Return the normal with this mean, and sds (dim,) or a Cholesky factor of the covariance (dim, dim)."""
        return cls(np.asarray(loc, float), scale_of(np.asarray(factor, float)))

    @classmethod
    def of_covariance(cls, loc: Float[ArrayLike, " dim"], covariance: ArrayLike) -> "Gaussian":
        """Return the normal with this mean and covariance, which is positive definite up to rounding.

        Raises:
            LinAlgError: a variance is not positive, or an entry is not finite.
        """
        return cls.of(loc, tril_of_covariance(np.asarray(covariance, float)))

    @property
    def dim(self) -> int:
        return self.scale.dim

    # Coordinates ------------------------------------------------------------------------------------------------

    def unwhiten(self, u: Vectors) -> Vectors:
        """Return z = loc + S u, for u of shape (..., dim)."""
        return self.loc + self.scale.apply(u)

    def whiten(self, z: Vectors) -> Vectors:
        """Return u = S^-1 (z - loc), for z of shape (..., dim)."""
        return self.scale.solve(z - self.loc)

    def squared_distance(self, z: Vectors) -> Float[AnyArray, "*batch"]:
        """Return |u|^2 at z of shape (..., dim): the squared distance from the mean, in sds."""
        return (self.whiten(z) ** 2).sum(axis=-1)

    def holds(self, z: Vectors, mass: float) -> Bool[AnyArray, "*batch"]:
        """Return whether z lies in the ellipsoid of highest density that holds this share of the mass."""
        # the squared distance is chi-squared distributed; scipy.stats, which has its quantiles, is slow to import
        return self.squared_distance(z) <= 2 * gammaincinv(0.5 * self.dim, mass)

    # The density ------------------------------------------------------------------------------------------------

    @property
    def log_det(self) -> Values:
        """The log of |det S|: half the log determinant of the covariance."""
        return self.scale.log_det

    @property
    def log_volume(self) -> Values:
        """The log of the integral of exp(-|u|^2 / 2) over z."""
        return self.log_det + 0.5 * self.dim * math.log(2 * math.pi)

    @property
    def entropy(self) -> Values:
        """The entropy in nats."""
        return self.log_volume + 0.5 * self.dim

    def log_prob(self, z: Vectors) -> Float[AnyArray, "*batch"]:
        """Return the log density at z of shape (..., dim)."""
        return -0.5 * self.squared_distance(z) - self.log_volume

    def sample(self, generator: np.random.Generator, n: int) -> Float[np.ndarray, "n dim"]:
        """Draw n values of z. In a compiled program, unwhiten noise."""
        return np.asarray(self.unwhiten(generator.standard_normal((n, self.dim))))

    def kl(self, other: "Gaussian") -> Values:
        """Return KL(self||other) in nats.

        With d the difference of the two scales in the other's units, as triangular matrices, it is half of the sum
        of squares of d and of the shift, and of d - log(1 + d) along the diagonal: nothing cancels, however near
        the two are.
        """
        d, shift = change(self.scale, other.scale), other.whiten(self.loc)
        xp = namespace(d, shift)
        diagonal = d if d.ndim == 1 else xp.diagonal(d)
        return 0.5 * ((d**2).sum() + (shift**2).sum()) + (diagonal - xp.log1p(diagonal)).sum()

    # Moments ----------------------------------------------------------------------------------------------------

    @property
    def covariance(self) -> Float[AnyArray, "dim dim"]:
        """The covariance matrix."""
        return self.scale.covariance

    @property
    def precision(self) -> Float[AnyArray, "dim dim"]:
        """The inverse of the covariance matrix."""
        return self.scale.precision

    @property
    def sd(self) -> Float[AnyArray, " dim"]:
        """The sd of each coordinate."""
        return self.scale.sd

    @property
    def conditional_sd(self) -> Float[AnyArray, " dim"]:
        """The sd of each coordinate given all others: 1 / sqrt of the precision's diagonal."""
        return self.scale.conditional_sd

    def scaled(self, factor: float) -> "Gaussian":
        """Return this normal with its scale multiplied by `factor`."""
        return Gaussian(self.loc, self.scale.times(factor))


def change(p: Scale, q: Scale) -> AnyArray:
    """Return q^-1 (p - q), with both as Cholesky factors; its diagonal alone where both scales are diagonal."""
    if isinstance(p, Diagonal) and isinstance(q, Diagonal):
        return (p.sds - q.sds) / q.sds
    triangular = Triangular(q.tril)
    return triangular.solve((p.tril - triangular.root).T).T


def gaussian_of_draws(z: Float[np.ndarray, "n dim"]) -> Gaussian | None:
    """Return the normal with the mean and covariance of draws; None if the draws do not span the space.

    The factor is computed from the correlations, so that scales do not matter.
    """
    if len(z) <= z.shape[1]:
        return None
    sd = z.std(axis=0, ddof=1)
    if not np.isfinite(sd).all() or (sd == 0).any():
        return None
    correlation = np.atleast_2d(np.corrcoef(z, rowvar=False))
    values = np.linalg.eigvalsh(correlation)
    if values[0] < FEWEST_CORRELATED * values[-1]:
        return None
    return Gaussian(z.mean(axis=0), Triangular(sd[:, None] * np.linalg.cholesky(correlation)))


@pytree
class StudentT:
    """A multivariate Student t: the normal's location and scale, and heavier tails, all directions sharing one.

    Attributes:
        normal: the normal that it tends to as the degrees of freedom grow.
        degrees_of_freedom: a positive number, the same in every run of a compiled program.
    """

    normal: Gaussian
    degrees_of_freedom: float = dataclasses.field(metadata={"static": True})

    @property
    def dim(self) -> int:
        return self.normal.dim

    @property
    def log_peak(self) -> Values:
        """The log density at the location."""
        nu, dim = self.degrees_of_freedom, self.dim
        constant = math.lgamma((nu + dim) / 2) - math.lgamma(nu / 2) - 0.5 * dim * math.log(nu * math.pi)
        return constant - self.normal.log_det

    def log_prob(self, z: Vectors) -> Float[AnyArray, "*batch"]:
        """Return the log density at z of shape (..., dim)."""
        nu, squared = self.degrees_of_freedom, self.normal.squared_distance(z)
        return self.log_peak - 0.5 * (nu + self.dim) * namespace(squared).log1p(squared / nu)

    def gradient(self, z: Vectors) -> Vectors:
        """Return the gradient of the log density at z of shape (..., dim)."""
        nu, u = self.degrees_of_freedom, self.normal.whiten(z)
        weight = (nu + self.dim) / (nu + (u**2).sum(axis=-1, keepdims=True))
        return self.normal.scale.solve_transpose(-weight * u)

    def sample(self, generator: np.random.Generator, n: int) -> Float[np.ndarray, "n dim"]:
        """Draw n values of z."""
        return np.asarray(self.normal.unwhiten(self.noise(generator, n)))

    def noise(self, generator: np.random.Generator, n: int) -> Float[np.ndarray, "n dim"]:
        """Draw n values of z in whitened coordinates."""
        u = generator.standard_normal((n, self.dim))
        return u / np.sqrt(generator.chisquare(self.degrees_of_freedom, (n, 1)) / self.degrees_of_freedom)
