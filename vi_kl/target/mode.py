"""Local modes of a target: maxima of log_density(z), with the curvature there."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from vi_kl.target.target import Target, value_and_grad

FEW_DIMENSIONS = 30


@dataclasses.dataclass(frozen=True)
class Mode:
    """A point where the gradient of the log density vanishes, and what is around it.

    Attributes:
        z: the point, shape (dim,).
        log_density: the unnormalised log density there.
        hessian: of the log density; negative definite at a proper mode.
        gradient: of the log density, what is left of it.
        evaluations: value-and-gradient calls it took.
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
        finite = np.isfinite(self.hessian).all()
        return bool(finite and np.linalg.eigvalsh(self.hessian).max() < 0)

    @property
    def scale_tril(self) -> np.ndarray:
        """Cholesky factor of the inverse of minus the Hessian: the local Gaussian's."""
        return np.linalg.cholesky(np.linalg.inv(-self.hessian))

    @property
    def log_mass(self) -> float:
        """Laplace's approximation of the log of the integral around it."""
        half_log_det = np.log(np.diag(self.scale_tril)).sum()
        return self.log_density + half_log_det + 0.5 * len(self.z) * np.log(2 * np.pi)


def hessian(target: Target, z, relative_step: float = 1e-3) -> np.ndarray:
    """Second derivatives of the log density, from fourth-order differences of the exact gradient.

    It needs no compilation beyond the gradient's, which for most models is where the time goes, and works where
    forward mode does not (adaptive ODE solvers). Each coordinate's step is a thousandth of its conditional sd;
    the relative error is about 1e-9.
    """
    scale = np.ones(target.dim)
    for _ in range(2):  # the first pass finds the scales
        steps = relative_step * scale
        rows = [directional_derivative(target, z, i, step) for i, step in enumerate(steps)]
        curvature = np.stack(rows)
        diagonal = -np.diag(curvature)
        scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 1.0)
    return (curvature + curvature.T) / 2


def directional_derivative(target, z, i: int, step: float) -> np.ndarray:
    """d gradient / d z_i."""

    def gradient(offset):
        moved = np.array(z)
        moved[i] += offset
        return np.asarray(value_and_grad(target, jnp.asarray(moved))[1])

    near, far = gradient(step) - gradient(-step), gradient(2 * step) - gradient(-2 * step)
    return (8 * near - far) / (12 * step)


class Climb:
    """A way up: where it ended, whether that is a peak, and value-and-gradient calls counted.

    L-BFGS, or BFGS in few dimensions, where L-BFGS-B's linear algebra waits for its threads longer than it works.

    Args:
        target: whose log density to climb.
        start: shape (dim,).
        max_steps: of the search.
        until: `until(z)` says whether to stop at z.
    """

    def __init__(self, target: Target, start, max_steps: int = 500, until: Callable | None = None):
        self.target, self.evaluations, self.stopped = target, 0, False
        few = target.dim <= FEW_DIMENSIONS
        result = minimize(
            self.loss, np.asarray(start), jac=True, method="BFGS" if few else "L-BFGS-B",
            options={"maxiter": max_steps}, callback=None if until is None else self.stop_where(until),
        )  # fmt: skip
        self.z, self.log_density, self.gradient = result.x, -float(result.fun), -result.jac
        self.at_peak = not self.stopped and result.nit < max_steps

    def stop_where(self, until: Callable) -> Callable:
        def callback(intermediate_result):
            if until(intermediate_result.x):
                self.stopped = True
                raise StopIteration

        return callback

    def loss(self, z):
        self.evaluations += 1
        value, gradient = value_and_grad(self.target, jnp.asarray(z))
        if not np.isfinite(value):
            return np.inf, np.zeros_like(z)
        return -float(value), -np.asarray(gradient)


def find_mode(target: Target, start, max_steps: int = 500) -> Mode:
    """Climb from `start` by L-BFGS, then polish by Newton steps that do not go down."""
    return polish(Climb(target, start, max_steps))


def polish(climb: Climb) -> Mode:
    """The mode near the end of a climb, by Newton steps that do not go down."""
    z, value, gradient = climb.z, climb.log_density, climb.gradient
    curvature = hessian(climb.target, z)
    for _ in range(5):
        step = newton_step(curvature, gradient)
        if step is None or np.abs(step).max() < 1e-12 * (1 + np.abs(z).max()):
            break
        new_loss, new_gradient = climb.loss(z + step)
        if -new_loss < value - 1e-9 * (1 + abs(value)):
            break
        z, value, gradient = z + step, -new_loss, -new_gradient
        curvature = hessian(climb.target, z)
    return Mode(z, value, curvature, gradient, climb.evaluations)


def newton_step(curvature, gradient):
    """The step to the local quadratic's maximum; None where it has none."""
    if not np.isfinite(curvature).all() or np.linalg.eigvalsh(curvature).max() >= 0:
        return None
    return -np.linalg.solve(curvature, gradient)


def same_mode(a: Mode, b: Mode) -> bool:
    """Within a hundredth of a posterior sd of one another."""
    return float(np.linalg.norm(np.linalg.solve(b.scale_tril, a.z - b.z))) < 1e-2
