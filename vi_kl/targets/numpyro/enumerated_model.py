"""A model whose discrete latent sites are summed out by enumeration: the density of its continuous sites alone.

The density of z is the sum over all joint configurations of the discrete sites, a few thousand at most, each of them
one run of the model with these sites filled in. Nothing needs marking in the model, and any dependence between the
sites is allowed.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.infer.util import potential_energy

from vi_kl.core.errors import ModelError
from vi_kl.core.kept_programs import tracing
from vi_kl.targets.numpyro.discrete_sites import (
    DiscreteSite,
    configurations,
    fill,
    first_configuration,
    refuse_too_many,
)
from vi_kl.targets.numpyro.model import NumPyroModel

BLOCK = 64  # configurations evaluated at once: memory grows with it


@dataclasses.dataclass(frozen=True, eq=False)
class EnumeratedModel(NumPyroModel):
    """A NumPyro model, `model.full`, whose discrete latent sites are summed out."""

    @property
    def capabilities(self):
        return super().capabilities | {"configurations"}

    def log_density(self, data, sites):
        return sum_over_configurations(lambda row: self.log_joint(data, sites, row), configurations(self.discrete))

    def log_joint(self, data, sites, row):
        """Return the log density at unconstrained sites and one configuration, a row of `configurations`."""
        return self.run("log_joint", data, sites, row)

    def model_log_joint(self, data, sites, row):
        args, kwargs = self.arguments(data)
        model = numpyro.handlers.substitute(self.model.full, data=fill(self.discrete, row))
        return -potential_energy(numpyro.handlers.seed(model, 0), args, kwargs, sites)

    def discrete_draws(self, data, sites, key):
        """Draw a configuration with its posterior probability given the unconstrained sites."""
        table = jnp.asarray(configurations(self.discrete))
        logs = jax.lax.map(lambda row: self.log_joint(data, sites, row), table)
        return fill(self.discrete, table[jax.random.categorical(key, logs)])

    def programs_to_capture(self, sites):
        row = jax.ShapeDtypeStruct((sum(site.num_entries for site in self.discrete),), int)
        z, *_ = (shapes := super().programs_to_capture(sites)).pop("log_density")
        return {"log_joint": (z, row), **shapes}

    def __str__(self):
        return self.model.__name__


def sum_over_configurations(log_joint: Callable, table: np.ndarray):
    """Return the log of the sum of exp(log_joint(row)) over all rows, a block of rows at a time."""
    evaluate = jax.vmap(log_joint)
    head = len(table) % BLOCK or BLOCK
    total = jax.nn.logsumexp(evaluate(jnp.asarray(table[:head])))
    if head == len(table):
        return total

    def add(total, block):
        return jnp.logaddexp(total, jax.nn.logsumexp(evaluate(block))), None

    blocks = jnp.asarray(table[head:].reshape(-1, BLOCK, table.shape[1]))
    return jax.lax.scan(add, total, blocks)[0]


def enumerated(density: NumPyroModel, discrete: list[DiscreteSite]) -> EnumeratedModel:
    """Return the model with these discrete sites summed out."""
    refuse_too_many(discrete)
    return EnumeratedModel(first_configuration(density.model, discrete), density.structure, density.static)


def refuse_moving_supports(density: EnumeratedModel, data, sites) -> None:
    """Refuse changes of variables that depend on a discrete site, because z alone would have no meaning."""

    def constrain(row, z):
        full = numpyro.handlers.condition(density.model.full, data=fill(density.discrete, row))
        return NumPyroModel(full, density.structure, density.static).model_constrain(data, z)[0]

    rows = jax.ShapeDtypeStruct((2, sum(site.num_entries for site in density.discrete)), int)
    z = {site.name: jax.ShapeDtypeStruct(site.unconstrained_shape, float) for site in sites}
    for name in z:
        try:
            with tracing:
                # an output that is the same for every row is one that vmap does not batch
                jax.eval_shape(jax.vmap(lambda row, z, name=name: constrain(row, z)[name], (0, None), None), rows, z)
        except ValueError as error:
            if "out_axes" not in str(error):
                raise
            raise ModelError(
                f"The support of continuous site '{name}' depends on a discrete latent site, so the discrete one "
                f"cannot be summed out at a given '{name}' by a change of variables. Write '{name}' as a function of "
                f"a site whose support is fixed (numpyro.deterministic)."
            ) from error
