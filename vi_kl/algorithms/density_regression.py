"""DensityRegression: a flow whose log density and its gradient are fitted to the posterior's, at points.

Each point at which the log density has been evaluated gives dim + 1 numbers: its value, up to a constant, and its
gradient. Where the family holds the posterior all of them agree exactly, and so there is no Monte-Carlo noise in what
is fitted: a thousand gradients do what stochastic optimisation of the ELBO does with tens of thousands. The points are
draws of the normal in whose frame the search starts, some of them spread wider, and then draws of the flow found so
far: there a flow is shown where it has gone wrong.

Requires of the family: an image of normal noise whose density is known everywhere and depends on no more of the target
than its dimension (`Coupling`, `Skewed`). Requires of the target: a differentiable log density. Requires of the start:
a normal that overlaps with the posterior, since nothing is learned where there are no points.

References: Czarnecki et al. (2017), "Sobolev training for neural networks", for regression on values and gradients;
Richter, Boustati, Nuesken, Ruiz & Akyildiz (2020), "VarGrad", for the variance of log p - log q over any draws as the
loss of a variational approximation.
"""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
from scipy.optimize import minimize

from vi_kl.algorithms.algorithm import Algorithm, FitError, History, Solution, Status
from vi_kl.algorithms.initialization import initialize
from vi_kl.algorithms.misfit import PIECE, misfit, random_sensitivities
from vi_kl.core.annotations import Params
from vi_kl.core.random_keys import numpy_generator, split
from vi_kl.families.approximation import Approximation, push_in_chunks
from vi_kl.families.coupling import Coupling
from vi_kl.families.family import Family
from vi_kl.families.frame import Frame
from vi_kl.objectives.noise import matched_noise
from vi_kl.targets.target import Target, value_and_grad_batch

WIDER = 1.3  # the scale of every other of the first points, in the start's own
MEMORY = 30  # steps from which the optimiser takes the curvature
HOPELESS = 1.0  # nats below the ELBO to beat
STILL_RISING = 2.0  # tolerances by which a round has to raise the ELBO for another to follow it in any case
PATIENCE = 0.003  # the share of the tolerance by which an iteration lowers the misfit, or is the last
# The weight of the squares of the parameters' distances from the identity's, as so many points: without it a flow is
# right at its points and wild between them.
SHRINKAGE = 20.0
PROBES = 4  # random sums from which the curvature along each parameter is taken
FLATTEST = 0.01  # the least curvature along a parameter that is believed, as a share of their median
HEAVIEST, LIGHTEST = 3.0, 0.02  # bounds of a point's weight, which is that of importance sampling


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

    @property
    def weights(self) -> np.ndarray:
        """The bounded importance weights, (n,); zero where the log density or its gradient is not finite."""
        known = np.isfinite(self.log_p) & np.isfinite(self.slopes).all(axis=1)
        if not known.any():
            return np.zeros(len(self.u))
        log_w = np.where(known, self.log_p - self.log_r, -np.inf)
        relative = np.exp(log_w - log_w.max())
        return np.where(known, np.clip(relative / relative.mean(), LIGHTEST, HEAVIEST), 0.0)


@dataclasses.dataclass(frozen=True)
class DensityRegression(Algorithm):
    """The regression of a flow's log density on the posterior's.

    Attributes:
        family: the set of candidates.
        num_draws: the number of points at first.
        more_draws: the number of draws of the flow found so far that each round adds to them. The last round but one
            doubles the points instead: more rounds, of fewer draws each, would fit most points again and again.
        max_rounds: the most rounds.
        tolerance: the KL(q||posterior) in nats, as half the variance of log p - log q over new draws of q tells it,
            below which the search ends, unless the last round has raised the ELBO by more.
        max_steps: the most iterations of the optimiser in a round; they evaluate the flow, and not the model.
        elbo_to_beat: the ELBO of what there is already, in nats: a flow that is more than a nat below it after a round
            is given up, since those that end well begin above it.
    """

    family: Family = dataclasses.field(default_factory=Coupling)
    num_draws: int = 512
    more_draws: int = 512
    max_rounds: int = 4
    tolerance: float = 0.01
    max_steps: int = 50
    elbo_to_beat: float = -np.inf

    def __post_init__(self):
        for name in ("num_draws", "more_draws"):
            if getattr(self, name) < 2 or getattr(self, name) % 2:
                raise ValueError(f"{name} must be even, for draws come in opposite pairs, got {getattr(self, name)}.")
        if self.max_rounds < 1 or self.max_steps < 1:
            raise ValueError(f"max_rounds and max_steps must be positive, got {self.max_rounds} and {self.max_steps}.")

    @property
    def name(self):
        return self.family.name

    @property
    def most_gradients(self) -> int:
        """The most gradients that a fit takes from its start on."""
        points = self.num_draws
        for done in range(self.max_rounds):
            points += self.draws_after(done, points)
        return points

    def draws_after(self, done: int, points: int) -> int:
        """Return how many draws are added to so many points after a round, before which `done` were done."""
        return points if done == self.max_rounds - 2 else self.more_draws

    def find(self, key, target, *, start, progress, counter):
        frame_key, init_key, noise_key = split(key, 3)
        self.family.require(target)
        frame = initialize(target, frame_key, counter, start).frame
        search = Regression(self, target, frame, init_key, numpy_generator(noise_key))
        for done in range(self.max_rounds):
            search.minimise()
            search.look_again(self.draws_after(done, len(search.points.u)))
            progress((done + 1) / self.max_rounds, f"loss {-search.elbo:.3f} after {len(search.points.u):,} gradients")
            is_near = search.nats < self.tolerance and search.rise < STILL_RISING * self.tolerance
            if is_near or search.is_hopeless:
                break
        counter.gradient_evaluations += len(search.points.u)
        return Solution(search.best, search.status(), History(np.array(search.losses)))


class Regression:
    """A search by rounds: fit the flow to the points, draw from it, evaluate there, and add these points.

    Attributes:
        points: all points so far.
        best: the approximation with the highest ELBO so far.
        elbo: the latest one's ELBO, from new draws of it.
        nats: its KL(q||posterior), as half the variance of log p - log q over these draws.
        rise: the nats by which its ELBO is above the best before, infinite in the first round. Draws of a flow that
            leaves a part of the posterior out do not tell that, but the ELBO rises as later rounds find it.
    """

    def __init__(self, config: DensityRegression, target: Target, frame: Frame, init_key, generator):
        self.config, self.target, self.frame, self.generator = config, target, frame, generator
        self.units = config.family.units(frame, target)
        params = jax.tree.map(np.asarray, config.family.standard(init_key, target))
        self.points = self.first_points()
        known = self.points.weights > 0
        if not known.any():
            raise FitError("The log density is not finite at any draw of the start: begin with a fit (start=...).")
        offset = np.mean((self.points.log_p - standard_log_prob(self.points.u))[known])
        self.leaves, self.structure = jax.tree.flatten(params)
        self.identity = flat(params)
        self.x = np.append(self.identity, offset)
        self.losses: list[float] = []
        self.elbo, self.nats, self.best_nats, self.rise = -np.inf, np.inf, np.inf, np.inf
        self.best = self.approximation()

    def evaluate(self, u: np.ndarray, log_r: np.ndarray) -> Points:
        """Evaluate the log density at places in the frame's units."""
        log_p, slopes = value_and_grad_batch(self.target, np.asarray(self.frame.point(u)))
        with np.errstate(invalid="ignore"):
            return Points(u, log_p, np.asarray(self.frame.normal.scale.apply_transpose(slopes)), log_r)

    def first_points(self) -> Points:
        """Draw from the frame's normal, and from a wider one in turns."""
        n, dim = self.config.num_draws, self.target.dim
        u = np.where(np.arange(n) % 2, WIDER, 1.0)[:, None] * matched_noise(self.generator, n, dim)
        wide = standard_log_prob(u / WIDER) - dim * np.log(WIDER)
        return self.evaluate(u, np.logaddexp(standard_log_prob(u), wide) - np.log(2))

    def minimise(self) -> None:
        """Minimise the misfit at all points.

        The optimiser sees each parameter in units of its own, in which the misfit's curvature is about one.
        """
        u, log_p, slopes, _ = self.points
        weights = self.points.weights / self.points.weights.sum()
        known = weights > 0
        data = (u, np.where(known, log_p, 0.0), np.where(known[:, None], slopes, 0.0), weights)
        shrinkage = SHRINKAGE / len(u)
        pieces = [[array[first : first + PIECE] for array in data] for first in range(0, len(u), PIECE)]

        def loss(scaled):
            x = scaled * units
            params, offset = self.unravel(x)
            parts = [misfit(self.config.family, params, offset, *piece) for piece in pieces]
            by_params, by_offset = jax.tree.map(lambda *gradients: sum(gradients), *(part[1:] for part in parts))
            away = np.append(x[:-1] - self.identity, 0.0)
            value = sum(part[0] for part in parts) + shrinkage * np.sum(away**2)
            return value, units * (np.append(flat(by_params), by_offset) + 2 * shrinkage * away)

        options = {"maxiter": self.config.max_steps, "maxcor": MEMORY, "ftol": PATIENCE * self.config.tolerance}
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            units = self.units_of_parameters(u, weights, shrinkage)
            self.x = units * minimize(loss, self.x / units, jac=True, method="L-BFGS-B", options=options).x

    def units_of_parameters(self, u: np.ndarray, weights: np.ndarray, shrinkage: float) -> np.ndarray:
        """Return the steps along the parameters and the offset that change the misfit about equally."""
        params, squares = self.unravel(self.x)[0], np.zeros(len(self.x) - 1)
        for _ in range(PROBES):
            some = self.generator.permutation(len(u))[:PIECE]
            share = weights[some] / max(weights[some].sum(), np.finfo(float).tiny)
            found = random_sensitivities(self.config.family, params, u[some], share, self.generator)
            squares += np.nan_to_num(flat(found), posinf=0.0, neginf=0.0) ** 2 / PROBES
        curvature = 2 * np.append(squares + shrinkage, 1.0)
        return 1 / np.sqrt(curvature + FLATTEST * np.median(curvature))

    def unravel(self, x: np.ndarray) -> tuple[Params, float]:
        """Return the parameters and the offset that the optimiser's vector holds."""
        parts = np.split(x[:-1], np.cumsum([leaf.size for leaf in self.leaves])[:-1])
        leaves = [part.reshape(leaf.shape) for part, leaf in zip(parts, self.leaves, strict=True)]
        return jax.tree.unflatten(self.structure, leaves), float(x[-1])

    def approximation(self) -> Approximation:
        """Return the present member."""
        params = self.config.family.place(self.unravel(self.x)[0], self.units)
        return Approximation(self.config.family, jax.tree.map(np.asarray, params), self.target)

    def look_again(self, draws: int) -> None:
        """Draw from the flow, see how far it is from the posterior there, and add what is seen to the points."""
        q = self.approximation()
        noise = matched_noise(self.generator, draws, self.target.dim)
        z, log_q = push_in_chunks(q, noise)
        seen = self.evaluate(np.asarray(self.frame.normal.whiten(z)), log_q + self.frame.normal.log_det)
        log_ratio = np.where(np.isnan(seen.log_p), -np.inf, seen.log_p) - log_q
        elbo = float(np.mean(log_ratio))
        with np.errstate(invalid="ignore"):
            self.nats = float(np.nan_to_num(np.var(log_ratio) / 2, nan=np.inf))
        highest = -min(self.losses, default=np.inf)
        self.rise = elbo - highest
        if not self.losses or self.rise > 0:
            self.best, self.best_nats = q, self.nats
        self.elbo = elbo
        self.losses.append(-elbo)
        self.points = Points(*map(np.concatenate, zip(self.points, seen, strict=True)))

    @property
    def is_hopeless(self) -> bool:
        """Whether the best flow so far is far below what there is already."""
        return -min(self.losses) < self.config.elbo_to_beat - HOPELESS

    def status(self) -> Status:
        """Say how near the posterior the flow is, by its own draws."""
        found = f"after {len(self.points.u):,} gradients in {len(self.losses)} rounds"
        if self.is_hopeless:
            return Status(False, f"Given up {found}: the ELBO is more than {HOPELESS:g} nat below the one to beat.")
        if self.best_nats < self.config.tolerance:
            return Status(True, f"Converged {found}: KL(q||posterior) is about {self.best_nats:.2g} nats by new draws.")
        return Status(
            False,
            f"Not converged {found}: by new draws KL(q||posterior) is about {self.best_nats:.2g} nats, above the "
            f"tolerance of {self.config.tolerance:g}. Raise max_rounds (now {self.config.max_rounds}), or fit the flow "
            f"by SVI.",
        )


def flat(params: Params) -> np.ndarray:
    """Return all parameters as one vector."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])


def standard_log_prob(u: np.ndarray) -> np.ndarray:
    """Return the log density of independent standard normals at rows of u."""
    return -0.5 * (u**2).sum(axis=-1) - 0.5 * u.shape[-1] * np.log(2 * np.pi)
