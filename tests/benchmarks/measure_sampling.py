"""Measure `vi_kl.sample` beside NUTS from cold on the posteriors of posteriordb: gradients at equal effective sizes.

    POSTERIORDB_PATH=... python tests/benchmarks/measure_sampling.py --out sampling.json

For every posterior: a fit by the default method, `sample` from it, and NUTS from cold (2 chains, 1,000 + 1,000 steps).
The effective size is that of the bulk of the worst coordinate of z ("worst"), or the one whose reciprocal is the mean
of the coordinates' reciprocals ("mean square"). The gradients of the started draws are scaled to the cold run's
effective size, and its own warm-up is added:

    ratio = (warm-up + draws x cold size / own size) / (cold warm-up + cold draws)

    ratio, ratio_ms             for the two sizes, without the gradients of the fit
    ratio_fit, ratio_fit_ms     with them
    complaints, cold_complaints     how many checks failed: what failed may be cheap, and is not worth its price

Density evaluations, which are made in batches and without gradients, are a column of their own: those that weigh the
draws of q.
"""

import argparse
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd

import vi_kl
from vi_kl.models.posteriordb import names, posterior
from vi_kl.reference.mcmc.checks import OF_THE_CHAINS, Checks, complaints, measure
from vi_kl.reference.mcmc.nuts import NUTS, run_nuts

COLD = NUTS(num_chains=2, num_warmup=1000, num_draws=1000)
RATIOS = ("ratio", "ratio_ms", "ratio_fit", "ratio_fit_ms")


def sizes(figures) -> np.ndarray:
    """The effective size of the worst coordinate, and the one of the mean square error of all."""
    bulk = figures["ess_bulk"]
    return np.array([bulk.min(), 1 / np.mean(1 / bulk)])


def cold_run(target, key) -> dict:
    """NUTS from cold: its gradients, and the figures of its chains."""
    run = run_nuts(target, COLD, key)
    figures = measure(run)
    found = complaints(figures, Checks(), OF_THE_CHAINS, target.coordinate_names)
    return {"warm": run.warm_up, "draws": run.gradients, "sizes": sizes(figures), "complaints": len(found)}


def started_run(fit, key, target_accept_prob: float) -> dict:
    """`sample` from the fit: its gradients, and the figures of its chains."""
    result = vi_kl.sample(fit, key=key, target_accept_prob=target_accept_prob, on_failure="keep", progress=False)
    return {
        "warm": result.warm_up.gradient_evaluations,
        "draws": result.drawing.gradient_evaluations,
        "sizes": sizes(figures_of(result)),
        "complaints": len(result.complaints),
        "densities": result.cost.density_evaluations,
    }


def figures_of(result) -> dict:
    from arviz_stats.base import array_stats

    return {"ess_bulk": np.atleast_1d(array_stats.ess(np.moveaxis(result.chains, -1, 0), method="bulk"))}


def row(name: str, seed: int, target_accept_prob: float) -> dict:
    """One posterior: what both take, and the ratios."""
    target = posterior(name).target
    fit_key, sample_key, cold_key = jax.random.split(jax.random.key(seed), 3)
    fit = vi_kl.fit(target, key=fit_key, progress=False)
    own, cold = started_run(fit, sample_key, target_accept_prob), cold_run(target, cold_key)
    price = cold["warm"] + cold["draws"]
    spent = own["warm"] + own["draws"] * cold["sizes"] / own["sizes"]
    ratios = [*(spent / price), *((spent + fit.cost.gradient_evaluations) / price)]
    return {
        "posterior": name, "dim": target.dim, "q": fit.approximation.name, "fit": fit.cost.gradient_evaluations,
        "warm": own["warm"], "draws": own["draws"], "densities": own["densities"], "ess": float(own["sizes"][0]),
        "cold_warm": cold["warm"], "cold_draws": cold["draws"], "cold_ess": float(cold["sizes"][0]),
        **dict(zip(RATIOS, map(float, ratios), strict=True)),
        "complaints": own["complaints"], "cold_complaints": cold["complaints"],
    }  # fmt: skip


def arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", choices=names(), default=names(), metavar="NAME", help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target-accept-prob", type=float, default=0.8)
    parser.add_argument("--out", type=Path, help="write the rows and the medians there, as JSON")
    return parser.parse_args(argv)


def written(rows: list[dict], options) -> pd.Series:
    """Return the medians of the rows so far, and write both if a file was named."""
    medians = pd.DataFrame(rows)[list(RATIOS)].median()
    if options.out:
        settings = {"seed": options.seed, "target_accept_prob": options.target_accept_prob, "vi_kl": vi_kl.__version__}
        found = {"settings": settings, "rows": rows, "medians": medians.to_dict()}
        options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return medians


def main(argv=None) -> None:
    options = arguments(argv)
    rows: list[dict] = []
    for name in options.names:
        rows.append(row(name, options.seed, options.target_accept_prob))
        medians = written(rows, options)
        print(f"{name}: ratio {rows[-1]['ratio']:.2f}", file=sys.stderr, flush=True)
    with pd.option_context("display.width", 250):
        table = pd.DataFrame(rows).to_string(index=False, float_format=lambda x: f"{x:.3g}")
        print(table, "\n\nMedians\n", medians, sep="")


if __name__ == "__main__":
    main()
