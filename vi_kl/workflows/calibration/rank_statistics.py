"""RankStatistics: where the true parameters lay among the draws of q, and what tests say of it, before any words."""

import dataclasses

import numpy as np

from vi_kl.algorithms.algorithm import Cost
from vi_kl.core.estimate import Estimate
from vi_kl.core.records import store
from vi_kl.workflows.calibration.uniformity import (
    holm,
    spread_p_value,
    spread_statistic,
    symmetry_p_value,
    uniformity_p_value,
)

TESTS = {"uniformity": uniformity_p_value, "symmetry": symmetry_p_value, "spread": spread_p_value}
ALPHA = 0.01  # the probability that a verdict finds fault with a procedure that has none


@dataclasses.dataclass(frozen=True)
class RankStatistics:
    """A record of where the true parameters lay among the draws of q, over many simulated data sets.

    Attributes:
        method: the name of the algorithm.
        parameters: one name per scalar parameter, in the model's own space, and last "log density": the joint log
            density of parameters and data, which shows what single parameters do not (Modrák et al. 2023).
        ranks: how many of q's draws lie below the truth (ties broken at random), 0 to num_draws, shape
            (data sets, parameters). Data sets whose fit failed are left out.
        pits: the ranks spread evenly over their steps: uniform between 0 and 1 where q is the posterior.
        num_draws: the number of draws of each q.
        converged: whether each fit said so.
        failures: {number of the data set: why its fit failed}.
        latent, data: {site: (num_data_sets, ...)}, what was simulated, failures included.
        cost: the cost of the whole calibration.
        given: the sites whose data were seen, and are in every fit (posterior SBC); () if data are the prior's.
        p_values: {test: one p value per parameter}, none of them adjusted for their number. "uniformity": the ECDF of
            the PITs against simultaneous bands (Säilynoja et al. 2022), exact; it sees any departure. "symmetry": the
            PITs against their mirror images, which VSBC tests for bias, exact by Butler (1969). "spread": how far from
            1/2 the PITs lie, by their mean square.
        adjusted_p_values: the same, adjusted by Holm's method for all parameters and all three tests together.
        faults: {test: whether it found fault, per parameter}: in any, with probability 1% where there is none.
        bias: {parameter: "underestimated", "overestimated", or "" where no bias was found}.
        width: {parameter: "too narrow", "too wide", or "" where q's spread shows no fault}.
        finds_fault: whether any test found fault with any parameter.
        worst_first: the parameters, the least calibrated first.
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
    given: tuple[str, ...] = ()
    p_values: dict[str, np.ndarray] = dataclasses.field(init=False, repr=False)
    adjusted_p_values: dict[str, np.ndarray] = dataclasses.field(init=False, repr=False)
    faults: dict[str, np.ndarray] = dataclasses.field(init=False, repr=False)
    bias: dict[str, str] = dataclasses.field(init=False, repr=False)
    width: dict[str, str] = dataclasses.field(init=False, repr=False)
    finds_fault: bool = dataclasses.field(init=False, repr=False)
    worst_first: tuple[str, ...] = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        p_values = {name: np.array([test(u) for u in self.pits.T]) for name, test in TESTS.items()}
        adjusted = dict(zip(TESTS, holm(np.stack(list(p_values.values()))), strict=True))
        faults = {name: p < ALPHA for name, p in adjusted.items()}
        directions = np.where(self.pits.mean(axis=0) > 0.5, "underestimated", "overestimated")
        widths = ["too narrow" if spread_statistic(u) > 0 else "too wide" for u in self.pits.T]
        smallest = np.min(list(p_values.values()), axis=0)
        store(
            self,
            p_values=p_values,
            adjusted_p_values=adjusted,
            faults=faults,
            bias=self.by_parameter(np.where(faults["symmetry"], directions, "")),
            width=self.by_parameter(np.where(faults["spread"], widths, "")),
            finds_fault=any(bool(found.any()) for found in faults.values()),
            worst_first=tuple(self.parameters[i] for i in np.argsort(smallest, kind="stable")),
        )

    def by_parameter(self, words: np.ndarray) -> dict[str, str]:
        return dict(zip(self.parameters, words.tolist(), strict=True))

    def coverage(self, level: float = 0.95) -> dict[str, Estimate]:
        """Return the share of data sets in which q's central interval at this level holds the truth, by parameter.

        If q is the posterior, it is `level` on average, with the binomial standard error that each comes with.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {level}.")
        inside = np.abs(self.pits - 0.5) <= level / 2
        return self.shares(inside, f"{level:.0%} intervals in {len(inside)} simulated data sets")

    def above_median(self) -> dict[str, Estimate]:
        """Return the share of data sets in which the truth lies above q's median, by parameter; high if q is low."""
        return self.shares(self.pits > 0.5, f"medians in {len(self.pits)} simulated data sets")

    def shares(self, events: np.ndarray, method: str) -> dict[str, Estimate]:
        """Return the share of data sets in which something happened, for each parameter.

        The standard error is that of a share half a data set nearer the middle, so that it is never zero.
        """
        n = len(events)
        share, inner = events.mean(axis=0), (events.sum(axis=0) + 0.5) / (n + 1)
        errors = np.sqrt(inner * (1 - inner) / n)
        return {
            name: Estimate(value, error, method, "")
            for name, value, error in zip(self.parameters, share, errors, strict=True)
        }

    def index(self, parameter: str) -> int:
        """Return the index of a parameter in `parameters`, and so in the columns of the arrays."""
        if parameter not in self.parameters:
            raise ValueError(f"No parameter {parameter!r}: choose from {', '.join(self.parameters)}.")
        return self.parameters.index(parameter)
