"""Measure the closed forms over the accuracy suite, and write the figures that the documentation shows.

    python tests/benchmarks/measure_accuracy.py [PATTERN]

For every registered pair: the worst relative error in float32 and in float64 against 60 digits, and NumPyro's on the
same float32 inputs where it has a formula. Takes some minutes; writes docs/accuracy.json, which is committed and which
tests/test_docs.py holds against the registry. With a pattern, prints the pairs that match and writes nothing.
"""

import json
import sys
from pathlib import Path

import jax
import mpmath
import numpy as np
from numpyro.distributions.kl import kl_divergence as numpyro_kl

from vi_kl.divergences import kl_divergence

sys.path.insert(0, str(Path(__file__).parents[1] / "divergences"))
from truths import CASES, Draws

DRAWS = 10
SMALLEST = 1e-30  # divergences below are not compared
OUT = Path(__file__).parents[2] / "docs" / "accuracy.json"


def relative_error(value, truth, dtype) -> float:
    """|value / truth - 1|; inf for a value that is negative, NaN, or finite where the truth is not."""
    if not value >= 0:
        return np.inf
    if mpmath.isinf(truth) or truth > np.finfo(dtype).max:
        return 0.0 if value == np.inf else np.inf
    if truth < SMALLEST:
        return 0.0
    return abs(float((mpmath.mpf(value) - truth) / truth)) if np.isfinite(value) else np.inf


def measure(make, dtype):
    """The worst relative errors, ours and NumPyro's (None without a formula), and NumPyro's negative values."""
    draw, ours, theirs, negative = Draws(seed=7, dtype=dtype), 0.0, None, 0
    with jax.enable_x64(dtype == np.float64):
        for _ in range(DRAWS):
            p, q, truth = make(draw)
            ours = max(ours, relative_error(float(kl_divergence(p, q)), truth, dtype))
            if (type(p), type(q)) in numpyro_kl.funcs:
                value = float(np.sum(numpyro_kl(p, q)))
                negative += value < 0
                error = relative_error(abs(value), truth, dtype)
                theirs = max(theirs or 0.0, error)
    return ours, theirs, negative


def measure_case(make):
    single, numpyro, negative = measure(make, np.float32)
    double, _, _ = measure(make, np.float64)
    return {"float32": single, "float64": double, "numpyro": numpyro, "numpyro_negative": negative}


def worse(first, second):
    """The worse of two cases of one pair."""
    if first is None:
        return second
    return {key: max((x for x in (first[key], second[key]) if x is not None), default=None) for key in first}


def rounded(figures):
    return {
        key: value if value is None or isinstance(value, int) else "inf" if np.isinf(value) else float(f"{value:.1e}")
        for key, value in figures.items()
    }


def main(pattern=""):
    jax.config.update("jax_disable_most_optimizations", True)  # as in the tests: many programs, each run a few times
    worst = {}
    for (p, q, name), make in CASES.items():
        pair = f"{p.__name__} {q.__name__}"
        if pattern in pair:
            worst[pair] = worse(worst.get(pair), measure_case(make))
            print(f"{pair:50} {name:30} {rounded(worst[pair])}", flush=True)
    if not pattern:
        figures = {pair: rounded(worst[pair]) for pair in sorted(worst)}
        lines = ",\n".join(f"  {json.dumps(pair)}: {json.dumps(row)}" for pair, row in figures.items())
        OUT.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
