"""Truth: what is known about a posterior, from the best source there is.

`closed_form_truth` takes it from a conjugate calculation; `truth_by_quadrature` integrates any smooth target of up
to three dimensions; `enumerate_posterior` lists the exact posterior of a model whose latent sites are all discrete.
A certificate measures q against a `Truth`; each of its figures carries its method and its error.
"""

from vi_kl.truth.closed_form import closed_form_truth
from vi_kl.truth.draws import PosteriorDraws
from vi_kl.truth.enumeration import EnumeratedPosterior, enumerate_posterior
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
