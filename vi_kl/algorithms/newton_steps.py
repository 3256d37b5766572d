"""Newton's steps of a sparse normal from draws of it: how far they go, how much of that is noise, and slow coordinates.

A step of the mean assumes that the spread of q stays as it is. Where a scale and the spread of all that it scales
determine one another, the scale's steps are too short by a factor that does not shrink, and an ascent by them is slow.
Such coordinates, shared by much of the model, are then moved by a quasi-Newton method of their own: the others are
brought to their best for fixed shared ones, and the gradient that is left there is that of the ELBO maximised over the
others. Differences of it give its true curvature (BFGS).

Reference: Nocedal & Wright (2006), "Numerical optimization", section 6.1.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri

from vi_kl.core.gaussian import Gaussian
from vi_kl.core.sparse_cholesky import SparseStructure
from vi_kl.core.sparse_precision import SparsePrecision
from vi_kl.targets.curvature import DRAWS
from vi_kl.targets.target import ROWS

GROUPS = 4  # of draws, whose mean gradients tell how much noise is in the mean of all
BATCHES = 2  # the same of curvatures, which are dearer
FIRST_STEPS = 4  # steps that may be long without being slow
SLOW = 0.4  # the share of the nats of the step before, above which a step is one of a slow ascent
FIRST_RADIUS, LONGEST_RADIUS = 4.0, 16.0
SHORTEST_RADIUS = 0.1  # sds, below which steps that do not raise the ELBO fail by its noise
SHARED_NOISE, USUAL = 0.05, 0.03  # sds of noise in a shared mean that are tolerated where so many nats in all are
LONGEST = 1.0  # the most that a step may move a scale, in z
LARGEST_RATIO = 0.8  # of the lengths of two steps, below which they are those of a slow ascent
OPPOSITE = 0.5  # minus the cosine of two steps from which on they turn back, and are shortened
INNER = 0.05  # nats that the others have to go, below which they are at their best for the shared coordinates


@dataclasses.dataclass(frozen=True)
class FixedNoise:
    """Standard normal noise in independent groups of even draws, made again from its seed whenever it is asked for.

    Attributes:
        seed: the seed of all of it.
        for_mean: the number of draws for the mean in each of GROUPS groups.
        for_precision: the number of draws for the precision in each of BATCHES groups.
    """

    seed: int
    for_mean: int = ROWS // GROUPS
    for_precision: int = DRAWS

    @classmethod
    def of(cls, generator: np.random.Generator) -> "FixedNoise":
        return cls(int(generator.integers(2**31)))

    def more(self, seen: "Measured", outer: "Outer | None", tolerance: float) -> "FixedNoise":
        """Return other noise, and twice as much of it where there was more than tolerable."""
        mean = seen.mean.noise > 0.3 * tolerance or seen.noise_of_shared(outer) > tolerated(tolerance)
        precision = seen.precision.noise > 0.5 * tolerance
        means = self.for_mean * (2 if mean or not precision else 1)
        return FixedNoise(self.seed + 1, means, self.for_precision * (2 if precision else 1))

    def of_more_curvatures(self) -> "FixedNoise":
        """Return other noise, with twice as many draws for the precision."""
        return FixedNoise(self.seed + 1, self.for_mean, 2 * self.for_precision)

    def of_means(self, dim: int):
        """Yield the noise of each group for the mean, (draws, dim)."""
        yield from (even_noise((self.seed, 0, group), self.for_mean, dim) for group in range(GROUPS))

    def of_precisions(self, dim: int):
        """Yield the noise of each group for the precision, (draws, dim)."""
        yield from (even_noise((self.seed, 1, group), self.for_precision, dim) for group in range(BATCHES))


def tolerated(nats: float) -> float:
    """Return the sds of noise in the mean of a shared coordinate that are tolerated with so many nats of it in all."""
    return SHARED_NOISE * float(np.sqrt(max(1.0, nats / USUAL)))


def even_noise(seed, n: int, dim: int) -> Float[np.ndarray, "n dim"]:
    """Return n rows of standard normal noise, n even, in pairs of opposite sign and even in every coordinate.

    The size of a coordinate is stratified over the pairs (Latin hypercube sampling), so that the mean of a sum of
    functions of one coordinate each has next to no noise. Its mean square is 1 exactly: a hyperparameter that all else
    depends on has the same few values for all of it, whose errors would not average out.

    Reference: McKay, Beckman & Conover (1979).
    """
    generator, pairs = np.random.default_rng(seed), n // 2
    strata = generator.permuted(np.tile(np.arange(pairs)[:, None], (1, dim)), axis=0)
    size = ndtri(0.5 + 0.5 * np.clip((strata + generator.random((pairs, dim))) / pairs, 0.0, 1 - 1e-12))
    half = np.where(generator.random((pairs, dim)) < 0.5, size, -size)
    half /= np.sqrt((half**2).mean(axis=0))
    return np.concatenate([half, -half])


@dataclasses.dataclass(frozen=True)
class Move:
    """How far a step goes, in nats, and how much of that is noise in expectation."""

    nats: float
    noise: float


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """What draws of a normal say of the next step.

    Attributes:
        normal: the normal.
        structure: the places of the entries of the precision.
        scale: the scale whose precision is the mean of minus the Hessians at the draws.
        gradients: mean gradients of groups of draws, (groups, dim).
        batches: the entries of minus the mean Hessian of each batch, (batches, entries).
        entries: the entries of the precision that is gone to: their mean, or what is on the way to it.
        shared: the shared coordinates.
        scales: those of them with which the curvature changes, (scales,).
        elbo: the ELBO on this noise.
        seed: the seed of the noise.
        before: the same one step before; None at the first step.
        is_stand_in: whether the precision is another's, as the mean Hessian is not negative definite.
    """

    normal: Gaussian
    structure: SparseStructure
    scale: SparsePrecision
    gradients: Float[np.ndarray, "groups dim"]
    batches: Float[np.ndarray, "batches entries"]
    entries: Float[np.ndarray, " entries"]
    shared: Int[np.ndarray, " shared"]
    scales: Int[np.ndarray, " scales"]
    elbo: float
    seed: int
    before: "Measured | None"
    is_stand_in: bool

    @property
    def place(self) -> Float[np.ndarray, " shared"]:
        """The mean of the shared coordinates."""
        return self.normal.loc[self.shared]

    @functools.cached_property
    def step(self) -> Float[np.ndarray, " dim"]:
        """Newton's step of the mean."""
        return self.scale.apply(self.scale.apply_transpose(self.gradients.mean(axis=0)))

    @functools.cached_property
    def mean(self) -> Move:
        """How far the mean moves."""
        gradient = self.gradients.mean(axis=0)
        whitened = self.scale.apply_transpose(self.gradients - gradient)
        noise = 0.5 * float((whitened**2).sum()) / (len(whitened) * (len(whitened) - 1))
        return Move(0.5 * float(self.step @ gradient), noise)

    @functools.cached_property
    def precision(self) -> Move:
        """How far the precision has moved since the step before, and the noise in its mean."""
        found = self.batches.mean(axis=0)
        noise = float(np.mean([self.nats_of(one - found) for one in self.batches])) / (len(self.batches) - 1)
        if self.before is None:
            return Move(np.inf, noise)
        moved = self.nats_of(found - self.before.entries)
        if self.seed != self.before.seed:  # the noise of both is in it
            moved = max(moved - noise - self.before.precision.noise, 0.0)
        return Move(moved, noise)

    def nats_of(self, change: Float[np.ndarray, " entries"]) -> float:
        """Return tr((P^-1 D)^2) / 4, the nats by which two normals differ whose precisions differ by D."""
        x = self.scale.apply(np.random.default_rng(0).standard_normal((4, self.scale.dim)))
        moved = np.array([self.structure.product(change, one) for one in x])
        return 0.25 * float((self.scale.apply_transpose(moved) ** 2).sum(axis=1).mean())

    # The shared coordinates -------------------------------------------------------------------------------------------

    @functools.cached_property
    def covariances(self) -> Float[np.ndarray, "shared dim"]:
        """The covariances of the shared coordinates with all."""
        unit = np.zeros((len(self.shared), self.scale.dim))
        unit[np.arange(len(self.shared)), self.shared] = 1.0
        return self.scale.apply(self.scale.apply_transpose(unit))

    @functools.cached_property
    def shared_precision(self) -> Float[np.ndarray, "shared shared"]:
        """The marginal precision of the shared coordinates."""
        return np.linalg.inv(self.covariances[:, self.shared])

    def following(self, shared_step: Float[np.ndarray, " shared"]) -> Float[np.ndarray, " dim"]:
        """Return the step of all coordinates by regression on a step of the shared ones."""
        return (self.shared_precision @ shared_step) @ self.covariances

    @functools.cached_property
    def left_for_shared(self) -> Float[np.ndarray, "groups shared"]:
        """The gradient of the shared coordinates when the others are at their best, for each group of draws."""
        steps = self.gradients @ self.covariances.T
        return steps @ self.shared_precision

    @functools.cached_property
    def whitened_move(self) -> Float[np.ndarray, " moves"]:
        """Newton's step of the mean, whitened, and the relative change of each coordinate's conditional sd."""
        assert self.before is not None, "asked of a second step only"
        places = self.structure.diagonal
        now, then = self.batches.mean(axis=0)[places], self.before.entries[places]
        return np.concatenate([self.scale.solve(self.step), 0.5 * np.log(now / then)])

    @property
    def nats(self) -> float:
        """How far mean and precision move."""
        return self.mean.nats + self.precision.nats

    def without_past(self) -> "Measured":
        """Return the same without what was seen before."""
        return dataclasses.replace(self, before=None)

    def noise_of_shared(self, outer: "Outer | None") -> float:
        """Return the most noise in the mean of a shared coordinate, in its sds."""
        if not len(self.shared):
            return 0.0
        curvature = self.shared_precision if outer is None else outer.curvature
        moves = np.linalg.solve(curvature, self.left_for_shared.T)
        sd = np.sqrt(np.diag(self.covariances[:, self.shared]))
        return float((moves.std(axis=1, ddof=1) / np.sqrt(moves.shape[1]) / sd).max())

    def next(self, outer: "Outer | None", tolerance: float) -> tuple[Gaussian, float, float]:
        """Return the normal to look at next, the nats of noise that are left, and the nats that are still to go."""
        left = self.mean.noise + self.precision.noise
        if outer is None:
            return self.moved(self.step), left, self.nats
        others = self.step - self.following(self.step[self.shared])
        inner = 0.5 * float((self.scale.solve(others) ** 2).sum()) + self.precision.nats
        own = outer.move(self.left_for_shared)
        if inner > INNER:
            return self.moved(others), left + own.noise, inner + own.nats
        base, further = outer.step(self)
        return base.moved(base.following(further)), left + own.noise, inner + own.nats

    def moved(self, step: Float[np.ndarray, " dim"]) -> Gaussian:
        """Return the normal after a step of its mean, shortened if it moves a scale too far."""
        return Gaussian(self.normal.loc + longest(step, self.scales) * step, self.scale)


def longest(step: Float[np.ndarray, " dim"], scales: Int[np.ndarray, " scales"]) -> float:
    """Return the share of a step, at most 1, that moves no scale too far."""
    return min(1.0, LONGEST / max(np.abs(step[scales]).max(initial=0.0), 1e-300))


def is_slow(nats: list[float], tolerance: float) -> bool:
    """Return whether steps on one noise, of these nats, hardly get shorter."""
    return len(nats) > FIRST_STEPS and nats[-1] > tolerance and nats[-1] > SLOW * max(nats[-3:-1])


def ratio_of(nats: list[float], before: float) -> float:
    """Return the ratio of the lengths of the last two steps on one noise, of these nats; `before` if there are none.

    Where each step is a share r of the one before, all that follow add up to 1 / (1 - r) of the last, and their nats to
    the square of that. So an ascent by such steps is further from its end than the last step tells. Steps that get no
    shorter, or hardly, go to and fro, and add up to no more than the last: their ratio is 0.
    """
    if len(nats) < 2 or not np.isfinite(nats[-2]):
        return before
    ratio = float(np.sqrt(nats[-1] / max(nats[-2], 1e-300)))
    return ratio if ratio < LARGEST_RATIO else 0.0


def turn_back(step: Measured, last: Measured | None) -> bool:
    """Return whether two steps on one noise point against each other, in the means and precisions of coordinates."""
    if last is None or last.before is None or last.seed != step.seed:
        return False
    now, then = step.whitened_move, last.whitened_move
    return bool(now @ then < -OPPOSITE * np.linalg.norm(now) * np.linalg.norm(then))


class Outer:
    """A quasi-Newton ascent of the shared coordinates, the others following.

    Args:
        curvature: the first guess of minus the Hessian of the ELBO maximised over the others, (shared, shared).

    Attributes:
        curvature: the present one.
        gain: the nats that the last step promised.
        radius: the sds that the next step may move the coordinates. It doubles with every step that it shortens.
        length: the sds that the last step has moved them.
        last: what was seen where it began.
    """

    def __init__(self, curvature: Float[np.ndarray, "shared shared"]):
        self.curvature = curvature
        self.last: Measured | None = None
        self.gain, self.radius, self.length = np.inf, FIRST_RADIUS, FIRST_RADIUS

    @property
    def is_stuck(self) -> bool:
        """Whether even short steps lower the ELBO: its draws are others than the gradient's, and both are too few."""
        return self.radius < SHORTEST_RADIUS

    def move(self, gradients: Float[np.ndarray, "groups shared"]) -> Move:
        """Return how far the next step goes."""
        mean = gradients.mean(axis=0)
        centred = gradients - mean
        noise = 0.5 * float((centred * np.linalg.solve(self.curvature, centred.T).T).sum())
        return Move(self.nats(mean), noise / (len(gradients) * (len(gradients) - 1)))

    def nats(self, gradient: Float[np.ndarray, " shared"]) -> float:
        """Return the nats of a whole step along a gradient."""
        return 0.5 * float(gradient @ np.linalg.solve(self.curvature, gradient))

    def step(self, seen: Measured) -> tuple[Measured, Float[np.ndarray, " shared"]]:
        """Return the place to step from, and the step of the shared coordinates.

        The curvature is corrected first, by how the gradient has changed since the last step. A step that lowered the
        ELBO is taken back, and a shorter one is taken from where it began.
        """
        gradient = seen.left_for_shared.mean(axis=0)
        if self.last is not None and self.last.seed == seen.seed:  # else the difference is one of noise
            before = self.last.left_for_shared.mean(axis=0)
            self.correct(seen.place - self.last.place, before - gradient)
            if seen.elbo < self.last.elbo:
                seen, gradient, self.radius = self.last, before, self.length / 4
        self.last = seen
        found = np.linalg.solve(self.curvature, gradient)
        length = float(np.sqrt(found @ seen.shared_precision @ found))
        found *= min(1.0, self.radius / length)
        self.length = min(length, self.radius)
        self.radius = min(self.radius * (2 if length > self.radius else 1), LONGEST_RADIUS)
        self.gain = float(found @ gradient) - 0.5 * float(found @ self.curvature @ found)
        return seen, found

    def best(self, seen: Measured) -> Gaussian:
        """Return the better of two normals: the last seen, and the one from which the last step was taken."""
        is_lower = self.last is not None and self.last.seed == seen.seed and seen.elbo < self.last.elbo
        best = self.last if is_lower and self.last is not None else seen
        return Gaussian(best.normal.loc, best.scale)

    def correct(self, moved: np.ndarray, changed: np.ndarray) -> None:
        """Take one update of BFGS, unless the curvature along the move was not positive."""
        product = self.curvature @ moved
        along, expected = float(moved @ changed), float(moved @ product)
        if expected <= 0 or along < 1e-3 * expected:
            return
        self.curvature = self.curvature - np.outer(product, product) / expected + np.outer(changed, changed) / along
