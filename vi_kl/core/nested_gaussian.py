"""A few numbers with a density on a grid, and all others nearly normal given them: in thousands of dimensions.

The mean of the others, and a sparse Cholesky factor of their precision, are polynomials in the few, and go on as
straight lines beyond the range in which they were found. The noise of which the others are made is normal,
or bent to be skewed, each number of it by itself.

On the host the draws of one batch are solved for together, a level of the elimination at a time: all coordinates that
depend on none but earlier levels. In a compiled program each draw loops over the entries of its factor.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from vi_kl.core.annotations import AnyArray
from vi_kl.core.bends import bent, unbent
from vi_kl.core.grid_density import GridDensity
from vi_kl.core.pytrees import pytree
from vi_kl.core.scales import namespace
from vi_kl.core.sparse_precision import SparsePrecision

HIGHEST = 4  # the highest power of one of the few
AT_ONCE = 2_000_000  # numbers that are held at once, of a few arrays of this size
LOG_2PI = np.log(2 * np.pi)


@functools.cache
def powers(k: int) -> Int[np.ndarray, "basis k"]:
    """Return the exponents of the monomials: of one number up to HIGHEST, of two up to two each."""
    own = [np.eye(k, dtype=int)[j] * power for j in range(k) for power in range(1, HIGHEST + 1)]
    pairs = [
        a * np.eye(k, dtype=int)[i] + b * np.eye(k, dtype=int)[j]
        for i, j in itertools.combinations(range(k), 2)
        for a, b in itertools.product((1, 2), repeat=2)
    ]
    return np.array([np.zeros(k, int), *own, *pairs])


def monomials(s: Float[AnyArray, "n k"], further: Float[AnyArray, "n k"] | None = None) -> Float[AnyArray, "n basis"]:
    """Return the monomials of s, or their linear extrapolations from s to s + further."""
    xp, k = namespace(s), s.shape[-1]
    powered = [xp.ones_like(s), *itertools.accumulate([s] * HIGHEST, lambda a, b: a * b)]
    found = []
    for exponents in powers(k):
        factors = [powered[p][:, j] for j, p in enumerate(exponents)]
        value = functools.reduce(lambda a, b: a * b, factors)
        for j, p in enumerate(exponents):
            if p and further is not None:
                rest = [*factors[:j], *factors[j + 1 :], p * powered[p - 1][:, j] * further[:, j]]
                value = value + functools.reduce(lambda a, b: a * b, rest)
        found.append(value)
    return xp.stack(found, axis=-1)


@pytree
class NestedGaussian:
    """q(z) = q(s) q(others | s): the few are loc + tril s, and the others mean(s) + F(s)'^-1 (shifts + bent(noise)).

    Attributes:
        few: the coordinates of the few, (k,).
        loc, tril: the map from s to them, (k,) and (k, k).
        density: the density of s.
        reach: the range of each s, (2, k), beyond which mean and factor go on as straight lines.
        order: the other coordinate at each position of the elimination, (others,), counted among all coordinates.
        rows: the position of the row of each entry of the factor, (entries,), the diagonal included.
        columns: the position of its column; entries are ordered by columns, the diagonal's first in each.
        means: the coefficients of the mean, by position, (basis, others).
        factors: the coefficients of the entries, (basis, entries): of the logarithm of a diagonal one, and of the
            ratio to its column's diagonal of any other.
        shifts: the mean of the noise at each position, (others,).
        bends: how it is bent, (others,); 0 where it is normal.
    """

    few: Int[AnyArray, " k"]
    loc: Float[AnyArray, " k"]
    tril: Float[AnyArray, "k k"]
    density: GridDensity
    reach: Float[AnyArray, "2 k"]
    order: Int[AnyArray, " others"]
    rows: Int[AnyArray, " entries"]
    columns: Int[AnyArray, " entries"]
    means: Float[AnyArray, "basis others"]
    factors: Float[AnyArray, "basis entries"]
    shifts: Float[AnyArray, " others"]
    bends: Float[AnyArray, " others"]

    @property
    def dim(self) -> int:
        return self.few.shape[0] + self.order.shape[0]

    # The conditional normal, at n values of s; vectors are in the order of the elimination ------------------------

    def basis(self, s: Float[AnyArray, "n k"]) -> Float[AnyArray, "n basis"]:
        """Return what the polynomials' coefficients are multiplied by."""
        nearest = namespace(self.reach, s).clip(s, self.reach[0], self.reach[1])
        return monomials(nearest, s - nearest)

    def entries(self, basis: Float[AnyArray, "n basis"]) -> Float[AnyArray, "n entries"]:
        """Return the entries of the factor."""
        found = basis @ self.factors
        if namespace(found) is jnp:
            is_diagonal = self.rows == self.columns
            log_diagonal = jnp.zeros((len(found), len(self.order))).at[:, self.columns].add(
                jnp.where(is_diagonal, found, 0.0)
            )  # fmt: skip
            diagonal = jnp.exp(log_diagonal)[:, self.columns]
            return jnp.where(is_diagonal, diagonal, found * diagonal)
        starts = self.starts
        diagonal = np.exp(found[:, starts[:-1]])
        found *= np.repeat(diagonal, np.diff(starts), axis=1)  # in place: there may be a million entries
        found[:, starts[:-1]] = diagonal
        return found

    def log_root(self, basis: Float[AnyArray, "n basis"]) -> Float[AnyArray, " n"]:
        """Return half the log determinant of the precision."""
        if namespace(basis, self.factors) is jnp:
            return basis @ jnp.where(self.rows == self.columns, self.factors, 0.0).sum(axis=1)
        return basis @ self.factors[:, self.starts[:-1]].sum(axis=1)

    @functools.cached_property
    def starts(self) -> Int[np.ndarray, " ends"]:
        """The place of each column's first entry, which is on the diagonal, and the number of entries."""
        return np.searchsorted(self.columns, np.arange(len(self.order) + 1))

    # The distribution ---------------------------------------------------------------------------------------------

    def push(self, u: Float[AnyArray, "n dim"]) -> tuple[Float[AnyArray, "n dim"], Float[AnyArray, " n"]]:
        """Return the images of standard normal noise, of the few first, and their log densities."""
        if namespace(self.means, u) is jnp:
            return self.push_piece(u)
        return joined([self.push_piece(piece) for piece in self.pieces(u)])

    def push_piece(self, u):
        k = self.few.shape[0]
        s, log_q = self.density.push(u[:, :k])
        z, log_conditional = self.given(s, u[:, k:])
        return z, log_q + log_conditional - self.log_det

    def log_prob(self, z: Float[AnyArray, "n dim"]) -> Float[AnyArray, " n"]:
        """Return the log density at z."""
        if namespace(self.means, z) is jnp:
            return self.log_prob_piece(z)
        return np.concatenate([self.log_prob_piece(piece) for piece in self.pieces(z)])

    def log_prob_piece(self, z):
        s = self.whitened(z[:, self.few])
        basis = self.basis(s)
        image = self.multiplied(self.entries(basis), z[:, self.order] - basis @ self.means)
        noise, log_slope = unbent(image - self.shifts, self.bends)
        return self.density.log_prob(s) + self.log_root(basis) + log_normal(noise, log_slope) - self.log_det

    def given(self, s: Float[AnyArray, "n k"], noise: Float[AnyArray, "n others"]):
        """Return draws of z at given s, and the log densities of the others given the few."""
        basis = self.basis(s)
        image, log_slope = bent(noise, self.bends)
        x = basis @ self.means + self.solved(self.entries(basis), image + self.shifts)
        return self.assembled(s, x), self.log_root(basis) + log_normal(noise, log_slope)

    def given_one(self, s: Float[np.ndarray, " k"], noise: Float[np.ndarray, "n others"]):
        """Return what `given` does at the same s for all draws, whose factor is then computed and solved with once."""
        basis = self.basis(s[None])
        image, log_slope = bent(noise, self.bends)
        scale = self.scale(self.entries(basis)[0])
        x = basis @ self.means + scale.solved(image + self.shifts, transpose=True)
        return self.assembled(np.repeat(s[None], len(noise), axis=0), x), self.log_root(basis) + log_normal(
            noise, log_slope
        )

    def pieces(self, z: np.ndarray) -> list[np.ndarray]:
        """Return arrays of rows of which what is computed can be held at once."""
        nodes = int(np.prod(self.density.values.shape[1:]))
        size = max(1, AT_ONCE // max(len(self.rows), nodes))
        return [z[start : start + size] for start in range(0, max(len(z), 1), size)]

    @property
    def log_det(self):
        """The log determinant of the map from s to the few."""
        xp = namespace(self.tril)
        return xp.log(xp.abs(xp.diagonal(self.tril))).sum()

    def whitened(self, few: Float[AnyArray, "n k"]) -> Float[AnyArray, "n k"]:
        """Return the s of the few."""
        xp = namespace(self.tril, few)
        return xp.linalg.solve(self.tril, (few - self.loc).T).T

    def assembled(self, s, x):
        """Return z from s and the others."""
        xp = namespace(self.means, s, x)
        few = self.loc + s @ self.tril.T
        if xp is jnp:
            z = jnp.zeros((len(s), self.dim))
            return z.at[:, self.few].set(few).at[:, self.order].set(x)
        z = np.empty((len(s), self.dim))
        z[:, self.few], z[:, self.order] = few, x
        return z

    # Products and solutions with one factor F for each row ----------------------------------------------------------

    def scale(self, values: Float[AnyArray, " entries"]) -> SparsePrecision:
        """Return the scale of one factor, with the others in the order of the elimination."""
        xp = namespace(values)
        return SparsePrecision(xp.arange(len(self.order)), xp.asarray(self.rows), xp.asarray(self.columns), values)

    def multiplied(self, entries, x):
        """Return F' x for each row."""
        if namespace(entries, x) is jnp:
            return jax.vmap(lambda f, one: self.scale(f).multiplied(one, transpose=True))(entries, x)
        return np.add.reduceat(entries * x[:, self.rows], self.starts[:-1], axis=1) if len(self.order) else x

    def solved(self, entries, u):
        """Return F'^-1 u for each row."""
        if namespace(entries, u) is jnp:
            return jax.vmap(lambda f, one: self.scale(f).solved(one, transpose=True))(entries, u)
        x = np.empty_like(u)
        for positions, diagonal, below, starts, rows in self.levels:
            right = u[:, positions]
            if len(below):
                right = right - np.add.reduceat(entries[:, below] * x[:, rows], starts, axis=1)
            x[:, positions] = right / entries[:, diagonal]
        return x

    @functools.cached_property
    def levels(self) -> list[tuple[np.ndarray, ...]]:
        """The positions of each level, their diagonals' entries, the entries below, their starts, and their rows."""
        starts = self.starts
        level = np.zeros(len(self.order), int)
        for j in range(len(self.order) - 1, -1, -1):
            below = self.rows[starts[j] + 1 : starts[j + 1]]
            level[j] = 1 + level[below].max() if len(below) else 0
        found = []
        for one in range(int(level.max(initial=-1)) + 1):
            positions = np.flatnonzero(level == one)
            below = [np.arange(starts[j] + 1, starts[j + 1]) for j in positions] if one else []
            counts = np.cumsum([0, *map(len, below)])[:-1]
            flat = np.concatenate(below) if one else np.empty(0, int)
            found.append((positions, starts[positions], flat, counts, self.rows[flat]))
        return found


def log_normal(noise, log_slope):
    """Return the log densities of images of standard normal noise, (n,)."""
    return (-0.5 * (noise**2 + LOG_2PI) - log_slope).sum(axis=-1)


def joined(pairs) -> tuple[np.ndarray, np.ndarray]:
    first, second = zip(*pairs, strict=True)
    return np.concatenate(first), np.concatenate(second)
