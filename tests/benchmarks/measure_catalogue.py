"""Measure which method serves on each model of the catalogue, and write vi_kl/models/measured.json.

    POSTERIORDB_PATH=... python tests/benchmarks/measure_catalogue.py [--models NAME ...] [--limit SECONDS]

Each model is compared by `vi_kl.compare` with one key and the methods of `methods_for(target)`: Laplace's normal, the
best normals without and with correlations, and what is richer, as far as the dimension allows it; for a hierarchy the
density of hyperparameters times a normal too, which the default then begins with. No reference is used but
one that the model has in closed form. Kept are the method that the comparison recommends (the cheapest that is close
enough, or that cannot be told apart from the nearest), the nearest by paired differences of ELBOs, and the KL with its
standard error and its label. Each model is measured in a process of its own; one that fails or takes too long is left
out, and said. Models that are there already are measured again only if they are named.
"""

import argparse
import datetime
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import vi_kl
from vi_kl.algorithms.candidates import is_grouped
from vi_kl.core.files import replacing
from vi_kl.models.catalogue import CATALOGUE, make_target
from vi_kl.workflows.recommendation import ROUGH, at_most, chosen

FILE = Path(__file__).parents[2] / "vi_kl" / "models" / "measured.json"
MANNER = "vi_kl.compare(target, methods, key={}); no reference but closed forms; {}."
METHODS = ("laplace", "mean_field", "full_rank")
RICHER = ("skewed", "flow")
LARGEST_FLOW = 50  # dimensions; above, these take many minutes, and the sparse normal is compared in their place
KEY = 0


def methods_for(target: vi_kl.Target) -> tuple[str, ...]:
    """The methods that are compared on a model."""
    for_groups = ("nested_normal",) if is_grouped(target) else ()
    return (*METHODS, *(RICHER if target.dim <= LARGEST_FLOW else ("sparse_normal",)), *for_groups)


def how() -> str:
    """What was done, in a sentence that stands beside the figures."""
    return MANNER.format(KEY, ", ".join(f"{name} {version(name)}" for name in ("jax", "numpyro")))


def measure(name: str) -> dict:
    """The figures of one model, by a comparison in this process."""
    target = make_target(name)
    methods = methods_for(target)
    table = vi_kl.compare(target, list(methods), key=KEY)
    choice, fit, certificate = chosen(table.fits, table.certificates, table.ranking)
    kl = None if certificate.reverse_kl is None else certificate.reverse_kl.to("nats")
    return {
        "method": choice,
        "serves": at_most(certificate) < ROUGH,
        "nearest": table.ranking.names[0],
        "kl": None if kl is None else float(f"{max(kl.value, 0.0):.3g}"),
        "standard_error": None if kl is None else float(f"{kl.standard_error:.2g}"),
        "label": certificate.label,
        "gradients": int(fit.cost.gradient_evaluations),
        "methods": methods,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(CATALOGUE), metavar="NAME", help="default: those not there")
    parser.add_argument("--limit", type=float, default=900, help="seconds of the wall clock for a model, default 900")
    parser.add_argument("--one", choices=list(CATALOGUE), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    kept = json.loads(FILE.read_text())["models"]
    for name in options.models or [name for name in CATALOGUE if name not in kept]:
        try:
            run = subprocess.run(
                [sys.executable, __file__, "--one", name], capture_output=True, text=True, timeout=options.limit
            )
            found = json.loads(run.stdout.splitlines()[-1]) if run.returncode == 0 else run.stderr[-500:]
        except subprocess.TimeoutExpired:
            found = f"no result within {options.limit:g} seconds"
        print(f"{name}: {found}", flush=True)
        if isinstance(found, dict):
            kept[name] = found
            models = {known: kept[known] for known in CATALOGUE if known in kept}
            made = {"how": how(), "date": datetime.date.today().isoformat(), "models": models}
            with replacing(FILE) as file:
                file.write((json.dumps(made, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
