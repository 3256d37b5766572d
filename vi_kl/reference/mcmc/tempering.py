"""The tempered path of annealing: particles moved from a start to the target.

Particles are reweighted, resampled and moved by Hamiltonian dynamics. One compiled program serves the round that
chooses its plan as it goes, the rounds that follow a plan, and the way back. See annealing.py for its use and
references.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.core.compilation import compiled
from vi_kl.core.errors import ViKLError
from vi_kl.core.gaussian import Gaussian, StudentT
from vi_kl.core.random_keys import numpy_generator
from vi_kl.core.scales import Inverse, Triangular
from vi_kl.targets.target import Target, is_small, value_and_grad_rows

MOST_STAGES = 200
EFFICIENCY = 0.8  # conditional effective sample size, as a share of the particles, that one stage may reduce to
ACCEPTANCE = 0.8
LEAPFROGS = 5
LARGEST_STEP = 1.0  # in whitened coordinates


class AnnealingError(ViKLError, RuntimeError):
    """An error: the posterior was not reached; the message says what to try."""


class StartingDensity(NamedTuple):
    """A multivariate Student-t at which annealing begins; it should be broader than the posterior.

    With a normal's tails, the weights would have no finite variance where the posterior's tails are heavier, such as
    those of the log of a scale.

    Attributes:
        location: the location, of shape (dim,).
        scale_tril: the Cholesky factor of the scale matrix, of shape (dim, dim).
        degrees_of_freedom: the degrees of freedom.
    """

    location: np.ndarray
    scale_tril: np.ndarray
    degrees_of_freedom: float = 5.0

    @property
    def density(self) -> StudentT:
        """The density itself."""
        return StudentT(Gaussian.of(self.location, self.scale_tril), self.degrees_of_freedom)

    @classmethod
    def broad(cls, dim: int, scale: float = 4.0) -> "StartingDensity":
        """Return a start around the origin of z, for a posterior about which nothing is known."""
        return cls(np.zeros(dim), scale * np.eye(dim))

    @classmethod
    def around(cls, z, inflation: float = 3.0) -> "StartingDensity":
        """Return a start around draws (n, dim), scaled to `inflation` times their sds."""
        covariance = np.atleast_2d(np.cov(z, rowvar=False))
        return cls(np.mean(z, axis=0), inflation * np.linalg.cholesky(covariance))


@dataclasses.dataclass(frozen=True)
class Populations:
    """A set of sizes of populations of particles.

    Attributes:
        num_populations: the number of independent populations, whose spread gives the error.
        num_particles: the number of particles of each population.
    """

    num_populations: int = 8
    num_particles: int = 256

    def __post_init__(self):
        for name, least in (("num_populations", 3), ("num_particles", 16), ("num_moves", 1)):
            value = getattr(self, name, least)
            if not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")

    @property
    def words(self) -> str:
        return f"{self.num_populations} populations of {self.num_particles:,}"


@dataclasses.dataclass(frozen=True)
class Annealing(Populations):
    """A set of settings of annealing.

    Attributes:
        num_populations: the number of independent populations, whose spread gives the error.
        num_particles: the number of particles of each population.
        num_moves: the number of Hamiltonian moves of every particle at every stage.
    """

    num_moves: int = 3


def starting_particles(start: StartingDensity, config: Populations, key) -> np.ndarray:
    """Return draws of the start, of shape (populations x particles, dim)."""
    n = config.num_populations * config.num_particles
    return start.density.sample(numpy_generator(key), n)


class Plan(NamedTuple):
    """A plan of a round's stages; arrays of MOST_STAGES, of which the first num_stages count.

    Attributes:
        powers: the power b after each stage's reweighting.
        factors: Cholesky factors by which the stages' moves are scaled, of shape (stages, dim, dim).
        step_sizes: the step sizes of the leapfrog, in the scaled coordinates.
    """

    powers: jax.Array
    factors: jax.Array
    step_sizes: jax.Array
    num_stages: int

    def reversed(self, start: StartingDensity) -> "Plan":
        """Return the plan of the way back, from b = 1 through the stages to b = 0, where the start's scales hold."""
        n = self.num_stages
        back = np.arange(n - 1)[::-1]

        def reverse(values, last):
            values = np.asarray(values)
            turned = np.concatenate([values[back], np.asarray(last)[None]])
            return np.concatenate([turned, np.broadcast_to(turned[-1:], (len(values) - n, *values.shape[1:]))])

        step_size = np.asarray(self.step_sizes)[0]
        return Plan(reverse(self.powers, 0.0), reverse(self.factors, start.scale_tril),
                    reverse(self.step_sizes, step_size), n)  # fmt: skip


class Particles(NamedTuple):
    """A set of particles with the target there: z and gradient (populations, particles, dim), log_p without dim.

    The log density is never NaN: it is minus infinity instead, and its gradient is zero.
    """

    z: jax.Array
    log_p: jax.Array
    gradient: jax.Array


class State(NamedTuple):
    """A state that one stage hands to the next; log_z is the log of each population's evidence so far."""

    particles: Particles
    log_z: jax.Array
    power: jax.Array
    stage: jax.Array
    step_size: jax.Array
    plan: tuple  # powers, factors, step_sizes as they were used
    key: jax.Array


def choose_plan(target: Target, start: StartingDensity, config: Annealing, key) -> Plan:
    """Run the first round, which chooses powers, scales and step sizes on the way, and return its plan."""
    dim = target.dim
    empty = Plan(np.zeros(MOST_STAGES), np.zeros((MOST_STAGES, dim, dim)), np.zeros(MOST_STAGES), MOST_STAGES)
    draw_key, key = jax.random.split(key)
    state = follow(target, start, empty, starting_particles(start, config, draw_key), config, key, adaptive=True)
    if not state.power == 1.0:
        raise AnnealingError(
            f"The posterior was not reached within {MOST_STAGES} stages (b = {float(state.power):.2g}): give a start "
            "nearer to it, such as StartingDensity.around(draws), or check that the log density is finite "
            "around the start."
        )
    return Plan(*map(np.asarray, state.plan), int(state.stage))


def ready(start: StartingDensity) -> StudentT:
    """Return a start as the compiled program reads it: a product with the inverse is far quicker there than solving."""
    inverse = Triangular(start.scale_tril).solve(np.eye(len(start.location))).T
    normal = Gaussian(start.location, Inverse(Triangular(inverse)))
    return jax.tree.map(jnp.asarray, StudentT(normal, start.degrees_of_freedom))


def follow(target, start: StartingDensity, plan: Plan, z, config: Annealing, key, adaptive: bool = False) -> State:
    """Lead the particles z through the plan, or through one that is made on the way."""
    shape = config.num_populations, config.num_particles, target.dim
    particles = evaluate_once(target, jnp.asarray(z.reshape(shape)))
    arrays = tuple(map(jnp.asarray, plan[:3]))
    backwards = not adaptive and plan.powers[plan.num_stages - 1] == 0.0
    scalars = (jnp.asarray(1.0 if backwards else 0.0), jnp.asarray(plan.num_stages), jnp.asarray(adaptive))
    return temper(target, ready(start), arrays, particles, *scalars, key, config.num_moves)


def few_numbers(target, *rest) -> bool:
    return is_small(target, 100)


@compiled(static=("num_moves",), unoptimized=few_numbers)
def temper(
    target: Target, start: StudentT, plan, particles, first_power, num_stages, adaptive, key, num_moves: int
) -> State:
    """Run all stages: reweight, resample, move.

    With `adaptive`, the plan is chosen on the way, until the power is one.
    """
    nothing = jax.tree.map(jnp.zeros_like, plan)
    zeros = jnp.zeros(particles.z.shape[0])
    state = State(particles, zeros, first_power, jnp.asarray(0), jnp.asarray(0.5), nothing, key)

    def goes_on(state):
        unfinished = (state.stage < num_stages) & ~(adaptive & (state.power == 1.0))
        return unfinished & jnp.isfinite(state.log_z).any()  # no particle is left if all weights vanish

    return jax.lax.while_loop(goes_on, lambda state: one_stage(target, start, plan, adaptive, state, num_moves), state)


def one_stage(target, start, plan, adaptive, state: State, num_moves: int) -> State:
    key, resample_key, move_key = jax.random.split(state.key, 3)
    powers, factors, step_sizes = (values[state.stage] for values in plan)
    log_ratio = state.particles.log_p - start.log_prob(state.particles.z)
    power = jnp.where(adaptive, next_power(log_ratio, state.power), powers)
    log_weight = jnp.where(jnp.isfinite(log_ratio), (power - state.power) * log_ratio, -jnp.inf)
    log_z = state.log_z + jax.nn.logsumexp(log_weight, axis=1) - jnp.log(log_weight.shape[1])
    particles = resample(resample_key, log_weight, state.particles)
    factor = jnp.where(adaptive, spread(particles.z), factors)
    step_size = jnp.where(adaptive, state.step_size, step_sizes)
    particles, accepted = move(target, start, particles, power, factor, step_size, move_key, num_moves)
    used = power, factor, step_size
    record = tuple(values.at[state.stage].set(new) for values, new in zip(state.plan, used, strict=True))
    better = jnp.minimum(step_size * jnp.exp(2 * (accepted - ACCEPTANCE)), LARGEST_STEP)
    return State(particles, log_z, power, state.stage + 1, better, record, key)


def next_power(log_ratio, power):
    """Return the largest power whose reweighting keeps the required share of the particles that can be kept at all."""
    log_ratio = jnp.ravel(log_ratio)
    alive = jnp.isfinite(log_ratio)
    log_alive = jnp.log(alive.sum())

    def efficiency(step):
        log_weight = jnp.where(alive, step * log_ratio, -jnp.inf)
        return jnp.exp(2 * jax.nn.logsumexp(log_weight) - jax.nn.logsumexp(2 * log_weight) - log_alive)

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        enough = efficiency(middle) > EFFICIENCY
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    rest = 1.0 - power
    low, _ = jax.lax.fori_loop(0, 40, halve, (jnp.zeros(()), rest))
    return jnp.where(efficiency(rest) > EFFICIENCY, 1.0, power + low)


def resample(key, log_weight, particles: Particles) -> Particles:
    """Draw particles by systematic resampling within each population."""
    n = log_weight.shape[1]
    offsets = jax.random.uniform(key, (len(log_weight), 1))

    def one(log_weight, offset, particles):
        edges = jnp.cumsum(jax.nn.softmax(log_weight))
        places = (jnp.arange(n) + offset) / n * edges[-1]
        chosen = jnp.minimum(jnp.searchsorted(edges, places, side="right"), n - 1)
        return jax.tree.map(lambda x: x[chosen], particles)

    return jax.vmap(one)(log_weight, offsets, particles)


def spread(z):
    """Return the Cholesky factor of the particles' covariance, all populations together."""
    flat = z.reshape(-1, z.shape[-1])
    centred = flat - flat.mean(axis=0)
    covariance = centred.T @ centred / len(flat)
    floor = 1e-10 * jnp.diag(covariance) + 1e-300
    return jnp.linalg.cholesky(covariance + jnp.diag(floor))


def evaluate(target: Target, z) -> Particles:
    flat = z.reshape(-1, z.shape[-1])
    log_p, gradient = value_and_grad_rows(target, flat)
    log_p = jnp.where(jnp.isnan(log_p), -jnp.inf, log_p)
    gradient = jnp.where(jnp.isfinite(gradient), gradient, 0.0)
    return Particles(z, log_p.reshape(z.shape[:-1]), gradient.reshape(z.shape))


evaluate_once = compiled(evaluate, unoptimized=True)


def move(target, start: StudentT, particles: Particles, power, factor, step_size, key, num_moves: int):
    """Make Hamiltonian moves that leave start^(1 - power) target^power invariant; return their acceptance rate too."""

    def one(particles, key):
        return move_once(target, start, particles, power, factor, step_size, key)

    particles, chances = jax.lax.scan(one, particles, jax.random.split(key, num_moves))
    return particles, chances.mean()


def tempered_gradient(start: StudentT, particles: Particles, power):
    """Return the gradient of the log of start^(1 - power) target^power at the particles."""
    return power * particles.gradient + (1 - power) * start.gradient(particles.z)


def move_once(target, start: StudentT, particles: Particles, power, factor, step_size, key):
    """Make one Hamiltonian move of every particle; return the mean chance of acceptance too.

    Positions move by `factor` times the momentum, which is standard normal.
    """

    def force(particles):
        return tempered_gradient(start, particles, power) @ factor

    def energy(particles, momentum):
        # at power zero the target does not count, even where it vanishes
        of_target = jnp.where(power > 0, power * particles.log_p, 0.0)
        return 0.5 * (momentum**2).sum(-1) - of_target - (1 - power) * start.log_prob(particles.z)

    def leapfrog(_, phase):
        particles, momentum, step = phase
        momentum = momentum + 0.5 * step * force(particles)
        particles = evaluate(target, particles.z + step * (momentum @ factor.T))
        return particles, momentum + 0.5 * step * force(particles), step

    keys = jax.random.split(key, 3)
    momentum = jax.random.normal(keys[0], particles.z.shape)
    # step sizes differ, so that no orbit closes on itself
    step = step_size * jax.random.uniform(keys[1], (*momentum.shape[:-1], 1), minval=0.0, maxval=1.2)
    proposed, turned, _ = jax.lax.fori_loop(0, LEAPFROGS, leapfrog, (particles, momentum, step))
    chance = jnp.exp(jnp.minimum(energy(particles, momentum) - energy(proposed, turned), 0.0))
    chance = jnp.where(jnp.isnan(chance), 0.0, chance)
    accepted = (jax.random.uniform(keys[2], chance.shape) < chance)[..., None]
    kept = Particles(
        jnp.where(accepted, proposed.z, particles.z),
        jnp.where(accepted[..., 0], proposed.log_p, particles.log_p),
        jnp.where(accepted, proposed.gradient, particles.gradient),
    )
    return kept, chance.mean()
