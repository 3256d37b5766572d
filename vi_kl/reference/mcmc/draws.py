"""Draws from the posterior, and averages over them with an error that knows whether the draws are independent."""

import dataclasses

import numpy as np

from vi_kl.core.estimate import Estimate, error_of_mean


@dataclasses.dataclass(frozen=True)
class PosteriorDraws:
    """Draws of z in chains.

    Attributes:
        chains: (chains, length, dim).
        independent: whether each draw is independent of all others.
    """

    chains: np.ndarray
    independent: bool

    @property
    def z(self) -> np.ndarray:
        """All draws, shape (chains x length, dim)."""
        return self.chains.reshape(-1, self.chains.shape[-1])

    def __len__(self):
        return self.chains.shape[0] * self.chains.shape[1]

    @property
    def words(self) -> str:
        """For a method: how many draws, and of what kind."""
        if self.independent:
            return f"{len(self):,} exact posterior draws"
        return f"{len(self):,} draws of {len(self.chains)} reference chains"

    def effective_number(self, values: np.ndarray) -> float:
        """As many independent draws would give the mean of `values` (one per draw) the same error."""
        from arviz_stats.base import array_stats  # here, as it takes seconds to import

        if self.independent or np.ptp(values) == 0:
            return float(len(self))
        return float(array_stats.ess(values.reshape(self.chains.shape[:2]), method="mean"))

    def mean(self, values: np.ndarray, method: str, unit: str = "nats") -> Estimate:
        """The mean of `values`, one for each of `z`, with its standard error."""
        values = np.asarray(values)
        error = error_of_mean(values, self.effective_number(values))
        return Estimate(values.mean(), error, method, unit, num_draws=len(self))
