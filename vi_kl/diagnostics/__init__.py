"""Diagnostics: how far q is from the posterior, and how certain that figure is.

`check(fit)` returns a `Certificate`. It holds the ELBO, KL in both directions with standard errors, confidence limits
of the evidence and of KL that hold for weights with any tails, Pareto's k-hat and the effective sample size of the
importance weights, modes that q never visits, the errors of means, sds, quantiles and correlations with and without
importance weights, what short chains prove of them where no weights are even, and the transport distance. In words it
gives a verdict, what it cannot see, and what to try next.
The status of a fit is judged in the same way (judgement.py).
`explain_gap(fit)` splits KL into the family's part and the optimiser's.

Both accept any q, whichever algorithm found it.
"""

from vi_kl.diagnostics.certificate import Certificate, check
from vi_kl.diagnostics.errors import Errors, SiteErrors
from vi_kl.diagnostics.evidence import elbo
from vi_kl.diagnostics.evidence_bounds import Limits
from vi_kl.diagnostics.gap import Gap, explain_gap
from vi_kl.diagnostics.measurements import Measurements
from vi_kl.diagnostics.movement import Shift
from vi_kl.diagnostics.psis import pareto_k
from vi_kl.diagnostics.without_weights import ShortChains

__all__ = [
    "Certificate",
    "Errors",
    "Gap",
    "Limits",
    "Measurements",
    "Shift",
    "ShortChains",
    "SiteErrors",
    "check",
    "elbo",
    "explain_gap",
    "pareto_k",
]
