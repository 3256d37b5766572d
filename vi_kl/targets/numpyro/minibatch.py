"""Subsampling plates of a NumPyro model: its log density from some of their rows.

In the model, prefer `numpyro.subsample(y, event_dim=0)` to `y[rows]`: where all rows are asked for it hands out y
itself, while `y[rows]` copies it, and over several devices (`target.shard`) sends the rows around.
"""

import dataclasses
import inspect
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.infer.util import potential_energy, unconstrain_fn

from vi_kl.core.compilation import compiled
from vi_kl.core.errors import ModelError
from vi_kl.targets.constant_arguments import value_of
from vi_kl.targets.numpyro.forward import written
from vi_kl.targets.numpyro.model import NumPyroModel, constrained, names_of_arguments
from vi_kl.targets.numpyro.plates import AllRows, Plate, SubsampledRows, rows_shapes
from vi_kl.targets.sites import Site, constrained_shapes, unconstrained_shapes, unravel


@dataclasses.dataclass(frozen=True, eq=False)
class SubsampledModel(NumPyroModel):
    """A model with subsampling plates. Its own density is that of all rows.

    Attributes:
        model: the model with whole plates.
        plates: those that subsample.
        axes: an entry for each latent site inside such a plate, (site, ((plate, axis of its unconstrained array),
            ...)).
    """

    plates: tuple[Plate, ...]
    axes: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]

    def taken(self, sites, rows) -> dict:
        """Return the sites of some rows, {plate: indices}, out of those of all rows; constrained ones, or not."""
        sites = dict(sites)
        for name, axes in self.axes:
            for plate, axis in axes:
                sites[name] = jnp.take(sites[name], rows[plate], axis)
        return sites

    def sites_of_rows(self, sites: tuple[Site, ...]) -> tuple[Site, ...]:
        """Return the sites of a minibatch alone."""
        batch, axes_of = {plate.name: plate.batch for plate in self.plates}, dict(self.axes)

        def cut(site: Site) -> Site:
            shape, unconstrained = list(site.shape), list(site.unconstrained_shape)
            for plate, axis in axes_of.get(site.name, ()):
                shape[axis] = unconstrained[axis] = batch[plate]
            return Site(site.name, tuple(shape), tuple(unconstrained))

        return tuple(map(cut, sites))

    def of_rows(self, rows) -> Callable:
        """Return the model, as it is run with these rows."""
        return numpyro.handlers.seed(SubsampledRows(self.model.function, rows), 0)

    @property
    def capabilities(self):
        return super().capabilities | {"minibatches"}

    def minibatch(self, data, sites, rows):
        return self.minibatch_of_own(data, self.taken(sites, rows), rows)

    def minibatch_of_own(self, data, sites, rows):
        return self.run("minibatch", data, sites, rows)

    def constrain_own(self, data, sites, rows):
        return self.run("constrain_own", data, sites, rows)

    def unconstrain_own(self, data, sites, rows):
        return self.run("unconstrain_own", data, sites, rows)

    def model_minibatch(self, data, sites, rows):
        """Estimate the log density from these rows, at their own sites."""
        args, kwargs = self.arguments(data)
        return -potential_energy(self.of_rows(rows), args, kwargs, sites)

    def model_constrain_own(self, data, sites, rows):
        """Constrain the sites of these rows; the log determinant is scaled up to all rows, as the density is."""
        args, kwargs = self.arguments(data)
        weights = {plate.name: plate.size / plate.batch for plate in self.plates}
        return constrained(self.of_rows(rows), args, kwargs, sites, weights)

    def model_unconstrain_own(self, data, sites, rows):
        args, kwargs = self.arguments(data)
        return unconstrain_fn(self.of_rows(rows), args, kwargs, sites)

    def model_row_log_probs(self, data, sites, rows) -> tuple[dict, dict]:
        """Return the log probability of each of these rows, by site, in a run with all rows and in one with these."""
        args, kwargs = self.arguments(data)

        def run(rows):
            model = numpyro.handlers.trace(self.of_rows(rows))
            potential_energy(model, args, kwargs, self.taken(sites, rows))
            return {name: site for name, site in model.trace.items() if site["type"] == "sample"}

        def log_prob(site):
            return jnp.broadcast_to(site["fn"].log_prob(site["value"]), site["fn"].batch_shape)

        full = {}
        for name, site in run({plate.name: jnp.arange(plate.size) for plate in self.plates}).items():
            full[name] = log_prob(site)
            for frame in site["cond_indep_stack"]:
                if frame.name in rows:
                    full[name] = jnp.take(full[name], rows[frame.name], frame.dim)
        return full, {name: log_prob(site) for name, site in run(rows).items()}

    def programs_to_capture(self, sites):
        z, own = unconstrained_shapes(sites), self.sites_of_rows(sites)
        rows = rows_shapes(self.plates)
        return {
            **super().programs_to_capture(sites),
            "minibatch": (unconstrained_shapes(own), rows),
            "constrain_own": (unconstrained_shapes(own), rows),
            "unconstrain_own": (constrained_shapes(own), rows),
            "row_log_probs": (z, rows),
        }

    def explain_failure(self, name: str, error: Exception) -> Exception:
        of_rows = ("minibatch", "constrain_own", "unconstrain_own", "row_log_probs")
        if name not in of_rows or not isinstance(error, ValueError | TypeError | IndexError):
            return error
        plates = ", ".join(f"'{p.name}' with {p.batch} of {p.size} rows" for p in self.plates)
        return ModelError(
            f"The model does not run on a minibatch (plate {plates}): {error} Inside a subsampling plate, index every "
            f"array of its rows by the indices that the plate gives (with numpyro.plate(...) as rows: ... y[rows]), "
            f"or write the plate without subsample_size."
        )


def subsampled(density: NumPyroModel, plates: tuple[Plate, ...], axes: tuple) -> SubsampledModel:
    """Return the density of all rows, with what minibatches of it need."""
    return SubsampledModel(AllRows(density.model), density.structure, density.static, plates, axes)


def refuse_more_than_all(density: NumPyroModel, plates: tuple[Plate, ...]) -> None:
    """Refuse a plate whose minibatches would have more rows than there are; the message names the argument to change.

    Raises:
        ModelError: there is one.
    """
    for plate in plates:
        if plate.batch > plate.size:
            found = arguments_with(density, plate.batch)
            mend = " or ".join(f"{name}=None" for name in found) or "write subsample_size=None there"
            raise ModelError(
                f"Plate '{plate.name}' of '{density}' asks for minibatches of {plate.batch} rows (subsample_size), and "
                f"there are only {plate.size}: {'pass ' if found else ''}{mend} for all rows at once, or a number up "
                f"to {plate.size}."
            )


def arguments_with(density: NumPyroModel, number: int) -> list[str]:
    """Return the names of the model's arguments that are this whole number, given or by default."""
    given = dict(zip(names_of_arguments(density), map(value_of, density.static), strict=True))
    try:
        parameters = inspect.signature(written(density.model)).parameters
    except (TypeError, ValueError):  # of a model that does not tell its arguments
        parameters = {}
    held = {name: parameter.default for name, parameter in parameters.items()} | given
    return [name for name, value in held.items() if type(value) is int and value == number]


def refuse_biased(density: SubsampledModel, data, sites: tuple[Site, ...]) -> None:
    """Refuse a model whose rows look at one another: no minibatch of it estimates the sum over all rows.

    At a random z, every row's log probability must be the same whether the other rows are there or not.
    """
    generator = np.random.default_rng(0)
    z = generator.uniform(-1, 1, sum(site.size for site in sites))
    rows = {p.name: np.sort(generator.choice(p.size, p.batch, replace=False)) for p in density.plates}
    full, part = row_log_probs(data, z, rows, density, sites)
    for name in full:
        if not same(full[name], part[name]):
            site = name.removeprefix("_").removesuffix("_log_det")
            raise ModelError(
                f"The log probability of site '{site}' depends on which other rows of a subsampling plate are in the "
                f"minibatch, so that minibatches cannot estimate it. Let each row use its own data and latent values "
                f"only, inside the plate, or write the plate without subsample_size."
            )


def same(a, b) -> bool:
    """Return whether two arrays are equal to rounding."""
    return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-7, atol=1e-9, equal_nan=True)


@compiled(static=("density", "sites"), unoptimized=True)
def row_log_probs(data, z, rows: dict, density: SubsampledModel, sites: tuple[Site, ...]) -> tuple[dict, dict]:
    """Return the log probability of each of these rows, by site, in a run with all rows and in one with these only."""
    return density.run("row_log_probs", data, unravel(sites, z), rows)
