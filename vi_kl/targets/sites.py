"""The latent sites of a posterior, and where the flat vector z holds them."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vi_kl.core.annotations import AnyArray, Sites


@dataclasses.dataclass(frozen=True)
class Site:
    """One latent variable: its name, its shape in the model, and its shape when unconstrained."""

    name: str
    shape: tuple[int, ...]
    unconstrained_shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.unconstrained_shape)


def sites_in_words(sites: tuple[Site, ...]) -> str:
    """Return the names of sites with the shapes of their arrays: "mu, theta[8]"."""
    return ", ".join(f"{site.name}{list(site.shape) or ''}" for site in sites)


def unconstrained_shapes(sites: tuple[Site, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shape and type of each site's unconstrained array."""
    return {site.name: jax.ShapeDtypeStruct(site.unconstrained_shape, float) for site in sites}


def constrained_shapes(sites: tuple[Site, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shape and type of each site's array in the model."""
    return {site.name: jax.ShapeDtypeStruct(site.shape, float) for site in sites}


def unravel(sites: tuple[Site, ...], z: Float[AnyArray, " dim"]) -> Sites:
    """Return {site: unconstrained array} of one z."""
    ends = np.cumsum([site.size for site in sites])
    parts = jnp.split(z, ends[:-1])
    return {site.name: part.reshape(site.unconstrained_shape) for site, part in zip(sites, parts, strict=True)}


def ravel(sites: tuple[Site, ...], values: Mapping[str, Any]) -> Float[Array, " dim"]:
    """Return the z of {site: unconstrained array}."""
    return jnp.concatenate([jnp.ravel(values[site.name]) for site in sites])
