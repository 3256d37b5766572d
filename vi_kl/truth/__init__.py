"""Truth: what is known about a posterior, from the best source there is.

`closed_form_truth` takes it from a conjugate calculation; `truth_by_quadrature` integrates any smooth target of up
to three dimensions; `reference_run` samples any other by NUTS, refuses chains that fail their checks, and finds the
log evidence by bridge sampling, with a second opinion by annealing. The last two serve alone too, as
`log_evidence_by_bridge` and `log_evidence_by_annealing`; `log_evidence_by_reverse_annealing` is a stochastic upper
limit.
A certificate measures q against a `Truth`; each of its figures carries its method and its error.
"""

from vi_kl.truth.annealing import (
    Annealing,
    AnnealingError,
    Start,
    log_evidence_by_annealing,
    log_evidence_by_reverse_annealing,
)
from vi_kl.truth.bridge import log_evidence_by_bridge
from vi_kl.truth.checks import Checks
from vi_kl.truth.closed_form import closed_form_truth
from vi_kl.truth.draws import PosteriorDraws
from vi_kl.truth.quadrature import truth_by_quadrature
from vi_kl.truth.reference_run import UntrustworthyReference, reference_run
from vi_kl.truth.truth import Moments, Truth

__all__ = [
    "Annealing",
    "AnnealingError",
    "Checks",
    "Moments",
    "PosteriorDraws",
    "Start",
    "Truth",
    "UntrustworthyReference",
    "closed_form_truth",
    "log_evidence_by_annealing",
    "log_evidence_by_bridge",
    "log_evidence_by_reverse_annealing",
    "reference_run",
    "truth_by_quadrature",
]
