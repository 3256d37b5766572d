"""The start of chains from an approximation: where they begin, and the coordinates that they move in.

The starting points are draws of q, resampled by their Pareto-smoothed importance weights without repeats.

Where q is a bent image of normal noise (a flow, a skewed normal), the coordinates are the noise, in which the posterior
is nearly standard normal if q is near it, however bent it is. Elsewhere they are those in which the normal with q's
moments is standard, so that its covariance is the chains' metric. Where the weights are reliable, the moments are the
weighted ones, which are nearer to the posterior's.

References: Zhang, Carpenter, Gelman & Vehtari (2022), "Pathfinder: parallel quasi-Newton variational inference", for
starting MCMC at draws resampled by importance; Hoffman, Sountsov, Dillon, Langmore, Tran & Vasudevan (2019),
"NeuTra-lizing bad geometry in Hamiltonian Monte Carlo using neural transport", for sampling in the noise.
"""

import dataclasses

import numpy as np
from jaxtyping import Array, Float

from vi_kl.core.annotations import AnyArray
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.gaussian import Gaussian, gaussian_of_draws
from vi_kl.core.pytrees import pytree
from vi_kl.core.random_keys import numpy_generator, split
from vi_kl.core.scales import Diagonal
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.importance import effective_share, smoothed_weights
from vi_kl.diagnostics.judgement import draws_to_weigh
from vi_kl.diagnostics.missed_modes import MissedMode
from vi_kl.diagnostics.psis import RELIABLE, pareto_k
from vi_kl.families.approximation import Approximation, draw, is_pushed_noise, noise_of
from vi_kl.families.delta import Delta
from vi_kl.families.push_forward import normal_log_prob
from vi_kl.reference.mcmc.started_nuts import LARGEST_DENSE, Coordinates, Whitened, standard

DRAWS_A_DIMENSION = 40  # from which a covariance is computed: the longest axis comes out a third too long at most
EFFECTIVE_A_DIMENSION = 10  # effective draws, with which weighted moments are better than q's own


@pytree
class Noise:
    """The chart whose coordinates are the normal noise of which q is an image.

    Attributes:
        q: the approximation.
    """

    q: Approximation

    def place(self, u: Float[AnyArray, " dim"]) -> tuple[Float[Array, " dim"], Float[Array, ""]]:
        """Return z, and the log of |det dz/du|: q(z) is the noise's density divided by it."""
        push = self.q.family.push(self.q.params, self.q.target)
        assert push is not None, "made for images of noise only"
        z, log_q = push(u)
        return z, normal_log_prob(u) - log_q


@dataclasses.dataclass(frozen=True)
class Start:
    """A start of chains.

    Attributes:
        draws: the draws of q that were weighed.
        log_weights: the log weights of the draws, with -inf where the log density is not a number.
        coordinates: the coordinates that the chains move in.
        v: the chains' starting points in these coordinates, of shape (chains, dim).
        missed: the number of chains that start at modes which q misses.
    """

    draws: Draws
    log_weights: np.ndarray
    coordinates: Coordinates
    v: np.ndarray
    missed: int = 0

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
    weigh_key, more_key, pick_key = split(key, 3)
    draws = Draws(q, weigh_key, draws_to_weigh(q.target))
    log_weights = finite_or_none(draws.log_ratio)
    if np.isinf(log_weights).all():
        raise UnsuitableError(f"The posterior has no finite density at any of {len(draws):,} draws of {q.name}.")
    weights = smoothed_weights(log_weights)
    picked = pick(weights, num_chains, numpy_generator(pick_key))
    reliable = pareto_k(log_weights) < RELIABLE
    enough = len(draws) * effective_share(weights) > EFFECTIVE_A_DIMENSION * q.target.dim
    trusted = weights if reliable and enough else None
    modes = [part.z for part in sorted(missed, key=lambda part: -part.log_mass)[: num_chains // 2]]
    if not modes and is_bent(q):
        u = noise_of(q, weigh_key, len(draws))
        coordinates = Coordinates(q.target, Noise(q), weighted_normal(u, trusted) or standard(q.target.dim))
        return Start(draws, log_weights, coordinates, coordinates.inner.whiten(u[picked]))
    normal = weighted_normal(draws.z, trusted) or own_normal(q, draws.z, more_key)
    coordinates = Coordinates(q.target, Whitened(normal), standard(q.target.dim))
    z = np.concatenate([draws.z[picked][: num_chains - len(modes)], *(mode[None] for mode in modes)])
    return Start(draws, log_weights, coordinates, normal.whiten(z), len(modes))


def is_bent(q: Approximation) -> bool:
    """Return whether q is the image of as much noise as it has dimensions under a map that is not linear."""
    return q.family.frame(q.params) is None and is_pushed_noise(q)


def finite_or_none(log_weights: np.ndarray) -> np.ndarray:
    """Return log weights with -inf where they are not finite: such a draw is no place to start."""
    return np.where(np.isfinite(log_weights), log_weights, -np.inf)


def pick(weights: np.ndarray, n: int, generator) -> np.ndarray:
    """Return n places, drawn by their weights, each at most once if so many have any weight."""
    few = np.count_nonzero(weights) < n
    return generator.choice(len(weights), n, replace=few, p=weights)


def weighted_normal(z: np.ndarray, weights: np.ndarray | None) -> Gaussian | None:
    """Return the normal with the weighted draws' moments; None without weights, or if the draws do not span the space.

    Its scale is of the kind that `standard` has in this dimension.
    """
    if weights is None:
        return None
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
