"""Coordinates that follow the draws of a distribution, for integrals over it."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from vi_kl.divergences.estimators.quadrature import NotApplicable

CLIP = 4.0  # distance from the median, in spreads, at which a draw stops counting more for the correlations


class Frame(NamedTuple):
    """A map z = location + scale_tril sinh(t): p has its bulk at |t| < 2, whatever its scales and correlations."""

    location: np.ndarray
    scale_tril: np.ndarray

    @property
    def dim(self) -> int:
        return len(self.location)

    def forward(self, t):
        """Return z at t, (n, dim), and the log of how much volume the map stretches there."""
        log_stretch = jnp.log(jnp.abs(jnp.diagonal(self.scale_tril))).sum() + jnp.log(jnp.cosh(t)).sum(-1)
        return self.location + jnp.sinh(t) @ self.scale_tril.T, log_stretch

    def inverse(self, z: np.ndarray) -> np.ndarray:
        return np.arcsinh(np.linalg.solve(self.scale_tril, (z - self.location).T).T)


def frame_of_draws(draws: np.ndarray) -> Frame:
    """Return the frame from medians, quartiles and the correlations of clipped draws.

    Heavy tails do not move these.

    Raises:
        NotApplicable: the draws lie on a point or in a plane, or floating point cannot hold them.
    """
    if not np.isfinite(draws).all():
        raise NotApplicable("some draws lie at the edge of the support, as far as floating point can tell.")
    location = np.median(draws, axis=0)
    spread = np.subtract(*np.quantile(draws, [0.75, 0.25], axis=0)) / 1.349  # 1.349 is a normal's, in sds
    if not (spread > 0).all():
        raise NotApplicable("half of the draws or more agree in one variable, so that it has no density.")
    clipped = np.clip((draws - location) / spread, -CLIP, CLIP)
    scale_tril = cholesky_factor(np.atleast_2d(np.cov(clipped, rowvar=False)))
    if scale_tril is None:
        raise NotApplicable("the variables depend on each other, so that they have no joint density.")
    return Frame(location, spread[:, None] * scale_tril)


def cholesky_factor(covariance: np.ndarray) -> np.ndarray | None:
    """Return the Cholesky factor, or None if some variable is a linear function of the others, up to rounding."""
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return None
    unexplained = np.diag(factor) / np.sqrt(np.diag(covariance))
    return factor if unexplained.min() > 1e-7 else None
