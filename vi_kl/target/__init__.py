"""The target: an unnormalised posterior over a flat unconstrained vector z, and what is known about it exactly.

`Target.from_numpyro(model, *args, **kwargs)` makes one from a NumPyro model and its data;
`Target.from_log_density(function, dim)` from any log density that JAX can trace.
`Truth` holds the log evidence and a way to draw from the exact posterior; `truth_by_quadrature` finds both for
any smooth target of up to three dimensions, and `closed_form_truth` takes them from a conjugate calculation.
"""

from vi_kl.target.quadrature import truth_by_quadrature
from vi_kl.target.target import Target
from vi_kl.target.truth import Truth, closed_form_truth

__all__ = ["Target", "Truth", "closed_form_truth", "truth_by_quadrature"]
