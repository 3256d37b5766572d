"""Normals from the scores of a target: the closed-form updates of batch-and-match and Gaussian score matching.

Both draw from the present normal, evaluate the gradients of the log density there (the scores), and return a normal
whose own scores agree better with them. They are small, exact linear algebra; batch_and_match.py iterates them.
"""

import numpy as np

from vi_kl.core.cholesky import tril_of_covariance
from vi_kl.core.gaussian import Gaussian


def match_batch(q: Gaussian, z: np.ndarray, scores: np.ndarray, weight: float) -> Gaussian:
    """Return the normal that minimises weight * (mean squared difference of scores, in its own metric) + 2 KL(q||it).

    Args:
        q: the present normal.
        z: draws from it, (batch, dim).
        scores: gradients of the log density there, (batch, dim).
        weight: the factor lambda; the larger it is, the further the answer may be from q.

    Reference: Cai, Modi, Pillaud-Vivien, Margossian, Gower, Blei & Saul (2024), "Batch and match: black-box
    variational inference with a score-based divergence", ICML, equations 9 to 13. With V = T T' its quadratic
    matrix equation S U S + S = V is solved through the eigenvalues of T' U T.
    """
    share = weight / (1 + weight)
    middle, score = z.mean(axis=0), scores.mean(axis=0)
    away = q.loc - middle
    u = weight * np.atleast_2d(np.cov(scores, rowvar=False, bias=True)) + share * np.outer(score, score)
    v = weight * np.atleast_2d(np.cov(z, rowvar=False, bias=True)) + share * np.outer(away, away) + q.covariance
    tril = tril_of_covariance(v)
    values, vectors = np.linalg.eigh(tril.T @ u @ tril)
    root = tril @ vectors * np.sqrt(2 / (1 + np.sqrt(1 + 4 * np.maximum(values, 0.0))))
    covariance = root @ root.T
    return Gaussian.of_covariance((1 - share) * q.loc + share * (covariance @ score + middle), covariance)


def match_scores(q: Gaussian, z: np.ndarray, scores: np.ndarray, weight: float) -> Gaussian:
    """Return the average, over the draws, of the normals nearest to q that have exactly one draw's score there.

    The average is then mixed with q: it counts weight / (1 + weight).

    Reference: Modi, Gower, Margossian, Yao, Blei & Saul (2023), "Variational inference with Gaussian score
    matching", NeurIPS, algorithm 1.
    """
    share = weight / (1 + weight)
    covariance = q.covariance
    pulled = scores @ covariance  # S g, one row each
    away = q.loc - z
    along = (away * scores).sum(axis=1)
    rho = 0.5 * (np.sqrt(1 + 4 * ((pulled * scores).sum(axis=1) + along**2)) - 1)
    error = pulled - away
    pull = (scores * error).sum(axis=1) / (1 + rho + along)
    move = (error - away * pull[:, None]) / (1 + rho)[:, None]
    after = away + move
    change = (away.T @ away - after.T @ after) / len(z)
    return Gaussian.of_covariance(q.loc + share * move.mean(axis=0), covariance + share * change)


def distance(a: Gaussian, b: Gaussian) -> float:
    """Return the largest difference in b's units: of the means in sds, or of any sd relatively."""
    sds = np.linalg.svd(b.scale.solve(a.scale.matrix.T), compute_uv=False)
    return float(max(np.abs(b.whiten(a.loc)).max(), np.abs(sds - 1).max()))


class Average:
    """The average of the normals visited lately, and its standard error."""

    def __init__(self):
        self.visited: list[Gaussian] = []

    def add(self, q: Gaussian) -> None:
        """Add a normal to those visited."""
        self.visited.append(q)

    def __len__(self):
        return len(self.visited)

    @property
    def late(self) -> list[Gaussian]:
        """The normals without the first third of them, which depends on the start."""
        return self.visited[len(self) // 3 :]

    @property
    def normal(self) -> Gaussian:
        """The normal with the mean loc and the mean covariance."""
        covariance = np.mean([q.covariance for q in self.late], axis=0)
        return Gaussian.of_covariance(np.mean([q.loc for q in self.late], axis=0), covariance)

    def error(self, num_batches: int = 10) -> float:
        """Return the largest standard error, by batch means: of the mean in sds, and of sds relatively."""
        length = len(self.late) // num_batches
        late = self.late[-num_batches * length :]
        sds = self.normal.sd
        locs = np.array([q.loc for q in late]) / sds
        variances = np.array([q.sd**2 for q in late]) / sds**2

        def spread(values):
            means = values.reshape(num_batches, length, -1).mean(axis=1)
            return means.std(axis=0, ddof=1).max()

        return float(max(spread(locs), 0.5 * spread(variances)) / np.sqrt(num_batches))
