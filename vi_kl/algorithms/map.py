"""MAP: the point of highest posterior density.

Requires of the target: a twice differentiable log density with a proper mode. The answer is a point: its KL from the
posterior is infinite, and it says nothing of uncertainty. `Laplace` finds the same point in z and puts a normal there.

A mode depends on the variables in which the density is written. The usual MAP estimate is the mode in the model's own
variables, `space="constrained"`, where the density may rise towards a boundary; `space="unconstrained"` is the mode
in z.

Reference: Murphy (2012), Machine Learning: A Probabilistic Perspective, section 5.2.1.
"""

import dataclasses
from typing import Literal

import jax.numpy as jnp
import numpy as np

from vi_kl.algorithms.algorithm import Algorithm, FitError, Solution, Status
from vi_kl.algorithms.initialization import best_mode, starting_points
from vi_kl.families.approximation import Approximation
from vi_kl.families.delta import Delta
from vi_kl.targets.density import DerivedDensity
from vi_kl.targets.modes import NEAR, Mode
from vi_kl.targets.target import Target


@dataclasses.dataclass(frozen=True)
class MAP(Algorithm):
    """Maximum a posteriori estimation.

    Attributes:
        space: the variables in which the density is maximised: "constrained", the sites as the model sees them, or
            "unconstrained", z.
        max_steps: the most iterations of each climb.
    """

    space: Literal["constrained", "unconstrained"] = "constrained"
    max_steps: int = 500

    name = "map"

    def __post_init__(self):
        if self.space not in ("constrained", "unconstrained"):
            raise ValueError(f"space must be 'constrained' or 'unconstrained', not {self.space!r}.")

    def find(self, key, target, *, start, progress, counter):
        """Climb from `start`, a point as z or {site: value}, or from random places."""
        climbed = target
        if self.space == "constrained":
            climbed = Target(OfTheSites(target.density), target.data, target.sites)
        mode = best_mode(climbed, starting_points(climbed, key, start), counter, self.max_steps)
        refuse_no_mode(self, target, mode)
        q = Approximation(Delta(), {"loc": jnp.asarray(mode.z)}, target)
        return Solution(q, status(self, mode, counter.gradient_evaluations))


@dataclasses.dataclass(frozen=True)
class OfTheSites(DerivedDensity):
    """The density of the sites as the model sees them: a target's density without the change of variables."""

    def log_density(self, data, sites):
        return self.density.log_density(data, sites) - self.density.constrain(data, sites)[1]


def status(config: MAP, mode: Mode, gradients: int) -> Status:
    """Say how near the mode the climb ended."""
    converged = mode.distance < NEAR
    return Status(
        converged,
        f"{'Mode found' if converged else 'Not converged'} after {gradients} gradients, "
        f"{mode.distance:.1g} sd of the local quadratic from its top"
        + ("." if converged else f"; raise max_steps (now {config.max_steps})."),
    )


def refuse_no_mode(config: MAP, target: Target, mode: Mode) -> None:
    """Raise an error if the highest point found is not a mode, or is at a boundary."""
    edge = site_at_a_boundary(target, mode.z)
    if edge is not None or not mode.is_proper:
        why = "it does not curve down in every direction" if edge is None else f"site '{edge}' has run to its boundary"
        raise FitError(
            f"No mode of the {config.space} density: at the highest point found, {coordinates(target, mode.z)}, {why}. "
            f"Give the sites priors that vanish at their boundaries and far away, or use space='unconstrained'."
        )


def site_at_a_boundary(target: Target, z) -> str | None:
    """Return the first site that a step in z no longer moves, since it has reached a bound to rounding; or None."""
    here, there = target.constrain(z), target.constrain(z + 1)
    for site in target.sites:
        change = np.abs(np.asarray(there[site.name]) - np.asarray(here[site.name]))
        stuck = ~(change > 1e-30)
        if stuck.any() if site.shape == site.unconstrained_shape else stuck.all():
            return site.name
    return None


def coordinates(target: Target, z, most: int = 6) -> str:
    """Name the first coordinates of z with their values."""
    pairs = [f"{name} = {value:.3g}" for name, value in zip(target.coordinate_names, z, strict=True)]
    return ", ".join(pairs[:most]) + (", ..." if len(pairs) > most else "") + " (unconstrained)"
