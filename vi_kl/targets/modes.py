"""Local modes of a target: maxima of log_density(z), with the curvature there.

A climb is quasi-Newton first, which needs few gradients where the posterior is tame. Where it stalls, as it does with
predictors in their own units and flat priors, a trust-region Newton search goes on in the coordinates' own scales.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

from vi_kl.core.cholesky import tril_of_precision
from vi_kl.core.errors import NUMERICAL
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.scales import Scale
from vi_kl.targets.target import Target, value_and_grad, value_and_grad_batch

FEW_DIMENSIONS = 30  # the most with which BFGS keeps a dense matrix, being faster there than L-BFGS-B
NEWTON_DIMENSIONS = 100  # the most with which Newton's method differentiates the gradient along every coordinate
NEAR = 1e-3  # the distance from the mode, in posterior sds, at which a climb has arrived
RELATIVE_STEP = 1e-3
NEWTON_STEPS = 15  # of a trust-region search, after which it is asked whether the climb has run away
ROUNDING = 1e-12  # the share of a log density below which what a step gains is noise, and the next would search in it
NARROWEST = 1e-3  # a conditional sd that falls to this share of its first value is in the neck of a funnel


@dataclasses.dataclass(frozen=True)
class Mode:
    """A point where the gradient of the log density vanishes, and what is around it.

    Attributes:
        z: the point, shape (dim,).
        log_density: the unnormalised log density there.
        hessian: the Hessian of the log density; negative definite at a proper mode.
        gradient: the gradient of the log density, what is left of it.
        evaluations: gradients that it took.
    """

    z: np.ndarray
    log_density: float
    hessian: np.ndarray
    gradient: np.ndarray
    evaluations: int

    @property
    def gradient_norm(self) -> float:
        """The largest absolute entry of the gradient."""
        return float(np.abs(self.gradient).max())

    @property
    def is_proper(self) -> bool:
        """Whether the log density curves down in every direction."""
        return is_negative_definite(self.hessian)

    @functools.cached_property
    def normal(self) -> Gaussian:
        """Laplace's normal: around the point, with minus the Hessian as its precision."""
        return Gaussian.of(self.z, tril_of_precision(-self.hessian))

    @property
    def scale_tril(self) -> np.ndarray:
        """Cholesky factor of the inverse of minus the Hessian: Laplace's normal's."""
        return self.normal.scale.tril

    @property
    def log_mass(self) -> float:
        """Laplace's approximation of the log of the integral around it."""
        return self.log_density + self.normal.log_volume

    @property
    def distance(self) -> float:
        """How far the top of the local quadratic still is, in its own sds (the Newton decrement)."""
        return decrement(self.hessian, self.gradient)


def is_negative_definite(matrix: np.ndarray) -> bool:
    """Return whether a matrix is negative definite.

    Every coordinate is judged in its own scale, so that badly scaled ones are not taken for flat.
    """
    diagonal = -np.diag(matrix)
    if not np.isfinite(matrix).all() or (diagonal <= 0).any():
        return False
    scale = 1 / np.sqrt(diagonal)
    return bool(np.linalg.eigvalsh(matrix * np.outer(scale, scale)).max() < -1e-13)


def decrement(hessian: np.ndarray, gradient: np.ndarray) -> float:
    """Return the Newton decrement sqrt(g' (-H)^-1 g); infinite unless the Hessian is negative definite."""
    step = newton_step(hessian, gradient)
    return np.inf if step is None else float(np.sqrt(max(step @ gradient, 0.0)))


class Climb:
    """A way up: where it ended, whether that is a peak, and the gradients it took.

    Args:
        target: whose log density to climb.
        start: shape (dim,).
        max_steps: the most steps of the quasi-Newton search.
        until: `until(z)` says whether to stop at z.
        units: the scale in whose units to search; None for the coordinates' own.

    Attributes:
        path: the points it came through, each with its gradient and value, for approximations along the way.
        scale: a guess of each coordinate's conditional sd at the end, or None.
    """

    def __init__(
        self,
        target: Target,
        start,
        max_steps: int = 500,
        until: Callable | None = None,
        units: Scale | None = None,
    ):
        self.target, self.evaluations, self.stopped, self.until = target, 0, False, until
        self.path: list[tuple[np.ndarray, np.ndarray, float]] = []
        self.latest: dict[bytes, tuple] = {}
        self.height, self.units = -np.inf, units
        few, begin = target.dim <= FEW_DIMENSIONS, np.asarray(start)
        with np.errstate(over="ignore", invalid="ignore"):
            result = minimize(
                self.loss_in_units, begin if units is None else units.solve(begin), jac=True,
                method="BFGS" if few else "L-BFGS-B", options={"maxiter": max_steps}, callback=self.note,
            )  # fmt: skip
        self.z, self.log_density, self.gradient = self.placed(result.x), -float(result.fun), -result.jac
        covariance = result.hess_inv if few else None
        if units is not None:
            self.gradient = units.solve_transpose(self.gradient)
            covariance = units.matrix @ covariance @ units.matrix.T if few else None
        self.at_peak = not self.stopped and result.nit < max_steps
        variances = np.diag(covariance) if few else None
        self.scale = np.sqrt(variances) if few and (variances > 0).all() else None

    def placed(self, x) -> np.ndarray:
        return x if self.units is None else self.units.apply(x)

    def note(self, intermediate_result):
        z = self.placed(intermediate_result.x)
        if (seen := self.latest.get(z.tobytes())) is not None:
            self.path.append(seen)
        self.latest.clear()
        before, self.height = self.height, -float(intermediate_result.fun)
        if self.height - before < ROUNDING * abs(self.height):
            raise StopIteration
        if self.until is not None and self.until(z):
            self.stopped = True
            raise StopIteration

    def loss_in_units(self, x):
        value, gradient = self.loss(self.placed(x))
        return value, gradient if self.units is None else self.units.apply_transpose(gradient)

    def loss(self, z):
        self.evaluations += 1
        value, gradient = value_and_grad(self.target, z)
        value, gradient = float(value), np.asarray(gradient)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return np.inf, np.zeros_like(z)
        self.latest[z.tobytes()] = (np.array(z), gradient, value)
        return -value, -gradient

    def gradients(self, z: np.ndarray) -> np.ndarray:
        """Return the log density at each row of z."""
        self.evaluations += len(z)
        return value_and_grad_batch(self.target, z)[1]

    def hessian(self, z=None) -> np.ndarray:
        """Return the Hessian of the log density, at the end of the climb or another point."""
        return hessian(self.gradients, self.z if z is None else z, self.scale)


def hessian(gradients: Callable, z, scale=None) -> np.ndarray:
    """Return second derivatives of the log density, from fourth-order differences of the exact gradient.

    It needs no compilation beyond the gradient's, which for most models is where the time goes, and works where
    forward mode does not (adaptive ODE solvers). Each coordinate's step is a thousandth of its conditional sd;
    the relative error is about 1e-9.

    Args:
        gradients: (n, dim) -> (n, dim).
        z: the point, (dim,).
        scale: a guess of each coordinate's conditional sd, (dim,); None to find it by coarser differences.
    """
    steps = RELATIVE_STEP * (np.ones(len(z)) if scale is None else scale)
    curvature = coarse_hessian(gradients, z, steps)
    diagonal = -np.diag(curvature)
    found = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), steps / RELATIVE_STEP)
    offsets = np.diag(RELATIVE_STEP * found)
    far = gradients(np.concatenate([z + 2 * offsets, z - 2 * offsets, z + offsets, z - offsets]))
    far_up, far_down, up, down = np.split(far, 4)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is for the caller to judge
        curvature = (8 * (up - down) - (far_up - far_down)) / (12 * RELATIVE_STEP * found[:, None])
        return (curvature + curvature.T) / 2


def coarse_hessian(gradients: Callable, z, steps: np.ndarray) -> np.ndarray:
    """Return the Hessian from second-order differences, at half the cost."""
    up, down = np.split(gradients(np.concatenate([z + np.diag(steps), z - np.diag(steps)])), 2)
    with np.errstate(invalid="ignore", over="ignore"):
        curvature = (up - down) / (2 * steps[:, None])
        return (curvature + curvature.T) / 2


def find_mode(target: Target, start, max_steps: int = 500) -> Mode:
    """Climb from `start`, by Newton's method where that is needed, and polish."""
    climb = Climb(target, start, max_steps)
    if target.dim <= NEWTON_DIMENSIONS and max_steps:
        search_by_newton(climb, max_steps)
    return polish(climb)


def mode_near(target: Target, near: Mode) -> Mode:
    """Return the mode near that of a density much like the target's, whose curvature leads there by Newton steps."""
    climb = Climb(target, near.z, max_steps=0)
    climb.scale = 1 / np.sqrt(-np.diag(near.hessian))
    for _ in range(NEWTON_STEPS):
        step = newton_step(near.hessian, climb.gradient)
        if step is None or decrement(near.hessian, climb.gradient) < NEAR:
            break
        loss, slope = climb.loss(climb.z + step)
        if -loss < climb.log_density:
            break
        climb.z, climb.log_density, climb.gradient = climb.z + step, -loss, -slope
    return polish(climb)


def search_by_newton(climb: Climb, max_steps: int) -> None:
    """Go on from the end of a climb, unless that is a mode already, by a trust-region method.

    In units of the coordinates' own scales, without which the region trusted would be as long as the longest and as
    narrow as the narrowest of them.
    """
    steps = RELATIVE_STEP * (np.ones(climb.target.dim) if climb.scale is None else climb.scale)
    first = None
    for _ in range(5):  # the scales are those of where it stands; they are taken again where it gets stuck
        curvature = coarse_hessian(climb.gradients, climb.z, steps)
        if decrement(curvature, climb.gradient) < 0.1:
            return
        diagonal = np.abs(np.diag(curvature))
        scale = 1 / np.sqrt(np.where(np.isfinite(diagonal) & (diagonal > 0), diagonal, 1.0))
        if has_run_away(climb.z, scale, first := scale if first is None else first):
            return
        before, steps = climb.log_density, RELATIVE_STEP * scale
        trust_region(climb, scale, max_steps)
        if climb.log_density - before < 1e-6 * (1 + abs(before)):
            return


def has_run_away(z: np.ndarray, scale: np.ndarray, first: np.ndarray) -> bool:
    """Return whether a climb follows a density without a maximum, into an ever narrower neck or out of float64's range.

    Args:
        z: the point that it has reached.
        scale: each coordinate's conditional sd there.
        first: each coordinate's conditional sd at the start of the search.
    """
    return bool((scale < NARROWEST * first).any() or not np.isfinite(z / scale).all())


def trust_region(climb: Climb, scale: np.ndarray, max_steps: int) -> None:
    """Continue a climb by Newton's method in y = z / scale, with a trust region."""

    def loss(y):
        value, gradient = climb.loss(scale * y)
        return value, scale * gradient

    def curvature(y):
        found = -coarse_hessian(climb.gradients, scale * y, RELATIVE_STEP * scale) * np.outer(scale, scale)
        return np.nan_to_num(found)

    options = {
        "maxiter": min(max_steps, NEWTON_STEPS),
        "gtol": 1e-4,
        "initial_trust_radius": 1.0,
        "max_trust_radius": 1e6,
    }
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            result = minimize(loss, climb.z / scale, jac=True, hess=curvature, method="trust-exact", options=options)
    except (UnboundLocalError, ValueError, *NUMERICAL):
        return  # SciPy's inner solver gives up like this where a density has no top; the climb stays where it was
    if -result.fun > climb.log_density:
        climb.z, climb.log_density, climb.gradient = scale * result.x, -float(result.fun), -result.jac / scale
        climb.scale, climb.at_peak = scale, bool(result.success)


def polish(climb: Climb) -> Mode:
    """Return the mode near the end of a climb, by Newton steps that do not go down."""
    z, value, gradient = climb.z, climb.log_density, climb.gradient
    curvature = climb.hessian(z)
    for _ in range(8):
        step = newton_step(curvature, gradient)
        if step is None or decrement(curvature, gradient) < 1e-9:
            break
        new_loss, new_gradient = climb.loss(z + step)
        if -new_loss < value - 1e-9 * (1 + abs(value)):
            break
        moved = decrement(curvature, gradient)
        z, value, gradient = z + step, -new_loss, -new_gradient
        if moved > NEAR:  # else the curvature is still right
            curvature = climb.hessian(z)
    return Mode(z, value, curvature, gradient, climb.evaluations)


def newton_step(curvature, gradient):
    """Return the step to the local quadratic's maximum; None if it has none."""
    if not is_negative_definite(curvature):
        return None
    scale = 1 / np.sqrt(-np.diag(curvature))
    return -scale * np.linalg.solve(curvature * np.outer(scale, scale), scale * gradient)


def same_mode(a: Mode, b: Mode) -> bool:
    """Return whether they are within a hundredth of a posterior sd of one another."""
    return bool(b.normal.squared_distance(a.z) < 1e-4)
