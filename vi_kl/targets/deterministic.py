"""Quantities that a model computes from its sites by name, at many z at once."""

import jax
import numpy as np

from vi_kl.core.compilation import compiled
from vi_kl.core.precision import in_float64
from vi_kl.targets.price import values_at_once
from vi_kl.targets.target import Target, in_chunks

ROWS = 256  # draws at once: what a model computes may be as long as its data


@in_float64
def deterministic_sites(target: Target, z, key) -> dict[str, np.ndarray]:
    """Return what the target's source computes at z of shape (n, dim), {name: (n, ...)}; empty if nothing."""
    if not target.density.offers("deterministic"):
        return {}
    keys = jax.random.key_data(jax.random.split(key, len(z)))
    return in_chunks(lambda z, keys: computed_rows(target, z, keys), z, keys, size=values_at_once(target, ROWS))


@compiled(unoptimized=True)
def computed_rows(target: Target, z, keys) -> dict:
    def one(z, key):
        return target.density.computed(target.data, target.unravel(z), key)

    return jax.vmap(one)(z, keys)
