"""Nearest neighbours: KL between two sets of draws whose densities are unknown.

If p has more draws near a point than q has, the neighbours there are nearer. Reference: Wang, Kulkarni & Verdu
(2009), "Divergence estimation for multidimensional densities via k-nearest-neighbor distances", eq. 14.
"""

import math

import numpy as np
import numpy.typing as npt

from vi_kl.core.estimate import Estimate
from vi_kl.core.gaussian import Gaussian
from vi_kl.divergences.estimators.rounding import COARSEST, most_by_chance, precision_of, rounding_of, within_cells
from vi_kl.divergences.estimators.sinh_map import cholesky_factor
from vi_kl.divergences.labelled import in_one_order, reject_mask

FEWEST_PER_NEIGHBOUR = 10  # draws of each set per neighbour
MANY_DIMENSIONS = 5
CAVEAT = (
    "Biased where the densities change over the distance to the {k} nearest draws, which the standard error leaves"
    " out: every other draw alone gives {drift:+.2g} nats more. Where q has no draws near p's, a divergence much"
    " larger than this one, or an infinite one, looks the same."
)
BIASED = " In {dim} dimensions the bias is likely to exceed the standard error."


def estimate_kl_from_draws(
    p_draws: npt.ArrayLike, q_draws: npt.ArrayLike, *, k: int = 5, base: int | None = None
) -> Estimate:
    """Estimate KL(p||q) of two densities known by draws only, from distances to the k-th nearest draws of each.

    The estimate is consistent, but biased: little in one or two dimensions, much from about five on, mostly downwards
    if p and q lie apart. The draws are first brought to p's location, scales and correlations, which changes no
    divergence. The standard error is the jackknife's, which errs on the large side (Efron & Stein 1981).

    A few draws may repeat others by rounding, as many as their precision lets one expect (rounding.py). All draws
    are then put at random places, always the same ones, within the cells that they were rounded to.

    Args:
        p_draws: independent draws, of shape (n,) or (n, dim), and (m,) or (m, dim); the columns of two
            DataFrames are matched by name.
        q_draws: likewise.
        k: the number of neighbours; more make the estimate less noisy and more biased.
        base: 2 for bits, None for nats.

    Raises:
        ValueError: the draws have different or no dimensions, hold NaN or infinity, are too few for k, are rounded too
            coarsely, or repeat beyond rounding, as those of discrete distributions and of Markov chains
            with rejections do.
    """
    if base not in (None, 2):
        raise ValueError(f"base must be 2 for bits or None for nats, got {base!r}.")
    given = in_one_order(p_draws, q_draws)
    p_draws, q_draws = as_draws("p_draws", given[0], k), as_draws("q_draws", given[1], k)
    if p_draws.shape[1] != q_draws.shape[1]:
        raise ValueError(
            f"p_draws and q_draws must have the same variables, but have {p_draws.shape[1]} and {q_draws.shape[1]}."
        )
    p_draws, q_draws = without_ties(p_draws, q_draws, [precision_of(draws) for draws in given])
    p_draws, q_draws = in_frame_of_p(p_draws, q_draws)
    value, standard_error = neighbour_kl(p_draws, q_draws, k)
    drift = neighbour_kl(p_draws[::2], q_draws[::2], k)[0] - value
    n, m, dim = len(p_draws), len(q_draws), p_draws.shape[1]
    estimate = Estimate(
        value,
        standard_error,
        f"{k} nearest neighbours, {n:,} draws of p and {m:,} of q",
        num_draws=n + m,
        caveat=CAVEAT.format(k=k, drift=drift) + (BIASED.format(dim=dim) if dim >= MANY_DIMENSIONS else ""),
    )
    return estimate.as_divergence().to("nats" if base is None else "bits")


def as_draws(name: str, draws, k: int) -> np.ndarray:
    """Return the draws as (n, dim) in float64, after checking them."""
    if k < 1 or k != int(k):
        raise ValueError(f"k must be a whole number of neighbours, at least 1, got {k!r}.")
    reject_mask(name, draws)
    draws = np.asarray(draws, dtype=np.float64)
    if draws.ndim not in (1, 2) or 0 in draws.shape:
        raise ValueError(f"{name} must have shape (n,) or (n, dim), got {draws.shape}.")
    draws = draws.reshape(len(draws), -1)
    fewest = FEWEST_PER_NEIGHBOUR * k
    if len(draws) < fewest:
        raise ValueError(f"{name} holds {len(draws)} draws; {k} neighbours need at least {fewest}.")
    if not np.isfinite(draws).all():
        raise ValueError(f"{name} holds NaN or infinity.")
    return draws


def without_ties(p_draws, q_draws, precisions):
    """Return the draws without ties.

    If some coincide by rounding, all are moved at random within the cells that they were rounded to.
    """
    roundings = [rounding_of(d, precision) for d, precision in zip((p_draws, q_draws), precisions, strict=True)]
    _, places = np.unique(np.concatenate([p_draws, q_draws]), axis=0, return_inverse=True)
    places = places.reshape(-1)
    occurrences = [np.bincount(part, minlength=places.max() + 1) for part in np.split(places, [len(p_draws)])]
    if all(counts.max() <= 1 for counts in (*occurrences, sum(occurrences))):
        return p_draws, q_draws
    for name, draws, counts, rounding in zip(
        ("p_draws", "q_draws"), (p_draws, q_draws), occurrences, roundings, strict=True
    ):
        reject_repetitions(name, draws, counts, rounding)
    expected = math.sqrt(np.prod([len(r.chances) * r.chances.sum() for r in roundings]))  # upper bound (Cauchy-Schwarz)
    if occurrences[0] @ occurrences[1] > most_by_chance(expected):
        raise ValueError("p_draws and q_draws share values: draws of two densities do not, unless rounding makes them.")
    generator = np.random.default_rng(0)
    return tuple(within_cells(d, r, generator) for d, r in zip((p_draws, q_draws), roundings, strict=True))


def reject_repetitions(name: str, draws, counts, rounding):
    """Refuse draws that repeat others more often than rounding makes them, or next to each other."""
    n, pairs = len(draws), float((counts * (counts - 1.0)).sum() / 2)
    expected = 0.5 * (n - 1) * float(rounding.chances.sum())
    in_a_row = int((np.diff(draws, axis=0) == 0).all(1).sum())
    is_sorted = bool((np.diff(draws[:, 0]) >= 0).all() or (np.diff(draws[:, 0]) <= 0).all())
    too_often = pairs > most_by_chance(expected)
    if too_often or (not is_sorted and in_a_row > most_by_chance(2 * expected / n)):
        repeated = n - int((counts > 0).sum())
        raise ValueError(
            f"{repeated} rows of {name} repeat others, {in_a_row} of them the row before: draws of a density do not,"
            f" and rounding to {rounding.precision.words} explains about {expected:.2g}. Thin a Markov chain until its"
            " states differ, use no resampled draws, and for discrete draws compare their frequencies with"
            " kl_divergence."
        )
    if rounding.chances.mean() > COARSEST:
        raise ValueError(
            f"{name} is rounded too coarsely, to {rounding.precision.words}: {rounding.chances.mean():.1%} of the draws"
            " share a typical value, which hides how the density changes. Give draws in float32 or float64."
        )


def in_frame_of_p(p_draws, q_draws):
    """Return both sets in a frame where p has mean 0 and covariance identity: all directions then count alike."""
    tril = cholesky_factor(np.atleast_2d(np.cov(p_draws, rowvar=False)))
    if tril is None:
        raise ValueError("p_draws lie in a plane: some of their variables are a linear function of others. Drop those.")
    normal = Gaussian.of(p_draws.mean(0), tril)
    return normal.whiten(p_draws), normal.whiten(q_draws)


def neighbour_kl(p_draws, q_draws, k: int) -> tuple[float, float]:
    """Return the estimate and its standard error.

    It is dim times the mean log ratio of the distances to the k-th neighbour in q's and in p's other draws.
    """
    from scipy.spatial import cKDTree  # imported here, as it is slow and seldom needed

    (n, dim), m = p_draws.shape, len(q_draws)
    # distances to the k-th neighbour, and to the next one, which takes its place if a neighbour is left out
    among_p, p_neighbours = cKDTree(p_draws).query(p_draws, range(2, k + 3))  # the nearest one is the draw itself
    among_q, q_neighbours = cKDTree(q_draws).query(p_draws, range(1, k + 2))
    terms = dim * np.log(among_q[:, k - 1] / among_p[:, k - 1])
    without_p = -terms - shares(dim * np.log(among_p[:, k] / among_p[:, k - 1]), p_neighbours[:, :k], n)
    without_q = shares(dim * np.log(among_q[:, k] / among_q[:, k - 1]), q_neighbours[:, :k], m)
    variance = without_p.var(ddof=1) / n + without_q.var(ddof=1) * (m - 1) ** 2 / (m * n**2)
    return float(terms.mean() + math.log(m / (n - 1))), math.sqrt(variance)


def shares(steps: np.ndarray, neighbours: np.ndarray, count: int) -> np.ndarray:
    """Return by draw how much the sum of the terms changes if it is no longer anybody's neighbour."""
    return np.bincount(neighbours.ravel(), np.repeat(steps, neighbours.shape[1]), minlength=count)
