"""Whether q's density is the density of q's draws: a wrong Jacobian makes every figure wrong without a sign.

The mass of a density is one. Where r is another density, E_q[r / q] is at most one over draws of q, and E_r[q / r]
over draws of r; if log q is too low or too high, one of them exceeds one. Both are judged by limits that hold for
any tails (limits.py), so an alarm is never an accident of heavy weights.
"""

import numpy as np

from vi_kl.core.gaussian import StudentT, gaussian_of_draws
from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import numpy_generator
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.limits import log_lower_limit
from vi_kl.families.approximation import Approximation, log_prob_in_chunks

CONFIDENCE = 0.9995  # each; a healthy q raises one false alarm in a thousand checks
ROUNDING = 1e-6  # nats
SMALLER = 0.95  # than q in every direction is what q is held to, so that the ratios have light tails


@in_float64
def density_excess(q: Approximation, draws: Draws, key) -> float:
    """Nats by which q's density, or its inverse, is proved to exceed what a density can be; 0 where nothing is wrong.

    The density that q is held to is normal (thin tails, over q's draws) or Student t (thick ones, for draws of its
    own) with the mean and covariance of one half of q's draws. A q whose draws do not span the space, to rounding, is
    not judged.
    """
    half = len(draws) // 2
    found = gaussian_of_draws(draws.z[:half])
    if found is None:
        return 0.0
    normal = found.scaled(SMALLER)
    excess = log_lower_limit(normal.log_prob(draws.z[half:]) - draws.log_q[half:], CONFIDENCE)
    if q.family.has_log_prob:
        student = StudentT(normal, degrees_of_freedom=7.0)
        z = student.sample(numpy_generator(key), half)
        log_q = log_prob_in_chunks(q, z)
        ratio = np.where(np.isnan(log_q), -np.inf, log_q - student.log_prob(z))
        excess = max(excess, log_lower_limit(ratio, CONFIDENCE))
    return excess if excess > ROUNDING else 0.0
