"""Rounding: what a log density that is computed in float32 leaves uncertain, as a part of the stated errors.

With e(z) the error of the log density, KL(q||posterior) is off by no more than the spread of e over the two, and the
ELBO and the evidence by its mean too. Both are measured at draws of q, against the same log density in float64, and
taken as further standard errors.
"""

import dataclasses
from typing import Any

import numpy as np

from vi_kl.core.estimate import Estimate
from vi_kl.core.written_numbers import significant
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.evidence_bounds import Limits
from vi_kl.families.approximation import Approximation
from vi_kl.targets.rounding import POINTS, rounding_errors

TOO_MUCH = 0.1  # nats: with a spread above this, distances that are called small are the noise's


@dataclasses.dataclass(frozen=True)
class Rounding:
    """The errors of a log density computed in float32, in nats.

    Attributes:
        bias: their mean over draws of q, which is that of the ELBO and of the log evidence.
        noise: their standard deviation over draws of q.
    """

    bias: float
    noise: float

    @property
    def is_too_much(self) -> bool:
        """Whether the noise hides the distances that matter."""
        return not self.noise <= TOO_MUCH

    @property
    def total(self) -> float:
        """The root mean square."""
        return float(np.hypot(self.bias, self.noise))

    def __str__(self):
        return f"{significant(self.noise, 2)} nats"


def rounding_of(q: Approximation, draws: Draws) -> Rounding | None:
    """Return the rounding of a target in float32, at draws of q; None for one in float64."""
    if q.target.dtype != "float32":
        return None
    finite = np.flatnonzero(np.isfinite(draws.log_p))[:POINTS]
    errors = rounding_errors(q.target, draws.z[finite], draws.log_p[finite])
    return Rounding(float(errors.mean()), float(errors.std()))


def with_rounding(figures: dict[str, Any], found: Rounding | None) -> dict[str, Any]:
    """Return a certificate's figures with rounding in their errors."""
    if found is None:
        return figures
    against_another = bool(figures.get("source"))  # a reference need not share the bias
    of = {name: found.total for name in ("elbo", "log_evidence", "evidence_limits")}
    distances = ("reverse_kl", "gap", "integrated", "forward_kl", "limits")
    of |= {name: found.total if against_another else found.noise for name in distances}
    widened = {name: with_error_of(figures[name], size) for name, size in of.items() if figures.get(name) is not None}
    return figures | widened | {"rounding": found}


def with_error_of(figure: Estimate | Limits, size: float) -> Estimate | Limits:
    """Return an estimate with a further standard error, or limits that are wider by twice as much."""
    if isinstance(figure, Estimate):
        return dataclasses.replace(figure, standard_error=float(np.hypot(figure.standard_error, size)))
    lower, upper = figure.lower - 2 * size, figure.upper + 2 * size
    return dataclasses.replace(figure, lower=max(lower, 0.0) if figure.lower >= 0 else lower, upper=upper)
