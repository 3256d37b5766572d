"""A cache on disk for reference runs, so that a comparison pays for each run once.

An entry's name is a hash of everything that the numbers depend on:

- the programs that were traced of the model or log density: all that it computes, whatever it was written with;
- the data: type, shape and bytes of every array, with those that the model closes over;
- the settings and the key;
- the versions of Python, jax, numpyro, numpy, scipy and vi_kl, vi_kl's own source for targets and references, and the
  kind of device.

A density that is computed outside JAX, by objects of installed packages that nobody can look into, has another name in
every process.

Entries are npz files without pickle, written to a temporary file and moved into place, so that an interrupted
write leaves nothing. A file that cannot be read is as good as none, and is replaced.
"""

import functools
import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from vi_kl.core.array_files import ArchiveError, ArrayFile, write_arrays
from vi_kl.core.versions import versions
from vi_kl.targets.fingerprint import describe_leaf
from vi_kl.targets.target import Target

MOST_ARRAYS = 100  # of an entry; a file of more is none of ours


def cached(folder: Path | None, name: str, compute: Callable[[], Mapping], needs: tuple[str, ...]) -> dict:
    """Return the arrays stored under `name`, or those of `compute`, which are then stored.

    Args:
        folder: the folder of the cache; None to compute without storing.
        name: the entry's name.
        compute: a function that returns {name: array of numbers, or a string}.
        needs: the arrays without which an entry counts as damaged.
    """
    if folder is None:
        return dict(compute())
    found = load(folder, name, needs)
    if found is None:
        found = {key: np.asarray(value) for key, value in compute().items()}
        store(folder, name, found)
    return found


def load(folder: Path, name: str, needs: tuple[str, ...] = ()) -> dict | None:
    """Return the arrays of an entry; None if there is none that can be read whole."""
    try:
        with ArrayFile(folder / f"{name}.npz") as file:
            names = file.names
            if not set(needs) <= set(names) or len(names) > MOST_ARRAYS:
                return None
            return {key: file[key] for key in names}
    except (ArchiveError, OSError):
        return None


def store(folder: Path, name: str, arrays: Mapping) -> None:
    """Write an entry; a folder that cannot be written to causes a warning, and no error."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_arrays(folder / f"{name}.npz", arrays)
    except OSError as error:
        warnings.warn(f"The reference run was not cached: {error}.", stacklevel=2)


# The name of an entry ------------------------------------------------------------------------------------------


def fingerprint(target: Target, settings, key) -> str:
    """Name the entry of a target, by a hash of its programs, its data, the settings, the key and what computes them.

    Args:
        target: the target of the reference run.
        settings: the settings, whose `repr` has all that matters.
        key: a JAX random key.
    """
    parts = {
        "versions": versions(),
        "source": own_source(),
        "device": jax.default_backend(),
        "programs": [(name, program.name, places) for name, program, places in target.density.programs],
        "sites": [(site.name, site.shape, site.unconstrained_shape) for site in target.sites],
        "data": [describe_leaf(leaf) for leaf in jax.tree.leaves(target.data)],
        "settings": repr(settings),
        "key": (str(jax.random.key_impl(key)), np.asarray(jax.random.key_data(key)).tolist()),
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


@functools.cache
def own_source() -> str:
    """Hash the files that targets and references are made by."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in own_files())).hexdigest()


@functools.cache
def own_files() -> tuple[Path, ...]:
    root = Path(__file__).parent.parent
    return tuple(sorted(file for part in ("core", "targets", "reference") for file in (root / part).rglob("*.py")))
