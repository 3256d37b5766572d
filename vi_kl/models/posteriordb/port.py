"""PosteriordbModel, a model of the database in NumPyro, and Posterior, the model with data, target and reference."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np

from vi_kl.core.precision import in_float64
from vi_kl.models.posteriordb.database import gather, read_chains, read_data
from vi_kl.targets import Target


def unchanged(values: Mapping, *arguments) -> Mapping:
    return values


@dataclasses.dataclass(frozen=True)
class PosteriordbModel:
    """A posterior of the database as a NumPyro model.

    Attributes:
        model: the NumPyro model.
        arguments: the function from the database's data to the model's arguments.
        quantities: `quantities(sites, *arguments)`: computes the quantities of the reference from draws of the model's
            sites.
        sites: `sites(quantities, *arguments)`: is the inverse of `quantities`.
    """

    model: Callable
    arguments: Callable[[dict], tuple]
    quantities: Callable[..., Mapping] = unchanged
    sites: Callable[..., Mapping] = unchanged

    def target(self, data: dict) -> Target:
        """Return the target of this model for the database's data."""
        return Target.from_numpyro(self.model, *self.arguments(data))


@dataclasses.dataclass(frozen=True, eq=False)
class Posterior:
    """A posterior of the database: the target, and reference draws of a long and checked MCMC run.

    Attributes:
        name: the model's short name, such as "garch11".
        full_name: the name in the database, such as "garch-garch11".
        data: the data as the database has them.
        port: the model, and the relation of its sites to the reference.
        target: the model's posterior for these data.
    """

    name: str
    full_name: str
    data: dict = dataclasses.field(repr=False)
    port: PosteriordbModel = dataclasses.field(repr=False)
    target: Target

    @functools.cached_property
    def chains(self) -> list[dict]:
        """The reference as the database has it: for each chain {scalar: list of draws}."""
        return read_chains(self.full_name)

    @property
    def num_chains(self) -> int:
        """The number of chains of the reference run."""
        return len(self.chains)

    @functools.cached_property
    def draws(self) -> dict[str, np.ndarray]:
        """The reference draws {quantity: (10000, ...)} in the constrained space: 10 chains of 1,000, one after another.

        Raises:
            FileNotFoundError: the database has none for this posterior.
        """
        return gather(self.chains)

    @functools.cached_property
    def arguments(self) -> tuple:
        """The model's arguments."""
        return self.port.arguments(self.data)

    @in_float64
    def reference_z(self) -> np.ndarray:
        """Return the reference draws mapped to the target's unconstrained space, of shape (10000, dim)."""
        return self.target.unconstrain(dict(self.port.sites(self.draws, *self.arguments)))

    def reference_quantities(self, sites: Mapping) -> dict[str, np.ndarray]:
        """Return the quantities of the reference, from draws of the model's sites, such as an approximation's.

        Args:
            sites: the draws, {site: (n, *site shape)}.

        Returns:
            The quantities by name, each of shape (n, ...), with the names and in the order of `draws`.
        """
        sites = {name: np.asarray(values, dtype=float) for name, values in sites.items()}
        quantities = self.port.quantities(sites, *self.arguments)
        return {name: np.asarray(quantities[name]) for name in self.draws}


def open_posterior(full_name: str, port: PosteriordbModel) -> Posterior:
    """Read the data of a posterior and make its target."""
    data = read_data(full_name)
    return Posterior(full_name.rpartition("-")[2], full_name, data, port, port.target(data))
