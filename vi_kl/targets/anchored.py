"""Anchored minibatches: a control variate that takes most of the noise out of the estimate from a minibatch.

With the log density L of all rows known at a point a, to first order, and M the estimate from drawn rows,

    M(z) + w (L(a) + L'(a) (z - a) - M(a) - M'(a) (z - a))

has the expectation of M(z), whatever w is, and the noise of the rows' second derivatives instead of that of their
gradients: where the posterior's width is 1/sqrt(N) of a row's own scale, as with many rows and a fixed number of
unknowns, sqrt(N) times less. It costs one gradient of the minibatch a step, and one of all rows each time that the
anchor moves.

Requires of the target: "minibatches", and that no latent variable belongs to a row, for near such an anchor these have
their own width, which no number of rows lessens.

References: Johnson & Zhang (2013), "Accelerating stochastic gradient descent using predictive variance reduction";
Baker, Fearnhead, Fox & Nemeth (2019), "Control variates for stochastic gradient MCMC", section 2.2.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.core.compilation import compiled
from vi_kl.targets.density import DerivedDensity
from vi_kl.targets.minibatch import drawn_rows, with_rows
from vi_kl.targets.sites import Site, ravel, unravel
from vi_kl.targets.target import Target, value_and_grad

MINIBATCHES = 32  # from which the weight of the control variate is estimated


class Anchor(NamedTuple):
    """A point at which the log density of all rows is known.

    Attributes:
        z: the point, (dim,).
        value: the log density there.
        gradient: its gradient there, (dim,).
        weight: the weight w of the control variate; 0 leaves it out.
    """

    z: Any
    value: Any
    gradient: Any
    weight: Any

    @classmethod
    def nowhere(cls, dim: int) -> "Anchor":
        """Return an anchor that leaves the control variate out."""
        return cls(np.zeros(dim), np.zeros(()), np.zeros(dim), np.zeros(()))


@dataclasses.dataclass(frozen=True)
class Anchored(DerivedDensity):
    """A density whose minibatches have the control variate; data is (the density's own data, an `Anchor`)."""

    sites: tuple[Site, ...]

    kept = DerivedDensity.kept | {"minibatches"}

    def given(self, data):
        return data[0]

    @property
    def plates(self):
        return self.density.plates

    def sites_of_rows(self, sites):
        return self.density.sites_of_rows(sites)

    def log_density(self, data, sites):
        return self.density.log_density(data[0], sites)

    def minibatch(self, data, sites, rows):
        given, anchor = data

        def estimate(z):
            return self.density.minibatch(given, unravel(self.sites, z), rows)

        return controlled(estimate, anchor, ravel(self.sites, sites))

    minibatch_of_own = minibatch  # no site belongs to a row


def controlled(estimate: Callable, anchor: Anchor, z) -> jax.Array:
    """Return a minibatch's estimate of the log density at z with the control variate of an anchor."""
    own, slope = jax.value_and_grad(estimate)(jnp.asarray(anchor.z))
    on = anchor.weight > 0
    shift = jnp.where(on, anchor.weight * (anchor.value - own), 0.0)
    tilt = jnp.where(on, anchor.weight * (anchor.gradient - slope), 0.0)
    return estimate(z) + shift + tilt @ (z - anchor.z)


def can_be_anchored(target: Target) -> bool:
    """Return whether a target has minibatches, and no latent variable for each of their rows."""
    if not target.subsampled or target.density.learnable:
        return False
    density: Any = target.density
    return density.sites_of_rows(target.sites) == target.sites


def with_anchor(target: Target, anchor: Anchor) -> Target:
    """Return the same posterior, whose minibatches have the control variate of this anchor."""
    return Target(Anchored(target.density, target.sites), (target.data, anchor), target.sites)


def anchor_at(target: Target, z: np.ndarray, draws: np.ndarray, key) -> Anchor:
    """Return the anchor at a point, with the weight that makes gradients at some draws of q least noisy.

    The weight is the regression coefficient of minibatches' gradients at the draws on those at the anchor, each number
    in units of the noise at the draws.

    Args:
        target: a target with `can_be_anchored`.
        z: the point, (dim,).
        draws: draws of q, (n, dim).
        key: the key of the minibatches that are looked at.
    """
    return anchor_from(
        target, z, *map(np.asarray, gradients_of_minibatches(target, jnp.asarray(z), jnp.asarray(draws), key))
    )


def anchor_from(target: Target, z: np.ndarray, found: np.ndarray, at_anchor: np.ndarray) -> Anchor:
    """Return the anchor at a point, given gradients of minibatches at draws of q and at the point."""
    value, gradient = map(np.asarray, value_and_grad(target, jnp.asarray(z)))
    if not all(np.isfinite(x).all() for x in (value, gradient, found, at_anchor)):
        return Anchor.nowhere(len(z))
    return Anchor(np.asarray(z, float), value, gradient, np.asarray(best_weight(found, at_anchor)))


def best_weight(found: np.ndarray, at_anchor: np.ndarray) -> float:
    """Return the regression coefficient of gradients (minibatches, n, dim) on those at the anchor (minibatches, dim).

    It is 0 where that takes less than a tenth of the noise away.
    """
    x, y = at_anchor - at_anchor.mean(axis=0), found - found.mean(axis=0)
    sd = np.sqrt((y**2).mean(axis=(0, 1)))
    noisy = sd > 0  # a coordinate that only the prior looks at has no noise
    if not noisy.any():
        return 0.0
    x, y = x[:, None, noisy] / sd[noisy], y[..., noisy] / sd[noisy]
    weight = float(np.clip(np.mean(x * y) / max(np.mean(x**2), np.finfo(float).tiny), 0.0, 1.0))
    return weight if np.mean((y - weight * x) ** 2) < 0.9 else 0.0


@compiled(unoptimized=True)
def gradients_of_minibatches(target: Target, z, draws, key):
    """Return gradients of minibatches at draws, (minibatches, n, dim), and at one point, (minibatches, dim)."""
    return gradients_at(
        lambda key: with_rows(target, drawn_rows(target, key)), jax.random.split(key, MINIBATCHES), z, draws
    )


def gradients_at(minibatch: Callable, drawn, z, draws):
    """Return gradients of minibatches, each a target made from an entry of `drawn`, at draws and at one point."""

    def one(drawn):
        rows = minibatch(drawn)
        gradient = jax.grad(lambda z: rows.density.log_density(rows.data, rows.unravel(z)))
        return jax.vmap(gradient)(draws), gradient(z)

    return jax.lax.map(one, drawn)
