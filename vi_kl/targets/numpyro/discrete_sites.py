"""Discrete latent sites: their values, their joint configurations, and how these are summed out.

Up to `MOST_CONFIGURATIONS` they are listed one by one (`enumerated_model`); where there are more, funsor sums them
along the model's plates (`variable_elimination`), if it is installed.
"""

import dataclasses
import importlib.util
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from vi_kl.core.errors import ModelError

MOST_CONFIGURATIONS = 4096


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


def number_of_configurations(discrete) -> int:
    return math.prod(site.num_values**site.num_entries for site in discrete)


def has_funsor() -> bool:
    return importlib.util.find_spec("funsor") is not None


def are_summed_along_plates(discrete) -> bool:
    """Whether there are too many configurations to list them, and funsor to sum them out without."""
    return number_of_configurations(discrete) > MOST_CONFIGURATIONS and has_funsor()


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


def first_configuration(model: Callable, discrete: list[DiscreteSite]) -> FirstConfiguration:
    return FirstConfiguration(model, tuple(sorted(discrete, key=lambda site: site.name)))
