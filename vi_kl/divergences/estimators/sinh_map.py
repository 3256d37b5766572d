"""Coordinates that follow the draws of a distribution, for integrals over it."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from vi_kl.core.gaussian import Gaussian
from vi_kl.divergences.estimators.quadrature import NotApplicable

CLIP = 4.0  # distance from the median, in spreads, at which a draw stops counting more for the correlations


class SinhMap(NamedTuple):
    """A map z = loc + S sinh(t): p has its bulk at |t| < 2, whatever its scales and correlations.

    Attributes:
        normal: the normal with the location and the scale S.
    """

    normal: Gaussian

    @property
    def dim(self) -> int:
        return self.normal.dim

    def forward(self, t):
        """Return z at t, (n, dim), and the log of how much volume the map stretches there."""
        return self.normal.unwhiten(jnp.sinh(t)), self.normal.log_det + jnp.log(jnp.cosh(t)).sum(-1)

    def inverse(self, z: np.ndarray) -> np.ndarray:
        return np.arcsinh(self.normal.whiten(z))


def sinh_map_of_draws(draws: np.ndarray) -> SinhMap:
    """Return the map from medians, quartiles and the correlations of clipped draws.

    Heavy tails do not move these.

    Raises:
        NotApplicable: the draws lie on a point or in a plane, or floating point cannot hold them.
    """
    if not np.isfinite(draws).all():
        raise NotApplicable("some draws lie at the edge of the support, as far as floating point can tell.")
    location, spread, correlation = robust_moments(draws)
    scale_tril = cholesky_factor(correlation)
    if scale_tril is None:
        raise NotApplicable("the variables depend on each other, so that they have no joint density.")
    return SinhMap(Gaussian.of(location, spread[:, None] * scale_tril))


def robust_moments(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the medians, the spreads by the quartiles, and the covariance of clipped draws in these units.

    Raises:
        NotApplicable: half of the draws or more agree in one variable.
    """
    location = np.median(draws, axis=0)
    spread = np.subtract(*np.quantile(draws, [0.75, 0.25], axis=0)) / 1.349  # 1.349 is a normal's, in sds
    if not (spread > 0).all():
        raise NotApplicable("half of the draws or more agree in one variable, so that it has no density.")
    clipped = np.clip((draws - location) / spread, -CLIP, CLIP)
    return location, spread, np.atleast_2d(np.cov(clipped, rowvar=False))


def cholesky_factor(covariance: np.ndarray) -> np.ndarray | None:
    """Return the Cholesky factor, or None if some variable is a linear function of the others, up to rounding."""
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return None
    unexplained = np.diag(factor) / np.sqrt(np.diag(covariance))
    return factor if unexplained.min() > 1e-7 else None
