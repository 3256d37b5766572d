"""Truth: what is known about a posterior, from the best source there is.

`closed_form_truth` takes it from a conjugate calculation; `truth_by_quadrature` integrates any smooth target of up
to three dimensions; `enumerate_posterior` lists the exact posterior of a model whose latent sites are all discrete.
A certificate measures q against a `Truth`; each of its figures carries its method and its error.
"""

import importlib

from vi_kl.truth.closed_form import closed_form_truth
from vi_kl.truth.draws import PosteriorDraws
from vi_kl.truth.quadrature import truth_by_quadrature
from vi_kl.truth.truth import Moments, Truth

__all__ = [
    "EnumeratedPosterior",
    "Moments",
    "PosteriorDraws",
    "Truth",
    "closed_form_truth",
    "enumerate_posterior",
    "truth_by_quadrature",
]

# found at first use: they need vi_kl.divergences, which models, whose truths are made here, must not import
FOUND_AT_FIRST_USE = {"EnumeratedPosterior", "enumerate_posterior"}


def __getattr__(name):
    if name in FOUND_AT_FIRST_USE:
        return getattr(importlib.import_module("vi_kl.truth.enumeration"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
