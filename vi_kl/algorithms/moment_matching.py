"""MomentMatching: the normal with the posterior's own mean and covariance in z.

It is the best normal in the forward direction: it minimises KL(posterior||q) over all normal q. It requires a target
with a reference, because it needs draws from the exact posterior; it shows what minimising forward KL would give.

Reference: Bishop (2006), Pattern Recognition and Machine Learning, section 10.7.
"""

import dataclasses

import numpy as np

from vi_kl.algorithms.algorithm import Algorithm, FitError, Solution, Status
from vi_kl.core.cholesky import tril_of_covariance
from vi_kl.families.approximation import Approximation
from vi_kl.families.gaussian import FullRank, full_rank_params


@dataclasses.dataclass(frozen=True)
class MomentMatching(Algorithm):
    """Moment matching: the mean and covariance of draws from the exact posterior.

    Attributes:
        num_draws: the number of draws.
    """

    num_draws: int = 100_000

    name = "moment_matching"

    def find(self, key, target, *, start, progress, counter):
        """Match the moments; nothing is searched for, and `start` is ignored."""
        if target.reference is None:
            raise FitError(
                "Moment matching needs draws from the exact posterior, and this target's reference is not known: "
                "give the target a reference, for example reference_by_quadrature for up to three dimensions."
            )
        z = np.asarray(target.reference.sample(key, self.num_draws))
        tril = tril_of_covariance(np.atleast_2d(np.cov(z, rowvar=False)))
        q = Approximation(FullRank(), full_rank_params(z.mean(axis=0), tril), target)
        return Solution(q, Status(True, f"Mean and covariance of {self.num_draws:,} exact draws, nothing to optimise."))
