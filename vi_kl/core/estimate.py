"""Estimate: a number with its standard error, its method and its unit; written_numbers.py writes it."""

import dataclasses
import html
import math
from statistics import NormalDist

import numpy as np
from scipy.special import stdtrit

from vi_kl.core.written_numbers import divergence_with_error, with_error, with_unit

__all__ = ["Estimate"]

UNITS = {"nats": 1.0, "bits": math.log(2.0)}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its standard error, the method that gave it, and its unit.

    Attributes:
        value: the number itself.
        standard_error: the standard error of the value; for a deterministic method (quadrature) the method's own error
            estimate, 0.0 for a closed form.
        method: the method in words ("closed form", "Monte Carlo, 4,096 draws").
        unit: "nats", "bits", or "" for a plain number.
        num_draws: the number of random or quasi-random draws used; None if there are none.
        k_hat: the Pareto shape of the density ratios used (divergences/estimators/pareto.py); None if there
            are none.
        caveat: a sentence on what the method cannot see; "" if it sees everything.
        degrees_of_freedom: the degrees of freedom of the standard error, if it rests on so few replicates that the
            error relative to it follows Student's t; None for a Gaussian.
    """

    value: float
    standard_error: float = 0.0
    method: str = "closed form"
    unit: str = "nats"
    num_draws: int | None = None
    k_hat: float | None = None
    caveat: str = ""
    degrees_of_freedom: float | None = None

    def __post_init__(self):
        object.__setattr__(self, "value", float(self.value))
        object.__setattr__(self, "standard_error", float(self.standard_error))
        if self.unit not in ("nats", "bits", ""):
            raise ValueError(f"unit must be 'nats', 'bits' or '', not {self.unit!r}.")
        if self.standard_error < 0:
            raise ValueError(f"standard_error must not be negative, got {self.standard_error}.")
        if self.degrees_of_freedom is not None and not self.degrees_of_freedom > 0:
            raise ValueError(f"degrees_of_freedom must be positive, got {self.degrees_of_freedom}.")

    def to(self, unit: str) -> "Estimate":
        """Return the number converted to nats or bits."""
        if self.unit == unit:
            return self
        if self.unit not in UNITS or unit not in UNITS:
            raise ValueError(f"Cannot convert from {self.unit!r} to {unit!r}: only nats and bits convert.")
        factor = UNITS[self.unit] / UNITS[unit]
        return dataclasses.replace(
            self, value=self.value * factor, standard_error=self.standard_error * factor, unit=unit
        )

    def as_divergence(self) -> "Divergence":
        """Return the same number as one that cannot be negative."""
        return Divergence(**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the central interval at `level` (Gaussian, or Student's t with few degrees of freedom)."""
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {level}.")
        half = self.quantile(0.5 + level / 2) * self.standard_error
        return self.value - half, self.value + half

    def quantile(self, probability: float) -> float:
        """Return the quantile of the error, in standard errors."""
        if self.degrees_of_freedom is None:
            return NormalDist().inv_cdf(probability)
        return float(stdtrit(self.degrees_of_freedom, probability))

    def minus(self, other: "Estimate", method: str) -> "Estimate":
        """Return self - other for *independent* errors, in self's unit; `method` describes the difference.

        The difference carries the caveats of both.
        """
        other = other.to(self.unit)
        error = math.hypot(self.standard_error, other.standard_error)
        caveat = " ".join(dict.fromkeys(filter(None, (self.caveat, other.caveat))))
        freedom = combined_degrees_of_freedom(self, other)
        return Estimate(self.value - other.value, error, method, self.unit, caveat=caveat, degrees_of_freedom=freedom)

    def agrees_with(self, other: "Estimate", standard_errors: float = 3.0) -> bool:
        """Return whether two estimates of one number lie within that many combined standard errors."""
        difference = self.minus(other, "difference")
        rounding = 1e-9 * max(1.0, abs(self.value))
        return abs(difference.value) <= standard_errors * difference.standard_error + rounding

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)

    def __float__(self):
        return self.value

    def __str__(self):
        return f"{with_unit(self.written, self.unit)} ({self.method})"

    def _repr_html_(self):
        return f"<p>{html.escape(str(self))}</p>"

    @property
    def written(self) -> str:
        """The value and its error, with the digits that are sure."""
        return with_error(self.value, self.standard_error)


@dataclasses.dataclass(frozen=True)
class Divergence(Estimate):
    """An Estimate of a number that cannot be negative, and is written so; its value is what was computed all the same.

    It reads as negative only where that contradicts its error.
    """

    @property
    def written(self) -> str:
        """The value and its error, 0 where the error explains that the value is negative."""
        return divergence_with_error(self.value, self.standard_error)


def error_of_mean(values: np.ndarray, effective_number: float | None = None) -> float:
    """Return the standard error of the mean of `values`, raised if skewness makes the usual one too small.

    A sample of skewed values that lacks a large one has a mean and an sd that are too small. To first order the
    upper 95% limit moves by (1 + 2 * 1.96^2) / 6 standard errors per skewness / sqrt(n) (Johnson 1978, "Modified t
    tests and confidence intervals for asymmetrical populations"); the error is raised by as much, for both limits.

    Args:
        values: the values, of shape (n,), n at least 2.
        effective_number: the effective number of independent values; by default n.
    """
    n = len(values) if effective_number is None else effective_number
    spread = values.std(ddof=1)
    if spread == 0:
        return 0.0
    skewness = abs(np.mean((values - values.mean()) ** 3)) / spread**3
    return float(spread / np.sqrt(n) * (1 + (1 + 2 * 1.96**2) / 6 / 1.96 * skewness / np.sqrt(n)))


def combined_degrees_of_freedom(*estimates: Estimate) -> float | None:
    """Return the degrees of freedom of a sum of independent errors; None if none of them has few.

    Reference: Welch (1947), Satterthwaite (1946).
    """
    variances = [(e.standard_error**2, e.degrees_of_freedom) for e in estimates]
    spread = sum(variance**2 / freedom for variance, freedom in variances if freedom is not None)
    return sum(variance for variance, _ in variances) ** 2 / spread if spread else None
