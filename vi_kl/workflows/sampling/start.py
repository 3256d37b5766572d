"""Where chains start, and the coordinates that they move in: both are read off an approximation and its weights.

The starting points are draws of q, resampled by their Pareto-smoothed importance weights without repeats. The
coordinates are those in which the normal with q's moments is standard, so that its covariance is the chains' metric;
where the weights are reliable the moments are theirs, which are nearer to the posterior's.

Reference: Zhang, Carpenter, Gelman & Vehtari (2022), "Pathfinder: parallel quasi-Newton variational inference", for
starting MCMC at draws resampled by importance.
"""

import dataclasses

import jax
import numpy as np

from vi_kl.core.errors import UnsuitableError
from vi_kl.core.gaussian import Gaussian, gaussian_of_draws
from vi_kl.core.random_keys import numpy_generator
from vi_kl.core.scales import Diagonal
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.importance import effective_share, smoothed_weights
from vi_kl.diagnostics.missed_modes import MissedMode
from vi_kl.diagnostics.psis import RELIABLE, pareto_k
from vi_kl.families.approximation import Approximation, draw
from vi_kl.families.delta import Delta
from vi_kl.targets.target import CHUNK, is_small

FEWER_DRAWS = 2048  # draws that are weighed of models whose log density takes long
LARGEST_DENSE = 300  # dimensions; with more, coordinates are scaled one by one unless q has a scale of its own
DRAWS_A_DIMENSION = 40  # from which a covariance is computed: the longest axis comes out a third too long at most
EFFECTIVE_A_DIMENSION = 10  # effective draws, with which weighted moments are better than q's own


@dataclasses.dataclass(frozen=True)
class Start:
    """A start of chains.

    Attributes:
        draws: the draws of q that were weighed.
        normal: the normal in whose whitened coordinates the chains move.
        z: the chains' starting points, of shape (chains, dim).
        k_hat: Pareto's k-hat of the weights.
        missed: the number of chains that start at modes which q misses.
    """

    draws: Draws
    normal: Gaussian
    z: np.ndarray
    k_hat: float
    missed: int = 0

    @property
    def log_weights(self) -> np.ndarray:
        """The log weights of the draws, with -inf where the log density is not a number."""
        return finite_or_none(self.draws.log_ratio)

    def words(self, name: str) -> str:
        """Say where the chains started, and what they cannot see therefore."""
        others = f", {self.missed} of them at modes that the certificate found outside it" if self.missed else ""
        return (
            f"All chains started from {name}{others}. So R-hat is no test of the start: that they agree does not show "
            "that no other mode is there, as it would if they had started far apart."
        )


def start_from(q: Approximation, key, num_chains: int, missed: tuple[MissedMode, ...] = ()) -> Start:
    """Choose starting points and coordinates.

    Args:
        q: the approximation.
        key: a JAX random key.
        num_chains: the number of starting points.
        missed: modes that q misses; half of the chains, at most, start at the heaviest of these.

    Raises:
        UnsuitableError: q is a point, or the posterior has no density at any of its draws.
    """
    if isinstance(q.family, Delta):
        raise UnsuitableError('A point has no width to start chains with: fit "laplace" around the same mode.')
    weigh_key, more_key, pick_key = jax.random.split(key, 3)
    draws = Draws(q, weigh_key, CHUNK if is_small(q.target) else FEWER_DRAWS)
    log_weights = finite_or_none(draws.log_ratio)
    if np.isinf(log_weights).all():
        raise UnsuitableError(f"The posterior has no finite density at any of {len(draws):,} draws of {q.name}.")
    weights, k_hat = smoothed_weights(log_weights), pareto_k(log_weights)
    normal = None
    if k_hat < RELIABLE and len(draws) * effective_share(weights) > EFFECTIVE_A_DIMENSION * q.target.dim:
        normal = weighted_normal(draws.z, weights)
    z = pick(draws.z, weights, num_chains, numpy_generator(pick_key))
    modes = sorted(missed, key=lambda part: -part.log_mass)[: num_chains // 2]
    for i, part in enumerate(modes):
        z[-1 - i] = part.z
    return Start(draws, own_normal(q, draws.z, more_key) if normal is None else normal, z, k_hat, len(modes))


def finite_or_none(log_weights: np.ndarray) -> np.ndarray:
    """Return log weights with -inf where they are not finite: such a draw is no place to start."""
    return np.where(np.isfinite(log_weights), log_weights, -np.inf)


def pick(z: np.ndarray, weights: np.ndarray, n: int, generator) -> np.ndarray:
    """Draw n of the points z by their weights, each at most once if so many have any weight."""
    few = np.count_nonzero(weights) < n
    return z[generator.choice(len(z), n, replace=few, p=weights)]


def weighted_normal(z: np.ndarray, weights: np.ndarray) -> Gaussian | None:
    """Return the normal with the weighted draws' mean and covariance; None where they do not span the space."""
    mean = weights @ z
    if z.shape[1] > LARGEST_DENSE:
        return Gaussian(mean, Diagonal(np.sqrt(weights @ (z - mean) ** 2)))
    try:
        return Gaussian.of_covariance(mean, (z - mean).T @ (weights[:, None] * (z - mean)))
    except np.linalg.LinAlgError:
        return None


def own_normal(q: Approximation, z: np.ndarray, key) -> Gaussian:
    """Return the normal with q's own moments: exactly if q is a normal that knows its scale, else from draws."""
    frame = q.family.frame(q.params)
    if frame is not None:
        return frame.normal
    if q.target.dim <= LARGEST_DENSE:
        more = DRAWS_A_DIMENSION * q.target.dim - len(z)
        z = np.concatenate([z, draw(q, key, more)[0]]) if more > 0 else z
        normal = gaussian_of_draws(z)
        if normal is not None:
            return normal
    return Gaussian(z.mean(axis=0), Diagonal(z.std(axis=0, ddof=1)))
