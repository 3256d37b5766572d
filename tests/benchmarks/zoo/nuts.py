"""NUTS on a case: draws that fits are compared with, and what they cost, kept on disk so that each is run once.

An entry's name is a hash of the file that the model is in, the data, the settings and the seed. It leaves vi_kl's own
source out: the posterior does not depend on it, and one run has to serve many versions of what is measured.
"""

import hashlib
import inspect
import os
import time
from pathlib import Path

import jax
import numpy as np

from vi_kl.core.files import cache_folder
from vi_kl.reference.cache import cached
from vi_kl.reference.mcmc.checks import OF_THE_CHAINS, Checks, complaints, measure
from vi_kl.reference.mcmc.nuts import NUTS, run_nuts

from .case import Case
from .memory import peak_mib

SETTINGS = NUTS(num_chains=2, num_warmup=1000, num_draws=1000)
COSTS = ("gradients", "gradients_of_warmup", "cpu_seconds", "wall_seconds", "peak_mib")
MOMENTS = ("mean", "sd", "error_of_mean", "error_of_sd")


def folder_of(cache: Path | None) -> Path:
    """Return the folder of the runs: the one given, or a part of the default cache."""
    return cache_folder(True) / "zoo" if cache is None else cache


def name_of(case: Case, seed: int) -> str:
    """Return the name of a run's entry."""
    parts = hashlib.sha256(Path(inspect.getfile(case.model)).read_bytes())
    for value in jax.tree.leaves(case.data()):
        array = np.asarray(value)
        parts.update(repr((array.dtype, array.shape)).encode() + array.tobytes())
    parts.update(repr((case.name, SETTINGS, seed)).encode())
    return f"{case.name}-{parts.hexdigest()[:20]}"


def run(case: Case, seed: int, cache: Path | None, *, only_kept: bool = False) -> dict | None:
    """Return the moments, the figures of the chains and the costs of a run; of a kept one if there is one.

    Args:
        case: the model and its data.
        seed: the seed of the key.
        cache: the folder of the runs, or None for the default one.
        only_kept: whether to return None instead of running.
    """
    folder, needs = folder_of(cache), (*MOMENTS, *OF_THE_CHAINS, *COSTS)
    name = name_of(case, seed)
    if only_kept and not (folder / f"{name}.npz").exists():
        return None
    return cached(folder, name, lambda: compute(case, seed), needs)


def compute(case: Case, seed: int) -> dict:
    """Run the chains, and measure them."""
    from arviz_stats.base import array_stats  # imported here, so that its seconds are nobody's

    target = case.target()
    cpu, wall = time.process_time(), time.perf_counter()
    found = run_nuts(target, SETTINGS, jax.random.key(seed))
    costs = (
        found.warm_up + found.gradients,
        found.warm_up,
        time.process_time() - cpu,
        time.perf_counter() - wall,
        peak_mib(),
    )
    by_coordinate = np.moveaxis(found.z, -1, 0)
    errors = (np.atleast_1d(array_stats.mcse(by_coordinate, method=what)) for what in ("mean", "sd"))
    z = found.z.reshape(-1, target.dim)
    moments = (z.mean(axis=0), z.std(axis=0, ddof=1), *errors)
    return {
        **measure(found),
        **dict(zip(MOMENTS, moments, strict=True)),
        **dict(zip(COSTS, costs, strict=True)),
        "cores": os.cpu_count(),
    }


def row(found: dict, case: Case) -> dict:
    """Return the costs of a run and what its checks say, as plain numbers and words."""
    complained = complaints(found, Checks(), OF_THE_CHAINS, case.target().coordinate_names)
    return {
        **{name: np.asarray(found[name]).item() for name in COSTS},
        "r_hat": float(np.max(found["r_hat"])),
        "ess_bulk": float(np.min(found["ess_bulk"])),
        "ess_tail": float(np.min(found["ess_tail"])),
        "divergent_share": float(found["divergent_share"]),
        "converged": not complained,
        "status": " ".join(complained) or "All checks passed.",
    }


def errors(z: np.ndarray, known: dict) -> dict:
    """Compare draws of z, (n, dim), with a run of NUTS: errors of means and sds, in posterior sds.

    Returns:
        For means and for sds the root of the mean square over the coordinates, the largest, and the root mean square of
        NUTS' own Monte-Carlo errors, below which nothing can be told apart from no error.
    """
    mean = (z.mean(axis=0) - known["mean"]) / known["sd"]
    sd = z.std(axis=0, ddof=1) / known["sd"] - 1
    return {
        "mean_error": rms(mean),
        "largest_mean_error": float(np.max(np.abs(mean))),
        "mean_floor": rms(known["error_of_mean"] / known["sd"]),
        "sd_error": rms(sd),
        "largest_sd_error": float(np.max(np.abs(sd))),
        "sd_floor": rms(known["error_of_sd"] / known["sd"]),
    }


def rms(values) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
