"""TargetDraws: draws of z for one target, from whichever source, with what is known about each of them."""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np

from vi_kl.core.annotations import AnyArray
from vi_kl.targets.deterministic import deterministic_sites
from vi_kl.targets.target import Target, constrain_in_chunks, log_density_in_chunks


@dataclasses.dataclass(frozen=True, eq=False)
class TargetDraws:
    """A set of draws of z.

    Attributes:
        target: the target whose z they are.
        chains: the draws, (chains, length, dim); one chain of independent draws, but for those of MCMC.
        key: the key of everything that is drawn given z.
        name: a short name of their source.
        method: their source, in words.
        independent: whether each draw is independent of the others.
        log_q: the log density of the approximation that they were drawn from, (chains, length); None without one.
        notes: what must not be missed about them, a sentence each.
        attributes: {name: words} to go into files beside them.
    """

    target: Target
    chains: np.ndarray
    key: jax.Array
    name: str
    method: str
    independent: bool = True
    log_q: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def z(self) -> np.ndarray:
        """All draws, (chains x length, dim)."""
        return self.chains.reshape(-1, self.chains.shape[-1])

    def __len__(self):
        return self.chains.shape[0] * self.chains.shape[1]

    def sites(self) -> dict[str, np.ndarray]:
        """Return {site: (chains x length, ...)} of the latent sites and those that are computed from them."""
        return constrain_in_chunks(self.target, self.z) | deterministic_sites(
            self.target, self.z, jax.random.fold_in(self.key, 1)
        )

    def log_p(self) -> np.ndarray:
        """Return the target's log density at each draw, (chains, length)."""
        return log_density_in_chunks(self.target, self.z).reshape(self.chains.shape[:2])


def one_chain(z: AnyArray) -> np.ndarray:
    """Return independent draws (n, dim) as one chain, (1, n, dim)."""
    return np.asarray(z)[None]


def some_of(chains: np.ndarray, n: int | None) -> np.ndarray:
    """Return about n draws of chains of MCMC, evenly spaced along each; all of them without n."""
    length = chains.shape[1]
    if n is None or n >= chains.shape[0] * length:
        return chains
    each = max(1, -(-n // chains.shape[0]))
    return chains[:, np.linspace(0, length - 1, each).round().astype(int)]
