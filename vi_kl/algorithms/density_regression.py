"""DensityRegression: a flow whose log density is fitted to the posterior's, and its gradient to the gradient, at points.

Each point at which the log density has been evaluated gives dim + 1 numbers: its value, up to a constant, and its
gradient. Where the family holds the posterior all of them agree exactly, and so there is no Monte-Carlo noise in what
is fitted: a thousand gradients do what stochastic optimisation of the ELBO does with tens of thousands. The points are
draws of the normal in whose frame the search starts, some of them spread wider, and then draws of the flow found so
far: there a flow is shown where it has gone wrong.

Requires of the family: a density that is known everywhere and depends on no more of the target than its dimension
(`Coupling`, `Skewed`). Requires of the target: a differentiable log density. Requires of the start: a normal that is
within a nat or two of the posterior, since nothing is learned where there are no points.

References: Czarnecki et al. (2017), "Sobolev training for neural networks", for regression on values and gradients;
Richter, Boustati, Nuesken, Ruiz & Akyildiz (2020), "VarGrad", for the variance of log p - log q over any draws as the
loss of a variational approximation.
"""

import dataclasses
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize

from vi_kl.algorithms.algorithm import Algorithm, CostCounter, FitError, History, Solution, Status
from vi_kl.algorithms.initialization import initialize
from vi_kl.core.compilation import compiled
from vi_kl.core.random_keys import numpy_generator
from vi_kl.families.approximation import Approximation
from vi_kl.families.coupling import Coupling
from vi_kl.families.family import Family
from vi_kl.families.frame import Frame
from vi_kl.objectives.noise import matched_noise
from vi_kl.targets.target import Target, value_and_grad_batch

PIECE = 512  # points that the compiled loss takes at once
WIDER = 1.3  # the scale of every other of the first points, in the start's own
HEAVIEST, LIGHTEST = 3.0, 0.02  # bounds of a point's weight, which is that of importance sampling


class OfDimension(NamedTuple):
    """What a family whose density depends on nothing else reads of a target."""

    dim: int


class Points(NamedTuple):
    """Places where the log density is known, in a frame's units.

    Attributes:
        u: the places, (n, dim).
        log_p: the log density there, up to a constant, (n,).
        slopes: its gradient, (n, dim).
        log_r: the log density of what the places are draws of, (n,).
    """

    u: np.ndarray
    log_p: np.ndarray
    slopes: np.ndarray
    log_r: np.ndarray

    def __add__(self, other):
        return Points(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))

    @property
    def weights(self) -> np.ndarray:
        """The bounded importance weights, (n,); zero where the log density or its gradient is not finite."""
        known = np.isfinite(self.log_p) & np.isfinite(self.slopes).all(axis=1)
        log_w = np.where(known, self.log_p - self.log_r, -np.inf)
        relative = np.exp(log_w - log_w.max())
        return np.where(known, np.clip(relative / relative.mean(), LIGHTEST, HEAVIEST), 0.0)


@dataclasses.dataclass(frozen=True)
class DensityRegression(Algorithm):
    """The regression of a flow's log density on the posterior's.

    Attributes:
        family: the set of candidates.
        num_draws: the number of points at first.
        more_draws: the number of draws of the flow found so far that each further round adds to them.
        max_rounds: the most rounds.
        tolerance: the KL(q||posterior) in nats, as the variance of log p - log q over new draws of q tells it, below
            which the search ends.
        max_steps: the most iterations of the optimiser in a round; they evaluate the flow, and not the model.
    """

    family: Family = dataclasses.field(default_factory=Coupling)
    num_draws: int = 1024
    more_draws: int = 512
    max_rounds: int = 4
    tolerance: float = 0.01
    max_steps: int = 200

    @property
    def name(self):
        return self.family.name

    @property
    def most_gradients(self) -> int:
        """The most gradients that a fit takes from its start on."""
        return self.num_draws + self.max_rounds * self.more_draws

    def find(self, key, target, *, start, progress, counter):
        frame_key, init_key, noise_key = jax.random.split(key, 3)
        self.family.require(target)
        search = Regression(self, target, initialize(target, frame_key, counter, start).frame, init_key, noise_key)
        for done in range(self.max_rounds):
            search.minimise()
            search.look_again()
            progress((done + 1) / self.max_rounds, f"loss {-search.elbo:.3f} after {len(search.points.u):,} points")
            if search.nats < self.tolerance:
                break
        counter.gradient_evaluations += len(search.points.u)
        return Solution(search.best[1], search.status(), History(np.array(search.losses)))


class Regression:
    """A search by rounds: fit the flow to the points, draw from it, evaluate there, and add these points."""

    def __init__(self, config: DensityRegression, target: Target, frame: Frame, init_key, noise_key):
        self.config, self.target, self.frame = config, target, frame
        self.generator = numpy_generator(noise_key)
        self.units = config.family.units(frame, target)
        params = jax.tree.map(jnp.asarray, config.family.standard(init_key, target))
        flat, self.unravel = ravel_pytree((params, 0.0))
        self.x = np.array(flat)
        self.losses: list[float] = []
        self.elbo, self.nats = -np.inf, np.inf
        self.best: tuple[float, Approximation | None] = (-np.inf, None)
        self.points = self.first_points()
        self.x[-1] = np.average(self.points.log_p - standard_log_prob(self.points.u), weights=self.points.weights)

    def evaluate(self, u: np.ndarray, log_r: np.ndarray) -> Points:
        """Evaluate the log density at places in the frame's units."""
        log_p, slopes = value_and_grad_batch(self.target, np.asarray(self.frame.point(u)))
        with np.errstate(invalid="ignore"):
            return Points(u, log_p, self.frame.normal.scale.apply_transpose(slopes), log_r)

    def first_points(self) -> Points:
        """Draw from the frame's normal, and from a wider one in turns."""
        n, dim = self.config.num_draws, self.target.dim
        scale = np.where(np.arange(n) % 2, WIDER, 1.0)[:, None]
        u = scale * matched_noise(self.generator, n, dim)
        wide = standard_log_prob(u / WIDER) - dim * np.log(WIDER)
        points = self.evaluate(u, np.logaddexp(standard_log_prob(u), wide) - np.log(2))
        if not points.weights.any():
            raise FitError("The log density is not finite at any draw of the start: begin with a fit (start=...).")
        return points

    def minimise(self) -> None:
        """Minimise the misfit at all points."""
        weights = self.points.weights
        known = weights > 0
        data = [np.where(known.reshape(-1, *[1] * (x.ndim - 1)), x, 0.0) for x in self.points[:3]]
        pieces = [padded(part, first) for first in range(0, len(weights), PIECE) for part in [(*data, weights / weights.sum())]]

        def loss(x):
            parts = [misfit(jnp.asarray(x), *piece, family=self.config.family, unravel=self.unravel) for piece in pieces]
            return sum(float(value) for value, _ in parts), sum(np.asarray(slope) for _, slope in parts)

        found = minimize(loss, self.x, jac=True, method="L-BFGS-B", options={"maxiter": self.config.max_steps, "maxcor": 30})
        self.x = found.x
        self.nfev=found.nfev; self.fun=found.fun

    def look_again(self) -> None:
        """Draw from the flow, see how far it is from the posterior there, and add what is seen to the points."""
        family = self.config.family
        params = jax.tree.map(np.asarray, self.unravel(jnp.asarray(self.x))[0])
        q = Approximation(family, jax.tree.map(np.asarray, family.place(params, self.units)), self.target)
        noise = matched_noise(self.generator, self.config.more_draws, self.target.dim)
        from vi_kl.families.approximation import push_batch
        from vi_kl.targets.target import in_chunks
        z, log_q = in_chunks(lambda piece: push_batch(q, piece), noise, size=512)
        seen = self.evaluate(self.frame.normal.whiten(z), log_q + self.frame.normal.log_volume)
        ratio = seen.log_p - log_q
        self.elbo = float(np.mean(ratio))
        self.nats = float(np.var(ratio) / 2) if np.isfinite(ratio).all() else np.inf
        self.losses.append(-self.elbo)
        if self.best[1] is None or self.elbo > self.best[0]:
            self.best = self.elbo, q
        self.points = self.points + seen

    def status(self) -> Status:
        return Status(True, "x")


def padded(arrays, first: int):
    rows = [array[first : first + PIECE] for array in arrays]
    return [jnp.asarray(np.pad(x, ((0, PIECE - len(x)), *((0, 0),) * (x.ndim - 1)))) for x in rows]


def standard_log_prob(u):
    return -0.5 * (u**2).sum(axis=-1) - 0.5 * u.shape[-1] * np.log(2 * np.pi)


@compiled(static=("family", "unravel"))
def misfit(flat, u, log_p, slopes, weights, family: Family, unravel):
    """Return the weighted misfit of the density and its gradient over some points, and its gradient.

    Squares that are large against the dimension count by their roots.
    """

    def loss(flat):
        params, offset = unravel(flat)
        q = family.distribution(params, cast(Target, OfDimension(u.shape[1])))
        log_q, slopes_q = jax.vmap(jax.value_and_grad(q.log_prob))(u)
        squares = (log_p - log_q - offset) ** 2 + jnp.sum((slopes - slopes_q) ** 2, axis=-1)
        scale = float(u.shape[1])
        return jnp.sum(weights * 2 * scale * (jnp.sqrt(1 + squares / scale) - 1))

    return jax.value_and_grad(loss)(flat)
