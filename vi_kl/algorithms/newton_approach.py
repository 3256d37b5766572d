"""The steps of variational Newton while it is far away: uphill on fixed noise, and past where they would end too soon.

A step that lowers the ELBO is shortened, and where the mean Hessian is not negative definite, that of every term is
made so. Scales, with which the curvature of all else changes, keep their place until all else has settled, and no step
moves them far: their steps are right only near. Where steps have become short, it is looked whether all else fits
better with scales that are far from there.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from vi_kl.algorithms.algorithm import CostCounter, FitError
from vi_kl.algorithms.newton_steps import longest
from vi_kl.algorithms.shared_coordinates import changes_all_else, shared_coordinates
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.sparse_precision import SparsePrecision
from vi_kl.targets.curvature import DRAWS, Curvature, SparseHessian

FIRST_SD = 0.1  # in z, of the normal around the start
PRESSED = 0.6  # the difference of curvatures, relative to their sum, with a scale by which nearly all of one is made
FAR = (1.5, 3.0, 4.5)  # in z, how far a scale is moved where it is looked whether all else fits better
FEW_DIMENSIONS = 100  # up to which scales that press nothing together are looked at too
HOLDING = 3  # steps in which scales keep their place while all else settles
NEAR = 1.0  # nats, to which it is known how well all else fits where scales are held
LONG = 10.0  # nats; while steps would gain more, the noise is fixed and the ELBO is watched
SHORT = 0.01  # nats; a step that gains less is not taken far away, since the ELBO could fall by rounding alone
SHORTEST = 1 / 64  # the share of a step that moves no scale too far, below which it is refused
RIDGE = 1e-6  # relative to the diagonal, added where a curvature is flat


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """A normal, and what draws of it say.

    Attributes:
        normal: the normal.
        curvature: values, gradients and mean Hessian at its draws.
    """

    normal: Gaussian
    curvature: Curvature

    @property
    def elbo(self) -> float:
        """The ELBO in nats; -inf where a density is not finite."""
        values = self.curvature.values
        good = np.isfinite(values).all() and np.isfinite(self.curvature.gradients).all()
        return float(values.mean() + self.normal.entropy) if good else -np.inf

    @property
    def gradient(self) -> np.ndarray:
        """The mean gradient, (dim,)."""
        return self.curvature.gradients.mean(axis=0)


class Approach:
    """The steps of a search while it is far away, and what it sees of a normal.

    Args:
        tolerance: the nats of noise in the answer at which the search ends.
        max_gradients: the number of gradients after which it ends.
        hessian: the structure of the Hessian.
        generator: the source of the noise.
        counter: the counter of gradients; a second directional derivative counts as one.
        progress: the progress function.

    Attributes:
        shared: the coordinates that much of the model shares.
        scales: those of them with which the curvature changes where the search begins.
        elbos: the ELBO at each step.
        half: half the number of draws on which the approach goes uphill.
    """

    def __init__(
        self, tolerance: float, max_gradients: int, hessian: SparseHessian, generator, counter: CostCounter, progress
    ):
        self.tolerance, self.max_gradients = tolerance, max_gradients
        self.hessian, self.generator = hessian, generator
        self.counter, self.progress = counter, progress
        self.structure, self.target = hessian.structure, hessian.target
        self.shared = self.scales = shared_coordinates(self.target, hessian.structure)
        self.elbos: list[float] = []
        self.half = DRAWS

    @property
    def is_spent(self) -> bool:
        """Whether no further step may be taken."""
        return self.counter.gradient_evaluations >= self.max_gradients

    @property
    def share_spent(self) -> float:
        """The share of the gradients that may be spent."""
        return min(0.99, self.counter.gradient_evaluations / self.max_gradients)

    def noise(self) -> np.ndarray:
        """Return noise in pairs of opposite sign, (2 half, dim)."""
        half = self.generator.standard_normal((self.half, self.target.dim))
        return np.concatenate([half, -half])

    def look(self, normal: Gaussian, noise: np.ndarray) -> Seen:
        """Evaluate the density, its gradient and its mean Hessian at draws of a normal."""
        self.counter.gradient_evaluations += len(noise) * (1 + self.hessian.passes)
        return Seen(normal, self.hessian.at(normal.unwhiten(noise)))

    def first(self, point: np.ndarray) -> Gaussian:
        """Return a narrow normal around a point."""
        entries = np.where(self.structure.rows == self.structure.columns, FIRST_SD**-2, 0.0)
        return Gaussian(point, self.scale(self.structure.factor(entries)))

    def scale(self, factor: sp.csc_array) -> SparsePrecision:
        """Return the scale whose precision has this factor."""
        return SparsePrecision.of(self.structure.order, factor)

    # The entries of a precision -------------------------------------------------------------------------------------

    def held(self, entries: np.ndarray) -> np.ndarray:
        """Return the entries of a precision with the scales apart from the others, and narrow."""
        position = np.isin(self.structure.order, self.scales)
        touched = position[self.structure.rows] | position[self.structure.columns]
        on_diagonal = self.structure.rows == self.structure.columns
        return np.where(touched, np.where(on_diagonal, FIRST_SD**-2, 0.0), entries)

    def factored(self, candidates) -> tuple[np.ndarray, sp.csc_array] | None:
        """Return the first of several lists of entries that are positive definite, and their factor."""
        for entries in candidates:
            factor = self.structure.factor(entries)
            if factor is not None:
                return entries, factor
        return None

    def precisions(self, seen: Curvature, hold: bool):
        """Yield the entries of the mean Hessian, then of that of concave terms, and then of its diagonal."""
        change = self.held if hold else lambda entries: entries
        on_diagonal = self.structure.rows == self.structure.columns
        yield change(seen.entries)
        concave = seen.concave_entries
        floor = np.abs(concave[self.structure.diagonal]).max() * 1e-12
        yield change(concave + np.where(on_diagonal, RIDGE * np.abs(concave) + floor, 0.0))
        yield change(np.where(on_diagonal, np.abs(concave) + floor, 0.0))

    # Far away -------------------------------------------------------------------------------------------------------

    def approach(self, normal: Gaussian) -> Gaussian:
        """Go uphill on fixed noise until steps are short."""
        noise = self.noise()
        seen = self.narrowed(normal, noise)
        hold = 0 < len(self.scales) < self.target.dim
        while not self.is_spent:
            self.elbos.append(seen.elbo)
            hold &= len(self.elbos) <= HOLDING
            found = self.newton(seen, hold)
            if found is None:
                raise FitError("The curvature of the log density is not finite, or zero, around the start.")
            entries, step, gain = found
            self.progress(self.share_spent, f"step {len(self.elbos)}: {gain:,.3g} nats to gain")
            new = None if gain < SHORT else self.go(seen, entries, step, noise)
            seen = seen if new is None else new
            if hold and (new is None or gain < LONG):
                hold = False
            elif new is None or gain < LONG:
                break
        return seen.normal

    def moved_far(self, normal: Gaussian) -> Gaussian:
        """Return a normal that was approached once more, if all else fits better where scales are far from this one's.

        Where a scale is so small that all that it scales is pressed together, the ELBO hardly rises with it, until it
        has grown several times: Newton's steps end there. In few dimensions, where little tells of scales, those that
        are not are looked at too, in the direction in which the ELBO rises.
        """
        if not 0 < len(self.scales) < self.target.dim:
            return normal
        noise, best = self.noise(), None
        pressed = changes_all_else(self.target, normal.loc, self.scales, self.shared, self.counter, PRESSED)
        for j, upwards in zip(self.scales, pressed, strict=True):
            if not upwards and self.target.dim > FEW_DIMENSIONS:
                continue
            best = best or self.held_at(normal.loc, normal, noise)
            if best is None:
                break
            begin, way = best, np.eye(1, self.target.dim, j)[0] * (1.0 if upwards else np.sign(best.gradient[j]))
            for far in FAR:
                seen = self.held_at(begin.normal.loc + far * way, begin.normal, noise)
                if seen is None or seen.elbo < begin.elbo - LONG:
                    break
                best = max(best, seen, key=lambda seen: seen.elbo)
        is_far = best is not None and np.abs(best.normal.loc - normal.loc)[self.scales].max() > 0
        return self.approach(best.normal) if is_far else normal

    def held_at(self, place: np.ndarray, normal: Gaussian, noise: np.ndarray) -> Seen | None:
        """Return what is seen where all but the scales, which stay at a place, has taken a few steps."""
        seen = self.look(Gaussian(place, normal.scale), noise)
        for _ in range(HOLDING):
            found = self.newton(seen, hold=True) if np.isfinite(seen.elbo) else None
            if found is None:
                return None
            entries, step, gain = found
            new = None if gain < NEAR else self.go(seen, entries, step, noise)
            if new is None:
                break
            seen = new
        return seen

    def newton(self, seen: Seen, hold: bool) -> tuple[np.ndarray, np.ndarray, float] | None:
        """Return the precision and the step of the mean that a normal calls for, and its nats; None if there is none.

        Args:
            seen: the normal.
            hold: whether the scales keep their place.
        """
        found = self.factored(self.precisions(seen.curvature, hold))
        if found is None:
            return None
        goal = self.scale(found[1])
        gradient = np.where(np.isin(np.arange(self.target.dim), self.scales) & hold, 0.0, seen.gradient)
        step = goal.apply(goal.apply_transpose(gradient))
        return found[0], step, 0.5 * float(step @ gradient)

    def narrowed(self, normal: Gaussian, noise: np.ndarray) -> Seen:
        """Return what is seen of a normal so narrow that the density is finite at its draws.

        Raises:
            FitError: it never is.
        """
        for _ in range(20):
            seen = self.look(normal, noise)
            if np.isfinite(seen.elbo):
                return seen
            normal = normal.scaled(0.5)
        reason = self.target.density.explain(self.target.data, self.target.unravel(jnp.asarray(normal.loc)))
        raise FitError(f"The log density is not finite around the starting point, however near. {reason}")

    def go(self, seen: Seen, entries: np.ndarray, step: np.ndarray, noise: np.ndarray) -> Seen | None:
        """Take a step, shortened until the ELBO does not fall; None if that takes too short a step."""
        size = longest(step, self.scales)
        shortest = SHORTEST * size
        while size >= shortest:
            found = self.factored([entries if size == 1.0 else self.between(seen.normal, entries, size)])
            if found is not None:
                new = self.look(Gaussian(seen.normal.loc + size * step, self.scale(found[1])), noise)
                if new.elbo > seen.elbo:
                    return new
            size /= 2
        return None

    def between(self, normal: Gaussian, entries: np.ndarray, size: float) -> np.ndarray:
        """Return the entries of a precision on the way from a normal's to others."""
        return (1 - size) * self.entries_of(normal) + size * entries

    def entries_of(self, normal: Gaussian) -> np.ndarray:
        """Return the entries of a normal's precision in the structure."""
        return normal.scale.precision_at(self.structure.rows, self.structure.columns)
