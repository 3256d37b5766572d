"""ReferencePosterior of a posterior that is exactly normal in z, found and verified numerically.

Requires a target whose log density is a quadratic of z: linear models with normal noise and normal priors, on sites
that are unconstrained or whose change of variables makes them so (a log-normal). No algebra is needed: mode
and curvature are the mean and the precision, and whether the log density is that quadratic is checked far from the
mode, where anything else would show.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.core.cholesky import tril_of_root
from vi_kl.core.errors import ViKLError
from vi_kl.core.estimate import Estimate
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.precision import in_float64
from vi_kl.core.programs.degree import degree_in_last
from vi_kl.core.random_keys import numpy_generator
from vi_kl.core.scales import Triangular
from vi_kl.reference.posterior import Moments, ReferencePosterior
from vi_kl.targets.arguments import of_a_target
from vi_kl.targets.modes import find_mode
from vi_kl.targets.price import CHUNK
from vi_kl.targets.rows import traced
from vi_kl.targets.target import Target, constrain_in_chunks, value_and_grad

RADII = (1.0, 3.0, 6.0)  # in sd
# At these radii another mode of the same width, or a heavy tail, has overtaken the quadratic. A density that is lower
# than the normal's at such a distance, or is lost to overflow, changes nothing.
FAR_RADII = (20.0, 100.0)
NUM_DIRECTIONS = 32  # random directions, besides the axes
TOLERANCE = 1e-8  # nats per nat of the numbers compared
NUM_DRAWS = 100_000  # draws for the moments of constrained sites
ROUNDING = np.finfo(float).eps


class NotGaussian(ViKLError, ValueError):
    """An error: the posterior is not normal in z; the message says by how much, where, and in which coordinate."""


@dataclasses.dataclass(frozen=True)
class Quadratic:
    """A quadratic function of z, peak - |u|^2 / 2, with u the whitened coordinates of a normal.

    Attributes:
        error: a bound of the effect of rounding, in mean and curvature, on the log of the integral, in nats.
    """

    normal: Gaussian
    peak: float
    error: float


@of_a_target
@in_float64
def gaussian_reference(target: Target, *, proven: bool = False) -> ReferencePosterior:
    """Find and verify the reference of a target whose posterior is exactly normal in z.

    The log density is compared with the quadratic at 1, 3 and 6 sd from the mode, both ways along every whitened axis
    and along random directions; at 20 and 100 sd it must not exceed the quadratic. A mode so narrow that all of these
    points miss it is not seen so; `proven` asks for a log density whose operations show that it is a quadratic.

    Args:
        target: the posterior.
        proven: whether to refuse a log density that looks normal, if its operations do not show that it is: those of a
            mixture do not, nor those of a function outside JAX.

    Returns:
        A ReferencePosterior with `normal`; the standard error of its log evidence bounds the rounding. Sites that z
        holds as they are, or by their logarithm, have exact moments; other constrained sites have those of 100,000
        draws, with that error.

    Raises:
        NotGaussian: the log density has no proper mode, or is not a quadratic; the message names the largest
            deviation in nats, where it is, and the coordinate of z that is responsible. Or that is not proven.
    """
    if proven:
        refuse_unproven(target)
    quadratic = fit_quadratic(target)
    deviation = verify(target, quadratic)
    normal = quadratic.normal
    value = quadratic.peak + float(normal.log_volume)
    summed = abs(quadratic.peak) + np.abs(np.log(np.diag(normal.scale.tril))).sum() + target.dim
    error = deviation + quadratic.error + 4 * ROUNDING * summed

    return ReferencePosterior(
        Estimate(value, error, "closed form, found and verified numerically"),
        normal_moments(target, normal),
        functools.partial(draw_normal, normal),
        log_density=normal.log_prob,
        normal=(normal.loc, normal.covariance),
        target=target,
    )


def refuse_unproven(target: Target) -> None:
    """Raise an error unless a log density's operations show that it is a polynomial of the second degree in z."""
    if target.density.is_streamed or degree_in_last(traced(target.density, target.data, target.sites)) > 2:
        raise NotGaussian(
            "The operations of the log density do not show that it is a quadratic in z, and points cannot: parts of it "
            "may be too narrow for them. Use reference_by_quadrature (up to three dimensions) or a reference run."
        )


@in_float64
def draw_normal(normal: Gaussian, key, n: int) -> np.ndarray:
    return normal.sample(numpy_generator(key), n)


def fit_quadratic(target: Target) -> Quadratic:
    """Return mean and covariance from mode and Hessian, refined in whitened coordinates.

    There, differences of the gradient over whole sd have no truncation error on a quadratic and almost no rounding.
    """
    start = starting_point(target)
    mode = find_mode(target, start, max_steps=10)  # on a quadratic, the Newton step after these steps arrives
    if not mode.is_proper:
        mode = find_mode(target, start)
    if not mode.is_proper:
        raise no_proper_mode(target, mode.hessian, np.eye(target.dim))
    mean, tril = mode.z, root_of_inverse(target, -mode.hessian, np.eye(target.dim))
    for _ in range(4):
        curvature = whitened_curvature(target, mean, tril)
        tril = root_of_inverse(target, curvature, tril)
        mean = mean + tril @ (tril.T @ gradient_at(target, mean))
        error = 0.5 * np.abs(curvature - np.eye(target.dim)).trace()
        if error < 1e-12 * target.dim:
            break
    peak, gradient = value_and_grad(target, jnp.asarray(mean))
    error += 0.5 * float(np.sum((tril.T @ np.asarray(gradient)) ** 2))
    return Quadratic(Gaussian.of(mean, tril), float(peak), error)


def starting_point(target: Target) -> np.ndarray:
    """Return the origin, or a random point where the log density is finite."""
    origin = jnp.zeros(target.dim)
    value, gradient = value_and_grad(target, origin)
    if np.isfinite(value) and np.isfinite(gradient).all():
        return np.asarray(origin)
    return np.asarray(target.initial_position(jax.random.key(0)))


def gradient_at(target: Target, z) -> np.ndarray:
    return np.asarray(value_and_grad(target, jnp.asarray(z))[1])


def whitened_curvature(target: Target, mean, tril) -> np.ndarray:
    """Return minus the Hessian in u, where z = mean + tril u: the identity if tril is right."""
    columns = [tril.T @ (gradient_at(target, mean - step) - gradient_at(target, mean + step)) / 2 for step in tril.T]
    return (np.stack(columns) + np.stack(columns, axis=1)) / 2


def root_of_inverse(target: Target, curvature, tril) -> np.ndarray:
    """Return the Cholesky factor of tril curvature^-1 tril', without forming that product."""
    try:
        root = Triangular(np.linalg.cholesky(curvature)).solve(tril)
    except np.linalg.LinAlgError:
        root = np.full_like(tril, np.nan)
    if not np.isfinite(root).all():
        raise no_proper_mode(target, -curvature, tril)
    return tril_of_root(root)


def verify(target: Target, quadratic: Quadratic) -> float:
    """Return the largest deviation from the quadratic up to 6 sd, in nats, after checking that all are rounding.

    Raises:
        NotGaussian: a deviation exceeds rounding.
    """
    near = [deviation_at(target, quadratic, u) for u in points(target.dim, RADII)]
    refuse_deviations(target, quadratic, near)
    far = [deviation_at(target, quadratic, u) for u in points(target.dim, FAR_RADII)]
    above = [d for d in far if d.excess > TOLERANCE * d.size]
    refuse_deviations(target, quadratic, [d for d in above if is_representable(target, quadratic, d)])
    return max(abs(d.excess) for d in near)


@dataclasses.dataclass(frozen=True)
class Deviation:
    """A deviation of the log density from the quadratic at one u, in nats, with the size of the numbers subtracted."""

    u: np.ndarray
    excess: float
    size: float

    @property
    def magnitude(self) -> float:
        return np.inf if np.isnan(self.excess) else abs(self.excess)

    @property
    def matters(self) -> bool:
        """Return whether the deviation is more than rounding; it is if the numbers themselves are not finite."""
        return not np.isfinite(self.size) or self.magnitude > TOLERANCE * self.size


def deviation_at(target: Target, quadratic: Quadratic, u) -> Deviation:
    z = quadratic.normal.unwhiten(u)
    value = float(value_and_grad(target, jnp.asarray(z))[0])
    expected = -0.5 * float(quadratic.normal.squared_distance(z))
    return Deviation(u, value - quadratic.peak - expected, 1 + abs(quadratic.peak) + abs(expected))


def is_representable(target: Target, quadratic: Quadratic, deviation: Deviation) -> bool:
    """Return whether the sites still represent this z.

    A probability of 1 - 1e-17, say, is 1 in floating point, and its density is that of another point.
    """
    back = target.unconstrain(target.constrain(quadratic.normal.unwhiten(deviation.u)))
    moved = np.linalg.norm(quadratic.normal.whiten(np.asarray(back)) - deviation.u)
    return bool(moved * np.linalg.norm(deviation.u) < TOLERANCE * deviation.size)


def refuse_deviations(target: Target, quadratic: Quadratic, deviations: list[Deviation]) -> None:
    if not any(d.matters for d in deviations):
        return
    worst = max(deviations, key=lambda d: d.magnitude)
    name = responsible_coordinate(target, quadratic.normal, worst)
    what = "NaN" if np.isnan(worst.excess) else f"{worst.excess:+.3g} nats off the normal's"
    raise NotGaussian(
        f"The posterior is not normal in z: {np.linalg.norm(worst.u):.3g} sd from its mode the log density is {what}, "
        f"and coordinate '{name}' deviates most. "
        f"Use reference_by_quadrature (up to three dimensions) or a reference run."
    )


def points(dim: int, radii: tuple[float, ...]) -> np.ndarray:
    """Return u at these distances along every direction."""
    return np.concatenate([radius * whitened_directions(dim) for radius in radii])


def whitened_directions(dim: int) -> np.ndarray:
    """Return unit vectors: the axes and random directions, with both signs."""
    random = np.random.default_rng(0).standard_normal((NUM_DIRECTIONS, dim))
    half = np.concatenate([np.eye(dim), random / np.linalg.norm(random, axis=1, keepdims=True)])
    return np.concatenate([half, -half])


def responsible_coordinate(target: Target, normal: Gaussian, deviation: Deviation) -> str:
    """Return the name of the coordinate that deviates most.

    It is where the gradient, in units of the sd, is farthest from the normal's, or which has moved the farthest.
    """
    z = normal.unwhiten(deviation.u)
    expected = -normal.scale.solve_transpose(deviation.u)
    share = np.abs(gradient_at(target, z) - expected) * normal.sd
    if not np.isfinite(share).all():
        share = np.abs(z - normal.loc) / normal.sd
    return target.coordinate_names[int(np.argmax(share))]


def no_proper_mode(target: Target, hessian, tril) -> NotGaussian:
    """Return the error to raise if this Hessian, in u with z = tril u, is not negative definite."""
    if not np.isfinite(hessian).all():
        name = target.coordinate_names[int(np.argmax((~np.isfinite(hessian)).sum(axis=0)))]
        return NotGaussian(f"The posterior is not normal in z: no finite curvature along coordinate '{name}'.")
    values, vectors = np.linalg.eigh(hessian)
    moved = np.abs(tril @ vectors[:, -1]) / np.linalg.norm(tril, axis=1)
    name = target.coordinate_names[int(np.argmax(moved))]
    return NotGaussian(
        f"The posterior is not normal in z: where the climb to its mode ended, the log density does not curve down "
        f"(its largest curvature is {values[-1]:+.3g}), mostly along coordinate '{name}'. Is the posterior proper, "
        f"and are its predictors centred, so that float64 can resolve its directions?"
    )


def normal_moments(target: Target, normal: Gaussian) -> dict[str, Moments]:
    """Return the moments of all sites.

    They are exact if z holds the site as it is or by its logarithm, and computed from draws otherwise.
    """
    generator = np.random.default_rng(0)

    def draw(n):
        z = normal.sample(generator, n)
        return z, constrain_in_chunks(target, z)

    z, sites = draw(CHUNK)
    ends = np.cumsum([site.size for site in target.sites])[:-1]
    columns = [np.split(array, ends, axis=-1) for array in (z, normal.loc, normal.sd)]
    exact = {
        site.name: moments_if_known(sites[site.name], *parts)
        for site, *parts in zip(target.sites, *columns, strict=True)
    }
    if all(exact.values()):
        return exact
    return {name: exact[name] or moments_of_draws(x) for name, x in draw(NUM_DRAWS)[1].items()}


def moments_if_known(x, z, mean, sd) -> Moments | None:
    """Return the moments of a site that is normal or log-normal entry by entry, else None.

    Which of these it is shows in its values x at draws z.
    """
    shape = x.shape[1:]
    if np.prod(shape) != len(mean):
        return None
    z, mean, sd = z.reshape(x.shape), mean.reshape(shape), sd.reshape(shape)
    if np.array_equal(x, z):
        return Moments(mean, sd)
    if (x > 0).all() and np.allclose(np.log(x), z, rtol=1e-12, atol=1e-12):
        centre = np.exp(mean + sd**2 / 2)
        return Moments(centre, centre * np.sqrt(np.expm1(sd**2)))
    return None


def moments_of_draws(x) -> Moments:
    return Moments(x.mean(axis=0), x.std(axis=0, ddof=1), 1 / np.sqrt(len(x)))
