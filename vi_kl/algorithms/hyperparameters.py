"""Which hyperparameters to take out of a normal: those on which the precision of all else depends.

A normal has one precision of the others, whatever the hyperparameters are. If the mean Hessian of the others is another
one where a hyperparameter has moved by its sd, all else following, then no normal is near the posterior, and the nats
between the two precisions say by how much. Means and slopes, with which all else moves, seldom change it.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from vi_kl.algorithms.algorithm import FitError
from vi_kl.algorithms.conditional_normal import Conditional, Look, moved
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.sparse_cholesky import SparseStructure
from vi_kl.families.nested_normal import MOST_FEW
from vi_kl.targets.target import Target, value_and_grad_batch

LEAST = 0.01  # nats by which the others' precision changes, below which a normal is good enough
WORTH = 1.5e-3  # the same for each further hyperparameter, for each pass that a Hessian takes
SMALL = 10  # the size of a small site
MANY, HALF = 10, 2  # coordinates that meet more than 1 / MANY, or half, of all others
STEP = 1e-4  # in z, of a difference of gradients
ASIDE = 1.0  # in z, of where it is taken from a point
CHANGED = 0.2  # the difference of two curvatures, relative to their sum, from which on a coordinate is a scale
SLIGHTLY = 0.05  # the same, below which no precision depends on a coordinate
MOST_SHARED = 20  # coordinates of other sites, beyond which they are no hyperparameters
MOST_LOOKED_AT = 8  # candidates after the first, which are those with the largest changes at first


def candidates(target: Target, structure: SparseStructure) -> Int[np.ndarray, " candidates"]:
    """Return the coordinates that may be hyperparameters.

    They are those of sites of one coordinate, of small sites outside all plates where the model has plates, and of
    small sites that meet many other coordinates.
    """
    sizes, in_plate = coordinates_of_sites(target)
    outside = in_plate.any() & ~in_plate
    return np.flatnonzero((sizes == 1) | ((sizes <= SMALL) & (outside | (structure.degree > target.dim / MANY))))


def shared_coordinates(target: Target, structure: SparseStructure) -> Int[np.ndarray, " shared"]:
    """Return the coordinates that much of the model shares, most often its hyperparameters.

    They are those of sites of one coordinate, of small sites outside all plates where the model has plates, and others
    outside plates that meet more than half of all coordinates, if these are few. (Where effects are crossed, those of
    each kind meet all of the other kind.)
    """
    sizes, in_plate = coordinates_of_sites(target)
    outside = in_plate.any() & ~in_plate
    few = np.flatnonzero((sizes == 1) | ((sizes <= SMALL) & outside))
    met = np.setdiff1d(np.flatnonzero(~in_plate & (structure.degree + 1 > target.dim / HALF)), few)
    return np.union1d(few, met) if len(met) <= MOST_SHARED else few


def scales_of(
    target: Target, z: Float[np.ndarray, " dim"], shared: Int[np.ndarray, " shared"], share: float = CHANGED
) -> Int[np.ndarray, " scales"]:
    """Return those of the shared coordinates with which curvatures change by a share of their sum near a point.

    It takes six gradients for each. They are scales, most often their logarithms. Means and slopes, however large they
    are in the units of the data, leave curvatures as they are: those along all others, site by site, and their own.
    """
    if len(shared) in (0, target.dim):
        return shared
    aside = z + ASIDE * signs(target.dim, shared)  # where all that a scale scales is 0, nothing changes with it
    unit = np.eye(target.dim)[shared]
    own = np.arange(len(shared)), shared
    before, after = (differences(target, place, STEP * unit)[own][:, None] for place in (aside, aside + unit))
    return shared[differ(before, after, share) | changes_all_else(target, aside, shared, shared, share)]


def changes_all_else(
    target: Target,
    z: Float[np.ndarray, " dim"],
    scales: Int[np.ndarray, " scales"],
    shared: Int[np.ndarray, " shared"],
    share: float,
) -> Bool[np.ndarray, " scales"]:
    """Return for which scales the curvature along all but shared coordinates changes by a share where they rise by 1.

    The products of the Hessian with one direction of random signs are compared, site by site.
    """
    others = np.setdiff1d(np.arange(target.dim), shared)
    places = z + np.concatenate([np.zeros((1, target.dim)), np.eye(target.dim)[scales]])
    products = differences(target, places, STEP * signs(target.dim, shared))
    site = np.repeat(np.arange(len(target.sites)), [site.size for site in target.sites])[others]
    pieces = [products[:, others[site == one]] for one in np.unique(site)]
    return np.any([differ(piece[:1], piece[1:], share) for piece in pieces], axis=0)


def signs(dim: int, shared: Int[np.ndarray, " shared"]) -> Float[np.ndarray, " dim"]:
    """Return random signs, the same at every call, of all but the shared coordinates, where there are zeros."""
    found = np.where(np.random.default_rng(0).random(dim) < 0.5, -1.0, 1.0)
    found[shared] = 0.0
    return found


def differences(target: Target, z: Float[np.ndarray, "#n dim"], v: Float[np.ndarray, "#n dim"]) -> np.ndarray:
    """Return the differences of gradients from z - v to z + v, (n, dim)."""
    ends = np.concatenate([z + v, z - v])
    gradients = value_and_grad_batch(target, ends)[1]
    return gradients[: len(ends) // 2] - gradients[len(ends) // 2 :]


def differ(before: Float[np.ndarray, "#n k"], after: Float[np.ndarray, "n k"], share: float) -> Bool[np.ndarray, " n"]:
    """Return in which rows two arrays of curvatures differ by a share of their sum, or cannot be compared."""
    size = np.linalg.norm(before, axis=1) + np.linalg.norm(after, axis=1)
    return ~(np.linalg.norm(after - before, axis=1) <= share * size)


def coordinates_of_sites(target: Target) -> tuple[Int[np.ndarray, " dim"], Bool[np.ndarray, " dim"]]:
    """Return the size of each coordinate's site, and whether that is in a plate."""
    in_plate = {name for name, plates in target.density.dims if any(plates)}
    counts = [site.size for site in target.sites]
    return np.repeat(counts, counts), np.repeat([site.name in in_plate for site in target.sites], counts)


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
