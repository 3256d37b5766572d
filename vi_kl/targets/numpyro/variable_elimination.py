"""Discrete latent sites summed out along the model's plates and Markov chains, however many configurations they have.

Requires funsor (`pip install "vi_kl[enum]"`), every discrete site in a plate for each axis of its entries, and a model
that indexes by discrete values as NumPyro's parallel enumeration does (`loc[k]`, `Vindex(loc)[..., k]`). The entries of
a plate cost K n rather than K^n; a chain under `numpyro.contrib.control_flow.scan` costs K^2 per step.

`vi_kl.targets.numpyro.enumerated_model` serves any model with few configurations, and needs none of this.

Reference: Obermeyer et al. (2019), Tensor variable elimination for plated factor graphs.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpyro
from numpyro.infer.util import potential_energy

from vi_kl.core.errors import ModelError
from vi_kl.core.kept_programs import tracing
from vi_kl.core.programs.program import abstractly
from vi_kl.targets.numpyro.discrete_sites import DiscreteSite, first_configuration
from vi_kl.targets.numpyro.inspection import traced
from vi_kl.targets.numpyro.model import NumPyroModel
from vi_kl.targets.numpyro.plates import SubsampledRows


@dataclasses.dataclass(frozen=True, eq=False)
class EliminatedModel(NumPyroModel):
    """A NumPyro model, `model.full`, whose discrete latent sites are summed out plate by plate.

    Attributes:
        plate_dims: how many axes, counted from the right, belong to plates; those of values listed lie left of them.
    """

    plate_dims: int

    def model_log_density(self, data, sites):
        from numpyro.contrib.funsor import config_enumerate, enum

        args, kwargs = self.arguments(data)
        model = enum(config_enumerate(self.model.full), -1 - self.plate_dims)
        return -potential_energy(numpyro.handlers.seed(model, 0), args, kwargs, sites, enum=True)

    def discrete_draws(self, data, sites, key):
        """Draw the discrete sites from their posterior given the unconstrained ones, by funsor."""
        from numpyro.contrib.funsor import config_enumerate, infer_discrete

        args, kwargs = self.arguments(data)
        values = self.model_constrain(data, sites)[0]
        model = numpyro.handlers.substitute(numpyro.handlers.seed(self.model.full, key), data=values)
        drawn = infer_discrete(config_enumerate(model), -1 - self.plate_dims, temperature=1, rng_key=key)
        trace = numpyro.handlers.trace(drawn).get_trace(*args, **kwargs)
        return {site.name: trace[site.name]["value"] for site in self.discrete}

    def checked(self, data, sites) -> "EliminatedModel":
        """Return this density if it can be traced, which shows whether the model allows enumeration in parallel."""
        z = {site.name: jax.ShapeDtypeStruct(site.unconstrained_shape, float) for site in sites}
        try:
            with tracing:
                jax.eval_shape(self.model_log_density, data, z)
        except Exception as error:  # funsor and the model itself raise errors of many types
            names = ", ".join(f"'{site.name}'" for site in self.discrete)
            raise ModelError(
                f"The discrete latent sites {names} cannot be summed out in parallel "
                f"({str(error) or type(error).__name__}). Each value that is tried gets an axis of its own, left of "
                f"the plates: index by the discrete site alone (loc[k], or numpyro.ops.indexing.Vindex), and put what "
                f"is independent into numpyro.plate."
            ) from error
        return self

    def __str__(self):
        return self.model.__name__


def eliminated(density: NumPyroModel, data, discrete: list[DiscreteSite]) -> EliminatedModel:
    """Return the model with these discrete sites summed out by funsor."""
    dims = [0]

    def run(data):
        for name, site in traced(density, data, SubsampledRows()).items():
            if site["type"] == "sample":
                refuse_undeclared(name, site)
                dims.extend(-frame.dim for frame in site["cond_indep_stack"])
        return ()

    abstractly(run, data)
    return EliminatedModel(first_configuration(density.model, discrete), density.structure, density.static, max(dims))


def refuse_undeclared(name: str, site: dict) -> None:
    """Refuse axes of independent entries that no plate declares.

    Funsor could not tell them from those of listed values.
    """
    fn = site["fn"]
    shape = jnp.broadcast_shapes(fn.batch_shape, jnp.shape(site["value"])[: jnp.ndim(site["value"]) - fn.event_dim])
    declared = {frame.dim for frame in site["cond_indep_stack"]}
    if site.get("_control_flow_done"):
        declared.add(-len(shape))  # the steps of a scan
    undeclared = [dim for dim in range(-len(shape), 0) if shape[dim] > 1 and dim not in declared]
    if undeclared:
        raise ModelError(
            f"Axis {undeclared[0]} of site '{name}', of shape {shape}, belongs to no plate. To sum the discrete sites "
            f"out along plates, all of them must be declared: put '{name}' into a numpyro.plate, or make the axis part "
            f"of one event (.to_event)."
        )
