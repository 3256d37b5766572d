"""The ELBO on fixed noise: a deterministic function of q's parameters, for optimisers of the second order.

Requires a family whose draws are an image of standard normal noise. On noise with exact second moments
(`matched_noise` of noise.py) the best normal for a normal posterior is exact, whatever the number of draws; what is
left of the Monte-Carlo error comes from third and higher derivatives of the log density alone.

The model's gradient is not compiled again: its batched program, which all algorithms share, gives d log p / dz, and
the family carries that back to the parameters, in NumPy or by a small program of its own.

References: Giordano, Ingram & Broderick (2024), "Black box variational inference with a deterministic objective";
Burroni, Domke & Sheldon (2024), "Sample average approximation for black-box variational inference".
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vi_kl.core.compilation import compiled
from vi_kl.families.family import Family, OnNoise
from vi_kl.targets.target import Target, in_chunks, value_and_grad_batch

PIECE = 256  # draws that the family's programs take at once: one shape, and so one compilation, for any number


def is_cheap(flat, units, u, *args, **kwargs) -> bool:
    """Return whether the family's own work is so small that optimising its compilation does not pay."""
    return np.size(flat) * len(u) < 1_000_000


@compiled(static=("family", "unravel"), unoptimized=is_cheap)
def push_noise(flat, units, u, target: Target, family: Family, unravel):
    """Return z of shape (n, dim) and log q(z) of shape (n,) at noise u."""
    return jax.vmap(family.push(family.placed(unravel(flat), units), target))(u)


@compiled(static=("family", "unravel"), unoptimized=is_cheap)
def pull_back(flat, units, u, slopes, weights, target: Target, family: Family, unravel):
    """Return these draws' part of the gradient of the loss in the flat parameters, from d log p / dz at every draw."""

    def loss(flat):
        z, log_q = push_noise(flat, units, u, target, family, unravel)
        return jnp.sum(weights * (log_q - jnp.sum(slopes * z, axis=-1)))

    return jax.grad(loss)(flat)


@compiled(static=("family", "unravel"), unoptimized=True)
def placed(flat, units, family: Family, unravel):
    """Return the parameters in z, computed by one program: its operations would each be compiled by themselves."""
    return family.placed(unravel(flat), units)


class FixedNoiseELBO:
    """A function of a flat vector of parameters: -ELBO of a family's members on fixed noise, with its gradient.

    Attributes:
        u: the noise, of shape (n, dim); it may be replaced by more draws.
        evaluations: the number of gradients of the log density so far.
        log_ratio: log p - log q at the draws of the latest call, (n,).
    """

    def __init__(self, family: Family, params: Any, units: Any, target: Target, u: np.ndarray):
        self.family, self.units, self.target, self.u = family, units, target, u
        leaves, self.structure = jax.tree.flatten(jax.tree.map(np.asarray, params))
        self.shapes, self.start = [leaf.shape for leaf in leaves], flat(leaves)
        self.evaluations = 0
        self.log_ratio = np.empty(0)

    @functools.cached_property
    def unravel(self) -> Callable:
        """The map from a flat vector to parameters, for compiled programs."""
        return ravel_pytree(jax.tree.map(jnp.asarray, self.unraveled(self.start)))[1]

    def unraveled(self, x: np.ndarray) -> Any:
        """Return the parameters, in the units, of a flat vector."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])[:-1]
        leaves = [part.reshape(shape) for part, shape in zip(np.split(x, ends), self.shapes, strict=True)]
        return jax.tree.unflatten(self.structure, leaves)

    def in_numpy(self, x: np.ndarray) -> OnNoise | None:
        """Return the member x by NumPy, if its family has one."""
        return self.family.on_noise(self.unraveled(x), self.units)

    def draws(self, x, u=None) -> tuple[np.ndarray, np.ndarray]:
        """Return z and log q(z) of the member x, at the fixed noise or at the noise given."""
        u, by_numpy = self.u if u is None else u, self.in_numpy(x)
        if by_numpy is not None:
            return by_numpy.push(u)
        fixed = self.target, self.family, self.unravel
        return in_chunks(lambda piece: push_noise(x, self.units, piece, *fixed), u, size=PIECE)

    def __call__(self, x) -> tuple[float, np.ndarray]:
        """Return the loss in nats and its gradient; the loss is infinite where log p or its gradient is not finite."""
        z, log_q = self.draws(x)
        log_p, slopes = value_and_grad_batch(self.target, z)
        self.evaluations += len(z)
        self.log_ratio = log_p - log_q
        loss = -float(np.mean(self.log_ratio))
        if not (np.isfinite(loss) and np.isfinite(slopes).all()):
            return np.inf, np.zeros_like(x)
        return loss, self.gradient(x, slopes)

    def gradient(self, x, slopes) -> np.ndarray:
        """Return the gradient of the loss in the parameters, from d log p / dz at every draw.

        Where it is compiled, it is summed over pieces of the draws, so that one program serves any number.
        """
        by_numpy = self.in_numpy(x)
        if by_numpy is not None:
            return flat(jax.tree.leaves(by_numpy.pull_back(self.u, slopes)))
        length, total = len(self.u), np.zeros(len(x))
        weights = np.full(length, 1 / length)  # the rows that fill up the last piece have weight zero
        for first in range(0, length, PIECE):
            rows = slice(first, first + PIECE)
            piece = [filled(array[rows]) for array in (self.u, slopes, weights)]
            total += np.asarray(pull_back(x, self.units, *piece, self.target, self.family, self.unravel))
        return total

    def params(self, x) -> Any:
        """Return the member's parameters in z, as NumPy arrays."""
        if self.in_numpy(x) is not None:
            return self.family.placed(self.unraveled(x), self.units)
        return jax.tree.map(np.asarray, placed(x, self.units, self.family, self.unravel))


def flat(leaves: list[np.ndarray]) -> np.ndarray:
    """Return the numbers of several arrays, one after the other."""
    return np.concatenate([np.ravel(leaf) for leaf in leaves])


def filled(rows: np.ndarray) -> np.ndarray:
    """Return the rows, padded with zeros to a whole piece."""
    return np.pad(rows, ((0, PIECE - len(rows)), *((0, 0),) * (rows.ndim - 1)))
