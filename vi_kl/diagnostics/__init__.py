"""Diagnostics: how wrong q is, and how sure we are of that.

`check(fit)` puts them together into a `Certificate`: the ELBO, KL in both directions, the Pareto k-hat of the
importance weights, the errors of means and standard deviations, and a verdict in words that says what it cannot
see. Any q can be checked, however it was found.
"""

from vi_kl.diagnostics.certificate import Certificate, check
from vi_kl.diagnostics.evidence import elbo
from vi_kl.diagnostics.kl_to_truth import forward_kl, reverse_kl_by_gap, reverse_kl_by_integration
from vi_kl.diagnostics.psis import pareto_k

__all__ = [
    "Certificate",
    "check",
    "elbo",
    "forward_kl",
    "pareto_k",
    "reverse_kl_by_gap",
    "reverse_kl_by_integration",
]
