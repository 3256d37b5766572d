"""Frame: a first, normal guess of the posterior, in whose units families are fitted.

In these units a posterior that is near the guess is near a standard normal, whatever the scales and correlations of
the model's parameters are: predictors need not be standardised, and one step size serves every model.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from vi_kl.core.annotations import AnyArray


class Frame(NamedTuple):
    """A normal distribution N(loc, scale_tril scale_tril'), as a pytree.

    Attributes:
        loc: the mean, of shape (dim,).
        scale_tril: the Cholesky factor of the covariance, (dim, dim); or (dim,), the standard deviations of independent
            coordinates, for more dimensions than a matrix is worth.
        conditional_sd: the sd of each coordinate given all others, (dim,): 1 / sqrt of the precision's diagonal.
    """

    loc: Float[AnyArray, " dim"]
    scale_tril: Float[AnyArray, "dim dim"] | Float[AnyArray, " dim"]
    conditional_sd: Float[AnyArray, " dim"]

    @classmethod
    def of(cls, loc: Float[ArrayLike, " dim"], scale_tril: ArrayLike) -> "Frame":
        """Return the frame with this location and Cholesky factor, or sds of independent coordinates."""
        loc, scale_tril = np.asarray(loc, float), np.asarray(scale_tril, float)
        if scale_tril.ndim == 1:
            return cls(loc, scale_tril, scale_tril)
        inverse = np.linalg.inv(scale_tril)
        return cls(loc, scale_tril, 1 / np.sqrt((inverse**2).sum(axis=0)))

    @classmethod
    def around(cls, loc: Float[ArrayLike, " dim"], scale: float) -> "Frame":
        """Return the frame of independent coordinates with one scale."""
        return cls.of(loc, np.full(np.shape(loc), scale))

    def scaled(self, factor: float) -> "Frame":
        """Return this frame with its scale multiplied by `factor`."""
        return Frame(self.loc, factor * self.scale_tril, factor * self.conditional_sd)

    @property
    def dim(self) -> int:
        return self.loc.shape[0]

    def point(self, u: Float[AnyArray, " dim"]) -> Float[AnyArray, " dim"]:
        """Return z = loc + scale_tril u, for one u of shape (dim,)."""
        return self.loc + (self.scale_tril * u if self.scale_tril.ndim == 1 else self.scale_tril @ u)

    def matrix(self, matrix: Float[AnyArray, "dim k"]) -> Float[AnyArray, "dim k"]:
        """Return scale_tril @ matrix, which is lower triangular if the matrix is."""
        return self.scale_tril[:, None] * matrix if self.scale_tril.ndim == 1 else self.scale_tril @ matrix

    @property
    def precision(self) -> Float[np.ndarray, "dim dim"]:
        """The inverse covariance, (dim, dim)."""
        if self.scale_tril.ndim == 1:
            return np.diag(1 / np.asarray(self.scale_tril) ** 2)
        inverse = np.linalg.inv(np.asarray(self.scale_tril))
        return inverse.T @ inverse

    @property
    def full_tril(self) -> Float[AnyArray, "dim dim"]:
        """The factor `scale_tril` as a matrix, whether it is stored as one or not."""
        return jnp.diag(self.scale_tril) if self.scale_tril.ndim == 1 else self.scale_tril
