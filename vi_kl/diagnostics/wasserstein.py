"""The Wasserstein distance between q and the posterior, from draws of both.

W2 is the root of the mean squared distance that mass has to travel, in posterior sds of z. A missed mode counts by how
far away it is, whereas reverse KL counts only its share of the mass. Between finite samples W2 is never zero, so the
distance between two samples of the posterior is given beside it.

Reference: Peyre & Cuturi (2019), "Computational optimal transport", section 2.
"""

import dataclasses

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

POINTS, REPETITIONS = 256, 4


@dataclasses.dataclass(frozen=True)
class Wasserstein:
    """The distance W2 in posterior sds.

    Attributes:
        value: the distance between q and the posterior, the mean over pairs of samples.
        standard_error: the standard error of the value.
        floor: the mean distance between two samples of the posterior, each as large as those.
        points: the number of draws in each sample.
    """

    value: float
    standard_error: float
    floor: float
    points: int

    def __str__(self):
        return f"{self.value:.3g} posterior sd (two samples of {self.points} posterior draws: {self.floor:.3g})"


def wasserstein(q_draws: np.ndarray, posterior_draws: np.ndarray, generator: np.random.Generator) -> Wasserstein:
    """Estimate W2 from draws of z, (n, dim) each, by exact assignment of several pairs of samples."""
    scale = posterior_draws.std(axis=0, ddof=1)
    points = min(POINTS, len(q_draws) // REPETITIONS, len(posterior_draws) // (2 * REPETITIONS))
    ours = split(q_draws / scale, REPETITIONS, points, generator)
    theirs = split(posterior_draws / scale, 2 * REPETITIONS, points, generator)
    between = [transport(a, b) for a, b in zip(ours, theirs[:REPETITIONS], strict=True)]
    within = [transport(a, b) for a, b in zip(theirs[:REPETITIONS], theirs[REPETITIONS:], strict=True)]
    error = np.std(between, ddof=1) / np.sqrt(REPETITIONS)
    return Wasserstein(float(np.mean(between)), float(error), float(np.mean(within)), points)


def split(draws: np.ndarray, parts: int, points: int, generator) -> list[np.ndarray]:
    """Return disjoint samples, chosen at random."""
    chosen = generator.permutation(len(draws))[: parts * points]
    return np.split(draws[chosen], parts)


def transport(a: np.ndarray, b: np.ndarray) -> float:
    """Return W2 between two samples of equal size, from the cheapest pairing of their points."""
    cost = cdist(a, b, "sqeuclidean")
    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))
