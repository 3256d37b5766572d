"""LinearResponse: a mean-field fit, with the covariance that its means imply.

Requires what SampleAverageApproximation requires. A mean field is blind to correlation and so too narrow, but its means
are often right, also if the posterior is tilted a little; how much they move with the tilt is a covariance. Let H be
the second derivatives of KL(q||posterior) at its minimum, in all of q's parameters. The covariance is the block of H^-1
that belongs to the locations. For a normal posterior it is the posterior's covariance, exactly. The result is a
full-rank normal at about the price of the mean field, for models with too many parameters to fit a covariance.

Reference: Giordano, Broderick & Jordan (2018), "Covariances, robustness, and variational Bayes", JMLR 19.
"""

import dataclasses

import numpy as np

from vi_kl.algorithms.algorithm import Algorithm, FitError, History, Solution, Status
from vi_kl.algorithms.sample_average_approximation import SampleAverageApproximation, Search, run_search
from vi_kl.core.cholesky import tril_of_covariance, tril_of_root
from vi_kl.families.approximation import Approximation
from vi_kl.families.gaussian import FullRank, MeanField, full_rank_params

STEP = 1e-4  # the step of differences, in the frame's units, in which curvature is of order one


@dataclasses.dataclass(frozen=True)
class LinearResponse(Algorithm):
    """A mean field by `SampleAverageApproximation`, with a covariance by linear response.

    Attributes:
        tolerance: that of `SampleAverageApproximation`.
        max_draws: likewise.
        max_steps: likewise.
    """

    tolerance: float = 0.02
    max_draws: int = 16_384
    max_steps: int = 200

    name = "linear_response"

    def find(self, key, target, *, start, progress, counter):
        mean_field = SampleAverageApproximation(
            MeanField(), tolerance=self.tolerance, max_draws=self.max_draws, max_steps=self.max_steps
        )
        search = run_search(mean_field, key, target, start, counter, progress, share=0.9)
        covariance = location_block(curvature(search), target)
        loc = np.asarray(search.objective.params(search.x)["loc"])
        root = search.frame.matrix(tril_of_covariance(covariance))
        params = full_rank_params(loc, tril_of_root(np.asarray(root)))
        counter.gradient_evaluations += search.objective.evaluations
        found = search.status()
        status = Status(found.converged, f"Mean field: {found.message} Covariance by linear response.")
        return Solution(Approximation(FullRank(), params, target), status, History(np.array(search.losses)))


def curvature(search: Search) -> np.ndarray:
    """Return the second derivatives of the loss on fixed noise, by differences of its exact gradient."""
    rows = []
    for i in range(len(search.x)):
        step = np.zeros(len(search.x))
        step[i] = STEP
        rows.append((search.objective(search.x + step)[1] - search.objective(search.x - step)[1]) / (2 * STEP))
    return (np.array(rows) + np.array(rows).T) / 2


def location_block(matrix: np.ndarray, target) -> np.ndarray:
    """Return the block of the inverse that belongs to the locations, which stand first among the flat parameters."""
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        raise FitError(
            "No linear response: KL has no minimum at the mean field found, so that the answer to a tilt is not "
            "defined. Let it converge (max_steps, max_draws), or fit 'full_rank'."
        ) from None
    return np.linalg.inv(matrix)[: target.dim, : target.dim]
