"""Draws from the posterior, and averages over them whose error accounts for autocorrelation."""

import dataclasses

import numpy as np

from vi_kl.core.estimate import Estimate, error_of_mean


@dataclasses.dataclass(frozen=True)
class PosteriorDraws:
    """A set of draws of z in chains.

    Attributes:
        chains: the draws, of shape (chains, length, dim).
        independent: whether each draw is independent of all others.
    """

    chains: np.ndarray
    independent: bool

    @property
    def z(self) -> np.ndarray:
        """All draws, of shape (chains x length, dim)."""
        return self.chains.reshape(-1, self.chains.shape[-1])

    def __len__(self):
        return self.chains.shape[0] * self.chains.shape[1]

    @property
    def words(self) -> str:
        """The number of draws and their kind, in words for a method."""
        if self.independent:
            return f"{len(self):,} exact posterior draws"
        return f"{len(self):,} draws of {len(self.chains)} reference chains"

    def effective_number(self, values: np.ndarray) -> float:
        """Return how many independent draws would give the mean of `values` (one per draw) the same error."""
        from arviz_stats.base import array_stats  # imported here, as it takes seconds

        if self.independent or np.ptp(values) == 0:
            return float(len(self))
        return float(array_stats.ess(values.reshape(self.chains.shape[:2]), method="mean"))

    def mean(self, values: np.ndarray, method: str, unit: str = "nats") -> Estimate:
        """Return the mean of `values`, one for each of `z`, with its standard error."""
        values = np.asarray(values)
        error = error_of_mean(values, self.effective_number(values))
        return Estimate(values.mean(), error, method, unit, num_draws=len(self))
