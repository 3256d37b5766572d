"""The article's numbers: KL as the information lost, and as the objective that picks the best distribution."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import gammaln

from vi_kl.demo.worms.data import TEETH, observed
from vi_kl.divergences import entropy, kl_divergence, project

MOST_TEETH = 10
UNIFORM = np.full(MOST_TEETH + 1, 1 / (MOST_TEETH + 1))


def binomial_pmf(p):
    """Return the probabilities of 0 to 10 teeth when each of ten places holds one with probability p."""
    x = jnp.asarray(TEETH)
    choose = gammaln(MOST_TEETH + 1.0) - gammaln(x + 1.0) - gammaln(MOST_TEETH - x + 1.0)
    return jnp.exp(choose + x * jnp.log(p) + (MOST_TEETH - x) * jnp.log1p(-p))


def block_pmf(p):
    """Return the article's "ad hoc" model: mass p spread evenly over 6 to 10 teeth, 1 - p over 0 to 5."""
    return jnp.where(jnp.asarray(TEETH) >= 6, p / 5, (1 - p) / 6)


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure of the article, as it is printed and as it is computed here.

    Attributes:
        what: its name.
        printed: the article's value, as it prints it.
        computed: the value computed here, in bits (or a probability).
        unit: the unit, "" for a probability.
    """

    what: str
    printed: str
    computed: float
    unit: str = "bits"

    @property
    def decimals(self) -> int:
        """The number of decimals that the article prints."""
        return len(self.printed.partition(".")[2])

    @property
    def agrees(self) -> bool:
        """Whether the value computed here, rounded as the article rounds, is what the article prints."""
        return f"{self.computed:.{self.decimals}f}" == self.printed


@dataclasses.dataclass(frozen=True)
class Article:
    """All that the first half of the story shows."""

    figures: tuple[Figure, ...]
    best_binomial: float
    best_binomial_reverse: float
    best_block: float
    approximations: dict[str, np.ndarray]


def article() -> Article:
    """Compute the article's numbers from the reconstructed histogram."""
    p = observed()
    best = project(p, binomial_pmf, init=0.5, support=dist.constraints.unit_interval)
    reverse = project(p, binomial_pmf, init=0.5, direction="reverse", support=dist.constraints.unit_interval)
    block = project(p, block_pmf, init=0.5, support=dist.constraints.unit_interval)
    by_mean = np.asarray(binomial_pmf(float(p @ TEETH) / MOST_TEETH), dtype=float)
    by_mean /= by_mean.sum()
    best_binomial, best_block = float(best.params), float(block.params)
    figures = (
        Figure("entropy of the observed distribution", "3.12", float(entropy(p, base=2))),
        Figure("KL(observed || uniform)", "0.338", float(kl_divergence(p, UNIFORM, base=2))),
        Figure("KL(observed || binomial), p = mean/10", "0.477", float(kl_divergence(p, by_mean, base=2))),
        Figure("KL(binomial || observed)", "0.330", float(kl_divergence(by_mean, p, base=2))),
        Figure("p that minimises KL(observed || binomial)", "0.57", best_binomial, ""),
        Figure("block model: best p", "0.47", best_block, ""),
        Figure("block model: its KL", "0.338", block.divergence / np.log(2)),
    )
    approximations = {
        "uniform": UNIFORM,
        f"binomial(10, {best_binomial:.2f})": by_mean,
        f"blocks, p = {best_block:.2f}": np.asarray(block_pmf(best_block), dtype=float),
    }
    return Article(figures, best_binomial, float(reverse.params), best_block, approximations)


def kl_curve(pmf, grid: np.ndarray, direction: str = "forward") -> np.ndarray:
    """Return KL(observed || pmf(p)) in nats for each p of the grid; reverse swaps the two."""
    p = observed()
    curve = []
    for value in grid:
        q = np.asarray(pmf(value), dtype=float)
        q /= q.sum()
        curve.append(kl_divergence(p, q) if direction == "forward" else kl_divergence(q, p))
    return np.array(curve, dtype=float)
