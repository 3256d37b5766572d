"""Planted failures: approximations that are wrong in a known way, to find out which diagnostics detect what.

Each failure is a target whose reference is known in closed form and a q that fails it in one way. A seed turns the
target to a random position, so that no diagnostic profits from an axis.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import digamma, gammaln, polygamma

from vi_kl.core.estimate import Estimate
from vi_kl.core.gaussian import Gaussian, StudentT
from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import numpy_generator
from vi_kl.core.scales import Root
from vi_kl.families.approximation import Approximation
from vi_kl.families.family import Family
from vi_kl.families.gaussian import FullRank, full_rank_params
from vi_kl.reference.mcmc.reference_run import reference_run
from vi_kl.reference.mcmc.tempering import Annealing
from vi_kl.reference.posterior import Moments, ReferencePosterior
from vi_kl.targets.target import Target

DIM = 3
APART = 20.0  # sds between the two modes
NARROW = 0.05  # the width, relative to q's, of a mode that climbs seldom end on
MANY = 100  # dimensions in which no importance weights are even
SHAPE = 2.0  # of the gammas whose logs are the skewed directions of a posterior: their skewness is -0.78
TAIL = 2.5  # degrees of freedom of the heavy-tailed target: it has a variance, just


@dataclasses.dataclass(frozen=True)
class PlantedFailure:
    """A way to be wrong.

    Attributes:
        name: the name in tables.
        what: a sentence that describes it.
        plant: a function of a seed that returns the approximation; its target has its reference.
    """

    name: str
    what: str
    plant: Callable[[int], Approximation]


# Targets: densities that are normalised, turned by a random matrix -------------------------------------------------


def normal_log_density(z, data):
    mean, tril = data
    return dist.MultivariateNormal(mean, scale_tril=tril, validate_args=False).log_prob(z)


def two_modes_log_density(z, data):
    means, tril = data
    both = dist.MultivariateNormal(means, scale_tril=tril, validate_args=False).log_prob(z)
    return jax.nn.logsumexp(both) - jnp.log(2.0)


def student_log_density(z, data):
    mean, tril = data
    return dist.MultivariateStudentT(TAIL, mean, tril, validate_args=False).log_prob(z)


def normal_target(mean, tril) -> Target:
    normal = Gaussian.of(mean, tril)
    reference = known(normal.sample, mean, normal.covariance, normal=(mean, normal.covariance))
    return target_of(normal_log_density, (mean, tril), reference)


def two_modes_target(means, tril) -> Target:
    def draw(generator, n):
        return means[generator.integers(2, size=n)] + generator.standard_normal((n, len(tril))) @ tril.T

    mean, half = means.mean(axis=0), (means[1] - means[0]) / 2
    reference = known(draw, mean, tril @ tril.T + np.outer(half, half))
    return target_of(two_modes_log_density, (means, tril), reference)


def mixture_log_density(z, data):
    """Return the log density of a mixture of normals of one shape, each with its mean, scale and weight."""
    means, tril, scales, weights = data
    each = dist.MultivariateNormal(means, scale_tril=scales[:, None, None] * tril, validate_args=False).log_prob(z)
    return jax.nn.logsumexp(each + jnp.log(weights))


def mixture_target(means, tril, scales, weights) -> Target:
    scales, weights = np.asarray(scales, float), np.asarray(weights, float)

    def draw(generator, n):
        which = generator.choice(len(weights), size=n, p=weights)
        return means[which] + scales[which, None] * (generator.standard_normal((n, len(tril))) @ tril.T)

    mean = weights @ means
    within = (weights @ scales**2) * tril @ tril.T
    reference = known(draw, mean, within + (means - mean).T @ ((means - mean) * weights[:, None]))
    data = means, tril, scales, weights
    return Target.from_log_density(
        mixture_log_density, len(tril), data=jax.tree.map(jnp.asarray, data), reference=reference
    )


def skewed_log_density(z, data):
    """Return the log density of mean + matrix y, with standardised logs of gammas as the entries of y."""
    mean, inverse, log_det = data
    v = digamma(SHAPE) + jnp.sqrt(polygamma(1, SHAPE)) * (inverse @ (z - mean))
    each = SHAPE * v - jnp.exp(v) - gammaln(SHAPE) + 0.5 * jnp.log(polygamma(1, SHAPE))
    return each.sum() - log_det


def skewed_target(mean, matrix) -> Target:
    """Return a target that is skewed in as many directions as it has, with this mean, and covariance matrix matrix'."""

    def draw(generator, n):
        y = np.log(generator.gamma(SHAPE, size=(n, len(mean))))
        return mean + (y - float(digamma(SHAPE))) / np.sqrt(float(polygamma(1, SHAPE))) @ matrix.T

    data = mean, np.linalg.inv(matrix), np.linalg.slogdet(matrix)[1]
    reference = known(draw, mean, matrix @ matrix.T)
    return Target.from_log_density(
        skewed_log_density, len(mean), data=jax.tree.map(jnp.asarray, data), reference=reference
    )


def student_target(mean, tril) -> Target:
    student = StudentT(Gaussian.of(mean, tril), TAIL)
    reference = known(student.sample, mean, student.normal.covariance * TAIL / (TAIL - 2))
    return target_of(student_log_density, (mean, tril), reference)


def target_of(log_density, data, reference) -> Target:
    return Target.from_log_density(log_density, len(data[1]), data=jax.tree.map(jnp.asarray, data), reference=reference)


def known(draw, mean, covariance, normal=None) -> ReferencePosterior:
    """Return the reference of a normalised density."""

    def sample(key, n):
        return draw(numpy_generator(key), n)

    moments = {"z": Moments(mean, np.sqrt(np.diag(covariance)))}
    return ReferencePosterior(Estimate(0.0, 0.0, "closed form"), moments, sample, normal=normal)


def position(seed: int, dim: int = DIM) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Draw a mean, and a Cholesky factor of a covariance with sds of 0.5 to 3 in random directions."""
    generator = np.random.default_rng(seed)
    turn = np.linalg.qr(generator.standard_normal((dim, dim)))[0]
    covariance = (turn * np.geomspace(0.5, 3.0, dim) ** 2) @ turn.T
    return generator.uniform(-1, 1, dim), np.linalg.cholesky(covariance), generator


def full_rank(target: Target, mean, tril) -> Approximation:
    return Approximation(FullRank(), full_rank_params(mean, tril), target)


# Failures --------------------------------------------------------------------------------------------------------


def healthy(seed):
    """Plant nothing: q is the posterior."""
    mean, tril, _ = position(seed)
    return full_rank(normal_target(mean, tril), mean, tril)


def missed_mode(seed):
    """Plant a q on one of two modes, which are far apart."""
    mean, tril, generator = position(seed)
    direction = generator.standard_normal(DIM)
    other = mean + APART * tril @ (direction / np.linalg.norm(direction))
    return full_rank(two_modes_target(np.stack([mean, other]), tril), mean, tril)


def narrow(seed):
    """Plant a q with half of the posterior's sds."""
    mean, tril, _ = position(seed)
    return full_rank(normal_target(mean, tril), mean, 0.5 * tril)


def wide(seed):
    """Plant a q with twice the posterior's sds."""
    mean, tril, _ = position(seed)
    return full_rank(normal_target(mean, tril), mean, 2.0 * tril)


def no_correlation(seed):
    """Plant correlations of 0.8 between all coordinates, and none in q, whose sds are right."""
    generator = np.random.default_rng(seed)
    mean, sd = generator.uniform(-1, 1, DIM), generator.uniform(0.5, 2.0, DIM)
    tril = np.linalg.cholesky((0.2 * np.eye(DIM) + 0.8) * np.outer(sd, sd))
    return full_rank(normal_target(mean, tril), mean, np.diag(sd))


def thin_tail(seed):
    """Plant a normal with the right place and nearly the best scale for reverse KL, on a heavy-tailed posterior."""
    mean, tril, _ = position(seed)
    return full_rank(student_target(mean, tril), mean, 1.2 * tril)


def stopped_early(seed):
    """Plant a q halfway from a usual start (the origin, sds of 0.1) to the posterior, in location and in log scale."""
    mean, tril, _ = position(seed)
    halfway = np.sqrt(0.1) * tril / np.sqrt(np.diag(tril))[:, None]
    return full_rank(normal_target(mean, tril), mean / 2, halfway)


def narrow_mode(seed):
    """Plant a narrow mode along an axis of the coordinates or a principal axis of q, in turn."""
    mean, tril, _ = position(seed, 5)
    values, axes = np.linalg.eigh(tril @ tril.T)
    ways = np.concatenate([np.diag(np.linalg.norm(tril, axis=1)), axes.T * np.sqrt(values)[:, None]])
    return beside_a_narrow_mode(mean, tril, ways[seed % len(ways)])


def narrow_mode_aside(seed):
    """Plant a narrow mode in a random direction."""
    mean, tril, generator = position(seed, 5)
    direction = generator.standard_normal(5)
    return beside_a_narrow_mode(mean, tril, tril @ (direction / np.linalg.norm(direction)))


def beside_a_narrow_mode(mean, tril, way):
    """Return a q on one half of the mass; the other is `NARROW` times as wide, six of the lengths of `way` away."""
    return full_rank(mixture_target(np.stack([mean, mean + 6 * way]), tril, [1.0, NARROW], [0.5, 0.5]), mean, tril)


def spike_in_slab(seed):
    """Plant a q that is the spike with even seeds, and the slab with odd ones."""
    mean, tril, _ = position(seed, 10)
    target = mixture_target(np.stack([mean, mean]), tril, [1.0, 0.1], [0.7, 0.3])
    return full_rank(target, mean, tril if seed % 2 else 0.1 * tril)


def wide_part(seed):
    """Plant a q that misses a part with the same centre and ten times its width."""
    mean, tril, _ = position(seed, 10)
    return full_rank(mixture_target(np.stack([mean, mean]), tril, [1.0, 10.0], [0.9, 0.1]), mean, tril)


def mode_in_many_dimensions(seed):
    """Plant a missed mode in twenty dimensions."""
    mean, tril, generator = position(seed, 20)
    direction = generator.standard_normal(20)
    other = mean + 10.0 * tril @ (direction / np.linalg.norm(direction))
    return full_rank(mixture_target(np.stack([mean, other]), tril, [1.0, 1.0], [0.5, 0.5]), mean, tril)


def skewed_everywhere(seed):
    """Plant a posterior that no normal fits, and as q the normal with its means and covariance."""
    mean, matrix = mixed(seed)
    return full_rank(skewed_target(mean, matrix), mean, np.linalg.cholesky(matrix @ matrix.T))


def one_sd(seed):
    """Plant one sd of a hundred that is 30% too small with even seeds, and 30% too large with odd ones."""
    mean, matrix = mixed(seed)
    factors = np.ones(MANY)
    factors[seed % MANY] = 1.3 if seed % 2 else 0.7
    return full_rank(skewed_target(mean, matrix), mean, factors[:, None] * np.linalg.cholesky(matrix @ matrix.T))


def one_correlation(seed):
    """Plant a correlation of 0.7 between two coordinates of a hundred, of which q has nothing; its sds are right."""
    mean, before = mixed(seed)
    sds, one, other = np.linalg.norm(before, axis=1), seed % MANY, (seed + 1) % MANY
    matrix = before.copy()
    joined = 0.7 * before[one] / sds[one] + np.sqrt(1 - 0.7**2) * before[other] / sds[other]
    matrix[other] = sds[other] * joined / np.linalg.norm(joined)
    return full_rank(skewed_target(mean, matrix), mean, np.linalg.cholesky(before @ before.T))


def mixed(seed) -> tuple[np.ndarray, np.ndarray]:
    """Draw a mean, and a matrix that makes each of many coordinates of all directions, with sds of 0.5 to 3."""
    mean, tril, _ = position(seed, MANY)
    values, turn = np.linalg.eigh(tril @ tril.T)
    return mean, turn * np.sqrt(values)


def no_jacobian(seed):
    """Plant a missing determinant: with even seeds it is above one, so that log q is too high, with odd seeds below."""
    mean, tril, _ = position(seed)
    tril = tril / 4 if seed % 2 else tril
    target = normal_target(mean, tril)
    return Approximation(WithoutJacobian(), {"loc": jnp.asarray(mean), "tril": jnp.asarray(tril)}, target)


def stuck_chains(seed):
    """Plant NUTS chains that start near one of two modes and all stay there, where q sits too."""
    q = missed_mode(seed)
    target = Target(q.target.density, q.target.data, q.target.sites, short_run(seed, num_warmup=300, num_draws=500))
    return Approximation(q.family, q.params, target)


def unconverged_chains(seed):
    """Plant NUTS chains in a funnel for whose neck their steps are too long; q is the funnel itself, and right."""
    target = Target.from_log_density(funnel_log_density, DIM, data=jnp.ones(1), reference=short_run(seed))
    return Approximation(FunnelItself(), {"scale": jnp.asarray(3.0)}, target)


def short_run(seed, num_warmup: int = 150, num_draws: int = 250):
    """Return a function that makes a reference by a short run, whose failed checks are ignored."""

    def make(target):
        key = jax.random.key(seed)
        settings = {"num_warmup": num_warmup, "num_draws": num_draws, "annealing": Annealing(num_particles=128)}
        return reference_run(target, key=key, on_failure="keep", **settings)

    return make


class Funnel(dist.Distribution):
    """The distribution z_0 ~ N(0, scale), with the others N(0, exp(z_0 / 2)) given it (Neal 2003, "Slice sampling")."""

    support = dist.constraints.real_vector

    def __init__(self, scale, dim):
        self.scale = scale
        super().__init__(event_shape=(dim,), validate_args=False)

    def sample(self, key, sample_shape=()):
        u = jax.random.normal(key, (*sample_shape, *self.event_shape), dtype=float)
        first = self.scale * u[..., :1]
        return jnp.concatenate([first, jnp.exp(first / 2) * u[..., 1:]], axis=-1)

    def log_prob(self, value):
        first, others = value[..., 0], value[..., 1:]
        log_p = dist.Normal(0.0, self.scale).log_prob(first)
        return log_p + dist.Normal(0.0, jnp.exp(first / 2)[..., None]).log_prob(others).sum(axis=-1)


def funnel_log_density(z, data):
    return Funnel(3.0 * data[0], len(z)).log_prob(z)


@dataclasses.dataclass(frozen=True)
class FunnelItself(Family):
    """The funnels of every scale."""

    name = "funnel"

    def init(self, key, target):
        return {"scale": jnp.ones(())}

    def distribution(self, params, target):
        return Funnel(params["scale"], target.dim)


class NormalOfNoise(dist.Distribution):
    """A distribution whose draws are loc + tril u, with the density of u: the change of variables is forgotten."""

    support = dist.constraints.real_vector

    def __init__(self, loc, tril):
        self.loc, self.tril = loc, tril
        super().__init__(event_shape=(loc.shape[-1],), validate_args=False)

    def sample(self, key, sample_shape=()):
        u = jax.random.normal(key, (*sample_shape, *self.event_shape), dtype=self.loc.dtype)
        return self.loc + u @ self.tril.T

    def log_prob(self, value):
        normal = Gaussian(self.loc, Root(self.tril))
        return normal.log_prob(value) + normal.log_det


@dataclasses.dataclass(frozen=True)
class WithoutJacobian(Family):
    """The right draws with the wrong density."""

    name = "without_jacobian"

    def init(self, key, target):
        return {"loc": jnp.zeros(target.dim), "tril": jnp.eye(target.dim)}

    def distribution(self, params, target):
        return NormalOfNoise(params["loc"], params["tril"])


def failure(name: str, what: str, plant) -> PlantedFailure:
    return PlantedFailure(name, what, functools.partial(planted, plant))


@in_float64
def planted(plant: Callable[[int], Approximation], seed: int) -> Approximation:
    return plant(seed)


HEALTHY = failure("healthy", "q is the posterior: every alarm is a false one.", healthy)
FAILURES = (
    failure("missed mode", f"Two equal modes {APART:g} sds apart, q on one of them.", missed_mode),
    failure("sd too small", "q half as wide as the posterior.", narrow),
    failure("sd too large", "q twice as wide.", wide),
    failure("wrong correlation", "Correlations of 0.8, none in q; its sds are right.", no_correlation),
    failure("heavy tail", f"Student t with {TAIL:g} degrees of freedom under a normal q.", thin_tail),
    failure(
        "narrow mode", "Half of the mass 6 sds away, a twentieth as wide, in 5 dimensions, on an axis.", narrow_mode
    ),
    failure("narrow, aside", "The same in a random direction.", narrow_mode_aside),
    failure("spike in a slab", "30% of the mass a tenth as wide, in 10 dimensions; q is either.", spike_in_slab),
    failure("wide part", "A tenth of the mass ten times as wide, in 10 dimensions.", wide_part),
    failure("mode in 20 dims", "Two equal modes 10 sds apart in a random direction.", mode_in_many_dimensions),
    failure(
        "right moments",
        f"{MANY} skewed directions; q is the normal with the right means and covariance, and an alarm by a mean, an sd "
        "or a correlation is a false one.",
        skewed_everywhere,
    ),
    failure("one sd of 100", "The same, but one sd of q's 30% too small or too large.", one_sd),
    failure("one correlation", "The same, but a correlation of 0.7 that q does not have.", one_correlation),
    failure("stopped early", "q halfway from its start to the answer.", stopped_early),
    failure("wrong Jacobian", "q's density lacks the Jacobian of q's draws.", no_jacobian),
    failure("NUTS stuck", "Two modes; the chains of the reference run, and q, are in one of them.", stuck_chains),
    failure("NUTS unconverged", "A short reference run in a funnel; q is the funnel itself.", unconverged_chains),
)
