"""The best sparse normal of all coordinates but a few, given these few: Newton's method on the ELBO of the others.

It is the variational Newton method with the few held fast. Where the others are normal given the few, whatever these
are, one step from anywhere is exact.
"""

import dataclasses
import functools

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from vi_kl.algorithms.algorithm import CostCounter, FitError
from vi_kl.algorithms.newton_steps import even_noise
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.sparse_cholesky import SparseStructure
from vi_kl.core.sparse_precision import SparsePrecision
from vi_kl.targets.curvature import DRAWS, Curvature, SparseHessian

NEAR, NEAR_PER_DIMENSION = 0.01, 2e-5  # nats by which a step moves the normal, below which it has arrived
FAR = 0.2  # the same, above which it has not after all steps
MOST_STEPS = 12
LONG = 10.0  # nats; what shorter steps do to the ELBO on few draws is noise
SLOW, SHORTEST_SHARE = 0.5, 0.25  # of the nats of the step before, above which a share of each step is taken
SHORTEST = 1 / 32  # the share of a step below which it is refused
EXACT = 1e-9  # nats between two precisions, below which they are the same
RIDGE = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Conditional:
    """The conditional posterior of all coordinates but a few, and the noise by which it is seen.

    Attributes:
        hessian: the structure of the whole Hessian.
        few: the coordinates that are held fast, (k,).
        counter: the counter of gradients.
        seed: the seed of the noise.
        draws: the number of draws by which a normal is seen, a multiple of DRAWS.
        is_normal: whether the others are normal given the few, so that one step is exact.
    """

    hessian: SparseHessian
    few: Int[np.ndarray, " k"]
    counter: CostCounter
    seed: int
    draws: int = DRAWS
    is_normal: bool = False

    @functools.cached_property
    def others(self) -> Int[np.ndarray, " others"]:
        """The other coordinates."""
        return np.setdiff1d(np.arange(self.hessian.structure.dim), self.few)

    @functools.cached_property
    def keep(self) -> np.ndarray:
        """Whether each entry of the whole precision is one of two others."""
        whole, is_few = self.hessian.structure, np.isin(self.hessian.structure.order, self.few)
        return ~(is_few[whole.rows] | is_few[whole.columns])

    @functools.cached_property
    def structure(self) -> SparseStructure:
        """The places of the others' precision; coordinates are counted among the others."""
        whole, is_few = self.hessian.structure, np.isin(self.hessian.structure.order, self.few)
        place = np.cumsum(~is_few) - 1
        order = np.searchsorted(self.others, whole.order[~is_few])
        return SparseStructure(order, place[whole.rows[self.keep]], place[whole.columns[self.keep]])

    @functools.cached_property
    def noise(self) -> Float[np.ndarray, "draws others"]:
        return even_noise(self.seed, self.draws, len(self.others))

    def look(self, few: Float[np.ndarray, " k"], normal: Gaussian) -> "Look":
        """Evaluate the density, its gradient and its mean Hessian at draws of a normal."""
        z = np.empty((self.draws, self.hessian.structure.dim))
        z[:, self.few], z[:, self.others] = few, normal.unwhiten(self.noise)
        self.counter.gradient_evaluations += self.draws * (1 + self.hessian.passes)
        seen = self.hessian.at(z)
        good = np.isfinite(seen.values).all() and np.isfinite(seen.gradients).all()
        elbo = float(seen.values.mean() + normal.entropy) if good else -np.inf
        return Look(normal, elbo, seen.gradients.mean(axis=0)[self.others], seen)

    def best(self, few: Float[np.ndarray, " k"], guess: Gaussian) -> Gaussian:
        """Return the best normal of the others given the few, from a guess.

        Raises:
            FitError: no normal is found, or none that is better than the guess.
        """
        seen, last = self.look(few, guess), None
        if not np.isfinite(seen.elbo):
            raise FitError(f"The log density is not finite around {few} of the hyperparameters.")
        share = 1.0
        for _ in range(MOST_STEPS):
            new = self.stepped(seen, share)
            if self.is_normal:
                return new
            nats = moved(seen.normal, new, seen.gradient)
            if nats < max(NEAR, NEAR_PER_DIMENSION * len(self.others)):
                return new
            if last is not None and nats > SLOW * last:  # steps on few draws may go to and fro
                share = max(share / 2, SHORTEST_SHARE)
            seen, last = self.uphill(few, seen, new, nats), nats
        if last is not None and last < FAR:
            return seen.normal
        raise FitError(f"The others do not settle given the hyperparameters: {last:.2g} nats still to go.")

    def uphill(self, few, seen: "Look", new: Gaussian, nats: float) -> "Look":
        """Return what is seen of a step, if it is long shortened until the ELBO does not fall."""
        size = 1.0
        while size >= SHORTEST:
            found = self.look(few, new)
            if found.elbo > seen.elbo or (nats < LONG and np.isfinite(found.elbo)):
                return found
            size /= 2
            new = self.stepped(seen, size)
        raise FitError("No step of the others raises the ELBO given the hyperparameters.")

    def stepped(self, seen: "Look", size: float) -> Gaussian:
        """Return the normal after a share of Newton's step, of the mean and of the precision."""
        for entries in self.precisions(seen.curvature):
            factor = self.structure.factor(entries)
            if factor is None:
                continue
            scale = self.scale(factor)
            loc = seen.normal.loc + size * scale.apply(scale.apply_transpose(seen.gradient))
            if size < 1:
                before = seen.normal.scale.precision_at(self.structure.rows, self.structure.columns)
                factor = self.structure.factor(before + size * (entries - before))
                assert factor is not None, "what is between two precisions is one"
            return Gaussian(loc, self.scale(factor))
        raise FitError("Given the hyperparameters, the curvature of the others is not that of a normal.")

    def precisions(self, seen: Curvature):
        """Yield the entries of minus the mean Hessian of the others, and then of that of concave terms."""
        yield seen.entries[self.keep]
        entries = seen.concave_entries[self.keep]
        yield entries + np.where(self.structure.rows == self.structure.columns, RIDGE * np.abs(entries), 0.0)

    def scale(self, factor: sp.csc_array) -> SparsePrecision:
        """Return the scale whose precision has this factor."""
        return SparsePrecision.of(self.structure.order, factor)

    def settled(self, few: Float[np.ndarray, " k"], guess: Gaussian) -> tuple["Conditional", Gaussian]:
        """Return the best normal at a first place, and this with what it tells: whether the others are normal."""
        first = self.stepped(self.look(few, guess), 1.0)
        second = self.stepped(self.look(few, first), 1.0)
        is_normal = moved(first, second, None) < EXACT
        config = dataclasses.replace(self, is_normal=is_normal)
        return config, second if is_normal else self.best(few, guess)


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """What draws of a normal of the others say.

    Attributes:
        normal: the normal.
        elbo: the ELBO of the others given the few, up to the few's own density; -inf where a density is not finite.
        gradient: the mean gradient by the others.
        curvature: the same draws' mean Hessian.
    """

    normal: Gaussian
    elbo: float
    gradient: Float[np.ndarray, " others"]
    curvature: Curvature


def moved(before: Gaussian, after: Gaussian, gradient: np.ndarray | None) -> float:
    """Return by about how many nats two sparse normals differ: in the mean, and in the precision along a few probes."""
    step = after.loc - before.loc
    x = before.scale.apply(np.random.default_rng(0).standard_normal((4, before.dim)))
    change = after.scale.solve_transpose(after.scale.solve(x)) - before.scale.solve_transpose(before.scale.solve(x))
    spread = 0.25 * float((before.scale.apply_transpose(change) ** 2).sum(axis=1).mean())
    shift = 0.5 * float((after.scale.solve(step) ** 2).sum()) if gradient is None else 0.5 * float(step @ gradient)
    return abs(shift) + spread
