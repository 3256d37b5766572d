"""vi_kl: variational inference that says how far each approximation is from the posterior.

The flow, and the names in its order:

    target = vi_kl.Target.from_numpyro(model, x, y=y)      # an unnormalised posterior over a flat vector z
    fit = vi_kl.fit(target, key=key)                       # a q, found by minimising KL(q||posterior)
    print(fit.status)                                      # which one, whether it converged, and what it rests on
    certificate = vi_kl.check(fit, key=key)                # how many nats q is off, how sure that is, and why
    table = vi_kl.compare(target, ["mean_field", "full_rank", "flow"], key=key)

`fit` and `compare` take names (`vi_kl.algorithms.registry.METHODS`), families, algorithms and NumPyro guides. With no
choice made, `fit` begins with a cheap normal and climbs to richer families only while it must (`AutoFit`).

And, without any model, `vi_kl.divergences`: KL, entropy and cross-entropy of histograms and of NumPyro
distributions, and KL as an objective (`project`).

Importing vi_kl changes nothing: no JAX setting, no matplotlib style, no registration elsewhere.
"""

import importlib

__version__ = "0.1.0"

# Where each public name lives, in the order of the flow. They are imported at first use, so that `import vi_kl` and
# `vi-kl --help` do not wait for JAX.
SOURCES = {
    "Target": "vi_kl.targets",
    "ReferencePosterior": "vi_kl.reference",
    "closed_form_reference": "vi_kl.reference",
    "gaussian_reference": "vi_kl.reference",
    "reference_by_quadrature": "vi_kl.reference",
    "reference_run": "vi_kl.reference",
    "enumerate_posterior": "vi_kl.reference",
    "find_reference": "vi_kl.reference",
    "Family": "vi_kl.families",
    "MeanField": "vi_kl.families",
    "FullRank": "vi_kl.families",
    "LowRank": "vi_kl.families",
    "BlockNormal": "vi_kl.families",
    "Skewed": "vi_kl.families",
    "StudentT": "vi_kl.families",
    "Mixture": "vi_kl.families",
    "Flow": "vi_kl.families",
    "Coupling": "vi_kl.families",
    "Constrained": "vi_kl.families",
    "Delta": "vi_kl.families",
    "Guide": "vi_kl.families",
    "ELBO": "vi_kl.objectives",
    "Renyi": "vi_kl.objectives",
    "IWELBO": "vi_kl.objectives",
    "ChiSquared": "vi_kl.objectives",
    "ForwardKL": "vi_kl.objectives",
    "ForwardKLToDraws": "vi_kl.objectives",
    "with_draws": "vi_kl.objectives",
    "Fisher": "vi_kl.objectives",
    "fit": "vi_kl.algorithms",
    "SVI": "vi_kl.algorithms",
    "SampleAverageApproximation": "vi_kl.algorithms",
    "LinearResponse": "vi_kl.algorithms",
    "AutoFit": "vi_kl.algorithms",
    "Laplace": "vi_kl.algorithms",
    "MomentMatching": "vi_kl.algorithms",
    "Pathfinder": "vi_kl.algorithms",
    "MAP": "vi_kl.algorithms",
    "CoordinateAscent": "vi_kl.algorithms",
    "SVGD": "vi_kl.algorithms",
    "GaussianScoreMatching": "vi_kl.algorithms",
    "BatchAndMatch": "vi_kl.algorithms",
    "NaturalGradient": "vi_kl.algorithms",
    "Fit": "vi_kl.algorithms",
    "save": "vi_kl.algorithms.storage",
    "load": "vi_kl.algorithms.storage",
    "Approximation": "vi_kl.families",
    "check": "vi_kl.diagnostics",
    "Certificate": "vi_kl.diagnostics",
    "explain_gap": "vi_kl.diagnostics",
    "Gap": "vi_kl.diagnostics",
    "calibrate": "vi_kl.workflows.calibration",
    "Calibration": "vi_kl.workflows.calibration",
    "compare": "vi_kl.workflows.compare",
    "Comparison": "vi_kl.workflows.compare",
    "Estimate": "vi_kl.core.estimate",
}

__all__ = list(SOURCES)


def __getattr__(name: str):
    if name in SOURCES:
        return getattr(importlib.import_module(SOURCES[name]), name)
    try:
        return importlib.import_module(f"vi_kl.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"vi_kl.{name}":
            raise
        raise AttributeError(f"module 'vi_kl' has no attribute {name!r}") from None


def __dir__():
    return sorted([*globals(), *SOURCES])
