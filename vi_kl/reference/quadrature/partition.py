"""A density of several peaks as a sum of parts, one for each peak, that add up to it exactly.

At every point each peak has a share: the contribution of a smooth bump at that peak to the sum of the bumps. The shares
add up to one, and every part is smooth and local.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp

from vi_kl.reference.quadrature.peaks import Peak


@dataclasses.dataclass(frozen=True)
class PartDensity:
    """A log density of z: the whole density times the share of one peak.

    Attributes:
        density: the function from z of shape (n, dim) to the log density, of shape (n,).
        peaks: all peaks.
        index: the index of this part's peak.
        heavy: whether the bumps are Student's t instead of normal ones. Far out the share of a normal bump changes
            abruptly, which is harmless only where the density is negligible there.
    """

    density: Callable
    peaks: list[Peak]
    index: int
    heavy: bool = False

    @property
    def peak(self) -> Peak:
        return self.peaks[self.index]

    def __call__(self, z) -> np.ndarray:
        values = self.density(z)
        if len(self.peaks) == 1:
            return values
        logs = [peak.log_mass - peak.normal.log_det + self.bump(peak.normal.whiten(z)) for peak in self.peaks]
        return values + logs[self.index] - logsumexp(logs, axis=0)

    def bump(self, u) -> np.ndarray:
        squared = (u**2).sum(axis=1)
        return -8.0 * np.log1p(squared / 16.0) if self.heavy else -0.5 * squared
