"""Truth: what is known about a posterior, from the best source there is.

`closed_form_truth` takes it from a conjugate calculation; `gaussian_truth` finds and verifies a posterior that is
exactly normal in z, without anyone doing the algebra; `truth_by_quadrature` integrates any smooth target of up
to three dimensions.
A certificate measures q against a `Truth`; each of its figures carries its method and its error.
"""

from vi_kl.truth.closed_form import closed_form_truth
from vi_kl.truth.draws import PosteriorDraws
from vi_kl.truth.gaussian import NotGaussian, gaussian_truth
from vi_kl.truth.quadrature import truth_by_quadrature
from vi_kl.truth.truth import Moments, Truth

__all__ = [
    "Moments",
    "NotGaussian",
    "PosteriorDraws",
    "Truth",
    "closed_form_truth",
    "gaussian_truth",
    "truth_by_quadrature",
]
