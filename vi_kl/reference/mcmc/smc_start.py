"""The start of sequential Monte Carlo: a broad density, and one around each mode that climbs from there find.

The broad part is a Student-t with the moments of the prior where the source can draw from it, and of scale 4 in every
coordinate of z where it cannot. It alone would lose narrow modes: while the start dominates, a mode has the share of
particles that its volume gives it, which in ten dimensions is a thousandth for a mode of half the scale, and resampling
cannot bring back what no particle has seen. Around a mode that is known, particles wait for its share to grow.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import softmax

from vi_kl.core.errors import ModelError, UnsuitableError
from vi_kl.core.gaussian import Gaussian, StudentT, gaussian_of_draws
from vi_kl.core.progress import unheard
from vi_kl.core.pytrees import pytree
from vi_kl.core.random_keys import numpy_generator
from vi_kl.core.scales import Inverse, Triangular
from vi_kl.draws.model_runs import ModelRuns, predict_prior
from vi_kl.reference.mcmc.tempering import StartingDensity
from vi_kl.targets.modes import Climb, Mode, polish, same_mode, search_by_newton
from vi_kl.targets.target import Target, log_density_in_chunks, unconstrain_batch

PRIOR_DRAWS = 1000
NUM_CLIMBS = 128  # from the broad part
NUM_CLIMBS_NEAR = 48  # from particles
MOST_MODES = 15
CLIMB_STEPS = 200
ARRIVED = 0.1  # the distance from a mode, in its own sds, at which a climb has come to it
WIDER = 1.2  # the scale around a mode, in units of that of its curvature
BROAD_SHARE = 0.5  # of the particles, in the broad part
EVEN_SHARE = 0.2  # of the other particles, spread evenly over the modes; the rest is spread by their mass


@pytree
class Components:
    """A mixture of Student-t densities, as compiled programs read it: its parts have a leading axis for the component.

    Attributes:
        parts: the components.
        log_weights: the logs of their weights, minus infinity for those that only fill the shape.
    """

    parts: StudentT
    log_weights: jax.Array

    def log_probs(self, z):
        """Return weight times density of each component, as a log, of shape (components, ...)."""
        log_prob = jax.vmap(lambda part: part.log_prob(z))(self.parts)
        return log_prob + self.log_weights.reshape(-1, *[1] * (z.ndim - 1))

    def log_prob(self, z):
        """Return the log density at z of shape (..., dim)."""
        return jax.nn.logsumexp(self.log_probs(z), axis=0)

    def gradient(self, z):
        """Return the gradient of the log density at z of shape (..., dim)."""
        shares = jax.nn.softmax(self.log_probs(z), axis=0)
        return (shares[..., None] * jax.vmap(lambda part: part.gradient(z))(self.parts)).sum(axis=0)


@dataclasses.dataclass(frozen=True)
class MixtureStart:
    """A start that is a mixture of Student-t densities, all of the same degrees of freedom.

    Attributes:
        parts: the components.
        weights: the share of each.
    """

    parts: tuple[StartingDensity, ...]
    weights: np.ndarray

    def sample(self, generator: np.random.Generator, n: int) -> np.ndarray:
        """Draw n values of z, (n, dim)."""
        which = generator.choice(len(self.parts), n, p=self.weights)
        z = np.empty((n, len(self.parts[0].location)))
        for index, part in enumerate(self.parts):
            z[which == index] = part.density.sample(generator, int((which == index).sum()))
        return z

    def ready(self) -> Components:
        """Return it as compiled programs read it, with as many components as the next power of two."""
        size = 2 ** int(np.ceil(np.log2(len(self.parts))))
        filled = [*self.parts, *[self.parts[0]] * (size - len(self.parts))]
        inverses = [Triangular(part.scale_tril).solve(np.eye(len(part.location))).T for part in filled]
        normal = Gaussian(np.stack([part.location for part in filled]), Inverse(Triangular(np.stack(inverses))))
        log_weights = np.full(size, -np.inf)
        log_weights[: len(self.parts)] = np.log(self.weights)
        return jax.tree.map(jnp.asarray, Components(StudentT(normal, self.parts[0].degrees_of_freedom), log_weights))


def broad_start(target: Target, key) -> StartingDensity:
    """Return the broad part of a start: with the moments of the prior if they are known, else around the origin."""
    z = prior_draws(target, key)
    found = None if z is None else gaussian_of_draws(z)
    if found is None:
        return StartingDensity.broad(target.dim)
    return StartingDensity(np.asarray(found.loc), np.asarray(found.scale.tril))


def prior_draws(target: Target, key) -> np.ndarray | None:
    """Return draws of z from the prior, those that are finite; None if the source cannot draw them."""
    try:
        sites = predict_prior(ModelRuns.of(target, "A start at the prior"), key, PRIOR_DRAWS, unheard)
    except (UnsuitableError, ModelError):
        return None
    z = np.asarray(unconstrain_batch(target, {name: jnp.asarray(sites[name]) for name in target.site_names}))
    return z[np.isfinite(z).all(axis=1)]


def start_with(broad: StartingDensity, modes: list[Mode]) -> MixtureStart:
    """Return the start that has a component around each of the modes, the heaviest of them."""
    modes = sorted(modes, key=lambda mode: -mode.log_mass)[:MOST_MODES]
    if not modes:
        return MixtureStart((broad,), np.ones(1))
    mass = softmax([mode.log_mass for mode in modes])
    of_modes = (1 - EVEN_SHARE) * mass + EVEN_SHARE / len(modes)
    parts = [StartingDensity(m.z, WIDER * m.scale_tril, broad.degrees_of_freedom) for m in modes]
    return MixtureStart((broad, *parts), np.array([BROAD_SHARE, *(1 - BROAD_SHARE) * of_modes]))


def modes_from(target: Target, broad: StartingDensity, key) -> tuple[list[Mode], int]:
    """Return the modes that climbs from the broad part find, and the gradients that they took."""
    z = broad.density.sample(numpy_generator(key), 4 * NUM_CLIMBS)
    z = z[np.isfinite(log_density_in_chunks(target, z))][:NUM_CLIMBS]
    return climb_from(target, z, [])


def modes_near(target: Target, z: np.ndarray, known: list[Mode], key) -> tuple[list[Mode], int]:
    """Return the known modes and those that climbs from some of the particles z (..., dim) find, and the gradients.

    Half of the climbs begin at random particles, half at those whose density the known modes explain least.
    """
    generator, z = numpy_generator(key), z.reshape(-1, target.dim)
    modes, gradients = climb_from(target, generator.permutation(z)[: NUM_CLIMBS_NEAR // 2], known)
    if modes:
        explained = np.logaddexp.reduce([mode.log_mass + np.asarray(mode.normal.log_prob(z)) for mode in modes])
        least = np.argsort(explained - log_density_in_chunks(target, z))[: NUM_CLIMBS_NEAR // 2]
        modes, more = climb_from(target, z[least], modes)
        gradients += more
    return modes, gradients


def climb_from(target: Target, starts: np.ndarray, known: list[Mode]) -> tuple[list[Mode], int]:
    """Climb from each of the starts; return the known modes and those that are new, and the gradients that it took."""
    modes, gradients = list(known), 0
    for z in starts:
        climb = Climb(target, z, CLIMB_STEPS, until=functools.partial(is_at_one, modes))
        gradients += climb.evaluations
        if climb.stopped:
            continue
        before = climb.evaluations
        search_by_newton(climb, CLIMB_STEPS)
        found = polish(climb)
        gradients += climb.evaluations - before
        if found.is_proper and found.distance < ARRIVED and not any(same_mode(mode, found) for mode in modes):
            modes.append(found)
    return modes, gradients


def is_at_one(modes: list[Mode], z: np.ndarray) -> bool:
    """Return whether a climb has come to one of the modes, and need not arrive there."""
    return any(mode.normal.squared_distance(z) < ARRIVED**2 for mode in modes)


def nearest(modes: list[Mode], z: np.ndarray) -> np.ndarray:
    """Return which mode each z of (..., dim) belongs to: that whose normal has the highest density, by its mass."""
    return np.argmax([mode.log_mass + np.asarray(mode.normal.log_prob(z)) for mode in modes], axis=0)
