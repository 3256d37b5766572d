"""SVI: stochastic gradients of an objective, for any family.

Requires of the family: reparameterised draws. Requires of the target: a differentiable log density.

Parameters of the model that have no prior (`numpyro.param`) are learned along with q (learning.py).

The loop is a jitted scan in chunks (step.py). Between chunks the schedule (schedule.py) tests whether the loss still
falls, and cuts the step size if it does not. It stops when a cut no longer lowers the loss and the average of the
iterates, which is the answer, is precise enough. Between chunks a checkpoint can be written too (checkpoint.py), from
which a run that was killed goes on to the same answer. Rows that are read from a source are drawn beforehand, and
picked out by a pass for many chunks (reading.py).
"""

import dataclasses
import os
from typing import Any, ClassVar

from jaxtyping import PRNGKeyArray

from vi_kl.algorithms.algorithm import Algorithm, CostCounter, Fit, Solution, run_fit
from vi_kl.algorithms.svi.checkpoint import Checkpoint
from vi_kl.algorithms.svi.many import best_of_restarts, fit_side_by_side
from vi_kl.algorithms.svi.run import Run, with_guide_fixed
from vi_kl.algorithms.svi.schedule import Schedule
from vi_kl.algorithms.svi.step import Optimizer, run_chunk
from vi_kl.core.annotations import KeyLike, Progress, ProgressLike
from vi_kl.core.errors import UnsuitableError, ViKLError
from vi_kl.families.family import Family
from vi_kl.families.gaussian import FullRank
from vi_kl.objectives.elbo import ELBO
from vi_kl.objectives.objective import Objective
from vi_kl.targets.batching import have_one_structure
from vi_kl.targets.target import Target

__all__ = ["SVI", "Schedule", "run_chunk"]


@dataclasses.dataclass(frozen=True)
class SVI(Algorithm):
    """Stochastic variational inference.

    Attributes:
        family: the set of candidates.
        objective: the loss.
        step_size: the first Adam step size, in the units of the frame (see `vi_kl.families.frame`); with
            `decay="cosine"` the largest.
        decay: "cut" to cut the step size to a quarter whenever the loss has settled, until the answer no longer moves;
            "cosine" for exactly `max_steps` steps whose size falls to next to nothing, where a budget is set.
        smallest_step_size: the step size at which cutting ends.
        tolerance: the change of the loss by a cut of the step size, in nats, below which the fit may have converged.
        precision: the Monte-Carlo standard errors of the answer's means and sds, in posterior sds, that a converged fit
            may have at most. It costs steps in proportion to its inverse square.
        max_steps: the gradient steps after which the fit stops, converged or not.
        chunk: the number of steps per compiled call.
        optimizer: an optax optimiser, used as it is, with its own step size; the loop then only averages and decides
            when to stop. None for Adam with step sizes cut automatically.
        num_restarts: the number of fits, from as many places, side by side in one program; the best of them is
            returned, and its status says how many agree with it. The first starts where a single fit would, each of the
            others at the end of a climb of its own from a random place (families without a frame: at random places).
        keep_path: whether the Fit keeps the q's on the way in its `path`: where it began, one after each chunk, and the
            answer. They can be shown in motion (`vi_kl.report.figures.animate`). A fit that goes on from a checkpoint
            keeps those from there on.
    """

    family: Family = dataclasses.field(default_factory=FullRank)
    objective: Objective = dataclasses.field(default_factory=ELBO)
    step_size: float = 0.05
    decay: str = "cut"
    smallest_step_size: float = 1e-4
    tolerance: float = 1e-3
    precision: float = 0.05
    max_steps: int = 20_000
    chunk: int = 100
    optimizer: Optimizer | None = None
    num_restarts: int = 1
    keep_path: bool = False

    learns: ClassVar[bool] = True

    def __post_init__(self):
        for name in ("step_size", "smallest_step_size", "tolerance", "precision"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}.")
        if self.decay not in ("cut", "cosine"):
            raise ValueError(f'decay must be "cut" or "cosine", not {self.decay!r}.')
        for name in ("max_steps", "chunk", "num_restarts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")

    @property
    def name(self) -> str:
        return self.family.name

    def fit(
        self,
        key: KeyLike,
        target: Target,
        *,
        start: Any = None,
        progress: ProgressLike = None,
        checkpoint: str | os.PathLike | None = None,
        checkpoint_seconds: float = 10.0,
    ) -> Fit:
        """Find the best q; see `Algorithm.fit`.

        Args:
            key: a JAX random key, or an integer; the same key gives the same fit.
            target: the posterior to approximate.
            start: the place to start from, or None.
            progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
                False; by default it is shown on a terminal and in a notebook after two seconds.
            checkpoint: the path of a file in which the state of the fit is kept. If the file exists, and is of this
                configuration, target and key, the fit goes on from there, to the answer it would have found if it had
                never been interrupted; one that was done returns at once. With a larger `max_steps`, a fit goes on that
                stopped for want of steps.
            checkpoint_seconds: the least number of seconds between two writes; 0 to write after every chunk.

        Raises:
            CheckpointError: the file is of another fit; the message says what differs.
            FitError: the loss stopped being finite.
        """
        kept = {"checkpoint": checkpoint, "checkpoint_seconds": checkpoint_seconds}
        return run_fit(self, key, target, start, progress, **kept)

    def find(
        self,
        key: KeyLike,
        target: Target,
        *,
        start: Any,
        progress: Progress,
        counter: CostCounter,
        checkpoint: str | os.PathLike | None = None,
        checkpoint_seconds: float = 10.0,
    ) -> Solution:
        if self.num_restarts > 1:
            if checkpoint is not None:
                raise ValueError("checkpoint is for a single fit: set num_restarts=1.")
            if target.density.is_streamed:
                raise UnsuitableError(
                    f"Restarts run side by side, each on rows of its own, which '{target.density}' reads in blocks "
                    f"(rows=...): set num_restarts=1, and compare fits by several keys."
                )
            return best_of_restarts(self, key, target, start, progress, counter)
        run = Run(self, key, target, counter)
        keeper = Checkpoint.of(run, start, checkpoint, checkpoint_seconds)
        if not keeper.resume():
            run.begin(start)
        with keeper:
            while not run.done:
                run.advance()
                keeper.note()
                progress(run.schedule.steps / self.max_steps, run.words)
        return run.solution()

    def find_many(self, keys: PRNGKeyArray, targets: tuple[Target, ...], progress: Progress) -> list[Fit | ViKLError]:
        """Fit targets of one structure side by side, by one program; others one after the other."""
        streamed = any(target.density.is_streamed for target in targets)
        if not targets or self.num_restarts > 1 or streamed or not have_one_structure(targets):
            return super().find_many(keys, targets, progress)
        return fit_side_by_side(self, keys, targets, progress)

    def captured(self, target: Target) -> Algorithm:
        return with_guide_fixed(self, target)
