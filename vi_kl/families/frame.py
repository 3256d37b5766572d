"""Frame: a first, normal guess of the posterior, in whose units families are fitted.

In these units a posterior that is near the guess is near a standard normal, whatever the scales and correlations of
the model's parameters are: predictors need not be standardised, and one step size serves every model.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float

from vi_kl.core.annotations import AnyArray
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.scales import scale_of


class Frame(NamedTuple):
    """A normal distribution N(loc, scale_tril scale_tril') as it is saved and handed to compiled programs: a pytree.

    Its density, draws, whitened coordinates and moments are those of `normal`. The conditional sds are stored beside
    it, since they take a solution with the whole matrix, and every step of an optimiser needs them.

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
        return cls(loc, scale_tril, Gaussian.of(loc, scale_tril).conditional_sd)

    @classmethod
    def around(cls, loc: Float[ArrayLike, " dim"], scale: float) -> "Frame":
        """Return the frame of independent coordinates with one scale."""
        return cls.of(loc, np.full(np.shape(loc), scale))

    @property
    def normal(self) -> Gaussian:
        """The normal distribution that the frame is."""
        return Gaussian(self.loc, scale_of(self.scale_tril))

    @property
    def dim(self) -> int:
        return self.loc.shape[0]

    def scaled(self, factor: float) -> "Frame":
        """Return this frame with its scale multiplied by `factor`."""
        return Frame(self.loc, factor * self.scale_tril, factor * self.conditional_sd)

    def point(self, u: Float[AnyArray, " dim"]) -> Float[AnyArray, " dim"]:
        """Return z = loc + scale_tril u, for u of shape (..., dim)."""
        return self.normal.unwhiten(u)

    def matrix(self, matrix: Float[AnyArray, "dim k"]) -> Float[AnyArray, "dim k"]:
        """Return scale_tril @ matrix, which is lower triangular if the matrix is."""
        return self.normal.scale.matmul(matrix)
