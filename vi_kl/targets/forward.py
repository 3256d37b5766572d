"""The contract of a model that is run forwards at given values of its latent sites: capability "forward" of a density.

One run simulates what the model draws and computes given these values, or evaluates the log probability of each site.
`vi_kl.draws` runs it at many draws of a posterior, in batches.
"""

import dataclasses
from typing import Any, Protocol

import jax
import numpy as np

LATENT, OBSERVED, DETERMINISTIC = "latent", "observed", "deterministic"


@dataclasses.dataclass(frozen=True)
class ForwardSite:
    """A site that a run of the model meets.

    Attributes:
        kind: "latent", "observed" or "deterministic".
        shape: the shape of its value.
        dims: the plate that each axis of the value belongs to; None for an axis of no plate.
        event_dim: how many of the last axes make up one observation, and so one log probability.
    """

    kind: str
    shape: tuple[int, ...]
    dims: tuple[str | None, ...]
    event_dim: int = 0

    @property
    def batch_dims(self) -> tuple[str | None, ...]:
        """The dims of the site's log probabilities."""
        return self.dims[: len(self.dims) - self.event_dim]


class ForwardRun(Protocol):
    """A model without its arrays, ready to be run forwards. All methods are for one draw.

    `arrays` is the pytree that a density's `forward` returns beside it, `values` is {site: value}, in the model's own
    space, and a key is its data (`jax.random.key_data`). The last four can be traced, once they are `captured`.
    """

    def describe(self, arrays: Any, values: dict) -> dict[str, ForwardSite]:
        """Return every site of a run with these shapes of values, found abstractly; factors are no sites."""

    def constants(self, arrays: Any) -> dict[str, np.ndarray]:
        """Return the arrays that the model is given, by the names of its arguments."""

    def captured(self, arrays: Any, **shapes: tuple) -> tuple[Any, Any]:
        """Return the run as programs of these methods, {method: shapes of its arguments}, and their arrays."""

    def misses(self, arrays: Any, values: dict) -> list[str]:
        """Say which indices among the arrays of a run that is captured lie outside of what they index."""

    def observed(self, arrays: Any) -> dict:
        """Return the data of each observed site."""

    def draw_discrete(self, arrays: Any, sites: dict, key: jax.Array) -> dict:
        """Return values of the sites that are summed out, drawn from their posterior given unconstrained sites."""

    def simulate(self, arrays: Any, values: dict, key: jax.Array) -> dict:
        """Return what the model draws, its data among it, and computes given these values, {site: value}."""

    def log_probs(self, arrays: Any, values: dict) -> dict:
        """Return the log probability of each entry of the observed sites, and of those that are given."""
