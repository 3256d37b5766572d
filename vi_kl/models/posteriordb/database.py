"""The posterior database: data sets and reference draws, read from the folder that POSTERIORDB_PATH names."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np

VARIABLE = "POSTERIORDB_PATH"
HOW_TO_GET_IT = (
    f"posteriordb is the Stan developers' database of posteriors with reference draws "
    f"(https://github.com/stan-dev/posteriordb). Get a copy of it, and set the environment variable {VARIABLE} to "
    f"the folder of the copy, the one that holds `posterior_database`."
)


def database() -> Path:
    """Return the folder `posterior_database`.

    Raises:
        FileNotFoundError: POSTERIORDB_PATH is not set, or names a folder without it.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        raise FileNotFoundError(f"The environment variable {VARIABLE} is not set. {HOW_TO_GET_IT}")
    folder = Path(named) / "posterior_database"
    if not folder.is_dir():
        raise FileNotFoundError(f"{VARIABLE} is {named!r}, where there is no `posterior_database`. {HOW_TO_GET_IT}")
    return folder


def read_entry(full_name: str) -> dict:
    """Return the database's entry for one posterior: the names of its data and of its reference draws."""
    path = existing(database() / "posteriors" / f"{full_name}.json", full_name)
    return json.loads(path.read_text(encoding="utf-8"))


def read_data(full_name: str) -> dict:
    """Return the data of one posterior: numbers as they are, lists as NumPy arrays."""
    name = read_entry(full_name)["data_name"]
    data = read_zipped(existing(database() / "data" / "data" / f"{name}.json.zip", full_name))
    return {key: np.asarray(value) if isinstance(value, list) else value for key, value in data.items()}


def read_chains(full_name: str) -> list[dict]:
    """Return the reference draws in the constrained space: for each chain {scalar: list of draws}."""
    name = read_entry(full_name)["reference_posterior_name"]
    if name is None:
        raise FileNotFoundError(f"The database holds no reference draws of '{full_name}'.")
    folder = database() / "reference_posteriors" / "draws" / "draws"
    return read_zipped(existing(folder / f"{name}.json.zip", full_name))


def gather(chains: list[dict]) -> dict[str, np.ndarray]:
    """Return one array for each name from chains of scalars named `beta[1]`, `beta[2]` (1-based).

    The first axis of each array is the draws.
    """
    scalars = {name: np.concatenate([np.asarray(chain[name], dtype=float) for chain in chains]) for name in chains[0]}
    sizes: dict[str, tuple[int, ...]] = {}
    for label in scalars:
        name, index = parse(label)
        before = sizes.get(name, (0,) * len(index))
        sizes[name] = tuple(max(pair) for pair in zip(before, index, strict=True))
    draws = {name: np.full((len(next(iter(scalars.values()))), *size), np.nan) for name, size in sizes.items()}
    for label, values in scalars.items():
        name, index = parse(label)
        draws[name][:, *(i - 1 for i in index)] = values
    return draws


def parse(label: str) -> tuple[str, tuple[int, ...]]:
    """Return `beta[2,1]` as ("beta", (2, 1)), and `sigma` as ("sigma", ())."""
    name, _, index = label.partition("[")
    return name, tuple(int(i) for i in index.rstrip("]").split(",")) if index else ()


def existing(path: Path, full_name: str) -> Path:
    if path.is_file():
        return path
    raise FileNotFoundError(f"The database has no '{full_name}': {path} does not exist. {HOW_TO_GET_IT}")


def read_zipped(path: Path):
    """Return the one JSON document in a zip file."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(archive.namelist()[0]))
