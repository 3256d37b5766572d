"""What certificates without a reference are worth, over some ninety targets whose log evidence is known.

    python tests/benchmarks/measure_certificates.py [share of the targets, 1 by default]

Every target is fitted in several ways and checked without its truth; the truth is the known log evidence less an ELBO
from a million draws. Prints, by band of k-hat: coverage of the 95% intervals; and how many "close" were false (said
below 0.1 nats and more than twice that), lower limits broken, and unknowns of what is in truth close.
"""

import sys
import time
from pathlib import Path

import jax
import numpy as np
import pandas as pd

import vi_kl
from vi_kl.core.estimate import Estimate
from vi_kl.diagnostics.evidence import elbo

sys.path.insert(0, str(Path(__file__).parents[1]))
from diagnostics.known_targets import Known, catalogue

MANY = 1_000_000
CLOSE = 0.1  # nats
METHODS = {"laplace": 30, "mean_field": 30, "full_rank": 30, "skewed": 10, None: 3}  # most dimensions of each
BANDS = (-np.inf, 0.3, 0.5, 0.6, 0.7, np.inf)


def fits(known: Known):
    """The target's fits by every method that is cheap in its dimension."""
    for method, most in METHODS.items():
        if known.target.dim > most:
            continue
        try:
            yield method or "default", vi_kl.fit(known.target, method, key=jax.random.key(0))
        except (RuntimeError, ValueError) as error:
            print(f"{known.name}, {method}: {str(error)[:90]}", flush=True)


def true_kl(known: Known, fit) -> Estimate:
    return Estimate(known.log_evidence).minus(elbo(fit.approximation, jax.random.key(99), MANY), "known")


def row(known: Known, method: str, fit, seed: int) -> dict:
    truth = true_kl(known, fit)
    start = time.perf_counter()
    c = vi_kl.check(fit, key=jax.random.key(1000 + seed))
    return {
        "target": known.name,
        "kind": known.kind,
        "method": method,
        **judged(c, truth),
        "seconds": time.perf_counter() - start,
    }


def judged(c, truth: Estimate) -> dict:
    """A certificate held to the true KL, whose own error counts too."""
    claims = c.reverse_kl is not None and not c.contradictions
    value = c.reverse_kl.value if claims else np.nan
    error = np.hypot(c.reverse_kl.standard_error, truth.standard_error) if claims else np.nan
    rounding = 1e-9 * max(1.0, abs(c.elbo.value))
    return {
        "true": truth.value,
        "said": value,
        "error": error,
        "z": (value - truth.value) / error if claims else np.nan,
        "inside": abs(value - truth.value) <= 1.96 * error + rounding if claims else np.nan,
        "label": c.label,
        "k_hat": c.k_hat,
        "false close": claims and value < CLOSE and truth.value - 3 * truth.standard_error > 2 * CLOSE,
        "limit": c.limits.lower,
        "broken": c.limits.lower > truth.value + 3 * truth.standard_error + rounding,
        "unknown but close": not claims and truth.value < 0.05,
        "missed": c.missed_share,
    }


def summary(table: pd.DataFrame) -> str:
    claimed = table[table["inside"].notna()]
    band = pd.cut(claimed["k_hat"].clip(-1e9, 1e9), [max(-1e10, min(1e10, b)) for b in BANDS])
    groups = claimed.astype({"inside": float}).groupby(band, observed=False)
    bands = groups.agg(
        fits=("inside", "size"), covered=("inside", "sum"), coverage=("inside", "mean"), mean_z=("z", "mean")
    )
    unknown, covered = table[table["inside"].isna()], claimed["inside"].astype(float)
    close = claimed[claimed["said"] < CLOSE]
    lines = [
        bands.round(3).to_string(),
        f"coverage: {covered.sum():.0f} of {len(claimed)} = {covered.mean():.3f}",
        f"false close: {table['false close'].sum()} of {len(close)} that were said to be close",
        f"lower limits broken: {table['broken'].sum()} of {len(table)}",
        f"unknown: {len(unknown)}, with a true KL below .05: {table['unknown but close'].sum()}",
        f"targets: {table['target'].nunique()}, fits: {len(table)}, seconds in checks: {table['seconds'].sum():.0f}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    every = catalogue()[:: round(1 / share)]
    rows = []
    for seed, known in enumerate(every):
        rows += [row(known, method, fit, seed) for method, fit in fits(known)]
        print(pd.DataFrame(rows[-5:]).tail(1).round(4).to_string(header=False), flush=True)
    table = pd.DataFrame(rows)
    print(table.round(4).to_string())
    print(summary(table))
