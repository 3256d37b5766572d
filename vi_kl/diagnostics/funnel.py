"""Funnels: find coordinates that set the scale of others, and make a density that follows the funnel.

In a centred hierarchy the groups' coordinates narrow with the spread of their prior. Draws of q, and of any density
that has one shape everywhere, hardly ever fall into such a neck, which can hold a notable share of the mass; then no
weight shows that q leaves it out. So the curvature of the log density is computed around q, to see with which
coordinates it changes. Given these, the others are taken as normal around their conditional mode (Laplace), as in
nested Laplace approximations. The conditional normals are computed at nodes, and any other point uses the nearest node.

References: Neal (2003), "Slice sampling" (the funnel); Rue, Martino & Chopin (2009), "Approximate Bayesian inference
for latent Gaussian models by using integrated nested Laplace approximations".
"""

import dataclasses

import numpy as np
from scipy.spatial import cKDTree

from vi_kl.core.gaussian import Gaussian
from vi_kl.diagnostics.coloured_differences import Moves, hessians, pattern_of, slope_and_precision
from vi_kl.diagnostics.defence import weighted_moments
from vi_kl.diagnostics.parts import Concentric, log_prob_of_independent
from vi_kl.targets.target import Target, value_and_grad_batch

SEEN, FEWEST_SEEN = 32, 16  # the number of draws of q at which the curvature is computed
STRETCH = 2.5  # the factor by which they are moved away from q's mean, since q may be too narrow where scales are small
NOTABLE = 0.4  # the least spread (sd) of the log of a coordinate's curvature that counts as a change
EXPLAINED = 0.5  # the least share of its variance, in ranks, that one other coordinate has to explain
MOST_SCALES = 6  # coordinates that set scales; the nodes do not fill a space of more dimensions
MOST_NODES, FEWEST_NODES = 256, 32
NEWTON_STEPS = 3
STEP = 1e-4  # the step of differences of gradients, in q's sds
REACH = 20.0  # the grid of a single scale spans this many sds on both sides
WIDTHS, SCALES_FREEDOM = (
    (1.0, 2.0, 4.0),
    5.0,
)  # of the Student t's over the scales: in their sds, and degrees of freedom
OTHERS_FREEDOM = 10.0  # degrees of freedom of the Student t's that stand in for the conditional normals
PIECE = 4_000_000  # the number of floats in a piece


@dataclasses.dataclass(frozen=True)
class Conditionals:
    """The conditional normals of the other coordinates given the scales, by Laplace's approximation at each node.

    Attributes:
        nodes: the values of the scales, (n, k).
        means: the conditional means of the others, (n, m).
        factors: matrices F whose products F F' are the conditional covariances, (n, m, m).
        log_marginal: the log marginal density of the scales, up to a constant (Laplace), (n,).
    """

    nodes: np.ndarray
    means: np.ndarray
    factors: np.ndarray
    log_marginal: np.ndarray


class Funnel:
    """A density of Student t's over the scales and, given these, of Student t's around the others' conditional mode.

    Attributes:
        scales: the indices of the coordinates that set scales, (k,).
        others: the indices of the other coordinates, (m,).
        over: the marginal density of the scales.
        given: the conditional normals of the others.
    """

    def __init__(self, scales: np.ndarray, others: np.ndarray, over: Concentric, given: Conditionals):
        self.scales, self.others, self.over, self.given = scales, others, over, given
        self.inverses = np.linalg.inv(given.factors)
        self.log_dets = np.linalg.slogdet(given.factors)[1]
        self.tree = cKDTree(self.in_units(given.nodes))

    def in_units(self, scales: np.ndarray) -> np.ndarray:
        """Return values of the scales (n, k) whitened by the mean and covariance of their density."""
        return self.over.normal.whiten(scales)

    def nearest(self, scales: np.ndarray) -> np.ndarray:
        """Return the index of the nearest node for each value of the scales (n, k)."""
        return self.tree.query(self.in_units(scales))[1]

    def sample(self, generator, n):
        """Draw n points, (n, dim)."""
        z = np.empty((n, len(self.scales) + len(self.others)))
        z[:, self.scales] = self.over.sample(generator, n)
        node = self.nearest(z[:, self.scales])
        u = generator.standard_t(OTHERS_FREEDOM, (n, len(self.others)))
        z[:, self.others] = self.given.means[node] + times(self.given.factors, node, u)
        return z

    def log_prob(self, z):
        """Return the log density at points (n, dim)."""
        node = self.nearest(z[:, self.scales])
        u = times(self.inverses, node, z[:, self.others] - self.given.means[node])
        given = log_prob_of_independent(u, OTHERS_FREEDOM) - self.log_dets[node]
        return self.over.log_prob(z[:, self.scales]) + given


def times(matrices: np.ndarray, which: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Multiply each vector (n, m) by the matrix that belongs to it, in pieces that fit into memory."""
    pieces = np.array_split(np.arange(len(vectors)), 1 + matrices[0].size * len(vectors) // PIECE)
    return np.concatenate([np.einsum("nij,nj->ni", matrices[which[piece]], vectors[piece]) for piece in pieces])


def find_funnel(
    target: Target, z: np.ndarray, generator, budget: int, most_seen: int = SEEN, notable: float = NOTABLE
) -> tuple[Funnel | None, int]:
    """Return a density that follows the funnel around draws of q, or None if there is no funnel.

    Args:
        target: the posterior.
        z: the draws of q, (n, dim).
        generator: NumPy's random generator.
        budget: the approximate number of gradients that may be evaluated.
        most_seen: the most draws of q at which the curvature is computed.
        notable: the least spread (sd) of the log of a coordinate's curvature that counts as a change.

    Returns:
        The density or None, and the number of gradients evaluated.
    """
    centre, steps = z.mean(axis=0), STEP * z.std(axis=0)
    seen = min(most_seen, budget // (4 * target.dim))
    if seen < FEWEST_SEEN:
        return None, 0
    around = centre + STRETCH * (z[:seen] - centre)
    curved, spent = hessians(target, around, steps), 2 * seen * target.dim
    scales = scale_coordinates(around, np.diagonal(curved, axis1=1, axis2=2), notable)
    others = np.setdiff1d(np.arange(target.dim), scales)
    if not 0 < len(scales) <= MOST_SCALES or not len(others):
        return None, spent
    moves = Moves.of(pattern_of(curved[:, others[:, None], others]))
    count = min(MOST_NODES, (budget - spent) // (3 * NEWTON_STEPS * len(moves)))
    if count < FEWEST_NODES:
        return None, spent
    spent += 3 * NEWTON_STEPS * len(moves) * count
    try:
        return lay_over(target, z, scales, steps, generator, count, moves), spent
    except np.linalg.LinAlgError:
        return None, spent


def lay_over(target: Target, z: np.ndarray, scales, steps, generator, count: int, moves: Moves) -> Funnel | None:
    """Build the density in two passes: nodes around q's scales locate the posterior's scales, where others then lie."""
    centre = z.mean(axis=0)
    factor = np.linalg.cholesky(np.atleast_2d(np.cov(z[:, scales].T)))
    over = Concentric(Gaussian.of(centre[scales], factor), WIDTHS, SCALES_FREEDOM)
    first = conditionals(target, over.sample(generator, count // 2), scales, centre, steps, moves)
    if len(first.nodes) < FEWEST_NODES // 2:
        return None
    moved = weighted_moments(first.nodes, first.log_marginal - over.log_prob(first.nodes))
    over = dataclasses.replace(over, normal=moved)
    given = conditionals(target, nodes_of(over, generator, count), scales, centre, steps, moves)
    others = np.setdiff1d(np.arange(target.dim), scales)
    return Funnel(scales, others, over, given) if len(given.nodes) >= FEWEST_NODES else None


def nodes_of(over: Concentric, generator, count: int) -> np.ndarray:
    """Return the nodes (count, k): a regular grid along a single scale, draws of the density for more."""
    if over.normal.dim == 1:
        return over.normal.unwhiten(np.linspace(-REACH, REACH, count)[:, None])
    return over.sample(generator, count)


def scale_coordinates(z: np.ndarray, curvature: np.ndarray, notable: float = NOTABLE) -> np.ndarray:
    """Return the indices of the coordinates with which the curvatures of others change, by rank correlation.

    Args:
        z: points, (n, dim).
        curvature: second derivatives of the log density along each coordinate, (n, dim).
        notable: the least spread (sd) of their logs that counts as a change.
    """
    dim = z.shape[1]
    logs = np.log(np.maximum(np.abs(np.nan_to_num(curvature)), 1e-300))
    lower, upper = np.quantile(logs, [0.16, 0.84], axis=0)
    changing = upper - lower > 2 * notable
    ranks = np.argsort(np.argsort(np.concatenate([z, logs], axis=1), axis=0), axis=0)
    correlation = np.corrcoef(ranks.T)[:dim, dim:]
    np.fill_diagonal(correlation, 0.0)
    return np.flatnonzero((np.where(changing, correlation**2, 0.0) > EXPLAINED).any(axis=1))


def conditionals(target: Target, nodes, scales, centre, steps, moves: Moves) -> Conditionals:
    """Compute the conditional normals at the nodes: modes by Newton's method from q's mean, and the curvature there.

    Nodes where the Hessian is not negative definite are left out.
    """
    others = np.setdiff1d(np.arange(target.dim), scales)
    z = np.tile(centre, (len(nodes), 1))
    z[:, scales] = nodes
    for _ in range(NEWTON_STEPS):
        slope, precision = slope_and_precision(target, z, others, steps, moves)
        factors = inverse_factors(precision)
        z[:, others] += np.einsum("nij,nkj,nk->ni", factors, factors, slope)
    known = np.isfinite(factors).all(axis=(1, 2)) & np.isfinite(z).all(axis=1)
    nodes, z, factors = nodes[known], z[known], factors[known]
    log_density = np.nan_to_num(value_and_grad_batch(target, z)[0], nan=-np.inf, posinf=-np.inf)
    return Conditionals(nodes, z[:, others], factors, log_density + np.linalg.slogdet(factors)[1])


def inverse_factors(precisions: np.ndarray) -> np.ndarray:
    """Return F with F F' the inverse of each precision (n, m, m); NaN where one is not positive definite."""
    sd = 1 / np.sqrt(np.maximum(np.diagonal(precisions, axis1=1, axis2=2), 1e-300))
    with np.errstate(over="ignore"):  # what is not definite has no sds, and is left out below
        correlations = precisions * sd[:, None, :] * sd[:, :, None]
    usable = np.isfinite(correlations).all(axis=(1, 2))
    values, vectors = np.linalg.eigh(np.where(usable[:, None, None], correlations, np.eye(sd.shape[1])))
    usable &= values[:, 0] > np.finfo(float).eps
    roots = np.sqrt(np.where(usable[:, None], values, np.nan))
    return sd[:, :, None] * vectors / roots[:, None, :]
