"""SVGD: a set of particles moved together until they lie like draws of the posterior.

Requires of the target: a differentiable log density. There is no family: the answer is a set of points, which shows
skewness and several modes, and has no density. So its KL from the posterior is infinite, and `check` and `compare`
refuse it; draw from it, and compare its means and sds. With the default kernel its sds are too small (Ba et al. 2022):
for 64 particles and a normal posterior by a twentieth in two dimensions, and by two fifths in ten.

The kernels are NumPyro's own (numpyro.contrib.einstein). The loop is vi_kl's, and evaluates one gradient per particle
and step; NumPyro's own loop evaluates each of them once for every pair of particles.

References: Liu & Wang (2016), "Stein variational gradient descent: a general purpose Bayesian inference algorithm",
NeurIPS; Ba et al. (2022), "Understanding the variance collapse of SVGD in high dimensions", ICLR.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.algorithms.algorithm import Algorithm, CostCounter, FitError, History, Solution, Status
from vi_kl.algorithms.initialization import initialize
from vi_kl.core.compilation import compiled
from vi_kl.core.random_keys import numpy_generator, split
from vi_kl.families.particles import ParticleApproximation, Particles
from vi_kl.objectives.noise import sobol_normals
from vi_kl.targets.target import value_and_grad_batch

STEP = 0.2  # the first step size, in the units of the frame
SMALLEST_STEP = 1e-4
WINDOW = 10  # steps after which the step size is halved if the moves have not become shorter


@dataclasses.dataclass(frozen=True)
class SVGD(Algorithm):
    """Stein variational gradient descent.

    Attributes:
        num_particles: the number of points; 64 are evaluated at once.
        kernel: one of NumPyro's Stein kernels of mode "norm"; the default is RBFKernel, its width by the median rule.
        tolerance: the move of the particles, in sds of the frame (RMS), below which the fit has converged.
        max_steps: the number of steps after which it ends, converged or not.
    """

    num_particles: int = 64
    kernel: Any = None
    tolerance: float = 0.01
    max_steps: int = 1000

    name = "svgd"

    def __post_init__(self):
        if self.num_particles < 2:
            raise ValueError(f"SVGD needs at least 2 particles, got {self.num_particles}.")
        if self.kernel is not None and self.kernel.mode != "norm":
            raise ValueError(f"The kernel must be of mode 'norm', not {self.kernel.mode!r}: RBFKernel() is.")

    def find(self, key, target, *, start, progress, counter):
        start_key, noise_key = split(key)
        frame = initialize(target, start_key, counter, start).frame
        u = initial_particles(numpy_generator(noise_key), self.num_particles, target.dim)
        u, history, left = move(self, target, frame, u, counter, progress)
        params = {"particles": jnp.asarray(frame.point(u))}
        q = ParticleApproximation(Particles(), params, target)
        return Solution(q, status(self, left, len(history)), History(np.array(history)))


@functools.cache
def default_kernel():
    """Return NumPyro's RBF kernel, imported when it is first needed."""
    from numpyro.contrib.einstein import RBFKernel

    return RBFKernel()


@compiled(static=("kernel",), unoptimized=True)
def directions(particles, scores, kernel):
    """Return each particle's move, (n, dim), and the kernel's mean absolute value: Liu & Wang (2016), equation 8."""
    k = kernel.compute(jax.random.key(0), particles, {}, None)

    def one(y):
        values, slopes = jax.vmap(lambda x: jax.value_and_grad(k)(x, y))(particles)
        return (values @ scores + slopes.sum(axis=0)) / len(particles), jnp.abs(values).mean()

    moves, sizes = jax.vmap(one)(particles)
    return moves, sizes.mean()


def initial_particles(generator, n: int, dim: int) -> np.ndarray:
    """Draw n standard normals, (n, dim), quasi-random ones if n is a power of two."""
    return sobol_normals(generator, n, dim) if n & (n - 1) == 0 else generator.standard_normal((n, dim))


def move(config: SVGD, target, frame, u: np.ndarray, counter: CostCounter, progress):
    """Move the particles until they settle or max_steps is reached.

    Returns:
        The particles, the length of each move (RMS, in sds of the frame), and the length of the next one.
    """
    scale, kernel = frame.normal.scale, config.kernel or default_kernel()
    size, history, before = STEP, [], np.zeros_like(u)
    while True:
        u, gradients = finite_particles(target, frame, before, u, counter)
        scores = jnp.asarray(scale.apply_transpose(gradients))
        moves, kernel_size = map(np.asarray, directions(jnp.asarray(u), scores, kernel))
        moves = moves / kernel_size
        left = float(np.sqrt((moves**2).mean()))
        if len(history) % 50 == 0:
            progress(len(history) / config.max_steps, f"step {len(history)}: particles are sent {left:.2g} sd")
        if left < config.tolerance or len(history) == config.max_steps or size < SMALLEST_STEP:
            return u, history, left
        history.append(left)
        if len(history) % WINDOW == 0 and np.mean(history[-WINDOW:]) > np.mean(history[-2 * WINDOW :][:WINDOW]):
            size /= 2
        before, u = u, u + size * moves / max(1.0, left)


def finite_particles(
    target, frame, before: np.ndarray, u: np.ndarray, counter: CostCounter
) -> tuple[np.ndarray, np.ndarray]:
    """Return the particles and the gradients there, after moving back those at which they are not finite.

    Such a particle goes back half of its way, again and again, until its gradient is finite.

    Raises:
        FitError: A particle has none however little it moves (at first: however near the centre of the frame it
            begins).
    """
    for _ in range(20):
        values, gradients = value_and_grad_batch(target, frame.point(u))
        counter.gradient_evaluations += len(u)
        finite = np.isfinite(values) & np.isfinite(gradients).all(axis=1)
        if finite.all():
            return u, gradients
        u = np.where(finite[:, None], u, (before + u) / 2)
    raise FitError(
        "SVGD stopped: the log density or its gradient is not finite at a particle, however little it moves. "
        "Start elsewhere (start=...), or fit 'full_rank'."
    )


def status(config: SVGD, left: float, steps: int) -> Status:
    """Say whether the particles have settled."""
    if left < config.tolerance:
        return Status(True, f"Converged after {steps} steps: the particles are sent {left:.1g} sd further.")
    return Status(
        False,
        f"Not converged after {steps} steps: the particles are still sent {left:.2g} sd further; raise max_steps "
        f"(now {config.max_steps}).",
    )
