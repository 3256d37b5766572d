"""Minibatches: an unbiased estimate of the log density from some rows of the model's subsampling plates.

Requires a target made from a NumPyro model with plates that subsample (`numpyro.plate(name, N, subsample_size=B)`);
`target.subsampled` tells. The target itself is the posterior given all rows, and certificates are computed with it.
Use the estimate where noise does no harm and rows are many: stochastic optimisation.

    log p(z, data) ~ log p(global) + N / B * sum over B rows of log p(row, its latent variables | global)

In the model, prefer `numpyro.subsample(y, event_dim=0)` to `y[rows]`: where all rows are asked for it hands out y
itself, while `y[rows]` copies it, and over several devices (`target.shard`) sends the rows around.

z is that of the full target: the latent variables of all rows, of which those of the drawn rows are looked at.

Reference: Hoffman, Blei, Wang & Paisley (2013), Stochastic variational inference, section 2.3.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.infer.util import potential_energy

from vi_kl.core.compilation import compiled
from vi_kl.targets.arguments import of_a_target
from vi_kl.targets.numpyro.inspection import ModelError
from vi_kl.targets.numpyro.model import NumPyroModel, unconstrained_shapes
from vi_kl.targets.numpyro.plates import AllRows, Plate, SubsampledRows
from vi_kl.targets.target import Target


@dataclasses.dataclass(frozen=True, eq=False)
class SubsampledModel(NumPyroModel):
    """A model with subsampling plates. Its own density is that of all rows.

    Attributes:
        model: the model with whole plates.
        plates: those that subsample.
        axes: for each latent site inside such a plate, (site, ((plate, axis of its unconstrained array), ...)).
    """

    plates: tuple[Plate, ...]
    axes: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]

    def some_rows(self, data, sites, rows) -> tuple:
        """Arguments of `potential_energy` for the given rows of each plate, {plate: indices}."""
        sites = dict(sites)
        for name, axes in self.axes:
            for plate, axis in axes:
                sites[name] = jnp.take(sites[name], rows[plate], axis)
        args, kwargs = self.arguments(data)
        model = SubsampledRows(self.model.function, rows)
        return numpyro.handlers.seed(model, 0), args, kwargs, sites

    def model_minibatch(self, data, sites, rows):
        """The estimate of the log density from these rows."""
        model, args, kwargs, sites = self.some_rows(data, sites, rows)
        return -potential_energy(model, args, kwargs, sites)

    def model_row_log_probs(self, data, sites, rows) -> tuple[dict, dict]:
        """{site: log probability of each of these rows}, in a run with all rows and in one with these only."""

        def run(rows):
            model, args, kwargs, z = self.some_rows(data, sites, rows)
            model = numpyro.handlers.trace(model)
            potential_energy(model, args, kwargs, z)
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
        z = unconstrained_shapes(sites)
        rows = {plate.name: jax.ShapeDtypeStruct((plate.batch,), int) for plate in self.plates}
        return {**super().programs_to_capture(sites), "minibatch": (z, rows), "row_log_probs": (z, rows)}

    def explain_failure(self, name: str, error: Exception) -> Exception:
        if name not in ("minibatch", "row_log_probs") or not isinstance(error, ValueError | TypeError | IndexError):
            return error
        plates = ", ".join(f"'{p.name}' with {p.batch} of {p.size} rows" for p in self.plates)
        return ModelError(
            f"The model does not run on a minibatch (plate {plates}): {error} Inside a subsampling plate, index every "
            f"array of its rows by the indices that the plate gives (with numpyro.plate(...) as rows: ... y[rows]), "
            f"or write the plate without subsample_size."
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Minibatch(NumPyroModel):
    """The estimate for drawn rows; data is (the full model's data, {plate: indices})."""

    full: SubsampledModel

    def arguments(self, data):
        return self.full.arguments(data[0])

    def split(self, data):
        return self.full.split(data[0])

    def complete(self, data):
        return data

    def log_density(self, data, sites):
        return self.full.run("minibatch", data[0], sites, data[1])

    def constrain(self, data, sites):
        return self.full.constrain(data[0], sites)

    def unconstrain(self, data, sites):
        return self.full.unconstrain(data[0], sites)


@of_a_target
def minibatch(target: Target, key) -> Target:
    """A target whose log density estimates, without bias, that of `target` from a minibatch of its rows.

    Args:
        target: with subsampling plates.
        key: draws the rows, without replacement, `subsample_size` of each plate; may be traced.

    Returns:
        A Target over the same z. Its cost is that of B rows, not N.

    Raises:
        ValueError: the target has no subsampling plates.
    """
    if not target.subsampled:
        raise ValueError(
            f"{target} has no subsampling plates: write numpyro.plate(name, size, subsample_size=...) in the model."
        )
    plates = target.density.plates
    keys = jax.random.split(key, len(plates))
    return with_rows(target, {p.name: draw_rows(k, p.size, p.batch) for p, k in zip(plates, keys, strict=True)})


def with_rows(target: Target, rows: dict) -> Target:
    """The estimate from these rows, {plate: indices}."""
    full = target.density
    return Target(Minibatch(full.model, full.structure, full.static, full), (target.data, rows), target.sites)


def draw_rows(key, size: int, batch: int):
    """`batch` of `size` indices without replacement, every subset as likely as any other, at a cost of O(batch).

    Indices drawn with replacement, of which those that an earlier one equals are drawn again until none is left.
    The rule treats all indices alike, so all subsets are equally likely.
    """
    if 2 * batch > size:  # drawing again would take long, and O(size) is no more than O(batch)
        return jax.random.permutation(key, size)[:batch]

    def repeats(rows):
        order = jnp.argsort(rows, stable=True)
        again = jnp.concatenate([jnp.zeros(1, bool), jnp.diff(rows[order]) == 0])
        return jnp.zeros(batch, bool).at[order].set(again)

    def redraw(state):
        key, rows, again = state
        key, one = jax.random.split(key)
        rows = jnp.where(again, jax.random.randint(one, (batch,), 0, size), rows)
        return key, rows, repeats(rows)

    start = key, jnp.zeros(batch, int), jnp.ones(batch, bool)
    return jax.lax.while_loop(lambda state: state[2].any(), redraw, start)[1]


def subsampled(density: NumPyroModel, plates: tuple[Plate, ...], axes: tuple) -> SubsampledModel:
    """The density of all rows, and what minibatches of it need."""
    return SubsampledModel(AllRows(density.model), density.structure, density.static, plates, axes)


def refuse_biased(target: Target) -> None:
    """Refuse a model whose rows look at one another: no minibatch of it estimates the sum over all rows.

    At a random z, every row's log probability must be the same whether the other rows are there or not.
    """
    generator = np.random.default_rng(0)
    z = generator.uniform(-1, 1, target.dim)
    rows = {p.name: np.sort(generator.choice(p.size, p.batch, replace=False)) for p in target.density.plates}
    full, part = row_log_probs(target, z, rows)
    for name in full:
        if not same(full[name], part[name]):
            site = name.removeprefix("_").removesuffix("_log_det")
            raise ModelError(
                f"The log probability of site '{site}' depends on which other rows of a subsampling plate are in the "
                f"minibatch, so that minibatches cannot estimate it. Let each row use its own data and latent values "
                f"only, inside the plate, or write the plate without subsample_size."
            )


def same(a, b) -> bool:
    """Equal but for rounding."""
    return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-7, atol=1e-9, equal_nan=True)


@compiled(seldom=True)
def row_log_probs(target: Target, z, rows) -> tuple[dict, dict]:
    """{site: log probability of each of these rows}, in a run with all rows and in one with these only."""
    return target.density.run("row_log_probs", target.data, target.unravel(z), rows)
