"""The ranking of approximations by their ELBOs, and which of them cannot be told apart.

The ELBO is the log evidence less KL(q||posterior), and the log evidence is one number for all of them: a difference of
ELBOs is a difference of KLs, known much better than either. All approximations are drawn with the same random numbers,
so that what they share cancels from the differences.

References: Glasserman (2003), "Monte Carlo Methods in Financial Engineering", for common random numbers; Bonferroni's
inequality for many comparisons, all pairs being counted because the best is not named beforehand.
"""

import dataclasses
import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from jaxtyping import PRNGKeyArray

from vi_kl.algorithms.algorithm import Fit
from vi_kl.core.blas_threads import with_one_blas_thread
from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import in_float64
from vi_kl.core.records import Readable, store
from vi_kl.families.approximation import Approximation, draw
from vi_kl.targets.price import affordable
from vi_kl.targets.target import Target, log_density_in_chunks

DRAWS, FEWEST = 8192, 512  # draws of each approximation, and where an evaluation is dear
CONFIDENCE = 0.95  # that no two are told apart that are equally near


@dataclasses.dataclass(frozen=True, repr=False)
class Ranking(Readable):
    """Approximations in the order of their ELBOs, the best first.

    Attributes:
        names: the approximations.
        behind: how much lower the ELBO of each is than the best one's, and so how much farther it is from the
            posterior; infinite where the posterior has no density at draws of q.
        num_draws: the number of draws of each.
        confidence: the probability that all that are told apart are different.
        pairs: the number of comparisons that it is shared by.
        tied: those that cannot be told apart from the best, the best among them.
    """

    names: tuple[str, ...]
    behind: tuple[Estimate, ...]
    num_draws: int
    confidence: float = CONFIDENCE
    pairs: int = dataclasses.field(init=False)
    tied: tuple[str, ...] = dataclasses.field(init=False)

    def __post_init__(self):
        count = sum(math.isfinite(gap.value) for gap in self.behind)
        pairs = max(1, count * (count - 1) // 2)
        widest = NormalDist().inv_cdf(1 - (1 - self.confidence) / (2 * pairs))
        store(
            self,
            pairs=pairs,
            tied=tuple(
                name
                for name, gap in zip(self.names, self.behind, strict=True)
                if gap.value <= widest * gap.standard_error
            ),
        )

    def gap_of(self, name: str) -> Estimate | None:
        """Return how far one is behind the best; None if it is not ranked."""
        return dict(zip(self.names, self.behind, strict=True)).get(name)

    @property
    def headline(self) -> str:
        """The names in their order."""
        return " > ".join(self.names) or "nothing to rank"

    def __str__(self):
        lines = []
        for name, gap in zip(self.names, self.behind, strict=True):
            words = f"{gap.written} nats behind" if gap is not self.behind[0] else "the highest ELBO"
            cannot = "; cannot be told apart from it" if name in self.tied and gap is not self.behind[0] else ""
            lines.append(f"{name}: {words}{cannot}")
        return "\n".join(lines)


@with_one_blas_thread
@in_float64
def rank(target: Target, fits: Sequence[Fit], names: Sequence[str], key: PRNGKeyArray) -> Ranking:
    """Rank approximations of one target that have a density.

    Args:
        target: the posterior.
        fits: the approximations.
        names: their names.
        key: a JAX random key.
    """
    n = affordable(target, DRAWS, FEWEST)
    log_ratios = [log_ratio_of(target, fit.approximation, key, n) for fit in fits]
    elbos = [float(np.mean(x)) for x in log_ratios]
    order = sorted(range(len(fits)), key=lambda i: -elbos[i])
    behind = [behind_by(log_ratios[order[0]], log_ratios[i], n) for i in order]
    return Ranking(tuple(names[i] for i in order), tuple(behind), n)


def log_ratio_of(target: Target, q: Approximation, key: PRNGKeyArray, n: int) -> np.ndarray:
    """Return log p - log q at n draws of q."""
    z, log_q = draw(q, key, n)
    log_p = log_density_in_chunks(target, z)
    return np.where(np.isnan(log_p), -np.inf, log_p) - np.asarray(log_q)


def behind_by(best: np.ndarray, other: np.ndarray, n: int) -> Estimate:
    """Return the mean of the differences, draw by draw, with its standard error."""
    method = f"paired differences, {n:,} draws"
    if not np.isfinite(other).all():
        return Estimate(0.0 if other is best else np.inf, 0.0, method, num_draws=n)
    difference = best - other
    return Estimate(difference.mean(), difference.std(ddof=1) / math.sqrt(n), method, num_draws=n)
