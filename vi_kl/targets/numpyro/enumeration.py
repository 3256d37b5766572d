"""Discrete latent sites summed out by enumeration.

A model whose discrete latent sites have, together, a few thousand joint configurations at most is a target over its
continuous sites alone: the density of z is the sum over all configurations, each of them one run of the model with
the discrete sites filled in. Nothing needs marking in the model, and any dependence between the sites is allowed.

    target = Target.from_numpyro(model, y)            # z holds the continuous sites
    discrete_posterior(target, z)                     # probabilities of the discrete ones, given z

A site of n entries with K values each has K^n configurations, also where its entries are independent given z: there
`numpyro.distributions.MixtureSameFamily` sums each entry out by itself, at the cost of K n, and so does `eliminated`
with the extra `vi_kl[enum]`.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import ArrayLike, Float
from numpyro.infer.util import potential_energy

from vi_kl.core.compilation import compiled, tracing
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.precision import in_float64
from vi_kl.targets.numpyro.model import ModelError, NumPyroModel
from vi_kl.targets.target import Target, in_chunks

MOST_CONFIGURATIONS = 4096
BLOCK = 64  # configurations evaluated at once: memory grows with it


@dataclasses.dataclass(frozen=True)
class DiscreteSite:
    """A latent site with finitely many values.

    Attributes:
        name: the site's name.
        batch_shape: the shape of its independent entries, each of which takes one of the values.
        support: the values, as nested tuples, (K, *shape of one value).
    """

    name: str
    batch_shape: tuple[int, ...]
    support: tuple

    @property
    def num_values(self) -> int:
        return len(self.support)

    @property
    def num_entries(self) -> int:
        return math.prod(self.batch_shape)

    def values(self, index):
        """Return values of the whole site from indices into the support, (..., number of entries)."""
        index = index.reshape((*index.shape[:-1], *self.batch_shape))
        return jnp.asarray(np.array(self.support))[index]


@dataclasses.dataclass(frozen=True)
class FirstConfiguration:
    """A model with its discrete latent sites fixed to their first values, which leaves the continuous ones.

    It has the continuous sites' names, shapes and supports, and so serves where those are asked for (the change of
    variables, automatic guides).
    """

    full: Callable
    discrete: tuple[DiscreteSite, ...]

    def __call__(self, *args, **kwargs):
        first = {site.name: site.values(np.zeros(site.num_entries, int)) for site in self.discrete}
        return numpyro.handlers.condition(self.full, data=first)(*args, **kwargs)

    @property
    def __name__(self):
        return getattr(self.full, "__name__", type(self.full).__name__)


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

    def programs_to_capture(self, sites):
        row = jax.ShapeDtypeStruct((sum(site.num_entries for site in self.discrete),), int)
        z, *_ = (shapes := super().programs_to_capture(sites)).pop("log_density")
        return {"log_joint": (z, row), **shapes}

    def __str__(self):
        return self.model.__name__


def configurations(discrete) -> np.ndarray:
    """Return every joint configuration, as rows of indices into the supports of the entries of all sites."""
    sizes = [site.num_values for site in discrete for _ in range(site.num_entries)]
    return np.indices(sizes).reshape(len(sizes), -1).T


def by_site(discrete, rows) -> dict:
    """Return the columns of `configurations` that belong to each site, {site: columns}."""
    ends = np.cumsum([site.num_entries for site in discrete])
    return {site: rows[..., end - site.num_entries : end] for site, end in zip(discrete, ends, strict=True)}


def fill(discrete, rows) -> dict:
    """Return the values of one configuration, or of many along the first axis, {site name: values}."""
    return {site.name: site.values(columns) for site, columns in by_site(discrete, rows).items()}


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


def discrete_site(name: str, site: dict) -> DiscreteSite:
    """Return what is needed to enumerate a traced latent site.

    Raises:
        ModelError: It cannot be enumerated; the message names the site.
    """
    fn = site["fn"]
    shape = tuple(jnp.shape(site["value"]))
    if site["scale"] is not None:
        raise ModelError(
            f"Discrete latent site '{name}' stands under numpyro.handlers.scale, so its probabilities do not add up "
            f"to one and cannot be summed out. Take it out of the handler."
        )
    kind = type(fn).__name__
    while isinstance(fn, dist.Independent | dist.ExpandedDistribution | dist.MaskedDistribution):
        fn, kind = fn.base_dist, type(fn.base_dist).__name__
    if not fn.has_enumerate_support:
        raise ModelError(
            f"Latent site '{name}' is discrete ({kind}) and its values cannot be listed, for it has infinitely or too "
            f"many. Bound it (for example a Categorical over 0, ..., n), or sum it out in the model (for example "
            f"with MixtureSameFamily)."
        )
    try:
        with jax.ensure_compile_time_eval():
            values = np.asarray(fn.enumerate_support(expand=False))
    except (jax.errors.JAXTypeError, NotImplementedError) as error:
        raise ModelError(
            f"The values of discrete latent site '{name}' ({kind}) depend on an array or another latent site, or "
            f"differ between its entries; to be listed they must be the same Python numbers for every entry. "
            f"Pass bounds and counts as Python ints."
        ) from error
    event = fn.event_shape
    support = values.reshape(len(values), *event)
    return DiscreteSite(name, shape[: len(shape) - len(event)], nested_tuple(support.tolist()))


def nested_tuple(x):
    return tuple(map(nested_tuple, x)) if isinstance(x, list) else x


def number_of_configurations(discrete) -> int:
    return math.prod(site.num_values**site.num_entries for site in discrete)


def refuse_too_many(discrete) -> None:
    count = number_of_configurations(discrete)
    if count > MOST_CONFIGURATIONS:
        each = ", ".join(
            f"'{s.name}' {s.num_values}" + (f"^{s.num_entries}" if s.num_entries != 1 else "") for s in discrete
        )
        shown = f"{count:,}" if count < 10**15 else f"10^{math.log10(count):.0f}"
        raise ModelError(
            f"The discrete latent sites have {shown} joint configurations ({each}); up to {MOST_CONFIGURATIONS:,} are "
            f"summed out by enumeration. Where a site's entries are independent given the others, sum each out by "
            f"itself in the model (for example with MixtureSameFamily), or let funsor sum along plates and Markov "
            f'chains: pip install "vi_kl[enum]".'
        )


def enumerated(density: NumPyroModel, discrete: list[DiscreteSite]) -> EnumeratedModel:
    """Return the model with these discrete sites summed out."""
    refuse_too_many(discrete)
    return EnumeratedModel(first_configuration(density, discrete), density.structure, density.static)


def first_configuration(density: NumPyroModel, discrete: list[DiscreteSite]) -> FirstConfiguration:
    return FirstConfiguration(density.model, tuple(sorted(discrete, key=lambda site: site.name)))


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


@in_float64
def discrete_posterior(target: Target, z: Float[ArrayLike, "*n dim"]) -> Mapping[str, np.ndarray]:
    """Return the posterior probabilities of the discrete sites' values at given z.

    Args:
        target: a target that `Target.from_numpyro` made from a model with discrete latent sites.
        z: draws of an approximation or of the posterior, for example, (n, dim); or one z, (dim,).

    Returns:
        {site: (n, *shape of the site's entries, K)}: p(entry = its k-th value | z, data). Averaged over draws of
        the posterior of z they are the posterior probabilities. `discrete_support(target)` has the values.

    Raises:
        ValueError: the target has no discrete sites.
    """
    density = enumerated_density(target)
    z = np.asarray(target.checked(z))
    rows = z.reshape(-1, target.dim)
    one_hot = [
        (columns[:, :, None] == np.arange(site.num_values)).reshape(len(columns), -1).astype(float)
        for site, columns in by_site(density.discrete, configurations(density.discrete)).items()
    ]
    found = in_chunks(lambda piece: marginals_batch(target, piece, tuple(one_hot)), rows)
    return {
        site.name: x.reshape(*z.shape[:-1], *site.batch_shape, site.num_values)
        for site, x in zip(density.discrete, found, strict=True)
    }


def discrete_support(target: Target) -> dict[str, np.ndarray]:
    """Return the possible values of each discrete site, in the order of `discrete_posterior`'s last axis."""
    return {site.name: np.array(site.support) for site in enumerated_density(target).discrete}


def enumerated_density(target: Target) -> EnumeratedModel:
    if target.density.offers("configurations"):
        return target.density
    if target.density.discrete:
        raise UnsuitableError(
            f"The discrete sites of {target} have too many joint configurations to list them one by one."
        )
    raise UnsuitableError(f"{target} has no discrete latent sites.")


@compiled(unoptimized=True)
def marginals_batch(target: Target, z, one_hot):
    """Return, for each z and each site, the probabilities of its entries' values, flattened."""
    table = configurations(target.density.discrete)

    def one(z):
        sites = target.unravel(z)
        logs = jax.lax.map(lambda row: target.density.log_joint(target.data, sites, row), jnp.asarray(table))
        return tuple(jax.nn.softmax(logs) @ matrix for matrix in one_hot)

    return jax.lax.map(one, z, batch_size=BLOCK)
