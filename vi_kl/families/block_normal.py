"""BlockNormal: correlation within each site, or group of sites, and none between them.

Requires nothing of the target. Use it where a model's parts hang together inside (the slopes of a regression, the
states of a series) and less across, and a full covariance has too many entries to learn.

Reference: Tan & Nott (2018), "Gaussian variational approximation with sparse precision matrices", for structure that
follows the model.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.core.cholesky import tril_of_precision
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.scales import Diagonal
from vi_kl.families.family import Family
from vi_kl.families.frame import Frame


@dataclasses.dataclass(frozen=True)
class BlockNormal(Family):
    """q(z) = product over blocks of sites of MultivariateNormal(loc_b, scale_tril_b).

    Attributes:
        groups: tuples of site names, each tuple one block: `(("slopes", "intercept"), ("sigma",))`. Sites that are in
            none are a block each, so by default every site is one.
    """

    groups: tuple[tuple[str, ...], ...] = ()

    name = "block_normal"

    def __post_init__(self):
        if isinstance(self.groups, str) or any(isinstance(group, str) for group in self.groups):
            raise ValueError(f"groups must be groups of site names, such as (('a', 'b'),), not {self.groups!r}.")
        object.__setattr__(self, "groups", tuple(map(tuple, self.groups)))
        named = [name for group in self.groups for name in group]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ValueError(f"Sites {twice} are in more than one group: a site belongs to one block.")

    def require(self, target):
        unknown = {name for group in self.groups for name in group} - set(target.site_names)
        if unknown:
            raise UnsuitableError(f"groups name sites {sorted(unknown)}; the target has {list(target.site_names)}.")

    @property
    def shifts_and_stretches(self):
        return True

    def standard(self, key, target):
        self.require(target)
        return {
            "loc": jnp.zeros(target.dim),
            "log_scale": jnp.zeros(target.dim),
            "below": jnp.zeros(len(block_entries(self, target)[0])),
        }

    def units(self, frame, target=None):
        if target is None:
            raise ValueError("BlockNormal needs the target for its units: units(frame, target).")
        return BlockUnits.of(frame, blocks(self, target), block_entries(self, target))

    def place(self, params, units):
        """Return the parameters in z: the location moves along the frame's axes.

        Each block's matrix is relative to its conditional covariance.

        For a normal posterior the standard member is exactly the best one (Bishop 2006, section 10.1.2, block by
        block).
        """
        tril = units.tril @ block_tril(params, units.rows, units.columns)
        scale = jnp.diag(tril)
        below = (tril / scale[:, None])[units.rows, units.columns]
        return {"loc": units.frame.point(params["loc"]), "log_scale": jnp.log(scale), "below": below}

    def distribution(self, params, target):
        tril = block_tril(params, *block_entries(self, target))
        return dist.MultivariateNormal(params["loc"], scale_tril=tril, validate_args=False)


class BlockUnits(NamedTuple):
    """A frame with the Cholesky factor of each block's covariance given all others, and the free entries.

    Attributes:
        frame: the frame.
        tril: the Cholesky factor, of shape (dim, dim), zero between blocks.
        rows, columns: indices of the entries below the diagonal and within a block.
    """

    frame: Frame
    tril: jax.Array
    rows: jax.Array
    columns: jax.Array

    @classmethod
    def of(cls, frame: Frame, block_of: np.ndarray, entries) -> "BlockUnits":
        if isinstance(frame.normal.scale, Diagonal):
            return cls(frame, frame.normal.scale.matrix, *entries)
        together = block_of[:, None] == block_of
        # the conditional covariances are the inverses of the precision's blocks
        tril = tril_of_precision(np.where(together, frame.normal.precision, 0.0))
        return cls(frame, np.where(together, tril, 0.0), *entries)


def blocks(family: BlockNormal, target) -> np.ndarray:
    """Return the number of the block of each coordinate of z."""
    group_of = {name: number for number, group in enumerate(family.groups) for name in group}
    numbers = [group_of.get(site.name, len(family.groups) + i) for i, site in enumerate(target.sites)]
    return np.repeat(numbers, [site.size for site in target.sites])


def block_entries(family: BlockNormal, target) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of the entries below the diagonal that lie within a block."""
    block_of = blocks(family, target)
    return np.nonzero(np.tril(block_of[:, None] == block_of, -1))


def block_tril(params, rows, columns):
    """Return the Cholesky factor diag(scale) (I + entries below the diagonal)."""
    unit = jnp.eye(params["loc"].shape[-1]).at[rows, columns].set(params["below"])
    return jnp.exp(params["log_scale"])[:, None] * unit
