"""Projection onto a family known by its class, if moments do not settle it: descents from several starts.

Reverse KL may have a minimum at each mode of p, so a descent starts at every one.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import biject_to, constraints

from vi_kl.core.compilation import compiled
from vi_kl.divergences.projection.descent import Minimum, descend, distinct
from vi_kl.divergences.projection.families import ParametricFamily
from vi_kl.divergences.projection.formulas import Mixture, formulas
from vi_kl.divergences.projection.matching import check_interior, starting_draws
from vi_kl.divergences.projection.moments import NoFormula, NoMoment, Points
from vi_kl.divergences.projection.nodes import Nodes

REACH = 12.0  # a positive parameter is searched within a factor of exp(12) of p's
CENTRAL = 0.02  # probability left out on either side if the whole of p has no moments to start from


@dataclasses.dataclass(frozen=True)
class Members:
    """A parametric family with some parameters fixed, over one number or independent ones.

    It is hashable, so that one compiled program serves all data of one kind.
    """

    family: ParametricFamily
    fixed: tuple[tuple[str, float], ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...]  # unconstrained shapes, one per free parameter
    factors: bool

    def params(self, z):
        """Return the free parameters, constrained, from one flat vector."""
        sizes = [int(np.prod(shape)) for _, shape in self.shapes]
        pieces = jnp.split(z, np.cumsum(sizes)[:-1])
        return {
            name: biject_to(self.family.parameters[name])(piece.reshape(shape))
            for (name, shape), piece in zip(self.shapes, pieces, strict=True)
        }

    def member(self, params):
        q = self.family.build(**params, **dict(self.fixed))
        return q.to_event(1) if self.factors else q

    def flat(self, params) -> np.ndarray:
        return np.concatenate([np.ravel(unconstrained(self.family, params, name)) for name, _ in self.shapes])

    @property
    def bounded(self) -> np.ndarray:
        real = (constraints.real, constraints.real_vector)
        edges = [np.full(shape, self.family.parameters[name] not in real) for name, shape in self.shapes]
        return np.concatenate([np.ravel(edge) for edge in edges])


def members_like(family, fixed, params, factors) -> Members:
    """Return the members with these fixed parameters, the others shaped as in `params`."""
    free = [name for name in family.parameters if name not in fixed]
    shapes = tuple((name, np.shape(unconstrained(family, params, name))) for name in free)
    return Members(family, tuple(sorted(fixed.items())), shapes, factors)


def unconstrained(family, params, name):
    return np.asarray(biject_to(family.parameters[name]).inv(jnp.asarray(params[name])))


@functools.cache
def value_and_gradient_of(rule, members, direction):
    """Return one compiled program for all data of one shape."""
    return compiled(jax.value_and_grad(lambda z, data: rule(members.member(members.params(z)), data, direction)))


def starts_of(p, family, given, nodes: Nodes | None) -> list[dict]:
    """Return members that lie where p does: for the whole of p first, then for each mode or component of it."""
    if nodes is not None:
        whole = nodes.points()
        sources = [whole, *nodes.basins()]
        fallback = [central(whole)]
    else:
        source = formulas(p)
        sources = [source, *source.parts] if isinstance(source, Mixture) else [source]
        fallback = [starting_draws(p)]
    starts = [start for source in sources if (start := try_start(source, family, given)) is not None]
    starts = starts or [start for source in fallback if (start := try_start(source, family, given)) is not None]
    if not starts:
        raise NoMoment(
            f"No {family.name} was found near p to start from: p has no spread, or lies where no member does."
        )
    # around one mode of a pmf a Categorical may have fewer values than around the whole
    return [start for start in starts if all(np.shape(start[name]) == np.shape(starts[0][name]) for name in start)]


def central(points: Points) -> Points:
    """Return the middle of p, whose moments exist."""
    below = np.cumsum(points.weights)
    middle = (below >= CENTRAL) & (below <= 1 - CENTRAL)
    return Points(points.x[middle], points.weights[middle], points.method) if middle.any() else points


def try_start(source, family, given):
    try:
        start = family.like(source, given)
        check_interior(family, start)
    except (NoMoment, NoFormula):
        return None
    inside = all(np.all(np.isfinite(unconstrained(family, start, name))) for name in start)
    return start if inside else None


def nearest(members, rule, data, direction, starts, max_steps) -> tuple[Minimum, list[Minimum]]:
    """Return the lowest point of all descents, and the distinct minima.

    Raises:
        ValueError: the divergence is infinite at every start.
    """
    program = value_and_gradient_of(rule, members, direction)

    def value_and_gradient(z):
        return program(z, data)

    places = [members.flat(start) for start in starts]
    usable = [z for z in places if np.isfinite(value_and_gradient(z)[0])]
    if not usable:
        pair, who, whom = ("KL(p||q)", "p", "q") if direction == "forward" else ("KL(q||p)", "q", "p")
        raise ValueError(
            f"{pair} is infinite for every {members.family.name} tried: it is where {who} has probability and {whom}"
            " has none. Choose a family with another support, or the other direction, or smooth."
        )
    found = [descend(value_and_gradient, z, members.bounded, max_steps, REACH) for z in usable]
    minima = distinct(found)
    return (minima or sorted(found, key=lambda m: m.value))[0], minima
