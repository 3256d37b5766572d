"""A distribution of one number as fixed weighted points, over which every sum is deterministic.

A finite support is all of its values, a count runs as far as its probability does, and a density becomes the
nodes of a Gauss-Legendre quadrature whose panels follow its quantiles.
"""

import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np
from numpyro.distributions import biject_to

from vi_kl.core.compilation import compiled
from vi_kl.divergences.density import log_density
from vi_kl.divergences.estimators.quadrature import NotApplicable, line_of, panel_edges
from vi_kl.divergences.projection.moments import Points
from vi_kl.divergences.region import is_discrete
from vi_kl.divergences.registry import describe

NODES = 20  # nodes per panel
MISSED = 1e-8  # the largest part of a density that the nodes may miss
UNNORMALISED = 1e-5  # the largest error in the sum of a pmf: NumPyro's GammaPoisson is off by 2e-7
FARTHEST = -1e15  # log probability; beyond it powers of x overflow in other densities, and their gradients are NaN
FARTHEST_COUNT = 2**20
ROUNDS = 40  # halvings of a panel beside a kink or a jump of the density
SETTLED = 1e-13  # a panel is halved again if halving changes more than this
MOST_PANELS = 2000
NOTHING = 1e-290  # probability; so near to underflow x may be rounded to the edge of the support
TAIL = 1e-12  # probability; what lies farther out should not matter
PROMINENCE = 0.1  # height of a mode, in the log density, above the higher of the saddles beside it
MOST_MODES = 8
PADDED_TO = 4096  # points; so that few programs serve all sums


@dataclasses.dataclass(frozen=True)
class Nodes:
    """A set of points, the log density of p there, and the log of the length that each represents (0 for counts)."""

    x: np.ndarray
    log_p: np.ndarray
    log_weight: np.ndarray
    discrete: bool

    @property
    def mass(self) -> np.ndarray:
        return np.exp(self.log_p + self.log_weight)

    @property
    def method(self) -> str:
        return f"sum over {len(self.x):,} values" if self.discrete else f"quadrature with {len(self.x):,} nodes"

    @property
    def missed(self) -> float:
        return abs(1 - self.mass.sum())

    def points(self) -> Points:
        some = self.mass > NOTHING
        mass = self.mass[some]
        below = np.cumsum(mass)
        above = np.cumsum(mass[::-1])[::-1]
        return Points(self.x[some], mass, self.method, outermost=np.minimum(below, above) < TAIL)

    def basins(self) -> list[Points]:
        """Return p around each of its modes, heaviest first: the points between the saddles; none for a single mode."""
        from scipy.signal import find_peaks  # imported here, as it is slow

        lowest = np.max(self.log_p) - 700
        heights = np.concatenate([[lowest - 1], np.maximum(self.log_p, lowest), [lowest - 1]])
        modes = find_peaks(heights, prominence=PROMINENCE)[0] - 1
        saddles = [a + int(np.argmin(self.log_p[a : b + 1])) for a, b in itertools.pairwise(modes)]
        pieces = [slice(a, b) for a, b in itertools.pairwise([0, *saddles, len(self.x)])]
        pieces = [piece for piece in pieces if self.mass[piece].sum() > TAIL]
        if len(pieces) < 2:
            return []
        pieces = sorted(pieces, key=lambda piece: -self.mass[piece].sum())[:MOST_MODES]
        return [Points(self.x[piece], self.mass[piece], self.method) for piece in pieces]

    def padded(self):
        """Return x, log p and log weight, padded with points of no weight."""
        near = self.log_p + self.log_weight > FARTHEST
        x, log_p, log_weight = self.x[near], self.log_p[near], self.log_weight[near]
        extra = -len(x) % (PADDED_TO if len(x) > 256 else 64)
        x, log_p = np.pad(x, (0, extra), mode="edge"), np.pad(log_p, (0, extra), mode="edge")
        return x, log_p, np.pad(log_weight, (0, extra), constant_values=-np.inf)


def nodes_of_pmf(p: np.ndarray) -> Nodes:
    """Return the nodes of a pmf array over 0, 1, 2, ..."""
    with np.errstate(divide="ignore"):
        return Nodes(np.arange(len(p)), np.log(p), np.zeros(len(p)), discrete=True)


def nodes_of(p, halvings: int = 0) -> Nodes:
    """Return the nodes of a distribution of one number, each panel of a density halved so many times.

    Raises:
        NotApplicable: p is not a distribution of one number, or its probability does not add up to 1 over the nodes.
    """
    if p.event_shape:
        raise NotApplicable(f"{describe(p)} is not a distribution of one number.")
    if not is_discrete(p):
        nodes = density_nodes(p, halvings)
    elif p.has_enumerate_support:
        nodes = count_nodes(p, np.asarray(p.enumerate_support(expand=False)))
    else:
        nodes = unbounded_count_nodes(p)
    if not nodes.missed <= (UNNORMALISED if is_discrete(p) else MISSED):
        raise NotApplicable(
            f"{nodes.mass.sum():.10g} of {describe(p)} was found by a {nodes.method}, not 1: its tails are too heavy,"
            " or NumPyro's density is not normalised."
        )
    return nodes


def count_nodes(p, x) -> Nodes:
    return Nodes(x, np.asarray(log_densities(p, x)), np.zeros(len(x)), discrete=True)


def unbounded_count_nodes(p) -> Nodes:
    """Return the nodes 0, 1, 2, ... up to where no probability is left to find."""
    most = 1024
    while most <= FARTHEST_COUNT:
        nodes = count_nodes(p, np.arange(most))
        if nodes.mass[most // 2 :].sum() < 1e-15 and nodes.mass.sum() > 0.5:
            return nodes
        most *= 4
    raise NotApplicable(f"{describe(p)} has probability beyond {FARTHEST_COUNT:,}: too far to add up.")


def density_nodes(p, halvings) -> Nodes:
    low, high = panels_of(p)
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
    z, log_length = gauss_legendre(low, high)
    x, log_p, log_jacobian = in_blocks(p, z.ravel())
    log_weight = log_length.ravel() + log_jacobian
    # beyond the largest number there is nothing left to add up
    usable = np.isfinite(x) & np.isfinite(log_weight) & ~np.isnan(log_p)
    order = np.argsort(x[usable], kind="stable")
    return Nodes(x[usable][order], log_p[usable][order], log_weight[usable][order], discrete=False)


def panels_of(p):
    """Return panels on the unconstrained line, halved while that still changes the probability of one."""
    edges = panel_edges(p)
    low, high = edges[:-1], edges[1:]
    settled = []
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        halves = probability(p, low, middle) + probability(p, middle, high)
        again = np.abs(halves - probability(p, low, high)) > SETTLED
        settled.append(np.stack([low[~again], high[~again]]))
        low, high = np.concatenate([low[again], middle[again]]), np.concatenate([middle[again], high[again]])
        if not 0 < len(low) < MOST_PANELS:
            break
    return np.concatenate([*settled, np.stack([low, high])], axis=1)


def probability(p, low, high):
    z, log_length = gauss_legendre(low, high)
    x, log_p, log_jacobian = in_blocks(p, z.ravel())
    log_mass = np.where(np.isfinite(x) & np.isfinite(log_jacobian), log_p + log_jacobian, -np.inf)
    return np.exp(log_mass.reshape(z.shape) + log_length).sum(-1)


def gauss_legendre(low, high):
    """Return per panel its nodes, and the log of the length that each represents, of shape (panels, NODES)."""
    at, weights = np.polynomial.legendre.leggauss(NODES)
    half = (high - low)[:, None] / 2
    return (low + high)[:, None] / 2 + half * at, np.log(half * weights)


def in_blocks(p, z):
    """Return `on_the_line` computed by blocks of one size, so that one program serves them all."""
    blocks = np.pad(z, (0, -len(z) % PADDED_TO), mode="edge").reshape(-1, PADDED_TO) if len(z) else []
    line = line_of(p)
    values = [on_the_line(p, line, block) for block in blocks]
    if not values:
        return np.zeros((3, 0))
    return np.concatenate([np.stack(value) for value in values], axis=1)[:, : len(z)]


@compiled
def log_densities(distribution, x):
    """Return the log density at x; -inf outside the support, where NumPyro's may be any number."""
    return log_density(distribution, x)


@compiled
def on_the_line(p, line, z):
    bijection = biject_to(line)
    x = bijection(z)
    inside = jnp.isfinite(x)
    safe = jnp.where(inside, x, bijection(jnp.zeros_like(z)))
    log_p = log_density(p, safe)
    return x, log_p, jnp.where(inside, bijection.log_abs_det_jacobian(z, x), -jnp.inf)
