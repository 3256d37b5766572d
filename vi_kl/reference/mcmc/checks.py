"""Checks that a reference run has to pass before anything is measured against it.

References: Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), "Rank-normalization, folding, and localization: an
improved R-hat"; Betancourt (2016), "Diagnosing suboptimal cotangent disintegrations in Hamiltonian Monte Carlo", for
the E-BFMI.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from vi_kl.reference.mcmc.nuts import Run


@dataclasses.dataclass(frozen=True)
class Checks:
    """A set of limits for the figures that are measured.

    Attributes:
        max_r_hat: rank-normalised split R-hat, the largest over the coordinates of z.
        min_ess: effective sample size of all chains together, the smallest over the coordinates, in bulk and tails.
        max_divergent_share: the share of trajectories that diverge.
        min_e_bfmi: the energy fraction of missing information, the smallest over the chains.
        max_disagreement: the disagreement, in standard errors, of one chain's log evidence with the others', and of
            those by bridge sampling and by annealing; of populations, that of one's log evidence, means and shares of
            modes with the others'.
        max_evidence_error: the relative error of the evidence by populations.
        max_memory: the correlation that moves leave between the gradient's signs at particles before and after.
        max_moves_diverging: the share of diverging trajectories of a few chains of NUTS from particles of populations.
        min_in_mode: the number of particles that every population has in each mode.
    """

    max_r_hat: float = 1.01
    min_ess: float = 400.0
    max_divergent_share: float = 0.001
    min_e_bfmi: float = 0.3
    max_disagreement: float = 4.0
    max_evidence_error: float = 0.1
    max_memory: float = 0.2
    max_moves_diverging: float = 0.005
    min_in_mode: float = 1.0


@dataclasses.dataclass(frozen=True)
class Check:
    """A check of one figure: its name, whether a low one is good, its limit in `Checks`, and what a bad one means."""

    words: str
    limit: str
    form: str
    advice: str
    low_is_good: bool = True

    def complaint(self, value: float, checks: Checks, where: str) -> str | None:
        """Return a sentence if the figure does not pass (NaN does not), else None."""
        limit = getattr(checks, self.limit)
        if (value <= limit) if self.low_is_good else (value >= limit):
            return None
        side = "at most" if self.low_is_good else "at least"
        figures = f"{value:{self.form}}{where}, and should be {side} {limit:{self.form}}"
        return f"{self.words} is {figures}: {self.advice}"


MORE = "run more warm-up and more draws (num_warmup, num_draws)"


def of_the_chains(more: str = MORE) -> dict[str, Check]:
    """Return the checks of chains; `more` says how to ask for longer ones."""
    return {
        "r_hat": Check(
            "R-hat",
            "max_r_hat",
            ".4f",
            f"the chains do not agree; {more}, and look for several modes (reference_by_smc).",
        ),
        "ess_bulk": Check("The bulk effective sample size", "min_ess", ".0f", f"{more}.", False),
        "ess_tail": Check("The tail effective sample size", "min_ess", ".0f", f"{more}.", False),
        "divergent_share": Check(
            "The share of divergent trajectories",
            "max_divergent_share",
            ".3%",
            "a part of the posterior is too narrow for the step size; write the model non-centred, or raise "
            "target_accept_prob towards 0.99.",
        ),
        "e_bfmi": Check(
            "E-BFMI",
            "min_e_bfmi",
            ".2f",
            "the energy hardly moves, as in heavy tails and funnels; write the model non-centred, or transform its "
            "scales.",
            False,
        ),
    }


OF_THE_CHAINS = of_the_chains()
OF_THE_EVIDENCE = {
    "chains_apart": Check(
        "The distance in standard errors of one chain's log evidence from the others'",
        "max_disagreement",
        ".1f",
        f"the chains have not seen the same posterior; {MORE}, and look for several modes.",
    ),
    "methods_apart": Check(
        "The distance in standard errors between the log evidences by bridge sampling and by annealing",
        "max_disagreement",
        ".1f",
        "one of them misses a part of the posterior, such as a mode; compare num_draws and annealing=Annealing(...) of "
        "several sizes, and several keys.",
    ),
}
PARTICLES = "take more particles (num_particles)"
OF_THE_POPULATIONS = {
    "fewest_in_mode": Check(
        "The least number of particles that a population has in a mode of the others",
        "min_in_mode",
        ".0f",
        f"a mode that some populations miss has no known share; {PARTICLES}.",
        False,
    ),
    "evidences_apart": Check(
        "The distance in standard errors of one population's log evidence from the others'",
        "max_disagreement",
        ".1f",
        f"the populations have not seen the same posterior; {PARTICLES}.",
    ),
    "shares_apart": Check(
        "The distance in standard errors of one population's share of a mode from the others'",
        "max_disagreement",
        ".1f",
        f"the populations do not agree on the modes; {PARTICLES}.",
    ),
    "means_apart": Check(
        "The distance in standard errors of one population's mean from the others'",
        "max_disagreement",
        ".1f",
        f"the populations have not seen the same posterior; {PARTICLES}.",
    ),
    "evidence_error": Check("The relative error of the evidence", "max_evidence_error", ".3f", f"{PARTICLES}."),
    "ess_bulk": Check("The bulk effective sample size", "min_ess", ".0f", f"{PARTICLES}.", False),
    "ess_tail": Check("The tail effective sample size", "min_ess", ".0f", f"{PARTICLES}.", False),
    "memory": Check(
        "The correlation of the gradient's signs at particles with those before their moves",
        "max_memory",
        ".2f",
        "particles hardly move, as in funnels; write the model non-centred, or transform its scales.",
    ),
    "moves_diverging": Check(
        "The share of divergent trajectories from the particles",
        "max_moves_diverging",
        ".2%",
        "a part of the posterior is too narrow for their steps, as a funnel's neck is, and populations that all miss "
        "it agree; write the model non-centred.",
    ),
    "moves_e_bfmi": Check(
        "The E-BFMI of trajectories from the particles",
        "min_e_bfmi",
        ".2f",
        "the energy hardly moves, as in heavy tails and funnels, whose ends populations may all miss; write the model "
        "non-centred, or transform its scales.",
        False,
    ),
}
PER_COORDINATE = ("r_hat", "ess_bulk", "ess_tail", "means_apart")


def measure(run: Run) -> dict[str, np.ndarray]:
    """Return the figures of the chains: R-hat and the sample sizes by coordinate of z, the rest as single numbers."""
    from arviz_stats.base import array_stats  # imported here, as it takes seconds

    by_coordinate = np.moveaxis(run.z, -1, 0)
    return {
        "r_hat": np.atleast_1d(array_stats.rhat(by_coordinate, method="rank")),
        "ess_bulk": np.atleast_1d(array_stats.ess(by_coordinate, method="bulk")),
        "ess_tail": np.atleast_1d(array_stats.ess(by_coordinate, method="tail", prob=0.05)),
        "divergent_share": np.asarray(run.diverging.mean()),
        "e_bfmi": np.asarray(energy_fraction(run)),
    }


def energy_fraction(run: Run) -> float:
    """Return the energy fraction of missing information, the smallest over the chains."""
    return float(np.min((np.diff(run.energy, axis=1) ** 2).mean(axis=1) / run.energy.var(axis=1)))


def complaints(figures, checks: Checks, kinds: dict[str, Check], coordinate_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return a sentence for each check that fails."""
    found = (judge(name, kinds[name], figures[name], checks, coordinate_names) for name in kinds)
    return tuple(filter(None, found))


def judge(name: str, check: Check, value, checks: Checks, coordinate_names) -> str | None:
    if name not in PER_COORDINATE:
        return check.complaint(float(value), checks, "")
    index = place_of_worst(check, value)
    return check.complaint(float(value[index]), checks, f" in {coordinate_names[index]}")


def place_of_worst(check: Check, values) -> int:
    """Return which coordinate's figure is the worst."""
    worst: Callable = np.argmax if check.low_is_good else np.argmin  # both select a NaN first
    return int(worst(values))


def worst_of(figures, kinds: dict[str, Check]) -> dict[str, float]:
    """Return {name: the worst figure over the coordinates} of the checks whose figures are known."""
    return {name: float(np.ravel(figures[name])[place_of_worst(kinds[name], figures[name])]) for name in kinds}
