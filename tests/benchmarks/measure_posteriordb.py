"""Measure methods on the posteriors of posteriordb: how wrong, and at what cost.

    POSTERIORDB_PATH=... python tests/benchmarks/measure_posteriordb.py --methods default full_rank laplace --cold

For every posterior and method: fit, draw from the approximation, and compare what the reference holds. The figures:

    mean       RMSE over the parameters of (mean - reference mean) / reference sd
    sd         RMSE over the parameters of sd / reference sd - 1
    mean_floor, sd_floor    the reference's own Monte-Carlo error in the same units: less cannot be told apart from none
    compile, run            seconds of the fit, from its cost; with --cold, of a fresh process
    gradients, densities    evaluations of the log density with and without its gradient
    k_hat                   of the importance weights, from 16,384 draws

An approximation counts as accurate where both errors are at most 0.05. A fit that fails is a row with its error, is
not accurate, and counts as infinite in the medians of mean and sd.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from arviz_stats.base import array_stats

import vi_kl
from vi_kl.core.precision import in_float64
from vi_kl.diagnostics.psis import pareto_k
from vi_kl.models.posteriordb import Posterior, names, posterior
from vi_kl.targets.target import log_density_in_chunks

ACCURATE = 0.05
K_HAT_DRAWS = 16_384
DEFAULT = "default"  # the method that vi_kl.fit chooses by itself
FIGURES = ("mean", "mean_floor", "sd", "sd_floor", "compile", "run", "gradients", "densities", "k_hat")


def flattened(quantities: Mapping) -> np.ndarray:
    """{name: (n, ...)} as one array (n, parameters)."""
    return np.concatenate([np.reshape(values, (len(values), -1)) for values in quantities.values()], axis=1)


def rms(values) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def errors(draws: np.ndarray, reference: np.ndarray) -> dict:
    """The errors in mean and sd of draws (n, parameters) against reference draws, in reference sds."""
    centre, scale = reference.mean(axis=0), reference.std(axis=0, ddof=1)
    return {
        "mean": rms((draws.mean(axis=0) - centre) / scale),
        "sd": rms(draws.std(axis=0, ddof=1) / scale - 1),
    }


def floors(reference: np.ndarray, num_chains: int) -> dict:
    """The Monte-Carlo errors of the reference's own means and sds, in reference sds."""
    chains = reference.reshape(num_chains, -1, reference.shape[1])
    scale = reference.std(axis=0, ddof=1)
    parts = {name: array_stats.mcse(chains, chain_axis=0, draw_axis=1, method=name) / scale for name in ("mean", "sd")}
    return {f"{name}_floor": rms(part) for name, part in parts.items()}


@in_float64
def k_hat(approximation, key) -> float:
    """k-hat of p/q; NaN where the approximation has no density."""
    try:
        z, log_q = approximation.sample_and_log_prob(key, K_HAT_DRAWS)
    except Exception:  # of whatever type the approximation says it with; its errors are measured all the same
        return np.nan
    return float(pareto_k(log_density_in_chunks(approximation.target, z) - np.asarray(log_q)))


def measure(case: Posterior, method: str, seed: int, num_draws: int) -> dict:
    """One fit as a row of the table."""
    fit_key, draw_key, weight_key = jax.random.split(jax.random.key(seed), 3)
    fit = vi_kl.fit(case.target, None if method == DEFAULT else method, key=fit_key)
    draws = flattened(case.reference_quantities(fit.sample(draw_key, num_draws, deterministic=False)))
    return {
        **errors(draws, flattened(case.draws)),
        "compile": fit.cost.compile_seconds,
        "run": fit.cost.run_seconds,
        "gradients": fit.cost.gradient_evaluations,
        "densities": fit.cost.density_evaluations,
        "k_hat": k_hat(fit.approximation, weight_key),
        "status": str(fit.status),
    }


def row(name: str, method: str, seed: int, num_draws: int) -> dict:
    """`measure`, or the error that ended it."""
    case = posterior(name)
    start = {"posterior": name, "method": method, "dim": case.target.dim}
    start |= floors(flattened(case.draws), case.num_chains)
    try:
        return start | measure(case, method, seed, num_draws)
    except Exception as error:
        return start | {"status": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}


def row_in_fresh_process(name: str, method: str, seed: int, num_draws: int) -> dict:
    """The same, with nothing compiled before."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "row.json"
        options = ["--seed", str(seed), "--draws", str(num_draws), "--out", str(out)]
        command = [sys.executable, __file__, "--names", name, "--methods", method, *options]
        finished = subprocess.run(command, capture_output=True, text=True)
        if finished.returncode or not out.exists():
            last = (finished.stderr.strip().splitlines() or [f"exit code {finished.returncode}"])[-1]
            return {"posterior": name, "method": method, "status": f"The process failed: {last}"}
        return json.loads(out.read_text(encoding="utf-8"))["rows"][0]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """For each method: medians over the posteriors, how many were accurate, and how many failed."""
    table = table.reindex(columns=["posterior", "method", *FIGURES])
    failed = table["mean"].isna() | table["sd"].isna()
    table[["mean", "sd"]] = table[["mean", "sd"]].fillna(np.inf)
    medians = table.groupby("method", sort=False)[list(FIGURES)].median()
    medians["seconds"] = (table["compile"] + table["run"]).groupby(table["method"]).median()
    accurate = (table["mean"] <= ACCURATE) & (table["sd"] <= ACCURATE)
    medians["accurate"] = accurate.groupby(table["method"]).sum()
    medians["failed"] = failed.groupby(table["method"]).sum()
    medians["posteriors"] = table.groupby("method").size()
    return medians


def shown(table: pd.DataFrame) -> str:
    shortened = table.drop(columns="trace", errors="ignore").copy()
    shortened["status"] = shortened["status"].str.replace("\n", " ").str.slice(0, 90)
    with pd.option_context("display.width", 250, "display.max_colwidth", 90):
        return shortened.to_string(index=False, float_format=lambda x: f"{x:.3g}")


def arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", choices=names(), default=names(), metavar="NAME", help="default: all")
    parser.add_argument("--methods", nargs="+", default=[DEFAULT], help="names that vi_kl.fit takes, or 'default'")
    parser.add_argument("--cold", action="store_true", help="a fresh process for each fit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=100_000, help="of each approximation, default 100,000")
    parser.add_argument("--out", type=Path, help="write the rows and the medians there, as JSON")
    return parser.parse_args(argv)


def main(argv=None) -> None:
    options = arguments(argv)
    one = row_in_fresh_process if options.cold else row
    rows = []
    for name in options.names:
        for method in options.methods:
            rows.append(one(name, method, options.seed, options.draws))
            print(f"{name} {method}: {rows[-1]['status'][:100]}", file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    medians = summary(table)
    print(shown(table), "\n\nMedians\n", medians.to_string(float_format=lambda x: f"{x:.3g}"), sep="")
    if options.out:
        settings = {"cold": options.cold, "seed": options.seed, "draws": options.draws, "vi_kl": vi_kl.__version__}
        found = {"settings": settings, "rows": rows, "medians": medians.reset_index().to_dict(orient="records")}
        options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
