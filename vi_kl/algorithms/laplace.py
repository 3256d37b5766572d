"""Laplace: the normal distribution at a posterior mode with the curvature there.

Requires of the target: a twice differentiable log density with a proper mode in z. The Hessian is checked: if it is
not negative definite, there is no Laplace approximation, and the error names the direction.
"""

import dataclasses

import numpy as np

from vi_kl.algorithms.algorithm import Algorithm, FitError, Solution, Status
from vi_kl.algorithms.initialization import best_mode, mode_of, starting_points
from vi_kl.families.approximation import Approximation
from vi_kl.families.gaussian import FullRank, full_rank_params
from vi_kl.targets.modes import NEAR, Mode
from vi_kl.targets.priors import has_proper_priors, hierarchical_sites


@dataclasses.dataclass(frozen=True)
class Laplace(Algorithm):
    """Laplace's approximation at the mode with the most mass around it; climbs end when three of up to five agree.

    Attributes:
        max_steps: the most iterations of each climb.
    """

    max_steps: int = 500

    name = "laplace"

    def find(self, key, target, *, start, progress, counter):
        mode = mode_of(start)
        if mode is None:
            mode = best_mode(target, starting_points(target, key, start), counter, self.max_steps)
        require_proper(target, mode)
        q = Approximation(FullRank(), full_rank_params(mode.z, mode.scale_tril), target)
        return Solution(q, status(self, mode, counter.gradient_evaluations))


def status(config: Laplace, mode: Mode, gradients: int) -> Status:
    """Say how near the mode the climb ended."""
    converged = mode.distance < NEAR
    return Status(
        converged,
        f"{'Mode found' if converged else 'Not converged'}: {mode.distance:.1g} sd from the top of the local "
        f"quadratic after {gradients} gradients"
        + (", Hessian negative definite." if converged else f"; raise max_steps (now {config.max_steps})."),
    )


def mend_of_no_mode(target, worst: str) -> str:
    """Say what may help if a density has no mode, given which sites' priors can be the cause."""
    sites = hierarchical_sites(target)
    if sites:
        names = ", ".join(f"'{name}'" for name in sites[:3])
        return (
            f"The prior of {names} depends on other latent sites: such a density may rise without end where a scale "
            'goes to zero. Use the non-centred form, or fit "full_rank".'
        )
    if has_proper_priors(target):
        return 'It may be flat or at a boundary there: fit "full_rank", or write the model in another scale.'
    return f"The posterior may be flat, improper or at a boundary there: give '{worst}' a prior, or fit \"full_rank\"."


def require_proper(target, mode: Mode) -> None:
    """Raise an error if the log density is not concave at the highest point found; the message names the coordinate."""
    if mode.is_proper:
        return
    values, vectors = np.linalg.eigh(np.nan_to_num(mode.hessian))
    names = target.coordinate_names
    worst = names[int(np.argmax(np.abs(vectors[:, -1])))]
    raise FitError(
        f"No Laplace approximation: at the highest point found, z = {np.round(mode.z, 3).tolist()}, the log "
        f"density does not curve down along '{worst}' (eigenvalue {values[-1]:.3g} of the Hessian). "
        f"{mend_of_no_mode(target, worst)}"
    )
