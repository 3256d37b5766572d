"""Calibration: what many simulated data sets say of a fitting procedure, in figures and in words."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from vi_kl.algorithms.algorithm import Cost
from vi_kl.core.estimate import Estimate
from vi_kl.workflows.calibration.uniformity import (
    holm,
    spread_p_value,
    spread_statistic,
    symmetry_p_value,
    uniformity_p_value,
)
from vi_kl.workflows.calibration.words import cannot_see, verdict

if TYPE_CHECKING:
    import pandas as pd

TESTS = {"uniformity": uniformity_p_value, "symmetry": symmetry_p_value, "spread": spread_p_value}
ALPHA = 0.01  # with which probability a verdict finds fault with a procedure that has none


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Where the true parameters lay among the draws of q, over many simulated data sets.

    Attributes:
        method: the name of the algorithm.
        parameters: one name per scalar parameter, in the model's own space, and last "log density": the joint log
            density of parameters and data, which shows what single parameters do not (Modrák et al. 2023).
        ranks: how many of q's draws lie below the truth (ties broken at random), 0 to num_draws, shape
            (data sets, parameters). Data sets whose fit failed are left out.
        pits: the ranks spread evenly over their steps: uniform between 0 and 1 where q is the posterior.
        num_draws: of each q.
        converged: whether each fit said so.
        failures: {number of the data set: why its fit failed}.
        latent, data: {site: (num_data_sets, ...)}, what was simulated, failures included.
        cost: of the whole calibration.
    """

    method: str
    parameters: tuple[str, ...]
    ranks: np.ndarray
    pits: np.ndarray
    num_draws: int
    converged: np.ndarray
    failures: dict[int, str]
    latent: dict[str, np.ndarray]
    data: dict[str, np.ndarray]
    cost: Cost

    def coverage(self, level: float = 0.95) -> dict[str, Estimate]:
        """{parameter: the share of data sets in which q's central interval at this level holds the truth}.

        Where q is the posterior it is `level` on average, with the binomial standard error that each comes with.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {level}.")
        inside = np.abs(self.pits - 0.5) <= level / 2
        return self.shares(inside, f"{level:.0%} intervals in {len(inside)} simulated data sets")

    def above_median(self) -> dict[str, Estimate]:
        """{parameter: the share of data sets in which the truth lies above q's median}: over 1/2 where q is low."""
        return self.shares(self.pits > 0.5, f"medians in {len(self.pits)} simulated data sets")

    def shares(self, events: np.ndarray, method: str) -> dict[str, Estimate]:
        """Of data sets in which something happened, for each parameter.

        The standard error is that of a share half a data set nearer the middle, so that it is never zero.
        """
        n = len(events)
        share, inner = events.mean(axis=0), (events.sum(axis=0) + 0.5) / (n + 1)
        errors = np.sqrt(inner * (1 - inner) / n)
        return {
            name: Estimate(value, error, method, "")
            for name, value, error in zip(self.parameters, share, errors, strict=True)
        }

    @functools.cached_property
    def p_values(self) -> dict[str, np.ndarray]:
        """{test: one p value per parameter}, none of them adjusted for their number.

        "uniformity": the ECDF of the PITs against simultaneous bands (Säilynoja et al. 2022), exact; it sees any
        departure. "symmetry": the PITs against their mirror images, which VSBC tests for bias, exact by Butler
        (1969). "spread": how far from 1/2 the PITs lie, by their mean square.
        """
        return {name: np.array([test(u) for u in self.pits.T]) for name, test in TESTS.items()}

    @functools.cached_property
    def adjusted_p_values(self) -> dict[str, np.ndarray]:
        """The same, adjusted by Holm's method for all parameters and all three tests together."""
        adjusted = holm(np.stack([self.p_values[name] for name in TESTS]))
        return dict(zip(TESTS, adjusted, strict=True))

    @property
    def faults(self) -> dict[str, np.ndarray]:
        """{test: whether it found fault, per parameter}: in any, with probability 1% where there is none."""
        return {name: p < ALPHA for name, p in self.adjusted_p_values.items()}

    @property
    def bias(self) -> dict[str, str]:
        """{parameter: "underestimated", "overestimated", or "" where no bias was found}."""
        words = np.where(self.pits.mean(axis=0) > 0.5, "underestimated", "overestimated")
        return dict(zip(self.parameters, np.where(self.faults["symmetry"], words, "").tolist(), strict=True))

    @property
    def width(self) -> dict[str, str]:
        """{parameter: "too narrow", "too wide", or "" where q's spread shows no fault}."""
        words = ["too narrow" if spread_statistic(u) > 0 else "too wide" for u in self.pits.T]
        return dict(zip(self.parameters, np.where(self.faults["spread"], words, "").tolist(), strict=True))

    @property
    def finds_fault(self) -> bool:
        """Whether any test found fault with any parameter."""
        return any(bool(found.any()) for found in self.faults.values())

    @property
    def verdict(self) -> str:
        """What the figures mean, in words."""
        return verdict(self)

    @property
    def cannot_see(self) -> str:
        """What could be wrong without showing in these figures."""
        return cannot_see(self)

    def to_dataframe(self) -> "pd.DataFrame":
        """One row per parameter; p values are adjusted for all parameters and tests together."""
        import pandas as pd  # half a second that fitting need not wait for

        columns: dict[str, Any] = {"parameter": self.parameters}
        for level in (0.5, 0.95):
            estimates = self.coverage(level).values()
            columns[f"{level:.0%} cover"] = [e.value for e in estimates]
            columns[f"± se {level:.0%}"] = [e.standard_error for e in estimates]
        columns["above median"] = [e.value for e in self.above_median().values()]
        columns |= {"bias": list(self.bias.values()), "width": list(self.width.values())}
        columns |= {f"p {name}": p for name, p in self.adjusted_p_values.items()}
        return pd.DataFrame(columns).set_index("parameter")

    @property
    def worst_first(self) -> tuple[str, ...]:
        """The parameters, the least calibrated first."""
        smallest = np.min(list(self.p_values.values()), axis=0)
        return tuple(self.parameters[i] for i in np.argsort(smallest, kind="stable"))

    def __str__(self):
        table = self.to_dataframe().to_string(float_format=lambda x: f"{x:.3g}")
        title = f"Calibration of {self.method} over {len(self.pits)} simulated data sets"
        return "\n".join([title, table, self.verdict, f"Blind spot: {self.cannot_see}"])

    def _repr_html_(self):
        return self.to_dataframe().to_html(float_format=lambda x: f"{x:.3g}")

    def index(self, parameter: str) -> int:
        if parameter not in self.parameters:
            raise ValueError(f"No parameter {parameter!r}: choose from {', '.join(self.parameters)}.")
        return self.parameters.index(parameter)
