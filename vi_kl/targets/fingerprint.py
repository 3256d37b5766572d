"""The fingerprint of a target: its sites, its data, and its log density at three points.

Two targets with one fingerprint are the same posterior for every practical purpose. Unlike the names of cache entries
it does not depend on versions or on source code, so a fit can be loaded by a later program.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.core.precision import in_float64
from vi_kl.targets.target import Target, value_and_grad

SAME = 1e-9  # relative difference of log densities that other hardware and versions may make


@in_float64
def fingerprint(target: Target) -> dict:
    """Return a description of the target, made of plain values."""
    return {
        "model": str(target.density),
        "sites": site_list(target),
        "data": [describe_leaf(leaf) for leaf in jax.tree.leaves(target.density.split(target.data)[0])],
        "constants": {name: describe_leaf(value) for name, value in target.density.constant_arguments.items()},
        "closed_over": [describe_leaf(leaf) for leaf in target.closed_over],
        "log_density": [float(value_and_grad(target, jnp.asarray(z))[0]) for z in points(target.dim)],
    }


def points(dim: int) -> np.ndarray:
    """Return the origin, and two points, one near it and one farther away."""
    noise = np.random.default_rng(20231).normal(size=(2, dim))
    return np.concatenate([np.zeros((1, dim)), noise * [[0.1], [1.0]]])


def describe_leaf(leaf) -> list:
    """Return the shape and type of an array, and a hash of its contents."""
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.ascontiguousarray(leaf)
    return [list(np.shape(leaf)), array.dtype.str, hashlib.sha256(array.tobytes()).hexdigest()]


def differences(saved: dict, target: Target) -> list[str]:
    """Say how the target differs from the one that was fingerprinted; return an empty list if it does not."""
    found = []
    before, now = ({name: shape for name, *shape in sites} for sites in (saved["sites"], site_list(target)))
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            found.append(f"site '{name}' {in_words(before.get(name))} then and {in_words(now.get(name))} now")
    if found:
        return found
    new = fingerprint(target)
    if len(saved["data"]) != len(new["data"]):
        found.append(f"the data were {len(saved['data'])} arrays then and are {len(new['data'])} now")
    for i, (old_leaf, new_leaf) in enumerate(zip(saved["data"], new["data"], strict=False)):
        if old_leaf[:2] != new_leaf[:2]:
            found.append(f"data array {i} was {old_leaf[1]}{old_leaf[0]} then and is {new_leaf[1]}{new_leaf[0]} now")
        elif old_leaf != new_leaf:
            found.append(f"data array {i}, of shape {tuple(new_leaf[0])}, holds other numbers now")
    for name, old_leaf in saved.get("constants", {}).items():
        if new["constants"].get(name, old_leaf) != old_leaf:
            found.append(f"argument '{name}' holds other numbers now")
    if not found and not np.allclose(saved["log_density"], new["log_density"], rtol=SAME, atol=SAME, equal_nan=True):
        changed = saved.get("closed_over", new["closed_over"]) != new["closed_over"]
        found.append(
            f"the sites and the data are the same, but the log density at z = 0 was {saved['log_density'][0]:.10g} "
            f"then and is {new['log_density'][0]:.10g} now: "
            + ("the arrays that the model closes over hold other numbers" if changed else "the model has changed")
        )
    return found


def site_list(target: Target) -> list:
    return [[site.name, list(site.shape), list(site.unconstrained_shape)] for site in target.sites]


def in_words(shapes) -> str:
    return "was absent" if shapes is None else f"had shape {tuple(shapes[0])}"
