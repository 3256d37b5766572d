"""The ELBO of a fitted q, with its standard error; and draws of q with both log densities."""

import numpy as np

from vi_kl.core.estimate import Estimate, error_of_mean
from vi_kl.core.precision import in_float64
from vi_kl.diagnostics.effort import effort_for
from vi_kl.families.approximation import Approximation, draw
from vi_kl.targets.target import log_density_in_chunks


class Draws:
    """A sample of q with both log densities, from which most diagnostics are computed.

    Attributes:
        z: the draws, (n, dim).
        log_q: log q(z), (n,).
        log_p: the target's unnormalised log density at z, (n,).
    """

    @in_float64
    def __init__(self, q: Approximation, key, n: int):
        self.z, self.log_q = draw(q, key, n)
        self.log_p = log_density_in_chunks(q.target, self.z)

    @property
    def log_ratio(self) -> np.ndarray:
        """The log importance weights log p - log q, (n,)."""
        return self.log_p - self.log_q

    def __len__(self):
        return len(self.z)


def mean_estimate(values: np.ndarray, method: str) -> Estimate:
    """Return the mean of independent values with its standard error, in nats."""
    return Estimate(values.mean(), error_of_mean(values), method, num_draws=len(values))


def elbo_of(draws: Draws) -> Estimate:
    """Return the ELBO as the mean log importance weight of given draws."""
    return mean_estimate(draws.log_ratio, f"Monte Carlo, {len(draws):,} draws of q")


def elbo(q: Approximation, key, num_draws: int | None = None) -> Estimate:
    """Estimate the ELBO, E_q[log p(z, data) - log q(z)], in nats; higher is better, up to the log evidence."""
    return elbo_of(Draws(q, key, effort_for(q.target, num_draws).num_draws))
