"""Natural-gradient steps of a normal's ELBO, from gradients of the log density alone.

The noise is fixed, so that the ELBO is a deterministic function of the normal, and a step that lowers it is shortened.
Let z = m + L u, and A = -E[u (L'g)'], made symmetric, where g is the gradient of the log density. By Stein's identity A
is the expected curvature in the normal's own units. The natural gradient moves the precision from I towards A, and the
mean by A^-1 E[L'g]. If A is not positive definite, its eigenvalues are bounded from below, so that a step at most
doubles an sd. An sd shrinks to no less than a fourth in one step, however steep the density, though the mean moves no
further than A allows. The noise has the moments of the standard normal exactly, so that on a normal posterior one
full step is exact.

References: Khan & Rue (2023), "The Bayesian learning rule", JMLR 24; Lin, Schmidt & Khan (2020), "Handling the
positive-definite constraint in the Bayesian learning rule", for the need of such bounds.
"""

from typing import NamedTuple

import numpy as np

from vi_kl.algorithms.algorithm import CostCounter
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.scales import Diagonal, Root
from vi_kl.targets.target import Target, value_and_grad_batch

LEAST, MOST = 0.25, 16.0  # the factors by which one step may multiply the precision in a direction
SMALLEST_STEP = 1e-3
TURNED = 0.3  # the cosine of two steps beyond which they go on, or turn back
SHORTEST_OF_TURNED = 0.25  # the share of a step, at least, that is taken where steps turn back


class ElboAtNormal(NamedTuple):
    """The ELBO of a normal and its derivatives, on given noise.

    Attributes:
        normal: the normal, its scale a `Diagonal`, or a `Root`: any square root L of the covariance.
        elbo: the ELBO in nats; -inf if the log density is not finite at a draw.
        slope: E[L'g], the mean's gradient in the normal's own units, (dim,).
        curvature: A, (dim, dim), or its diagonal for independent coordinates.
    """

    normal: Gaussian
    elbo: float
    slope: np.ndarray
    curvature: np.ndarray

    @property
    def off(self) -> np.ndarray:
        """How far the curvature is from that of the normal, in its own units."""
        return self.curvature - (1.0 if self.curvature.ndim == 1 else np.eye(len(self.slope)))

    @property
    def movement(self) -> float:
        """The length of a full step, as the largest change of the mean in sds or of an sd relatively."""
        spread = np.abs(self.off).max() if self.off.ndim == 1 else np.abs(np.linalg.eigvalsh(self.off)).max()
        return float(max(np.abs(self.slope).max(), 0.5 * spread))

    @property
    def nats(self) -> float:
        """The KL that a full step is worth."""
        return float(0.5 * self.slope @ self.slope + 0.25 * (self.off**2).sum())


def elbo_at(target: Target, normal: Gaussian, noise: np.ndarray, counter: CostCounter) -> ElboAtNormal:
    """Evaluate the ELBO and its derivatives at a normal."""
    values, gradients = value_and_grad_batch(target, normal.unwhiten(noise))
    counter.gradient_evaluations += len(noise)
    if not (np.isfinite(values).all() and np.isfinite(gradients).all()):
        return ElboAtNormal(normal, -np.inf, np.zeros_like(normal.loc), np.ones_like(normal.loc))
    elbo, own = float(values.mean() + normal.entropy), normal.scale.apply_transpose(gradients)
    if isinstance(normal.scale, Diagonal):
        return ElboAtNormal(normal, elbo, own.mean(axis=0), -(noise * own).mean(axis=0))
    curvature = -noise.T @ own / len(noise)
    return ElboAtNormal(normal, elbo, own.mean(axis=0), (curvature + curvature.T) / 2)


def step_from(seen: ElboAtNormal, size: float, metric: np.ndarray | None) -> Gaussian:
    """Return the normal one natural step away.

    Args:
        seen: the ELBO and its derivatives at the present normal.
        size: the step size; 1 is a full step.
        metric: a covariance along which the mean of a normal with independent coordinates moves; None for their sds.
    """
    loc, scale = seen.normal.loc, seen.normal.scale
    if isinstance(scale, Diagonal):
        precision = np.maximum(1 + size * (seen.curvature - 1), LEAST)
        move = scale.sds / precision * seen.slope if metric is None else metric @ (seen.slope / scale.sds)
        return Gaussian(loc + size * move, Diagonal(scale.sds / np.sqrt(np.minimum(precision, MOST))))
    values, vectors = np.linalg.eigh(seen.curvature)
    precision = np.maximum(1 + size * (values - 1), LEAST)
    move = vectors @ ((vectors.T @ seen.slope) / precision)
    root = scale.matmul(vectors / np.sqrt(np.minimum(precision, MOST))) @ vectors.T
    return Gaussian(loc + size * scale.apply(move), Root(root))


def ascend(
    target, seen: ElboAtNormal, noise, counter: CostCounter, tolerance: float, max_steps: int, metric=None, least=0.0
):
    """Take natural steps until one would go less than `tolerance` sds; return where they end, and their number.

    `seen` is what the noise says of the normal at which they begin.

    A step that lowers the ELBO is halved. If none raises it, which rounding can cause near the top, the ascent ends
    there, and `movement` of the ElboAtNormal says how far from the top that is. It also ends where two steps one after
    the other have gained less than `least` nats each. Where steps turn back on themselves, they have gone too far, and
    the next ones are shorter.
    """
    size, longest, gains = 1.0, 1.0, [np.inf]
    for step in range(max_steps):
        if not np.isfinite(seen.elbo) or seen.movement < tolerance or max(gains[-2:]) < least:
            return seen, step
        while True:
            new = elbo_at(target, step_from(seen, size, metric), noise, counter)
            if new.elbo > seen.elbo - 1e-12 * abs(seen.elbo):
                break
            size /= 2
            if size < SMALLEST_STEP:
                return seen, step
        along = cosine(seen, new)
        if along < -TURNED:
            longest = max(longest / 2, SHORTEST_OF_TURNED)
        elif along > TURNED:
            longest = min(2 * longest, 1.0)
        gains.append(new.elbo - seen.elbo)
        seen, size = new, min(longest, 2 * size)
    return seen, max_steps


def cosine(before: ElboAtNormal, after: ElboAtNormal) -> float:
    """Return the cosine of the steps from two normals, each in its own units."""
    one, other = (np.append(np.ravel(seen.off), seen.slope) for seen in (before, after))
    return float(one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-300))


def shrunk_until_finite(target, normal: Gaussian, noise, counter: CostCounter) -> ElboAtNormal | None:
    """Narrow a normal until the log density is finite at all its draws; return None if it never is."""
    for _ in range(20):
        seen = elbo_at(target, normal, noise, counter)
        if np.isfinite(seen.elbo):
            return seen
        normal = normal.scaled(0.5)
    return None
