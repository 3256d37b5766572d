"""Whether q's density is the density of q's draws: a wrong Jacobian makes every figure wrong without a sign.

The mass of a density is one. Where r is another density, E_q[r / q] is at most one over draws of q, and E_r[q / r]
over draws of r; if log q is too low or too high, one of them exceeds one. Both are judged by limits that hold for
any tails (limits.py), so an alarm is never an accident of heavy weights.
"""

import numpy as np
from scipy.stats import multivariate_normal, multivariate_t

from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.limits import log_lower_limit
from vi_kl.families.approximation import Approximation, log_prob_in_chunks
from vi_kl.keys import numpy_generator
from vi_kl.precision import in_float64

CONFIDENCE = 0.9995  # each; a healthy q raises one false alarm in a thousand checks
ROUNDING = 1e-6  # nats


@in_float64
def density_excess(q: Approximation, draws: Draws, key) -> float:
    """Nats by which q's density, or its inverse, is proved to exceed what a density can be; 0 where nothing is wrong.

    The density that q is held to is normal (thin tails, over q's draws) or Student t (thick ones, for draws of its
    own) with the mean and covariance of one half of q's draws.
    """
    half = len(draws) // 2
    mean, covariance = draws.z[:half].mean(axis=0), np.atleast_2d(np.cov(draws.z[:half], rowvar=False))
    normal = multivariate_normal(mean, 0.9 * covariance, allow_singular=True)
    too_low = log_lower_limit(normal.logpdf(draws.z[half:]).ravel() - draws.log_q[half:], CONFIDENCE)
    excess = max(too_low, 0.0)
    if q.family.has_log_prob:
        student = multivariate_t(mean, 0.9 * covariance, df=7, allow_singular=True)
        z = student.rvs(half, random_state=numpy_generator(key)).reshape(half, -1)
        log_q = log_prob_in_chunks(q, z)
        ratio = np.where(np.isnan(log_q), -np.inf, log_q - student.logpdf(z))
        excess = max(excess, log_lower_limit(ratio, CONFIDENCE))
    return excess if excess > ROUNDING else 0.0
