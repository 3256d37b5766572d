"""Which hyperparameters to take out of a normal: those on which the precision of all else depends.

A normal has one precision of the others, whatever the hyperparameters are. If the mean Hessian of the others is another
one where a hyperparameter has moved by its sd, all else following, then no normal is near the posterior, and the nats
between the two precisions say by how much. Means and slopes, with which all else moves, seldom change it.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from vi_kl.algorithms.algorithm import FitError
from vi_kl.algorithms.conditional_normal import Conditional, Look, moved
from vi_kl.core.gaussian import Gaussian
from vi_kl.families.nested_normal import MOST_FEW

LEAST = 0.01  # nats by which the others' precision changes, below which a normal is good enough
WORTH = 1.5e-3  # the same for each further hyperparameter, for each pass that a Hessian takes
MOST_LOOKED_AT = 8  # candidates after the first, which are those with the largest changes at first


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """The hyperparameters that were taken out, and the others given them.

    Attributes:
        conditional: the others, given the few.
        normal: the best normal of the others at the centre.
        left: the hyperparameters that were not taken out, though the others' precision depends on them, (left,).
    """

    conditional: Conditional
    normal: Gaussian
    left: Int[np.ndarray, " left"]


def choose(
    none: Conditional, normal: Gaussian, candidates: Int[np.ndarray, " candidates"], most: int = MOST_FEW
) -> Chosen | None:
    """Return the few hyperparameters on which the precision of the others depends; None if there are none.

    Args:
        none: the conditional posterior with nothing held fast.
        normal: the best normal of all coordinates.
        candidates: the coordinates that may be taken out.
        most: the number that may be.
    """
    conditional, centre, chosen = none, normal, None
    while len(candidates) and len(conditional.others) > 1:
        nats = changes(conditional, normal.loc[conditional.few], centre, candidates)
        ranked = candidates[np.argsort(-nats, kind="stable")]
        least = LEAST if chosen is None else WORTH * none.hessian.passes
        if nats.max() < least:
            return chosen
        if len(conditional.few) == most:
            assert chosen is not None, "some have been chosen"
            return dataclasses.replace(chosen, left=np.sort(candidates[nats >= least]))
        begin = without(conditional, centre, int(ranked[0]))
        conditional = dataclasses.replace(none, few=np.union1d(conditional.few, ranked[:1]))
        try:
            conditional, centre = conditional.settled(normal.loc[conditional.few], begin)
        except FitError:
            centre = begin  # what keeps the others from settling may be the next to be taken out
        chosen = Chosen(conditional, centre, np.empty(0, int))
        if conditional.is_normal:
            return chosen
        candidates = ranked[1 : 1 + MOST_LOOKED_AT]
    return chosen


def changes(
    conditional: Conditional, few: np.ndarray, normal: Gaussian, candidates: Int[np.ndarray, " candidates"]
) -> Float[np.ndarray, " candidates"]:
    """Return the nats by which the precision of all others changes where each candidate has moved by its sd.

    The others follow by regression; where they have no precision there the nats are infinite.
    """
    at_centre, found = conditional.look(few, normal), []
    for j in candidates:
        place = int(np.searchsorted(conditional.others, j))
        covariances = normal.scale.apply(normal.scale.apply_transpose(np.eye(1, normal.dim, place)[0]))
        there = Gaussian(normal.loc + covariances / np.sqrt(covariances[place]), normal.scale)
        rest = dataclasses.replace(conditional, few=np.union1d(conditional.few, [j]))
        before, after = (precision_of(rest, seen) for seen in (at_centre, conditional.look(few, there)))
        found.append(np.inf if before is None or after is None else moved(before, after, None))
    return np.array(found)


def precision_of(rest: Conditional, seen: Look) -> Gaussian | None:
    """Return a normal with the precision that draws tell of the rest, around 0; None if they tell none."""
    if not np.isfinite(seen.elbo):
        return None
    factors = (rest.structure.factor(entries) for entries in rest.precisions(seen.curvature))
    factor = next((factor for factor in factors if factor is not None), None)
    return None if factor is None else Gaussian(np.zeros(len(rest.others)), rest.scale(factor))


def without(conditional: Conditional, normal: Gaussian, j: int) -> Gaussian:
    """Return the normal of all others but j, given j at its mean."""
    rest = dataclasses.replace(conditional, few=np.union1d(conditional.few, [j]))
    kept = np.searchsorted(conditional.others, rest.others)
    place = np.argsort(normal.scale.order)[kept[rest.structure.order]]
    entries = normal.scale.precision_at(place[rest.structure.rows], place[rest.structure.columns])
    found = rest.structure.factor(entries)
    assert found is not None, "a part of a precision is one"
    return Gaussian(normal.loc[kept], rest.scale(found))
