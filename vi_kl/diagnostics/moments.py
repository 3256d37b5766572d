"""Errors of q's means and standard deviations, in the model's own space and in units of the posterior sd."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from vi_kl.target.target import Target, constrain_in_chunks
from vi_kl.truth.truth import Moments


@dataclasses.dataclass(frozen=True)
class MomentErrors:
    """Errors at one site, entry by entry.

    Attributes:
        mean_error: (mean under q - posterior mean) / posterior sd.
        sd_ratio: sd under q / posterior sd: below 1 where q is too sure.
        noise: Monte-Carlo standard error of both, from the number of draws.
    """

    mean_error: np.ndarray
    sd_ratio: np.ndarray
    noise: float

    @property
    def worst_mean(self) -> float:
        return float(np.max(np.abs(self.mean_error)))

    @property
    def worst_sd(self) -> float:
        """The sd ratio farthest from 1, on the log scale."""
        ratios = np.ravel(self.sd_ratio)
        return float(ratios[np.argmax(np.abs(np.log(ratios)))])


def moment_errors(target: Target, z, exact: Mapping[str, Moments]) -> dict[str, MomentErrors]:
    """Compare q's draws z with the exact moments, site by site."""
    errors = {}
    for name, x in constrain_in_chunks(target, z).items():
        truth = exact[name]
        errors[name] = MomentErrors(
            mean_error=(x.mean(axis=0) - truth.mean) / truth.sd,
            sd_ratio=x.std(axis=0, ddof=1) / truth.sd,
            noise=float(1 / np.sqrt(len(x))),
        )
    return errors
