"""KL divergences between two sets of draws whose densities nobody knows, from nearest neighbours.

Where p has more draws near a point than q has, the neighbours there are nearer. Reference: Wang, Kulkarni & Verdu
(2009), "Divergence estimation for multidimensional densities via k-nearest-neighbor distances", eq. 14.
"""

import math

import numpy as np
from scipy.spatial import cKDTree

from vi_kl.divergences.estimators.frame import cholesky_factor
from vi_kl.estimate import Estimate

FEWEST_PER_NEIGHBOUR = 10  # draws of each set
MANY_DIMENSIONS = 5
CAVEAT = (
    "Biased where the densities change over the distance to the {k} nearest draws, which the standard error leaves"
    " out: every other draw alone gives {drift:+.2g} nats more. Where q has no draws near p's, a divergence much"
    " larger than this one, or an infinite one, looks the same."
)
BIASED = " In {dim} dimensions the bias is likely to exceed the standard error."


def estimate_kl_from_draws(p_draws, q_draws, *, k: int = 5, base=None) -> Estimate:
    """KL(p||q) of two densities known by draws only, from distances to the k-th nearest draws of each.

    Consistent, but biased: little in one or two dimensions, much from about five on, mostly downwards where p and q
    lie apart. The draws are first brought to p's location, scales and correlations, which changes no divergence.
    The standard error is the jackknife's, which errs on the large side (Efron & Stein 1981).

    Args:
        p_draws, q_draws: independent draws, (n,) or (n, dim), and (m,) or (m, dim).
        k: how many neighbours; more make it less noisy and more biased.
        base: 2 for bits, None for nats.

    Raises:
        ValueError: draws of different or no dimensions, NaN or infinity among them, too few for k, or draws that
            repeat, as those of discrete distributions and of Markov chains that rejected do.
    """
    if base not in (None, 2):
        raise ValueError(f"base must be 2 for bits or None for nats, got {base!r}.")
    p_draws, q_draws = as_draws("p_draws", p_draws, k), as_draws("q_draws", q_draws, k)
    if p_draws.shape[1] != q_draws.shape[1]:
        raise ValueError(
            f"p_draws and q_draws must have the same variables, but have {p_draws.shape[1]} and {q_draws.shape[1]}."
        )
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
    return estimate.to("nats" if base is None else "bits")


def as_draws(name: str, draws, k: int) -> np.ndarray:
    """The draws as (n, dim) in float64, checked."""
    if k < 1 or k != int(k):
        raise ValueError(f"k must be a whole number of neighbours, at least 1, got {k!r}.")
    draws = np.asarray(draws, dtype=np.float64)
    if draws.ndim not in (1, 2) or 0 in draws.shape:
        raise ValueError(f"{name} must have shape (n,) or (n, dim), got {draws.shape}.")
    draws = draws.reshape(len(draws), -1)
    fewest = FEWEST_PER_NEIGHBOUR * k
    if len(draws) < fewest:
        raise ValueError(f"{name} holds {len(draws)} draws; {k} neighbours need at least {fewest}.")
    if not np.isfinite(draws).all():
        raise ValueError(f"{name} holds NaN or infinity.")
    repeated = len(draws) - len(np.unique(draws, axis=0))
    if repeated:
        raise ValueError(
            f"{repeated} rows of {name} repeat others: draws of a density do not. Thin a Markov chain until its states"
            " differ; for discrete draws compare their frequencies with kl_divergence."
        )
    return draws


def in_frame_of_p(p_draws, q_draws):
    """Both sets with p's mean at 0 and its covariance the identity: nearness then means the same in all directions."""
    centre = p_draws.mean(0)
    tril = cholesky_factor(np.atleast_2d(np.cov(p_draws, rowvar=False)))
    if tril is None:
        raise ValueError("p_draws lie in a plane: some of their variables are a linear function of others. Drop those.")
    return tuple(np.linalg.solve(tril, (draws - centre).T).T for draws in (p_draws, q_draws))


def neighbour_kl(p_draws, q_draws, k: int) -> tuple[float, float]:
    """dim times the mean log ratio of the distances to the k-th neighbour in q's and in p's other draws; its error."""
    (n, dim), m = p_draws.shape, len(q_draws)
    # to the k-th neighbour, and to the next one, which takes its place where a neighbour is left out
    among_p, p_neighbours = cKDTree(p_draws).query(p_draws, range(2, k + 3))  # the nearest one is the draw itself
    among_q, q_neighbours = cKDTree(q_draws).query(p_draws, range(1, k + 2))
    if not (among_q > 0).all():
        raise ValueError("p_draws and q_draws share values: draws of two densities do not.")
    terms = dim * np.log(among_q[:, k - 1] / among_p[:, k - 1])
    without_p = -terms - shares(dim * np.log(among_p[:, k] / among_p[:, k - 1]), p_neighbours[:, :k], n)
    without_q = shares(dim * np.log(among_q[:, k] / among_q[:, k - 1]), q_neighbours[:, :k], m)
    variance = without_p.var(ddof=1) / n + without_q.var(ddof=1) * (m - 1) ** 2 / (m * n**2)
    return float(terms.mean() + math.log(m / (n - 1))), math.sqrt(variance)


def shares(steps: np.ndarray, neighbours: np.ndarray, count: int) -> np.ndarray:
    """By draw, how much the sum of the terms changes where it is no longer anybody's neighbour."""
    return np.bincount(neighbours.ravel(), np.repeat(steps, neighbours.shape[1]), minlength=count)
