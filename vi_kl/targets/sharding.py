"""Data laid out over several devices, or several hosts: each holds some of the rows.

Requires data arrays whose first axis runs over rows and is divisible by the number of devices. Nothing else changes:
the target's data are arguments of every compiled program, so XLA divides the work and adds up the parts. Worth it
where one evaluation of the log density takes milliseconds or more; below that, talking costs more than it saves.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def is_sharded(leaf) -> bool:
    """Return whether an array lies on more than one device."""
    return isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer) and len(leaf.sharding.device_set) > 1


def shard_data(data, mesh: Mesh):
    """Shard every array along its first axis over the mesh's first axis if it divides; replicate it if it does not."""
    if not isinstance(mesh, Mesh):
        raise TypeError(
            f"mesh must be a jax.sharding.Mesh, as jax.make_mesh((4,), ('rows',)) makes one, not {type(mesh).__name__}."
        )
    axis, leaves = mesh.axis_names[0], jax.tree.leaves(data)
    devices = mesh.shape[axis]
    if not any(divides(devices, leaf) for leaf in leaves):
        lengths = [np.shape(leaf)[0] for leaf in leaves if np.ndim(leaf)]
        raise ValueError(
            f"No data array's first axis is divisible by {devices}, the number of devices along '{axis}': "
            f"{lengths}. Pad or drop rows, or use fewer devices."
        )
    mesh = automatic(mesh)
    return jax.tree.map(lambda leaf: lay_out(leaf, mesh, divides(devices, leaf)), data)


def divides(devices: int, leaf) -> bool:
    return np.ndim(leaf) > 0 and np.shape(leaf)[0] > 0 and np.shape(leaf)[0] % devices == 0


def automatic(mesh: Mesh) -> Mesh:
    """Return the mesh, where XLA decides how intermediate results are laid out: models do not say it."""
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))


def lay_out(leaf, mesh: Mesh, along_first: bool):
    """Put one array on the devices of the mesh; each process has all of it and keeps the part of its own devices."""
    sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names[0]) if along_first else PartitionSpec())
    if is_sharded(leaf):
        return jax.device_put(leaf, sharding)
    leaf = np.asarray(leaf)
    return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])


def on_automatic_mesh(leaf: jax.Array) -> jax.Array:
    """Return a sharded array where it lies, on a mesh where XLA decides how intermediate results are laid out."""
    if isinstance(leaf.sharding, NamedSharding) and isinstance(leaf.sharding.mesh, Mesh):
        return jax.device_put(leaf, NamedSharding(automatic(leaf.sharding.mesh), leaf.sharding.spec))
    return leaf


def holds_nan(leaf) -> bool:
    """Return whether a float array has a NaN in it, wherever it lies."""
    if leaf.dtype.kind != "f":
        return False
    return bool(jnp.isnan(leaf).any() if is_sharded(leaf) else np.isnan(leaf).any())
