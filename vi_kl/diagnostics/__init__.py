"""Diagnostics: how wrong q is, and how sure we are of that.

`check(fit)` puts them together into a `Certificate`: the ELBO, KL in both directions with their errors, limits of
the evidence and of KL that hold whatever the tails, Pareto's k-hat and the effective sample size of the importance
weights, modes that q never visits, the errors of means, sds, quantiles and correlations with and without importance
weights, the transport distance, and in words a verdict, what it cannot see, and what to try next. A fit's status is
judged in the same way (judgement.py).
`explain_gap(fit)` says how much of KL is the family's fault and how much the optimiser's.

Any q can be checked, however it was found.
"""

from vi_kl.diagnostics.certificate import Certificate, check
from vi_kl.diagnostics.errors import Errors, SiteErrors
from vi_kl.diagnostics.evidence import elbo
from vi_kl.diagnostics.evidence_bounds import Limits
from vi_kl.diagnostics.gap import Gap, explain_gap
from vi_kl.diagnostics.measurements import Measurements
from vi_kl.diagnostics.psis import pareto_k

__all__ = [
    "Certificate",
    "Errors",
    "Gap",
    "Limits",
    "Measurements",
    "SiteErrors",
    "check",
    "elbo",
    "explain_gap",
    "pareto_k",
]
