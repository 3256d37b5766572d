"""StudentT: a multivariate Student t with its degrees of freedom learned.

Requires nothing of the target. Use it where a full-rank normal has the right shape and too light tails: importance
weights then stay bounded. All directions share one tail; `Skewed` gives each coordinate its own. Its draws divide by
a chi-squared variable, whose derivative is implicit and slow beside a normal's.

Reference: Kingma & Welling (2014) for location and scale; Figurnov, Mohamed & Mnih (2018), "Implicit
reparameterization gradients", for the degrees of freedom.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.families.family import Family
from vi_kl.families.gaussian import FullRank, full_rank_params, scale_tril

FEWEST = 2.0  # degrees of freedom, above which the variance is finite
FIRST = 10.0  # the excess of the initial degrees of freedom over the fewest


@dataclasses.dataclass(frozen=True)
class StudentT(Family):
    """A multivariate Student t, q(z) = MultivariateStudentT(df, loc, scale_tril) with df above two."""

    name = "student_t"

    def standard(self, key, target):
        # as wide as the standard normal
        tril = np.eye(target.dim) * np.sqrt(FIRST / (FEWEST + FIRST))
        return {"shape": full_rank_params(np.zeros(target.dim), tril), "log_df": jnp.log(FIRST)}

    def place(self, params, units):
        return {**params, "shape": FullRank().place(params["shape"], units)}

    def distribution(self, params, target):
        """Return the member; `log_df` is the logarithm of the excess of the degrees of freedom over two."""
        df = FEWEST + jnp.exp(params["log_df"])
        return dist.MultivariateStudentT(df, params["shape"]["loc"], scale_tril(params["shape"]), validate_args=False)
