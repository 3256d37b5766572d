"""Estimate: a number, how sure it is, how it was obtained, and its unit."""

import dataclasses
import math
from statistics import NormalDist

UNITS = {"nats": 1.0, "bits": math.log(2.0)}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number that says how sure it is.

    Attributes:
        value: the number itself.
        standard_error: its standard error; for a deterministic method (quadrature) the method's own error
            estimate, 0.0 for a closed form.
        method: how it was obtained, in words a reader understands ("closed form", "Monte Carlo, 4,096 draws").
        unit: "nats", "bits", or "" for a plain number.
    """

    value: float
    standard_error: float = 0.0
    method: str = "closed form"
    unit: str = "nats"

    def __post_init__(self):
        object.__setattr__(self, "value", float(self.value))
        object.__setattr__(self, "standard_error", float(self.standard_error))
        if self.unit not in ("nats", "bits", ""):
            raise ValueError(f"unit must be 'nats', 'bits' or '', not {self.unit!r}.")
        if self.standard_error < 0:
            raise ValueError(f"standard_error must not be negative, got {self.standard_error}.")

    def to(self, unit: str) -> "Estimate":
        """The same number in nats or bits."""
        if self.unit == unit:
            return self
        if self.unit not in UNITS or unit not in UNITS:
            raise ValueError(f"Cannot convert from {self.unit!r} to {unit!r}: only nats and bits convert.")
        factor = UNITS[self.unit] / UNITS[unit]
        return dataclasses.replace(
            self, value=self.value * factor, standard_error=self.standard_error * factor, unit=unit
        )

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The central interval at `level` under a Gaussian error."""
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {level}.")
        half = NormalDist().inv_cdf(0.5 + level / 2) * self.standard_error
        return self.value - half, self.value + half

    def minus(self, other: "Estimate", method: str) -> "Estimate":
        """self - other for *independent* errors, in self's unit; `method` describes the difference."""
        other = other.to(self.unit)
        error = math.hypot(self.standard_error, other.standard_error)
        return Estimate(self.value - other.value, error, method, self.unit)

    def agrees_with(self, other: "Estimate", standard_errors: float = 3.0) -> bool:
        """Whether two estimates of one number lie within that many combined standard errors."""
        difference = self.minus(other, "difference")
        rounding = 1e-9 * max(1.0, abs(self.value))
        return abs(difference.value) <= standard_errors * difference.standard_error + rounding

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)

    def __float__(self):
        return self.value

    def __str__(self):
        return f"{format_with_error(self.value, self.standard_error)} {self.unit}".strip() + f" ({self.method})"


def format_with_error(value: float, standard_error: float, digits: int = 2) -> str:
    """`value ± error`, with the error at `digits` significant digits and the value at the same place."""
    if not math.isfinite(value) or not math.isfinite(standard_error):
        return f"{value:.4g} ± {standard_error:.2g}" if standard_error else f"{value:.4g}"
    if standard_error == 0.0:
        return f"{value:.6g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(standard_error)))
    if decimals > 6:
        return f"{value:.10g} ± {standard_error:.0e}"
    return f"{value:.{decimals}f} ± {standard_error:.{decimals}f}"
