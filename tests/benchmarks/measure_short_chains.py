"""What short chains from q's draws prove: how often of a right q (which is a false alarm), and of wrong ones.

    python tests/benchmarks/measure_short_chains.py [number of keys, 40 by default]

Prints, for each right q: the share of keys with any proved error, of a site or of the log density, and with a proved
KL; the share in which the chains settled; their gradients and seconds. For each wrong q in a hundred dimensions: the
share of keys in which the wrong average is proved wrong, and in which its bound exceeds the true error.
"""

import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from vi_kl.core.precision import in_float64
from vi_kl.diagnostics.effort import effort_for
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.movement import CONFIDENCE
from vi_kl.diagnostics.without_reference import View
from vi_kl.diagnostics.without_weights import CHAINS, ShortChains, judge_by_short_chains
from vi_kl.families import Approximation, MeanField
from vi_kl.targets import Target

sys.path.insert(0, str(Path(__file__).parents[1]))
from diagnostics.right_members import right

RIGHT = (
    ("normal", 3), ("normal", 100), ("positive", 30), ("skewed", 100), ("heavy", 20), ("two modes", 10), ("funnel", 5)
)  # fmt: skip
WRONG = {"mean": (0.1, 0.2, 0.3, 0.5), "sd": (0.5, 0.7, 0.85, 1.15, 1.3, 2.0), "correlation": (0.2, 0.3, 0.5, 0.8)}
DIM = 100


@in_float64
def short_chains_of(q: Approximation, seed: int) -> ShortChains:
    keys = jax.random.split(jax.random.key(seed), 3)
    view = View(q, keys[0], effort_for(q.target)._replace(share=0.01))
    return judge_by_short_chains(q, Draws(q, keys[1], 16_384), view, keys[2], CHAINS, lambda share: None)


def of_right(kind: str, dim: int, keys: int) -> dict:
    q, start = right(kind, dim), time.process_time()
    found = [short_chains_of(q, seed) for seed in range(keys)]
    return {
        "right q": f"{kind}, {dim}",
        "proved of sites": np.mean([bool(c.of_sites) for c in found]),
        "proved at all": np.mean([bool(c.shifts) for c in found]),
        "proved KL": np.mean([c.kl_at_least > 0 for c in found]),
        "settled": np.mean([c.settled for c in found]),
        "memory": np.mean([c.memory for c in found]),
        "gradients": int(np.mean([c.gradients for c in found])),
        "CPU seconds": (time.process_time() - start) / keys,
    }


def normal_with_precision(z, precision):
    return -0.5 * z @ precision @ z


def of_wrong(what: str, size: float, keys: int) -> dict:
    """Plant one wrong average among a hundred coordinates, and count."""
    covariance, loc, log_scale = np.eye(DIM), np.zeros(DIM), np.zeros(DIM)
    true = size
    if what == "mean":
        loc[7] = size
    elif what == "sd":
        log_scale[7] = true = np.log(size)
    else:
        covariance[7, 8] = covariance[8, 7] = size
    target = Target.from_log_density(normal_with_precision, DIM, data=np.linalg.inv(covariance))
    with jax.enable_x64(True):
        q = Approximation(MeanField(), {"loc": jnp.asarray(loc), "log_scale": jnp.asarray(log_scale)}, target)
    entry = "z[7] and z[8]" if what == "correlation" else "z[7]"
    found = [[x for x in short_chains_of(q, seed).of_sites if x.entry == entry] for seed in range(keys)]
    same = [x.at_least for shifts in found for x in shifts if x.what == what]
    return {
        "wrong": f"{what} {size:g}",
        "proved": np.mean([bool(shifts) for shifts in found]),
        "mean bound": np.mean(same) if same else np.nan,
        "true error": abs(true),
        "bound above truth": np.mean([x > abs(true) for x in same]) if same else 0.0,
    }


if __name__ == "__main__":
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    print(f"{CHAINS:,} chains, {keys} keys, level {1 - CONFIDENCE:.0%}")
    print(pd.DataFrame([of_right(kind, dim, keys) for kind, dim in RIGHT]).round(3).to_string(index=False))
    wrong = [of_wrong(what, size, keys) for what, sizes in WRONG.items() for size in sizes]
    print(pd.DataFrame(wrong).round(3).to_string(index=False))
