"""Check that log q is the log density of q's draws: with a wrong Jacobian every figure would be wrong without a sign.

The mass of a density is one. Let r be another density. Then E_q[r / q], over draws of q, and E_r[q / r], over draws of
r, are both at most one; if log q is too low or too high, one of them exceeds one. Both are judged by confidence limits
that hold for any tails (limits.py), so that heavy weights do not cause false alarms.
"""

import numpy as np

from vi_kl.core.gaussian import StudentT, gaussian_of_draws
from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import numpy_generator
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.limits import log_lower_limit
from vi_kl.families.approximation import Approximation, log_prob_in_chunks

CONFIDENCE = 0.9995  # the level of each limit; a correct q raises one false alarm in a thousand checks
ROUNDING = 1e-6  # nats
SMALLER = 0.95  # the scale of r relative to q, so that the ratios have light tails


@in_float64
def density_excess(q: Approximation, draws: Draws, key) -> float:
    """Return the nats by which log q is proved to be off somewhere; 0 if nothing is wrong.

    The density r that q is compared with has the mean and covariance of one half of q's draws. It is a normal, whose
    tails are thin, for ratios over q's draws, and a Student t, whose tails are thick, for ratios over its own. A q
    whose draws do not span the space, to rounding, is not judged.
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
