"""MomentMatching: the normal with the posterior's own mean and covariance in z.

It is the best normal in the forward direction: it minimises KL(posterior||q) over all normal q. Requires a target
whose reference is known, because it needs draws from the exact posterior; it shows what forward KL would do.

Reference: Bishop (2006), Pattern Recognition and Machine Learning, section 10.7.
"""

import dataclasses

import numpy as np

from vi_kl.algorithms.algorithm import Algorithm, Fit, FitError, History, Status, counting_costs
from vi_kl.core.cholesky import tril_of_covariance
from vi_kl.core.precision import in_float64
from vi_kl.families.approximation import Approximation
from vi_kl.families.gaussian import FullRank, full_rank_params


@dataclasses.dataclass(frozen=True)
class MomentMatching(Algorithm):
    """Match mean and covariance of `num_draws` draws from the exact posterior."""

    num_draws: int = 100_000

    name = "moment_matching"

    def fit(self, key, target, *, start=None, progress=None):
        """`start` is not needed: there is nothing to search."""
        return fit_moments(self, key, target, progress)


@dataclasses.dataclass(frozen=True)
class ForwardNormal(FullRank):
    """The full-rank family, under the name of the direction that chose the member."""

    name = "moment_matching"


@in_float64
def fit_moments(config: MomentMatching, key, target, progress) -> Fit:
    if target.reference is None:
        raise FitError(
            "Moment matching needs draws from the exact posterior, and this target's reference is not known: "
            "give the target a reference, for example reference_by_quadrature for up to three dimensions."
        )
    with counting_costs() as counter:
        z = np.asarray(target.reference.sample(key, config.num_draws))
        tril = tril_of_covariance(np.atleast_2d(np.cov(z, rowvar=False)))
        params = full_rank_params(z.mean(axis=0), tril)
        if progress:
            progress(1.0, "done")
    status = Status(True, f"Mean and covariance of {config.num_draws:,} exact draws, nothing to optimise.")
    approximation = Approximation(ForwardNormal(), params, target)
    return Fit(approximation, status, History(), counter.cost(), config)
