"""A density of a few real numbers that is known by its values on a grid.

The density is multilinear between the nodes of a regular grid, and falls off exponentially beyond it. So it is
positive everywhere, integrates to one exactly, and is drawn from by inverting the distribution of each number given
those before it, which takes roots of quadratic equations.

That is arranged by one map for each number: s itself on the grid, y = high + tail (1 - exp((high - s) / tail)) above
it, and the like below. The density of y is multilinear everywhere, and zero at the ends, where s is infinite; so that
of s falls as exp(-2 s / tail).

Arrays are NumPy's on the host; while JAX traces one of them the same operations are JAX's.
"""

import jax.scipy.special
import numpy as np
import scipy.special
from jaxtyping import Float

from vi_kl.core.annotations import AnyArray, Values
from vi_kl.core.pytrees import pytree
from vi_kl.core.scales import namespace

FURTHEST = 30.0  # tails beyond the grid, further than which no number is told from infinity
SMALLEST_SHARE = 1e-14  # of a cell, from its ends, where the density is zero at the outermost
SHORTEST, LONGEST, CUT = 0.1, 1.0, 0.4  # tails: the last in place of longer ones


@pytree
class GridDensity:
    """A density over k real numbers s.

    Attributes:
        values: the densities at the nodes, (n1, ..., nk).
        lows: the first node of each number, (k,).
        highs: its last, (k,); the others are evenly spaced between them.
        tails: twice the distance in which each density falls by exp(-1) below the grid, and above it, (2, k).
    """

    values: Float[AnyArray, "*nodes"]
    lows: Float[AnyArray, " k"]
    highs: Float[AnyArray, " k"]
    tails: Float[AnyArray, "2 k"]

    @classmethod
    def of_log_density(cls, log_density: Float[np.ndarray, "*nodes"], lows, highs) -> "GridDensity":
        """Return the normalised density whose logarithm is known at the nodes, up to a constant.

        Beyond the grid it falls as fast as each number's marginal does at the end of the grid.
        """
        lows, highs = np.asarray(lows, float), np.asarray(highs, float)
        values = np.exp(np.maximum(log_density - log_density.max(), -600.0))
        tails = np.array([tails_of(values, j, highs[j] - lows[j]) for j in range(values.ndim)]).T
        found = cls(values, lows, highs, tails)
        return cls(values / found.total, lows, highs, tails)

    @property
    def dim(self) -> int:
        return self.values.ndim

    def widths(self, xp) -> list[AnyArray]:
        """Return the widths of the cells of each y, those beyond the grid at its ends."""
        inner = (self.highs - self.lows) / (np.array(self.values.shape) - 1)
        return [
            xp.concatenate([xp.asarray(self.tails)[:1, j], xp.full(size - 1, inner[j]), xp.asarray(self.tails)[1:, j]])
            for j, size in enumerate(self.values.shape)
        ]

    @property
    def total(self) -> Values:
        """The integral, which is 1."""
        return integral(self.values[None], self.widths(namespace(self.values)))[0]

    def push(self, u: Float[AnyArray, "n k"]) -> tuple[Float[AnyArray, "n k"], Float[AnyArray, " n"]]:
        """Return the s that are the images of standard normal noise u, and their log densities."""
        xp = namespace(self.values, u)
        uniform = (scipy.special if xp is np else jax.scipy.special).ndtr(u)
        widths, rest, found = self.widths(xp), xp.asarray(self.values)[None], []
        for j in range(self.dim):
            density = xp.pad(integral(rest, widths[j + 1 :]), ((0, 0), (1, 1)))
            cell, share = inverse(xp, density, widths[j], uniform[:, j])
            found.append((cell, share))
            rest = between(xp, rest, cell, share)
        y = xp.stack([self.place(xp, j, *one) for j, one in enumerate(found)], axis=-1)
        return self.unbent(xp, y), xp.log(rest) + self.log_slope(xp, y)

    def log_prob(self, s: Float[AnyArray, "n k"]) -> Float[AnyArray, " n"]:
        """Return the log density at s."""
        xp = namespace(self.values, s)
        y = self.bent(xp, s)
        rest = xp.asarray(self.values)[None]
        for j in range(self.dim):
            rest = between(xp, rest, *self.cell(xp, j, y[:, j]))
        return xp.log(rest) + self.log_slope(xp, y)

    # The map of each number ---------------------------------------------------------------------------------------

    def bent(self, xp, s):
        """Return the y of s."""
        below = xp.clip((self.lows - s) / self.tails[0], 0.0, FURTHEST)
        above = xp.clip((s - self.highs) / self.tails[1], 0.0, FURTHEST)
        return xp.clip(s, self.lows, self.highs) + self.tails[0] * xp.expm1(-below) - self.tails[1] * xp.expm1(-above)

    def unbent(self, xp, y):
        """Return the s of y."""
        below, above = self.beyond(xp, y)
        return xp.clip(y, self.lows, self.highs) + self.tails[0] * xp.log1p(-below) - self.tails[1] * xp.log1p(-above)

    def beyond(self, xp, y):
        """Return how far y is below the grid, and above it, in shares of all that there is."""
        most = 1 - np.exp(-FURTHEST)
        below, above = (self.lows - y) / self.tails[0], (y - self.highs) / self.tails[1]
        return xp.clip(below, 0.0, most), xp.clip(above, 0.0, most)

    def log_slope(self, xp, y) -> Float[AnyArray, " n"]:
        """Return the log determinant of the map from s to y."""
        below, above = self.beyond(xp, y)
        return (xp.log1p(-above) + xp.log1p(-below)).sum(axis=-1)

    def place(self, xp, j: int, cell, share):
        """Return the y of a share of a cell."""
        return self.ends(xp, j)[cell] + share * self.widths(xp)[j][cell]

    def ends(self, xp, j: int):
        """Return the lower ends of the cells of y, and the upper end of the last."""
        return xp.concatenate([xp.zeros(1), xp.cumsum(self.widths(xp)[j])]) + self.lows[j] - self.tails[0, j]

    def cell(self, xp, j: int, y):
        """Return the cell in which y is, and the share of it below y."""
        widths, last = self.widths(xp)[j], self.values.shape[j]
        place = 1 + (y - self.lows[j]) / widths[1]
        cell = xp.where(y < self.lows[j], 0, xp.where(y >= self.highs[j], last, xp.clip(place, 1, last - 1)))
        cell = cell.astype(int)
        return cell, xp.clip((y - self.ends(xp, j)[cell]) / widths[cell], SMALLEST_SHARE, 1 - SMALLEST_SHARE)


def tails_of(values: Float[np.ndarray, "*nodes"], axis: int, length: float) -> tuple[float, float]:
    """Return the tails below and above of a number whose marginal falls on as it does at the ends of the grid.

    One that falls much more slowly there than a normal density does where it has fallen as far is cut short: what
    belongs to so distant numbers may not be known.
    """
    marginal = np.maximum(values.sum(axis=tuple(i for i in range(values.ndim) if i != axis)), 1e-300)
    width = length / (len(marginal) - 1)
    falls = [np.log(marginal[next]) - np.log(marginal[end]) for end, next in ((0, 1), (-1, -2))]
    low, high = (max(2 * width / max(float(fall), 1e-9), SHORTEST) for fall in falls)
    return low if low <= LONGEST else CUT, high if high <= LONGEST else CUT


def integral(values: Float[AnyArray, "n ..."], widths: list) -> AnyArray:
    """Return the integrals of multilinear functions over their last axes, of cells with these widths."""
    for width in reversed(widths):
        values = values @ (0.5 * (width[1:] + width[:-1]))  # the trapezoidal rule, with zeros at both ends
    return values


def between(xp, values: Float[AnyArray, "n nodes ..."], cell, share) -> Float[AnyArray, "m ..."]:
    """Return values interpolated linearly along their second axis, at one place each; n is m or 1."""
    last = values.shape[1] - 1
    row = xp.arange(len(cell)) % len(values)
    shape = (-1, *(1,) * (values.ndim - 2))
    before = xp.where(cell > 0, 1 - share, 0.0).reshape(shape)  # at the ends the values are zero
    after = xp.where(cell <= last, share, 0.0).reshape(shape)
    return before * values[row, xp.clip(cell - 1, 0, last)] + after * values[row, xp.clip(cell, 0, last)]


def inverse(xp, density: Float[AnyArray, "n nodes"], widths, uniform: Float[AnyArray, " m"]) -> tuple[Values, Values]:
    """Return where piecewise linear distributions reach given shares of their totals: the cell, and the share of it."""
    masses = 0.5 * (density[:, 1:] + density[:, :-1]) * widths
    reached = xp.cumsum(masses, axis=1)
    wanted = uniform * reached[:, -1]
    cell = xp.clip((reached <= wanted[:, None]).sum(axis=1), 0, len(widths) - 1)
    row = xp.arange(len(uniform)) % len(density)
    left = xp.clip(wanted - (reached - masses)[row, cell], 0.0, None) / widths[cell]
    first, rise = density[row, cell], density[row, cell + 1] - density[row, cell]
    root = xp.sqrt(xp.clip(first**2 + 2 * rise * left, 0.0, None))
    return cell, xp.clip(2 * left / xp.maximum(first + root, 1e-300), SMALLEST_SHARE, 1 - SMALLEST_SHARE)
