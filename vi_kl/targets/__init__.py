"""The target: an unnormalised posterior over a flat unconstrained vector z.

`Target.from_numpyro(model, *args, **kwargs)` makes one from a NumPyro model and its data;
`Target.from_log_density(function, dim)` from any log density that JAX can trace.
What is known about it (its evidence, draws of the posterior) is a `ReferencePosterior`, from `vi_kl.reference`.
"""

from vi_kl.targets.numpyro.inspection import ModelError
from vi_kl.targets.target import Target

__all__ = ["ModelError", "Target"]
