"""Confidence limits of the log evidence, and with them of KL(q||posterior).

The lower limit of the evidence is from importance weights, whose mean is at most the evidence, however much q misses.
The upper one is from draws of the posterior, over which q(z) / p(z, data) has a mean of at most 1 / evidence. Both are
limits by betting (limits.py), which hold for weights with any tails, so that k-hat plays no part. The upper limit
supposes that the posterior draws are from the posterior, and independent. The limits of KL use those of the ELBO
too, which rest on the central limit theorem.

References: Burda, Grosse & Salakhutdinov (2016), "Importance weighted autoencoders", for the lower limit; Grosse,
Ghahramani & Adams (2015), "Sandwiching the marginal likelihood using bidirectional Monte Carlo", for the pair.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from vi_kl.core.estimate import Estimate
from vi_kl.core.written_numbers import significant, with_unit
from vi_kl.diagnostics.limits import log_lower_limit
from vi_kl.diagnostics.missed_modes import MissedMode
from vi_kl.reference.mcmc.draws import PosteriorDraws


@dataclasses.dataclass(frozen=True)
class Limits:
    """The confidence limits of one number, in nats unless `unit` says otherwise; infinite where nothing is known.

    Attributes:
        lower: the lower limit.
        upper: the upper limit.
        confidence: the probability with which the number lies between the two, at least.
        unit: "nats" or "bits".
    """

    lower: float
    upper: float
    confidence: float
    unit: str = "nats"

    def to(self, unit: str) -> "Limits":
        """Return the limits in "nats" or "bits"."""
        factor = Estimate(1.0, unit=self.unit).to(unit).value
        return Limits(self.lower * factor, self.upper * factor, self.confidence, unit)

    def minus(self, other: "Limits") -> "Limits":
        """Return limits of self - other; the error probabilities add up (union bound)."""
        doubt = (1 - self.confidence) + (1 - other.confidence)
        return Limits(self.lower - other.upper, self.upper - other.lower, 1 - doubt, self.unit)

    def not_negative(self) -> "Limits":
        """Return the limits of a number that is known to be at least zero."""
        return dataclasses.replace(self, lower=max(self.lower, 0.0))

    def __contains__(self, value) -> bool:
        return self.lower <= float(value) <= self.upper

    def __str__(self):
        level = f"with {100 * self.confidence:.4g}% confidence"
        if math.isinf(self.upper):
            return f"at least {with_unit(significant(self.lower, 4, zeros=False), self.unit)}, {level}"
        lower, upper = (significant(limit, 4, zeros=False) for limit in (self.lower, self.upper))
        return f"between {lower} and {upper} {self.unit}, {level}"


def evidence_limits(
    log_weights: np.ndarray,
    parts: Sequence[MissedMode] = (),
    posterior: PosteriorDraws | None = None,
    log_inverse_weights: np.ndarray | None = None,
    confidence: float = 0.975,
) -> Limits:
    """Compute limits of the log evidence.

    Args:
        log_weights: log p(z, data) - log q(z) at draws of q; -inf for draws that fall into one of `parts`. The draws
            may be from a mixture, with a fixed number from each component (stratified): since the logarithm is concave,
            a bet on values of unequal means wins no more than one on values of equal means.
        parts: disjoint regions of the posterior that q does not visit, each with importance weights of its own.
        posterior: draws of the posterior, for the upper limit.
        log_inverse_weights: log q(z) - log p(z, data) at the posterior draws; without them there is no upper limit.
        confidence: the probability with which both limits hold. If the posterior draws are dependent, the upper limit
            is valid as far as thinning makes them independent.
    """
    doubt = (1 - confidence) / (1 if log_inverse_weights is None else 2)
    each = 1 - doubt / (1 + len(parts))
    lower = np.logaddexp.reduce([log_lower_limit(x, each) for x in (log_weights, *(p.log_weights for p in parts))])
    if log_inverse_weights is None:
        return Limits(float(lower), math.inf, confidence)
    apart = thin(posterior, np.where(np.isnan(log_inverse_weights), -np.inf, log_inverse_weights))
    return Limits(float(lower), -log_lower_limit(apart, 1 - doubt), confidence)


def thin(posterior: PosteriorDraws, log_values: np.ndarray) -> np.ndarray:
    """Thin values over posterior draws until they are nearly independent; return [-inf] if the chains hardly move.

    Both the values, on which the bets are made, and their ranks must be nearly independent.
    """
    from scipy.stats import rankdata  # imported here, as it takes a second

    highest = log_values.max()
    if posterior.independent or highest == -np.inf:
        return log_values
    numbers = [posterior.effective_number(x) for x in (np.exp(log_values - highest), rankdata(log_values))]
    if not min(numbers) >= 1:
        return np.array([-np.inf])
    stride = math.ceil(len(log_values) / min(numbers))
    return log_values.reshape(posterior.chains.shape[:2])[:, ::stride].ravel()


def elbo_limits(elbo: Estimate, confidence: float = 0.975) -> Limits:
    """Return limits of the ELBO by the central limit theorem.

    The ELBO is a mean of log weights, whose tails are light unless q's are heavier than the posterior's.
    """
    return Limits(*elbo.interval(confidence), confidence)
