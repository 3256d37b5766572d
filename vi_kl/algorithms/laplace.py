"""Laplace: the normal distribution at a posterior mode with the curvature there.

Requires of the target: a twice differentiable log density with a proper mode in z. The Hessian is checked: where
it is not negative definite there is no Laplace approximation, and the error says in which direction.
"""

import dataclasses

import jax
import numpy as np

from vi_kl.algorithms.algorithm import Algorithm, Fit, FitError, History, Status, ledger
from vi_kl.families.approximation import Approximation
from vi_kl.families.gaussian import FullRank, full_rank_params
from vi_kl.precision import in_float64
from vi_kl.target.mode import Mode, find_mode


@dataclasses.dataclass(frozen=True)
class Laplace(Algorithm):
    """The normal distribution at the highest of the modes reached from `num_starts` random starts in z."""

    num_starts: int = 4
    max_steps: int = 500

    name = "laplace"

    def fit(self, key, target, *, progress=None):
        return fit_laplace(self, key, target, progress)


@in_float64
def fit_laplace(config: Laplace, key, target, progress) -> Fit:
    with ledger() as books:
        modes = []
        for i, start_key in enumerate(jax.random.split(key, config.num_starts)):
            modes.append(find_mode(target, target.initial_position(start_key), config.max_steps))
            if progress:
                progress((i + 1) / config.num_starts, f"mode {i + 1} of {config.num_starts}")
        books.gradient_evaluations = sum(mode.evaluations for mode in modes)
        mode = max(modes, key=lambda mode: mode.log_density)
        require_proper(target, mode)
        params = full_rank_params(mode.z, mode.scale_tril)
    step = np.abs(np.linalg.solve(mode.hessian, mode.gradient)).max() if config.max_steps else np.inf
    converged = bool(step < 1e-3 * np.diag(mode.scale_tril).min())
    status = Status(
        converged,
        f"{'Mode found' if converged else 'Not converged'}: largest gradient {mode.gradient_norm:.1g} after "
        f"{books.gradient_evaluations} evaluations from {config.num_starts} starts"
        + (", Hessian negative definite." if converged else f"; raise max_steps (now {config.max_steps})."),
    )
    approximation = Approximation(LaplaceNormal(), params, target)
    return Fit(approximation, status, History(), books.cost(), config)


@dataclasses.dataclass(frozen=True)
class LaplaceNormal(FullRank):
    """The full-rank family, under the name of the algorithm that chose the member."""

    name = "laplace"


def require_proper(target, mode: Mode) -> None:
    if mode.is_proper:
        return
    values, vectors = np.linalg.eigh(np.nan_to_num(mode.hessian))
    names = target.coordinate_names
    worst = names[int(np.argmax(np.abs(vectors[:, -1])))]
    raise FitError(
        f"No Laplace approximation: at the highest point found, z = {np.round(mode.z, 3).tolist()}, the log "
        f"density does not curve down along '{worst}' (eigenvalue {values[-1]:.3g} of the Hessian). The posterior "
        f"may be flat, improper or at a boundary there: give '{worst}' a prior, or fit 'full_rank' by SVI."
    )
