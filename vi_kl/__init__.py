"""vi_kl: variational inference that says how far each approximation is from the posterior.

The flow, and the names in its order:

    target = vi_kl.Target.from_numpyro(model, x, y=y)      # an unnormalised posterior over a flat vector z
    fit = vi_kl.fit(target, key=key)                       # a q, found by minimising KL(q||posterior)
    print(fit.status)                                      # which one, whether it converged, and what it rests on
    certificate = vi_kl.check(fit, key=key)                # how many nats q is off, how sure that is, and why
    print(fit.summary(key, certificate=certificate))       # means, sds and quantiles, with that doubt beside them
    predicted = fit.predict(key, x_new)                    # draws of new data; fit.to_arviz(key) for ArviZ
    table = vi_kl.compare(target, ["mean_field", "full_rank", "flow"], key=key)
    exact = vi_kl.sample(fit, key=key)                     # draws of the posterior, where no q is near enough

`fit` and `compare` take names (`vi_kl.algorithms.registry.METHODS`), families, algorithms and NumPyro guides. With no
choice made, `fit` begins with a cheap normal and climbs to richer families only while it must (`AutoFit`).

The names at the top are those of this flow. Everything else is reached by its part, with no further import:
`vi_kl.families.Mixture`, `vi_kl.objectives.Renyi`, `vi_kl.algorithms.Laplace`, `vi_kl.reference.closed_form_reference`.
And, without any model, `vi_kl.divergences`: KL, entropy and cross-entropy of histograms and of NumPyro
distributions, and KL as an objective (`project`).

Importing vi_kl changes nothing: no JAX setting, no matplotlib style, no registration elsewhere.
"""

import importlib
import sys
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Where each public name lives, in the order of the flow. They are imported at first use, so that `import vi_kl` and
# `vi-kl --help` do not wait for JAX. Editors and type checkers read the same list below.
SOURCES = {
    "Target": "vi_kl.targets",
    "find_reference": "vi_kl.reference",
    "reference_run": "vi_kl.reference",
    "Family": "vi_kl.families",
    "MeanField": "vi_kl.families",
    "FullRank": "vi_kl.families",
    "Objective": "vi_kl.objectives",
    "Algorithm": "vi_kl.algorithms",
    "SVI": "vi_kl.algorithms",
    "fit": "vi_kl.algorithms",
    "Fit": "vi_kl.algorithms",
    "save": "vi_kl.algorithms.storage",
    "load": "vi_kl.algorithms.storage",
    "Approximation": "vi_kl.families",
    "check": "vi_kl.diagnostics",
    "Certificate": "vi_kl.diagnostics",
    "explain_gap": "vi_kl.diagnostics",
    "compare": "vi_kl.workflows.compare",
    "Comparison": "vi_kl.workflows.compare",
    "calibrate": "vi_kl.workflows.calibration.calibrate",
    "sample": "vi_kl.workflows.sampling.sample",
    "Estimate": "vi_kl.core.estimate",
    "ViKLError": "vi_kl.core.errors",
    "ModelError": "vi_kl.core.errors",
    "FitError": "vi_kl.core.errors",
    "StorageError": "vi_kl.algorithms.storage",
}

# The parts, reached as attributes once vi_kl is imported.
PARTS = (
    "algorithms", "cli", "core", "course", "demo", "diagnostics", "divergences", "draws", "families", "models",
    "objectives", "reference", "report", "targets", "workflows",
)  # fmt: skip

__all__ = list(SOURCES)

if TYPE_CHECKING:
    from vi_kl import algorithms as algorithms
    from vi_kl import cli as cli
    from vi_kl import core as core
    from vi_kl import course as course
    from vi_kl import demo as demo
    from vi_kl import diagnostics as diagnostics
    from vi_kl import divergences as divergences
    from vi_kl import draws as draws
    from vi_kl import families as families
    from vi_kl import models as models
    from vi_kl import objectives as objectives
    from vi_kl import reference as reference
    from vi_kl import report as report
    from vi_kl import targets as targets
    from vi_kl import workflows as workflows
    from vi_kl.algorithms import SVI as SVI
    from vi_kl.algorithms import Algorithm as Algorithm
    from vi_kl.algorithms import Fit as Fit
    from vi_kl.algorithms import fit as fit
    from vi_kl.algorithms.storage import StorageError as StorageError
    from vi_kl.algorithms.storage import load as load
    from vi_kl.algorithms.storage import save as save
    from vi_kl.core.errors import FitError as FitError
    from vi_kl.core.errors import ModelError as ModelError
    from vi_kl.core.errors import ViKLError as ViKLError
    from vi_kl.core.estimate import Estimate as Estimate
    from vi_kl.diagnostics import Certificate as Certificate
    from vi_kl.diagnostics import check as check
    from vi_kl.diagnostics import explain_gap as explain_gap
    from vi_kl.families import Approximation as Approximation
    from vi_kl.families import Family as Family
    from vi_kl.families import FullRank as FullRank
    from vi_kl.families import MeanField as MeanField
    from vi_kl.objectives import Objective as Objective
    from vi_kl.reference import find_reference as find_reference
    from vi_kl.reference import reference_run as reference_run
    from vi_kl.targets import Target as Target
    from vi_kl.workflows.calibration.calibrate import calibrate as calibrate
    from vi_kl.workflows.compare import Comparison as Comparison
    from vi_kl.workflows.compare import compare as compare
    from vi_kl.workflows.sampling.sample import sample as sample
else:  # a type checker that saw this function would let every name pass

    def __getattr__(name: str):
        if name in SOURCES:
            return getattr(importlib.import_module(SOURCES[name]), name)
        if name in PARTS:
            return importlib.import_module(f"vi_kl.{name}")
        words = f"module 'vi_kl' has no attribute {name!r}.{place_of(name)}"
        raise AttributeError(words, name=name, obj=sys.modules[__name__])  # from `obj` Python knows what may be meant


def place_of(name: str) -> str:
    """Say in which part of vi_kl a public name is that is not at the top; "" where it is nowhere."""
    if name.startswith("_"):  # tools ask modules for such names, and none of them is public
        return ""
    procedures = (f"vi_kl.workflows.{each}" for each in ("amortisation", "calibration", "compare_models", "sampling"))
    modules = (*(f"vi_kl.{part}" for part in PARTS), *procedures)
    places = [place for place in modules if name in getattr(importlib.import_module(place), "__all__", ())]
    return f" It is {' or '.join(f'{place}.{name}' for place in places)}." if places else ""


def __dir__():
    return sorted([*SOURCES, *PARTS, *(name for name in globals() if name.startswith("__"))])
