"""Coordinates that much of a model shares, most often its hyperparameters, and which of them are scales.

A mean or a slope, however large it is in the units of the data, leaves all curvatures of the log density as they are.
With a scale, most often a logarithm of one, they change much. So Newton's steps of scales are right only near, and no
one normal of all else is right for all values of a scale.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from vi_kl.algorithms.algorithm import CostCounter
from vi_kl.core.sparse_cholesky import SparseStructure
from vi_kl.targets.target import Target, value_and_grad_batch

SMALL = 10  # the size of a small site
MANY, HALF = 10, 2  # coordinates that meet more than 1 / MANY, or half, of all others
STEP = 1e-4  # in z, of a difference of gradients
ASIDE = 1.0  # in z, of where it is taken from a point
CHANGED = 0.2  # the difference of two curvatures, relative to their sum, from which on a coordinate is a scale
SLIGHTLY = 0.05  # the same, below which no precision depends on a coordinate
MOST_SHARED = 20  # coordinates of other sites, beyond which they are no hyperparameters


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
    target: Target,
    z: Float[np.ndarray, " dim"],
    shared: Int[np.ndarray, " shared"],
    counter: CostCounter,
    share: float = CHANGED,
) -> Int[np.ndarray, " scales"]:
    """Return those of the shared coordinates with which curvatures change by a share of their sum near a point.

    It takes ten gradients for each. They are scales, most often their logarithms. Means and slopes, however large they
    are in the units of the data, leave curvatures as they are: those along all others, site by site, and their own.
    """
    if len(shared) in (0, target.dim):
        return shared
    aside = z + ASIDE * signs(target.dim, shared)  # where all that a scale scales is 0, nothing changes with it
    unit = np.eye(target.dim)[shared]
    own = np.arange(len(shared)), shared
    before = differences(target, aside, STEP * unit, counter)[own][:, None]
    changed = np.zeros(len(shared), bool)
    for way in (1.0, -1.0):  # what falls with a scale may be made up for by what rises, in one of the two
        after = differences(target, aside + way * unit, STEP * unit, counter)[own][:, None]
        changed |= differ(before, after, share) | changes_all_else(target, aside, shared, shared, counter, share, way)
    return shared[changed]


def changes_all_else(
    target: Target,
    z: Float[np.ndarray, " dim"],
    scales: Int[np.ndarray, " scales"],
    shared: Int[np.ndarray, " shared"],
    counter: CostCounter,
    share: float,
    way: float = 1.0,
) -> Bool[np.ndarray, " scales"]:
    """Return for which scales the curvature along all but shared coordinates changes by a share on a way of each.

    The products of the Hessian with one direction of random signs are compared, site by site.
    """
    others = np.setdiff1d(np.arange(target.dim), shared)
    places = z + way * np.concatenate([np.zeros((1, target.dim)), np.eye(target.dim)[scales]])
    products = differences(target, places, STEP * signs(target.dim, shared), counter)
    site = np.repeat(np.arange(len(target.sites)), [site.size for site in target.sites])[others]
    pieces = [products[:, others[site == one]] for one in np.unique(site)]
    return np.any([differ(piece[:1], piece[1:], share) for piece in pieces], axis=0)


def signs(dim: int, shared: Int[np.ndarray, " shared"]) -> Float[np.ndarray, " dim"]:
    """Return random signs, the same at every call, of all but the shared coordinates, where there are zeros."""
    found = np.where(np.random.default_rng(0).random(dim) < 0.5, -1.0, 1.0)
    found[shared] = 0.0
    return found


def differences(
    target: Target, z: Float[np.ndarray, "#n dim"], v: Float[np.ndarray, "#n dim"], counter: CostCounter
) -> np.ndarray:
    """Return the differences of gradients from z - v to z + v, (n, dim), and count them."""
    ends = np.concatenate([z + v, z - v])
    counter.gradient_evaluations += len(ends)
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
