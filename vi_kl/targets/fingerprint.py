"""The fingerprint of a target: its sites, its data, its log density at several points, and its programs.

Two targets with one fingerprint are the same posterior for every practical purpose. The names of the programs, which
all that is computed goes into, are compared where they were traced by the same versions of everything; elsewhere the
log densities have to do, so that a fit can be loaded by a later version.
"""

import hashlib

import jax
import numpy as np

from vi_kl.core.precision import in_float64
from vi_kl.core.programs.callbacks import has_callbacks
from vi_kl.core.versions import versions
from vi_kl.targets.target import Target, value_and_grad_batch

HASHED_AT_ONCE = 2**20  # numbers
SAME = 1e-9  # relative difference of log densities that other hardware and versions may make
SAME_IN_FLOAT32 = 1e-4  # the same, of log densities whose terms are computed in 32 bits


@in_float64
def fingerprint(target: Target) -> dict:
    """Return a description of the target, made of plain values."""
    return {
        "model": str(target.density),
        "dtype": target.dtype,
        "sites": site_list(target),
        "data": [describe_leaf(leaf) for leaf in jax.tree.leaves(target.density.split(target.data)[0])],
        "constants": {name: describe_leaf(value) for name, value in target.density.constant_arguments.items()},
        "closed_over": [describe_leaf(leaf) for leaf in target.closed_over],
        "num_rows": target.density.num_rows if target.density.is_streamed else None,
        "programs": programs_of(target),
        "log_density": value_and_grad_batch(target, points(target.dim))[0].tolist(),
    }


def points(dim: int) -> np.ndarray:
    """Return the origin, and points at many distances from it."""
    distances = [0.1, 1.0, *np.geomspace(0.03, 100, 21)]  # the first two are all that older files have
    noise = np.random.default_rng(20231).normal(size=(len(distances), dim))
    return np.concatenate([np.zeros((1, dim)), noise * np.array(distances)[:, None]])


def programs_of(target: Target) -> dict | None:
    """Return the names of the programs and the versions that they are of; None where no program shows what it does."""
    found = [(name, program) for name, program, _ in target.density.programs]
    if not found or any(has_callbacks(program.operations) for _, program in found):
        return None
    return {"versions": [list(each) for each in versions()], "names": [[name, program.name] for name, program in found]}


def describe_leaf(leaf) -> list:
    """Return the shape and type of an array, and a hash of its contents.

    Numbers count as the 64 bits that a model sees of them, and so alike in whatever type they are kept.
    """
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.ascontiguousarray(leaf)
    wide = np.dtype({"f": np.float64, "i": np.int64, "u": np.int64}.get(array.dtype.kind, array.dtype))
    contents, flat = hashlib.sha256(), array.reshape(-1)
    for first in range(0, len(flat), HASHED_AT_ONCE):
        contents.update(flat[first : first + HASHED_AT_ONCE].astype(wide).tobytes())
    return [list(np.shape(leaf)), wide.str, contents.hexdigest()]


def differences_of_dtype(saved: str, new: str) -> list[str]:
    return [] if saved == new else [f"the log density was computed in {saved} then and is in {new} now"]


def differences(saved: dict, new: dict) -> list[str]:
    """Say how the target of a new fingerprint differs from that of a saved one; return an empty list if it does not."""
    return (
        differences_of_dtype(saved.get("dtype", "float64"), new["dtype"])
        or differences_of_sites(saved["sites"], new["sites"])
        or differences_of_data(saved, new)
        or differences_of_model(saved, new)
    )


def differences_of_sites(saved: list, new: list) -> list[str]:
    before, now = ({name: shape for name, *shape in sites} for sites in (saved, new))
    return [
        f"site '{name}' {in_words(before.get(name))} then and {in_words(now.get(name))} now"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def differences_of_data(saved: dict, new: dict) -> list[str]:
    found = []
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
    return found


def differences_of_model(saved: dict, new: dict) -> list[str]:
    """Say how models of the same sites and data differ: in their log densities, or in how these are computed."""
    closed_over = saved.get("closed_over", new["closed_over"]) != new["closed_over"]
    reason = "the arrays that the model closes over hold other numbers" if closed_over else "the model has changed"
    before, now = saved["log_density"], new["log_density"][: len(saved["log_density"])]
    near = SAME if new["dtype"] == "float64" else SAME_IN_FLOAT32
    same = np.isclose(before, now, rtol=near, atol=near, equal_nan=True)
    if not same.all():
        where = int(np.argmin(same))
        place = "at z = 0" if where == 0 else f"at point {where} of those that are looked at"
        return [
            f"the sites and the data are the same, but the log density {place} was {before[where]:.10g} then and is "
            f"{now[where]:.10g} now: {reason}"
        ]
    if closed_over or are_other_programs(saved.get("programs"), new["programs"]):
        return [
            f"the sites and the data are the same, and the log density at {len(before)} points, but not all that it "
            f"is computed from: {reason}"
        ]
    return []


def are_other_programs(saved: dict | None, new: dict | None) -> bool:
    """Return whether two lists of programs differ that were traced by the same versions of everything."""
    return bool(saved and new) and saved["versions"] == new["versions"] and saved["names"] != new["names"]


def site_list(target: Target) -> list:
    return [[site.name, list(site.shape), list(site.unconstrained_shape)] for site in target.sites]


def in_words(shapes) -> str:
    return "was absent" if shapes is None else f"had shape {tuple(shapes[0])}"
